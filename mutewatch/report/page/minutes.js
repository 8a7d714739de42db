// One client's day: its strips, a minute's evidence, and the table.

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
