// Light, dark, print; and how the page begins.

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

/** Everything is drawn anew as wide as the paper is: what is printed would else be what fitted the window. */
let themeBeforePrint = null;
function beforePrint() {
  if (themeBeforePrint !== null) return;
  themeBeforePrint = document.documentElement.dataset.theme;
  document.documentElement.dataset.printing = "";
  if (state.minutes) tellTable(Infinity);
  for (const row of state.rows) row.isDrawn = true;
  setTheme("light");
}
function afterPrint() {
  if (themeBeforePrint === null) return;
  delete document.documentElement.dataset.printing;
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
  if (state.day !== null) tellSteps();
  tellAnswer(state.all);
  tellAbout(state.all);
  byId("sample").hidden = !state.all.is_sample;
  byId("what-client").textContent = [source.about?.left_out, `Client: one installation of an app${state.all.clients.every((client) => /^client-[0-9a-f]{12}$/.test(client.name)) ? ", under a pseudonym" : ""}.`].filter(Boolean).join(" ");
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
  const chosen = timeline.chosen();
  const flagged = state.all.totals.flagged || 0;
  await load(state.day);
  const more = (state.all.totals.flagged || 0) - flagged;
  if (more > 0) byId("heard").textContent = `${count(more, "flagged minute")} more: ${byId("lead").firstChild.textContent}.`;
  drawSwatches();
  drawTotals(byId("totals"), state.all.totals);
  const clients = clientsOf(state.all, state.day);
  if (JSON.stringify(clients) !== JSON.stringify(state.clients)) {
    state.clients = clients;
    listClients();
  }
  const shown = state.client;
  const same = state.clients.find((client) => client.name === shown?.name);
  // A minute may be corrected while the counts stay as they are.
  const isNew = same ? await source.renew(same, state.day) : Boolean(shown || state.clients.length);
  if (state.client !== shown) return; // another one was chosen meanwhile
  if (!isNew) { state.client = same; return; }
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
  byId("month-choice").addEventListener("change", async (event) => { if (!event.target.value) return; tellMonth(await source.summary(event.target.value)); byId("heard").textContent = byId("month-lead").textContent; });
  let pending = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });
  byId("with-verdict").append(...NAMES.map((name) => make("option", { value: name }, name)));
  byId("table-verdict").append(make("option", { value: "" }, "all minutes"), ...NAMES.map((name) => make("option", { value: name }, name)));
}

async function begin() {
  wireUp();
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  await load(null);
  const month = source.summary(isoDay(state.all.until - 1).slice(0, 7)).catch(() => null).then((told) => { byId("month").hidden = !told; if (told) { tellMonth(told); tellAdvice(state.all); } });
  if (!source.isLive) await month; // of a large store a server may need seconds for it, or refuse
  await chooseDay(firstDay(state.all));
  drawSwatches();
  drawTotals(byId("totals"), state.all.totals);
  requestAnimationFrame(() => setTimeout(() => { // once the observer has told which rows are in sight, and these are drawn
    performance.mark("mutewatch-drawn");
    performance.measure("mutewatch-first-draw", "mutewatch-start", "mutewatch-drawn");
    document.body.dataset.ready = "true";
  }));
  if (source.isLive) setInterval(() => poll().catch(tellAway), POLL_MS);
}

/** Until the next answer, which `tellVisit` tells. */
function tellAway() {
  const words = "The server does not answer; what is shown may be old.";
  byId("live").hidden = false;
  if (byId("live").textContent !== words) byId("heard").textContent = byId("live").textContent = words;
}

window.addEventListener("unhandledrejection", () => source.isLive && tellAway()); // of a day or a client that was asked for
begin();
