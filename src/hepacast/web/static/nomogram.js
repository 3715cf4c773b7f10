// The live nomogram: a form with its moving axes, and the risk. Whatever a study has named is put in as text, never as
// markup; the words are those of the catalogue of messages.

import { ValueRefused, checkedValue, evaluate, percent, predictorAt, readNumber, scaled, unscaled } from "./model.js";

const SVG = "http://www.w3.org/2000/svg";
const RISK_TICKS = [0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999];

/** `t("section.key", {name: value})` from one language's messages; a text that is missing shows its key. */
export function translator(messages) {
  const found = (key) => key.split(".").reduce((part, name) => part?.[name], messages);
  return (key, parts = {}) =>
    (found(key) ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in parts ? String(parts[name]) : whole));
}

const short = (value) => String(Number(value.toPrecision(4)));
const unitText = (unit) => unit.replace(/^u(?=mol|g|kat)/, "µ").replace(/10\^9/, "10⁹").replace(/10\^12/, "10¹²");
/** Length of a text in Latin letters: a Chinese sign is as wide as two. */
const breadth = (text) => [...text].reduce((sum, sign) => sum + (sign > "\u2e7f" ? 2 : 1), 0);
/** ``12 months``, in the words of the page. */
export const timeText = (t, risk) => {
  const unit = t(`calculator.time.${risk.unit}`);
  return `${short(risk.time)} ${unit.startsWith("calculator.") ? risk.unit : unit}`;
};

/** An element with attributes (`onclick: f` listens) and children; texts are texts. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

let counter = 0;

/** One predictor's field: text with unit and slider, or its levels; `value` is a number, a level, null or undefined. */
class Field {
  constructor(predictor, t, changed) {
    this.predictor = predictor;
    this.t = t;
    this.changed = changed;
    this.id = `predictor-${++counter}`;
    this.value = undefined;
    this.refusal = null;
    this.points = element("output", { class: "points", for: this.id });
    this.note = element("p", { class: "note", id: `${this.id}-note` });
    this.node = predictor.kind === "levels" ? this.levels() : this.number();
  }

  meaning() {
    const { image, meaning } = this.predictor;
    if (!image) return null;
    const own = meaning ? element("span", { lang: "en" }, ` ${meaning}`) : "";
    return element("p", { class: "meaning" }, this.t(`calculator.image.${image}`), own);
  }

  /** Whether `predict` takes a patient of whom this is not known: a score is made of the image, or there is none. */
  get maybeUnknown() { return !this.predictor.image || this.predictor.image === "biomarker"; }

  unknown() {
    if (!this.maybeUnknown) return null;
    this.box = element("input", { type: "checkbox", id: `${this.id}-unknown`, onchange: () => this.declare(this.box.checked) });
    return element("label", { class: "unknown" }, this.box, this.t("calculator.unknown"));
  }

  number() {
    const { predictor, t } = this;
    this.text = element("input", {
      type: "text", inputmode: "decimal", autocomplete: "off", id: this.id, "aria-describedby": this.note.id,
      oninput: () => this.typed(),
    });
    const units = predictor.units;
    this.unit = units.length > 1
      ? element("select", { class: "unit", "aria-label": t("calculator.unit_of", { label: predictor.label }), onchange: () => this.typed() },
          ...units.map((item) => element("option", { value: item.unit }, item.unit ? unitText(item.unit) : t("calculator.no_unit"))))
      : null;
    this.slider = predictor.low === undefined ? null : this.track();
    const shown = this.unit ?? element("span", { class: "unit" }, unitText(predictor.unit));
    return element("div", { class: "predictor empty", "data-name": predictor.name },
      element("div", { class: "head" }, element("label", { for: this.id }, predictor.label), this.points),
      element("div", { class: "entry" }, this.text, shown, this.unknown()), this.slider ?? "", this.note, this.meaning());
  }

  /** The slider, on the model's scale; arrows move it by a hundredth. */
  track() {
    const { predictor, t } = this;
    const [low, high] = [predictor.low, predictor.high].map((value) => scaled(predictor, value));
    const slider = element("input", {
      type: "range", min: low, max: high, step: "any",
      "aria-label": t("calculator.slider_of", { label: predictor.label }), oninput: () => this.slid(),
      onkeydown: (event) => {
        const move = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
        if (!move) return;
        event.preventDefault();
        slider.value = Number(slider.value) + (move * (high - low)) / 100;
        this.slid();
      },
    });
    slider.value = (low + high) / 2;
    return slider;
  }

