"use strict";
const TEXTS = {
  en: {
    review: "review", add_images: "Add images", open_folder: "Open a folder", export: "Export as",
    write: "Write", form_folder: "images + gt.txt", text_of_line: "Text of the line",
    accept: "Accept", not_legible: "Not legible", not_a_line: "Not a line", undo: "Undo",
    keys: "Enter accepts · Tab goes to the next doubtful letter · Esc restores the reading · F6 swaps label and reading · F2 not legible · F4 not a line · F8 undo · ↑ ↓ other lines",
    empty: "Drop images or a folder here.", done: "Every line is decided.", lines: "Lines, least sure first",
    counts: (c) => `${c.items} lines · ${c.read} read · ${decided(c)} decided`,
    sure: (p) => `confidence ${p}`, waiting: "not read yet", label: (t) => `label: ${t}`, reading: (t) => `reading: ${t}`,
    picture: (n) => `Picture of the line ${n}`, letter: (c, p) => `«${c}»: confidence ${p}`,
    alternatives: "Other letters", confirmed_said: (t) => `Accepted: ${t}`, not_legible_said: "Not legible.",
    not_a_line_said: "Not a line.", undone: "Undone.", nothing: "There is nothing to undo.",
    conflict: (now, mine) => `Another window has decided this line: ${now}. Yours was not stored${mine ? `: «${mine}»` : ""}. Decide again to replace it.`,
    undo_conflict: (now) => `Another window has decided this line since: ${now}. Nothing was undone.`,
    lost: "The server does not answer. Nothing is lost that was accepted; start hanline review again.",
    denied: "The address has no valid token. Open the address that hanline review printed.",
    not_stored: (why) => `Not stored: ${why}`, need_text: "expected a text; F2 says that the line is not legible",
    uploading: (n, of) => `Sending ${n} of ${of}`, uploaded: (r) => `${r.added} new, ${r.known} known, ${r.labeled} labeled.`,
    refused: (names) => `Refused: ${names}`, writing: "Writing …",
    written: (r) => `Written: ${r.path} · training ${r.train}, validation ${r.validation}` + (r.contradictory ? ` · ${r.contradictory} contradictory left out` : "") + (r.split === "picture" ? " · one source: split by picture" : ""),
  },
  ko: {
    review: "검수", add_images: "이미지 추가", open_folder: "폴더 열기", export: "내보내기",
    write: "쓰기", form_folder: "이미지 + gt.txt", text_of_line: "줄의 텍스트",
    accept: "확정", not_legible: "판독 불가", not_a_line: "글줄 아님", undo: "실행 취소",
    keys: "Enter 확정 · Tab 다음 의심 글자 · Esc 인식 결과로 되돌리기 · F6 라벨과 인식 결과 바꾸기 · F2 판독 불가 · F4 글줄 아님 · F8 실행 취소 · ↑ ↓ 다른 줄",
    empty: "여기에 이미지나 폴더를 끌어다 놓으십시오.", done: "모든 줄을 처리했습니다.", lines: "줄 목록 (확신이 낮은 순)",
    counts: (c) => `${c.items}줄 · ${c.read}줄 인식 · ${decided(c)}줄 처리`,
    sure: (p) => `신뢰도 ${p}`, waiting: "인식 대기 중", label: (t) => `라벨: ${t}`, reading: (t) => `인식: ${t}`,
    picture: (n) => `글줄 이미지 ${n}`, letter: (c, p) => `‘${c}’: 신뢰도 ${p}`,
    alternatives: "다른 글자", confirmed_said: (t) => `확정: ${t}`, not_legible_said: "판독 불가로 표시했습니다.",
    not_a_line_said: "글줄 아님으로 표시했습니다.", undone: "취소했습니다.", nothing: "취소할 것이 없습니다.",
    conflict: (now, mine) => `다른 창에서 이 줄을 먼저 처리했습니다: ${now}. 이 창의 입력은 저장되지 않았습니다${mine ? `: ‘${mine}’` : ""}. 바꾸려면 다시 결정하십시오.`,
    undo_conflict: (now) => `다른 창에서 이 줄을 다시 처리했습니다: ${now}. 취소하지 않았습니다.`,
    lost: "서버가 응답하지 않습니다. 확정한 내용은 저장되어 있습니다. hanline review를 다시 실행하십시오.",
    denied: "주소의 토큰이 올바르지 않습니다. hanline review가 출력한 주소를 여십시오.",
    not_stored: (why) => `저장되지 않음: ${why}`, need_text: "텍스트가 필요합니다. 읽을 수 없으면 F2를 누르십시오",
    uploading: (n, of) => `보내는 중 ${n}/${of}`, uploaded: (r) => `새 이미지 ${r.added}개, 이미 있음 ${r.known}개, 라벨 ${r.labeled}개.`,
    refused: (names) => `거부됨: ${names}`, writing: "쓰는 중 …",
    written: (r) => `저장됨: ${r.path} · 학습 ${r.train}개, 검증 ${r.validation}개` + (r.contradictory ? ` · 상충 ${r.contradictory}개 제외` : "") + (r.split === "picture" ? " · 출처가 하나라 이미지별로 나눔" : ""),
  },
};
// A letter with less confidence is doubtful.
const DOUBTFUL = 0.9;
// Of a long list, the rows that are shown.
const ROWS = 300;
// Files and bytes of one upload.
const FILES = 32, BYTES = 16 * 2 ** 20;
const IMAGE = /\.(apng|avif|bmp|dib|gif|j2k|jfif|jp2|jpe?g?|pbm|pgm|png|pnm|ppm|tiff?|webp)$/i;

