// Masks judged one after the other: the list with the most doubt first, the slices, the decision.

import { act, announce, api, dropZone, el, field, fill, problem, put, said, select, t, tr } from "../lib.js";
import { Viewer } from "../viewer.js";

const TAG = { good: "good", corrected: "", exclude: "bad" };
const KEYS = [["↑ ↓", "slice"], ["PgUp PgDn", "five"], ["[ ]", "marked"], ["O", "overlay"], ["W", "window"], ["R", "ruler"], ["+ −", "zoom"], ["G", "good"], ["C", "correct"], ["E", "exclude"], ["N", "next"]];

async function list(body, context) {
  const unblinded = context.args[0] === "unblinded";
  const found = await api(`/studies/${context.study}/masks${unblinded ? "?unblinded=true" : ""}`);
  const total = found.patients.length;
  put(body, el("p", {}, t("masks.done", { done: found.reviewed, total })),
    el("progress", { value: found.reviewed, max: total, "aria-label": t("masks.done", { done: found.reviewed, total }) }),
    el("p", { class: unblinded ? "box doubt" : "hint" }, t(unblinded ? "masks.unblinded" : "masks.blind"), " ",
      context.me.role === "reader" ? null : el("a", { href: `#/study/${context.study}/masks${unblinded ? "" : "/unblinded"}` }, t(unblinded ? "masks.blind_again" : "masks.unblind"))));
  const rows = found.patients.map((row) => el("tr", {},
    el("th", { scope: "row" }, el("a", { href: `#/study/${context.study}/masks/${row.code}` }, row.patient)),
    el("td", {}, row.doubts.length ? row.doubts.map((item) => el("p", { class: "finding" }, said("doubt", item.code, item.text))) : el("span", { class: "hint" }, t("masks.no_doubt"))),
    el("td", { class: "hint" }, row.source === "given" ? t("masks.source_given") : tr(row.source)),
    unblinded ? [el("td", {}, row.outcome ?? ""), el("td", {}, row.set ?? "")] : null,
    el("td", {}, row.decision ? [el("span", { class: `tag ${TAG[row.decision]}` }, t(`masks.is_${row.decision}`)), row.reason ? el("p", { class: "hint" }, row.reason) : null, el("p", { class: "hint" }, row.reviewer)] : null)));
  put(body, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("masks.list") }, el("table", {},
    el("caption", {}, t("masks.list")), el("thead", {}, el("tr", {}, ["patient", "doubts", "source", ...(unblinded ? ["outcome", "set"] : []), "decision"].map((key) => el("th", { scope: "col" }, t(`masks.${key}`))))), el("tbody", {}, rows))),
  found.reviewed ? el("div", { class: "box" }, t("masks.next_run"), " ", el("a", { href: `#/study/${context.study}/run` }, t("masks.to_run"))) : null);
}