  levels() {
    const { predictor, t } = this;
    const choices = predictor.levels.map((item) => ({ value: item.value, label: item.label }));
    if (this.maybeUnknown) choices.push({ value: "", label: t("calculator.unknown") });
    this.radios = choices.map((item) => element("input", {
      type: "radio", name: this.id, value: item.value, "aria-describedby": this.note.id,
      onchange: () => this.set(item.value === "" ? null : item.value),
    }));
    return element("div", { class: "predictor empty", "data-name": predictor.name, role: "radiogroup", "aria-labelledby": `${this.id}-label` },
      element("div", { class: "head" }, element("span", { class: "name", id: `${this.id}-label` }, predictor.label), this.points),
      element("div", { class: "choices" }, ...choices.map((item, i) => element("label", {}, this.radios[i], element("span", {}, item.label)))),
      this.note, this.meaning());
  }

  get chosenUnit() { return this.unit ? this.unit.value : undefined; }

  get factor() { return this.predictor.units.find((item) => item.unit === this.chosenUnit)?.factor ?? 1; }

  typed() {
    if (this.box) this.box.checked = false;
    if (this.text.value.trim() === "") return this.set(undefined);
    try {
      this.set(checkedValue(this.predictor, this.read(), this.chosenUnit));
      if (this.slider) this.slider.value = scaled(this.predictor, this.value);
    } catch (error) {
      if (!(error instanceof ValueRefused)) throw error;
      this.set(undefined, error);
    }
  }

  /** The number that is typed; a unit behind it is chosen, or refused where the value has no such unit. */
  read() {
    const parts = this.text.value.trim().match(/^([+-]?[\d.,]+)\s*([^\d\s.,].*)$/);
    if (!parts || /^e[+-]?\d+$/i.test(parts[2])) return readNumber(this.text.value);
    const plain = (unit) => unitText(unit).toLowerCase().replace(/\s/g, "");
    const { predictor } = this;
    const known = predictor.units.length ? predictor.units : [{ unit: predictor.unit }];
    const unit = known.find((item) => item.unit && plain(item.unit) === plain(parts[2]));
    if (!unit) throw new ValueRefused("unit");
    if (this.unit) this.unit.value = unit.unit;
    return readNumber(parts[1]);
  }

  /** The value as `predict` takes it; a number is told in the study's own unit. */
  get told() {
    if (this.value === null) return "NA";
    return this.predictor.kind === "levels" ? this.predictor.levels.find((item) => item.value === this.value).label : String(this.value);
  }

  slid() {
    if (this.box) this.box.checked = false;
    this.text.value = this.rounded(unscaled(this.predictor, Number(this.slider.value)) / this.factor);
    this.typed();
  }

  /** With the digits of a hundredth of the axis: what a slider says is no more exact, and never beyond its ends. */
  rounded(value) {
    const { low, high, log } = this.predictor;
    const size = log ? value : (high - low) / this.factor;
    const digits = Math.max(0, Math.min(2 - Math.floor(Math.log10(size)), 12));
    const near = Number(value.toFixed(digits));
    const inside = [near, near - 10 ** -digits, near + 10 ** -digits].map((item) => (log ? String(Number(item.toFixed(digits))) : item.toFixed(digits)))
      .find((text) => Number(text) * this.factor >= low && Number(text) * this.factor <= high);
    return inside ?? String(value);
  }

  declare(unknown) {
    if (unknown) this.text.value = "";
    this.set(unknown ? null : undefined);
  }

  /** Take a value from elsewhere (a number in the model's unit, a level, null). */
  take(value) {
    if (this.predictor.kind === "levels") {
      this.radios.forEach((radio) => { radio.checked = radio.value === (value ?? ""); });
      return this.set(value);
    }
    if (value === null) {
      if (this.box) this.box.checked = true;
      return this.declare(true);
    }
    if (this.unit) this.unit.selectedIndex = 0;
    this.text.value = String(value);
    return this.typed();
  }

