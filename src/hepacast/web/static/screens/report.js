// The report: its documents in a frame without scripts, and everything to download.

import { api, el, fill, language, put, spoken, t } from "../lib.js";

async function render(body, { study, args }) {
  const found = await api(`/studies/${study}/report`);
  const names = Object.keys(found.documents);
  if (!names.length) {
    put(body, el("p", {}, t("report.none")), el("a", { class: "button main", href: `#/study/${study}/run` }, t("report.to_run")));
    return;
  }
  const at = names.includes(args[0]) ? args[0] : names[0];
  const frame = el("iframe", { class: "report", title: t(`report.doc_${at}`), sandbox: "allow-popups", src: `/api/studies/${study}/report/${at}.html` });
  const link = (what, text) => el("a", { class: "button", href: `/api/studies/${study}/download/${what}`, download: what }, text);
  put(body,
    el("div", { class: "row" }, el("nav", { "aria-label": t("report.documents") },
      names.map((name) => el("a", { href: `#/study/${study}/report/${name}`, "aria-current": name === at ? "page" : null }, t(`report.doc_${name}`))))),
    el("div", { class: "row downloads", role: "group", "aria-label": t("report.downloads") }, el("span", {}, t("report.downloads")),
      found.documents[at].filter((kind) => kind !== "html").map((kind) => link(`${at}.${kind}`, kind.toUpperCase())),
      found.folders.map((name) => link(`${name}.zip`, t(`report.${name}`))),
      found.model ? link("model.hepacast", t("report.model")) : null),
    found.model_note ? el("p", { class: "warning", role: "note" }, spoken(found.model_note)) : null,
    language === "en" ? null : el("p", { class: "hint" }, t("common.in_english")),
    frame);
}

export default { name: "report", study: true, render };
