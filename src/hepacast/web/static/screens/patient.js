// One patient: a model, clinical values, a scan where the model reads one; the prediction, and its nomogram to move.

import { act, announce, api, dropZone, el, field, fill, language, pathOf, problem, put, select, spoken, t, tr } from "../lib.js";
import { mountAbout, signatureText } from "../calculator.js";
import { percent } from "../model.js";
import { mountFields, mountNomogram, timeText } from "../nomogram.js";

const WAIT = 700; // milliseconds between two looks at a prediction that runs

async function render(body, { args, me }) {
  const models = await api("/models");
  if (!models.length) {
    put(body, el("p", { class: "box" }, t("patient.none")));
    return undefined;
  }
  const usable = models.filter((item) => !item.error);
  const chosen = usable.find((item) => item.code === args[0]) ?? (usable.length === 1 ? usable[0] : null);
  const options = [["", t("patient.choose_model")], ...models.map((item) => [item.code, item.error ? `${item.study}: ${tr(item.error)}` : `${item.outcome} · ${item.study} (${item.place})`])];
  const pick = select(options, chosen?.code ?? "", (code) => { location.hash = `#/patient/${code}`; });
  for (const option of pick.options) option.disabled = models.some((item) => item.code === option.value && item.error);
  put(body, el("div", { class: "panel" }, field(t("patient.model"), pick, { hint: t("patient.model_hint") })));
  if (!chosen) return undefined;
  const form = await api(`/models/${chosen.code}`);
  return new Patient(body, chosen, form, me).open(args[1]);
}

class Patient {
  constructor(body, model, form, me) {
    Object.assign(this, { body, model, form, me });
    this.images = new Map(); // number of the sequence -> files
    this.series = new Map(); // name of the sequence -> series of the PACS
    this.pacs = "";
    this.mask = [];
    this.token = null;
    this.over = false;
  }

  async open(token) {
    const { form, body } = this;
    const start = el("button", { class: "main", type: "button", onclick: () => act(start, this.notes, () => this.predict()) }, t("patient.predict"));
    this.start = start;
    this.notes = el("div", {});
    this.answer = el("section", { class: "panel", "aria-label": t("patient.answer"), hidden: true });
    this.code = el("input", { autocomplete: "off", maxlength: "64", spellcheck: "false" });
    const image = form.image.needed && form.image.possible;
    const trusted = { trusted: "good", unsigned: "" }[form.signed.state] ?? "doubt";
    const who = el("div", { class: "panel" },
      el("p", { class: "hint", id: "signature" }, `${t("patient.signature")} `, el("span", { class: `tag ${trusted}`.trim() }, signatureText(t, form.signed))),
      form.held ? el("p", { class: "hint", lang: "en", role: "note" }, form.held) : null,
      el("h2", {}, t("patient.who")), el("div", { class: "narrow" }, field(t("patient.code"), this.code, { hint: t("patient.code_hint") })),
      image ? this.scan() : null,
      form.image.needed && !form.image.possible ? el("p", { class: "box doubt" }, t("patient.table_only")) : null);
    const hint = this.me.role === "reader" ? t("patient.reader") : image ? t("patient.both") : t("patient.page_of");
    const last = el("div", { class: "panel" }, el("div", { class: "row" }, start, el("span", { class: "hint" }, hint)), this.notes);
    if (this.me.role === "reader") start.disabled = true;
    const live = el("div", { class: "live" }), about = el("div", { id: "about" });
    put(body, who, live, last, this.answer, form.description ? about : null);
    if (form.description) {
      this.fields = mountNomogram(live, form.description, { t });
      mountAbout(about, form.description, { t });
    } else {
      this.fields = mountFields(live, form.fields, { t });
      live.prepend(el("p", { class: "box" }, t("patient.no_nomogram"), " ", spoken(form.reason)));
    }
    if (token) await this.follow(token);
    return () => { this.over = true; };
  }

  /** Where scan and mask are dropped: one place a sequence. */
  scan() {
    const places = Object.entries(this.form.image.sequences).map(([name, kind], number) => this.place(
      t("patient.drop_scan", { sequence: name, kind }), (files) => { this.images.set(number, files); this.series.delete(name); this.showChosen?.(); }));
    const pacs = el("div", {});
    if (this.me.role !== "reader") this.offerPacs(pacs);
    return el("section", {}, el("h2", {}, t("patient.scan")), el("div", { class: "columns" }, places), pacs,
      el("details", {}, el("summary", {}, t("patient.has_mask")), this.place(t("patient.drop_mask"), (files) => { this.mask = files; })));
  }

