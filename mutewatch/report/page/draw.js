// The painters. A verdict is told by colour, by height and by pattern, so that it can be read without colour.
const COLOURS = { "flagged": "--flagged", "flagged in part": "--flagged", "unmuted": "--unmuted", "inert": "--inert", "mute-unknown": "--unknown", "missing": "--missing", "undecoded": "--undecoded" };
const HEIGHTS = { "flagged": 1, "unmuted": 0.5, "inert": 0.22, "mute-unknown": 1, "missing": 1, "undecoded": 1, "flagged in part": 0.7 };
const PATTERNS = { "mute-unknown": "stripes", "missing": "crosses", "undecoded": "dots", "closed": "back" };
const FROM_LIGHT_TO_GRAVE = [2, 1, 4, 5, 3, 0]; // later ones are painted over earlier ones

let palette = {};
const fills = new Map();

/** Read the colours of the theme that holds now. */
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "card", "ink", "soft", "line", "accent", "flagged", "unmuted", "inert", "unknown", "missing", "undecoded", "closed", "muted", "band", "mean", "track", "tint"];
  palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  fills.clear();
}

function fillOf(what) {
  if (!fills.has(what)) {
    const colour = what === "closed" ? palette.closed : palette[COLOURS[what].slice(2)];
    fills.set(what, PATTERNS[what] ? pattern(PATTERNS[what], colour) : colour);
  }
  return fills.get(what);
}

function pattern(kind, colour) {
  const size = 6;
  const scale = window.devicePixelRatio || 1;
  const tile = make("canvas");
  tile.width = tile.height = size * scale;
  const pen = tile.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = pen.strokeStyle = colour;
  pen.globalAlpha = 0.25;
  pen.fillRect(0, 0, size, size);
  pen.globalAlpha = 1;
  pen.lineWidth = 1.6;
  const line = (...points) => { pen.beginPath(); pen.moveTo(points[0], points[1]); pen.lineTo(points[2], points[3]); pen.stroke(); };
  const stripes = () => { line(-1, size + 1, size + 1, -1); line(-1, 1, 1, -1); line(size - 1, size + 1, size + 1, size - 1); };
  const back = () => { line(-1, -1, size + 1, size + 1); line(size - 1, -1, size + 1, 1); line(-1, size - 1, 1, size + 1); };
  if (kind === "stripes" || kind === "crosses") stripes();
  if (kind === "back" || kind === "crosses") back();
  if (kind === "dots") { pen.beginPath(); pen.arc(size / 2, size / 2, 1.7, 0, 7); pen.fill(); }
  const made = pen.createPattern(tile, "repeat");
  made.setTransform(new DOMMatrix().scale(1 / scale));
  return made;
}

/** Make a canvas as large as it is shown, and return its pen and size; null while it is not shown. */
function prepare(canvas, width = canvas.clientWidth, height = canvas.clientHeight) {
  if (!width || !height) return null;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return { pen, width, height };
}

function swatch(what) {
  const canvas = make("canvas", { class: "swatch", "aria-hidden": "true" });
  canvas.dataset.swatch = what;
  return canvas;
}

function drawSwatch(canvas) {
  const sheet = prepare(canvas, 18, 18);
  const what = canvas.dataset.swatch;
  const high = Math.max(4, 18 * (HEIGHTS[what] ?? 1));
  sheet.pen.fillStyle = fillOf(what);
  sheet.pen.fillRect(0, 18 - high, 18, high);
}

/** All minutes of a span as one bar, by verdict. */
function drawTotals(canvas, totals) {
  const sheet = prepare(canvas);
  const all = NAMES.reduce((sum, name) => sum + (totals[name] || 0), 0);
  if (!sheet) return;
  const { pen, width, height } = sheet;
  pen.fillStyle = palette.track;
  pen.fillRect(0, 0, width, height);
  let x = 0;
  for (const name of NAMES) {
    if (!totals[name]) continue;
    const wide = Math.max(3, (width * totals[name]) / all);
    pen.fillStyle = fillOf(name);
    pen.fillRect(x, height * (1 - HEIGHTS[name]), Math.max(1, wide - 2), height * HEIGHTS[name]);
    x += wide;
  }
}

