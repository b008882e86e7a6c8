// Numbers, times and hashes as people read them.

const NUMBER = new Intl.NumberFormat("en");
const DAY = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A whole number with its thousands apart. */
export function count(value) {
  return value === null || value === undefined ? "–" : NUMBER.format(value);
}

/** A number and what it counts. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${Number(value) === 1 ? one : many}`;
}

/** A measurement with four significant digits. */
export function measure(value) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** A hash, an address or a content id, shortened in the middle. */
export function short(text, head = 8, tail = 6) {
  const whole = String(text);
  return whole.length <= head + tail + 3 ? whole : `${whole.slice(0, head)}…${whole.slice(-tail)}`;
}

/** A time of the chain in the reader's time zone; `near` is a time on whose day no date is needed. */
export function moment(seconds, near = null) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return String(seconds);
  const day = DAY.format(date);
  return near !== null && DAY.format(new Date(near * 1000)) === day
    ? CLOCK.format(date)
    : `${day} ${CLOCK.format(date)}`;
}

/** A number of seconds in the two largest units. */
export function lasting(seconds) {
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [name, size] of units) {
    const amount = Math.floor(left / size);
    if (amount > 0) parts.push(`${amount} ${name}`);
    left -= amount * size;
    if (parts.length === 2) break;
  }
  return parts.length ? parts.join(" ") : "0 s";
}

/** How far a time is from now, both in seconds. */
export function fromNow(seconds, now) {
  const away = seconds - now;
  if (Math.abs(away) < 1) return "now";
  return away > 0 ? `in ${lasting(away)}` : `${lasting(-away)} ago`;
}
