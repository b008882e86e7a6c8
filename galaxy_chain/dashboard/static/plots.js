// Curves by round: drawn by uPlot, with a table beside each for who can't see them.

import { h, show } from "./dom.js";
import { count, counted, measure } from "./format.js";
import { clipped } from "./jobs.js";
import { foreign } from "./parts.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

const FIRST = ["loss", "accuracy"];
const LAST = ["epsilon", "gas", "updates", "samples"];
const NAMES = {
  loss: "Loss",
  accuracy: "Accuracy",
  epsilon: "Privacy spent (ε)",
  gas: "Gas a round",
  updates: "Updates",
  samples: "Samples",
};
const MOST_PLOTS = 24; // metrics and sources are named by others, who may name as many as they like
const MOST_CURVES = 6;
const HEIGHT = 190;

/** The plots of a job, in an element of their own. */
export class Plots {
  #plots = new Map();

  /** Draws `curves` into `element`; `recoloured` where light and dark have changed. */
  update(element, curves, recoloured = false) {
    const { plots, left } = grouped(curves);
    const seen = new Set(plots.map(({ name }) => name));
    for (const [name, plot] of this.#plots) {
      if (seen.has(name) && plot.element.parentElement === element) continue;
      plot.close();
      this.#plots.delete(name);
    }
    for (const [index, { name, curves: lines }] of plots.entries()) {
      let plot = this.#plots.get(name);
      if (!plot) {
        plot = new Plot(name);
        this.#plots.set(name, plot);
      }
      if (element.children[index] !== plot.element) element.insertBefore(plot.element, element.children[index] ?? null);
      plot.update(curves.rounds, lines, recoloured);
    }
    element.querySelector(":scope > p")?.remove();
    if (left > 0) element.append(h("p", { class: "muted small" }, `${counted(left, "more metric")}: see /api.`));
  }

  close() {
    for (const plot of this.#plots.values()) plot.close();
    this.#plots.clear();
  }
}

function grouped({ curves }) {
  const byName = new Map();
  for (const curve of curves) {
    if (!curve.values.some((value) => value !== null)) continue;
    if (!byName.has(curve.name)) byName.set(curve.name, []);
    byName.get(curve.name).push(curve);
  }
  const place = (name) =>
    FIRST.includes(name) ? FIRST.indexOf(name) : LAST.includes(name) ? 200 + LAST.indexOf(name) : 100;
  const names = [...byName.keys()].sort((one, other) => place(one) - place(other) || (one < other ? -1 : 1));
  const metrics = names.filter((name) => place(name) === 100);
  const dropped = new Set(metrics.slice(MOST_PLOTS));
  return {
    plots: names.filter((name) => !dropped.has(name)).map((name) => ({ name, curves: byName.get(name) })),
    left: dropped.size,
  };
}

class Plot {
  #name;
  #canvas = h("div", { class: "canvas", role: "img" });
  #readout = h("span", { class: "readout" });
  #sources = h("ul", { class: "sources" });
  #twin = h("div", { class: "twin", tabindex: "0", role: "region" });
  #details;
  #chart = null;
  #shape = "";
  #rounds = [];
  #curves = [];
  #watch;
  element;

