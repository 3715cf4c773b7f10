// Statistics of a dropped table: every analysis of `hepacast stats`, its options from the server, its tables and figures.

import { act, announce, api, dropZone, el, field, fill, language, put, select, spoken, t } from "../lib.js";

const NAMED = { outcome: /outcome|event|status|death|died|relapse|recur|progress|结局|死亡|复发/i, time: /time|month|days|follow|survival|生存|随访|时间/i,
  risks: /risk|score|prob|pred|model|风险|评分/i, raters: /reader|rater|observer|read_?\d|医师|阅片/i };

const MANY = 15;

async function render(body, { me }) {
  const offered = await api("/statistics");
  return new Statistics(body, offered, me).open();
}

class Statistics {
  constructor(body, offered, me) {
    Object.assign(this, { body, offered, me });
    this.name = "describe";
    this.table = null; // what the server says of the table
    this.codes = new Set(); // columns of numbers that are codes
    this.values = {};
  }

  open() {
    this.choice = el("div", { class: "choices-of", role: "radiogroup", "aria-label": t("statistics.analysis") });
    this.source = el("section", { class: "panel", "aria-label": t("statistics.table") });
    this.options = el("section", { class: "panel", "aria-label": t("statistics.options") });
    this.result = el("section", { class: "panel result", "aria-label": t("statistics.result"), hidden: true });
    put(this.body, el("div", { class: "statistics" }, el("div", {}, this.source, this.choice), el("div", {}, this.options, this.result)));
    this.showChoice();
    this.showSource();
    this.showOptions();
    return () => { if (this.table) api(`/statistics/tables/${this.table.table}`, { method: "DELETE" }).catch(() => {}); };
  }

  showChoice() {
    fill(this.choice, Object.keys(this.offered).map((name) => el("label", { class: name === this.name ? "choice on" : "choice" },
      el("input", { type: "radio", name: "analysis", value: name, checked: name === this.name, onchange: () => this.choose(name) }),
      el("span", {}, el("strong", {}, t(`statistics.name.${name}`)), el("span", { class: "hint" }, t(`statistics.what.${name}`))))));
  }

  choose(name) {
    this.name = name;
    this.values = {};
    for (const label of this.choice.children) label.classList.toggle("on", label.querySelector("input").value === name);
    this.result.hidden = true;
    this.showSource();
    this.showOptions();
  }

  get readsTable() { return this.name !== "samplesize"; }

  showSource() {
    this.source.hidden = !this.readsTable;
    const notes = el("div", {});
    const reader = this.me.role === "reader";
    const zone = reader ? el("p", { class: "hint" }, t("statistics.reader")) : dropZone(t("statistics.drop"), (files) => act(zone.querySelector("button"), notes, () => this.take(files[0])), { accept: ".csv,.tsv,.txt,.xlsx,.xlsm,.xls,.parquet,.sav,.zsav,.dta" });
    fill(this.source, el("h2", {}, t("statistics.table")), zone, notes, this.table ? this.columnsShown() : el("p", { class: "hint" }, t("statistics.privacy")));
  }

  async take(file) {
    const data = new FormData();
    data.append("file", file, file.name);
    const before = this.table;
    this.table = await api("/statistics/tables", { method: "POST", body: data });
    if (before) api(`/statistics/tables/${before.table}`, { method: "DELETE" }).catch(() => {});
    this.codes = new Set();
    this.values = {};
    this.result.hidden = true;
    this.showSource();
    this.showOptions();
    announce(t("statistics.taken", { name: this.table.name, rows: this.table.rows, columns: this.table.columns.length }));
  }

