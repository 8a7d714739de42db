// The answer in words: which minutes, how bad, what now, and what was not seen.

function tellAnswer(all) {
  const { flagged = 0, "mute-unknown": unknown = 0 } = all.totals;
  const { seen, uncounted, judged } = all.coverage;
  const seenInAll = seen + sum(uncounted);
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
    lead.append(make("strong", {}, `${flagged.toLocaleString("en-GB")} of ${count(seenInAll, "minute")}`), ": audio-derived data left while the client was muted.",
      ...partWords(all),
      make("small", {}, `${all.is_loudness ? "Numbers about how loud the microphone was" : "Numbers made of the microphone's sound"}, not the sound itself.`),
      make("small", {}, `${when} ${count(clients.length, "client")}, ${apps}. A handful of such minutes can be enough to guess what somebody does near a muted microphone.`));
  } else if (judged) {
    lead.append(`None of ${count(judged, "judged minute")} was flagged.`, make("small", {}, "That speaks for these minutes only: see what was not seen."),
      ...(unknown ? [make("small", {}, `In ${unknown.toLocaleString("en-GB")} more audio-derived data left, and whether the client was muted is not known: not clean.`)] : []));
  } else if (unknown) {
    lead.append(`In ${count(unknown, "minute")} audio-derived data left. Whether the client was muted is not known.`, make("small", {}, "Not clean: they are judged once you say who was muted."));
  } else {
    lead.append("Nothing was judged.", make("small", {}, "So this says nothing about leaks: see what was not seen."));
  }
  const legend = NAMES.filter((name) => all.totals[name]);
  byId("legend").replaceChildren(...legend.map((name) => {
    const words = [make("b", {}, all.totals[name].toLocaleString("en-GB")), ` ${name}`];
    return make("li", { title: VERDICTS[name].means }, swatch(name), name === "flagged" ? pressable(words, openFirstFlagged, "Go to the first flagged minute") : make("span", {}, ...words), make("small", {}, VERDICTS[name].short));
  }));
  byId("totals").setAttribute("aria-label", `Minutes by verdict: ${legend.map((name) => `${all.totals[name]} ${name}`).join(", ") || "none"}`);
  tellAdvice(all);
  byId("unseen").replaceChildren(...unseen(all).map((words) => make("li", {}, words)));
}

/** How many of the flagged minutes were muted for all of it; nothing for a viewer. */
function partWords({ muted }) {
  return muted?.part ? [make("small", {}, `${muted.whole.toLocaleString("en-GB")} for the whole minute, ${muted.part.toLocaleString("en-GB")} for a part of it.`)] : [];
}

const sum = (numbers) => Object.values(numbers).reduce((all, n) => all + n, 0);
const days = (from, to) => (dayOf(from) === dayOf(to) ? dayName(from) : `${dayName(from)} to ${dayName(to)}`);

/** Of which days this tells, and whether that is all of the store. */
function spanWords({ since, until, clients, store }) {
  const isAll = !store || (store.before === null && store.after === null);
  return `${days(since, until - 1)}, ${count(clients.length, "client")}: ${isAll ? "all that the store has" : `a part of the store, which has minutes of ${days(store.first, store.last)}`}.`;
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
      ? `${all.clients.length === 1 ? "This client reports" : "These clients report"} no version: note it yourself.` : "The month below tells apps and versions apart."]);
    told.push([bold("Stop it at the gateway"), ": ", make("code", {}, "mutewatch live"), " takes the values out or blocks the message with ", make("code", {}, "[mitigation] action = \"redact\""), " or ", make("code", {}, "\"block\""), " in the file of ", make("code", {}, "mutewatch live --config"), ": docs/mitigation.md."]);
    told.push([bold("Tell those concerned"), ": data-protection officer and works council. Print this page for them."]);
    if (all.role === "analyst") told.push([bold("Check it yourself"), ": choose a flagged minute below. Its file, frame and hash lead to the same bytes in Wireshark.", make("span", { id: "check" })]);
  }
  if (totals["mute-unknown"]) told.push([bold("Say who was muted"), ": scan again with ", make("code", {}, "--mute FILE"), " or ", make("code", {}, "--assume muted"), ". Minutes of unknown mute state are not clean."]);
  if (totals.missing || totals.undecoded || inspectable(all).length) told.push([bold("Close the gaps"), ": what was not seen may hold more of the same. Look for what the capture lost: docs/inputs.md; open apps with pinned certificates: docs/gateway.md."]);
  if (!told.length && all.coverage.judged) told.push(["Nothing to do for these minutes. Go on watching: a client's next version may behave otherwise."]);
  else if (!told.length) told.push([bold("Look whether anything is seen"), ": go to another day, or check that the clients' traffic is captured with its keys (docs/inputs.md) or led through the gateway (docs/gateway.md)."]);
  return told;
}

const isOfNoVersion = () => Boolean(state.month?.apps.length) && state.month.apps.every((app) => app.version === null);

const LEFT_OUT = "left out by the operator";

/** What was not inspected though it was meant to be. */
const inspectable = (told) => told.uninspected.filter((one) => one.reason !== LEFT_OUT);

/** What is known not to be known, as sentences; the same for a month. */
function unseen(told) {
  const lines = [];
  const { counted, seen, judged, uncounted } = told.coverage;
  const totals = told.totals;
  const apps = Object.keys(uncounted);
  if (counted) lines.push(`${seen.toLocaleString("en-GB")} of ${count(counted, "minute")} that clients counted were seen (${percent(seen, counted)}).`);
  if (apps.length) lines.push(`${apps.join(", ")}: ${count(sum(uncounted), "minute")} seen that the client does not count: whether any is missing cannot be known.`);
  lines.push(counted || apps.length ? `Judged: ${count(judged, "minute")} of those seen.` : "No minute of this time is in the store.");
  if (counted) lines.push(totals.missing ? `Missing: ${count(totals.missing, "minute")}${mutedOfMissing(told)}; counted by the client, but the report was not seen.` : "Missing: none.");
  lines.push(totals["mute-unknown"] ? `Mute state unknown: ${count(totals["mute-unknown"], "minute")}. Not clean.` : "Mute state unknown: none.");
  const undated = sum(told.undated || {});
  lines.push(totals.undecoded ? `Undecoded: ${count(totals.undecoded, "message")} of known endpoints.` : "Undecoded: none.");
  if (undated) lines.push(`Without a time, so in no count here: ${count(undated, "finding")}.`);
  for (const one of told.uninspected) {
    const when = one.first ? ` (${dayName(one.first)} ${clock(one.first)} to ${one.last && dayOf(one.last) !== dayOf(one.first) ? `${dayName(one.last)} ` : ""}${one.last ? clock(one.last) : "?"})` : "";
    if (one.reason === LEFT_OUT) lines.push(`Left out by the operator, so not looked for: ${one.host}${when}.`);
    else lines.push(`Not inspected: ${one.number.toLocaleString("en-GB")} to ${one.host || "hosts not known"}, ${one.reason}${when}.`);
  }
  if (!inspectable(told).length) lines.push("Not inspected: none known.");
  const broken = (told.inputs || []).filter((input) => input.error).length;
  if (broken) lines.push(`Not read to the end: ${count(broken, "input")}; see below.`);
  lines.push("Apps and endpoints that no signature knows are in none of these numbers.");
  return lines;
}

/** For how long clients were muted in the minutes that are missing; nothing for a viewer. */
function mutedOfMissing(told) {
  const muted = told.muted?.missing;
  return muted ? ` (the client was muted for ${muted.toLocaleString("en-GB")} s of ${told.totals.missing === 1 ? "it" : "them"})` : "";
}
