// The page: the answer in words, the list of clients, one client's day, the month. Texts go in as text nodes only.
performance.mark("mutewatch-start");
const POLL_MS = Number(document.body.dataset.poll);
const PAGE_ROWS = 50;
const source = document.body.dataset.mode === "live" ? served() : inlined();
const state = { all: null, day: null, clients: [], month: null, client: null, minutes: null, rows: [], page: 0, tableVerdict: "flagged", stripWidth: null };
const timeline = Timeline({ onChoose: showEvidence, onEnter: () => byId("evidence").focus() });

// The answer

function tellAnswer(all) {
  const flagged = all.totals.flagged || 0;
  const { counted, seen, judged } = all.coverage;
  byId("span").textContent = spanWords(all);
  const lead = byId("lead");
  lead.replaceChildren();
  if (flagged) {
    const clients = all.clients.filter((client) => client.minutes.flagged);
    const apps = [...new Set(clients.flatMap((client) => client.apps))].join(", ");
    const { first, last } = all.flagged;
    const isOneDay = dayOf(first) === dayOf(last - 1);
    const when = isOneDay
      ? `First ${clock(first)}, last until ${clock(last)} UTC on ${dayName(first)}.`
      : `First ${clock(first)} UTC on ${dayName(first)}, last until ${clock(last)} on ${dayName(last)}.`;
    lead.append(make("strong", {}, `${flagged.toLocaleString("en-GB")} of ${count(seen, "minute")}`), ": audio-derived data left while the client was muted.",
      ...partWords(flagged),
      all.is_loudness ? make("small", {}, "Numbers about how loud the microphone was, not the sound itself.") : "",
      make("small", {}, `${when} ${count(clients.length, "client")}, ${apps}. A handful of such minutes can be enough to guess what somebody does near a muted microphone.`));
  } else if (judged) {
    lead.append(`None of ${count(judged, "judged minute")} was flagged.`, make("small", {}, "That speaks for these minutes only: see what was not seen."));
  } else {
    lead.append("Nothing was judged.", make("small", {}, "So this says nothing about leaks: see what was not seen."));
  }
  const legend = NAMES.filter((name) => all.totals[name]);
  byId("legend").replaceChildren(...legend.map((name) => {
    const words = [make("b", {}, all.totals[name].toLocaleString("en-GB")), ` ${name}`];
    return make("li", { title: VERDICTS[name].means }, swatch(name), name === "flagged" ? pressable(words, openFirstFlagged, "Go to the first flagged minute") : make("span", {}, ...words));
  }));
  byId("totals").setAttribute("aria-label", `Minutes by verdict: ${legend.map((name) => `${all.totals[name]} ${name}`).join(", ") || "none"}`);
  tellAdvice(all);
  byId("unseen").replaceChildren(...unseen(all).map((words) => make("li", {}, words)));
}

/** How many of the flagged minutes were muted for all of it; nothing where this page does not know. */
function partWords(flagged) {
  const { whole = 0, part = 0 } = source.about?.muted || {};
  return part && whole + part === flagged ? [make("small", {}, `${whole} for the whole minute, ${part} for a part of it.`)] : [];
}

function spanWords(all) {
  const [first, last] = [dayName(all.since), dayName(all.until - 1)];
  return `${first === last ? first : `${first} to ${last}`}, ${count(all.clients.length, "client")}`;
}

function tellAdvice(all) {
  byId("advice").replaceChildren(...advice(all).map((words) => make("li", {}, ...words)));
  tellCommand();
}

/** How the chosen minute is looked at in a terminal, where it has a file and a frame. */
function tellCommand() {
  const command = state.minutes && timeline.chosen() !== null && showCommand(state.minutes, timeline.chosen());
  byId("check")?.replaceChildren(...(command ? [" ", make("code", {}, command), copyButton(command, "Copy the command of step “Check it yourself”"), " prints the values of the one that is open."] : []));
}

/** Open the first flagged minute of all. */
async function openFirstFlagged() {
  const first = Math.min(...[...daysWithData(state.all)].filter(([, flagged]) => flagged).map(([day]) => day)); // a minute is its end's day's
  if (first !== state.day) await chooseDay(first);
  const beginning = (client) => Math.min(...client.hours.filter(([, verdict]) => verdict === 0).map(([hour]) => hour));
  const flagged = state.clients.filter((client) => client.minutes.flagged).sort((a, b) => beginning(a) - beginning(b));
  if (!flagged.length) return;
  clearFilters();
  await chooseClient(flagged[0]);
  byId("day-title").focus();
}

