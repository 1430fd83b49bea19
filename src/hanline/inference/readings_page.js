"use strict";
// Only the rows that are seen are elements. Every text is set as textContent, never as markup.
const rows = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const place = find("rows");
// Pixels: the height of a row that was never shown, and how far beyond the window rows are shown.
const USUAL = 120;
const BEYOND = 800;
const heights = new Map();
const shown = new Map();
let chosen = [];
let tops = new Float64Array(1);

const pairName = ([label, read]) => `${label || "∅"} → ${read || "∅"}`;

function options(id, counts) {
  for (const [name, count] of counts) {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = `${name} (${count})`;
    find(id).append(option);
  }
}

const confusions = new Map();
const sets = new Map();
for (const row of rows) {
  row.kind = row.problem ? "unread" : row.label === null ? "" : row.wrong.length ? "wrong" : "right";
  row.sought = `${row.path}\n${row.text}\n${row.label || ""}`.toLowerCase();
  sets.set(row.set, (sets.get(row.set) || 0) + 1);
  for (const name of new Set(row.confusions.map(pairName))) {
    confusions.set(name, (confusions.get(name) || 0) + 1);
  }
}
options("confusion", [...confusions].sort((a, b) => b[1] - a[1]));
options("set", sets);
find("set").parentElement.hidden = sets.size < 2;

function add(parent, tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  parent.append(made);
  return made;
}

function filled(row) {
  const article = document.createElement("article");
  if (row.image) {
    const image = document.createElement("img");
    image.src = row.image;
    image.width = row.width;
    image.height = row.height;
    image.alt = row.text;
    article.append(image);
  }
  if (row.problem) {
    add(article, "div", "problem", `not read: ${row.problem}`);
  } else {
    const text = add(article, "div", "text", "");
    const wrong = new Set(row.wrong);
    [...row.text].forEach((letter, i) => {
      const span = add(text, wrong.has(i) ? "mark" : "span", "", letter);
      const part = row.parts && row.parts[i];
      if (part) {
        span.style.backgroundColor = `rgb(var(--doubt) / ${Math.min(0.8, 1.6 * (1 - part[0]))})`;
        span.title = [[letter, part[0]], ...part[1]]
          .map(([other, p]) => `${other} ${(100 * p).toFixed(1)} %`).join("\n");
      }
    });
    if (row.kind === "wrong") add(article, "div", "label", row.label).title = "label";
    for (const [other, p] of row.others) {
      add(article, "div", "other", `${other} ${(100 * p).toFixed(1)} %`).title = "next best text";
    }
  }
  const sure = row.problem ? "" : ` · confidence ${row.confidence.toFixed(4)}`;
  add(article, "div", "path", `${row.path}${sure}`);
  return article;
}

function measure() {
  tops = new Float64Array(chosen.length + 1);
  chosen.forEach((row, i) => { tops[i + 1] = tops[i] + (heights.get(row) || USUAL); });
  place.style.height = `${tops[chosen.length]}px`;
}

// The last row that begins at or above a place.
function rowAt(y) {
  let low = 0;
  let high = Math.max(0, chosen.length - 1);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle] <= y) low = middle; else high = middle - 1;
  }
  return low;
}

function draw() {
  const above = window.scrollY - place.offsetTop;
  const first = rowAt(above);
  const from = rowAt(above - BEYOND);
  const to = chosen.length && rowAt(above + window.innerHeight + BEYOND) + 1;
  const wanted = new Set(chosen.slice(from, to));
  for (const [row, article] of shown) {
    if (!wanted.has(row)) {
      article.remove();
      shown.delete(row);
    }
  }
  let changed = false;
  const created = [];
  for (let i = from; i < to; i += 1) {
    if (!shown.has(chosen[i])) {
      const article = filled(chosen[i]);
      shown.set(chosen[i], article);
      created.push(article);
    }
    const article = shown.get(chosen[i]);
    article.style.top = `${tops[i]}px`;
    article.setAttribute("aria-posinset", i + 1);
    article.setAttribute("aria-setsize", chosen.length);
  }
  place.append(...created);
  for (let i = from; i < to; i += 1) {
    const height = shown.get(chosen[i]).offsetHeight;
    if (height !== (heights.get(chosen[i]) || USUAL)) changed = true;
    heights.set(chosen[i], height);
  }
  if (changed) {
    const before = tops[first];
    measure();
    for (let i = from; i < to; i += 1) shown.get(chosen[i]).style.top = `${tops[i]}px`;
    // What is looked at stays where it is.
    if (tops[first] !== before) window.scrollBy(0, tops[first] - before);
  }
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

const ORDERS = {
  given: null,
  // What could not be read is no doubtful reading, and comes last.
  doubt: (a, b) => Boolean(a.problem) - Boolean(b.problem) || a.confidence - b.confidence,
  sure: (a, b) => b.confidence - a.confidence,
  errors: (a, b) => b.confusions.length - a.confusions.length,
};

function choose() {
  const kind = find("show").value;
  const confusion = find("confusion").value;
  const set = find("set").value;
  const sought = find("search").value.toLowerCase();
  chosen = rows.filter((row) =>
    (kind === "all" || row.kind === kind) &&
    (!confusion || row.confusions.some((pair) => pairName(pair) === confusion)) &&
    (set === "*" || row.set === set) &&
    (!sought || row.sought.includes(sought)));
  const order = ORDERS[find("order").value];
  if (order) chosen.sort(order);
  find("count").textContent = `${chosen.length} of ${rows.length} lines`;
  for (const article of shown.values()) article.remove();
  shown.clear();
  measure();
  window.scrollTo(0, 0);
  draw();
}

for (const id of ["show", "order", "confusion", "set", "search"]) {
  find(id).addEventListener("input", choose);
}
window.addEventListener("scroll", redraw, { passive: true });
window.addEventListener("resize", () => { heights.clear(); measure(); redraw(); });
choose();
