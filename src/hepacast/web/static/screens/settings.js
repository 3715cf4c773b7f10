// Language; for the owner also the folders, the users and the audit trail.

import { api, el, field, language, loadMessages, problem, put, select, t, table } from "../lib.js";

const panel = (title, ...inner) => el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), inner);

async function audit() {
  try {
    const found = await api("/settings/audit");
    return [el("p", { class: "hint" }, t("settings.sealed", { n: found.total, file: found.file })),
      table(t("settings.audit"), ["time", "user", "action", "study", "patient"].map((key) => t(`settings.${key}`)),
        found.entries.map((item) => [item.time.slice(0, 19).replace("T", " "), `${item.user} (${t(`roles.${item.role}`)})`, item.action, item.study, item.patient]))];
  } catch (error) { return problem(error); }
}

async function render(body, { me }) {
  const languages = await loadMessages();
  put(body, panel(t("settings.language"), field(t("settings.language"), select(Object.entries(languages), language,
    (code) => window.dispatchEvent(new CustomEvent("language", { detail: code }))))));
  if (me.role !== "owner") return;
  const found = await api("/settings");
  put(body, panel(t("settings.folders"), el("ul", { class: "paths" }, found.folders.map((path) => el("li", {}, path))), el("p", { class: "hint" }, t("settings.folders_hint"))),
    panel(t("settings.users"), found.users.length
      ? el("ul", { class: "paths" }, found.users.map((item) => el("li", {}, `${item.name}: ${t(`roles.${item.role}`)}`)))
      : el("p", {}, t("settings.local")), el("p", { class: "hint" }, t(found.secure ? "settings.by_tls" : "settings.this_machine"))),
    panel(t("settings.audit"), await audit()));
}

export default { name: "settings", render };
