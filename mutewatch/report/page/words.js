// A client's day in words: what the strips and the chart show, for who cannot see them and for who wants the numbers.

const MOST_TOLD = 8; // stretches of a day: nobody listens to more, and the table has them all

/** What each strip shows, in the order in which they stand. */
function dayInWords(client, minutes) {
  const told = [["strip-verdict", verdictWords(client, minutes)]];
  if (minutes.isForAnalysts) told.push(["strip-mute", muteWords(minutes)]);
  for (const one of minutes.series) told.push([null, valueWords(minutes, one)]); // of the chart the chosen one: see day.js
  if (minutes.guesses.length) told.push(["strip-guess", guessesInWords(minutes)]);
  return [...told, ["strip-missing", missingWords(client, minutes)], ["strip-closed", closedWords(minutes)]];
}

/** When the minutes were that `holds`: "09:00 to 09:09, 09:10 to 09:11". */
function stretches(minutes, holds) {
  const told = [];
  eachRun(minutes, holds, (start, end) => told.push(`${clock(start)} to ${clock(end)}`));
  return listed(told);
}

const listed = (told) => (told.length > MOST_TOLD ? `${told.slice(0, MOST_TOLD).join(", ")} and ${told.length - MOST_TOLD} times more` : told.join(", "));
const stretchesOf = (minutes, name) => stretches(minutes, (i) => NAMES[minutes.verdict[i]] === name);

function verdictWords(client, minutes) {
  return `Verdicts: ${NAMES.filter((name) => client.minutes[name]).map((name) => `${client.minutes[name]} ${name}, ${stretchesOf(minutes, name)}`).join("; ")}`;
}

function muteWords(minutes) {
  const counted = { "wholly": 0, "in part": 0, "not at all": 0 };
  let strange = 0;
  for (let i = 0; i < minutes.count; i++) {
    const muted = minutes.seconds("muted", i);
    if (muted === null) continue;
    counted[muted >= minutes.length[i] ? "wholly" : muted ? "in part" : "not at all"] += 1;
    if (minutes.seconds("unknown", i)) strange += 1;
  }
  const told = Object.entries(counted).map(([how, n]) => `${how} ${n}`).join(", ");
  const when = stretches(minutes, (i) => minutes.seconds("muted", i) > 0);
  return `Minutes muted: ${told}${strange ? `; not known for all of ${strange}` : ""}${when && `; ${when}`}`;
}

/** The range of a value over the day: "gain, dB, of 19 minutes: from 12 to 49, means from 21 to 36". */
function valueWords(minutes, { label, unit, at }) {
  const range = (...columns) => {
    let [least, most] = [Infinity, -Infinity];
    for (const k of columns) {
      for (let i = 0; k !== undefined && i < minutes.count; i++) {
        const value = minutes.value(k, i);
        if (value !== null) [least, most] = [Math.min(least, value), Math.max(most, value)];
      }
    }
    return `from ${number(least)} to ${number(most)}`;
  };
  const main = at.mean ?? at.max ?? at.min;
  const told = Array.from({ length: minutes.count }, (_, i) => minutes.value(main, i)).filter((value) => value !== null).length;
  const means = isBand({ at }) && at.mean !== undefined ? `, means ${range(at.mean)}` : "";
  return `${label}${unit && `, ${unit}`}, of ${count(told, "minute")}: ${range(...Object.values(at))}${means}`;
}

function guessesInWords(minutes) {
  const told = guessRuns(minutes).map(({ label, odds, start, end }) => `${label}${odds && ` ${odds} %`} ${clock(start)} to ${clock(end)}`);
  return `Guesses of what was heard: ${listed(told) || "none"}`;
}

function missingWords(client, minutes) {
  const told = ["missing", "undecoded"].filter((name) => client.minutes[name]).map((name) => `${client.minutes[name]} ${name}, ${stretchesOf(minutes, name)}`);
  const isCounted = client.apps.every((app) => !(app in state.all.coverage.uncounted));
  return `Not seen: ${told.join("; ") || "none"}${isCounted ? "" : "; of minutes that the client does not count it is not known whether any is missing"}`;
}

const closedWords = (minutes) => `Not inspected: ${minutes.closed.map(([from, to, reason]) => `${clock(from)} to ${clock(to)}, ${reason}`).join("; ") || "nothing known"}`;

/** What the chart draws of a value, as its legend. */
function seriesWords({ kind, meaning, at }) {
  if (kind === "gain") return "Quieter ↑, louder ↓. The band goes from each minute's min to its max, the line is its mean, as the client reports them.";
  const what = meaning ? `${capital(meaning)}. ` : "";
  return kind === "field" ? `${what}The band goes from the lowest to the highest reading of each minute, the line is their mean; where the client was muted for a part of it, of the readings while muted.` : what;
}

/** The minute that the cursor is at. */
function minuteWords(minutes, i) {
  const guess = guessWords(minutes, i);
  return `${times(minutes, i)}: ${NAMES[minutes.verdict[i]]}. ${minutes.words("reason", i) || ""}${guess ? `. Guess of what was heard: ${guess}` : ""}`;
}

/** How many minutes each guess was made of; "" where there is none. */
function guessTally(minutes) {
  const counted = new Map();
  let none = 0;
  for (let i = 0; i < minutes.count; i++) {
    const guess = minutes.guess(i);
    if (guess && guess[0] !== null) counted.set(guess[0], (counted.get(guess[0]) || 0) + 1);
    else if (guess) none += 1;
  }
  const told = [...counted].sort((a, b) => b[1] - a[1]).map(([label, n]) => `${minutes.texts[label]}? in ${count(n, "minute")}`);
  return [...told, ...(none ? [`none in ${count(none, "minute")}`] : [])].join(", ");
}
