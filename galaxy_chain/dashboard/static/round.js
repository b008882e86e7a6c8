// A round opened: its verdict, what happened to it, its entries, its tree of sums, and how to check it elsewhere.

import { Source } from "./api.js";
import { h } from "./dom.js";
import { count, counted, measure } from "./format.js";
import { verdictCard } from "./lies.js";
import { announce, card, command, contentId, crumbs, facts, foreign, hash, judgement, money, nodeName, nothing, pager, phase, phaseWord, pill, table, time, unanswered } from "./parts.js";
import { to } from "./place.js";
import { PAGE as NODES, treeCard } from "./tree.js";

const ENTRIES = 25;

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
    this.#entries = this.#turned(this.#entries, `${this.#below}/entries?attempt=${attempt}&count=${ENTRIES}&from=${this.#query.entries ?? 0}`);
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
      if (before.attempt.phase !== after.attempt.phase) announce(`Round ${this.#round}: ${phaseWord(after.attempt.phase)}.`);
      if (was !== is && (is === "right" || is === "wrong" || is === "unchecked")) announce(`Round ${this.#round}: ${is === "unchecked" ? "not to be checked" : is}.`);
    }
    this.#changed();
  }

  title() {
    return `Round ${this.#round} · job ${this.#job}`;
  }

  told(name, update) {
    const ours = name === "verdict" ? update.round === this.#round : name === "rounds" && update.first <= this.#round && this.#round <= update.last;
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
    const place = crumbs(h("a", { href: "#/" }, "Jobs"), h("a", { href: to(this.#job) }, name), h("span", { "aria-current": "page" }, `Round ${count(this.#round)}`));
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
          { class: "columns" },
          h("div", {}, treeCard(found, this.#nodes, { job: this.#job, query: this.#query, open: this.#open, changed: this.#changed }), this.#entriesCard(found), this.#challenges(found, now)),
          h("div", {}, this.#story(found, now), this.#numbers(found), this.#hashes(found), this.#check(found)),
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
        h("a", { class: "button", href: to(this.#job, this.#round, attempt === newest ? {} : { attempt }), "aria-current": attempt === found.attempt.attempt ? "true" : null }, count(attempt)),
      ),
    );
  }

  #story(found, now) {
    const { attempt } = found;
    const steps = [["info", "Opened", attempt.opened_at, `block ${count(attempt.opened_block)}`, null]];
    if (attempt.committed_at !== null) steps.push(["accent", "Committed", attempt.committed_at, attempt.commit_block === null ? null : `block ${count(attempt.commit_block)}`, attempt.transaction]);
    const ended = { settled: ["good", "Settled"], reverted: ["bad", "Reverted"], superseded: ["warn", "Superseded"], reopened: ["warn", "Opened again"] }[attempt.phase];
    if (ended) {
      const why = attempt.phase === "reverted" && attempt.ended_round !== null && attempt.ended_round !== this.#round ? `with round ${count(attempt.ended_round)}, which was proved wrong` : null;
      steps.push([...ended, attempt.ended_at, why, attempt.ended_by]);
    }
    const next = [
      attempt.phase === "committed" && attempt.challengeable_until !== null && attempt.challengeable_until >= now && ["It can be challenged until ", time(attempt.challengeable_until, now), "."],
      attempt.phase === "committed" && attempt.settles_from !== null && ["It can be settled from ", time(attempt.settles_from, now), "."],
      attempt.demands > 0 && [`${counted(attempt.demands, "chunk is", "chunks are")} demanded of it.`],
    ].filter(Boolean);
    return card(
      "What happened",
      [
        h(
          "ol",
          { class: "steps" },
          steps.map(([tone, what, at, more, transaction]) =>
            h("li", { class: tone }, h("strong", {}, what), " ", time(at), more && h("div", { class: "small" }, more), transaction && h("div", { class: "small" }, hash(transaction, "the transaction"))),
          ),
          next.map((what) => h("li", {}, what)),
        ),
        attempt.origin !== attempt.attempt && h("p", { class: "small muted" }, `The updates are those of attempt ${count(attempt.origin)}.`),
        attempt.sender && h("p", { class: "small muted" }, "Set aside by ", hash(attempt.sender, "the sender's address")),
      ],
      { id: "story" },
    );
  }

  #numbers({ attempt }) {
    const { measured, gas } = attempt;
    const metrics = Object.entries(measured?.metrics ?? {}).filter(([, value]) => value !== null);
    return card(
      "Figures",
      facts([
        ["Updates", [count(attempt.updates), attempt.excluded > 0 && h("span", { class: "small muted" }, `, ${count(attempt.excluded)} left out`)]],
        ["Samples", count(attempt.samples)],
        nothing(attempt.reward) ? null : ["Reward", [money(attempt.reward), h("div", { class: "small muted" }, "server ", money(attempt.server_amount), ", each client ", money(attempt.client_amount))]],
        gas.commit === null ? null : ["Gas of the commit", count(gas.commit)],
        gas.updates === null ? null : ["Gas of the updates", [count(gas.updates), h("div", { class: "small muted" }, counted(gas.transactions, "transaction"))]],
        gas.total === null ? null : ["Gas in all", count(gas.total)],
        typeof measured?.loss === "number" ? ["Loss", measure(measured.loss)] : null,
        typeof measured?.accuracy === "number" ? ["Accuracy", measure(measured.accuracy)] : null,
        ...metrics.slice(0, 24).map(([name, value]) => [foreign(name), measure(value)]),
        typeof measured?.seconds === "number" ? ["Aggregated in", `${measure(measured.seconds)} s`] : null,
      ]),
      { id: "figures" },
    );
  }

  #hashes(found) {
    const { attempt, content } = found;
    const one = (name, shown) => [h("dt", {}, name), h("dd", {}, shown)];
    return card(
      "Hashes",
      h(
        "dl",
        { class: "pairs left" },
        found.model !== null && one("Model it made", [hash(found.model, "the model's root"), h("div", { class: "small" }, "content ", contentId(found.model_id, "the model's content id", content))]),
        found.previous !== null && one("Model it began with", [hash(found.previous, "the root of the model before"), h("div", { class: "small" }, "content ", contentId(found.previous_id, "the content id of the model before", content))]),
        found.nodes_id !== null && one("Partial sums", contentId(found.nodes_id, "the content id of the partial sums", content)),
        found.head !== null && one("Entries", hash(found.head, "what binds the entries")),
        attempt.record !== null && one("Record", hash(attempt.record, "the record")),
        attempt.server !== null && one("Server", hash(attempt.server, "the server's address")),
      ),
      { id: "hashes" },
    );
  }

  #check(found) {
    return card("Check it elsewhere", [h("p", { class: "small muted" }, "The same check, on any machine that reaches ledger and store:"), command(found.check)], { id: "check" });
  }

  #entriesCard(detail) {
    const found = this.#entries?.shown;
    if (!found) return card("Updates", this.#entries ? unanswered(this.#entries, "the updates") : null, { id: "entries" });
    const columns = [
      { name: "Entry", cell: (entry) => count(entry.number) },
      { name: "Client", cell: (entry) => hash(entry.client, "the client's address") },
      { name: "Samples", right: true, cell: (entry) => count(entry.weight) },
      { name: "Counts", cell: (entry) => (entry.included ? (detail.attempt.verdict ? "included" : "") : pill("left out", "warn")) },
      { name: "Content", cell: (entry) => [contentId(entry.content_id, "the update's content id", detail.content), entry.here === false && h("div", { class: "small muted" }, "not in the store here")] },
      { name: "Commitment", cell: (entry) => hash(entry.commitment, "the commitment") },
      { name: "Came in", cell: (entry) => [entry.lane === null ? "" : { direct: "directly", signed: "signed", contract: "by contract" }[entry.lane], h("div", { class: "small muted" }, `block ${count(entry.block)}`)] },
    ];
    const place = (from) => to(this.#job, this.#round, { ...this.#query, entries: from === 0 ? null : from });
    const end = found.first + found.entries.length;
    const pages =
      found.total > ENTRIES &&
      pager("Pages of updates", `${count(found.first + 1)} to ${count(end)} of ${count(found.total)}`, [
        ["Earlier", found.first === 0 ? null : place(Math.max(0, found.first - ENTRIES))],
        ["Later", end >= found.total ? null : place(end)],
      ]);
    return card(
      "Updates",
      [table({ caption: { text: "Updates of this round, as they came in", unseen: true }, columns, rows: found.entries, key: ({ number }) => number, nothing: "No update is in yet." }), pages],
      { id: "entries", aside: h("span", { class: "small muted" }, count(found.total)) },
    );
  }

  #challenges(found, now) {
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
          { name: "Outcome", cell: (challenge) => [pill(...outcomes[challenge.outcome]), challenge.outcome === "open" && h("div", { class: "small muted" }, "until ", time(challenge.answer_by, now))] },
          { name: "Transaction", cell: (challenge) => hash(challenge.outcome_transaction ?? challenge.transaction, "the transaction") },
        ],
      }),
      { id: "challenges", aside: h("span", { class: "small muted" }, count(found.challenges.length)) },
    );
  }
}
