// Where the payload is from (in this file, or fetched), how its columns unfold, and how numbers become words.
const DAY = 86400;
const VERDICTS = {
  "flagged": { glyph: "▲", short: "left while muted", means: "audio-derived data left while the client was muted" },
  "unmuted": { glyph: "○", short: "left while not muted", means: "audio-derived data left while the client was not muted" },
  "inert": { glyph: "–", short: "without information", means: "values were there but carry no information: at their floor, or without a change" },
  "mute-unknown": { glyph: "?", short: "nobody said whether muted", means: "audio-derived data left, and nobody said whether the client was muted: not clean" },
  "missing": { glyph: "×", short: "counted, not seen", means: "the client counted this minute, but its report was not seen" },
  "undecoded": { glyph: "#", short: "could not be read", means: "a message of a known endpoint that could not be read" },
};
const NAMES = Object.keys(VERDICTS);
/** The minutes that were seen, of which the flagged are a part; an undecoded message is no minute. */
const seenOf = (minutes) => NAMES.filter((name) => name !== "missing" && name !== "undecoded").reduce((all, name) => all + (minutes[name] || 0), 0);
const STATISTICS = ["max", "mean", "min"];

const pad = (number) => String(number).padStart(2, "0");
const clock = (time) => { const at = new Date(time * 1000); return `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`; };
const clockSeconds = (time) => `${clock(time)}:${pad(new Date(time * 1000).getUTCSeconds())}`;
const dayFormat = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "long", year: "numeric" });
const monthFormat = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", month: "long", year: "numeric" });
const dayName = (time) => dayFormat.format(new Date(time * 1000));
const dayOf = (time) => Math.floor(time / DAY) * DAY;
const isoDay = (time) => new Date(time * 1000).toISOString().slice(0, 10);
const count = (number, noun) => `${number.toLocaleString("en-GB")} ${noun}${number === 1 ? "" : "s"}`;
const percent = (part, whole) => (whole ? `${part < whole ? Math.min(99, Math.round((100 * part) / whole)) : 100}\u00a0%` : "none");

/** An element with attributes and children; texts become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
function pressable(words, then, title = null) {
  const button = make("button", { type: "button", title }, ...[words].flat());
  button.addEventListener("click", then);
  return button;
}
const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
const byId = (id) => document.getElementById(id);
/** A text from the wire, kept from turning the direction of what stands around it. */
const wire = (text) => make("bdi", {}, text);

/** A column as an array of `length` entries; null where there is none. */
function unpack(column, length) {
  if (!column) return null;
  if (Array.isArray(column)) return column;
  const entries = new Array(length);
  for (let i = 0, at = 0; i < column.runs.length; i += 2) {
    entries.fill(column.runs[i], at, at + column.runs[i + 1]);
    at += column.runs[i + 1];
  }
  return entries;
}

/** The minutes of a client with times and verdicts unfolded; the other columns unfold when they are asked for. */
function unfold(payload) {
  const n = payload.count;
  const end = new Array(n);
  let at = 0;
  (unpack(payload.end_step, n) || []).forEach((step, i) => { end[i] = at += step; });
  const known = new Map();
  const column = (name, packed) => {
    if (!known.has(name)) known.set(name, unpack(packed, n));
    return known.get(name);
  };
  return {
    count: n, end, length: unpack(payload.length, n) || [], verdict: unpack(payload.verdict, n) || [],
    closed: payload.uninspected || [], values: payload.values || [], series: seriesOf(payload.values || []), guesses: payload.guesses || [], texts: payload.texts || [],
    seconds: (what, i) => column(what, payload[what])?.[i] ?? null,
    value: (which, i) => column(`value ${which}`, payload.values[which].at)?.[i] ?? null,
    evidence: (what, i) => column(`evidence ${what}`, payload.evidence?.[what])?.[i] ?? null,
    words(what, i) { const number = this.evidence(what, i); return number === null ? null : this.texts[number]; },
    guess(i) { const number = column("guess", payload.guess)?.[i] ?? null; return number === null ? null : this.guesses[number]; },
    isForAnalysts: "evidence" in payload,
    /** A flagged minute for a part of which the client was muted. */
    isPart(i) { return this.words("rule", i) === "MW-MUTED-PART"; },
  };
}

/** What there is to draw of the values: of each gain or field its `max`, `mean` and `min`, of other values a `mean` only. */
function seriesOf(values) {
  const found = new Map();
  values.forEach((value, k) => {
    const [kind, label, statistic] = value.role ? ["gain", "gain", value.role.split("-")[0]]
      : value.field ? ["field", value.field, value.statistic] : ["value", value.name, "mean"];
    const key = `${kind} ${label} ${value.unit}`;
    if (!found.has(key)) found.set(key, { kind, label, unit: value.unit === "1" ? "" : value.unit, meaning: value.meaning, floor: value.floor ?? null, at: {} });
    found.get(key).at[statistic] = k;
  });
  return [...found.values()].sort((a, b) => (b.kind === "gain") - (a.kind === "gain"));
}

/** Everything is in this file; minutes are parsed when they are first looked at. */
function inlined() {
  const read = (id) => { const found = byId(`data-${id}`); return found && JSON.parse(found.textContent); };
  const known = new Map();
  const now = (client, day) => {
    const id = `minutes-${client.index}-${day / DAY}`;
    if (!known.has(id)) { const found = read(id); known.set(id, found && unfold(found)); }
    return known.get(id);
  };
  return { isLive: false, now, minutes: async (client, day) => now(client, day), overview: async () => read("overview"), summary: async () => read("summary"), about: read("about") };
}

/** The same from the server, a day at a time. */
function served() {
  const known = new Map();
  const last = {}; // what was answered to the newest request of each kind: the browser is told to keep nothing
  const get = async (what, query) => {
    const address = `api/${what}?${new URLSearchParams(query)}`;
    const before = last[what]?.address === address ? last[what] : null;
    const answer = await fetch(address, { headers: before ? { "If-None-Match": before.tag } : {} });
    if (answer.status === 304) return before;
    if (answer.status === 401) location.assign("/login");
    if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
    last[what] = { address, tag: answer.headers.get("ETag"), payload: await answer.json() };
    return last[what];
  };
  const key = (client, day) => `${client.name} ${day} ${JSON.stringify(client.minutes)}`;
  const now = (client, day) => known.get(key(client, day))?.minutes || null;
  /** Ask for a day's minutes, though they may be known; is there anything new? */
  const renew = async (client, day) => {
    const { tag, payload } = await get("minutes", { client: client.name, since: day, until: day + DAY });
    const name = key(client, day);
    if (known.get(name)?.tag === tag) return false;
    if (known.size > 400) known.clear();
    known.set(name, { tag, minutes: unfold(payload) });
    return true;
  };
  return {
    isLive: true, about: null, now, renew,
    async minutes(client, day) {
      if (!known.has(key(client, day))) await renew(client, day);
      return now(client, day);
    },
    overview: async (day) => (await get("overview", day === null ? {} : { since: day, until: day + DAY })).payload,
    summary: async (month) => (await get("summary", month ? { month } : {})).payload,
  };
}