function advice(all) {
  const told = [];
  const bold = (words) => make("b", {}, words);
  const totals = all.totals;
  if (totals.flagged) {
    told.push([bold("Mute in hardware"), " until this is settled: a headset's switch or an unplugged microphone. The mute button did not stop these numbers."]);
    told.push([bold("Update the client"), ", then record the same meeting again and compare. ", isOfNoVersion()
      ? "This client reports no version: note it yourself." : "The month below tells apps and versions apart."]);
    told.push([bold("Stop it at the gateway"), ": ", make("code", {}, "mutewatch live"), " takes the values out or blocks the message with ", make("code", {}, "[mitigation] action = \"redact\""), " or ", make("code", {}, "\"block\""), " in the file of ", make("code", {}, "mutewatch live --config"), ": docs/mitigation.md."]);
    told.push([bold("Tell those concerned"), ": data-protection officer and works council. Print this page for them."]);
    if (all.role === "analyst") told.push([bold("Check it yourself"), ": choose a flagged minute below. Its file, frame and hash lead to the same bytes in Wireshark.", make("span", { id: "check" })]);
  }
  if (totals["mute-unknown"]) told.push([bold("Say who was muted"), ": scan again with ", make("code", {}, "--mute FILE"), " or ", make("code", {}, "--assume muted"), ". Minutes of unknown mute state are not clean."]);
  if (totals.missing || totals.undecoded || all.uninspected.length) told.push([bold("Close the gaps"), ": what was not seen may hold more of the same. Look for what the capture lost: docs/inputs.md; open apps with pinned certificates: docs/gateway.md."]);
  if (!told.length) told.push(["Nothing to do for these minutes. Go on watching: a client's next version may behave otherwise."]);
  return told;
}

const isOfNoVersion = () => Boolean(state.month?.apps.length) && state.month.apps.every((app) => app.version === null);

/** What is known not to be known, as sentences; the same for a month. */
function unseen(told) {
  const lines = [];
  const { counted, seen, judged } = told.coverage;
  const totals = told.totals;
  if (counted) lines.push(`${seen.toLocaleString("en-GB")} of ${count(counted, "minute")} that clients counted were seen (${percent(seen, counted)}); ${judged.toLocaleString("en-GB")} could be judged.`);
  lines.push(totals.missing ? `Missing: ${count(totals.missing, "minute")}${mutedOfMissing(told)}; counted by the client, but the report was not seen.` : "Missing: none.");
  lines.push(totals["mute-unknown"] ? `Mute state unknown: ${count(totals["mute-unknown"], "minute")}. Not clean.` : "Mute state unknown: none.");
  const undated = Object.values(told.undated || {}).reduce((sum, n) => sum + n, 0);
  lines.push(totals.undecoded ? `Undecoded: ${count(totals.undecoded, "message")} of known endpoints.` : "Undecoded: none.");
  if (undated) lines.push(`Without a time, so in no count here: ${count(undated, "finding")}.`);
  for (const one of told.uninspected) {
    const when = one.first ? ` (${dayName(one.first)} ${clock(one.first)} to ${one.last && dayOf(one.last) !== dayOf(one.first) ? `${dayName(one.last)} ` : ""}${one.last ? clock(one.last) : "?"})` : "";
    lines.push(`Not inspected: ${one.number.toLocaleString("en-GB")} to ${one.host || "hosts not known"}, ${one.reason}${when}.`);
  }
  if (!told.uninspected.length) lines.push("Not inspected: none known.");
  const broken = (told.inputs || []).filter((input) => input.error).length;
  if (broken) lines.push(`Not read to the end: ${count(broken, "input")}; see below.`);
  lines.push("Apps and endpoints that no signature knows are in none of these numbers.");
  return lines;
}

/** For how long clients were muted in the minutes that are missing, where this page knows of all of them. */
function mutedOfMissing(told) {
  const muted = told === state.all && source.about?.muted?.missing;
  return muted ? ` (the client was muted for ${muted.toLocaleString("en-GB")} s of ${told.totals.missing === 1 ? "it" : "them"})` : "";
}

// Clients of a day

/** The clients with anything on a day, with that day's hours and counts. */
function clientsOf(all, day) {
  const first = Math.floor(all.since / 3600);
  const from = day / 3600 - first;
  const found = [];
  all.clients.forEach((client, index) => {
    const hours = [];
    const minutes = {};
    for (let i = 0; i < client.hours.length; i += 3) {
      const [hour, verdict, n] = client.hours.slice(i, i + 3);
      if (hour < from || hour >= from + 24) continue;
      hours.push([hour - from, verdict, n]);
      minutes[NAMES[verdict]] = (minutes[NAMES[verdict]] || 0) + n;
    }
    if (hours.length) found.push({ name: client.name, apps: client.apps, index, hours, minutes });
  });
  const order = new Intl.Collator("en");
  return found.sort((a, b) => (b.minutes.flagged || 0) - (a.minutes.flagged || 0) || order.compare(a.name, b.name));
}

function daysWithData(all) {
  const first = Math.floor(all.since / 3600);
  const days = new Map();
  for (const client of all.clients) {
    for (let i = 0; i < client.hours.length; i += 3) {
      const day = dayOf((first + client.hours[i]) * 3600);
      days.set(day, (days.get(day) || 0) + (client.hours[i + 1] === 0 ? client.hours[i + 2] : 0));
    }
  }
  return days;
}

