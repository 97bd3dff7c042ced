// The index: studies, and runs to sort, to find, to hide, and to tick two of.
import { byId, duration, follow, make, measured, number, setText } from "/common.js";

const steps = (run) =>
  run.num_steps === null ? "" : `${number(run.step)} / ${number(run.num_steps)}`;
const size = (run) => (run.size === null ? "" : ` ${number(run.size)}`);
// A column: heading, what is sorted by, what is shown; `wide` of numbers.
const COLUMNS = [
  { head: "run", by: (run) => run.id },
  { head: "state", by: (run) => run.state },
  { head: "model", by: (run) => run.model, text: (run) => run.model ?? "" },
  { head: "data", by: (run) => run.data && run.data + String(run.size ?? "").padStart(12), text: (run) => (run.data ?? "") + size(run) },
  { head: "seed", by: (run) => run.seed, text: (run) => number(run.seed), wide: true },
  { head: "metric", by: (run) => run.value, text: (run) => measured(run.value), wide: true },
  { head: "loss", by: (run) => run.loss, text: (run) => measured(run.loss), wide: true },
  { head: "steps", by: (run) => run.step, text: steps, wide: true },
  { head: "images/s", by: (run) => run.images_per_s, text: (run) => number(run.images_per_s), wide: true },
  { head: "time", by: (run) => run.seconds, text: (run) => duration(run.seconds), wide: true },
];
const FIRST = 60; // rows, more than a screen has
const state = { found: null, column: 0, up: true, ticked: new Set(), hidden: new Set(), off: new Set() };
const rows = new Map(); // of each run its row and cells
const words = new Intl.Collator("en", { numeric: true }); // 1,000 runs in 10 ms, localeCompare 200

// An empty row, to be copied: 1,000 are made in a third of the time.
const empty = make("tr", {}, make("td", {}, make("input", { type: "checkbox" })),
  make("th", { scope: "row" }, make("a")),
  ...COLUMNS.slice(1).map((column) => make("td", column.wide ? { class: "number" } : {})));

function rowOf(run) {
  if (!rows.has(run.id)) {
    const row = empty.cloneNode(true), [first, ...cells] = row.children;
    const tick = first.firstChild, link = cells[0].firstChild;
    tick.value = run.id;
    tick.setAttribute("aria-label", `Tick ${run.id}`);
    link.href = `/compare?run=${encodeURIComponent(run.id)}`;
    link.textContent = run.id;
    rows.set(run.id, { row, cells, tick, texts: [] });
  }
  return rows.get(run.id);
}

function fill(run) {
  const { cells, texts } = rowOf(run);
  COLUMNS.forEach((column, at) => {
    const text = column.text?.(run);
    if (column.text && text !== texts[at]) cells[at].textContent = texts[at] = text;
  });
  const said = `${run.state} ${run.error}`;
  if (texts[1] !== said) {
    const why = run.error ? [make("span", { class: "why" }, run.error)] : [];
    cells[1].replaceChildren(make("span", { class: run.state }, run.state), ...why);
    texts[1] = said;
  }
}

function order(runs) {
  const by = COLUMNS[state.column].by, sign = state.up ? 1 : -1;
  const missing = (value) => value === null || value === undefined;
  return runs.slice().sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y); // last, whichever way
    const apart = typeof x === "string" ? words.compare(x, y) : x - y;
    return sign * apart || words.compare(a.id, b.id);
  });
}

function isFound(run, wanted) {
  const text = `${run.id} ${run.state} ${run.model ?? ""} ${run.data ?? ""}`.toLowerCase();
  return wanted.every((word) =>
    word.startsWith("-") && word.length > 1 ? !text.includes(word.slice(1)) : text.includes(word));
}

function draw() {
  if (state.found === null) return;
  const asked = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const study = byId("study").value;
  const shown = order(state.found.runs.filter((run) =>
    !state.hidden.has(run.id) && !state.off.has(run.state) && isFound(run, asked) &&
    (study === "" || run.studies.includes(study))));
  place(shown);
  setText(byId("count"), `${number(shown.length)} of ${number(state.found.runs.length)} runs are shown`);
  buttons();
}

/** Has the table show these runs; the first time those one sees, and then the others. */
function place(shown) {
  const body = byId("rows"), begin = body.children.length === 0 ? FIRST : shown.length;
  const wanted = shown.slice(0, begin).map((run) => rowOf(run).row);
  if (wanted.length !== body.children.length || wanted.some((row, at) => row !== body.children[at]))
    body.replaceChildren(...wanted);
  shown.slice(0, begin).forEach(fill);
  if (begin < shown.length) setTimeout(draw);
}

function buttons() {
  const ticked = state.ticked.size, hidden = state.hidden.size;
  byId("compare").disabled = ticked !== 2;
  byId("hide").disabled = ticked === 0;
  byId("show").hidden = hidden === 0;
  setText(byId("show"), `Show ${number(hidden)} hidden ${hidden === 1 ? "run" : "runs"}`);
}

