// The month, and what the page says of itself.

function tellMonth(month) {
  state.month = month;
  const flagged = month.totals.flagged || 0;
  byId("month-title").textContent = monthFormat.format(new Date(month.since * 1000));
  byId("month-choice").value = month.month;
  const days = month.days.filter((day) => day.minutes.flagged).length;
  const expired = Object.entries(month.expired).map(([name, n]) => `${n.toLocaleString("en-GB")} ${name}`).join(", ");
  const worst = month.days.reduce((most, day) => ((day.minutes.flagged || 0) > (most.minutes.flagged || 0) ? day : most));
  byId("month-lead").textContent = flagged
    ? `${count(flagged, "flagged minute")} of ${count(month.flagged_count, "client")} (of ${month.client_count} seen) on ${count(days, "day")}${days > 1 ? `, most on ${dayName(Date.parse(worst.day) / 1000)} (${worst.minutes.flagged.toLocaleString("en-GB")})` : ""}.`
    : month.client_count ? `No flagged minutes; ${count(month.client_count, "client")} seen.` : `No client was seen${expired ? ": what was is deleted, only counts are left" : ""}. That says nothing about leaks.`;
  const fill = (id, rows) => byId(id).tBodies[0].replaceChildren(...rows.map((cells) => make("tr", {}, ...cells.map((cell, k) =>
    make(k ? "td" : "th", { scope: k ? null : "row", class: typeof cell === "number" ? "n" : null }, typeof cell === "number" ? cell.toLocaleString("en-GB") : cell)))));
  fill("month-clients", month.clients.map((client) => [wire(client.name), client.flagged, client.minutes, client.days]));
  byId("month-clients").caption.replaceChildren("Who, how often ", make("small", {}, month.clients.length < month.flagged_count
    ? `the ${month.clients.length} with most of ${month.flagged_count}` : count(month.flagged_count, "client")));
  fill("month-apps", month.apps.map((app) => [wire(app.app), app.version === null ? "not reported" : wire(app.version), app.flagged, app.minutes]));
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
      ...(n && (step > 30 || days.findIndex((other) => other.minutes.flagged === most) === i) ? [draw("text", { x: i * step + step / 2, y: 11 + high - tall, "text-anchor": "middle" }, String(n))] : []),
      ...(isLabelled ? [draw("text", { x: i * step + step / 2, y: 115, "text-anchor": "middle" }, String(i + 1))] : []),
    ];
  });
  const told = days.filter((day) => day.minutes.flagged).map((day) => `${day.day}: ${day.minutes.flagged}`).join(", ");
  const rows = days.filter((day) => Object.keys(day.minutes).length).map((day) => make("tr", {}, make("th", { scope: "row" }, day.day), ...NAMES.map((name) => make("td", { class: "n" }, String(day.minutes[name] || 0)))));
  byId("trend").replaceChildren(
    make("p", { class: "span" }, "Flagged minutes by day; a dark base line means that anything was seen on that day."),
    draw("svg", { viewBox: `0 0 ${wide} 118`, role: "img", "aria-label": `Flagged minutes by day: ${told || "none"}` }, ...bars),
    make("details", {}, make("summary", {}, "The same as a table"), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Minutes by day" }, make("table", {}, make("caption", {}, "Minutes by day and verdict"),
      make("thead", {}, make("tr", {}, ...["Day", ...NAMES].map((head, k) => make("th", { scope: "col", class: k ? "n" : null }, head)))), make("tbody", {}, ...rows)))));
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
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Input"), ...["Messages", "Decoded", "Undecoded", "Without body", "Not opened"].map((head) => make("th", { scope: "col", class: "n" }, head)), make("th", { scope: "col" }, "Read"))), make("tbody", {}, ...inputs)))] : []));
}