function firstDay(all) {
  const days = [...daysWithData(all)].sort((a, b) => a[0] - b[0]);
  const most = Math.max(0, ...days.map(([, n]) => n));
  const worst = source.isLive ? null : days.findLast(([, n]) => n && n === most); // live, the newest is what matters
  return (worst || days.at(-1) || [dayOf(all.until - 1)])[0];
}

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) drawRow(entry.target);
}, { rootMargin: "120px" });

async function drawRow(row) {
  if (row.isDrawn) return;
  row.isDrawn = true;
  observer.unobserve(row);
  const { client } = row;
  const minutes = source.now(client, state.day);
  paintRow(row, minutes);
  if (minutes || !source.isLive) return;
  try {
    paintRow(row, await source.minutes(client, state.day));
  } catch (error) {
    row.isDrawn = false; // the hours stay; the next look at the row asks again
  }
}

function paintRow(row, minutes) {
  const canvas = row.querySelector("canvas");
  const width = state.stripWidth ??= canvas.clientWidth; // asked once: each answer would lay the list out anew
  if (!width) return;
  if (minutes) drawVerdicts(canvas, width, 22, minutes, state.day, state.day + DAY);
  else drawHours(canvas, width, 22, row.client.hours);
}

function listClients() {
  const list = byId("client-list");
  const find = byId("find").value.trim().toLowerCase();
  const verdict = byId("with-verdict").value;
  const app = byId("with-app").value;
  const hasFocus = list.contains(document.activeElement);
  const shown = state.clients.filter((client) =>
    (!find || client.name.toLowerCase().includes(find) || client.apps.some((name) => name.toLowerCase().includes(find))) &&
    (!verdict || client.minutes[verdict]) && (!app || client.apps.includes(app)));
  observer.disconnect();
  state.rows = shown.map((client) => {
    const told = NAMES.filter((name) => client.minutes[name]).map((name) => `${client.minutes[name]} ${name}`).join(", ");
    const all = Object.values(client.minutes).reduce((sum, n) => sum + n, 0);
    const row = make("button", { type: "button", class: "client", tabindex: "-1" },
      make("span", { class: "name", title: client.name }, wire(client.name)),
      make("span", { class: "number" }, make("b", { class: client.minutes.flagged ? null : "none" }, client.minutes.flagged ? `▲ ${client.minutes.flagged}` : "0"), ` of ${count(all, "minute")}`),
      make("canvas", { role: "img", "aria-label": `${client.apps.join(", ")}: ${told}` }));
    row.client = client;
    return row;
  });
  list.replaceChildren(...state.rows.map((row) => make("li", {}, row)));
  const isNoneFound = !shown.length && state.clients.length > 0;
  if (isNoneFound) list.append(make("li", { class: "none-found" }, "No client matches. ", pressable("Clear the filter", () => { clearFilters(); byId("find").focus(); })));
  byId("day").hidden = isNoneFound;
  if (!isNoneFound && state.minutes && !byId("chart").firstChild) timeline.redraw();
  state.stripWidth = null;
  markCurrent();
  const current = state.rows.find((row) => row.client.name === state.client?.name) || state.rows[0];
  if (current) { current.tabIndex = 0; if (hasFocus) current.focus({ preventScroll: true }); }
  byId("shown").textContent = shown.length === state.clients.length ? count(shown.length, "client") : `${shown.length} of ${count(state.clients.length, "client")}`;
  for (const row of state.rows) observer.observe(row);
}

function clearFilters() {
  for (const id of ["find", "with-verdict", "with-app"]) byId(id).value = "";
  listClients();
}

