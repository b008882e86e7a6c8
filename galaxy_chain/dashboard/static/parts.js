// What several views show in the same way.

import { h } from "./dom.js";
import { count, counted, fromNow, moment, short } from "./format.js";

const ICONS = {
  right: "M2 6.5 5 9.5 10 3",
  wrong: "M3 3 9 9 M9 3 3 9",
  unchecked: "M4 4.2a2 2 0 1 1 2.6 1.9C6.2 6.3 6 6.6 6 7.2 M6 9.6v.1",
  copy: "M4.5 4.5h5.5v6h-5.5z M2.5 8.5v-6.5h5.5",
};

function icon(name) {
  return h("svg", { viewBox: "0 0 12 12", "aria-hidden": "true", focusable: "false" }, h("path", { d: ICONS[name] }));
}

/** A word with a colour: good, bad, warn, info, accent or none. */
export function pill(text, tone = "", sign = null) {
  return h("span", { class: `pill ${tone}` }, sign && icon(sign), text);
}

/** Somebody else's text, set apart so that its direction is its own. */
export function foreign(text) {
  return h("bdi", {}, text);
}

/** An amount as people read it, exactly in its title. */
export function money(amount) {
  if (amount === null) return h("span", { class: "muted" }, "–");
  const tiny = amount.wei !== "0" && amount.wei.length < 10;
  return h("span", { title: `${amount.wei} wei` }, tiny ? `${count(Number(amount.wei))} wei` : amount.ether);
}

/** Whether an amount is nothing. */
export function nothing(amount) {
  return amount === null || /^0+$/.test(amount.wei);
}

/** A time of the chain; with `now`, how far it is from that, too. */
export function time(seconds, now = null) {
  if (seconds === null) return h("span", { class: "muted" }, "–");
  const date = new Date(seconds * 1000);
  const stamp = Number.isNaN(date.getTime()) ? null : date.toISOString();
  const far = now === null ? null : ` (${fromNow(seconds, now)})`;
  return h("time", { datetime: stamp, title: moment(seconds) }, moment(seconds, now ?? Date.now() / 1000), far);
}

const STATUS = {
  running: ["running", "info"],
  finished: ["finished", "good"],
  final: ["books closed", ""],
  cancelled: ["cancelled", "warn"],
  unknown: ["not read yet", ""],
};

export function status(name) {
  return pill(...(STATUS[name] ?? [name, ""]));
}

const PHASES = {
  collecting: ["collecting", "info"],
  closed: ["awaiting the commit", "info"],
  committed: ["committed", "accent"],
  challenged: ["challenged", "warn"],
  settled: ["settled", "good"],
  reverted: ["reverted", "bad"],
  superseded: ["superseded", "warn"],
  reopened: ["reopened", "warn"],
};

export function phaseWord(phase) {
  return PHASES[phase]?.[0] ?? phase;
}

export function phaseTone(phase) {
  return PHASES[phase]?.[1] ?? "";
}

export function phase(name) {
  return pill(phaseWord(name), phaseTone(name));
}

const JUDGED = {
  right: ["right", "good", "right"],
  wrong: ["wrong", "bad", "wrong"],
  unchecked: ["not to be checked", "warn", "unchecked"],
  computing: ["computing", "info", null],
  waiting: ["waiting", "", null],
};

/** What was found of a commit, or of so many. */
export function judgement(name, amount = null) {
  const [word, tone, sign] = JUDGED[name] ?? [name, "", null];
  return pill(amount === null ? word : `${count(amount)} ${word}`, tone, sign);
}

/** The partial sum of a number in words. */
export function nodeName(node) {
  return node === 0 ? "the step to the next model" : `partial sum ${count(node)}`;
}

/** Where a lie is, in one line. */
export function lieWords(lie) {
  const where = [nodeName(lie.node), `chunk ${count(lie.chunk)}`];
  if (lie.parameter !== null) where.push(`parameter ${count(lie.parameter)}`);
  return where.join(", ");
}

