// The place in the address: #/jobs/1/rounds/2?entries=50. A reload, a link and the browser's history keep it.

/** The address of a place; parts of `query` that are null are left out. */
export function to(job = null, round = null, query = {}) {
  const path = `#/${job === null ? "" : `jobs/${job}`}${round === null ? "" : `/rounds/${round}`}`;
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = kept.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");
  return text ? `${path}?${text}` : path;
}

/** Reads an address: `view` is jobs, job, round or null where it is none. Numbers that are none are left out. */
export function read(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?", 2);
  const numbers = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (/^\d{1,15}$/.test(value)) numbers[name] = Number(value);
  }
  if (path === "" || path === "/") return { view: "jobs", job: null, round: null, query: numbers };
  const found = /^\/jobs\/(\d{1,15})(?:\/rounds\/(\d{1,15}))?\/?$/.exec(path);
  if (!found) return { view: null, job: null, round: null, query: numbers };
  const round = found[2] === undefined ? null : Number(found[2]);
  return { view: round === null ? "job" : "round", job: Number(found[1]), round, query: numbers };
}

/** What tells views apart: in the same view a change of the query only turns a page. */
export function same(one, other) {
  return one.view === other.view && one.job === other.job && one.round === other.round;
}