function markCurrent() {
  for (const row of state.rows) {
    if (row.client.name === state.client?.name) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

function moveInList(event) {
  const at = state.rows.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: state.rows.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  const row = state.rows[Math.min(Math.max(to, 0), state.rows.length - 1)];
  state.rows[at].tabIndex = -1;
  row.tabIndex = 0;
  row.focus();
}

async function chooseDay(day) {
  state.day = day;
  if (source.isLive) await load(day);
  state.clients = clientsOf(state.all, day);
  byId("day-choice").value = isoDay(day);
  byId("day-plain").textContent = dayName(day);
  const days = [...daysWithData(state.all).keys()];
  byId("day-before").disabled = !source.isLive && !days.some((other) => other < day);
  byId("day-after").disabled = !source.isLive && !days.some((other) => other > day);
  listClients();
  const same = state.clients.find((client) => client.name === state.client?.name);
  await chooseClient(same || state.clients[0] || null);
}

function stepDay(by) {
  if (source.isLive) return chooseDay(state.day + by * DAY);
  const days = [...daysWithData(state.all).keys()].filter((day) => (by < 0 ? day < state.day : day > state.day)).sort((a, b) => a - b);
  return days.length ? chooseDay(by < 0 ? days.at(-1) : days[0]) : null;
}

// One client's day

async function chooseClient(client) {
  state.client = client;
  markCurrent();
  const title = byId("day-title");
  const parts = ["timeline", "evidence", "minutes"].map(byId);
  const minutes = client && (await source.minutes(client, state.day));
  if (state.client !== client) return; // another one was chosen while this was fetched
  state.minutes = minutes;
  for (const part of parts) part.hidden = !minutes;
  for (const part of [document.querySelector(".pager"), byId("zoom"), byId("keys"), byId("strip-hint")]) part.hidden = !minutes;
  byId("nearest").replaceChildren();
  if (!minutes) {
    title.replaceChildren("Minute by minute");
    const [nearest] = [...daysWithData(state.all).keys()].sort((a, b) => Math.abs(a - state.day) - Math.abs(b - state.day));
    if (!client && nearest !== undefined && nearest !== state.day) byId("nearest").append(pressable(`Go to ${dayName(nearest)}`, () => chooseDay(nearest)));
    byId("day-words").textContent = client ? "The minutes of this day are not in this file: see “About this page”." : `Nothing on ${dayName(state.day)}.`;
    return;
  }
  title.replaceChildren(wire(client.name), `, ${dayName(state.day)}`);
  const told = NAMES.filter((name) => client.minutes[name]).map((name) => `${client.minutes[name]} ${name}`).join(", ");
  const guesses = !minutes.isForAnalysts || minutes.guesses.length ? "" : " What could be inferred is not in this store, or was left out of this page.";
  const partial = Array.from({ length: minutes.count }, (_, i) => minutes.isPart(i)).filter(Boolean).length;
  byId("day-words").textContent = `${client.apps.join(", ")}: ${told}.${partial ? ` Of the flagged ones ${partial} muted for a part of the minute only.` : ""}${guesses}`;
  tellHints(minutes, partial);
  timeline.show(minutes, state.day);
  tellStrips(client, minutes);
  state.page = 0;
  byId("table-verdict").value = state.tableVerdict = client.minutes.flagged ? "flagged" : "";
  tellTable();
  const first = minutes.verdict.indexOf(0);
  if (minutes.count) timeline.choose(first < 0 ? 0 : first, true);
}

/** What stands in the strips and needs a word. */
function tellHints(minutes, parts) {
  byId("enter-hint").hidden = !minutes.isForAnalysts;
  const told = [];
  if (parts) told.push(swatch("flagged"), " muted for the whole minute ", swatch("flagged in part"), " for a part of it. ");
  if (minutes.guesses.length) told.push("(warming up): too few minutes yet for a guess. (unfamiliar): unlike all that the model was trained on.");
  byId("strip-hint").replaceChildren(...told);
}

function tellStrips(client, minutes) {
  const told = (verdicts) => verdicts.map((name) => `${client.minutes[name] || 0} ${name}`).join(", ");
  const guesses = [...new Set(Array.from({ length: minutes.count }, (_, i) => guessWords(minutes, i)).filter(Boolean))];
  byId("strip-verdict").setAttribute("aria-label", `Verdicts: ${told(NAMES)}`);
  byId("strip-mute").setAttribute("aria-label", "For how much of each minute the client was muted; numbers are in the table");
  byId("strip-guess").setAttribute("aria-label", `Guesses of what was heard: ${guesses.join(", ") || "none"}`);
  byId("strip-missing").setAttribute("aria-label", `Not seen: ${told(["missing", "undecoded"])}`);
  byId("strip-closed").setAttribute("aria-label", `Not inspected: ${minutes.closed.map(([from, to, reason]) => `${clock(from)} to ${clock(to)}, ${reason}`).join("; ") || "nothing known"}`);
  byId("chart").setAttribute("aria-label", "Values of each minute as the client reported them; numbers are in the evidence and the table");
}

const times = (minutes, i) => `${clockSeconds(minutes.end[i] - minutes.length[i])} to ${clockSeconds(minutes.end[i])}`;
const number = (value) => (value === null ? "" : Number.isInteger(value) ? String(value) : String(Math.round(value * 1000) / 1000));

function showEvidence(i, isQuiet) {
  const { minutes } = state;
  const name = NAMES[minutes.verdict[i]];
  byId("evidence-title").replaceChildren(swatch(minutes.isPart(i) ? "flagged in part" : name), `${times(minutes, i)} UTC: ${VERDICTS[name].glyph} ${name}`);
  const body = byId("evidence-body");
  body.replaceChildren();
  if (minutes.isForAnalysts) body.append(make("p", { class: "why" }, `${capital(minutes.words("reason", i) || "")}.`), make("div", { class: "facts" }, factList(minutes, i), valueTable(minutes, i)));
  else body.append(make("p", { class: "why" }, `${capital(VERDICTS[name].means)}. Evidence is for analysts.`));
  const flaggedAt = (words, by) => {
    const button = pressable(words, () => timeline.step(by, true));
    button.disabled = !timeline.hasFlagged(by);
    return button;
  };
  body.append(make("div", { class: "around" }, flaggedAt("‹ Flagged before", -1), flaggedAt("Flagged after ›", 1)));
  drawSwatches();
  if (!isQuiet) byId("heard").textContent = heard(minutes, i);
  markTable();
  tellCommand();
}

function heard(minutes, i) {
  const guess = guessWords(minutes, i);
  return `${times(minutes, i)}: ${NAMES[minutes.verdict[i]]}. ${minutes.words("reason", i) || ""}${guess ? `. Guess of what was heard: ${guess}` : ""}`;
}

function pressable(words, then, title = null) {
  const button = make("button", { type: "button", title }, ...[words].flat());
  button.addEventListener("click", then);
  return button;
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function factList(minutes, i) {
  const list = make("dl");
  const tell = (name, ...told) => { if (told[0] !== null && told[0] !== undefined && told[0] !== "") list.append(make("dt", {}, name), make("dd", {}, ...told)); };
  const words = (what) => { const told = minutes.words(what, i); return told === null ? null : wire(told); };
  const plain = (what) => { const told = minutes.evidence(what, i); return told === null ? null : String(told); };
  const muted = minutes.seconds("muted", i);
  tell("Rule", minutes.words("rule", i));
  if (muted !== null) tell("Muted", `${muted} s; unmuted ${minutes.seconds("unmuted", i)} s; unknown ${minutes.seconds("unknown", i)} s`);
  tell("On whose word", minutes.words("basis", i));
  tell("Guess", guessSentence(minutes, i));
  tell("Guessed by", guessModel(minutes, i));
  tell("App", words("app"));
  if (minutes.evidence("rule", i) !== null) tell("Version", words("client_version") || "not reported");
  tell("Signature", words("signature"));
  tell("Call", words("call"));
  tell("Address", words("address"));
  tell("What became of it", minutes.words("sent", i) === "forwarded" ? "forwarded as it was" : words("sent"));
  tell("File", words("file"));
  tell("Frame", plain("frame"));
  tell("TCP stream", plain("tcp_stream"));
  tell("Message", plain("ordinal") && `no. ${plain("ordinal")}`);
  tell("Byte", plain("offset"));
  if (plain("sha256")) tell("SHA-256 of body", make("code", {}, plain("sha256")), copyButton(plain("sha256"), "Copy the hash"));
  if (plain("sent_sha256")) tell("SHA-256 of what left", make("code", {}, plain("sent_sha256")));
  const filter = plain("frame") && `frame.number == ${plain("frame")}`; // as `wireshark_filter` of sinks/record.py
  if (filter) tell("Wireshark filter", make("code", {}, filter), copyButton(filter, "Copy the Wireshark filter"));
  const command = showCommand(minutes, i);
  if (command) tell("In a terminal", make("code", {}, command), copyButton(command, "Copy the command that prints the values"));
  return make("div", {}, list);
}

/** The command that prints the values of a minute's message; null without file and frame, or if its name cannot be pasted safely. */
function showCommand(minutes, i) {
  const [file, frame] = [minutes.words("file", i), minutes.evidence("frame", i)];
  if (file === null || frame === null || /\p{C}/u.test(file)) return null;
  const path = file.startsWith("-") ? `./${file}` : file;
  const quoted = /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'"'"'`)}'`;
  return `mutewatch show ${quoted} --frame ${frame}`;
}

function copyButton(text, label) {
  const button = make("button", { type: "button", class: "copy", "aria-label": label }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text)) ? "Copied" : "Select and copy by hand";
    byId("heard").textContent = button.textContent;
  });
  return make("span", {}, " ", button);
}