const $ = (id) => document.getElementById(id);
const items = new Map();
// A decision names the version that was shown, not one that has come since: else it would replace
// unseen what another window has decided.
let shownVersion = 0;
let revision = 0, current = null, drafts = new Map(), language, online = true, busy = false;
const author = stored("author") || keep("author", crypto.randomUUID ? crypto.randomUUID() : String(Math.random()));

function stored(key) { try { return sessionStorage.getItem(key); } catch { return null; } }
function keep(key, value) { try { sessionStorage.setItem(key, value); } catch { /* private mode */ } return value; }
function decided(c) { return c.confirmed + c.not_legible + c.not_a_line; }
function percent(p) { return `${Math.floor(1000 * p) / 10} %`; }
function say(text) { $("status").textContent = text; }
function warn(text) { $("alert").textContent = text; $("alert").hidden = !text; }

function speak(name) {
  language = TEXTS[name];
  document.documentElement.lang = name;
  for (const part of document.querySelectorAll("[data-text]")) part.textContent = language[part.dataset.text];
  $("language").textContent = name === "ko" ? "English" : "한국어";
  $("language").lang = name === "ko" ? "en" : "ko";
  $("alternatives").setAttribute("aria-label", language.alternatives);
  keep("language", name);
  showAll();
}

async function ask(method, path, body) {
  const form = body instanceof FormData;
  const answer = await fetch(path, {
    method, headers: body && !form ? { "Content-Type": "application/json" } : {},
    body: form ? body : body && JSON.stringify(body),
  });
  let content = {};
  try { content = await answer.json(); } catch { /* no JSON: an error of the server */ }
  if (answer.status === 401) warn(language.denied);
  return { status: answer.status, ok: answer.ok, content };
}

async function poll() {
  try {
    for (;;) {
      const { ok, content } = await ask("GET", `/api/items?since=${revision}`);
      if (!ok) break;
      if (!online) { online = true; warn(""); }
      content.items.forEach(take);
      $("counts").textContent = language.counts(counts = content.counts);
      if (content.items.length) showAll();
      if (content.items.length < 500) break;
    }
  } catch {
    online = false;
    warn(language.lost);
  }
  setTimeout(poll, 700);
}
let counts = { items: 0, read: 0, confirmed: 0, not_legible: 0, not_a_line: 0 };

function take(item) {
  const before = items.get(item.id);
  if (before && before.version > item.version) return;
  items.set(item.id, item);
  revision = Math.max(revision, item.revision);
}

