// A commit that was found wrong: where, both values, and what it cost.

import { h } from "./dom.js";
import { count, counted, measure } from "./format.js";
import { card, command, facts, foreign, hash, lieWords, money, time } from "./parts.js";
import { to } from "./place.js";

/** A card that tells of a wrong commit; `level` is its heading's. */
export function lieCard({ job, round, attempt, check, now, level = "h2", linked = true }) {
  const { lie, punishment } = attempt.verdict;
  const id = `lie-${round}-${attempt.attempt}`;
  const title = `Round ${count(round)} was committed wrong`;
  const open = linked && h("a", { href: to(job, round, { attempt: attempt.attempt }) }, "Open the round");
  const content = [
    lie &&
      h(
        "p",
        {},
        "This page's process recomputed it from ledger and content: ",
        h("strong", {}, lieWords(lie)),
        lie.tensor !== null && [" (", foreign(lie.tensor), ")"],
        " is not what the updates make.",
      ),
    lie && values(lie),
    punished(punishment, attempt, now),
    punishment === null && check && [h("p", { class: "small muted" }, "Recompute it elsewhere:"), command(check)],
  ];
  return card(title, content, { id, tone: "lie", level, aside: open });
}

function values(lie) {
  if (lie.committed === null || lie.right === null)
    return h("p", { class: "small muted" }, "What was found: ", foreign(lie.reason), ".");
  const what = lie.of_sum ? "a weighted sum" : "a value of the model";
  const one = (tone, name, exact, number) =>
    h(
      "div",
      { class: tone },
      h("dt", {}, name),
      h("dd", {}, exact),
      number === null ? null : h("dd", {}, `${lie.of_sum ? "mean " : ""}${precise(number)}`),
    );
  return [
    h(
      "dl",
      { class: "values" },
      one("said", "Committed", lie.committed, lie.committed_number),
      one("made", "What the updates make", lie.right, lie.right_number),
    ),
    h(
      "p",
      { class: "small muted" },
      `These are the integers that are compared, ${what} in fixed point. What was found: `,
      foreign(lie.reason),
      ".",
    ),
  ];
}

function precise(number) {
  const size = Math.abs(number);
  return size !== 0 && (size < 1e-4 || size >= 1e9) ? number.toExponential(6) : String(Number(number.toPrecision(9)));
}

function punished(punishment, attempt, now) {
  if (punishment === null) {
    const until = attempt.challengeable_until;
    if (attempt.phase === "settled" || (until !== null && until < now))
      return h("p", {}, "It was not challenged in time, and stands.");
    return h(
      "p",
      {},
      h("strong", {}, "Nobody has challenged it yet."),
      until !== null && [" That can be done until ", time(until, now), "."],
    );
  }
  const how =
    punishment.how === "challenged"
      ? "Punished by a challenge"
      : "Punished because what was demanded of it was not shown in time";
  return [
    h(
      "p",
      {},
      h("strong", {}, how),
      ` in block ${count(punishment.block)}`,
      punishment.time !== null && [", ", time(punishment.time)],
      ".",
    ),
    facts([
      ["Transaction", hash(punishment.transaction, "the transaction")],
      [
        "Server",
        [
          hash(punishment.server, "the server's address"),
          h("div", { class: "small muted" }, "lost its bond, ", money(punishment.lost)),
        ],
      ],
      [
        "Found by",
        punishment.finder && [
          hash(punishment.finder, "the finder's address"),
          h("div", { class: "small muted" }, "got ", money(punishment.reward)),
        ],
      ],
    ]),
  ];
}

/** A verdict in a card of its own, of a round that is opened. */
export function verdictCard(attempt, { job, round, check, now }) {
  const found = attempt.verdict;
  if (found === null) {
    const why =
      attempt.phase === "collecting" || attempt.phase === "closed"
        ? "It has not been committed yet: there is nothing to recompute."
        : "This attempt ended without a commit: there is nothing to recompute.";
    return card("Verdict", h("p", { class: "muted" }, why), { id: "verdict" });
  }
  const objections = found.objections.length > 0 && [
    h(
      "p",
      {},
      `Its arithmetic aside, ${counted(found.objections.length, "objection")}, which the ledger does not punish:`,
    ),
    h(
      "ul",
      {},
      found.objections.map((objection) => h("li", {}, foreign(objection))),
    ),
  ];
  if (found.judgement === "wrong")
    return h(
      "div",
      { class: "stack", "data-key": "verdict" },
      lieCard({ job, round, attempt, check, now, linked: false }),
      objections && h("div", { class: "card" }, objections),
    );
  const taken = found.seconds === null ? "" : `, in ${measure(found.seconds)} s`;
  const words = {
    right: ["good", "Right", `This page's process recomputed every number of it from ledger and content${taken}.`],
    unchecked: ["warn", "Not to be checked", "Something is missing that it takes to recompute it:"],
    computing: ["info", "Computing", "It is being recomputed from ledger and content."],
    waiting: ["", "Waiting", "It will be recomputed after those before it."],
  };
  const [tone, what, more] = words[found.judgement];
  const content = [
    h("p", { class: "what" }, what),
    h("p", {}, more),
    found.judgement === "unchecked" && h("p", {}, foreign(found.missing ?? "")),
    found.judgement === "unchecked" &&
      found.retry_in !== null &&
      h("p", { class: "small muted" }, "It is tried again by itself."),
    found.judgement === "computing" && found.progress && progressBlock(found.progress),
    found.punishment && punished(found.punishment, attempt, now),
    objections,
  ];
  return card("Verdict", content, { id: "verdict", tone: `verdict-card ${tone}` });
}

function progressBlock({ done, total, what }) {
  const text = `${count(done)} of ${count(total)} ${what}`;
  return h(
    "div",
    {},
    h("progress", { max: Math.max(1, total), value: done, "aria-label": text }),
    h("span", { class: "small muted" }, text),
  );
}