async function copied(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch (error) { /* files and old browsers: below */ }
  const area = make("textarea", { "aria-hidden": "true", class: "heard" });
  area.value = text;
  document.body.append(area);
  const before = document.activeElement;
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  before?.focus();
  return isDone;
}

function guessSentence(minutes, i) {
  const guess = minutes.guess(i);
  if (!guess) return null;
  const [label, likely, reason, used, missing] = guess;
  if (!likely.length && label === null) return `no guess${reason === null ? "" : ` (${minutes.texts[reason]})`}`;
  const odds = likely.map(([text, p]) => `${minutes.texts[text]}? ${percentOf(p)} %`).join(", ");
  const from = `from ${count(used, "minute")}${missing ? `, ${missing} missing` : ""}`;
  const what = label !== null ? odds : `not decided: ${odds}`;
  return `${what} (${[reason === null ? null : minutes.texts[reason], from].filter(Boolean).join("; ")})`;
}

const guessModel = (minutes, i) => { const guess = minutes.guess(i); return guess && wire(minutes.texts[guess[5]]); };

function valueTable(minutes, i) {
  const rows = minutes.values.map((value, k) => [value, minutes.value(k, i)]).filter(([, told]) => told !== null);
  if (!rows.length) return make("div", {}, make("p", {}, "No values: nothing of this minute was read."));
  return make("div", {}, make("table", {}, make("caption", {}, "What left, as the client's maker names it"),
    make("thead", {}, make("tr", {}, ...["Value", "Reading", "Floor"].map((head, k) => make("th", { scope: "col", class: k ? "n" : null }, head)))),
    make("tbody", {}, ...rows.map(([value, told]) => make("tr", {}, make("th", { scope: "row" }, wire(value.name)),
      make("td", { class: "n" }, `${number(told)} ${value.unit === "1" ? "" : value.unit}`), make("td", { class: "n" }, number(value.floor ?? null)))))),
  rows.some(([value]) => value.role) ? make("p", { class: "span" }, "Gains are inverse to loudness: high means quiet. At the floor a value carries nothing.") : null);
}

