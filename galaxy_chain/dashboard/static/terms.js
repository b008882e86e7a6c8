// A job's terms in words, its document, and where its money is.

import { h } from "./dom.js";
import { bar, card, contentId, foreign, money, nothing } from "./parts.js";

export function moneyCard(job) {
  const { pool } = job;
  if (nothing(pool.pool))
    return card("Money", h("p", { class: "nothing" }, "The job has no pool: nobody earns anything by it."), {
      id: "money",
    });
  const all = Number(BigInt(pool.pool.wei));
  const part = (amount) => (all === 0 ? 0 : Number(BigInt(amount.wei)) / all);
  return card(
    "Money",
    [
      bar([
        [part(pool.paid) + part(pool.claimable), "a"],
        [part(pool.open), "b"],
      ]),
      h(
        "dl",
        { class: "pairs" },
        row("Paid", pool.paid),
        row("To be claimed", pool.claimable),
        row("Open: lost if its round is taken back", pool.open),
        nothing(pool.dust) ? null : row("Dust of divisions", pool.dust),
        row(pool.final ? "Back to the owner" : "For rounds to come", pool.rest),
        h("dt", { class: "total" }, "Pool"),
        h("dd", { class: "total" }, money(pool.pool)),
      ),
    ],
    { id: "money" },
  );
}

function row(name, amount) {
  return [h("dt", {}, name), h("dd", {}, money(amount))];
}

/** A sentence of the terms, the word that it is about before it. */
function headed(sentence) {
  const found = /^([\w ]{1,24}): (.+)$/s.exec(sentence);
  return found ? [h("strong", {}, found[1]), " ", foreign(found[2])] : foreign(sentence);
}

export function termsCard(job, content) {
  const named = (pairs) =>
    h(
      "dl",
      { class: "pairs left" },
      Object.entries(pairs).map(([name, value]) => [h("dt", {}, foreign(name)), h("dd", {}, foreign(value))]),
    );
  return card(
    "Terms",
    [
      h(
        "ul",
        { class: "words" },
        job.terms.words.map((sentence) => h("li", {}, headed(sentence))),
      ),
      job.notes && [
        h("h3", {}, "Notes of its author"),
        h("p", { class: "notes", tabindex: "0", role: "region", "aria-label": "Notes of its author" }, job.notes),
      ],
      h("details", { "data-key": "values" }, h("summary", {}, "All terms"), named(job.terms.values)),
      job.document === null
        ? h("p", { class: "small" }, foreign(job.document_problem ?? "Its document is not in the store."))
        : h("details", { "data-key": "document" }, h("summary", {}, "What is trained"), named(job.document_words)),
      job.document !== null && job.document_problem && h("p", { class: "small" }, foreign(job.document_problem)),
      h("p", { class: "small muted" }, "Document ", contentId(job.document_id, "the document's content id", content)),
    ],
    { id: "terms" },
  );
}
