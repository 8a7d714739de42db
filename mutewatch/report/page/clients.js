// Clients of a day: the list, its strips and filters.

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

/** The days that can be gone to, in order: those of the overview, and of a server's store the nearest ones outside. */
function knownDays() {
  const { before, after } = (source.isLive && state.all.store) || {};
  const days = [before, after].filter(Number.isInteger).map(dayOf);
  return [...new Set([...daysWithData(state.all).keys(), ...days])].sort((a, b) => a - b);
}

/** The hours of the day that the rows show: all that has anything, so that a short meeting is no speck of 24 hours. */
function hoursShown(clients) {
  const hours = clients.flatMap((client) => client.hours.map(([hour]) => hour));
  const [first, last] = [Math.min(...hours), Math.max(...hours) + 1];
  const wide = [1, 2, 4, 8, 12].find((n) => n >= last - first) || 24; // their quarters are round times
  const from = Math.min(Math.max(0, first), 24 - wide);
  return hours.length ? [from, from + wide] : [0, 24];
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
  const [from, to] = state.hours;
  if (minutes) drawVerdicts(canvas, width, 22, minutes, state.day + from * 3600, state.day + to * 3600);
  else drawHours(canvas, width, 22, row.client.hours, from, to);
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
  state.hours = hoursShown(state.clients);
  const [from, to] = state.hours;
  const quarters = [0, 1, 2, 3, 4].map((k) => (from + ((to - from) * k) / 4) * 60); // minutes of the day
  byId("hours").replaceChildren(...quarters.map((at) => make("span", {}, `${pad(Math.floor(at / 60))}:${pad(at % 60)}`)));
  byId("clients").classList.toggle("of-apps", new Set(state.clients.flatMap((client) => client.apps)).size > 1);
  state.rows = shown.map((client) => {
    const told = NAMES.filter((name) => client.minutes[name]).map((name) => `${client.minutes[name]} ${name}`).join(", ");
    const seen = seenOf(client.minutes);
    const flagged = make("b", { class: client.minutes.flagged ? null : "none" }, client.minutes.flagged ? `▲ ${client.minutes.flagged}` : "0");
    const row = make("button", { type: "button", class: "client", tabindex: "-1" },
      make("span", { class: "name", title: client.name }, wire(client.name)),
      make("span", { class: "app" }, client.apps.join(", ")),
      make("span", { class: "number" }, ...(seen ? [flagged, ` of ${count(seen, "minute")}`] : ["none seen"])),
      make("canvas", { role: "img", "aria-label": told }));
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
  byId("clients-title").textContent = `Clients, ${dayName(day)}`; // browsers write the day above in the user's own way
  tellSteps();
  listClients();
  const same = state.clients.find((client) => client.name === state.client?.name);
  await chooseClient(same || state.clients[0] || null);
}

/** The next known day with data, or the one before; undefined where there is none. */
const dayBeside = (by) => (by < 0 ? knownDays().findLast((day) => day < state.day) : knownDays().find((day) => day > state.day));

function tellSteps() {
  byId("day-before").disabled = dayBeside(-1) === undefined;
  byId("day-after").disabled = dayBeside(1) === undefined;
}

function stepDay(by) {
  const day = dayBeside(by);
  return day === undefined ? null : chooseDay(day);
}