// The table

function tableRows() {
  const { minutes, tableVerdict } = state;
  const wanted = NAMES.indexOf(tableVerdict);
  return Array.from({ length: minutes.count }, (_, i) => i).filter((i) => wanted < 0 || minutes.verdict[i] === wanted);
}

function tellTable(rowsOnPage = PAGE_ROWS) {
  const { minutes } = state;
  const table = byId("minutes");
  const rows = tableRows();
  const size = Math.min(rowsOnPage, rows.length) || 1;
  const pages = Math.max(1, Math.ceil(rows.length / size));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const from = state.page * size;
  const shown = rows.slice(from, from + size);
  const what = state.tableVerdict ? `${state.tableVerdict} minutes` : "minutes";
  table.caption.replaceChildren(`${capital(what)} `, make("small", {}, rows.length ? `${from + 1} to ${from + shown.length} of ${rows.length}` : "none on this day"));
  const gains = ["max-gain", "mean-gain", "min-gain"].map((role) => minutes.values.findIndex((value) => value.role === role));
  const hasGains = gains.some((k) => k >= 0);
  const heads = ["From (UTC)", "Verdict"];
  if (minutes.isForAnalysts) heads.push("Muted", ...(hasGains ? ["Max / mean / min gain"] : []), ...(minutes.guesses.length ? ["Guess (what was heard)"] : []), "Where");
  table.tHead.replaceChildren(make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head))));
  table.tBodies[0].replaceChildren(...shown.map((i) => {
    const name = NAMES[minutes.verdict[i]];
    const cells = [pressable(clockSeconds(minutes.end[i] - minutes.length[i]), () => { timeline.choose(i); byId("evidence").focus(); }), `${VERDICTS[name].glyph} ${name}`];
    if (minutes.isForAnalysts) {
      const muted = minutes.seconds("muted", i);
      cells.push(muted === null ? "" : `${muted} s`);
      if (hasGains) cells.push(gains.some((k) => k >= 0 && minutes.value(k, i) !== null) ? `${gains.map((k) => (k < 0 ? "-" : number(minutes.value(k, i)) || "-")).join(" / ")} dB` : "");
      if (minutes.guesses.length) cells.push(guessWords(minutes, i));
      const frame = minutes.evidence("frame", i);
      const file = minutes.words("file", i);
      cells.push(frame !== null ? `frame ${frame}` : file !== null ? wire(file.split("/").pop()) : minutes.words("door", i) || "");
    }
    const row = make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
    row.dataset.minute = i;
    return row;
  }));
  byId("page-before").disabled = state.page === 0;
  byId("page-after").disabled = state.page >= pages - 1;
  markTable();
}