  /** The median of training, or the most frequent level. */
  typical() {
    const { predictor } = this;
    this.take(predictor.kind === "levels" ? predictor.fill : Number(unscaled(predictor, predictor.fill).toPrecision(3)));
  }

  clear() {
    if (this.radios) this.radios.forEach((radio) => { radio.checked = false; });
    else {
      this.text.value = "";
      if (this.box) this.box.checked = false;
    }
    this.set(undefined);
  }

  set(value, refusal = null) {
    this.value = value;
    this.refusal = refusal;
    this.changed();
  }

  show(answer) {
    const { predictor, t } = this;
    const mark = answer && this.value !== undefined ? answer.marks[predictor.name] : "";
    let text = "";
    if (this.refusal) {
      const parts = { ...this.refusal.parts };
      for (const key of ["low", "high"]) if (key in parts) parts[key] = short(parts[key]);
      if ("unit" in parts) parts.unit = unitText(parts.unit);
      text = t(`calculator.error.${this.refusal.kind}`, parts);
    } else if (mark) {
      const range = mark === "rare" ? predictor.usual : [predictor.low, predictor.high];
      const [low, high] = predictor.kind === "levels" ? ["", ""] : range.map((value) => short(value / this.factor));
      text = t(`calculator.mark.${mark}`, { low, high, unit: unitText(this.chosenUnit ?? predictor.unit) });
    }
    this.note.textContent = text.replace(/\s+([).,:：。）])/g, "$1"); // a number without a unit
    this.note.className = `note ${this.refusal ? "error" : mark}`;
    this.node.classList.toggle("empty", this.value === undefined);
    this.node.classList.toggle("not-known", this.value === null);
    (this.text ?? this.radios[0]).setAttribute("aria-invalid", this.refusal ? "true" : "false");
    this.points.textContent = answer && answer.points && this.value !== undefined ? t("calculator.points_of", { points: answer.points[predictor.name].toFixed(0) }) : "";
    if (this.slider) this.slider.setAttribute("aria-valuetext", this.value === undefined ? t("calculator.not_entered") : `${this.text.value} ${unitText(this.chosenUnit ?? predictor.unit)}`);
  }
}

/** Axes of points, total and risks, and where the patient stands on them. */
class Axes {
  constructor(description, t, pulled) {
    this.description = description;
    this.t = t;
    this.pulled = pulled;
    this.node = element("div", { class: "axes" });
    this.answer = null;
    this.values = {};
    this.width = 0;
    new ResizeObserver(() => this.resize()).observe(this.node);
  }

  resize() {
    const width = Math.floor(this.node.clientWidth);
    if (width === this.width || width < 120) return;
    this.width = width;
    this.draw();
  }

  bands() {
    const { description, t } = this;
    const { scale, minimum, total_ticks: totals } = description.points;
    const start = description.intercept + Object.values(minimum).reduce((sum, value) => sum + value, 0);
    const least = totals[0], most = totals[totals.length - 1];
    const own = description.predictors.map((predictor) => ({
      kind: "own", predictor, label: `${predictor.label}${predictor.unit ? ` (${unitText(predictor.unit)})` : ""}`,
      ticks: this.ticksOf(predictor), least: 0, most: 100,
    }));
    const points = { kind: "points", label: t("calculator.axis_points"), least: 0, most: 100, ticks: [0, 20, 40, 60, 80, 100].map((at) => ({ at, label: String(at) })) };
    const total = { kind: "total", label: t("calculator.axis_total"), least, most, ticks: totals.map((at) => ({ at, label: short(at) })) };
    const risks = description.risks.map((risk, index) => ({
      kind: "risk", index, least, most,
      label: risk.time === null ? t("calculator.axis_risk") : t("calculator.axis_risk_by", { time: timeText(t, risk) }),
      ticks: RISK_TICKS.map((value) => ({ at: (predictorAt(risk, value) - start) * scale, label: `${Number((100 * value).toPrecision(3))}%` }))
        .filter((tick) => tick.at >= least && tick.at <= most),
    }));
    return [points, ...own, total, ...risks];
  }

