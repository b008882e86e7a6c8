// The page: one view for each place, the ledger's state above it, and the process's events that keep both current.

import { Feed, Source } from "./api.js";
import { h, show } from "./dom.js";
import { count, moment } from "./format.js";
import { JobView } from "./job.js";
import { JobsView } from "./jobs.js";
import { announce, foreign } from "./parts.js";
import { read, same } from "./place.js";
import { RoundView } from "./round.js";

const VIEWS = { jobs: JobsView, job: JobView, round: RoundView };
const TICK = 15_000; // milliseconds after which what is said of now is said anew

const main = document.getElementById("main");
const ledger = new Source("/api/ledger", ledgerChanged);
let place = null;
let view = null;
let feed = null;
let feedPath = null;
let up = true;
let drawing = false;
let answered = performance.now();
let awaySince = null; // this machine's clock, in seconds: the chain's stands still

/** The chain's time, as it should be by now. */
function now() {
  const time = ledger.value?.time;
  if (time === null || time === undefined) return Date.now() / 1000;
  return ledger.value.health === "ok" ? time + (performance.now() - answered) / 1000 : time;
}

function ledgerChanged(before) {
  const after = ledger.value;
  if (after && after.block !== before?.block) answered = performance.now();
  if (after?.since == null) awaySince = null;
  else awaySince ??= Date.now() / 1000 - after.since;
  if (before && after && before.health !== after.health) view?.reload();
  draw();
}

function told(name, update) {
  if (name === "ledger" || name === "reload") ledger.ask();
  if (name === "reload") view.reload();
  else view.told(name, update);
}

function reachable(whether) {
  if (up === whether) return;
  up = whether;
  draw();
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    banner();
    show(document.getElementById("ledger"), ...facts());
    show(document.getElementById("footer"), ...footer());
    show(main, ...view.render(now(), ledger.value?.content ?? null));
    view.shown();
    document.title = `${view.title()} – Galaxy`;
    restore();
  });
}

// Banners: of what does not answer. They go when it is back.

function banner() {
  const found = ledger.value;
  const notices = [];
  if (!up)
    notices.push([
      "bad",
      "The dashboard does not answer.",
      "Its process may have ended. This page tries again by itself; what it shows is from before.",
    ]);
  if (up && found && found.health === "away") {
    const since = awaySince === null ? "" : `Not since ${moment(awaySince, Date.now() / 1000)}. `;
    const seen = found.block === null ? "" : `What is shown is as of block ${count(found.block)}. `;
    const why = found.problem ? `: ${found.problem}` : ".";
    notices.push(["bad", "The chain does not answer.", `${since}${seen}It is asked again and again${why}`]);
  }
  if (up && found && found.health === "wrong")
    notices.push(["bad", "The node answers what can't be.", found.problem ?? ""]);
  if (found && !found.genuine) notices.push(["bad", "This ledger is not the genuine one.", found.doubt ?? ""]);
  if (found && found.store_problem) notices.push(["warn", "The content store can't be used.", found.store_problem]);
  show(
    document.getElementById("banner"),
    notices.map(([tone, what, more]) =>
      h("p", { class: `notice ${tone}`, "data-key": what }, h("strong", {}, what), foreign(more)),
    ),
  );
}

function facts() {
  const found = ledger.value;
  if (!found) return [h("span", {}, ledger.problem ? "The ledger can't be read." : "")];
  return [
    h("span", { class: "number" }, `chain ${found.chain_id}`),
    h("span", { class: "number" }, found.block === null ? "no block yet" : `block ${count(found.block)}`),
  ];
}

function footer() {
  const found = ledger.value;
  if (!found) return [];
  return [
    h("span", {}, "Ledger ", h("code", {}, found.address)),
    h("span", {}, "Store ", foreign(found.store)),
    h("span", {}, "Node ", foreign(found.node)),
    h("span", {}, `Galaxy ${found.version}`),
    h("a", { href: "/api/openapi.json" }, "The same as JSON"),
  ];
}

// Places

class Nowhere {
  title() {
    return "Not found";
  }
  render() {
    return [h("h1", { tabindex: "-1" }, "There is nothing here"), h("p", {}, h("a", { href: "#/" }, "All jobs"))];
  }
  turn() {}
  told() {}
  reload() {}
  shown() {}
  close() {}
}

function go() {
  const wanted = read(window.location.hash);
  if (view && same(place, wanted)) {
    place = wanted;
    view.turn(wanted.query);
    draw();
    return;
  }
  const first = view === null;
  view?.close();
  place = wanted;
  view = new (VIEWS[wanted.view] ?? Nowhere)(wanted, draw);
  const path = wanted.job === null ? "/api/events" : `/api/jobs/${wanted.job}/events`;
  if (path !== feedPath) {
    feed?.close();
    feedPath = path;
    feed = new Feed(path, told, reachable);
  }
  show(main, ...view.render(now(), ledger.value?.content ?? null));
  view.shown();
  draw();
  if (first) return;
  window.scrollTo(0, 0);
  announce(view.title());
  (main.querySelector("h1") ?? main).focus({ preventScroll: true });
}

// A reload comes back to where it was, once what was there is there again.

const KEPT = "galaxy-scroll";
let wantedScroll = null;

function remember() {
  try {
    window.sessionStorage.setItem(KEPT, JSON.stringify([window.location.hash, Math.round(window.scrollY)]));
  } catch {
    // where storage is forbidden a reload begins at the top
  }
}

function recall() {
  try {
    const [hash, scroll] = JSON.parse(window.sessionStorage.getItem(KEPT) ?? "[]");
    if (hash === window.location.hash && scroll > 0) wantedScroll = scroll;
  } catch {
    // see above
  }
}

function restore() {
  if (wantedScroll === null) return;
  if (document.documentElement.scrollHeight - window.innerHeight >= wantedScroll) {
    window.scrollTo(0, wantedScroll);
    wantedScroll = null;
  }
}

for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) {
  window.addEventListener(name, () => (wantedScroll = null), { passive: true });
}
window.history.scrollRestoration = "manual";
window.addEventListener("pagehide", remember);
window.addEventListener("hashchange", go);
window.addEventListener("galaxy-theme", () => view?.shown(true));
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is a place of ours
  main.focus();
  main.scrollIntoView();
});
setInterval(draw, TICK);
recall();
go();
