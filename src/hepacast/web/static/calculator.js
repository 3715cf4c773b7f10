// What a reader must know of a model, and the page that holds a calculator alone.

import { element, mountNomogram, translator } from "./nomogram.js";

/** What a bundle says whose authors have said nothing. */
const UNSTATED = "Not stated by the study's authors.";

const WHERE = ["validation", "external", "nested"];

function validationText(t, row, level) {
  const limits = row.low === null || row.high === null ? "" : t("calculator.limits", { level: Number((100 * level).toPrecision(3)), low: row.low.toFixed(2), high: row.high.toFixed(2) });
  const parts = [`${row.measure} ${row.value === null ? t("calculator.not_estimated") : row.value.toFixed(2)}${limits}`];
  if (row.slope[0] !== null) parts.push(t("calculator.slope", { value: row.slope[0].toFixed(2) }));
  if (row.observed_expected[0] !== null) parts.push(t("calculator.observed_expected", { value: row.observed_expected[0].toFixed(2) }));
  return t("calculator.validated_in", { set: setText(t, row.set), n: row.n, events: row.events, numbers: parts.join(t("calculator.comma")) });
}

const setText = (t, name) => (WHERE.includes(name) ? t(`calculator.set.${name}`) : name);

function benefitText(t, row) {
  const ranges = row.ranges.map(([low, high]) => (low === high ? `${Math.round(100 * low)}%` : `${Math.round(100 * low)}–${Math.round(100 * high)}%`));
  const key = ranges.length ? "calculator.benefit" : "calculator.no_benefit";
  return t(key, { set: setText(t, row.set), ranges: ranges.join(t("calculator.comma")) });
}

/** What a reader must know of the model: validation, limits, population, identity; sections in `root`. */
export function mountAbout(root, description, { t }) {
  const { about, model } = description;
  const list = (items) => element("ul", {}, ...items.map((item) => element("li", {}, item)));
  const validated = about.validated.map((row) => validationText(t, row, about.validated_level));
  const benefit = about.net_benefit ? about.net_benefit.map((row) => benefitText(t, row)) : [t("calculator.benefit_not_told")];
  const sets = Object.entries(about.population?.sets ?? {}).map(([name, item]) => t("calculator.patients_of", { set: setNameOf(t, name), n: item.n, events: item.events ?? item.n_events ?? "?" }));
  const image = description.predictors.filter((item) => item.image);
  const rules = [
    t("calculator.rule.range"), t("calculator.rule.unknown"), t("calculator.rule.interval"),
    ...(image.length ? [t("calculator.rule.image", { names: image.map((item) => item.label).join(", ") })] : []),
  ];
  const part = (key, ...children) => element("section", {}, element("h2", {}, t(`calculator.about.${key}`)), ...children);
  root.replaceChildren(
    part("validation", list(validated.length ? validated : [t("calculator.validation_not_told")]), list(benefit),
      ...(about.updates.length ? [element("div", { class: "cautions", lang: "en" }, ...about.updates.map((text) => element("p", {}, text)))] : []),
      ...(about.cautions.length ? [element("div", { class: "cautions", lang: "en" }, ...about.cautions.map((text) => element("p", {}, text)))] : [])),
    part("limits", element("p", { class: "notice" }, t("calculator.notice")),
      element("p", {}, t("calculator.intended_use"), about.intended_use === UNSTATED ? t("calculator.unstated") : element("span", { lang: "en" }, about.intended_use)), list(rules)),
    part("population",
      element("p", {}, t("calculator.trained", { n: model.n, events: model.events })), list(sets),
      about.outcome.definition ? element("p", { lang: "en" }, about.outcome.definition) : ""),
    part("identity", element("dl", {}, ...[
      ["study", about.study], ["model", `${model.name} (${t(`calculator.method.${methodOf(model)}`)})`],
      ["hash", about.identity], ["signature", signatureText(t, about.signed)],
      ["version", about.made_by ? `hepacast ${about.made_by}` : "?"], ["written", `hepacast ${about.hepacast}`],
    ].flatMap(([key, text]) => [element("dt", {}, t(`calculator.identity.${key}`)), element("dd", {}, text)]))));
}

/** Who has signed the model's file, as the computer knew that wrote this page. */
export const signatureText = (t, signed) => t(`calculator.signed.${signed.state}`, { name: signed.name, key: signed.key });

const setNameOf = (t, name) => (["training", "validation", "external"].includes(name) ? t(`calculator.patients.${name}`) : name);

function methodOf(model) {
  if (model.kind === "cox") return model.method === "fine-gray" ? "fine-gray" : "cox";
  return "logistic";
}

/** Start a page that holds its description and its messages; the language is the browser's until another is chosen. */
export function startPage() {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const description = read("description"), catalogue = read("messages");
  const languages = Object.keys(catalogue);
  const start = navigator.languages.map((name) => name.slice(0, 2)).find((name) => languages.includes(name)) ?? languages[0];
  let mounted = null;
  const show = (language) => {
    const t = translator(catalogue[language]);
    const kept = mounted ? mounted.values() : {};
    document.documentElement.lang = language;
    document.title = `${description.about.outcome.name}: ${t("calculator.title")}`;
    for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
    const choice = document.getElementById("languages");
    choice.setAttribute("aria-label", t("calculator.languages"));
    choice.replaceChildren(...languages.map((name) => element("button", {
      type: "button", lang: name, "aria-pressed": String(name === language), onclick: () => show(name),
    }, catalogue[name].language)));
    mounted = mountNomogram(document.getElementById("nomogram"), description, { t });
    mountAbout(document.getElementById("about"), description, { t });
    mounted.take(kept);
  };
  document.getElementById("print").addEventListener("click", () => window.print());
  show(start);
  return () => mounted;
}
