// The tree of sums of a round: a map for who sees it, and nested lists that say the same and more.

import { h } from "./dom.js";
import { count, counted } from "./format.js";
import { pager } from "./lists.js";
import { card, contentId, foreign, hash, nodeName, pill, unanswered } from "./parts.js";
import { to } from "./place.js";

export const PAGE = 500;

const STATES = {
  right: ["recomputed: right", "good", "right"],
  wrong: ["wrong", "bad", "wrong"],
  unchecked: ["not to be checked", "warn", "unchecked"],
  waiting: ["waiting", "", null],
  passed: ["not recomputed", "", null],
};

export function treeCard(detail, source, { job, query, open, changed }) {
  if (detail.attempt.verdict === null)
    return card("Tree of sums", h("p", { class: "nothing" }, "There are no sums before the commit."), { id: "tree" });
  const found = source?.shown;
  if (!found) return card("Tree of sums", source ? unanswered(source, "the tree") : null, { id: "tree" });
  // What waits although there is a verdict could not be recomputed.
  const over = !["waiting", "computing"].includes(detail.attempt.verdict.judgement);
  const nodes = found.nodes.map((node) => (over && node.state === "waiting" ? { ...node, state: "passed" } : node));
  const known = new Map(nodes.map((node) => [node.node, node]));
  const root = known.get(0);
  lead(nodes, open, detail.attempt.attempt);
  const right = nodes.filter(({ state }) => state === "right").length;
  const flat = detail.nodes === 0;
  const what = flat
    ? `One step from ${counted(detail.entries, "update")} to the next model`
    : `${counted(detail.nodes, "partial sum")} of up to ${count(detail.fan_in)} each, and the step to the next model`;
  const place = (from) => to(job, detail.round, { ...query, nodes: from });
  const end = found.first + found.nodes.length;
  const pages =
    found.total > PAGE &&
    pager("Pages of the tree", `${count(found.first + 1)} to ${count(end)} of ${count(found.total)}`, [
      ["Below", found.first === 0 ? null : place(Math.max(0, found.first - PAGE))],
      ["Above", end >= found.total ? null : end + PAGE >= found.total ? place(null) : place(end)],
    ]);
  const context = { detail, known, open, changed, job, query };
  const list = root ? [root] : topmost(nodes);
  return card(
    "Tree of sums",
    [
      h(
        "p",
        { class: "small muted" },
        `${what}. ${count(right)} of ${count(nodes.length)}${found.total > PAGE ? " shown" : ""} recomputed and right.`,
      ),
      map(detail, known),
      h(
        "ul",
        { class: "tree", "aria-label": "Tree of sums" },
        list.map((node) => branch(node, context)),
      ),
      pages,
    ],
    { id: "tree" },
  );
}

/** Opens the way to what is wrong, once: what is closed after that stays closed. */
function lead(nodes, open, attempt) {
  const wrong = nodes.filter(({ node, state }) => state === "wrong" && node !== 0);
  if (wrong.length === 0 || open.has(`led ${attempt}`)) return;
  open.add(`led ${attempt}`);
  for (const each of wrong) {
    for (
      let at = each;
      at;
      at = nodes.find(
        (node) =>
          node.level !== 1 &&
          node.node !== at.node &&
          node.first_child <= at.node &&
          at.node <= node.last_child &&
          at.node !== 0,
      )
    )
      open.add(String(at.node));
  }
}

function topmost(nodes) {
  const highest = Math.max(0, ...nodes.map(({ level }) => level));
  return nodes.filter(({ level }) => level === highest);
}

function branch(node, context) {
  const { open, changed } = context;
  const key = String(node.node);
  return h(
    "li",
    { "data-key": `node-${key}` },
    h(
      "details",
      {
        "data-key": key,
        open: open.has(key),
        ontoggle: (event) => {
          if (event.currentTarget.open === open.has(key)) return;
          if (event.currentTarget.open) open.add(key);
          else open.delete(key);
          changed();
        },
      },
      h("summary", {}, line(node)),
      open.has(key) ? [more(node, context), children(node, context)] : null,
    ),
  );
}

function line(node) {
  const name = node.node === 0 ? "Next model" : `Partial sum ${count(node.node)}`;
  return h(
    "span",
    { class: "node" },
    h("strong", {}, name),
    pill(...STATES[node.state]),
    h("span", { class: "small muted number" }, `weight ${count(node.weight)}`),
  );
}

