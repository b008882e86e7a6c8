// A round opened: its verdict, what happened to it, its entries, its tree of sums, and how to check it elsewhere.

import { Source } from "./api.js";
import { h } from "./dom.js";
import { PAGE as ENTRIES, challengesCard, entriesCard } from "./entries.js";
import { count } from "./format.js";
import { verdictCard } from "./lies.js";
import { pager } from "./lists.js";
import { announce, card, command, crumbs, foreign, judgement, phase, phaseWord, unanswered } from "./parts.js";
import { to } from "./place.js";
import { figuresCard, hashesCard, storyCard } from "./story.js";
import { PAGE as NODES, treeCard } from "./tree.js";

export class RoundView {
  #job;
  #round;
  #changed;
  #query = {};
  #detail = null;
  #summary;
  #entries = null;
  #nodes = null;
  #open = new Set(["0"]);

  constructor({ job, round, query }, changed) {
    this.#job = job;
    this.#round = round;
    this.#changed = changed;
    this.#summary = new Source(`/api/jobs/${job}`, changed);
    this.turn(query);
  }

  get #below() {
    return `/api/jobs/${this.#job}/rounds/${this.#round}`;
  }

  turn(query) {
    this.#query = query;
    const attempt = query.attempt === undefined ? "" : `?attempt=${query.attempt}`;
    const path = `${this.#below}${attempt}`;
    if (this.#detail?.path !== path) {
      this.#close(this.#detail, this.#entries, this.#nodes);
      this.#entries = this.#nodes = null;
      this.#detail = new Source(path, (before) => this.#detailed(before));
    }
    this.#page();
  }

  /** Asks for the pages of the attempt that is shown, which may be another after a rollback. */
  #page() {
    const found = this.#detail.value;
    if (!found) return;
    const attempt = found.attempt.attempt;
    this.#entries = this.#turned(
      this.#entries,
      `${this.#below}/entries?attempt=${attempt}&count=${ENTRIES}&from=${this.#query.entries ?? 0}`,
    );
    if (found.attempt.verdict === null) return;
    const from = this.#query.nodes ?? Math.max(0, found.nodes + 1 - NODES);
    this.#nodes = this.#turned(this.#nodes, `${this.#below}/nodes?attempt=${attempt}&count=${NODES}&from=${from}`);
  }

  #turned(source, path) {
    if (source?.path === path) return source;
    source?.close();
    return new Source(path, this.#changed, source?.shown);
  }

  #detailed(before) {
    this.#page();
    const after = this.#detail.value;
    if (before && after) {
      const was = before.attempt.verdict?.judgement;
      const is = after.attempt.verdict?.judgement;
      if (before.attempt.phase !== after.attempt.phase)
        announce(`Round ${this.#round}: ${phaseWord(after.attempt.phase)}.`);
      if (was !== is && (is === "right" || is === "wrong" || is === "unchecked"))
        announce(`Round ${this.#round}: ${is === "unchecked" ? "not to be checked" : is}.`);
    }
    this.#changed();
  }

  title() {
    return `Round ${this.#round} · job ${this.#job}`;
  }

  told(name, update) {
    const ours =
      name === "verdict"
        ? update.round === this.#round
        : name === "rounds" && update.first <= this.#round && this.#round <= update.last;
    if (name === "job") this.#summary.ask();
    if (!ours) return;
    this.#detail.ask();
    this.#nodes?.ask();
    if (name === "rounds") this.#entries?.ask();
  }

  reload() {
    for (const source of [this.#detail, this.#summary, this.#entries, this.#nodes]) source?.ask();
  }

  shown() {}

  #close(...sources) {
    for (const source of sources) source?.close();
  }

  close() {
    this.#close(this.#detail, this.#summary, this.#entries, this.#nodes);
  }

  render(now) {
    const found = this.#detail.value;
    const job = this.#summary.value;
    const name = job?.name ? foreign(job.name) : `Job ${this.#job}`;
    const place = crumbs(
      h("a", { href: "#/" }, "Jobs"),
      h("a", { href: to(this.#job) }, name),
      h("span", { "aria-current": "page" }, `Round ${count(this.#round)}`),
    );
    const title = h("h1", { tabindex: "-1" }, `Round ${count(this.#round)}`);
    const head = (...states) => h("div", { class: "head" }, h("div", {}, title, states), this.#neighbours(job));
    if (!found) return [place, head(), unanswered(this.#detail, `round ${this.#round}`)];
    const { attempt } = found;
    return [
      place,
      head(phase(attempt.phase), attempt.verdict && judgement(attempt.verdict.judgement)),
      this.#attempts(found),
      h(
        "div",
        { class: "stack" },
        verdictCard(attempt, { job: this.#job, round: this.#round, check: found.check, now }),
        h(
          "div",
          { class: "columns story-first" },
          h(
            "div",
            {},
            treeCard(found, this.#nodes, {
              job: this.#job,
              query: this.#query,
              open: this.#open,
              changed: this.#changed,
            }),
            entriesCard(found, this.#entries, this.#query),
            challengesCard(found, now),
          ),
          h("div", {}, storyCard(found, now), figuresCard(found), hashesCard(found), this.#check(found)),
        ),
      ),
    ];
  }

  #neighbours(job) {
    const last = job ? Math.min(job.round, job.last_round) : this.#round;
    const ends = [
      ["Round before", this.#round > 1 ? to(this.#job, this.#round - 1) : null],
      ["Round after", this.#round < last ? to(this.#job, this.#round + 1) : null],
    ];
    return pager("Rounds before and after", "", ends);
  }

  #attempts(found) {
    if (found.attempts.length < 2) return null;
    const newest = found.attempts.at(-1);
    return h(
      "nav",
      { class: "pager", "aria-label": "Attempts at this round" },
      h("span", {}, "Attempts"),
      found.attempts.slice(-12).map((attempt) =>
        h(
          "a",
          {
            class: "button",
            href: to(this.#job, this.#round, attempt === newest ? {} : { attempt }),
            "aria-current": attempt === found.attempt.attempt ? "true" : null,
          },
          count(attempt),
        ),
      ),
    );
  }

  #check(found) {
    return card(
      "Check it elsewhere",
      [
        h("p", { class: "small muted" }, "The same check, on any machine that reaches ledger and store:"),
        command(found.check),
      ],
      { id: "check" },
    );
  }
}
