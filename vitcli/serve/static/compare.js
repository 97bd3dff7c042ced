// One run, or two side by side: losses over one another, metrics, settings that differ.
import { byId, duration, follow, make, measured, number, setText } from "/common.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 900, HEIGHT = 340, LEFT = 64, RIGHT = 12, TOP = 12, BOTTOM = 46;

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Returns about five round numbers from `low` to `high`. */
function ticks(low, high) {
  const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at += 1) found.push(at * step);
  return found;
}

function curves(runs) {
  const points = runs.flatMap((run) => run.losses);
  if (points.length === 0) return make("p", { class: "faint" }, "No loss is logged yet.");
  const losses = points.map(([, loss]) => loss);
  const end = Math.max(...points.map(([step]) => step), ...runs.map((run) => run.num_steps ?? 0), 1);
  let [low, high] = [Math.min(0, ...losses), Math.max(...losses)];
  if (high <= low) high = low + 1;
  const x = (step) => LEFT + (step / end) * (WIDTH - LEFT - RIGHT);
  const y = (loss) => HEIGHT - BOTTOM - ((loss - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const label = `Training loss over steps of ${runs.map((run) => run.id).join(" and ")}`;
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const at of ticks(low, high)) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(at), y2: y(at) }));
    svg.append(draw("text", { x: LEFT - 8, y: y(at) + 4, "text-anchor": "end" }, String(Number(at.toPrecision(6)))));
  }
  svg.append(draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(low), y2: y(low) }));
  for (const at of ticks(0, end).filter(Number.isInteger))
    svg.append(draw("text", { x: x(at), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, number(at)));
  svg.append(draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "step"));
  runs.forEach((run, at) => {
    const path = run.losses.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
    svg.append(draw("polyline", { class: `line line${at}`, points: path }));
  });
  return svg;
}

function legend(runs) {
  return runs.map((run, at) => {
    const line = draw("line", { class: `line line${at}`, x1: 0, x2: 30, y1: 5, y2: 5 });
    const key = draw("svg", { viewBox: "0 0 30 10", "aria-hidden": "true" }, line);
    const last = run.losses.at(-1);
    const said = last ? ` (${measured(last[1])} at step ${number(last[0])})` : "";
    return make("li", {}, key, run.id + said);
  });
}

/** Fills a table: a heading a run, rows of [name, text of each run]. */
function table(element, runs, rows, more = []) {
  const heads = [...runs.map((run) => run.id), ...more].map((text) => make("th", { scope: "col" }, text));
  const body = rows.map(([name, ...texts]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...texts.map((text) => make("td", {}, text ?? "–"))));
  element.replaceChildren(
    make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...body));
}

function metricRows(runs) {
  const two = runs.length === 2;
  const facts = [
    ["state", (run) => (run.error ? `${run.state}: ${run.error}` : run.state)],
    ["steps", (run) => (run.num_steps === null ? null : `${number(run.step)} / ${number(run.num_steps)}`)],
    ["images/s", (run) => number(run.images_per_s) || null],
    ["time", (run) => duration(run.seconds) || null],
    ["parameters", (run) => number(run.params) || null],
  ].map(([name, text]) => [name, ...runs.map(text), ...(two ? [""] : [])]);
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
  const rows = names.map((name) => {
    const values = runs.map((run) => run.metrics[name] ?? null);
    const texts = values.map((value) => measured(value) || null);
    if (!two) return [name, ...texts];
    const apart = values.includes(null) ? null : measured(values[1] - values[0]);
    return [name, ...texts, apart !== null && !apart.startsWith("-") ? `+${apart}` : apart];
  });
  return [...facts, ...rows];
}

function show(found) {
  const { runs, settings } = found, two = runs.length === 2;
  setText(byId("title"), two ? "Two runs compared" : runs[0].id);
  document.title = runs.map((run) => run.id).join(" and ");
  byId("curves").replaceChildren(curves(runs));
  byId("legend").replaceChildren(...legend(runs));
  table(byId("metric-table"), runs, metricRows(runs), two ? ["second minus first"] : []);
  const differing = settings.filter(([, ...texts]) => texts.some((text) => text !== texts[0]));
  setText(byId("settings"), two ? "Settings that differ" : "Settings");
  byId("none").hidden = !two || differing.length > 0;
  setText(byId("none"), settings.length ? "There are none." : "Neither run has any that can be read.");
  byId("all").hidden = !two;
  table(byId("differing"), runs, two ? differing : settings);
  byId("differing").hidden = two && differing.length === 0;
  table(byId("every"), runs, settings);
}

const asked = new URLSearchParams(location.search).getAll("run");
const url = `/api/compare?${asked.map((id) => `run=${encodeURIComponent(id)}`).join("&")}`;
follow(() => url, show);
