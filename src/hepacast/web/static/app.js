// The shell: who is signed in, where we are (`#/screen` or `#/study/CODE/screen`), navigation, titles, focus.

import { act, api, announce, el, field, fill, known, language, loadMessages, problem, t } from "./lib.js";
import { screens } from "./screens.js";

const main = document.getElementById("main");
let me = null;
let leave = null; // what the last screen wants done before it goes
let turn = 0; // a screen that is late must not write over the next

/** Where the address points: screen, study, and further words. */
function place() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  if (parts[0] === "study") return { study: parts[1], name: parts[2] || "cohort", args: parts.slice(3) };
  return { study: null, name: parts[0] || "start", args: parts.slice(1) };
}

function navigation(here) {
  const link = (screen, href) => el("a", { href, "aria-current": screen.name === here.name ? "page" : null }, t(`${screen.name}.nav`));
  const global = screens.filter((screen) => !screen.study && (!screen.owner || me?.role === "owner")).map((screen) => link(screen, `#/${screen.name}`));
  const inStudy = here.study
    ? screens.filter((screen) => screen.study).map((screen) => link(screen, `#/study/${here.study}/${screen.name}`)) : [];
  fill(document.getElementById("header"),
    el("div", { class: "bar" },
      el("a", { class: "brand", href: "#/start" }, el("img", { src: "/static/icon.svg", alt: "", width: "26", height: "26" }), "hepacast"),
      el("nav", { "aria-label": t("common.navigation") }, global),
      el("div", { class: "who" }, me ? [el("span", {}, `${me.name} · ${t(`roles.${me.role}`)}`),
        el("button", { type: "button", class: "quiet", onclick: signOut }, t("common.sign_out"))] : null)),
    inStudy.length ? el("nav", { class: "steps", "aria-label": t("common.study_navigation") }, inStudy) : null);
}

async function show() {
  const mine = ++turn;
  leave?.();
  leave = null;
  const here = place();
  const screen = screens.find((item) => item.name === here.name && Boolean(item.study) === Boolean(here.study)) || screens[0];
  navigation(here);
  document.title = `${t(`${screen.name}.title`)} · hepacast`;
  document.getElementById("skip").textContent = t("common.skip");
  document.getElementById("footer").textContent = t("common.notice");
  const body = el("div", { class: "screen" });
  fill(main, el("h1", { tabindex: "-1" }, t(`${screen.name}.title`)), body);
  main.setAttribute("aria-busy", "true");
  main.querySelector("h1").focus({ preventScroll: true });
  scrollTo(0, 0);
  announce(t(`${screen.name}.title`));
  try {
    const cleanup = await screen.render(body, { ...here, me, refresh: show });
    if (mine !== turn) cleanup?.();
    else leave = cleanup || null;
  } catch (error) {
    if (mine === turn && error.status !== 401) body.append(problem(error));
  } finally {
    if (mine === turn) main.removeAttribute("aria-busy");
  }
}

async function signOut() {
  await api("/leave", { method: "POST" });
  me = null;
  askToken();
}

function askToken(error = null) {
  turn += 1;
  leave?.();
  leave = null;
  navigation({ name: "", study: null });
  document.title = `${t("enter.title")} · hepacast`;
  const input = el("input", { type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const notes = el("div", {}, error ? problem(error) : null);
  const button = el("button", { class: "main" }, t("enter.button"));
  const form = el("form", { class: "narrow" }, el("p", {}, t("enter.text")), field(t("enter.token"), input), button, notes);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(button, notes, async () => { await enter(input.value.trim()); await show(); });
  });
  fill(main, el("h1", { tabindex: "-1" }, t("enter.title")), form);
  input.focus();
}

async function enter(token) {
  await api("/enter", { method: "POST", body: { token } });
  me = await api("/me");
}

/** A token in the address (`#token=...`) is used and taken out of the address and the history. */
async function start() {
  await loadMessages();
  const token = location.hash.match(/^#token=(.+)$/)?.[1];
  if (token) history.replaceState(null, "", "#/start");
  let refused = null;
  me = await api("/me");
  if (!me.name) me = null;
  if (!me && token) {
    try { await enter(token); } catch (error) { refused = error; }
  }
  if (me) await show();
  else askToken(refused);
}

/** Another language, at once. */
export async function changeLanguage(code) {
  await loadMessages(code);
  await show();
}
window.addEventListener("language", (event) => changeLanguage(event.detail));
window.addEventListener("hashchange", () => { if (me && !location.hash.startsWith("#main")) show(); });
window.addEventListener("signed-out", () => { if (me) { me = null; askToken(); } });
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
start().catch((error) => fill(main, problem(error)));
