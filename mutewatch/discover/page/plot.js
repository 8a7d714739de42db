// Draws each chart of the block `charts`: one list of times, and one list of values for each line.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = JSON.parse(document.getElementById("charts").textContent);
  let plots = [];

  /** Draw all charts anew, in the colours of the theme and as wide as the page is. */
  function draw() {
    document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    for (const plot of plots) plot.destroy();
    plots = charts.map((chart, position) => {
      const holder = document.getElementById(`chart-${position}`);
      const lines = chart.lines.map((line, number) => ({ label: line.label, stroke: colour(number ? "flagged" : "mean"), width: 1.5, points: { show: chart.times.length < 200, size: 4 } }));
      return new uPlot({
        width: holder.clientWidth, height: 150, legend: { show: chart.lines.length > 1 },
        tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
        cursor: { sync: { key: "time", setSeries: false } },
        series: [{}, ...lines],
        axes: [axis, { ...axis, size: 70 }],
      }, [chart.times, ...chart.lines.map((line) => line.values)], holder);
    });
  }

  draw();
  dark.addEventListener("change", draw);
  addEventListener("resize", draw);
})();
