// What every screen uses: words, requests, elements. Texts of others are always set as text, never as HTML.

let words = {};
export let language = "en";

/** The words of the browser's language, or of the one that was chosen before. */
export async function loadMessages(chosen = null) {
  const known = await (await fetch("/api/messages")).json();
  const wanted = [chosen, stored("language"), ...navigator.languages, "en"].filter(Boolean);
  const fit = (code) => Object.keys(known).find((name) => name === code || name === code.split("-")[0]);
  language = wanted.map(fit).find(Boolean) || "en";
  words = await (await fetch(`/api/messages/${language}`)).json();
  translated = new Map();
  patterns = null;
  document.documentElement.lang = language;
  if (chosen) store("language", chosen);
  return known;
}

/** A text of the catalogue, `t("run.title")`, with {names} filled in. A key that lacks is shown as it is. */
export function t(key, fills = {}) {
  const text = key.split(".").reduce((part, name) => part?.[name], words);
  if (typeof text !== "string") return key;
  return text.replace(/\{(\w+)\}/g, (all, name) => (name in fills ? String(fills[name]) : all));
}

/** What was translated before, the patterns by how they begin, those that begin with a place under "". */
let translated = new Map();
let patterns = null;
const BEGINS = 4;

/** Patterns of the catalogue's `said`: English as Python says it, `{}` for what is filled in (`{#}`: a number). */
function readPatterns() {
  patterns = new Map();
  const plain = (text) => text.replace(/\{#?\}/g, "");
  const longest = Object.entries(words.said ?? {}).sort(([a], [b]) => plain(b).length - plain(a).length);
  longest.forEach(([english, own], rank) => {
    const parts = english.split(/(\{#?\})/);
    const source = parts.map((part) => (part === "{}" ? "([\\s\\S]*?)" : part === "{#}" ? "([\\d.,<>≤≥=+− -]+)" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))).join("");
    const begin = parts[0].length >= BEGINS ? parts[0].slice(0, BEGINS) : "";
    if (!patterns.has(begin)) patterns.set(begin, []);
    patterns.get(begin).push({ rank, pattern: new RegExp(`^${source}$`), own });
  });
}

/** Whether every bracket closes: a place that took one of two in is not what was meant. */
const balanced = (text) => {
  let open = 0;
  for (const sign of text) { open += sign === "(" ? 1 : sign === ")" ? -1 : 0; if (open < 0) return false; }
  return open === 0;
};

function byPattern(text) {
  // Of those that fit, the one with most words of its own.
  const fits = [text.slice(0, BEGINS), ""].map((begin) => (patterns.get(begin) ?? []).find((item) => text.match(item.pattern)?.slice(1).every(balanced))).filter(Boolean);
  if (!fits.length) return null;
  const { pattern, own } = fits.reduce((best, item) => (item.rank < best.rank ? item : best));
  const found = text.match(pattern);
  return own.replace(/\{(\d+)\}/g, (all, number) => tr(found[Number(number) + 1].trim()));
}

/** What stands in brackets at the end is said apart. */
function inBrackets(text) {
  const parts = text.match(/^([\s\S]+) \(([^()]*(?:\([^()]*\)[^()]*)*)\)$/);
  if (!parts) return null;
  const [before, inside] = [tr(parts[1]), tr(parts[2])];
  return before === parts[1] && inside === parts[2] ? null : `${before}（${inside}）`;
}

/** Where several things are said one after the other: between them. */
const BETWEEN = [/(\n\s*)/, /(; )/, /(?<=[.?!])( )(?=[A-Z])/, /(: )/];

/**
 * What Python says (findings, errors, warnings), in the language of the page, as far as the catalogue has it; names of
 * methods, of columns and of files stay. English has no catalogue of it: there the text is returned as it is.
 */
export function tr(text) {
  if (!words.said || typeof text !== "string" || !/[a-z]/i.test(text)) return text;
  if (translated.has(text)) return translated.get(text);
  if (!patterns) readPatterns();
  let told = byPattern(text) ?? inBrackets(text);
  for (const between of told === null ? BETWEEN : []) {
    const parts = text.split(between);
    if (parts.length < 2) continue;
    const own = parts.map((part, i) => (i % 2 ? { "; ": "；", " ": "", ": ": "：" }[part] ?? part : tr(part)));
    if (own.some((part, i) => i % 2 === 0 && part !== parts[i])) { told = own.join(""); break; }
  }
  translated.set(text, told ?? text);
  return told ?? text;
}

/** A text of Python's as an element, marked as English where it stays so. */
export const spoken = (text, attributes = {}) => el("span", { ...attributes, lang: tr(text) === text && language !== "en" ? "en" : null }, tr(text));

/** Whether the catalogue has a key. */
export const known = (key) => t(key) !== key;

const stored = (name) => { try { return localStorage.getItem(`hepacast.${name}`); } catch { return null; } };
const store = (name, value) => { try { localStorage.setItem(`hepacast.${name}`, value); } catch { /* private window */ } };

/** What a route refused or could not do: `message`, and where given `expected`, `found`, `where`, `remedy`. */
export class ApiError extends Error {
  constructor(status, told) {
    super(told.message || `${status}`);
    this.status = status;
    this.told = told;
  }
}

/** Ask a route. `body`: an object is sent as JSON, a FormData as it is. Gives the JSON of the answer. */
export async function api(path, { method = "GET", body = null, signal = undefined, raw = false } = {}) {
  const options = { method, signal, headers: {}, credentials: "same-origin" };
  if (body instanceof FormData) options.body = body;
  else if (body !== null) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  const response = await fetch(`/api${path}`, options);
  if (!response.ok) {
    let told = {};
    try { told = await response.json(); } catch { /* no JSON */ }
    if (response.status === 401) window.dispatchEvent(new Event("signed-out"));
    throw new ApiError(response.status, told);
  }
  return raw ? response : response.json();
}

const SVG = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "title", "polyline", "polygon", "tspan"]);

/** An element: `el("button", {class: "main", onclick: f, "aria-label": "..."}, "text", child)`. */
export function el(name, attributes = {}, ...children) {
  const svg = SVG.has(name) && name !== "title" || attributes.svg;
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false || key === "svg") continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (["value", "checked", "disabled", "selected", "multiple", "indeterminate"].includes(key) && !svg) made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  put(made, ...children);
  return made;
}

/** Append children: elements, texts, lists; null is nothing. */
export function put(parent, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
}

/** Replace what an element holds. */
export const fill = (parent, ...children) => { parent.replaceChildren(); return put(parent, ...children); };

let ids = 0;
/** A label with its field (input, select, textarea); `hint` is read out with it. */
export function field(label, input, { hint = "", error = "", unit = "" } = {}) {
  input.id ||= `field-${++ids}`;
  const notes = [];
  if (hint) notes.push(el("p", { class: "hint", id: `${input.id}-hint` }, hint));
  if (error) notes.push(el("p", { class: "problem", id: `${input.id}-error` }, error));
  if (notes.length) input.setAttribute("aria-describedby", notes.map((note) => note.id).join(" "));
  if (error) input.setAttribute("aria-invalid", "true");
  const inner = unit ? el("span", { class: "with-unit" }, input, el("span", { class: "unit" }, unit)) : input;
  return el("div", { class: "field" }, el("label", { for: input.id }, label), inner, notes);
}

/** A drop-down; options are texts or pairs [value, text]. */
export function select(options, value, onchange, attributes = {}) {
  const made = el("select", { ...attributes, onchange: (event) => onchange(event.target.value) });
  for (const option of options) {
    const [key, text] = Array.isArray(option) ? option : [option, option];
    made.append(el("option", { value: key, selected: String(key) === String(value) }, text));
  }
  return made;
}

/** What a check says: its kind in the language of the page where the catalogue has it, then its own words. */
export const said = (section, code, text) => {
  const kind = `${section}.${code.replaceAll("-", "_")}`;
  return [known(kind) ? el("strong", {}, `${t(kind)}${t("common.stop")}`) : null, spoken(text)];
};

/** Say something to screen readers without moving the focus. */
export function announce(text) { document.getElementById("status").textContent = text; }

/** An error as a box with what to do. */
export function problem(error) {
  const told = error.told || {};
  const rows = ["expected", "found", "where", "remedy"].filter((part) => told[part]);
  // What is not there yet is no fault of anybody's.
  return el("div", { class: error.status === 404 ? "box doubt" : "box bad", role: "alert" },
    el("strong", {}, error.status === 0 || error instanceof TypeError ? t("common.no_server") : spoken(error.message)),
    rows.length ? el("dl", {}, rows.map((part) => [el("dt", {}, t(`common.${part}`)), el("dd", {}, spoken(told[part]))])) : null);
}

/** Run an action of a button: busy meanwhile, its error shown in `place`. */
export async function act(button, place, action) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  place.replaceChildren();
  try {
    return await action();
  } catch (error) {
    place.append(problem(error));
    place.scrollIntoView({ block: "nearest" });
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
  return undefined;
}

/** A table: heads are texts, rows are lists of texts or elements. */
export function table(caption, heads, rows, attributes = {}) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", attributes,
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, cell)))))));
}

/** A place where files can be dropped, with a button that opens the system's dialog; `take` gets a list of files. */
export function dropZone(text, take, { multiple = false, folder = false, accept = "" } = {}) {
  const input = el("input", { type: "file", class: "unseen", multiple, accept: accept || null, "aria-label": text });
  if (folder) input.webkitdirectory = true;
  input.addEventListener("change", () => { if (input.files.length) take([...input.files]); input.value = ""; });
  const button = el("button", { type: "button", onclick: () => input.click() }, folder ? t("common.choose_folder") : t("common.choose_file"));
  input.tabIndex = -1;
  const zone = el("div", { class: "drop" }, el("p", {}, text), button, input);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = await dropped(event.dataTransfer);
    if (files.length) take(multiple || folder ? files : files.slice(0, 1));
  });
  return zone;
}

/** Files of a drop, those inside of folders too; each has its place in `path`. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      file.path = entry.fullPath.replace(/^\//, "");
      found.push(file);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length) return;
      for (const inner of batch) await walk(inner);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

/** Where a file lies in the folder that was chosen or dropped. */
export const pathOf = (file) => file.path || file.webkitRelativePath || file.name;
