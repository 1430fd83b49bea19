"use strict";
// Every text is set as textContent, never as markup.
const rows = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const place = find("rows");
const filled = new WeakMap();
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) {
      fill(entry.target, filled.get(entry.target));
      observer.unobserve(entry.target);
    }
  }
}, { rootMargin: "1000px" });

const confusions = new Map();
for (const row of rows) {
  row.kind = row.problem ? "unread" : row.label === null ? "" : row.wrong.length ? "wrong" : "right";
  for (const [label, read] of row.confusions) {
    const name = `${label || "∅"} → ${read || "∅"}`;
    confusions.set(name, (confusions.get(name) || 0) + 1);
  }
}
for (const [name, count] of [...confusions].sort((a, b) => b[1] - a[1])) {
  const option = document.createElement("option");
  option.value = name;
  option.textContent = `${name} (${count})`;
  find("confusion").append(option);
}

function add(parent, tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  parent.append(made);
  return made;
}

function fill(article, row) {
  if (row.image) {
    const image = document.createElement("img");
    image.src = row.image;
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
    if (row.label !== null && row.kind === "wrong") {
      add(article, "div", "label", `${row.label}`).title = "label";
    }
  }
  const sure = row.problem ? "" : ` · confidence ${row.confidence.toFixed(4)}`;
  add(article, "div", "path", `${row.path}${sure}`);
}

function show() {
  const kind = find("show").value;
  const confusion = find("confusion").value;
  const sought = find("search").value.toLowerCase();
  let chosen = rows.filter((row) =>
    (kind === "all" || row.kind === kind) &&
    (!confusion || row.confusions.some(([l, r]) => `${l || "∅"} → ${r || "∅"}` === confusion)) &&
    (!sought || `${row.path}\n${row.text}\n${row.label || ""}`.toLowerCase().includes(sought)));
  if (find("order").value === "doubt") {
    chosen = [...chosen].sort((a, b) => a.confidence - b.confidence);
  }
  observer.disconnect();
  const made = document.createDocumentFragment();
  for (const row of chosen) {
    const article = document.createElement("article");
    filled.set(article, row);
    made.append(article);
  }
  place.replaceChildren(made);
  for (const article of place.children) observer.observe(article);
  find("count").textContent = `${chosen.length} of ${rows.length} lines`;
}

for (const id of ["show", "order", "confusion", "search"]) find(id).addEventListener("input", show);
show();
