// The node beside the PACS: where it listens, its queue, what was given up, which model is pinned.

import { act, announce, api, el, fill, put, spoken, t, table } from "../lib.js";

const EVERY = 2000; // milliseconds between two looks at a node that is to stop
const TAG = { dead: "bad", confirmed: "good", sent: "good", running: "", received: "", complete: "", made: "" };
const when = (text) => (text ? text.slice(0, 16).replace("T", " ") : "");
const hours = (n) => (n >= 48 ? t("node.days", { n: n / 24 }) : t("node.hours", { n }));

function facts(found) {
  const rows = [
    ["listens", `${found.listen.aet} · ${found.listen.host}:${found.listen.port}`],
    ["callers", Object.entries(found.listen.callers).map(([aet, host]) => `${aet} (${host})`).join(", ")],
    ["send_to", found.send_to.join(", ")],
    ["model", `${found.model.bundle.split(/[\\/]/).pop()} · ${found.model.identity}`],
    ["deleted_after", t("node.deleted_rule", { kept: hours(found.keep_hours), failed: hours(found.keep_failed_hours) })],
    ["tried", t("node.tried_rule", { tries: found.tries, sends: found.send_tries })],
    ["file", found.file],
  ];
  return [el("p", { class: `box ${found.running ? "good" : "doubt"}`, role: "status" }, t(found.running ? "node.is_running" : "node.is_down")),
    el("dl", { class: "facts" }, rows.map(([key, text]) => [el("dt", {}, t(`node.${key}`)), el("dd", {}, text)]))];
}

/** Start the node, or ask it to stop: it ends when the step is done that it is at. */
function power(found, again, notes) {
  const what = found.running ? "stop" : "start";
  const button = el("button", { type: "button", class: found.running ? "danger" : "main", onclick: () => act(button, notes, async () => {
    await api(`/node/${what}`, { method: "POST" });
    announce(t(`node.${what}_asked`));
    await again();
  }) }, t(`node.${what}`));
  return el("div", { class: "row" }, found.running && found.stopping ? el("p", { class: "hint", role: "status" }, t("node.stop_asked")) : button);
}

function queue(found, again, notes) {
  const retry = (keys, text, label) => {
    const button = el("button", { type: "button", "aria-label": label, onclick: () => act(button, notes, async () => {
      await api("/node/retry", { method: "POST", body: { keys } });
      announce(t("node.retried"));
      await again();
    }) }, text);
    return button;
  };
  const rows = found.studies.map((item) => [item.key.slice(0, 10), el("span", { class: `tag ${TAG[item.state]}` }, t(`node.state_${item.state}`)), String(item.attempts),
    spoken(item.reason.split("\n")[0], { class: "said" }), when(item.again_at), item.deleted ? t("node.gone") : when(item.delete_at), item.model.slice(0, 12),
    item.state === "dead" && !item.deleted ? retry([item.key], t("node.retry"), `${t("node.retry")}: ${item.key.slice(0, 10)}`) : ""]);
  const dead = found.studies.filter((item) => item.state === "dead" && !item.deleted).length;
  return [found.studies.length ? table(t("node.queue", { n: found.total }), ["key", "state", "attempts", "reason", "again", "deleted", "made_by", "action"].map((key) => t(`node.col_${key}`)), rows) : el("p", {}, t("node.empty")),
    dead > 1 ? retry(["all"], t("node.retry_all", { n: dead }), null) : null,
    found.quarantined.length ? table(t("node.quarantine"), ["key", "reason", "deleted"].map((key) => t(`node.col_${key}`)),
      found.quarantined.map((item) => [item.name.slice(0, 10), spoken(item.reason), when(item.deleted)])) : null];
}

function models(list, again, notes) {
  const row = (item) => {
    const pin = el("button", { type: "button", "aria-label": `${t(item.until ? "node.roll_back" : "node.pin")}: ${item.identity.slice(0, 12)}`, onclick: () => act(pin, notes, async () => {
      await api("/node/pin", { method: "POST", body: { identity: item.identity } });
      await again();
      put(notes, el("p", { class: "box doubt", role: "status" }, t("node.restart")));
    }) }, t(item.until ? "node.roll_back" : "node.pin"));
    const study = item.held ? el("span", {}, item.study, el("span", { class: "hint", lang: "en" }, ` ${item.held}`)) : item.study;
    return [study, item.identity.slice(0, 16), item.place, when(item.until), item.pinned ? el("span", { class: "tag good" }, t("node.pinned")) : item.fits ? pin : t("node.other_sequences")];
  };
  return table(t("node.models"), ["study", "identity", "bundle", "until", "action"].map((key) => t(`node.col_${key}`)), list.map(row));
}

async function render(body) {
  const notes = el("div", { "aria-live": "polite" });
  const [about, list, known] = [el("section", { class: "panel", "aria-label": t("node.title") }), el("section", { class: "panel", "aria-label": t("node.queue_of") }), el("section", { class: "panel", "aria-label": t("node.models") })];
  let timer = null, gone = false;
  const show = async () => {
    const found = await api("/node");
    if (!found.file) {
      fill(body, el("p", {}, t("node.none")), el("a", { class: "button main", href: "#/settings" }, t("node.to_settings")));
      return;
    }
    fill(about, facts(found), power(found, show, notes));
    clearTimeout(timer);
    if (found.running && found.stopping && !gone) timer = setTimeout(() => { if (!gone) show().catch(() => {}); }, EVERY);
    const again = el("button", { type: "button", onclick: () => act(again, notes, show) }, t("node.look_again"));
    fill(list, queue(found, show, notes), el("div", { class: "row" }, again));
    fill(known, el("p", { class: "hint" }, t("node.pin_hint")), models(await api("/node/models"), show, notes));
  };
  put(body, notes, about, list, known);
  await show();
  return () => { gone = true; clearTimeout(timer); };
}

export default { name: "node", owner: true, render };
