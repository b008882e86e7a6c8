// What happened to a round, its figures, and its hashes.

import { h } from "./dom.js";
import { count, counted, measure } from "./format.js";
import { card, contentId, facts, foreign, hash, money, nothing, time } from "./parts.js";

/** What happened to an attempt, and what may happen next. */
export function storyCard(found, now) {
  const { attempt } = found;
  const steps = [["info", "Opened", attempt.opened_at, `block ${count(attempt.opened_block)}`, null]];
  if (attempt.committed_at !== null)
    steps.push([
      "accent",
      "Committed",
      attempt.committed_at,
      attempt.commit_block === null ? null : `block ${count(attempt.commit_block)}`,
      attempt.transaction,
    ]);
  const ended = {
    settled: ["good", "Settled"],
    reverted: ["bad", "Reverted"],
    superseded: ["warn", "Superseded"],
    reopened: ["warn", "Opened again"],
  }[attempt.phase];
  if (ended) {
    const why =
      attempt.phase === "reverted" && attempt.ended_round !== null && attempt.ended_round !== found.round
        ? `with round ${count(attempt.ended_round)}, which was proved wrong`
        : null;
    steps.push([...ended, attempt.ended_at, why, attempt.ended_by]);
  }
  const next = [
    attempt.phase === "committed" &&
      attempt.challengeable_until !== null &&
      attempt.challengeable_until >= now && [
        "It can be challenged until ",
        time(attempt.challengeable_until, now),
        ".",
      ],
    attempt.phase === "committed" &&
      attempt.settles_from !== null && ["It can be settled from ", time(attempt.settles_from, now), "."],
    attempt.demands > 0 && [`${counted(attempt.demands, "chunk is", "chunks are")} demanded of it.`],
  ].filter(Boolean);
  return card(
    "What happened",
    [
      h(
        "ol",
        { class: "steps" },
        steps.map(([tone, what, at, more, transaction]) =>
          h(
            "li",
            { class: tone },
            h("strong", {}, what),
            " ",
            time(at),
            more && h("div", { class: "small" }, more),
            transaction && h("div", { class: "small" }, hash(transaction, "the transaction")),
          ),
        ),
        next.map((what) => h("li", {}, what)),
      ),
      attempt.origin !== attempt.attempt &&
        h("p", { class: "small muted" }, `The updates are those of attempt ${count(attempt.origin)}.`),
      attempt.sender && h("p", { class: "small muted" }, "Set aside by ", hash(attempt.sender, "the sender's address")),
    ],
    { id: "story" },
  );
}

export function figuresCard({ attempt }) {
  const { measured, gas } = attempt;
  const metrics = Object.entries(measured?.metrics ?? {}).filter(([, value]) => value !== null);
  return card(
    "Figures",
    facts([
      [
        "Updates",
        [
          count(attempt.updates),
          attempt.excluded > 0 && h("span", { class: "small muted" }, `, ${count(attempt.excluded)} left out`),
        ],
      ],
      ["Samples", count(attempt.samples)],
      nothing(attempt.reward)
        ? null
        : [
            "Reward",
            [
              money(attempt.reward),
              h(
                "div",
                { class: "small muted" },
                "server ",
                money(attempt.server_amount),
                ", each client ",
                money(attempt.client_amount),
              ),
            ],
          ],
      gas.commit === null ? null : ["Gas of the commit", count(gas.commit)],
      gas.updates === null
        ? null
        : [
            "Gas of the updates",
            [count(gas.updates), h("div", { class: "small muted" }, counted(gas.transactions, "transaction"))],
          ],
      gas.total === null ? null : ["Gas in all", count(gas.total)],
      typeof measured?.loss === "number" ? ["Loss", measure(measured.loss)] : null,
      typeof measured?.accuracy === "number" ? ["Accuracy", measure(measured.accuracy)] : null,
      ...metrics.slice(0, 24).map(([name, value]) => [foreign(name), measure(value)]),
      typeof measured?.seconds === "number" ? ["Aggregated in", `${measure(measured.seconds)} s`] : null,
    ]),
    { id: "figures" },
  );
}

export function hashesCard(found) {
  const { attempt, content } = found;
  const one = (name, shown) => [h("dt", {}, name), h("dd", {}, shown)];
  return card(
    "Hashes",
    h(
      "dl",
      { class: "pairs left" },
      found.model !== null &&
        one("Model it made", [
          hash(found.model, "the model's root"),
          h("div", { class: "small" }, "content ", contentId(found.model_id, "the model's content id", content)),
        ]),
      found.previous !== null &&
        one("Model it began with", [
          hash(found.previous, "the root of the model before"),
          h(
            "div",
            { class: "small" },
            "content ",
            contentId(found.previous_id, "the content id of the model before", content),
          ),
        ]),
      found.nodes_id !== null &&
        one("Partial sums", contentId(found.nodes_id, "the content id of the partial sums", content)),
      found.head !== null && one("Entries", hash(found.head, "what binds the entries")),
      attempt.record !== null && one("Record", hash(attempt.record, "the record")),
      attempt.server !== null && one("Server", hash(attempt.server, "the server's address")),
    ),
    { id: "hashes" },
  );
}