function markTable() {
  for (const row of byId("minutes").tBodies[0].rows) {
    if (Number(row.dataset.minute) === timeline.chosen()) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

// The month

function tellMonth(month) {
  state.month = month;
  const flagged = month.totals.flagged || 0;
  byId("month-title").textContent = monthFormat.format(new Date(month.since * 1000));
  byId("month-choice").value = month.month;
  const days = month.days.filter((day) => day.minutes.flagged).length;
  byId("month-lead").textContent = flagged
    ? `${count(flagged, "flagged minute")} of ${count(month.flagged_count, "client")} (of ${month.client_count} seen) on ${count(days, "day")}.`
    : `No flagged minutes; ${count(month.client_count, "client")} seen.`;
  const fill = (id, rows) => byId(id).tBodies[0].replaceChildren(...rows.map((cells) => make("tr", {}, ...cells.map((cell, k) =>
    make(k ? "td" : "th", { scope: k ? null : "row", class: typeof cell === "number" ? "n" : null }, typeof cell === "number" ? cell.toLocaleString("en-GB") : cell)))));
  fill("month-clients", month.clients.map((client) => [wire(client.name), client.flagged, client.minutes, client.days]));
  byId("month-clients").caption.replaceChildren("Who, how often ", make("small", {}, month.clients.length < month.flagged_count
    ? `the ${month.clients.length} with most of ${month.flagged_count}` : count(month.flagged_count, "client")));
  fill("month-apps", month.apps.map((app) => [wire(app.app), app.version === null ? "not reported" : wire(app.version), app.flagged, app.minutes]));
  const expired = Object.entries(month.expired).map(([name, n]) => `${n.toLocaleString("en-GB")} ${name}`).join(", ");
  byId("month-unseen").replaceChildren(...[...unseen(month), expired ? `Deleted for their age, only counted: ${expired}.` : "Deleted for their age: none."].map((words) => make("li", {}, words)));
  drawTrend(month.days);
}

/** Flagged minutes of each day as bars, and the same as a table. */
function drawTrend(days) {
  const draw = (tag, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const most = Math.max(1, ...days.map((day) => day.minutes.flagged || 0));
  const wide = Math.max(280, byId("trend").clientWidth); // as wide as it is shown, so that its words keep their size
  const [high, step] = [84, wide / days.length];
  const bars = days.flatMap((day, i) => {
    const n = day.minutes.flagged || 0;
    const tall = n ? Math.max(2, (n / most) * high) : 0;
    const isLabelled = i === 0 || (i + 1) % 5 === 0;
    return [
      draw("rect", { x: i * step + 2, y: 16 + high - tall, width: step - 4, height: tall, rx: 2, fill: "var(--flagged)" }),
      draw("rect", { x: i * step + 2, y: 16 + high, width: step - 4, height: 2, fill: Object.keys(day.minutes).length ? "var(--soft)" : "var(--line)" }),
      ...(n === most && days.findIndex((other) => other.minutes.flagged === most) === i ? [draw("text", { x: i * step + step / 2, y: 11 + high - tall, "text-anchor": "middle" }, String(n))] : []),
      ...(isLabelled ? [draw("text", { x: i * step + step / 2, y: 115, "text-anchor": "middle" }, String(i + 1))] : []),
    ];
  });
  const told = days.filter((day) => day.minutes.flagged).map((day) => `${day.day}: ${day.minutes.flagged}`).join(", ");
  const rows = days.filter((day) => Object.keys(day.minutes).length).map((day) => make("tr", {}, make("th", { scope: "row" }, day.day), ...NAMES.map((name) => make("td", { class: "n" }, String(day.minutes[name] || 0)))));
  byId("trend").replaceChildren(
    make("p", { class: "span" }, "Flagged minutes by day; a dark base line means that anything was seen on that day."),
    draw("svg", { viewBox: `0 0 ${wide} 118`, role: "img", "aria-label": `Flagged minutes by day: ${told || "none"}` }, ...bars),
    make("details", {}, make("summary", {}, "The same as a table"), make("table", {}, make("caption", {}, "Minutes by day and verdict"),
      make("thead", {}, make("tr", {}, ...["Day", ...NAMES].map((head, k) => make("th", { scope: "col", class: k ? "n" : null }, head)))), make("tbody", {}, ...rows))));
}

// About

function tellAbout(all) {
  byId("meanings").replaceChildren(...NAMES.flatMap((name) => [make("dt", {}, swatch(name), ` ${VERDICTS[name].glyph} ${name}`), make("dd", {}, `${capital(VERDICTS[name].means)}.${name === "flagged" ? " Lower in the rows: muted for a part of the minute." : ""}`)]));
  const lines = [];
  if (all.role === "viewer") lines.push("Made for a viewer: verdicts under pseudonyms, without values, evidence and guesses.");
  else lines.push(all.guesses ? "What could be inferred is a model's guess, shown where the store has one; no verdict depends on it." : "Guesses of what could be inferred were left out of this page.");
  if (source.about?.made) lines.push(source.about.made);
  if (source.about?.left_out) lines.push(source.about.left_out);
  lines.push("All times are UTC, by the client's clock. Nothing on this page is loaded from elsewhere.");
  const inputs = all.inputs.map((input, k) => make("tr", {}, make("th", { scope: "row", title: input.name }, input.name === null ? `input ${k + 1}` : wire(input.name.split("/").pop() || input.name)),
    ...["matched", "decoded", "undecoded", "unread", "dark"].map((name) => make("td", { class: "n" }, input[name].toLocaleString("en-GB"))), make("td", { class: input.error === null ? "whole" : null }, input.error === null ? "whole" : wire(input.error))));
  byId("made").replaceChildren(...lines.map((line) => make("p", {}, line)), ...(inputs.length ? [make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Inputs" }, make("table", {}, make("caption", {}, "What was read"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Input"), ...["Messages", "Decoded", "Undecoded", "Without body", "Closed"].map((head) => make("th", { scope: "col", class: "n" }, head)), make("th", { scope: "col" }, "Read"))), make("tbody", {}, ...inputs)))] : []));
}

// Light, dark, print

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  readPalette();
  redraw();
}

function drawSwatches() {
  for (const canvas of document.querySelectorAll("canvas[data-swatch]")) drawSwatch(canvas);
}

function redraw() {
  if (!state.all) return;
  drawSwatches();
  drawTotals(byId("totals"), state.all.totals);
  state.stripWidth = null;
  for (const row of state.rows) if (row.isDrawn) paintRow(row, source.now(row.client, state.day));
  timeline.redraw();
  if (state.month && byId("trend").querySelector("svg").viewBox.baseVal.width !== Math.max(280, byId("trend").clientWidth)) drawTrend(state.month.days);
}

