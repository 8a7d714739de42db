// One client's day: strips, the chart of its values, and the keys and pointers that move through it.
function Timeline({ onChoose, onEnter }) {
  const cursor = byId("cursor"); // a slider over the minutes: screen readers say where it stands
  const strips = ["verdict", "mute", "guess", "missing", "closed"].map((name) => byId(`strip-${name}`));
  const [verdictStrip, muteStrip, guessStrip, missingStrip, closedStrip] = strips;
  const holder = byId("chart");
  const choice = byId("series");
  let minutes = null;
  let day = 0;
  let view = [0, DAY];
  let chosen = null;
  let chart = null;

  const gutter = () => parseFloat(getComputedStyle(verdictStrip.parentElement).gridTemplateColumns);
  const extent = () => {
    if (!minutes || !minutes.count) return [day, day + DAY];
    const first = minutes.end[0] - (minutes.length[0] || 60);
    const last = minutes.end[minutes.count - 1];
    const room = Math.max(120, (last - first) * 0.02);
    return [first - room, last + room];
  };
  const clamp = ([from, to]) => {
    const wide = Math.min(Math.max(to - from, 300), DAY * 1.02);
    const start = Math.min(Math.max((from + to - wide) / 2, day - DAY * 0.01), day + DAY * 1.01 - wide);
    return [start, start + wide];
  };

  function show(nextMinutes, nextDay) {
    [minutes, day, chosen] = [nextMinutes, nextDay, null];
    for (const strip of [muteStrip, guessStrip, byId("gain-track"), byId("keys")]) {
      (strip.closest(".track") || strip).hidden = false;
    }
    muteStrip.closest(".track").hidden = !minutes.isForAnalysts;
    guessStrip.closest(".track").hidden = !minutes.guesses.length;
    missingStrip.closest(".track").hidden = false;
    offerSeries();
    view = clamp(extent());
    build();
    draw();
  }

  function offerSeries() {
    choice.replaceChildren(...minutes.series.map((one, k) => make("option", { value: String(k) }, one.unit ? `${one.label}, ${one.unit}` : one.label)));
    choice.disabled = choice.options.length < 2;
    byId("gain-track").hidden = !choice.options.length;
  }

  /** What the chart shows: x in the middle of each minute, with a break where minutes are not neighbours. */
  function series() {
    const { at } = shown();
    const which = isBand(shown()) ? [at.max, at.min, at.mean] : [at.mean ?? at.max ?? at.min];
    const rows = [[], ...which.map(() => [])];
    let before = null;
    for (let i = 0; i < minutes.count; i++) {
      const length = minutes.length[i] || 60;
      const x = minutes.end[i] - length / 2;
      if (before !== null && x <= before) continue; // two calls at once: the chart shows the first
      if (before !== null && x - before > length * 1.5) { rows[0].push((x + before) / 2); which.forEach((_, k) => rows[k + 1].push(null)); }
      rows[0].push(x);
      which.forEach((k, n) => rows[n + 1].push(k === undefined ? null : minutes.value(k, i)));
      before = x;
    }
    return rows;
  }
  const shown = () => minutes.series[Number(choice.value)];

  function build() {
    if (chart) chart.destroy();
    chart = null;
    holder.replaceChildren();
    if (byId("gain-track").hidden || !holder.clientWidth) return;
    const rows = series();
    const hasBand = isBand(shown());
    byId("unit").textContent = seriesWords(shown());
    holder.setAttribute("aria-label", valueWords(minutes, shown()));
    const dots = { show: rows[0].length < 120, size: 5 };
    const line = (label, colour, width, more = {}) => ({ label, stroke: colour, width, points: { ...dots, show: false }, ...more });
    const lines = hasBand
      ? [line("max", palette.band, 1), line("min", palette.band, 1), line("mean", palette.mean, 2, { points: { ...dots, fill: palette.mean } })]
      : [line("value", palette.mean, 2, { points: { ...dots, fill: palette.mean } })];
    const axis = { stroke: palette.soft, grid: { stroke: palette.line, width: 1 }, ticks: { stroke: palette.line, width: 1 }, font: "12px system-ui, sans-serif" };
    chart = new uPlot({
      width: holder.clientWidth, height: 176, padding: [14, 0, 0, 0], legend: { show: false },
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      scales: { x: { time: true, range: () => view }, y: { range: (_, low, high) => (low === null ? [0, 1] : uPlot.rangeNum(low, high, { min: { pad: 0.12 }, max: { pad: 0.12 } })) } },
      series: [{}, ...lines],
      bands: hasBand ? [{ series: [1, 2], fill: withAlpha(palette.band, 0.28) }] : [],
      axes: [
        { ...axis, space: 70, size: 30, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * 60),
          values: (plot, times) => times.map((time) => ((view[1] - time) / (view[1] - view[0])) * (plot.width - gutter()) < 18 ? "" : clock(time)) },
        { ...axis, size: gutter() },
      ],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
      hooks: { drawClear: [drawFlags], draw: [drawMark], setSelect: [(plot) => {
        if (plot.select.width < 6) return;
        zoomTo([plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")]);
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }] },
    }, rows, holder);
    let pressedAt = 0;
    chart.over.addEventListener("pointerdown", (event) => { pressedAt = event.clientX; });
    chart.over.addEventListener("click", (event) => {
      cursor.focus({ preventScroll: true });
      if (Math.abs(event.clientX - pressedAt) < 6) chooseAt(chart.posToVal(event.clientX - chart.over.getBoundingClientRect().left, "x"));
    });
  }

  /** Flagged minutes: tinted, with a mark on top. */
  function drawFlags(plot) {
    const { ctx, bbox } = plot;
    const scale = window.devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
    ctx.clip();
    eachRun(minutes, (i) => minutes.verdict[i] === 0, (start, end) => {
      const [left, right] = [plot.valToPos(start, "x", true), plot.valToPos(end, "x", true)];
      ctx.fillStyle = palette.tint;
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
      ctx.fillStyle = palette.flagged;
      ctx.fillRect(left, bbox.top - 6 * scale, Math.max(scale, right - left - scale), 4 * scale);
    });
    ctx.restore();
  }

  function drawMark(plot) {
    if (chosen === null) return;
    const [start, end] = edges(chosen);
    const { ctx, bbox } = plot;
    const left = plot.valToPos(start, "x", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.strokeStyle = palette.ink;
    ctx.lineWidth = 2 * (window.devicePixelRatio || 1);
    ctx.strokeRect(left, bbox.top - 4, Math.max(4, plot.valToPos(end, "x", true) - left), bbox.height + 8);
    ctx.restore();
  }

  const edges = (i) => [minutes.end[i] - (minutes.length[i] || 60), minutes.end[i]];

  function draw() {
    if (!minutes) return;
    const [from, to] = view;
    const sizes = strips.map((strip) => [strip.clientWidth, strip.clientHeight]);
    strips.forEach((strip, k) => {
      const [width, height] = sizes[k];
      if (!width) return;
      if (strip === verdictStrip) drawVerdicts(strip, width, height, minutes, from, to);
      else if (strip === muteStrip) drawMute(strip, width, height, minutes, from, to);
      else if (strip === guessStrip) drawGuesses(strip, width, height, minutes, from, to);
      else if (strip === missingStrip) drawVerdicts(strip, width, height, minutes, from, to, [4, 5]);
      else drawClosed(strip, width, height, minutes, from, to);
      if (chosen !== null) drawChosen(strip, width, height, ...edges(chosen), from, to);
    });
    if (chart) chart.setScale("x", { min: from, max: to });
  }

  function zoomTo(span) { view = clamp(span); draw(); }
  function zoomBy(factor) {
    const [start, end] = chosen === null ? view : edges(chosen);
    const [middle, half] = [(start + end) / 2, ((view[1] - view[0]) * factor) / 2];
    zoomTo([middle - half, middle + half]);
  }

  function choose(i, isQuiet = false) {
    if (i === null || i < 0 || i >= minutes.count) return;
    chosen = i;
    cursor.setAttribute("aria-valuemax", String(minutes.count));
    cursor.setAttribute("aria-valuenow", String(i + 1));
    cursor.setAttribute("aria-valuetext", minuteWords(minutes, i));
    const [start, end] = edges(i);
    const wide = view[1] - view[0];
    if (start < view[0] || end > view[1]) view = clamp([start - wide / 2, start + wide / 2]);
    draw();
    onChoose(i, isQuiet);
  }

  /** The minute at a time; a flagged one before others, the nearest where there is none. */
  function chooseAt(time) {
    let best = null;
    let distance = Infinity;
    for (let i = 0; i < minutes.count; i++) {
      const [start, end] = edges(i);
      const away = time < start ? start - time : time > end ? time - end : 0;
      if (away < distance || (away === distance && minutes.verdict[i] === 0)) [best, distance] = [i, away];
    }
    if (distance <= (view[1] - view[0]) * 0.03) choose(best);
  }

  /** The next minute, or the next flagged one; beyond the ends where there is none. */
  function next(by, isFlaggedOnly) {
    let i = chosen === null ? (by > 0 ? -1 : minutes.count) : chosen;
    do i += by; while (i >= 0 && i < minutes.count && isFlaggedOnly && minutes.verdict[i] !== 0);
    return i;
  }
  const step = (by, isFlaggedOnly, isQuiet) => choose(next(by, isFlaggedOnly), isQuiet);
  const hasFlagged = (by) => { const i = next(by, true); return i >= 0 && i < minutes.count; };

  const keys = {
    "ArrowRight": (event) => step(1, event.shiftKey, true), "ArrowLeft": (event) => step(-1, event.shiftKey, true),
    "Home": () => choose(0, true), "End": () => choose(minutes.count - 1, true), "Enter": () => chosen !== null && onEnter(),
    "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2), "0": () => zoomTo(extent()),
  };
  cursor.addEventListener("keydown", (event) => {
    if (!minutes || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key](event);
  });
  for (const strip of strips) {
    let from = null;
    const timeAt = (event) => { const at = strip.getBoundingClientRect(); return view[0] + ((event.clientX - at.left) / at.width) * (view[1] - view[0]); };
    strip.addEventListener("pointerdown", (event) => { from = [event.clientX, timeAt(event)]; strip.setPointerCapture(event.pointerId); });
    strip.addEventListener("pointermove", (event) => {
      if (!from || Math.abs(event.clientX - from[0]) < 6) return;
      draw();
      const pen = strip.getContext("2d");
      const place = (time) => ((time - view[0]) / (view[1] - view[0])) * strip.clientWidth;
      pen.fillStyle = withAlpha(palette.accent, 0.3);
      pen.fillRect(place(from[1]), 0, place(timeAt(event)) - place(from[1]), strip.clientHeight);
    });
    strip.addEventListener("pointerup", (event) => {
      if (!from) return;
      const [[x, start], end] = [from, timeAt(event)];
      from = null;
      cursor.focus({ preventScroll: true });
      if (Math.abs(event.clientX - x) < 6) chooseAt(end);
      else zoomTo([Math.min(start, end), Math.max(start, end)]);
    });
    strip.addEventListener("pointercancel", () => { from = null; });
  }
  choice.addEventListener("change", () => { build(); draw(); });
  byId("zoom-in").addEventListener("click", () => zoomBy(0.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(2));
  byId("zoom-fit").addEventListener("click", () => zoomTo(extent()));
  byId("zoom-day").addEventListener("click", () => zoomTo([day, day + DAY]));
  const redraw = () => { if (minutes) { build(); draw(); } };
  return { show, choose, step, hasFlagged, redraw, view: () => view, chosen: () => chosen };
}

const isBand = (one) => one.at.max !== undefined && one.at.min !== undefined;

function withAlpha(colour, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}
