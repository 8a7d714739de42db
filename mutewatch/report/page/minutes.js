// One client's day: what stands above its strips and below them, and the table of its minutes.

async function chooseClient(client) {
  state.client = client;
  markCurrent();
  const title = byId("day-title");
  const parts = ["timeline", "evidence", "minutes", "in-words", "table-filter", "pager", "zoom", "keys", "strip-hint"].map(byId);
  const minutes = client && (await source.minutes(client, state.day));
  if (state.client !== client) return; // another one was chosen while this was fetched
  state.minutes = minutes;
  for (const part of parts) part.hidden = !minutes;
  byId("nearest").replaceChildren();
  if (!minutes) {
    title.replaceChildren("Minute by minute");
    const [nearest] = knownDays().sort((a, b) => Math.abs(a - state.day) - Math.abs(b - state.day));
    if (!client && nearest !== undefined && nearest !== state.day) byId("nearest").append(pressable(`Go to ${dayName(nearest)}`, () => chooseDay(nearest)));
    byId("day-words").textContent = client ? "The minutes of this day are not in this file: see “About this page”." : `Nothing on ${dayName(state.day)}.`;
    return;
  }
  title.replaceChildren(wire(client.name), `, ${dayName(state.day)}`);
  const partial = Array.from({ length: minutes.count }, (_, i) => minutes.isPart(i)).filter(Boolean).length;
  tellDay(client, minutes, partial);
  tellHints(minutes, partial);
  timeline.show(minutes, state.day);
  const told = dayInWords(client, minutes);
  for (const [strip, words] of told) if (strip) byId(strip).setAttribute("aria-label", words);
  byId("in-words").querySelector("ul").replaceChildren(...told.map(([, words]) => make("li", {}, `${words}.`)));
  state.page = 0;
  byId("table-verdict").value = state.tableVerdict = client.minutes.flagged ? "flagged" : "";
  tellTable();
  const first = minutes.verdict.indexOf(0);
  if (minutes.count) timeline.choose(first < 0 ? 0 : first, true);
}

/** Which minutes, how much of them, and what could be inferred. */
function tellDay(client, minutes, partial) {
  const told = NAMES.filter((name) => client.minutes[name]).map((name) => `${client.minutes[name]} ${name}`).join(", ");
  const lines = [`${client.apps.join(", ")}: ${told}.`];
  if (client.minutes.flagged) lines.push(`Flagged: ${stretchesOf(minutes, "flagged")} UTC.`);
  if (partial) lines.push(`Of the flagged ones ${partial} muted for a part of the minute only.`);
  if (minutes.guesses.length) lines.push(`Guesses of what was heard: ${guessTally(minutes)}.`);
  else if (minutes.isForAnalysts && minutes.series.length) lines.push(minutes.series.some((one) => one.kind === "gain") ? "What could be inferred is not in this store, or was left out of this page." : "No guess of what could be inferred: the model knows Webex's gains only.");
  byId("day-words").textContent = lines.join(" ");
}

/** What stands in the strips and needs a word. */
function tellHints(minutes, parts) {
  byId("enter-hint").hidden = !minutes.isForAnalysts;
  const told = [];
  if (parts) told.push(swatch("flagged"), " muted for the whole minute ", swatch("flagged in part"), " for a part of it. ");
  const guessed = new Set(Array.from({ length: minutes.count }, (_, i) => guessName(minutes, i)));
  if (guessed.has("(warming up)")) told.push("(warming up): too few minutes yet for a guess. ");
  if (guessed.has("(unfamiliar)")) told.push("(unfamiliar): unlike all that the model was trained on.");
  byId("strip-hint").replaceChildren(...told);
}

const times = (minutes, i) => `${clockSeconds(minutes.end[i] - minutes.length[i])} to ${clockSeconds(minutes.end[i])}`;
const number = (value) => (value === null ? "" : String(Math.abs(value) < 1 ? Number(value.toPrecision(3)) : Math.round(value * 1000) / 1000));

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
  const bands = minutes.series.filter(isBand); // of a minute the first that it has is told
  const heads = ["From (UTC)", "Verdict"];
  if (minutes.isForAnalysts) heads.push("Muted", ...(bands.length ? ["Max / mean / min"] : []), ...(minutes.guesses.length ? ["Guess (what was heard)"] : []), "Where");
  table.tHead.replaceChildren(make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head))));
  table.tBodies[0].replaceChildren(...shown.map((i) => {
    const name = NAMES[minutes.verdict[i]];
    const cells = [pressable(clockSeconds(minutes.end[i] - minutes.length[i]), () => { timeline.choose(i); byId("evidence").focus(); }), `${VERDICTS[name].glyph} ${name}`];
    if (minutes.isForAnalysts) {
      const muted = minutes.seconds("muted", i);
      cells.push(muted === null ? "" : `${muted} s`);
      if (bands.length) cells.push(bandWords(minutes, bands.find(({ at }) => minutes.value(at.max, i) !== null), i));
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

function bandWords(minutes, band, i) {
  if (!band) return "";
  const readings = STATISTICS.map((what) => (band.at[what] === undefined ? "-" : number(minutes.value(band.at[what], i)) || "-"));
  return make("span", {}, `${readings.join(" / ")} ${band.unit} `, make("small", {}, wire(band.label)));
}

function markTable() {
  for (const row of byId("minutes").tBodies[0].rows) {
    if (Number(row.dataset.minute) === timeline.chosen()) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}
