// The evidence of the chosen minute.

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
  if (!isQuiet) byId("heard").textContent = minuteWords(minutes, i);
  markTable();
  tellCommand();
}

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
  const told = minutes.series.filter((one) => Object.values(one.at).some((k) => minutes.value(k, i) !== null));
  if (!told.length) return make("div", {}, make("p", {}, "No values: nothing of this minute was read."));
  const isOfSamples = told.some((one) => one.kind === "field");
  const reading = (k, unit) => make("td", { class: "n" }, k === undefined || minutes.value(k, i) === null ? "" : `${number(minutes.value(k, i))} ${unit}`);
  const row = (name, meaning, readings, floor) => make("tr", {}, make("th", { scope: "row", title: meaning }, wire(name)), ...readings, make("td", { class: "n" }, number(floor)));
  const rows = isOfSamples
    ? told.map(({ label, meaning, at, unit, floor }) => row(label, meaning, STATISTICS.map((what) => reading(at[what], unit)), floor))
    : minutes.values.map((value, k) => [value, k]).filter(([, k]) => minutes.value(k, i) !== null)
      .map(([value, k]) => row(value.name, value.meaning, [reading(k, value.unit === "1" ? "" : value.unit)], value.floor ?? null));
  const heads = ["Value", ...(isOfSamples ? STATISTICS.map(capital) : ["Reading"]), "Floor"];
  const remark = isOfSamples ? "Of the readings of this minute that count: those while muted, or all if none was."
    : told.some((one) => one.kind === "gain") ? "Gains are inverse to loudness: high means quiet. At the floor a value carries nothing." : "";
  return make("div", {}, make("table", {}, make("caption", {}, "What left, as the client's maker names it"),
    make("thead", {}, make("tr", {}, ...heads.map((head, k) => make("th", { scope: "col", class: k ? "n" : null }, head)))), make("tbody", {}, ...rows)),
  make("p", { class: "span" }, remark));
}
