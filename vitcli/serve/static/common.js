// What both pages share. All words of files go into the page as text, never as markup.

const EVERY = 3000; // milliseconds between two looks

/** Makes an element with attributes and children; `null` children are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Sets an element's text, only where it differs: a selection in it stays. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function number(value, digits = 0) {
  if (value === null || value === undefined) return "";
  return value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 });
}

export function measured(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(3) : value.toFixed(4);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  for (const [unit, length, until] of [["s", 1, 120], ["min", 60, 120], ["h", 3600, 72]]) {
    if (seconds / length < until) return `${number(seconds / length)} ${unit}`;
  }
  return `${number(seconds / 86400)} days`;
}

/** Calls `show` with what `url()` answers, now, every few seconds and when told; says when. */
export function follow(url, show, soon = () => false) {
  let tag = null, asked = null, timer = null, turn = 0;
  const said = byId("said");
  async function look() {
    clearTimeout(timer);
    const mine = (turn += 1);
    let wait = EVERY;
    try {
      if (asked !== url()) [tag, asked] = [null, url()];
      const answer = await fetch(asked, { headers: tag ? { "If-None-Match": tag } : {} });
      if (mine !== turn) return;
      if (answer.status === 200) {
        const found = await answer.json();
        if (mine !== turn) return;
        tag = answer.headers.get("ETag");
        show(found);
        if (soon(found)) wait = 300;
      } else if (answer.status !== 304) {
        throw new Error((await answer.text()).trim());
      }
      setText(said, `As the files say at ${new Date().toLocaleTimeString()}.`);
    } catch (error) {
      const why = error instanceof TypeError ? "vitcli serve does not answer" : error.message;
      setText(said, `Could not be read at ${new Date().toLocaleTimeString()}: ${why}.`);
    }
    timer = setTimeout(look, document.hidden ? 10 * EVERY : wait);
  }
  document.addEventListener("visibilitychange", () => document.hidden || look());
  look();
  return look;
}
