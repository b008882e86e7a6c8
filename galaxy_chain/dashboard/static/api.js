// Asks the dashboard's process, and listens to what it tells.

const PAUSE = 400; // milliseconds between two answers to the same question, however often it changes
const AGAIN = 3000; // until something that failed is asked again

/** An answer that says why there is none. */
export class Problem extends Error {
  constructor(status, kind, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

async function get(path, signal) {
  const response = await fetch(path, { signal, headers: { Accept: "application/json" }, cache: "no-store" });
  if (response.ok) return response.json();
  let said = {};
  try {
    said = await response.json();
  } catch {
    // not from the API: the status is all there is
  }
  const seconds = Number(response.headers.get("Retry-After"));
  throw new Problem(
    response.status,
    String(said.type ?? ""),
    String(said.detail ?? said.title ?? `The dashboard answered ${response.status}.`),
    Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null,
  );
}

/** One question of the API, asked again whenever `ask` is called, but never twice at once nor too often. */
export class Source {
  value = null;
  problem = null;
  #path;
  #changed;
  #stale;
  #running = false;
  #again = false;
  #timer = null;
  #last = -Infinity;
  #stop = new AbortController();

  /** @param stale What is shown until there is an answer: that of the page before, so that focus has where to stay. */
  constructor(path, changed, stale = null) {
    this.#path = path;
    this.#changed = changed;
    this.#stale = stale;
    this.ask();
  }

  /** What there is to show. */
  get shown() {
    return this.value ?? (this.problem === null ? this.#stale : null);
  }

  get path() {
    return this.#path;
  }

  ask() {
    if (this.#stop.signal.aborted) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#later(Math.max(0, this.#last + PAUSE - performance.now()));
  }

  close() {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  #later(milliseconds) {
    clearTimeout(this.#timer);
    if (milliseconds === 0) this.#run();
    else this.#timer = setTimeout(() => this.#run(), milliseconds);
  }

  async #run() {
    this.#running = true;
    this.#again = false;
    let retry = null;
    const before = this.value;
    try {
      this.value = await get(this.#path, this.#stop.signal);
      this.problem = null;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.problem =
        error instanceof Problem
          ? error
          : new Problem(0, "unreachable", "The dashboard's process does not answer.", null);
      if (this.problem.status === 404 || this.problem.status === 422) this.value = null;
      else retry = this.problem.retryAfter ?? AGAIN;
    } finally {
      this.#running = false;
      this.#last = performance.now();
    }
    if (this.#stop.signal.aborted) return;
    this.#changed(before);
    if (this.#again) this.ask();
    else if (retry !== null) this.#later(retry);
  }
}

// Milliseconds after which a page that nobody sees stops listening: all pages of a browser share six connections.
const UNSEEN = 20_000;
const EVENTS = ["ledger", "jobs", "job", "rounds", "verdict"];

/** The process's events: `told(name, update)` for each, `reload` where all is to be asked again, and `up(whether)`. */
export class Feed {
  #path;
  #told;
  #up;
  #source = null;
  #timer = null;
  #closed = false;
  #greeted = false;

  constructor(path, told, up) {
    this.#path = path;
    this.#told = told;
    this.#up = up;
    document.addEventListener("visibilitychange", this.#look);
    this.#open();
  }

  close() {
    this.#closed = true;
    document.removeEventListener("visibilitychange", this.#look);
    clearTimeout(this.#timer);
    this.#source?.close();
  }

  #look = () => {
    clearTimeout(this.#timer);
    if (document.hidden) this.#timer = setTimeout(() => this.#source?.close(), UNSEEN);
    else if (this.#source?.readyState === EventSource.CLOSED) this.#open();
  };

  #open() {
    const source = new EventSource(this.#path);
    this.#source = source;
    source.addEventListener("hello", () => {
      this.#up(true);
      // What was told between the first answers and now, or while nobody listened, is asked for once more.
      this.#told("reload", {});
      this.#greeted = true;
    });
    source.addEventListener("reload", () => this.#told("reload", {}));
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        let update = {};
        try {
          update = JSON.parse(event.data);
        } catch {
          this.#told("reload", {});
          return;
        }
        this.#told(name, update);
      });
    }
    source.onerror = () => {
      if (this.#closed) return;
      if (this.#greeted || source.readyState === EventSource.CLOSED) this.#up(false);
      // A browser comes back by itself, except after an answer that is none: those it takes for the last word.
      if (source.readyState === EventSource.CLOSED) {
        clearTimeout(this.#timer);
        if (!document.hidden) this.#timer = setTimeout(() => this.#open(), AGAIN);
      }
    };
  }
}