  ticksOf(predictor) {
    if (predictor.kind === "number") return predictor.ticks.map((tick) => ({ at: tick.points, label: tick.label, value: Number(tick.value) }));
    const { scale, minimum } = this.description.points;
    return predictor.levels.filter((item) => item.known).map((item) => {
      const added = this.description.terms.filter((term) => term.predictor === predictor.name && term.level === item.value);
      return { at: (added.reduce((sum, term) => sum + term.coefficient, 0) - minimum[predictor.name]) * scale, label: item.label, value: item.value };
    });
  }

  draw() {
    const band = 46, left = 18, right = 18;
    const bands = this.bands();
    const height = bands.length * band + 6;
    const svg = shape("svg", { width: this.width, height, viewBox: `0 0 ${this.width} ${height}`, role: "img", "aria-label": this.t("calculator.picture") });
    this.marks = bands.map((item, row) => {
      const y = row * band + 24, length = this.width - left - right;
      const place = (at) => left + ((at - item.least) / (item.most - item.least)) * length;
      const group = shape("g", { class: `axis ${item.kind}` });
      group.append(shape("text", { x: left, y: y - 10, class: "name" }, item.label));
      const ends = item.ticks.map((tick) => place(tick.at));
      if (ends.length) group.append(shape("line", { x1: Math.min(...ends), x2: Math.max(...ends), y1: y, y2: y, class: "line" }));
      let free = -Infinity;
      for (const tick of [...item.ticks].sort((a, b) => a.at - b.at)) {
        const x = place(tick.at), half = 3.2 * breadth(tick.label) + 3;
        group.append(shape("line", { x1: x, x2: x, y1: y, y2: y + 4, class: "tick" }));
        if (x - half < free || x - half < -4 || x + half > this.width + 2) continue;
        group.append(shape("text", { x, y: y + 15, class: "label" }, tick.label));
        free = x + half;
      }
      const span = shape("line", { y1: y, y2: y, class: "span" });
      const value = shape("text", { y: y - 10, x: this.width - 4, class: "value" });
      const dot_ = shape("circle", { cy: y, r: 6, class: "mark" });
      group.append(span, dot_, value);
      if (item.kind === "own" && item.ticks.length > 1) this.makeDraggable(group, item, y, left, length);
      svg.append(group);
      return { item, place, span, value, dot: dot_, y };
    });
    this.guide = shape("line", { class: "guide" });
    svg.prepend(this.guide);
    this.node.replaceChildren(svg);
    this.move(this.answer, this.values);
  }

  /** A number's axis can be pulled: the nearest value on it; of levels the nearest level. */
  makeDraggable(group, item, y, left, length) {
    const area = shape("rect", { x: 0, y: y - 9, width: this.width, height: 28, class: "grip" });
    const pull = (event) => {
      const at = ((event.clientX - this.node.getBoundingClientRect().left - left) / length) * item.most;
      const sorted = [...item.ticks].sort((a, b) => a.at - b.at);
      if (item.predictor.kind === "levels") {
        const near = sorted.reduce((best, tick) => (Math.abs(tick.at - at) < Math.abs(best.at - at) ? tick : best));
        return this.pulled(item.predictor.name, near.value);
      }
      const inside = Math.max(sorted[0].at, Math.min(sorted[sorted.length - 1].at, at));
      const after = Math.max(1, sorted.findIndex((tick) => tick.at >= inside));
      const [a, b] = [sorted[after - 1], sorted[after]];
      const share = b.at > a.at ? (inside - a.at) / (b.at - a.at) : 0;
      const [from, to] = [a, b].map((tick) => scaled(item.predictor, tick.value));
      return this.pulled(item.predictor.name, from + share * (to - from));
    };
    area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); pull(event); });
    area.addEventListener("pointermove", (event) => { if (event.buttons) pull(event); });
    group.append(area);
  }

  move(answer, values) {
    this.answer = answer;
    this.values = values;
    if (!this.marks) return;
    const whole = answer && Object.values(values).every((value) => value !== undefined);
    for (const mark of this.marks) {
      const { item, place } = mark;
      let at = null, text = "", low = null, high = null;
      if (item.kind === "own" && answer && values[item.predictor.name] !== undefined) {
        at = answer.points[item.predictor.name];
        text = this.t("calculator.points_of", { points: at.toFixed(0) });
      } else if (whole && (item.kind === "total" || item.kind === "risk")) {
        at = answer.total;
        text = item.kind === "total" ? at.toFixed(0) : percent(answer.risks[item.index].risk);
        const risk = answer.risks[item.index];
        if (item.kind === "risk" && risk.low !== null) [low, high] = [risk.low, risk.high].map((value) => this.totalAt(item.index, value));
      }
      const held = (value) => Math.max(2, Math.min(this.width - 2, place(value)));
      mark.dot.style.display = at === null ? "none" : "";
      mark.span.style.display = low === null ? "none" : "";
      if (at !== null) mark.dot.setAttribute("cx", held(at));
      if (low !== null) {
        mark.span.setAttribute("x1", held(low));
        mark.span.setAttribute("x2", held(high));
      }
      mark.value.textContent = text;
    }
    const lower = this.marks.filter((mark) => mark.item.kind === "total" || mark.item.kind === "risk");
    this.guide.style.display = whole ? "" : "none";
    if (whole) {
      const x = Math.max(2, Math.min(this.width - 2, lower[0].place(answer.total)));
      for (const [name, value] of [["x1", x], ["x2", x], ["y1", lower[0].y], ["y2", lower[lower.length - 1].y]]) this.guide.setAttribute(name, value);
    }
  }

  totalAt(index, probability) {
    const { scale, minimum } = this.description.points;
    const start = this.description.intercept + Object.values(minimum).reduce((sum, value) => sum + value, 0);
    const inside = Math.max(1e-12, Math.min(1 - 1e-12, probability));
    return (predictorAt(this.description.risks[index], inside) - start) * scale;
  }
}