let themeBeforePrint = null;
function beforePrint() {
  if (themeBeforePrint !== null) return;
  themeBeforePrint = document.documentElement.dataset.theme;
  if (state.minutes) tellTable(Infinity);
  for (const row of state.rows) row.isDrawn = true;
  setTheme("light");
}
function afterPrint() {
  if (themeBeforePrint === null) return;
  setTheme(themeBeforePrint);
  themeBeforePrint = null;
  if (state.minutes) tellTable();
}

// Beginning

async function load(day) {
  const before = state.all;
  state.all = await source.overview(day);
  if (source.isLive) tellVisit(state.all);
  if (state.all === before) return; // what has the focus keeps it
  tellAnswer(state.all);
  tellAbout(state.all);
  byId("sample").hidden = !source.about?.is_sample;
  byId("what-client").textContent = `Client: one installation of an app${state.all.clients.every((client) => /^client-[0-9a-f]{12}$/.test(client.name)) ? ", under a pseudonym" : ""}.`;
  const apps = [...new Set(state.all.clients.flatMap((client) => client.apps))].sort();
  const chosen = byId("with-app").value;
  byId("with-app").replaceChildren(make("option", { value: "" }, "any app"), ...apps.map((app) => make("option", { value: app }, app)));
  byId("with-app").value = apps.includes(chosen) ? chosen : "";
}

/** Who looks, and at what time this is. */
function tellVisit(all) {
  const isKnown = all.visitor !== "-"; // nobody has to log in here
  byId("log-out").hidden = !isKnown;
  byId("visitor").replaceChildren(...(isKnown ? [wire(all.visitor), `, ${all.role}`] : [all.role]));
  byId("live").hidden = false;
  byId("live").textContent = `live, last looked at ${clockSeconds(Date.now() / 1000)} UTC`;
}

async function poll() {
  if (document.hidden || state.day === null) return;
  const before = JSON.stringify(state.clients);
  const chosen = timeline.chosen();
  await load(state.day);
  drawSwatches();
  drawTotals(byId("totals"), state.all.totals);
  state.clients = clientsOf(state.all, state.day);
  if (JSON.stringify(state.clients) === before) return;
  listClients();
  const same = state.clients.find((client) => client.name === state.client?.name);
  if (same && JSON.stringify(same.minutes) === JSON.stringify(state.client.minutes)) { state.client = same; return; }
  await chooseClient(same || state.clients[0] || null);
  if (chosen !== null) timeline.choose(chosen, true);
}

function wireUp() {
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  byId("print").addEventListener("click", () => window.print());
  window.addEventListener("beforeprint", beforePrint);
  window.addEventListener("afterprint", afterPrint);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? beforePrint() : afterPrint()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  for (const id of ["find", "with-verdict", "with-app"]) byId(id).addEventListener("input", listClients);
  byId("client-list").addEventListener("click", async (event) => {
    const row = event.target.closest(".client");
    if (!row) return;
    for (const other of state.rows) other.tabIndex = other === row ? 0 : -1;
    await chooseClient(row.client);
    byId("day-title").focus();
  });
  byId("client-list").addEventListener("keydown", moveInList);
  byId("day-choice").addEventListener("change", (event) => { const day = Date.parse(`${event.target.value}T00:00:00Z`) / 1000; if (day >= 0) chooseDay(day); });
  byId("day-before").addEventListener("click", () => stepDay(-1));
  byId("day-after").addEventListener("click", () => stepDay(1));
  byId("table-verdict").addEventListener("change", (event) => { state.tableVerdict = event.target.value; state.page = 0; tellTable(); });
  byId("page-before").addEventListener("click", () => { state.page -= 1; tellTable(); });
  byId("page-after").addEventListener("click", () => { state.page += 1; tellTable(); });
  byId("month-choose").hidden = !source.isLive;
  byId("month-choice").addEventListener("change", async (event) => { if (event.target.value) tellMonth(await source.summary(event.target.value)); });
  let pending = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });
  byId("with-verdict").append(...NAMES.map((name) => make("option", { value: name }, name)));
  byId("table-verdict").append(make("option", { value: "" }, "all minutes"), ...NAMES.map((name) => make("option", { value: name }, name)));
}

async function begin() {
  wireUp();
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  await load(null);
  const month = source.summary(null).catch(() => null).then((told) => { byId("month").hidden = !told; if (told) { tellMonth(told); tellAdvice(state.all); } });
  if (!source.isLive) await month; // of a large store a server may need seconds for it, or refuse
  await chooseDay(firstDay(state.all));
  drawSwatches();
  drawTotals(byId("totals"), state.all.totals);
  requestAnimationFrame(() => setTimeout(() => { // once the observer has told which rows are in sight, and these are drawn
    performance.mark("mutewatch-drawn");
    performance.measure("mutewatch-first-draw", "mutewatch-start", "mutewatch-drawn");
    document.body.dataset.ready = "true";
  }));
  if (source.isLive) setInterval(() => poll().catch(() => { byId("shown").textContent = "The server does not answer; what is shown may be old."; }), POLL_MS);
}

begin();