  constructor(name) {
    this.#name = name;
    const title = NAMES[name] ?? clipped(name);
    this.#twin.setAttribute("aria-label", `${title} by round`);
    this.#details = h("details", { ontoggle: () => this.#showTwin() }, h("summary", {}, "As a table"), this.#twin);
    this.element = h(
      "figure",
      { class: "plot" },
      h("figcaption", {}, foreign(title), this.#readout),
      this.#canvas,
      this.#sources,
      this.#details,
    );
    this.#watch = new ResizeObserver(() => this.#fit());
    this.#watch.observe(this.#canvas);
  }

  update(rounds, curves, recoloured) {
    this.#rounds = rounds;
    this.#curves = curves.slice(0, MOST_CURVES);
    const left = curves.length - this.#curves.length;
    this.#canvas.setAttribute("aria-label", this.#inWords());
    this.#latest();
    const named = this.#curves.length > 1 || left > 0;
    show(
      this.#sources,
      named &&
        this.#curves.map((curve, index) =>
          h("li", { title: curve.source }, swatch(index), foreign(clipped(curve.source))),
        ),
      left > 0 && h("li", {}, `and ${count(left)} more, see /api`),
    );
    this.#showTwin();
    const shape = JSON.stringify(this.#curves.map(({ source }) => source));
    if (this.#chart && shape === this.#shape && !recoloured) this.#chart.setData(this.#data());
    else this.#draw();
    this.#shape = shape;
  }

  close() {
    this.#watch.disconnect();
    this.#chart?.destroy();
    this.element.remove();
  }

  #data() {
    return [this.#rounds, ...this.#curves.map(({ values }) => values)];
  }

  #draw() {
    this.#chart?.destroy();
    this.#canvas.replaceChildren();
    const colours = coloursOf(this.#canvas);
    const axis = {
      stroke: colours.text,
      grid: { stroke: colours.line, width: 1 },
      ticks: { show: false },
      font: `12px ${colours.font}`,
      gap: 6,
    };
    const points = { show: this.#rounds.length < 60, size: 5 };
    this.#chart = new uPlot(
      {
        width: Math.max(120, this.#canvas.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) } },
        axes: [
          { ...axis, size: 26, incrs: WHOLE, values: (_, splits) => splits.map((value) => count(value)) },
          {
            ...axis,
            ...(this.#curves.every(({ values }) => values.every(Number.isInteger)) && { incrs: WHOLE }),
            size: (_, labels) => 16 + 7 * Math.max(3, ...(labels ?? []).map((label) => label.length)),
            values: (_, splits) => ticks(splits),
          },
        ],
        series: [
          {},
          ...this.#curves.map((_, index) => ({ stroke: colours.curves[index], width: 1.75, points, spanGaps: true })),
        ],
        hooks: { setCursor: [(chart) => this.#read(chart.cursor.idx)] },
      },
      this.#data(),
      this.#canvas,
    );
  }

  #fit() {
    const width = this.#canvas.clientWidth;
    if (this.#chart && width > 0 && width !== this.#chart.width) this.#chart.setSize({ width, height: HEIGHT });
  }

  #read(index) {
    if (index === null || index === undefined) this.#latest();
    else
      this.#say(
        this.#rounds[index],
        this.#curves.map(({ values }) => values[index]),
      );
  }

  #latest() {
    const found = last(this.#curves);
    if (found === null) this.#readout.textContent = "";
    else
      this.#say(
        this.#rounds[found],
        this.#curves.map(({ values }) => values[found]),
      );
  }

  #say(round, values) {
    this.#readout.textContent = `round ${count(round)}: ${values.map(written).join(" · ")}`;
  }

  #inWords() {
    const title = NAMES[this.#name] ?? clipped(this.#name);
    const said = this.#curves.map(({ source, values }) => {
      const known = values.map((value, index) => [value, this.#rounds[index]]).filter(([value]) => value !== null);
      const low = known.reduce((one, other) => (other[0] < one[0] ? other : one));
      const high = known.reduce((one, other) => (other[0] > one[0] ? other : one));
      const [end, round] = known[known.length - 1];
      const whose = this.#curves.length > 1 ? `${clipped(source)}: ` : "";
      const [least, most] = [low, high].map(([value, at]) => `${written(value)} in round ${at}`);
      return `${whose}${written(end)} in round ${round}, lowest ${least}, highest ${most}`;
    });
    return `${title} by round. ${said.join("; ")}. The table below has all values.`;
  }

  /** Fills the table where it is open: nobody pays for one that nobody reads. */
  #showTwin() {
    if (!this.#details.open) {
      this.#twin.replaceChildren();
      return;
    }
    const rows = this.#rounds.map((round, index) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, count(round)),
        this.#curves.map(({ values }) => h("td", { class: "right" }, written(values[index]))),
      ),
    );
    show(
      this.#twin,
      h(
        "table",
        { class: "rows" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Round"),
            this.#curves.map(({ source }) => h("th", { scope: "col", class: "right" }, foreign(clipped(source)))),
          ),
        ),
        h("tbody", {}, rows.reverse()),
      ),
    );
  }
}

const WHOLE = [1, 2, 5]
  .flatMap((step) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((size) => step * size))
  .sort((one, other) => one - other);

function written(value) {
  return Number.isInteger(value) && value !== null ? count(value) : measure(value);
}

/** The ticks of an axis: short, and as exact as they are apart. */
function ticks(splits) {
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 0;
  const size = Math.max(...splits.map(Math.abs));
  const unit = size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : size >= 1e4 ? [1e3, "k"] : [1, ""];
  const whole = (places) =>
    Math.abs((step / unit[0]) * 10 ** places - Math.round((step / unit[0]) * 10 ** places)) < 1e-6;
  const places = [0, 1, 2, 3, 4, 5, 6, 7].find(whole) ?? 8;
  if (size !== 0 && (size < 1e-4 || size >= 1e12)) return splits.map((value) => value.toExponential(1));
  return splits.map((value) => `${Number((value / unit[0]).toFixed(places))}${value === 0 ? "" : unit[1]}`);
}

function last(curves) {
  for (let index = (curves[0]?.values.length ?? 0) - 1; index >= 0; index--) {
    if (curves.some(({ values }) => values[index] !== null)) return index;
  }
  return null;
}

function swatch(index) {
  return h(
    "svg",
    { viewBox: "0 0 14 8", "aria-hidden": "true" },
    h("path", { class: `stroke-${index + 1}`, d: "M0 4h14", "stroke-width": 3 }),
  );
}

/** The colours that hold now: a canvas does not know those of the style sheet. */
function coloursOf(element) {
  const probe = h("span", { class: "unseen" });
  element.append(probe);
  const resolved = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    text: resolved("text-2"),
    line: resolved("line"),
    curves: Array.from({ length: MOST_CURVES }, (_, index) => resolved(`curve-${index + 1}`)),
    font: getComputedStyle(element).fontFamily,
  };
  probe.remove();
  return found;
}
