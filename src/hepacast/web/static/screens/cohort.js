// A study set up by drop-downs: what is changed is judged at once by the server, and saved as the study file.

import { act, announce, api, el, field, fill, known, language, problem, put, said, select, spoken, t, tr } from "../lib.js";
import { chooser } from "./start.js";

const PAUSE = 350; // ms after the last change until the server is asked
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const copy = (value) => (value === undefined ? undefined : structuredClone(value));
/** Parts that are sent whole when they differ. */
const PARTS = [["name"], ["outcome"], ["images"], ["cohort", "id"], ["cohort", "center"], ["cohort", "split"], ["modelling", "candidates"], ["modelling", "models"]];
const at = (values, path) => path.reduce((part, name) => part?.[name], values);

/** What differs, by dotted key; null where a key is taken away. */
export function changesOf(before, after) {
  const changes = {};
  for (const path of PARTS) if (!same(at(before, path), at(after, path))) changes[path.join(".")] = at(after, path) ?? null;
  const [old, now] = [before.cohort.columns || {}, after.cohort.columns || {}];
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
    if (!same(old[name], now[name])) changes[`cohort.columns.${name}`] = now[name] ?? null;
  }
  return changes;
}

class Setup {
  constructor(found, study, me) {
    Object.assign(this, { study, me, found, saved: found.values, values: copy(found.values), judged: null, removed: {} });
    this.values.cohort.columns ||= {};
    this.values.modelling ||= {};
    this.values.modelling.candidates ||= [];
    this.values.outcome ||= { definition: "binary-column" };
    this.saved = copy(this.values);
    this.mayEdit = me.role === "owner";
  }

  get columns() { return this.values.cohort.columns; }
  get candidates() { return this.values.modelling.candidates; }
  get changes() { return changesOf(this.saved, this.values); }
  headerOf(name) { const given = this.columns[name]?.column ?? name; return Array.isArray(given) ? given[0] : given; }

  /** Comments of the study file on a part, such as the alternatives that `init` has found. */
  told(key) {
    // Alternatives as YAML are for those who edit the file: here they are drop-downs.
    const lines = (this.found.notes[key] || []).filter((text) => !/[{}]|^alternatives/.test(text));
    return lines.map((text) => el("p", { class: "hint" }, "? ", spoken(text)));
  }