/** Hours of a client's day, of the day's `from` to its `to`: what the overview knows before its minutes are at hand. */
function drawHours(canvas, width, height, hours, from, to) {
  const { pen } = prepare(canvas, width, height);
  background(pen, width, height);
  for (const [hour, verdict, minutes] of hours) {
    pen.fillStyle = fillOf(NAMES[verdict]);
    const high = Math.max(3, (Math.min(60, minutes) / 60) * height);
    const wide = width / (to - from);
    pen.fillRect((hour - from) * wide, height - high, wide - 1, high);
  }
}

/** Minutes between two times, those that grieve most on top; equal neighbours in one stroke. */
function drawVerdicts(canvas, width, height, minutes, from, to, verdicts = FROM_LIGHT_TO_GRAVE) {
  const { pen } = prepare(canvas, width, height);
  background(pen, width, height);
  const place = (time) => ((time - from) / (to - from)) * width;
  for (const verdict of verdicts) {
    for (const isPart of [true, false]) {
      const name = isPart ? `${NAMES[verdict]} in part` : NAMES[verdict];
      if (!(name in HEIGHTS)) continue;
      const high = HEIGHTS[name] * height;
      pen.fillStyle = fillOf(name);
      eachRun(minutes, (i) => minutes.verdict[i] === verdict && minutes.isPart(i) === isPart, (start, end) => {
        if (end < from || start > to) return;
        pen.fillRect(place(start), height - high, Math.max(1, place(end) - place(start)), high);
      });
    }
  }
  return { pen, place };
}

/** Call `then(start, end)` for each stretch of minutes that `holds`, without a pause between them. */
function eachRun(minutes, holds, then) {
  let start = null;
  let end = null;
  for (let i = 0; i < minutes.count; i++) {
    if (!holds(i)) continue;
    const begins = minutes.end[i] - (minutes.length[i] || 60);
    if (start !== null && begins - end > 5) { then(start, end); start = null; }
    if (start === null) start = begins;
    end = Math.max(end ?? 0, minutes.end[i]);
  }
  if (start !== null) then(start, end);
}

function background(pen, width, height) {
  pen.fillStyle = palette.track;
  pen.fillRect(0, 0, width, height);
}

/** For how much of each minute the client was muted: dark from below; hatched where nobody knows. */
function drawMute(canvas, width, height, minutes, from, to) {
  const { pen } = prepare(canvas, width, height);
  background(pen, width, height);
  const place = (time) => ((time - from) / (to - from)) * width;
  for (let i = 0; i < minutes.count; i++) {
    const length = minutes.length[i] || 60;
    const [start, end] = [minutes.end[i] - length, minutes.end[i]];
    const muted = minutes.seconds("muted", i);
    if (muted === null || end < from || start > to) continue;
    const left = Math.round(place(start)); // whole pixels, so that no seams show between minutes
    const wide = Math.max(1, Math.round(place(end)) - left);
    const high = (muted / length) * height;
    const strange = (minutes.seconds("unknown", i) / length) * height;
    pen.fillStyle = palette.muted;
    pen.fillRect(left, height - high, wide, high);
    pen.fillStyle = fillOf("mute-unknown");
    pen.fillRect(left, height - high - strange, wide, strange);
  }
}

