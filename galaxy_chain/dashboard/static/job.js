// A job: what was wrong first, then its rounds, curves and clients, with terms and money beside them.

import { Source } from "./api.js";
import { h } from "./dom.js";
import { count } from "./format.js";
import { lieCard } from "./lies.js";
import { announce, card, command, crumbs, foreign, hash, phaseWord, status, unanswered } from "./parts.js";
import { PAGE as PEOPLE, demandsCard, participantsCard, serversCard } from "./people.js";
import { to } from "./place.js";
import { Plots } from "./plots.js";
import { PAGE as ROUNDS, roundsCard } from "./rounds.js";
import { state } from "./state.js";
import { moneyCard, termsCard } from "./terms.js";

const POINTS = 1000;
const SHOWN_LIES = 2; // in full; all others are linked
const FRESH = 2000; // milliseconds for which what has changed is marked

export class JobView {
  #job;
  #changed;
  #query;
  #detail;
  #curves;
  #rounds;
  #people;
  #lies = new Map();
  #plots = new Plots();
  #fresh = new Set();

  constructor({ job, query }, changed) {
    this.#job = job;
    this.#changed = changed;
    this.#detail = new Source(`/api/jobs/${job}`, (before) => this.#detailed(before));
    this.#curves = new Source(`/api/jobs/${job}/curves?points=${POINTS}`, changed);
    this.turn(query);
  }

