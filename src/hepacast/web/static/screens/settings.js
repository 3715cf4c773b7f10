import { el, language, loadMessages, put, select, t, field } from "../lib.js";

async function render(body) {
  const languages = await loadMessages();
  put(body, field(t("settings.language"), select(Object.entries(languages), language,
    (code) => window.dispatchEvent(new CustomEvent("language", { detail: code })))));
}

export default { name: "settings", render };