  columnsShown() {
    const kind = (item) => (item.kind === "number" && item.levels.length
      ? select([["number", t("statistics.kind_number")], ["category", t("statistics.kind_codes", { levels: item.levels.length })]], this.codes.has(item.name) ? "category" : "number",
          (value) => { if (value === "category") this.codes.add(item.name); else this.codes.delete(item.name); }, { "aria-label": t("statistics.kind_of", { name: item.name }) })
      : item.kind === "category" ? t("statistics.kind_category", { levels: item.levels.join(", ") }) : t(`statistics.kind_${item.kind}`));
    return el("div", {}, el("p", {}, el("strong", {}, this.table.name), " ", t("statistics.size", { rows: this.table.rows, columns: this.table.columns.length })),
      this.table.notes.map((note) => el("p", { class: "box doubt" }, spoken(note))),
      el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": t("statistics.columns") }, el("table", {},
        el("thead", {}, el("tr", {}, ["column", "taken_for", "missing"].map((key) => el("th", { scope: "col" }, t(`statistics.${key}`))))),
        el("tbody", {}, this.table.columns.map((item) => el("tr", {}, el("th", { scope: "row" }, item.name), el("td", {}, kind(item)), el("td", { class: "number" }, String(item.missing))))))));
  }

  showOptions() {
    const ready = !this.readsTable || this.table;
    const notes = el("div", {});
    const go = el("button", { class: "main", type: "button", disabled: !ready || this.me.role === "reader", onclick: () => act(go, notes, () => this.run()) }, t("statistics.run"));
    if (!ready) {
      fill(this.options, el("h2", {}, t(`statistics.name.${this.name}`)), el("p", {}, t("statistics.first_table")));
      return;
    }
    const first = this.offered[this.name].filter((item) => !item.more), more = this.offered[this.name].filter((item) => item.more);
    for (const item of this.offered[this.name]) if (!(item.name in this.values)) this.values[item.name] = this.guess(item);
    fill(this.options, el("h2", {}, t(`statistics.name.${this.name}`)),
      el("div", { class: "form" }, first.map((item) => this.option(item))),
      more.length ? el("details", {}, el("summary", {}, t("statistics.more")), el("div", { class: "form" }, more.map((item) => this.option(item)))) : null,
      el("div", { class: "row" }, go), notes);
  }

  /** What is proposed for an option: a column that is named or filled like one, else the default. */
  guess(item) {
    if (item.default !== null && !(Array.isArray(item.default) && !item.default.length)) return item.default;
    const columns = this.table?.columns ?? [];
    const named = (kind) => columns.find((one) => one.role === kind) ?? columns.find((one) => NAMED[kind].test(one.name) && (kind === "time" ? one.kind === "number" : one.levels.length === 2));
    const outcome = this.name === "survival" || this.values.time ? columns.find((one) => /event|status|death|died|死亡/i.test(one.name) && one.levels.length === 2) ?? named("outcome") : named("outcome");
    const fitting = outcome ?? columns.find((one) => one.role === "binary");
    if (item.like === "outcome") return this.name === "describe" || item.needed || this.name === "nomogram" ? fitting?.name ?? "" : "";
    if (item.like === "time") return this.followUp(outcome, named)?.name ?? "";
    if (item.like === "id") return columns.find((one) => one.role === "id")?.name ?? "";
    if (item.like === "numbers") return columns.filter((one) => one.kind === "number" && NAMED[this.name === "agreement" ? "raters" : "risks"].test(one.name)).map((one) => one.name);
    if (item.like === "others") {
      // Of a table with many columns nobody wants the first few.
      if (columns.length > MANY) return [];
      const apart = new Set([fitting?.name, named("time")?.name]);
      return columns.filter((one) => !apart.has(one.name) && one.kind !== "text" && !["id", "time", "outcome"].includes(one.role) && !NAMED.risks.test(one.name)).map((one) => one.name);
    }
    return item.kind === "columns" ? [] : "";
  }

  /** Of several times that of death, where the event is death. */
  followUp(event, named) {
    const overall = this.table?.columns.find((one) => one.kind === "number" && /^(os|overall)\b/i.test(one.name));
    return (/death|died|死亡/i.test(event?.name ?? "") && overall) || named("time");
  }

  option(item) {
    const key = `statistics.option.${item.name}`, label = `${t(key)}${item.needed ? " *" : ""}`;
    const set = (value) => { this.values[item.name] = value; };
    const value = this.values[item.name];
    const columns = this.table?.columns ?? [];
    if (item.kind === "flag") {
      return el("label", { class: "inline" }, el("input", { type: "checkbox", checked: Boolean(value), onchange: (event) => set(event.target.checked) }), label);
    }
    if (item.kind === "columns") return this.several(item, label, columns, set);
    if (item.kind === "column") {
      const options = [["", t("statistics.none")], ...columns.map((one) => one.name)];
      return field(label, select(options, value ?? "", (chosen) => { set(chosen); this.levelsAgain(); }));
    }
    if (item.kind === "choice") return field(label, select(item.choices, String(value), set));
    if (item.kind === "level") {
      this.level = select([["", t("statistics.itself")]], value ?? "", set);
      setTimeout(() => this.levelsAgain());
      return field(label, this.level);
    }
    const input = el("input", { value: Array.isArray(value) ? value.join(", ") : String(value ?? ""), autocomplete: "off", inputmode: item.kind === "number" || item.kind === "count" ? "decimal" : null,
      oninput: (event) => set(event.target.value) });
    return field(label, input, { hint: ["numbers", "cuts", "splines", "ticks", "pairs"].includes(item.kind) || item.name === "cut" ? t(`statistics.hint.${item.name === "cut" ? "cut" : item.kind}`) : "" });
  }

  /** The levels of the column whose event is asked for. */
  levelsAgain() {
    if (!this.level) return;
    const name = this.values.event || this.values.outcome;
    const levels = this.table?.columns.find((one) => one.name === name)?.levels ?? [];
    fill(this.level, [["", t("statistics.itself")], ...levels.map((one) => [one, one])].map(([key, text]) => el("option", { value: key }, text)));
    this.level.value = levels.includes(this.values.positive) ? this.values.positive : "";
    this.values.positive = this.level.value;
  }

  several(item, label, columns, set) {
    const chosen = new Set(this.values[item.name]);
    const boxes = columns.map((one) => el("label", { class: "chip" }, el("input", { type: "checkbox", checked: chosen.has(one.name), onchange: (event) => {
      if (event.target.checked) chosen.add(one.name); else chosen.delete(one.name);
      set(columns.map((each) => each.name).filter((each) => chosen.has(each)));
    } }), el("span", {}, one.name)));
    const hint = item.name === "columns" ? el("p", { class: "hint" }, t("statistics.all_without")) : null;
    return el("fieldset", { class: "chips" }, el("legend", {}, label), el("div", { class: "row" }, boxes), hint);
  }

  /** The options as the server takes them: lists and numbers of what is typed. */
  asked() {
    const told = {};
    for (const item of this.offered[this.name]) {
      const value = this.values[item.name];
      if (value === "" || value === undefined || value === null) continue;
      const parts = typeof value === "string" ? value.split(item.kind === "numbers" ? /[,;\s]+/ : /;\s*/).filter(Boolean) : value;
      if (item.kind === "numbers") told[item.name] = [...parts];
      else if (["splines", "ticks", "pairs"].includes(item.kind)) told[item.name] = [...parts];
      else if (item.kind === "cuts") told[item.name] = Object.fromEntries(parts.map((part) => part.split("=").map((word) => word.trim())));
      else told[item.name] = value;
    }
    return told;
  }

  async run() {
    const body = { table: this.table?.table ?? "", categorical: [...this.codes], options: this.asked() };
    const told = await api(`/statistics/run/${this.name}`, { method: "POST", body });
    const href = (name) => `/api/statistics/files/${told.table}/${told.result}/${name}`;
    const pictures = told.files.filter((name) => name.endsWith(".png"));
    const files = told.files.map((name) => el("a", { class: "button", href: href(name), download: name }, name));
    fill(this.result, el("h2", { tabindex: "-1" }, t("statistics.result")), language === "en" ? null : el("p", { class: "hint" }, t("common.in_english")), told.parts.map((part) => (part.table ? this.tableShown(part.table) : el("p", { class: "said", lang: "en" }, part.text))),
      pictures.length ? el("div", { class: "pictures" }, pictures.map((name) => el("figure", {}, el("img", { src: href(name), alt: t("statistics.figure", { name: name.replace(/\.png$/, "") }) })))) : null,
      el("details", { open: true }, el("summary", {}, t("statistics.downloads")), el("div", { class: "row" }, files)));
    this.result.hidden = false;
    this.result.querySelector("h2").focus();
    announce(t("statistics.done"));
  }

  tableShown(table) {
    const row = (item) => el("tr", { class: item.kind }, item.cells.map((cell, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, cell)));
    return el("div", { lang: "en" }, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": table.title || t("statistics.result") },
      el("table", { class: "numbers" }, table.title ? el("caption", {}, table.title) : null,
        el("thead", {}, el("tr", {}, table.columns.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, table.rows.map(row)))),
    table.notes.map((note) => el("p", { class: "hint" }, note)));
  }
}

export default { name: "statistics", render };