/** The large number: risks with limits on a scale from 0 to 100%, the cut-off, the group. */
class Answer {
  constructor(description, t) {
    this.description = description;
    this.t = t;
    this.node = element("section", { class: "answer", "aria-label": t("calculator.result") });
    this.spoken = element("p", { class: "spoken", "aria-live": "polite" });
  }

  show(answer, missing) {
    const { description, t } = this;
    if (!answer) {
      const text = missing.length ? t("calculator.waiting", { names: missing.join(t("calculator.comma")) }) : t("calculator.correct");
      this.node.replaceChildren(element("p", { class: "waiting" }, text));
      return this.say("");
    }
    const outside = description.predictors.filter((item) => answer.marks[item.name] === "outside").map((item) => item.label);
    const rows = answer.risks.map((item, index) => this.row(item, index === answer.risks.length - 1));
    const gap = answer.risks.every((item) => item.low === null);
    const reason = Object.values(answer.marks).some((mark) => mark === "unknown" || mark === "strange") ? "calculator.no_interval_unknown" : "calculator.no_interval";
    const cut = description.cutoff === null ? "" : t("calculator.cutoff", { cutoff: percent(description.cutoff) });
    this.node.replaceChildren(...rows,
      element("p", { class: `group ${answer.group}` }, element("strong", {}, t(`calculator.group.${answer.group}`)), cut ? ` ${cut}` : ""),
      outside.length ? element("p", { class: "gap" }, t("calculator.outside", { names: outside.join(t("calculator.comma")) })) : "",
      gap ? element("p", { class: "gap" }, t(reason)) : "",
      element("p", { class: "sum" }, t("calculator.total", { points: answer.total.toFixed(0) })));
    const last = answer.risks[answer.risks.length - 1];
    return this.say(`${this.title(last)}: ${percent(last.risk)}. ${t(`calculator.group.${answer.group}`)}`);
  }