/** A verdict in a row of a table. */
export function verdict(found) {
  if (!found) return h("span", { class: "muted" }, "–");
  const more = [];
  if (found.judgement === "computing" && found.progress) more.push(progress(found.progress));
  if (found.judgement === "unchecked" && found.missing) more.push(line(foreign(found.missing), true));
  if (found.lie) {
    more.push(line(lieWords(found.lie)));
    if (found.lie.committed !== null && found.lie.right !== null) {
      more.push(
        line([h("span", { class: "number" }, `${found.lie.committed} committed, ${found.lie.right} is right`)]),
      );
    }
  }
  if (found.punishment) more.push(line(`punished in block ${count(found.punishment.block)}`));
  if (found.objections.length) more.push(line(counted(found.objections.length, "objection")));
  return h("div", { class: "verdict" }, judgement(found.judgement), more);
}

function line(content, clamp = false) {
  return h("div", { class: `small${clamp ? " clamp" : ""}` }, content);
}

/** How far a computation is. */
export function progress({ done, total, what }) {
  const text = `${count(done)} of ${count(total)} ${what}`;
  return h(
    "div",
    { class: "small" },
    text,
    h("progress", { max: Math.max(1, total), value: done, "aria-label": text }),
  );
}

const COPIED = 1500;

function copier(text, label) {
  return h(
    "button",
    {
      type: "button",
      class: "copy",
      "aria-label": `Copy ${label}`,
      title: "Copy",
      onclick: async (event) => {
        const button = event.currentTarget;
        try {
          await navigator.clipboard.writeText(text);
        } catch {
          // Browsers give the clipboard to secure pages only: elsewhere the text is selected, for the reader to copy.
          const shown = button.parentElement.querySelector("code");
          shown.textContent = text;
          window.getSelection().selectAllChildren(shown);
          announce(`${label} is selected: copy it with the keyboard`);
          return;
        }
        announce(`${label} copied`);
        button.title = "Copied";
        setTimeout(() => (button.title = "Copy"), COPIED);
      },
    },
    icon("copy"),
  );
}

/** A hash, an address or a content id: shortened, whole in its title, with a button that copies it. */
export function hash(text, label, { whole = false, to = null } = {}) {
  if (text === null || text === undefined) return h("span", { class: "muted" }, "–");
  const shown = h("code", { title: text }, whole ? text : short(text));
  const link = to === null ? shown : h("a", { href: to, rel: "noreferrer", download: to.startsWith("/") }, shown);
  return h("span", { class: "hash" }, link, copier(text, label));
}

/** A content id, with a link where contents are served: by the store, or by this process. */
export function contentId(text, label, below, options = {}) {
  const served = typeof below === "string" && text !== null && /^(https?:\/\/|\/(?!\/))/.test(below);
  return hash(text, label, { ...options, to: served ? below + encodeURIComponent(text) : null });
}

export function command(text) {
  return h("div", { class: "command" }, h("code", {}, text), copier(text, "the command"));
}

/** Facts in a grid: pairs of a name and what it is; those that are null are left out. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs
      .filter((pair) => pair && pair[1] !== null)
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

export function card(title, content, { id, tone = "", aside = null, level = "h2", key = id } = {}) {
  const labelled = id && `${id}-title`;
  return h(
    "section",
    { class: `card ${tone}`, id, "data-key": key, "aria-labelledby": labelled },
    h("header", {}, h(level, { id: labelled }, title), aside),
    content,
  );
}

/** A bar of parts, as fractions of one; for people who see it only: what it says stands beside it in words. */
export function bar(parts) {
  let at = 0;
  return h(
    "svg",
    { class: "bar", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    parts.map(([part, tone]) => {
      const x = at;
      at += part;
      return h("rect", {
        class: tone,
        x: (x * 1000).toFixed(2),
        y: 0,
        width: Math.max(0, part * 1000).toFixed(2),
        height: 10,
      });
    }),
  );
}

/** What is there instead of a view that has not been answered, or can't be. */
export function unanswered(source, what) {
  const problem = source.problem;
  if (problem === null) return h("p", { class: "muted" }, `Reading ${what} …`);
  if (problem.kind.endsWith("loading"))
    return h("p", { class: "muted" }, `Reading ${what}: its events are read for the first time …`);
  return h(
    "div",
    { class: "card" },
    h("p", {}, foreign(problem.message)),
    h("p", {}, h("a", { href: "#/" }, "All jobs")),
  );
}

export function crumbs(...items) {
  return h(
    "nav",
    { "aria-label": "Place" },
    h(
      "ol",
      { class: "crumbs" },
      items.map((item) => h("li", {}, item)),
    ),
  );
}

/** Says something to who listens rather than looks. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
