import { api, el, put, t } from "../lib.js";

async function render(body) {
  const studies = await api("/studies");
  put(body, studies.length ? el("ul", { class: "cards" }, studies.map((study) => el("li", { class: "card" },
    el("h2", {}, study.name), el("p", { class: "hint" }, study.folder)))) : el("p", {}, t("start.none")));
}

export default { name: "start", render };