function more(node, { detail }) {
  return h(
    "p",
    { class: "small muted" },
    "root ",
    hash(node.root, `the root of ${nodeName(node.node)}`),
    node.content_id !== null && [
      " content ",
      contentId(node.content_id, `the content id of ${nodeName(node.node)}`, detail.content),
    ],
    node.reason && h("span", {}, " ", foreign(node.reason)),
  );
}

function children(node, context) {
  const { detail, known, job, query } = context;
  if (node.level === 1 || (node.node === 0 && detail.nodes === 0)) {
    const [first, last] = [node.first_child, node.last_child];
    return h(
      "ul",
      {},
      h(
        "li",
        {},
        h(
          "a",
          { href: to(job, detail.round, { ...query, entries: first === 0 ? null : first }) },
          first === last ? `update ${count(first)}` : `updates ${count(first)} to ${count(last)}`,
        ),
      ),
    );
  }
  const below = [];
  for (let number = node.first_child; number <= node.last_child; number++) {
    const child = known.get(number);
    if (child) below.push(branch(child, context));
    else
      return h(
        "ul",
        {},
        h(
          "li",
          { class: "muted small" },
          `partial sums ${count(node.first_child)} to ${count(node.last_child)}: on another page of the tree`,
        ),
      );
  }
  return h("ul", {}, below);
}

// The map: a row a level, the next model above, the updates below.

const WIDTH = 1000;
const ROW = 44;
const SIDE = 18;
const MOST = 1200; // squares in a row that can still be told apart

function map(detail, known) {
  const rows = [[known.get(0) ?? { node: 0, level: 0, state: "waiting", first_child: 0, last_child: -1 }]];
  let number = 1;
  const levels = detail.levels.map((size) => {
    const level = Array.from({ length: size }, (_, index) => known.get(number + index) ?? null);
    number += size;
    return level;
  });
  rows.push(...levels.reverse());
  if (rows.some((row) => row.length > MOST) || detail.entries > MOST) return null;
  // Updates stand evenly, and each sum above the middle of what it stands for.
  const below = Array.from(
    { length: detail.entries },
    (_, index) => ((index + 0.5) * WIDTH) / Math.max(1, detail.entries),
  );
  const shapes = [];
  const squares = below.map((x) => square(x, rows.length, below, "included"));
  let under = below;
  for (let depth = rows.length - 1; depth >= 0; depth--) {
    const row = rows[depth];
    const offset = depth + 1 === rows.length ? 0 : firstNumber(detail.levels, rows.length - depth - 2);
    const places = row.map((node, index) => {
      const [left, right] = node ? [under[node.first_child - offset], under[node.last_child - offset]] : [];
      if (left === undefined || right === undefined) return ((index + 0.5) * WIDTH) / row.length;
      const [x, y] = [(left + right) / 2, depth * ROW + SIDE + 2];
      shapes.push(
        h("path", { d: `M${x} ${y}V${y + 9}M${left} ${y + ROW - SIDE}V${y + 9}H${right}V${y + ROW - SIDE}` }),
      );
      return x;
    });
    places.forEach((x, index) => squares.push(square(x, depth, places, row[index]?.state ?? "waiting")));
    under = places;
  }
  shapes.push(...squares);
  const height = rows.length * ROW + SIDE + 4;
  const counts = Object.keys(STATES)
    .map((state) => [state, [...known.values()].filter((node) => node.state === state).length])
    .filter(([, amount]) => amount > 0);
  const said = counts.map(([state, amount]) => `${count(amount)} ${STATES[state][0]}`).join(", ");
  const label = `Map of the tree of sums, ${counted(detail.entries, "update")} below: ${said}`;
  return h(
    "svg",
    {
      class: "map",
      viewBox: `0 0 ${WIDTH} ${height}`,
      preserveAspectRatio: "xMidYMid meet",
      role: "img",
      "aria-label": label,
    },
    shapes,
  );
}

/** The number of the first node of a level, counted from the lowest. */
function firstNumber(levels, level) {
  return 1 + levels.slice(0, level).reduce((sum, size) => sum + size, 0);
}

function square(centre, depth, row, tone) {
  const width = Math.min(SIDE, Math.max(0.6, (WIDTH / row.length) * 0.72));
  return h("rect", {
    class: tone,
    x: (centre - width / 2).toFixed(2),
    y: depth * ROW + 2,
    width: width.toFixed(2),
    height: SIDE,
    rx: Math.min(3, width / 4),
  });
}
