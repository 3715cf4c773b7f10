// Studies of the served folder; a new one from a table, a demo, one patient.

import { act, api, dropZone, el, field, fill, pathOf, problem, put, select, spoken, t, tr } from "../lib.js";

const TAG = { running: "", starting: "", done: "good", failed: "bad", stopped: "doubt" };

function card(study) {
  const at = study.state === "done" && study.report ? "report" : study.state === "none" ? "cohort" : "run";
  return el("li", { class: "card" },
    el("h2", {}, el("a", { href: `#/study/${study.code}/${at}` }, study.name)),
    el("p", {}, el("span", { class: `tag ${study.error ? "bad" : TAG[study.state] || ""}` },
      study.error ? t("start.broken") : t(`start.state_${study.state}`))),
    study.error ? el("p", { class: "problem" }, spoken(study.error)) : null,
    el("p", { class: "hint" }, study.folder));
}

const waiting = (job) => el("li", { class: "card" }, el("h2", {}, t("start.demo_made")),
  job.state === "running" ? el("progress", { "aria-label": t("start.demo_made") }) : null,
  job.state === "running" ? el("p", { class: "hint" }, spoken(job.message.split("\n").pop())) : el("pre", { lang: "en" }, job.message));

/** Send files in parts that stay below the limit of one request; gives the folder on the server. */
export async function upload(files, tell = () => {}, path = "/uploads") {
  const id = crypto.randomUUID();
  let result = { folder: "", files: [] };
  let batch = [];
  let size = 0;
  let sent = 0;
  const send = async () => {
    const form = new FormData();
    for (const file of batch) { form.append("path", pathOf(file)); form.append("file", file, "file"); }
    const response = await fetch(`/api${path}`, { method: "POST", body: form, headers: { "x-upload": id } });
    const told = await response.json();
    if (!response.ok) throw Object.assign(new Error(told.message), { told, status: response.status });
    result = { folder: told.folder, files: [...result.files, ...told.files] };
    sent += batch.length;
    tell(sent, files.length);
    batch = [];
    size = 0;
  };
  for (const file of files) {
    if (batch.length && (size + file.size > 200e6 || batch.length >= 400)) await send();
    batch.push(file);
    size += file.size;
  }
  if (batch.length) await send();
  return result;
}

/** Choose a table or a folder in the folders that may be read. */
export function chooser(kind, take) {
  const list = el("ul", { class: "files" });
  const notes = el("div");
  const here = el("p", { class: "hint" });
  const box = el("div", { class: "browse" }, here, list, notes);
  async function open(path) {
    try {
      const found = await api("/browse", { method: "POST", body: { path } });
      const name = (text) => (path ? text.split(/[\\/]/).pop() : text);
      here.textContent = found.path || t("start.roots");
      fill(list,
        found.up !== null ? el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => open(found.up) }, `↑ ${t("start.up")}`)) : null,
        found.folders.map((item) => el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => open(item) }, `📁 ${name(item)}`))),
        kind === "table" ? found.tables.map((item) => el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => take(item) }, `▦ ${name(item)}`))) : null,
        kind === "folder" && found.path ? el("li", {}, el("button", { type: "button", onclick: () => take(found.path) }, t("start.take_folder"))) : null);
    } catch (error) { fill(notes, problem(error)); }
  }
  open("");
  return box;
}

function newStudy(recipes) {
  const chosen = { table: "", images: "" };
  const name = el("input", { required: true, maxlength: "120", autocomplete: "off" });
  const notes = el("div");
  const said = { table: el("p", { class: "chosen", "aria-live": "polite" }), images: el("p", { class: "chosen", "aria-live": "polite" }) };
  const tell = (part, text) => { said[part].textContent = text ? `✓ ${text}` : ""; };
  const take = (part, path) => {
    chosen[part] = path;
    tell(part, path.split(/[\\/]/).pop());
    if (part === "table" && !name.value) name.value = path.split(/[\\/]/).pop().replace(/\.[^.]+$/, "").replace(/_/g, " ");
  };
  const send = (part) => async (files) => {
    notes.replaceChildren();
    try {
      const got = await upload(files, (done, total) => { said[part].textContent = t("start.sent", { done, total }); });
      take(part, part === "table" ? got.files[0] : got.files.length === 1 ? got.files[0] : got.folder);
      // A folder is called here as its owner calls it, not as the server does.
      if (files.length > 1) tell(part, t("start.files", { name: pathOf(files[0]).split("/")[0], n: files.length }));
    } catch (error) { fill(notes, problem(error)); }
  };
  let recipe = "";
  const button = el("button", { class: "main" }, t("start.create"));
  const form = el("form", { class: "panel" },
    el("h2", {}, t("start.new")), el("p", { class: "hint" }, t("start.new_text")),
    el("div", { class: "columns" },
      el("section", { "aria-label": t("start.table") }, el("h3", {}, t("start.table")),
        dropZone(t("start.drop_table"), send("table")), said.table,
        el("details", {}, el("summary", {}, t("start.from_server")), chooser("table", (path) => take("table", path)))),
      el("section", { "aria-label": t("start.images") }, el("h3", {}, t("start.images")),
        dropZone(t("start.drop_images"), send("images"), { folder: true }), said.images,
        el("details", {}, el("summary", {}, t("start.from_server")), chooser("folder", (path) => take("images", path))))),
    field(t("start.name"), name),
    field(t("start.recipe"), select([["", t("start.no_recipe")], ...Object.entries(recipes).map(([key, text]) => [key, `${key}: ${tr(text)}`])], "", (value) => { recipe = value; }), { hint: t("start.recipe_hint") }),
    button, notes);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(button, notes, async () => {
      if (!chosen.table) throw new Error(t("start.table_first"));
      const made = await api("/studies", { method: "POST", body: { name: name.value, table: chosen.table, images: chosen.images, recipe } });
      location.hash = `#/study/${made.code}/cohort`;
    });
  });
  return form;
}

function demos(list, recipes, refresh) {
  const notes = el("div");
  let recipe = list[0].recipe;
  const button = el("button", { type: "button", onclick: () => act(button, notes, async () => {
    await api("/demo", { method: "POST", body: { recipe } });
    refresh();
  }) }, t("start.demo_start"));
  return el("section", { class: "panel", "aria-label": t("start.demo") }, el("h2", {}, t("start.demo")), el("p", { class: "hint" }, t("start.demo_text")),
    field(t("start.demo_which"), select(list.map((item) => [item.recipe, `${item.recipe}: ${tr(recipes[item.recipe] ?? "")} · ${t("run.minutes", { n: item.minutes })}`]), recipe, (value) => { recipe = value; })), button, notes);
}

async function render(body, { me, refresh }) {
  const cards = el("ul", { class: "cards" });
  const none = el("p", { class: "hint" }, t("start.none"));
  async function show() {
    const found = await api("/studies");
    fill(cards, found.studies.map(card), found.preparing.map(waiting));
    none.hidden = found.studies.length + found.preparing.length > 0;
    return found;
  }
  const found = await show();
  put(body, cards, none);
  if (me.role === "owner") {
    const recipes = await api("/recipes");
    const parts = [newStudy(recipes), demos(found.demos, recipes, refresh)];
    // Whoever is here for the first time sees what there is to be seen first.
    put(body, none.hidden ? parts : parts.reverse());
  }
  const timer = setInterval(() => show().catch(() => {}), 3000);
  return () => clearInterval(timer);
}

export default { name: "start", render };