function queue() {
  return [...items.values()].filter((i) => !i.decision && i.is_read).sort(bySuspicion);
}
function bySuspicion(a, b) {
  return (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.confidence - b.confidence || a.id - b.id;
}
function proposed(item) {
  return item.decision === "confirmed" ? item.decided_text : item.label ?? item.text;
}
function described(item) {
  return item.decision === "confirmed" ? `«${item.decided_text}»` : item.decision ? language[item.decision] : "–";
}

function showAll() {
  if (!language) return;
  const waiting = queue();
  if (current === null || !items.has(current)) {
    const first = waiting[0];
    if (first) open(first.id);
  }
  const item = items.get(current);
  $("line").hidden = !item;
  $("empty").hidden = !!item;
  $("empty").textContent = items.size && !waiting.length && counts.read === counts.items ? language.done : language.empty;
  $("counts").textContent = language.counts(counts);
  showList(waiting);
  if (item) showFacts(item);
}

function showList(waiting) {
  const done = [...items.values()].filter((i) => i.decision).sort((a, b) => b.revision - a.revision);
  const unread = [...items.values()].filter((i) => !i.decision && !i.is_read);
  const rows = [...waiting, ...unread, ...done].slice(0, ROWS).map((item) => {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.id = item.id;
    if (item.id === current) button.setAttribute("aria-current", "true");
    const text = document.createElement("span"), state = document.createElement("span");
    text.textContent = proposed(item) || item.name;
    state.textContent = item.decision ? `✓ ${item.decision === "confirmed" ? "" : language[item.decision]}` : item.is_read ? percent(item.confidence) : "…";
    button.append(text, state);
    button.addEventListener("click", () => { open(item.id); showAll(); });
    row.append(button);
    return row;
  });
  $("list").replaceChildren(...rows);
}

function showFacts(item) {
  $("name").textContent = item.name;
  $("picture").alt = language.picture(item.name);
  const facts = [item.is_read ? language.sure(percent(item.confidence)) : language.waiting];
  if (item.label !== null && item.label !== item.text) facts.push(language.label(item.label), language.reading(item.text));
  if (item.reason) facts.push(item.reason);
  if (item.problem) facts.push(item.problem);
  if (item.decision) facts.push(`✓ ${described(item)}`);
  $("facts").textContent = facts.join(" · ");
  $("letters").replaceChildren(...item.letters.map((letter) => {
    const shown = document.createElement("span");
    shown.textContent = letter.text;
    shown.className = letter.confidence < DOUBTFUL ? "doubtful" : "";
    shown.title = percent(letter.confidence);
    return shown;
  }));
}

function open(id) {
  const item = items.get(id);
  current = id;
  shownVersion = item.version;
  $("picture").src = `/api/items/${id}/image`;
  $("text").value = drafts.get(id) ?? proposed(item);
  $("line").hidden = false;
  unmark();
  $("text").focus();
  $("text").setSelectionRange($("text").value.length, $("text").value.length);
  tabbed = -1;
}

function unmark() {
  $("mark").hidden = true;
  $("letter").textContent = "";
  $("alternatives").replaceChildren();
}

// Tab: the next doubtful letter. If the text is not the reading, what differs is one stop, and the
// letters before and behind it are where they are in the reading.
let tabbed = -1;
function stops(item) {
  const text = $("text").value, letters = item.letters;
  const starts = [0];
  for (const letter of letters) starts.push(starts.at(-1) + letter.text.length);
  let before = 0, behind = 0;
  while (before < Math.min(text.length, item.text.length) && text[before] === item.text[before]) before++;
  while (behind < Math.min(text.length, item.text.length) - before
    && text[text.length - 1 - behind] === item.text[item.text.length - 1 - behind]) behind++;
  const shift = text.length - item.text.length, found = [];
  letters.forEach((letter, at) => {
    if (letter.confidence >= DOUBTFUL) return;
    if (starts[at + 1] <= before) found.push({ start: starts[at], end: starts[at + 1], letter });
    else if (starts[at] >= item.text.length - behind) found.push({ start: starts[at] + shift, end: starts[at + 1] + shift, letter });
  });
  if (text !== item.text) found.push({ start: before, end: text.length - behind, letter: null });
  return found.sort((a, b) => a.start - b.start || a.end - b.end);
}
function nextDoubtful(step) {
  const found = stops(items.get(current));
  const next = tabbed + step;
  if (next < 0 || next >= found.length) { tabbed = step > 0 ? found.length : -1; return false; }
  tabbed = next;
  mark(found[next]);
  return true;
}

function mark({ start, end, letter }) {
  unmark();
  $("text").focus();
  $("text").setSelectionRange(start, end);
  if (!letter) return;
  const picture = $("picture"), box = $("mark");
  if (picture.naturalWidth) {
    box.style.left = `${(100 * letter.left) / picture.naturalWidth}%`;
    box.style.width = `${(100 * (letter.right - letter.left)) / picture.naturalWidth}%`;
    box.hidden = false;
  }
  $("letter").textContent = language.letter(letter.text, percent(letter.confidence));
  $("alternatives").replaceChildren(...letter.alternatives.map((other) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${other.text} ${percent(other.confidence)}`;
    button.addEventListener("click", () => {
      $("text").setRangeText(other.text, start, end, "end");
      typed();
      $("text").focus();
    });
    return button;
  }));
}

function typed() {
  drafts.set(current, $("text").value);
  unmark();
}

async function decide(decision) {
  const item = items.get(current), text = $("text").value;
  if (!item || busy) return;
  if (decision === "confirmed" && !text.trim()) { warn(language.not_stored(language.need_text)); return; }
  busy = true;
  try {
    const order = { version: shownVersion, decision, text: decision === "confirmed" ? text : "", author };
    const { status, ok, content } = await ask("PUT", `/api/items/${item.id}`, order);
    if (status === 409) {
      items.set(item.id, content.item);
      shownVersion = content.item.version;
      warn(language.conflict(described(content.item), order.text));
      drafts.set(item.id, text);
      showAll();
    } else if (ok) {
      warn("");
      drafts.delete(item.id);
      counts[item.decision ?? "items"] -= item.decision ? 1 : 0;
      counts[decision] += 1;
      items.set(content.id, content);
      say(decision === "confirmed" ? language.confirmed_said(content.decided_text) : language[`${decision}_said`]);
      advance();
    } else if (status !== 401) warn(language.not_stored(JSON.stringify(content.detail ?? status)));
  } catch {
    online = false;
    warn(`${language.not_stored(text)} ${language.lost}`);
  } finally { busy = false; }
}

function advance() {
  const next = queue()[0];
  if (next) open(next.id); else current = null;
  showAll();
  if (!next) say(language.done);
}

async function undo() {
  // What was accepted a moment ago is still under way.
  while (busy) await new Promise((go) => setTimeout(go, 20));
  busy = true;
  try {
    const { status, ok, content } = await ask("POST", "/api/undo", { author });
    if (status === 409) { items.set(content.item.id, content.item); warn(language.undo_conflict(described(content.item))); }
    else if (ok && !content.item) say(language.nothing);
    else if (ok) {
      drafts.delete(content.item.id);
      items.set(content.item.id, content.item);
      open(content.item.id);
      warn("");
      say(language.undone);
    }
    showAll();
  } catch { online = false; warn(language.lost); }
  finally { busy = false; }
}

function move(step) {
  const rows = [...$("list").querySelectorAll("button")].map((row) => Number(row.dataset.id));
  const at = rows.indexOf(current) + step;
  if (at >= 0 && at < rows.length) { open(rows[at]); showAll(); }
}

document.addEventListener("keydown", (event) => {
  // Enter and Tab belong to the input method while a syllable is composed.
  if (event.isComposing || event.keyCode === 229 || !items.has(current)) return;
  const inText = event.target === $("text");
  const plain = !event.ctrlKey && !event.altKey && !event.metaKey;
  const keys = { F2: () => decide("not_legible"), F4: () => decide("not_a_line"), F8: undo, F6: swap };
  if (keys[event.key] && plain && !event.shiftKey) keys[event.key]();
  else if (!inText || !plain) return;
  else if (event.key === "Enter" && !event.repeat) decide("confirmed");
  else if (event.key === "Tab") { if (!nextDoubtful(event.shiftKey ? -1 : 1)) return; }
  else if (event.key === "Escape") restore();
  else if (event.key === "ArrowDown") move(1);
  else if (event.key === "ArrowUp") move(-1);
  else return;
  event.preventDefault();
});

function restore() {
  drafts.delete(current);
  $("text").value = proposed(items.get(current));
  tabbed = -1;
  unmark();
}
function swap() {
  const item = items.get(current);
  if (item.label === null) return;
  $("text").value = $("text").value === item.text ? item.label : item.text;
  tabbed = -1;
  typed();
}

$("text").addEventListener("input", typed);
$("accept").addEventListener("click", () => decide("confirmed"));
$("not_legible").addEventListener("click", () => decide("not_legible"));
$("not_a_line").addEventListener("click", () => decide("not_a_line"));
$("undo").addEventListener("click", undo);
$("language").addEventListener("click", () => speak(document.documentElement.lang === "ko" ? "en" : "ko"));
$("add").addEventListener("click", () => $("files").click());
$("add-folder").addEventListener("click", () => $("folder").click());
for (const id of ["files", "folder"]) {
  $(id).addEventListener("change", async (event) => {
    const chosen = [...event.target.files].map((file) => [file.webkitRelativePath || file.name, file]);
    event.target.value = "";
    await send(id === "folder" ? chosen.filter(([name]) => IMAGE.test(name)) : chosen);
  });
}
$("export").addEventListener("click", async () => {
  say(language.writing);
  try {
    const { ok, content } = await ask("POST", "/api/export", { form: $("form").value });
    if (ok) { warn(""); say(language.written(content)); } else { say(""); warn(String(content.detail)); }
  } catch { warn(language.lost); }
});

async function send(files) {
  const refused = [], sum = { added: 0, known: 0, labeled: 0 };
  // A label file names pictures; so it comes behind them.
  files.sort(([a], [b]) => Number(/\.(json|txt)$/i.test(a)) - Number(/\.(json|txt)$/i.test(b)));
  for (let start = 0; start < files.length;) {
    const form = new FormData();
    let end = start, size = 0;
    while (end < files.length && end - start < FILES && (end === start || size + files[end][1].size <= BYTES)) {
      form.append("files", files[end][1], files[end][0]);
      size += files[end++][1].size;
    }
    say(language.uploading(end, files.length));
    try {
      const { status, content } = await ask("POST", "/api/upload", form);
      if (status === 503) { await new Promise((go) => setTimeout(go, 1000)); continue; }
      if (content.refused) {
        for (const key of Object.keys(sum)) sum[key] += content[key];
        refused.push(...content.refused.map((one) => `${one.name} (${one.problem})`));
      } else refused.push(`${files.slice(start, end).map(([name]) => name).join(", ")} (${content.detail ?? status})`);
    } catch { warn(language.lost); return; }
    start = end;
  }
  say(language.uploaded(sum));
  warn(refused.length ? language.refused(refused.slice(0, 10).join(", ") + (refused.length > 10 ? " …" : "")) : "");
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((one) => one.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => [file.name, file]);
  const files = [];
  for (const entry of entries) await walk(entry, "", files, true);
  return files;
}
async function walk(entry, path, files, top) {
  if (entry.isFile) {
    if (top || IMAGE.test(entry.name))
      files.push([path + entry.name, await new Promise((good, bad) => entry.file(good, bad))]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) return;
    for (const one of some) await walk(one, `${path}${entry.name}/`, files, false);
  }
}
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = false; });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
addEventListener("drop", async (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  await send(await dropped(event.dataTransfer));
});

if (location.search.includes("token=")) history.replaceState(null, "", "/");
speak(stored("language") || (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en"));
poll();