  /** Something was chosen: say so, and ask what it means. */
  changed(draw = true) {
    if (draw) this.draw();
    this.showState();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.judge(), PAUSE);
  }

  async judge() {
    const turn = (this.turn = (this.turn || 0) + 1);
    try {
      // What is saved may be judged by whoever may read it.
      const judged = await (Object.keys(this.changes).length
        ? api(`/studies/${this.study}/judge`, { method: "POST", body: { version: this.found.version, changes: this.changes } })
        : api(`/studies/${this.study}/judge`));
      if (turn !== this.turn) return;
      this.judged = judged;
      fill(this.notes);
    } catch (error) {
      if (turn === this.turn) fill(this.notes, problem(error));
      return;
    }
    this.showJudged();
  }

  async save() {
    const changes = this.changes;
    const { version } = await api(`/studies/${this.study}/cohort`, { method: "PUT", body: { version: this.found.version, changes } });
    this.found.version = version;
    this.saved = copy(this.values);
    this.whole = null;
    this.showState();
    announce(t("cohort.saved"));
  }

  // -- one column ------------------------------------------------------------------------------------------------------

  partsOfOutcome() {
    const outcome = this.values.outcome;
    return new Set([outcome.column, ...Object.values(outcome.columns || {})].filter(Boolean));
  }

  roleOf(name) {
    if (!this.columns[name]) return "unread";
    if (this.partsOfOutcome().has(name)) return "outcome";
    if (this.columns[name].after_event) return "after";
    return this.candidates.includes(name) ? "candidate" : "described";
  }

  setRole(name, role) {
    const entry = this.columns[name] || this.removed[name];
    this.values.modelling.candidates = this.candidates.filter((item) => item !== name);
    if (role === "unread") {
      this.removed[name] = entry;
      delete this.columns[name];
    } else {
      this.columns[name] = entry;
      delete entry.after_event;
      if (role === "after") entry.after_event = true;
      // In the table's order, as `init` writes them.
      if (role === "candidate") this.values.modelling.candidates = Object.keys(this.columns).filter((item) => item === name || this.candidates.includes(item));
    }
    this.changed();
  }

  set(name, key, value, draw = false) {
    const entry = this.columns[name];
    if (value === "" || value === null) delete entry[key];
    else entry[key] = value;
    if (key === "kind") {
      if (value === "numeric") delete entry.kind;
      if (value !== "binary" && value !== "categorical") delete entry.levels;
      if (value !== "numeric") { delete entry.quantity; delete entry.unit; }
    }
    if (key === "quantity") delete entry.unit;
    this.changed(draw);
  }

  row(name, header) {
    const entry = this.columns[name];
    const role = this.roleOf(name);
    const label = (key) => `${t(`cohort.${key}`)}: ${header}`;
    const fixed = !this.mayEdit || !entry;
    const roles = (role === "outcome" ? ["outcome"] : ["candidate", "described", "after", "unread"]).map((key) => [key, t(`cohort.role_${key}`)]);
    const quantities = Object.entries(this.found.quantities).map(([key, item]) => [key, tr(item.label)]);
    const units = entry?.quantity && this.found.quantities[entry.quantity]?.units;
    const kind = entry?.kind || "numeric";
    const hint = this.found.headers.find((item) => item.header === header);
    const doubts = [...new Set([...(hint?.doubts || []), ...(this.found.notes[`cohort.columns.${name}`] || [])])];
    return el("tr", { "data-column": name, class: role === "unread" ? "off" : null },
      el("th", { scope: "row" }, header, entry && name !== header ? el("div", { class: "hint" }, name) : null),
      el("td", {}, select(roles, role, (value) => this.setRole(name, value), { "aria-label": label("role"), disabled: !this.mayEdit || role === "outcome" })),
      el("td", {}, entry ? select(["numeric", "binary", "categorical", "date"].map((key) => [key, t(`cohort.kind_${key}`)]), kind, (value) => this.set(name, "kind", value, true), { "aria-label": label("kind"), disabled: fixed }) : null),
      el("td", {}, entry && kind === "numeric" ? select([["", t("cohort.by_header")], ["none", t("cohort.no_quantity")], ...quantities], entry.quantity || "", (value) => this.set(name, "quantity", value, true), { "aria-label": label("quantity"), disabled: fixed })
        : entry?.levels ? el("span", { class: "hint" }, Object.entries(entry.levels).map(([level, words]) => `${level} (${words.join(", ")})`).join(" · ")) : null),
      el("td", {}, entry && kind === "numeric" ? (units
        ? select([["", t("cohort.choose_unit")], ...new Set([...units, entry.unit].filter(Boolean))], entry.unit || "", (value) => this.set(name, "unit", value), { "aria-label": label("unit"), disabled: fixed })
        : el("input", { value: entry.unit || "", "aria-label": label("unit"), disabled: fixed, onchange: (event) => this.set(name, "unit", event.target.value.trim()) })) : null),
      el("td", {}, entry ? el("input", { value: entry.label || "", placeholder: tr(this.found.quantities[entry.quantity]?.label || ""), "aria-label": label("label"), disabled: fixed, onchange: (event) => this.set(name, "label", event.target.value.trim()) }) : null),
      el("td", { class: "said" }, doubts.map((text) => el("p", { class: "hint" }, "? ", spoken(text))), el("div", { class: "found" })));
  }

  table() {
    const rows = [];
    const read = new Set();
    for (const name of Object.keys(this.columns)) { rows.push(this.row(name, this.headerOf(name))); read.add(this.headerOf(name)); }
    for (const [name, entry] of Object.entries(this.removed)) {
      if (!this.columns[name]) { rows.push(this.row(name, entry.column || name)); read.add(entry.column || name); }
    }
    const others = this.found.headers.filter((item) => !read.has(item.header) && item.header !== this.values.cohort.id);
    for (const item of others) {
      if (!item.name || this.columns[item.name]) continue;
      this.removed[item.name] = { column: item.header };
      rows.push(this.row(item.name, item.header));
    }
    const heads = ["header", "role", "kind", "quantity", "unit", "label", "findings"].map((key) => el("th", { scope: "col" }, t(`cohort.${key}`)));
    const unread = others.filter((item) => !item.name);
    return [el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("cohort.columns") }, el("table", { class: "setup" },
      el("caption", { class: "unseen" }, t("cohort.columns")), el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows))),
    unread.length ? el("p", { class: "hint" }, t("cohort.not_read", { names: unread.map((item) => `${item.header}${item.doubts.length ? ` (${item.doubts.map(tr).join("; ")})` : ""}`).join(", ") })) : null];
  }

  // -- outcome, sets, images -------------------------------------------------------------------------------------------

  outcome() {
    const outcome = this.values.outcome;
    const definition = this.found.definitions.find((item) => item.name === outcome.definition);
    const names = [["", t("cohort.choose")], ...Object.keys(this.columns).map((name) => [name, this.columns[name].label || tr(this.found.quantities[this.columns[name].quantity]?.label) || this.headerOf(name)])];
    const fixed = { disabled: !this.mayEdit };
    const change = (edit, draw = true) => { edit(this.values.outcome); this.changed(draw); };
    const called = (key, title) => (known(key) ? t(key) : tr(title));
    const list = (text) => text.split(/[,;，；]/).map((word) => word.trim()).filter(Boolean).map((word) => (/^-?\d+(\.\d+)?$/.test(word) ? Number(word) : word));
    const fields = [field(t("cohort.definition"), select(this.found.definitions.map((item) => [item.name, called(`cohort.definition_${item.name.replaceAll("-", "_")}`, item.title)]), outcome.definition, (value) => {
      this.values.outcome = { definition: value, ...(outcome.name ? { name: outcome.name } : {}), ...(value === "survival" ? { columns: {}, unit: "months", horizons: [12, 24] } : {}) };
      this.changed();
    }, fixed), { hint: outcome.definition === "binary-column" ? "" : tr(definition?.source || "") })];
    if (outcome.definition === "binary-column") {
      fields.push(field(t("cohort.outcome_column"), select([...names, ...(outcome.column && !this.columns[outcome.column] ? [[outcome.column, outcome.column]] : [])], outcome.column || "", (value) => change((item) => {
        item.column = value;
        delete item.positive;
        delete item.negative;
        this.values.modelling.candidates = this.candidates.filter((name) => name !== value);
        const entry = this.columns[value];
        if (entry?.levels && entry.kind !== "binary") {
          const levels = Object.keys(entry.levels);
          Object.assign(item, { positive: [levels[0]], negative: levels.slice(1) });
        }
      }), fixed)));
      if (outcome.positive) for (const part of ["positive", "negative"]) {
        fields.push(field(t(`cohort.${part}`), el("input", { ...fixed, value: (outcome[part] || []).join(", "), onchange: (event) => change((item) => { item[part] = list(event.target.value); }, false) })));
      }
    } else {
      for (const part of definition?.parts || []) {
        if (part.name === "column") continue;
        fields.push(field(called(`cohort.part_${part.name}`, part.name), select(names, outcome.columns?.[part.name] || "", (value) => change((item) => {
          item.columns = { ...item.columns, [part.name]: value };
          if (!value) delete item.columns[part.name];
          this.values.modelling.candidates = this.candidates.filter((name) => name !== value);
        }), fixed), { hint: tr(part.help) }));
      }
    }
    if (outcome.definition === "survival") {
      fields.push(field(t("cohort.time_unit"), select(["days", "weeks", "months", "years"].map((key) => [key, t(`cohort.${key}`)]), outcome.unit || "days", (value) => change((item) => { item.unit = value; }, false), fixed)),
        field(t("cohort.horizons"), el("input", { ...fixed, value: (outcome.horizons || []).join(", "), inputmode: "decimal", onchange: (event) => change((item) => { item.horizons = list(event.target.value).filter((time) => typeof time === "number"); }, false) }), { hint: t("cohort.horizons_hint") }));
    }
    fields.push(field(t("cohort.outcome_name"), el("input", { ...fixed, value: outcome.name || "", onchange: (event) => change((item) => { if (event.target.value) item.name = event.target.value; else delete item.name; }, false) })));
    return el("section", { class: "panel", "aria-label": t("cohort.outcome") }, el("h2", {}, t("cohort.outcome")), fields, this.told("outcome"), el("div", { class: "found", "data-part": "outcome" }));
  }

  sets() {
    const split = this.values.cohort.split || { by: "none" };
    const fixed = { disabled: !this.mayEdit };
    const set = (value) => { this.values.cohort.split = value; this.changed(); };
    const fields = [field(t("cohort.split"), select(["none", "random", "column", ...(split.by === "list" ? ["list"] : [])].map((key) => [key, t(`cohort.split_${key}`)]), split.by, (by) => set(
      by === "random" ? { by, validation_fraction: 0.3 } : by === "column" ? { by, column: "", training: [], validation: [] } : { by }), fixed))];
    if (split.by === "random") {
      fields.push(field(t("cohort.fraction"), el("input", { ...fixed, type: "number", min: "0.06", max: "0.59", step: "0.05", value: split.validation_fraction, onchange: (event) => set({ ...split, validation_fraction: Number(event.target.value) }) })));
    }
    if (split.by === "column") {
      const headers = this.found.headers.filter((item) => item.words.length > 1 && item.role !== "id");
      fields.push(field(t("cohort.split_by"), select([["", t("cohort.choose")], ...headers.map((item) => item.header)], split.column, (column) => {
        const words = headers.find((item) => item.header === column)?.words || [];
        set({ by: "column", column, training: words.slice(0, 1), validation: words.slice(1, 2) });
      }, fixed)));
      const words = headers.find((item) => item.header === split.column)?.words || [];
      const member = (word) => ["training", "validation", "external"].find((name) => (split[name] || []).map(String).includes(String(word))) || "none";
      if (words.length && words.length < 30) fields.push(el("fieldset", {}, el("legend", {}, t("cohort.values")), words.map((word) => field(word,
        select(["training", "validation", "external", "none"].map((key) => [key, t(`cohort.set_${key}`)]), member(word), (name) => {
          const next = { ...split };
          for (const key of ["training", "validation", "external"]) next[key] = (split[key] || []).filter((item) => String(item) !== String(word));
          if (name !== "none") next[name] = [...next[name], word];
          if (!next.external.length) delete next.external;
          set(next);
        }, fixed)))));
    }
    return el("section", { class: "panel", "aria-label": t("cohort.sets") }, el("h2", {}, t("cohort.sets")), fields, el("div", { class: "found", "data-part": "sets" }));
  }

  images() {
    const images = this.values.images;
    const notes = el("div");
    const source = images?.segmentation?.source || "given";
    const lines = images ? [
      ...Object.entries(images.sequences).map(([name, item]) => `${name} (${item.modality || "CT"}): ${item.path}`),
      source === "given" ? `${t("cohort.masks")}: ${images.segmentation?.masks || "–"}` : `${t("cohort.masks")}: ${t("cohort.masks_made")} (${source})`] : [];
    const take = async (path) => {
      try {
        const { values, found } = await api(`/studies/${this.study}/images`, { method: "POST", body: { path } });
        this.values.images = values.images;
        if (values.features) this.values.features = { ...this.values.features, ...values.features };
        if (String(this.values.modelling.models) === "clinical") {
          this.values.biomarkers = values.biomarkers;
          Object.assign(this.values.modelling, values.modelling);
        }
        this.changed();
        this.imagesFound = [t("cohort.images_found", { images: found.with_image, masks: found.with_mask }), ...found.doubts];
        this.draw();
      } catch (error) { fill(notes, problem(error)); }
    };
    return el("section", { class: "panel", "aria-label": t("cohort.images") }, el("h2", {}, t("cohort.images")), this.told("images"),
      lines.length ? el("ul", { class: "paths" }, lines.map((line) => el("li", {}, line))) : el("p", { class: "hint" }, t("cohort.no_images")),
      (this.imagesFound || []).map((text, i) => el("p", { class: i ? "hint" : "chosen" }, spoken(text))),
      images && this.mayEdit ? el("button", { type: "button", onclick: () => { this.withoutImages(); this.imagesFound = null; this.changed(); } }, t("cohort.without_images")) : null,
      this.mayEdit ? el("details", {}, el("summary", {}, t("cohort.choose_images")), chooser("folder", take)) : null, notes,
      el("div", { class: "found", "data-part": "images" }));
  }

  withoutImages() {
    const { chain, combination, ...rest } = this.values.modelling;
    this.values.modelling = { ...rest, models: ["clinical"] };
    for (const key of ["images", "biomarkers"]) delete this.values[key];
  }

  // -- what was found --------------------------------------------------------------------------------------------------

  showJudged() {
    if (!this.judged) {
      fill(this.verdict, el("div", { class: "box" }, t("cohort.judging")));
      return;
    }
    // The whole check knows the images too, of the file as it is saved.
    const findings = (!Object.keys(this.changes).length && this.whole) || this.judged.findings;
    const errors = findings.filter((item) => item.severity === "error").length;
    const { flow, text } = this.judged;
    const rest = [];
    for (const place of this.body.querySelectorAll(".found")) place.replaceChildren();
    for (const item of findings) {
      const name = item.key.startsWith("cohort.columns.") ? item.key.split(".")[2] : this.columns[item.column] ? item.column : null;
      const row = name && this.body.querySelector(`tr[data-column="${CSS.escape(name)}"] .found`);
      const part = item.key.startsWith("cohort.split") || item.part === "sets" ? "sets" : item.part === "outcome" || item.key.startsWith("outcome") ? "outcome" : item.part === "images" ? "images" : null;
      const place = row || (part && this.body.querySelector(`.found[data-part="${part}"]`));
      if (place && (item.severity !== "note" || row)) place.append(this.finding(item));
      else rest.push(item);
    }
    const warnings = findings.filter((item) => item.severity === "warning").length;
    fill(this.verdict, el("div", { class: `box ${errors ? "bad" : "good"}` }, el("strong", {}, errors ? t("cohort.errors", { n: errors }) : t("cohort.ready")), warnings ? ` ${t("cohort.warnings", { n: warnings })}` : ""));
    fill(this.flow, this.flowChart(flow));
    const shown = rest.filter((item) => item.severity !== "note");
    const notes = rest.filter((item) => item.severity === "note");
    fill(this.others, shown.map((item) => this.finding(item, true)),
      notes.length ? el("details", {}, el("summary", {}, t("cohort.notes", { n: notes.length })), notes.map((item) => this.finding(item, true))) : null);
    this.yaml.textContent = text;
  }

  /** What a check has found: its kind in the language of the page, the particulars as the check says them. */
  finding(item, place = false) {
    const where = [item.row ? t("cohort.row", { n: item.row }) : "", item.patient || "", place ? item.column || "" : ""].filter(Boolean).join(", ");
    return el("p", { class: `finding ${item.severity}` }, el("span", { class: `tag ${{ error: "bad", warning: "doubt", note: "" }[item.severity]}` }, t(`cohort.severity_${item.severity}`)), ` ${where ? `${where}: ` : ""}`, said("finding", item.code, item.message));
  }

  flowChart(flow) {
    if (!flow) return el("p", { class: "hint" }, t("cohort.no_flow"));
    const out = flow.excluded.filter((item) => item.n);
    return el("ol", { class: "flow", "aria-label": t("cohort.flow") },
      el("li", { class: "step" }, el("strong", {}, flow.reviewed), ` ${t("cohort.reviewed")}`),
      out.map((item) => el("li", { class: "step out" }, el("strong", {}, `− ${item.n}`), " ", spoken(item.reason))),
      el("li", { class: "step" }, el("strong", {}, flow.included), ` ${t("cohort.included")}`),
      Object.entries(flow.sets).map(([name, set]) => el("li", { class: "step set" }, el("strong", {}, set.n), ` ${t(`cohort.set_${name}`)}`, set.events === null ? "" : ` · ${t("cohort.events", { n: set.events })}`)));
  }

  /** The check of images, which goes on by itself: how far it is, then what it has found of the file as it is saved. */
  async follow(found, place) {
    while (found.state === "running" && !this.gone) {
      const text = t("cohort.checking", { done: found.done, total: found.total || "…" });
      fill(place, el("progress", { ...(found.total ? { value: found.done, max: found.total } : {}), "aria-label": text }), el("p", { class: "hint", role: "status" }, text));
      await new Promise((resolve) => { setTimeout(resolve, 700); });
      found = await api(`/studies/${this.study}/check`);
    }
    if (found.state === "failed") fill(place, el("p", { class: "box bad" }, t("cohort.check_failed")));
    if (found.state !== "done" || this.gone) return;
    // The command's own text is English; what it says stands beside the fields too.
    fill(place, el("details", { open: language === "en" }, el("summary", {}, t("cohort.checked")), el("pre", { tabindex: "0", lang: "en" }, found.text)));
    this.whole = found.findings;
    if (this.judged) this.showJudged();
  }

  showState() {
    const n = Object.keys(this.changes).length;
    this.saveButton.disabled = !n;
    this.state.textContent = n ? t("cohort.unsaved") : t("cohort.no_changes");
  }

  draw() {
    const focused = document.activeElement?.getAttribute("aria-label");
    const open = [...this.parts.querySelectorAll("details[open] summary")].map((item) => item.textContent);
    fill(this.parts, el("div", { class: "columns" }, this.outcome(), this.sets(), this.images()),
      el("section", { class: "panel", "aria-label": t("cohort.columns") }, el("h2", {}, t("cohort.columns")),
        el("p", { class: "hint" }, t("cohort.identifier", { name: this.values.cohort.id })), this.told("modelling.candidates"), this.table()));
    for (const item of this.parts.querySelectorAll("summary")) if (open.includes(item.textContent)) item.parentElement.open = true;
    if (focused) this.parts.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    this.showJudged();
  }

  render(body) {
    this.body = body;
    [this.verdict, this.flow, this.others, this.notes, this.parts] = [el("div", { role: "status", "aria-live": "polite" }), el("div"), el("div"), el("div"), el("div")];
    this.yaml = el("pre", { tabindex: "0", "aria-label": t("cohort.file") });
    this.state = el("span", { class: "hint" });
    const saveNotes = el("div");
    this.saveButton = el("button", { class: "main", onclick: () => act(this.saveButton, saveNotes, () => this.save()).then(() => this.showState()) }, t("cohort.save"));
    const checked = el("div");
    const checkAll = el("button", { onclick: () => act(checkAll, checked, async () => {
      if (Object.keys(this.changes).length) await this.save();
      await this.follow(await api(`/studies/${this.study}/check`, { method: "POST", body: {} }), checked);
    }) }, t("cohort.check_all"));
    const name = el("input", { value: this.values.name, disabled: !this.mayEdit, onchange: (event) => { this.values.name = event.target.value; this.changed(false); } });
    put(body, this.found.unread ? el("div", { class: "box doubt" }, [t("cohort.unread"), " ", spoken(this.found.unread)]) : null,
      el("div", { class: "overview" }, el("section", { class: "panel", "aria-label": t("cohort.verdict") }, field(t("cohort.name"), name), this.verdict, this.notes,
        this.mayEdit ? el("div", { class: "row" }, this.saveButton, checkAll, el("a", { class: "button", href: `#/study/${this.study}/run` }, t("cohort.to_run")), this.state) : null, saveNotes, checked, this.others),
      el("section", { class: "panel", "aria-label": t("cohort.flow") }, el("h2", {}, t("cohort.flow")), this.flow)),
      this.parts,
      el("details", { class: "panel" }, el("summary", {}, t("cohort.file")), this.yaml));
    this.draw();
    this.showState();
    this.judge();
    act(checkAll, checked, async () => this.follow(await api(`/studies/${this.study}/check`), checked));
    const warn = (event) => { if (Object.keys(this.changes).length) event.preventDefault(); };
    addEventListener("beforeunload", warn);
    return () => { this.gone = true; clearTimeout(this.timer); removeEventListener("beforeunload", warn); };
  }
}

async function render(body, { study, me }) {
  put(body, el("p", { class: "hint", id: "reading" }, t("cohort.reading")));
  const found = await api(`/studies/${study}/cohort`);
  body.replaceChildren();
  return new Setup(found, study, me).render(body);
}

export default { name: "cohort", study: true, render };