  /** One patient's series of an allowed PACS: the likely one of each sequence is chosen, and can be changed. */
  async offerPacs(place) {
    const names = await api("/pacs");
    if (!names.length) return;
    const notes = el("div", { "aria-live": "polite" }), list = el("div", {});
    const from = select(names, names[0], () => {}), number = el("input", { autocomplete: "off", maxlength: "64", spellcheck: "false", required: true });
    const look = el("button", { type: "submit" }, t("patient.look_up"));
    const form = el("form", {}, el("div", { class: "form" }, field(t("patient.pacs_from"), from), field(t("patient.pacs_number"), number, { hint: t("patient.pacs_number_hint") })), look);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(look, notes, async () => {
        this.pacs = from.value;
        const found = await api(`/models/${this.model.code}/find`, { method: "POST", body: { pacs: from.value, patient: number.value.trim() } });
        this.series.clear();
        this.showFound(list, found);
        put(notes, el("p", { class: "hint", role: "status" }, t("patient.series_found", { n: found.series.length })));
      });
    });
    put(place, el("details", {}, el("summary", {}, t("patient.from_pacs")), form, notes, list));
  }

  showFound(list, found) {
    const text = (item) => [item.date.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3"), item.modality, item.number === null ? "" : t("patient.series_number", { n: item.number }),
      item.description, item.thickness === null ? "" : `${item.thickness} mm`, item.instances === null ? "" : t("patient.series_images", { n: item.instances })].filter(Boolean).join(" · ");
    const options = [["", t("patient.series_none")], ...found.series.map((item) => [item.series, text(item)])];
    const take = (name, number, uid) => {
      const item = found.series.find((one) => one.series === uid);
      if (!item) { this.series.delete(name); return; }
      this.series.set(name, item);
      this.images.delete(number);
    };
    const choices = Object.entries(this.form.image.sequences).map(([name, kind], number) => {
      take(name, number, found.proposed[name] ?? "");
      return [name, kind, select(options, found.proposed[name] ?? "", (uid) => take(name, number, uid))];
    });
    this.showChosen = () => { for (const [name, , choice] of choices) choice.value = this.series.get(name)?.series ?? ""; };
    fill(list, found.series.length ? choices.map(([name, kind, choice]) => field(t("patient.series_of", { sequence: name, kind }), choice, { hint: found.proposed[name] ? t("patient.series_proposed") : t("patient.series_choose") })) : null);
  }

  place(text, take) {
    const told = el("p", { class: "hint", role: "status" }, t("patient.nothing"));
    const got = (files) => { take(files); told.textContent = t("patient.chosen", { n: files.length, name: files.length === 1 ? files[0].name : "" }); };
    const folder = el("input", { type: "file", class: "unseen", tabindex: "-1", "aria-label": t("common.choose_folder") });
    folder.webkitdirectory = true;
    folder.addEventListener("change", () => { if (folder.files.length) got([...folder.files]); });
    const zone = dropZone(text, got, { multiple: true });
    zone.append(el("button", { type: "button", onclick: () => folder.click() }, t("common.choose_folder")), folder, told);
    return zone;
  }

  async predict(accept = false) {
    const data = new FormData();
    data.append("labs", JSON.stringify(this.fields.labs()));
    data.append("patient", this.code.value.trim());
    if (accept) data.append("accept", "yes");
    const send = (files, folder) => files.forEach((file) => {
      data.append("path", `${folder}/${pathOf(file)}`);
      data.append("file", file, "file");
    });
    for (const [number, files] of this.images) send(files, `image/${number}`);
    send(this.mask, "mask");
    if (this.series.size) {
      const series = Object.fromEntries([...this.series].map(([name, item]) => [name, { study: item.study, series: item.series, instances: item.instances }]));
      data.append("fetch", JSON.stringify({ pacs: this.pacs, series }));
    }
    fill(this.notes, el("p", { role: "status" }, t("patient.sending")));
    const { prediction } = await api(`/models/${this.model.code}/predict`, { method: "POST", body: data });
    history.replaceState(null, "", `#/patient/${this.model.code}/${prediction}`);
    await this.follow(prediction);
  }

  /** Look at a prediction until it is made. */
  async follow(token) {
    this.token = token;
    this.start.disabled = true;
    const line = el("p", { role: "status" }, t("patient.running"));
    fill(this.notes, el("progress", { "aria-label": t("patient.running") }), line, this.forgetting(t("patient.stop")));
    try {
      for (;;) {
        const told = await api(`/predictions/${token}`);
        if (this.over || token !== this.token) return;
        if (told.state === "made") return this.show(told);
        if (told.state === "failed") return this.failed(told.error);
        line.textContent = told.message ? `${t("patient.running")} ${tr(told.message)}` : t("patient.running");
        await new Promise((resolve) => { setTimeout(resolve, WAIT); });
      }
    } catch (error) {
      fill(this.notes, problem(error));
    } finally {
      this.start.disabled = this.me.role === "reader";
    }
  }

  failed(error) {
    const again = el("button", { type: "button", onclick: () => act(again, this.notes, () => this.predict(true)) }, t("patient.accept"));
    const doubtful = (error.remedy ?? "").includes("accept-doubtful");
    fill(this.notes, problem({ message: error.message, told: error }), doubtful ? again : null);
  }

  show(told) {
    const { prediction, values, files } = told;
    this.fields.take(values);
    const risk = (item) => (item.time === undefined ? t("calculator.risk") : t("calculator.risk_by", { time: timeText(t, item) }));
    const level = (share) => Number((100 * share).toPrecision(3));
    const risks = prediction.horizons.length ? prediction.horizons : [prediction];
    const href = (name) => `/api/predictions/${this.token}/${name}`;
    const warned = [...prediction.cautions, ...prediction.warnings];
    fill(this.notes, el("p", { class: "box good", role: "status" }, t("patient.made")));
    fill(this.answer, el("h2", {}, t("patient.answer")),
      el("p", { class: "hint" }, prediction.patient ? t("patient.of", { code: prediction.patient, date: prediction.date }) : prediction.date),
      el("dl", { class: "facts" }, risks.map((item) => [el("dt", {}, risk(item)),
        el("dd", {}, el("strong", { class: "predicted", "data-risk": item.risk }, percent(item.risk)),
          item.low === null ? "" : ` (${t("calculator.interval", { level: level(prediction.level), low: percent(item.low), high: percent(item.high) })})`)]),
      el("dt", {}, t("patient.group")), el("dd", {}, t(`calculator.group.${{ "high risk": "high", "low risk": "low" }[prediction.group] ?? "none"}`)),
      Object.entries(prediction.scores).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value === null ? t("calculator.not_estimated") : value.toFixed(3))])),
      prediction.conformal?.label ? el("p", {}, t("patient.conformal", { level: level(prediction.conformal.level) }), " ", spoken(prediction.conformal.sentence)) : null,
      warned.length ? el("div", { class: "box doubt" }, el("strong", {}, t("patient.warnings")), el("ul", {}, warned.map((text) => el("li", {}, spoken(text))))) : el("p", {}, t("patient.no_warnings")),
      files.includes("overlay.png") ? el("figure", {}, el("img", { class: "overlay", src: href("overlay.png"), alt: t("patient.overlay") }), el("figcaption", { class: "hint" }, t("patient.overlay"))) : null,
      el("div", { class: "row" },
        files.includes("prediction.pdf") ? el("a", { class: "button main", href: href("prediction.pdf"), download: "prediction.pdf" }, t("patient.pdf")) : null,
        el("a", { class: "button", href: href("prediction.json"), download: "prediction.json" }, t("patient.json")),
        this.forgetting(t("patient.forget"))),
      el("p", { class: "hint" }, t("patient.kept_until", { time: new Date(told.kept_until).toLocaleString(language) })));
    this.offerSending(told);
    this.answer.hidden = false;
    this.answer.scrollIntoView({ block: "nearest" });
    announce(`${t("patient.made")} ${percent(risks[risks.length - 1].risk)}`);
  }

  /** Sending to a PACS that the owner has allowed; or why it cannot be. */
  async offerSending(told) {
    if (this.me.role === "reader" || !this.form.image.needed) return;
    const names = await api("/pacs");
    const place = el("section", { "aria-label": t("patient.pacs") }, el("h3", {}, t("patient.pacs")));
    this.answer.append(place);
    if (!names.length) { put(place, el("p", { class: "hint" }, t("patient.no_pacs"))); return; }
    if (!told.dicom) { put(place, el("p", { class: "hint" }, t("patient.no_dicom"), " ", spoken(told.no_dicom))); return; }
    const done = el("div", { "aria-live": "polite" });
    const line = (item) => el("p", { class: `box ${item.failed.length ? "bad" : "good"}` }, t(item.failed.length ? "patient.sent_failed" : "patient.sent_to", { name: item.to, n: item.confirmed, time: new Date(item.time).toLocaleString(language) }),
      item.failed.map((text) => [" ", spoken(text)]));
    put(done, told.sendings.map(line));
    const notes = el("div", {});
    const to = select(names, names[0], () => {});
    const send = el("button", { type: "button", onclick: () => act(send, notes, async () => {
      const item = await api(`/predictions/${this.token}/send`, { method: "POST", body: { to: to.value } });
      put(done, line(item));
    }) }, t("patient.send"));
    put(place, el("p", { class: "hint" }, t("patient.pacs_hint")), el("div", { class: "row" }, el("div", {}, field(t("patient.pacs_to"), to)), send), notes, done);
  }

  /** A button that deletes everything of this patient. */
  forgetting(text) {
    if (this.me.role === "reader") return null;
    const button = el("button", { type: "button", class: "danger", onclick: () => act(button, this.notes, async () => {
      const token = this.token;
      this.token = null;
      await api(`/predictions/${token}`, { method: "DELETE" });
      location.hash = `#/patient/${this.model.code}`;
      window.dispatchEvent(new Event("hashchange"));
    }) }, text);
    return button;
  }
}

export default { name: "patient", render };