  say(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { if (this.spoken.textContent !== text) this.spoken.textContent = text; }, 600);
  }

  title(item) {
    return item.time === null ? this.t("calculator.risk") : this.t("calculator.risk_by", { time: timeText(this.t, item) });
  }

  row(item, main) {
    const { description, t } = this;
    const bar = element("div", { class: "risk-bar" });
    const at = (value) => `${100 * value}%`;
    if (item.low !== null) {
      const limits = element("span", { class: "limits" });
      limits.style.left = at(item.low);
      limits.style.width = at(Math.max(item.high - item.low, 0.004));
      bar.append(limits);
    }
    if (main && description.cutoff !== null) {
      const cut = element("span", { class: "cut", title: t("calculator.cutoff", { cutoff: percent(description.cutoff) }) });
      cut.style.left = at(description.cutoff);
      bar.append(cut);
    }
    const here = element("span", { class: "here" });
    here.style.left = at(item.risk);
    bar.append(here);
    const level = Number((100 * description.level).toPrecision(3));
    const limits = item.low === null ? "" : t("calculator.interval", { level, low: percent(item.low), high: percent(item.high) });
    return element("div", { class: main ? "risk main" : "risk" },
      element("p", { class: "title" }, this.title(item)),
      element("p", { class: "number" }, element("span", { class: "percent", "data-risk": item.risk, "data-low": item.low, "data-high": item.high, "data-time": item.time }, percent(item.risk)), element("span", { class: "interval" }, limits)),
      bar, element("div", { class: "scale", "aria-hidden": "true" }, ...["0%", "50%", "100%"].map((text) => element("span", {}, text))));
  }
}

/** The fields of predictors, moved together; `changed(values)` is told once of every move. */
class Form {
  constructor(predictors, t, changed) {
    this.quiet = false;
    this.changed = changed;
    this.fields = predictors.map((predictor) => new Field(predictor, t, () => this.tell()));
    this.buttons = element("div", { class: "buttons" },
      element("button", { type: "button", class: "clear", onclick: () => this.all((field) => field.clear()) }, t("calculator.clear")));
    this.node = element("form", { class: "inputs", autocomplete: "off", "aria-label": t("calculator.values"), onsubmit: (event) => event.preventDefault() },
      element("h2", {}, t("calculator.values")), ...this.fields.map((field) => field.node), this.buttons);
  }

  tell() {
    if (!this.quiet) this.changed(this.values());
  }

  all(act) {
    this.quiet = true;
    this.fields.forEach(act);
    this.quiet = false;
    this.tell();
  }

  /** By predictor: a number in the model's unit, a level, null (nobody knows it), undefined (not entered). */
  values() { return Object.fromEntries(this.fields.map((field) => [field.predictor.name, field.value])); }

  /** Clinical values that were entered, as `predict` takes them; scores of the image are not among them. */
  labs() {
    const told = this.fields.filter((field) => field.value !== undefined && field.maybeUnknown);
    return Object.fromEntries(told.map((field) => [field.predictor.name, field.told]));
  }

  take(given) {
    this.all((field) => { if (given[field.predictor.name] !== undefined) field.take(given[field.predictor.name]); });
  }

  /** Labels of what is not entered. */
  missing() { return this.fields.filter((field) => field.value === undefined && !field.refusal).map((field) => field.predictor.label); }
}

/** Fields alone, of a model that has no nomogram; as `mountNomogram`. */
export function mountFields(root, predictors, { t }) {
  const form = new Form(predictors, t, () => form.fields.forEach((field) => field.show(null)));
  root.replaceChildren(element("div", { class: "nomogram" }, form.node));
  form.tell();
  return form;
}

/**
 * The form, the answer and the axes of a description, in `root`.
 *
 * `t` gives the words (`translator`); `changed(answer, values)` is told of every move. Returns the form: `values()`,
 * `labs()`, `take(values)`, `missing()`.
 */
export function mountNomogram(root, description, { t, changed = () => {} }) {
  const form = new Form(description.predictors, t, (read) => {
    const found = evaluate(description, read);
    const answer = form.fields.every((field) => field.value !== undefined) ? found : null;
    for (const field of form.fields) field.show(found);
    axes.move(found, read);
    shown.show(answer, form.missing());
    changed(answer, read);
  });
  const axes = new Axes(description, t, (name, value) => {
    const field = form.fields.find((item) => item.predictor.name === name);
    if (typeof value === "string") return field.take(value);
    field.slider.value = value;
    return field.slid();
  });
  const shown = new Answer(description, t);
  form.buttons.prepend(element("button", { type: "button", class: "example", onclick: () => form.all((field) => field.typical()) }, t("calculator.example")));
  root.replaceChildren(
    element("div", { class: "nomogram" }, form.node,
      element("div", { class: "outcome" }, shown.node, shown.spoken,
        element("figure", { class: "drawing" }, element("figcaption", {}, t("calculator.drawing")), axes.node))));
  form.tell();
  return form;
}