async function patient(body, context, code) {
  const base = `/studies/${context.study}/masks`;
  const found = await api(base);
  const place = found.patients.findIndex((row) => row.code === code);
  const row = found.patients[place];
  if (!row) { location.hash = `#/study/${context.study}/masks`; return undefined; }
  const next = found.patients.filter((item, i) => !item.decision && i !== place)[0];
  const facts = await api(`${base}/${code}`);
  const viewer = new Viewer(`/api${base}/${code}`, facts);
  const may = context.me.role !== "reader";

  // -- the picture
  const position = el("input", { type: "range", min: 0, max: viewer.depth - 1, value: viewer.slice, "aria-label": t("masks.slice"), oninput: (event) => viewer.show(Number(event.target.value)) });
  const told = el("p", { class: "hint told" });
  const windows = select(Object.keys(facts.windows).map((name) => [name, t(`masks.window_${name}`)]), viewer.windowName, (name) => { viewer.setWindow(name); viewer.draw(); });
  const toggle = (text, on, set) => { const button = el("button", { type: "button", "aria-pressed": String(on) }, text); button.addEventListener("click", () => { const now = button.getAttribute("aria-pressed") !== "true"; button.setAttribute("aria-pressed", String(now)); set(now); }); return button; };
  const overlay = toggle(t("masks.overlay"), true, (on) => { viewer.overlay = on; viewer.draw(); });
  const ruler = toggle(t("masks.ruler"), false, (on) => { viewer.measuring = on; if (!on) { viewer.ruler = null; viewer.drawRuler(); } });
  const tint = el("input", { type: "range", min: 0, max: 1, step: 0.05, value: viewer.fill, "aria-label": t("masks.tint"), oninput: (event) => { viewer.fill = Number(event.target.value); viewer.draw(); } });
  const zoom = (factor) => { viewer.zoom = Math.max(1, Math.min(6, viewer.zoom * factor)); viewer.resize(); };
  viewer.onchange = () => {
    position.value = viewer.slice;
    const [width, center] = viewer.window.map(Math.round);
    told.textContent = `${t("masks.canvas", { k: viewer.slice + 1, n: viewer.depth })} · ${t("masks.window_is", { width, center })}${viewer.ruler ? ` · ${viewer.length.toFixed(1)} mm` : ""}`;
    if (viewer.windowName) windows.value = viewer.windowName;
  };
  const frame = el("div", { class: "frame" }, viewer.stage);
  // Slices are axial, seen from the feet: the patient's right is on the left.
  const sides = el("div", { class: "sides" }, frame, ["R", "L", "A", "P"].map((side) => el("span", { class: `side ${side}`, title: t(`masks.side_${side.toLowerCase()}`) }, side)));

  // -- the decision
  const notes = el("div", { "aria-live": "polite" });
  const back = () => { location.hash = `#/study/${context.study}/masks`; };
  const goOn = () => { if (next) location.hash = `#/study/${context.study}/masks/${next.code}`; else back(); };
  const decide = (button, decision, reason = "") => act(button, notes, async () => {
    await api(`${base}/${code}/decision`, { method: "POST", body: { decision, reason } });
    announce(t(`masks.is_${decision}`));
    if (decision === "open") context.refresh(); else goOn();
  });
  const good = el("button", { type: "button", class: "main", onclick: () => decide(good, "good") }, t("masks.good"));
  const reason = el("input", { list: "reasons", maxlength: "500" });
  const out = el("button", { type: "submit", class: "danger" }, t("masks.exclude"));
  const outForm = el("form", {}, field(t("masks.reason"), reason, { hint: t("masks.reason_hint") }), el("datalist", { id: "reasons" }, ["motion", "phase", "incomplete", "no_tumor", "treated"].map((key) => el("option", { value: t(`masks.reason_${key}`) }))), out);
  outForm.addEventListener("submit", (event) => { event.preventDefault(); decide(out, "exclude", reason.value); });
  const take = async (files) => {
    const form = new FormData();
    form.append("path", files[0].name);
    form.append("file", files[0], "file");
    try {
      await api(`${base}/${code}/corrected`, { method: "POST", body: form });
      announce(t("masks.is_corrected"));
      context.refresh();
    } catch (error) { fill(notes, problem(error)); }
  };
  const correct = el("details", {}, el("summary", {}, t("masks.correct")), el("ol", { class: "hint" },
    el("li", {}, el("a", { href: `/api${base}/${code}/file/image.nii.gz`, download: "" }, t("masks.get_image")), " · ", el("a", { href: `/api${base}/${code}/file/mask.nii.gz`, download: "" }, t("masks.get_mask"))),
    el("li", {}, t("masks.edit_it")), el("li", {}, t("masks.bring_back"))), dropZone(t("masks.drop"), take, { accept: ".nii,.gz,.nrrd,.mha" }));
  const undo = el("button", { type: "button", class: "quiet", onclick: () => decide(undo, "open") }, t("masks.undo"));

  const keys = (event) => {
    if (event.target.closest("input:not([type=range]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const marked = (step) => { const other = facts.marked.filter((k) => (k - viewer.slice) * step > 0); return step > 0 ? other[0] : other.at(-1); };
    const does = {
      ArrowUp: () => viewer.show(viewer.slice + 1), ArrowDown: () => viewer.show(viewer.slice - 1), PageUp: () => viewer.show(viewer.slice + 5), PageDown: () => viewer.show(viewer.slice - 5),
      "]": () => viewer.show(marked(1) ?? viewer.slice), "[": () => viewer.show(marked(-1) ?? viewer.slice),
      o: () => overlay.click(), r: () => ruler.click(), "+": () => zoom(1.25), "-": () => zoom(0.8),
      w: () => { const names = Object.keys(facts.windows); viewer.setWindow(names[(names.indexOf(viewer.windowName) + 1) % names.length]); viewer.draw(); },
      n: goOn, ...(may ? { g: () => good.click(), e: () => reason.focus(), c: () => { correct.open = true; correct.querySelector("summary").focus(); } } : {}),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (does) { event.preventDefault(); does(); }
  };
  document.addEventListener("keydown", keys);
  const fit = () => viewer.resize();
  addEventListener("resize", fit);

  put(body, el("div", { class: "row" }, el("a", { href: `#/study/${context.study}/masks` }, `← ${t("masks.list")}`), el("strong", {}, row.patient), row.decision ? el("span", { class: `tag ${TAG[row.decision]}` }, t(`masks.is_${row.decision}`)) : null),
    el("div", { class: "looking" },
      el("div", {}, sides, el("div", { class: "row" }, position), told,
        el("div", { class: "row tools" }, el("label", { class: "inline" }, t("masks.window"), windows), overlay, ruler, el("label", { class: "inline" }, t("masks.tint"), tint),
          el("button", { type: "button", "aria-label": t("masks.zoom_in"), onclick: () => zoom(1.25) }, "+"), el("button", { type: "button", "aria-label": t("masks.zoom_out"), onclick: () => zoom(0.8) }, "−")),
        el("ul", { class: "legend" }, facts.labels.map((item) => { const swatch = el("span", { class: "swatch", "aria-hidden": "true" }); swatch.style.background = item.color; return el("li", {}, swatch, tr(item.name)); }))),
      el("div", {}, el("section", { class: "panel", "aria-label": t("masks.doubts") }, el("h2", {}, t("masks.doubts")), row.doubts.length ? row.doubts.map((item) => el("p", { class: "finding" }, said("doubt", item.code, item.text))) : el("p", { class: "hint" }, t("masks.no_doubt")), el("p", { class: "hint" }, `${t("masks.source")}: ${row.source === "given" ? t("masks.source_given") : tr(row.source)}`)),
        may ? el("section", { class: "panel", "aria-label": t("masks.decision") }, el("h2", {}, t("masks.decision")), row.reason ? el("p", { class: "hint" }, row.reason) : null, el("div", { class: "row" }, good, row.decision ? undo : null), correct, outForm, notes) : null,
        el("details", {}, el("summary", {}, t("masks.keys")), el("dl", { class: "keys" }, KEYS.map(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, t(`masks.key_${what}`))]))))));
  viewer.resize();
  globalThis.hepacastViewer = viewer;
  await viewer.open();
  viewer.canvas.focus({ preventScroll: true });
  return () => { document.removeEventListener("keydown", keys); removeEventListener("resize", fit); viewer.close(); };
}

const render = (body, context) => (context.args[0] && context.args[0] !== "unblinded" ? patient(body, context, context.args[0]) : list(body, context));

export default { name: "masks", study: true, render };
