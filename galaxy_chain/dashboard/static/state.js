// A job at a glance.

import { h } from "./dom.js";
import { count, counted } from "./format.js";
import { progressOf } from "./jobs.js";
import { bar, contentId, facts, foreign, hash, judgement, money, time } from "./parts.js";

/** What a job's rounds have come to, and its most important facts. */
export function state(job, now, content) {
  const over = job.status === "finished" || job.status === "final";
  const done =
    job.status === "final" ? job.settled : job.status === "finished" ? job.last_round : Math.max(0, job.round - 1);
  const planned = Math.max(job.last_round, job.ending?.planned ?? 0);
  const coming = over ? 0 : job.last_round - done;
  const attempt = job.attempt === job.round ? "" : `, attempt ${count(job.attempt)}`;
  const verdicts = ["wrong", "unchecked", "computing", "waiting", "right"].filter((name) => job.verdicts[name] > 0);
  const collecting = [
    `${count(job.collected)} of at least ${count(job.least)}`,
    job.closes_at === null ? null : h("div", { class: "small" }, "closes ", time(job.closes_at, now)),
  ];
  return [
    bar(progressOf({ settled: job.settled, done, planned })),
    h(
      "p",
      { class: "key" },
      h("span", { class: "a" }, counted(job.settled, "round settled", "rounds settled")),
      h("span", { class: "b" }, `${count(done - job.settled)} committed, open to challenge`),
      coming > 0 && h("span", {}, `${count(coming)} to come`),
      planned > done + coming && h("span", {}, `${count(planned - done - coming)} given up`),
    ),
    facts([
      [
        "Round",
        over
          ? done === job.last_round
            ? `all ${count(done)} committed`
            : `ended after ${count(done)}`
          : `${count(job.round)} of ${count(job.last_round)}${attempt}`,
      ],
      over ? null : ["Updates in", collecting],
      [
        "Recomputed here",
        verdicts.length === 0
          ? "nothing yet"
          : h(
              "span",
              { class: "pills" },
              verdicts.map((name) => judgement(name, job.verdicts[name])),
            ),
      ],
      [
        "Clients",
        [
          count(job.clients),
          job.expelled > 0 && h("span", { class: "small muted" }, `, ${count(job.expelled)} expelled`),
        ],
      ],
      ["Pool", money(job.pool.pool)],
      job.epsilon === null
        ? null
        : [
            "Privacy spent",
            h(
              "span",
              { title: "The most that any client has spent, at least" },
              `ε ≥ ${Number(job.epsilon.toPrecision(4))}`,
            ),
          ],
      ["Owner", hash(job.owner, "the owner's address")],
      ["Newest model", contentId(job.model_id, "the model's content id", content)],
    ]),
    job.ending &&
      h(
        "p",
        { class: "small" },
        `It ends after round ${count(job.ending.last_round)} of ${count(job.ending.planned)}: so decided by `,
        hash(job.ending.by, "the address"),
        ", ",
        time(job.ending.time),
        ".",
      ),
    job.objections.length > 0 &&
      h(
        "ul",
        {},
        job.objections.map((objection) => h("li", {}, foreign(objection))),
      ),
  ];
}