function heads() {
  COLUMNS.forEach((column, at) => {
    const head = byId("heads").children[at + 1];
    head.setAttribute("aria-sort", at !== state.column ? "none" : state.up ? "ascending" : "descending");
  });
}

function options(select, values, chosen) {
  const there = [...select.options].map((option) => option.value + option.text).join("\n");
  if (there !== values.map(([value, text]) => value + text).join("\n"))
    select.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
  if (select.value !== chosen) select.value = chosen;
}

function states(runs) {
  const counts = new Map();
  for (const run of runs) counts.set(run.state, (counts.get(run.state) ?? 0) + 1);
  const fields = byId("states");
  for (const name of [...counts.keys()].sort()) {
    let label = fields.querySelector(`label[data-state="${CSS.escape(name)}"]`);
    if (label === null) {
      const box = make("input", { type: "checkbox", checked: "" });
      box.addEventListener("change", () => {
        if (box.checked) state.off.delete(name);
        else state.off.add(name);
        draw();
      });
      label = make("label", { "data-state": name }, box, make("span"));
      fields.append(label);
    }
  }
  for (const label of fields.querySelectorAll("label")) {
    const name = label.dataset.state;
    setText(label.lastChild, `${name} (${number(counts.get(name) ?? 0)})`);
  }
}

function studyRow(study) {
  const report = `/studies/${encodeURIComponent(study.folder)}/report/report.html`;
  const name = study.report ? make("a", { href: report }, study.title) : make("span", {}, study.title);
  const head = make("th", { scope: "row" }, name, make("span", { class: "why faint" }, study.folder));
  if (study.problem !== undefined)
    return make("tr", {}, head, make("td", { colspan: 3, class: "unreadable" }, study.problem));
  const done = study.counts.done ?? 0;
  const said = Object.entries(study.counts).map(([word, count]) => `${count} ${word}`).join(", ");
  const bar = make("progress", { max: study.runs, value: done, "aria-label": `${done} of ${study.runs} runs done` });
  const claims = study.verdicts.map(({ word, statement }) =>
    make("li", {}, make("span", { class: `verdict ${word.replace(" ", "-")}` }, word), `: ${statement}`));
  const verdicts = claims.length ? make("ul", { class: "words" }, ...claims) : "nothing yet";
  const runs = make("td", {}, bar, make("span", { class: "why faint" }, said));
  return make("tr", {}, head, make("td", {}, study.scale), runs, make("td", {}, verdicts));
}

let studies = "";
function show(found) {
  state.found = found;
  const now = JSON.stringify(found.studies);
  if (now !== studies) {
    const none = make("tr", {}, make("td", { colspan: 4, class: "faint" }, "None is planned here."));
    byId("study-rows").replaceChildren(...(found.studies.length ? found.studies.map(studyRow) : [none]));
    studies = now;
  }
  const names = found.studies.map((study) => [study.folder, study.folder]);
  options(byId("study"), [["", "all"], ...names], byId("study").value);
  options(byId("metric"), found.metrics.map((name) => [name, name]), found.metric);
  setText(byId("heads").children[6].firstChild, found.metric || "metric");
  const ids = new Set(found.runs.map((run) => run.id));
  for (const set of [state.ticked, state.hidden]) for (const id of set) if (!ids.has(id)) set.delete(id);
  for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
  states(found.runs);
  draw();
}

byId("heads").append(make("td", {}), ...COLUMNS.map((column, at) => {
  const button = make("button", { type: "button" }, column.head);
  button.addEventListener("click", () => {
    // Numbers begin with the largest: that is what one looks for.
    [state.up, state.column] = [at === state.column ? !state.up : !column.wide, at];
    heads();
    draw();
  });
  return make("th", { scope: "col", ...(column.wide ? { class: "number" } : {}) }, button);
}));
heads();
let metric = "";
const look = follow(() => `/api/overview?metric=${encodeURIComponent(metric)}`, show, (found) => found.unread > 0);
byId("metric").addEventListener("change", () => {
  metric = byId("metric").value;
  look();
});
byId("rows").addEventListener("change", ({ target }) => {
  if (target.checked) state.ticked.add(target.value);
  else state.ticked.delete(target.value);
  buttons();
});
byId("study").addEventListener("change", draw);
byId("find").addEventListener("input", draw);
byId("compare").addEventListener("click", () => {
  location.href = `/compare?${[...state.ticked].map((id) => `run=${encodeURIComponent(id)}`).join("&")}`;
});
byId("hide").addEventListener("click", () => {
  for (const id of state.ticked) {
    state.hidden.add(id);
    rows.get(id).tick.checked = false;
  }
  state.ticked.clear();
  draw();
});
byId("show").addEventListener("click", () => {
  state.hidden.clear();
  draw();
});