/** What could be inferred, as words in boxes; equal neighbours share one. */
function drawGuesses(canvas, width, height, minutes, from, to) {
  const { pen } = prepare(canvas, width, height);
  background(pen, width, height);
  const place = (time) => ((time - from) / (to - from)) * width;
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const { label, odds, isSure, start, end } of guessRuns(minutes)) {
    if (end < from || start > to) continue;
    const [left, right] = [Math.max(0, place(start)), Math.min(width, place(end))];
    pen.fillStyle = isSure ? palette.band : palette.card;
    pen.globalAlpha = isSure ? 0.45 : 1;
    pen.fillRect(left, 1, Math.max(1, right - left - 1), height - 2);
    pen.globalAlpha = 1;
    pen.strokeStyle = isSure ? palette.mean : palette.soft;
    if (right - left > 3) pen.strokeRect(left + 0.5, 1.5, right - left - 2, height - 3);
    pen.fillStyle = palette.ink;
    const words = [`${label}${odds && ` ${odds} %`}`, label].find((one) => pen.measureText(one).width <= right - left - 10);
    if (words) pen.fillText(words, left + 5, height / 2 + 0.5); // a cut word says less than none: the evidence has it
  }
}

/** Neighbouring minutes of one guess, with the least and the greatest of their odds. */
function guessRuns(minutes) {
  const runs = [];
  for (let i = 0; i < minutes.count; i++) {
    const label = guessName(minutes, i);
    if (!label) continue;
    const [decided, likely] = minutes.guess(i);
    const isSure = decided !== null && likely.length > 0;
    const p = isSure ? percentOf(likely[0][1]) : null;
    const start = minutes.end[i] - (minutes.length[i] || 60);
    const last = runs.at(-1);
    if (last && last.label === label && last.isSure === isSure && start - last.end <= 5) {
      last.end = minutes.end[i];
      if (isSure) { last.least = Math.min(last.least, p); last.most = Math.max(last.most, p); }
    } else runs.push({ label, isSure, start, end: minutes.end[i], least: p, most: p });
  }
  return runs.map((run) => ({ ...run, odds: !run.isSure ? "" : run.least === run.most ? String(run.most) : `${run.least}–${run.most}` }));
}

const percentOf = (p) => Math.min(99, Math.round(p * 100)); // no guess is certain

/** The guess of a minute: "cleaning? 92 %", "cleaning? 45 % or typing? 40 %", "(warming up)"; "" for none. */
function guessWords(minutes, i) {
  const guess = minutes.guess(i);
  if (!guess) return "";
  const [label, likely] = guess;
  const odds = likely.map(([text, p]) => `${minutes.texts[text]}? ${percentOf(p)} %`);
  if (label !== null && odds.length) return odds[0];
  return odds.length ? odds.join(" or ") : guessName(minutes, i);
}

/** The same without its odds: "cleaning?", "cleaning or typing?", "(warming up)". */
function guessName(minutes, i) {
  const guess = minutes.guess(i);
  if (!guess) return "";
  const [label, likely, reason] = guess;
  if (label !== null) return `${minutes.texts[label]}?`;
  if (likely.length) return `${likely.map(([text]) => minutes.texts[text]).join(" or ")}?`;
  return reason === null ? "" : `(${minutes.texts[reason].split(":")[0]})`;
}

/** Times at which nobody could look into the client's connections. */
function drawClosed(canvas, width, height, minutes, from, to) {
  const { pen } = prepare(canvas, width, height);
  background(pen, width, height);
  pen.fillStyle = fillOf("closed");
  for (const [start, end] of minutes.closed) {
    const left = ((start - from) / (to - from)) * width;
    pen.fillRect(left, 0, Math.max(2, ((end - start) / (to - from)) * width), height);
  }
}

/** The chosen minute, on top of a strip. */
function drawChosen(canvas, width, height, start, end, from, to) {
  const pen = canvas.getContext("2d");
  const left = ((start - from) / (to - from)) * width;
  const wide = Math.max(3, ((end - start) / (to - from)) * width);
  pen.strokeStyle = palette.ink;
  pen.lineWidth = 2;
  pen.strokeRect(left, 1, wide, height - 2);
}
