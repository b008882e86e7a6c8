// The updates of a round, and what was demanded of its commit.

import { h } from "./dom.js";
import { count } from "./format.js";
import { pager, table } from "./lists.js";
import { card, contentId, hash, nodeName, pill, time, unanswered } from "./parts.js";
import { to } from "./place.js";

export const PAGE = 25;

export function entriesCard(detail, source, query) {
  const found = source?.shown;
  if (!found) return card("Updates", source ? unanswered(source, "the updates") : null, { id: "entries" });
  const columns = [
    { name: "Entry", cell: (entry) => count(entry.number) },
    { name: "Client", cell: (entry) => hash(entry.client, "the client's address") },
    { name: "Samples", right: true, cell: (entry) => count(entry.weight) },
    {
      name: "Counts",
      cell: (entry) => (entry.included ? (detail.attempt.verdict ? "included" : "") : pill("left out", "warn")),
    },
    {
      name: "Content",
      cell: (entry) => [
        contentId(entry.content_id, "the update's content id", detail.content),
        entry.here === false && h("div", { class: "small muted" }, "not in the store here"),
      ],
    },
    { name: "Commitment", cell: (entry) => hash(entry.commitment, "the commitment") },
    {
      name: "Came in",
      cell: (entry) => [
        entry.lane === null ? "" : { direct: "directly", signed: "signed", contract: "by contract" }[entry.lane],
        h("div", { class: "small muted" }, `block ${count(entry.block)}`),
      ],
    },
  ];
  const place = (from) => to(detail.job, detail.round, { ...query, entries: from === 0 ? null : from });
  const end = found.first + found.entries.length;
  const pages =
    found.total > PAGE &&
    pager("Pages of updates", `${count(found.first + 1)} to ${count(end)} of ${count(found.total)}`, [
      ["Earlier", found.first === 0 ? null : place(Math.max(0, found.first - PAGE))],
      ["Later", end >= found.total ? null : place(end)],
    ]);
  return card(
    "Updates",
    [
      table({
        caption: { text: "Updates of this round, as they came in", unseen: true },
        columns,
        rows: found.entries,
        key: ({ number }) => number,
        nothing: "No update is in yet.",
      }),
      pages,
    ],
    { id: "entries", aside: h("span", { class: "small muted" }, count(found.total)) },
  );
}

export function challengesCard(found, now) {
  if (found.challenges.length === 0) return null;
  const outcomes = { open: ["open", "warn"], answered: ["shown", "good"], expired: ["not shown", "bad"] };
  return card(
    "Demanded of it",
    table({
      caption: { text: "Chunks that somebody demanded to see", unseen: true },
      rows: found.challenges,
      key: (challenge) => `${challenge.transaction}.${challenge.node}.${challenge.chunk}`,
      columns: [
        { name: "What", cell: (challenge) => `Chunk ${count(challenge.chunk)} of ${nodeName(challenge.node)}` },
        { name: "By", cell: (challenge) => hash(challenge.demander, "the demander's address") },
        {
          name: "Outcome",
          cell: (challenge) => [
            pill(...outcomes[challenge.outcome]),
            challenge.outcome === "open" &&
              h("div", { class: "small muted" }, "until ", time(challenge.answer_by, now)),
          ],
        },
        {
          name: "Transaction",
          cell: (challenge) => hash(challenge.outcome_transaction ?? challenge.transaction, "the transaction"),
        },
      ],
    }),
    { id: "challenges", aside: h("span", { class: "small muted" }, count(found.challenges.length)) },
  );
}
