// Language; for the owner also folders, users, PACS, the node's file and the audit trail.

import { act, announce, api, el, field, fill, language, loadMessages, problem, put, select, t, table, tr } from "../lib.js";

const panel = (title, ...inner) => el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), inner);

async function audit() {
  try {
    const found = await api("/settings/audit");
    return [el("p", { class: "hint" }, t("settings.sealed", { n: found.total, file: found.file })),
      table(t("settings.audit"), ["time", "user", "action", "study", "patient"].map((key) => t(`settings.${key}`)),
        found.entries.map((item) => [item.time.slice(0, 19).replace("T", " "), `${item.user} (${t(`roles.${item.role}`)})`, tr(item.action), item.study, item.patient]))];
  } catch (error) { return problem(error); }
}

/** The PACS that results may be sent to: each with its address, our AE title, what it gets, and a test. */
async function pacs() {
  const found = await api("/settings/pacs");
  const notes = el("div", { "aria-live": "polite" });
  const list = el("div", {});
  const kept = found.connections;
  const save = async (connections) => {
    await api("/settings/pacs", { method: "PUT", body: { connections } });
    kept.splice(0, kept.length, ...connections);
    show();
  };
  const row = (item) => {
    const test = el("button", { type: "button", "aria-label": `${t("settings.pacs_test")}: ${item.name}`, onclick: () => act(test, notes, async () => {
      await api(`/settings/pacs/${encodeURIComponent(item.name)}/echo`, { method: "POST" });
      put(notes, el("p", { class: "box good", role: "status" }, t("settings.pacs_answers", { name: item.name })));
    }) }, t("settings.pacs_test"));
    const remove = el("button", { type: "button", class: "danger", "aria-label": `${t("settings.pacs_remove")}: ${item.name}`,
      onclick: () => act(remove, notes, () => save(kept.filter((other) => other !== item))) }, t("settings.pacs_remove"));
    return [item.name, item.address, item.calling, item.results.map((one) => t(`settings.result_${one}`)).join(", "), el("div", { class: "row" }, test, remove)];
  };
  const show = () => fill(list, kept.length
    ? table(t("settings.pacs"), ["name", "address", "calling", "sent", "test"].map((key) => t(`settings.pacs_${key}`)), kept.map(row))
    : el("p", {}, t("settings.pacs_none")));
  const input = (attributes) => el("input", { autocomplete: "off", spellcheck: "false", required: true, ...attributes });
  const name = input({ maxlength: "40" }), address = input({ placeholder: "https://…/dicom-web" }), calling = input({ maxlength: "16", value: found.calling });
  const boxes = found.results.map((one) => el("label", { class: "inline" }, el("input", { type: "checkbox", value: one, checked: true }), t(`settings.result_${one}`)));
  const add = el("button", { type: "submit" }, t("settings.pacs_add"));
  const form = el("form", {}, el("div", { class: "form" }, field(t("settings.pacs_name"), name), field(t("settings.pacs_address"), address, { hint: t("settings.pacs_address_hint") }),
    field(t("settings.pacs_calling"), calling)), el("fieldset", {}, el("legend", {}, t("settings.pacs_sent")), el("div", { class: "row" }, boxes)), add);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(add, notes, async () => {
      const results = boxes.map((box) => box.querySelector("input")).filter((box) => box.checked).map((box) => box.value);
      await save([...kept, { name: name.value.trim(), address: address.value.trim(), calling: calling.value.trim(), results }]);
      announce(t("settings.pacs_added", { name: name.value }));
      name.value = "";
      address.value = "";
    });
  });
  show();
  return [el("p", { class: "hint" }, t("settings.pacs_hint")), list, el("details", { open: !kept.length }, el("summary", {}, t("settings.pacs_new")), form), notes, node(found.node)];
}

/** Which node the page shows. */
function node(path) {
  const notes = el("div", { "aria-live": "polite" });
  const told = el("p", {}, path ? [path, " ", el("a", { href: "#/node" }, t("settings.node_open"))] : t("settings.node_none"));
  const input = el("input", { value: path, autocomplete: "off", spellcheck: "false" });
  const take = el("button", { type: "button", onclick: () => act(take, notes, async () => {
    await api("/settings/node", { method: "PUT", body: { path: input.value.trim() } });
    fill(told, input.value.trim() ? [input.value.trim(), " ", el("a", { href: "#/node" }, t("settings.node_open"))] : t("settings.node_none"));
  }) }, t("settings.node_take"));
  return [el("h3", {}, t("settings.node")), told, el("details", {}, el("summary", {}, t("settings.node_choose")), field(t("settings.node_file"), input, { hint: t("settings.node_hint") }), take), notes];
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
    panel(t("settings.pacs"), await pacs()),
    panel(t("settings.audit"), await audit()));
}

export default { name: "settings", render };
