// The run of a study: the plan before it, every stage with its time while it runs, stop and go on.

import { act, api, announce, el, fill, problem, put, spoken, t, tr } from "../lib.js";

/** Seconds as a person says them. */
export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "";
  if (seconds < 90) return t("run.seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("run.minutes", { n: Math.round(seconds / 60) });
  return t("run.hours", { n: (seconds / 3600).toFixed(1) });
}
const memory = (bytes) => (bytes ? (bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`) : "");

const MARK = { done: "✓", kept: "✓", running: "▶", waiting: "·" };

function stageRow(stage, now) {
  const share = stage.state === "running" && now.total ? now.done / now.total : null;
  const doing = stage.state === "running" && now.label
    ? el("div", { class: "hint" }, tr(now.label), now.total ? (now.counted ? ` · ${t("run.of", { done: now.done, total: now.total })}` : ` · ${Math.round(100 * share)} %`) : "") : null;
  const time = stage.state === "done" ? duration(stage.seconds) : stage.state === "waiting" || stage.state === "running" ? t("run.about", { time: duration(stage.expected ?? stage.seconds) }) : "";
  return el("li", { class: `stage ${stage.state}`, "aria-current": stage.state === "running" ? "step" : null },
    el("span", { class: "mark", "aria-hidden": "true" }, MARK[stage.state]),
    el("div", { class: "what" }, el("strong", {}, stageTitle(stage)), doing,
      stage.state === "running" ? el("progress", share === null ? { "aria-label": stage.title } : { value: share, max: 1, "aria-label": stage.title }) : null),
    el("span", { class: "state" }, t(`run.state_${stage.state}`)), el("span", { class: "time" }, time));
}
const stageTitle = (stage) => { const key = `run.stage_${stage.name}`; return t(key) === key ? stage.title : t(key); };

async function render(body, { study, me }) {
  const verdict = el("div", { role: "status", "aria-live": "polite" });
  const buttons = el("div", { class: "row" });
  const notes = el("div");
  const list = el("ol", { class: "stages" });
  const log = el("div");
  const stages = el("section", { class: "panel", "aria-label": t("run.stages") }, list);
  put(body, verdict, buttons, notes, stages, log);
  let shown = null;
  let plan = null;

  const start = el("button", { class: "main", onclick: () => act(start, notes, async () => show(await api(`/studies/${study}/run`, { method: "POST", body: {} }))) });
  const stop = el("button", { class: "danger", onclick: () => act(stop, notes, async () => {
    await api(`/studies/${study}/stop`, { method: "POST" });
    stop.textContent = t("run.stopping");
  }) });

  async function showPlan() {
    plan = await api(`/studies/${study}/plan`);
    const todo = plan.stages.filter((stage) => !stage.kept);
    const seconds = todo.reduce((sum, stage) => sum + stage.seconds, 0);
    stages.hidden = false;
    const most = Math.max(0, ...todo.map((stage) => stage.memory));
    fill(verdict, el("div", { class: todo.length ? "box" : "box good" }, todo.length
      ? t("run.plan", { time: duration(seconds), memory: memory(most) || "–" }) : t("run.nothing")));
    fill(list, plan.stages.map((stage) => stageRow({ ...stage, expected: stage.seconds, state: stage.kept ? "kept" : "waiting" }, {})));
    return todo.length;
  }

  async function show(now) {
    const running = now.state === "running" || now.state === "starting";
    const before = shown;
    shown = now.state;
    stop.textContent = running && before === shown && stop.textContent === t("run.stopping") ? stop.textContent : t("run.stop");
    start.textContent = t(now.state === "stopped" || now.state === "failed" ? "run.resume" : "run.start");
    fill(buttons, me.role !== "owner" ? null : running ? stop : start,
      now.report && !running ? el("a", { class: "button", href: `#/study/${study}/report` }, t("run.read_report")) : null);
    fill(log, now.state === "starting" && now.message ? el("pre", { lang: "en" }, now.message) : null);
    if (now.state === "none") { await showPlan(); return; }
    if (before && before !== now.state) announce(t(`run.now_${now.state}`));
    fill(verdict, el("div", { class: `box ${{ done: "good", failed: "bad", stopped: "doubt" }[now.state] || ""}`, role: now.state === "failed" ? "alert" : null },
      el("strong", {}, t(`run.now_${now.state}`)),
      now.state === "running" && now.left ? ` ${t("run.left", { time: duration(now.left) })}` : "",
      now.state === "failed" && now.message ? el("pre", {}, spoken(now.message)) : null));
    stages.hidden = !now.stages?.length;
    if (now.stages?.length) fill(list, now.stages.map((stage) => stageRow(stage, now)));
    if (["done", "stopped", "failed"].includes(now.state) && me.role === "owner") {
      // What was changed since (settings, reviews) is told by the plan.
      try {
        plan = await api(`/studies/${study}/plan`);
        const todo = plan.stages.filter((stage) => !stage.kept);
        if (now.state === "done" && !todo.length) start.remove();
        if (now.state === "done" && todo.length) put(verdict, el("div", { class: "box doubt" }, t("run.changed", { n: todo.length })));
      } catch (error) {
        // What stopped the run stands above.
        if (now.state !== "failed") fill(notes, problem(error));
      }
    }
  }

  await show(await api(`/studies/${study}/progress`));
  const source = new EventSource(`/api/studies/${study}/events`);
  source.onmessage = (event) => show(JSON.parse(event.data));
  return () => source.close();
}

export default { name: "run", study: true, render };