  turn(query) {
    this.#query = query;
    const from = query.rounds ?? null;
    this.#rounds = this.#turned(
      this.#rounds,
      `rounds?count=${ROUNDS}${from === null ? "" : `&from=${from}`}`,
      (before) => this.#passed(before),
    );
    this.#people = this.#turned(this.#people, `participants?count=${PEOPLE}&from=${query.clients ?? 0}`, this.#changed);
  }

  #turned(source, question, changed) {
    const path = `/api/jobs/${this.#job}/${question}`;
    if (source?.path === path) return source;
    source?.close();
    return new Source(path, changed, source?.shown);
  }

  title() {
    const name = this.#detail.value?.name;
    return name ? `${name.slice(0, 80)} · job ${this.#job}` : `Job ${this.#job}`;
  }

  told(name, update) {
    if (name === "job") {
      this.#detail.ask();
      this.#people.ask();
      this.#curves.ask();
    }
    if (name === "rounds" && this.#shows(update.first, update.last)) this.#rounds.ask();
    if (name === "rounds") for (const lie of this.#lies.values()) lie.ask();
    if (name === "verdict") {
      this.#detail.ask();
      this.#lies.get(update.round)?.ask();
      if (this.#shows(update.round, update.round)) this.#rounds.ask();
    }
  }

  #shows(first, last) {
    const found = this.#rounds.value;
    if (!found || this.#query.rounds === undefined) return true;
    return last >= found.first && first < found.first + ROUNDS;
  }

  reload() {
    for (const source of [this.#detail, this.#curves, this.#rounds, this.#people, ...this.#lies.values()]) source.ask();
  }

  shown(recoloured = false) {
    const element = document.getElementById("plots");
    if (element && this.#curves.value) this.#plots.update(element, this.#curves.value, recoloured);
  }

  close() {
    for (const source of [this.#detail, this.#curves, this.#rounds, this.#people, ...this.#lies.values()])
      source.close();
    this.#plots.close();
  }

  #detailed() {
    const wanted = new Set(this.#detail.value?.wrong.slice(0, SHOWN_LIES));
    for (const [round, source] of this.#lies) {
      if (wanted.has(round)) continue;
      source.close();
      this.#lies.delete(round);
    }
    for (const round of wanted) {
      if (!this.#lies.has(round))
        this.#lies.set(round, new Source(`/api/jobs/${this.#job}/rounds?from=${round}&count=1`, this.#changed));
    }
    this.#changed();
  }

  /** Marks and announces what has become of the rounds that are shown. */
  #passed(before) {
    this.#changed();
    if (!before || !this.#rounds.value) return;
    const was = new Map(before.rounds.map((row) => [row.round, row]));
    const news = [];
    for (const row of this.#rounds.value.rounds) {
      const old = was.get(row.round);
      const verdict = row.attempts.at(-1)?.verdict?.judgement;
      if (old?.phase !== row.phase) news.push([row.round, phaseWord(row.phase)]);
      if (verdict === "wrong" && old?.attempts.at(-1)?.verdict?.judgement !== "wrong")
        news.push([row.round, "found wrong"]);
    }
    if (news.length === 0) return;
    announce(
      news
        .slice(-3)
        .map(([round, what]) => `Round ${round}: ${what}.`)
        .join(" "),
    );
    for (const [round] of news) this.#fresh.add(round);
    setTimeout(() => {
      for (const [round] of news) this.#fresh.delete(round);
      this.#changed();
    }, FRESH);
  }

  render(now, content) {
    const job = this.#detail.value;
    const place = crumbs(h("a", { href: "#/" }, "Jobs"), h("span", { "aria-current": "page" }, `Job ${this.#job}`));
    const head = (...content) => h("div", { class: "head" }, h("div", {}, ...content));
    if (!job)
      return [
        place,
        head(h("h1", { tabindex: "-1" }, `Job ${this.#job}`)),
        unanswered(this.#detail, `job ${this.#job}`),
      ];
    return [
      place,
      head(h("h1", { tabindex: "-1" }, job.name === null ? `Job ${job.job}` : foreign(job.name)), status(job.status)),
      h(
        "div",
        { class: "stack" },
        job.problem && h("p", { class: "card", role: "status" }, foreign(job.problem)),
        this.#wrong(job, now),
        card("State", state(job, now, content), { id: "state" }),
        h(
          "div",
          { class: "columns" },
          h(
            "div",
            {},
            roundsCard(job, this.#rounds, { now, fresh: this.#fresh, query: this.#query }),
            this.#curvesCard(),
            participantsCard(job, this.#people, this.#query),
          ),
          h(
            "div",
            {},
            moneyCard(job),
            demandsCard(job, now),
            serversCard(job, now),
            termsCard(job, content),
            this.#checkCard(job),
          ),
        ),
      ),
    ];
  }

  #wrong(job, now) {
    if (job.wrong.length === 0) return null;
    const cards = [];
    for (const round of job.wrong.slice(0, SHOWN_LIES)) {
      const row = this.#lies.get(round)?.value?.rounds.find((each) => each.round === round);
      for (const attempt of row?.attempts ?? []) {
        if (attempt.verdict?.judgement === "wrong")
          cards.push(lieCard({ job: job.job, round, attempt, check: job.check, now }));
      }
    }
    const others = job.wrong.slice(SHOWN_LIES);
    return h(
      "div",
      { class: "stack", "data-key": "wrong" },
      cards.slice(0, SHOWN_LIES * 2),
      others.length > 0 &&
        h(
          "p",
          { class: "card" },
          "Also wrong: ",
          others.map((round, index) => [
            index > 0 && ", ",
            h("a", { href: to(job.job, round) }, `round ${count(round)}`),
          ]),
        ),
    );
  }

  #curvesCard() {
    const found = this.#curves.value;
    const any = found?.curves.some(({ values }) => values.some((value) => value !== null));
    const none = found ? "Nothing has been measured yet." : "Reading …";
    return card(
      "Curves",
      [any ? h("div", { class: "plots", id: "plots", "data-own": "plots" }) : h("p", { class: "nothing" }, none)],
      { id: "curves" },
    );
  }

  #checkCard(job) {
    return card(
      "Check it elsewhere",
      [
        h("p", { class: "small muted" }, "This recomputes every round on any machine that reaches ledger and store:"),
        command(job.check),
        h("p", { class: "small" }, "Root of the newest model ", hash(job.model, "the model's root")),
      ],
      { id: "check" },
    );
  }
}
