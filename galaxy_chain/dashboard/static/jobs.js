// The list of jobs.

import { Source } from "./api.js";
import { h } from "./dom.js";
import { count, counted } from "./format.js";
import { pager, table } from "./lists.js";
import { bar, foreign, money, pill, status, unanswered } from "./parts.js";
import { to } from "./place.js";

const PAGE = 25;

export class JobsView {
  #changed;
  #from;
  #jobs;

  constructor({ query }, changed) {
    this.#changed = changed;
    this.#ask(query);
  }

  #ask(query) {
    this.#from = query.from ?? null;
    this.#jobs?.close();
    this.#jobs = new Source(
      `/api/jobs?count=${PAGE}${this.#from === null ? "" : `&from=${this.#from}`}`,
      this.#changed,
      this.#jobs?.shown,
    );
  }

  title() {
    return "Jobs";
  }

  turn(query) {
    if ((query.from ?? null) !== this.#from) this.#ask(query);
  }

  told(name) {
    if (name !== "ledger") this.#jobs.ask();
  }

  reload() {
    this.#jobs.ask();
  }

  shown() {}

  close() {
    this.#jobs.close();
  }

  render() {
    const found = this.#jobs.shown;
    const head = h(
      "div",
      { class: "head" },
      h("h1", { tabindex: "-1" }, "Jobs"),
      found && h("span", { class: "muted" }, counted(found.total, "job")),
    );
    if (!found) return [head, unanswered(this.#jobs, "the jobs")];
    return [
      head,
      h(
        "section",
        { class: "card", "aria-label": "Jobs of this ledger" },
        table(this.#table(found.jobs)),
        this.#pages(found),
      ),
    ];
  }

  #table(rows) {
    return {
      caption: { text: "Jobs, the newest first", unseen: true },
      rows,
      key: (job) => job.job,
      nothing: "No job is registered on this ledger yet. `galaxy-chain job create` registers one.",
      columns: [
        {
          name: "Job",
          cell: (job) => [
            h("a", { href: to(job.job) }, job.name === null ? `Job ${job.job}` : foreign(clipped(job.name))),
            h(
              "div",
              { class: "small muted" },
              job.name === null ? "its document is not in the store" : `job ${job.job}`,
            ),
          ],
        },
        {
          name: "State",
          cell: (job) => [
            status(job.status),
            " ",
            job.wrong ? pill(`${count(job.wrong)} wrong`, "bad", "wrong") : null,
          ],
        },
        {
          name: "Rounds",
          cell: (job) => [
            h("span", { class: "number" }, `${count(job.done)} of ${count(job.planned)}`),
            h("div", { class: "small" }, bar(progressOf(job))),
          ],
        },
        { name: "Clients", right: true, cell: (job) => count(job.clients) },
        { name: "Updates now", right: true, cell: (job) => (job.status === "running" ? count(job.updates) : "") },
        { name: "Pool", right: true, cell: (job) => money(job.pool) },
        { name: "Bond", right: true, cell: (job) => money(job.bond) },
      ],
    };
  }

  #pages(found) {
    if (found.next === null && this.#from === null) return null;
    const newer =
      this.#from === null
        ? null
        : this.#from + PAGE >= found.total
          ? to()
          : to(null, null, { from: this.#from + PAGE });
    const older = found.next === null ? null : to(null, null, { from: found.next });
    return pager("Pages of jobs", "", [
      ["Newer", newer],
      ["Older", older],
    ]);
  }
}

const LONGEST = 160;

/** A name, which may be as long as its author likes, as long as a list can bear. */
export function clipped(name) {
  const letters = [...name.slice(0, 2 * LONGEST)];
  return letters.length <= LONGEST ? name : `${letters.slice(0, LONGEST).join("")}…`;
}

/** What a job's rounds have come to, as parts of a bar. */
export function progressOf({ settled, done, planned }) {
  const all = Math.max(1, planned);
  return [
    [settled / all, "a"],
    [Math.max(0, done - settled) / all, "b"],
  ];
}
