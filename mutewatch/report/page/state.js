// What the parts of the page share. Texts go in as text nodes only.
performance.mark("mutewatch-start");
const POLL_MS = Number(document.body.dataset.poll);
const PAGE_ROWS = 50;
const source = document.body.dataset.mode === "live" ? served() : inlined();
const state = { all: null, day: null, clients: [], month: null, client: null, minutes: null, rows: [], hours: [0, 24], page: 0, tableVerdict: "flagged", stripWidth: null };
const timeline = Timeline({ onChoose: showEvidence, onEnter: () => byId("evidence").focus() });
