// The timeline of a job's rounds, the newest first, with the attempts that came to nothing below each.

import { h } from "./dom.js";
import { count, counted, measure } from "./format.js";
import { pager, table } from "./lists.js";
import { card, phase, time, unanswered, verdict } from "./parts.js";
import { to } from "./place.js";

export const PAGE = 12;

export function roundsCard(job, source, { now, fresh, query }) {
  const found = source.shown;
  if (!found) return card("Rounds", unanswered(source, "the rounds"), { id: "rounds" });
  const rows = lines(found.rounds);
  const measured = (name) => rows.some(({ attempt }) => (attempt.measured?.[name] ?? null) !== null);
  const columns = [
    { name: "Round", cell: (row) => named(job, row) },
    {
      name: "State",
      cell: ({ attempt }) => [phase(attempt.phase), h("div", { class: "small muted" }, when(attempt, job, now))],
    },
    { name: "Verdict", cell: ({ attempt }) => (attempt.verdict ? verdict(attempt.verdict) : "") },
    {
      name: "Updates",
      right: true,
      cell: ({ attempt }) => [
        count(attempt.updates),
        attempt.excluded > 0 && h("div", { class: "small muted" }, `${count(attempt.excluded)} left out`),
      ],
    },
    measured("loss") && { name: "Loss", right: true, cell: ({ attempt }) => known(attempt.measured?.loss, measure) },
    measured("accuracy") && {
      name: "Accuracy",
      right: true,
      cell: ({ attempt }) => known(attempt.measured?.accuracy, measure),
    },
    { name: "Gas", right: true, cell: ({ attempt }) => known(attempt.gas.total ?? attempt.gas.commit, count) },
  ].filter(Boolean);
  const body = table({
    caption: { text: "Rounds, the newest first; attempts that came to nothing stand below theirs", unseen: true },
    columns,
    rows,
    key: ({ round, attempt }) => `${round}.${attempt.attempt}`,
    tone: ({ round, attempt, past }) =>
      attempt.verdict?.judgement === "wrong" ? "lied" : past ? "past" : fresh.has(round) ? "fresh" : "",
    nothing: "No round has begun yet.",
  });
  return card("Rounds", [body, pages(job, found, query)], {
    id: "rounds",
    aside: h("span", { class: "small muted" }, `${count(found.total)} of ${count(found.planned)} begun`),
  });
}

function lines(rounds) {
  const rows = [];
  for (const row of [...rounds].reverse()) {
    const attempts = [...row.attempts].reverse();
    attempts.forEach((attempt, index) =>
      rows.push({ round: row.round, attempt, past: index > 0, more: index === attempts.length - 1 ? row.more : 0 }),
    );
  }
  return rows;
}

function named(job, { round, attempt, past, more }) {
  const place = to(job.job, round, past ? { attempt: attempt.attempt } : {});
  return [
    h(
      "a",
      { href: place },
      past ? `attempt ${count(attempt.attempt)}` : count(round),
      past && h("span", { class: "unseen" }, ` at round ${count(round)}`),
    ),
    !past && attempt.attempt !== round && h("div", { class: "small muted" }, `attempt ${count(attempt.attempt)}`),
    more > 0 && h("div", { class: "small muted" }, `${count(more)} earlier`),
  ];
}

/** What comes next for an attempt, or when it came. */
export function when(attempt, job, now) {
  switch (attempt.phase) {
    case "collecting":
      return job.closes_at === null ? [`since `, time(attempt.opened_at)] : ["closes ", time(job.closes_at, now)];
    case "closed":
      return job.commit_from !== null && job.commit_from > now
        ? ["commit from ", time(job.commit_from, now)]
        : ["since ", time(attempt.opened_at)];
    case "committed":
      if (attempt.challengeable_until !== null && attempt.challengeable_until >= now)
        return ["open until ", time(attempt.challengeable_until, now)];
      return attempt.settles_from === null
        ? time(attempt.committed_at)
        : ["settles from ", time(attempt.settles_from, now)];
    case "challenged":
      return counted(attempt.demands, "chunk demanded", "chunks demanded");
    case "reverted":
      return attempt.ended_round !== null
        ? ["with round ", count(attempt.ended_round), ", ", time(attempt.ended_at)]
        : time(attempt.ended_at);
    default:
      return time(attempt.ended_at);
  }
}

function known(value, written) {
  return value === null || value === undefined ? "" : written(value);
}

function pages(job, found, query) {
  if (found.total <= PAGE) return null;
  const place = (from) => to(job.job, null, { ...query, rounds: from });
  const end = found.first + found.rounds.length - 1;
  const newer = end >= found.total ? null : end + PAGE >= found.total ? place(null) : place(end + 1);
  const older = found.first <= 1 ? null : place(Math.max(1, found.first - PAGE));
  const newest = end >= found.total ? null : place(null);
  return pager(
    "Pages of rounds",
    `${count(found.first)} to ${count(end)} of ${count(found.total)}`,
    [
      ["Newest", newest],
      ["Newer", newer],
      ["Older", older],
    ],
    {
      label: "Round",
      largest: found.total,
      go: (round) => (window.location.hash = place(Math.max(1, round - Math.floor(PAGE / 2)))),
    },
  );
}
