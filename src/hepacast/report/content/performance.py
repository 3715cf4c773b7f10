"""How good the models are: Figure 4, discrimination and calibration, classification, comparisons."""

from __future__ import annotations

from functools import partial

from hepacast.evaluation.reclassification import Change
from hepacast.evaluation.results import ModelResult, SetResult
from hepacast.figures import (
    BandCurve,
    CalibrationPoints,
    DecisionCurve,
    RocCurve,
    draw_calibration,
    draw_decision,
    draw_risk_distribution,
    draw_roc,
    draw_waterfall,
)
from hepacast.report.content.common import (
    confidence,
    estimate,
    event_names,
    is_finite,
    judged_set,
    main_model,
    model_label,
    model_names,
    model_word,
    percent_estimate,
    set_label,
)
from hepacast.report.formatting import MISSING, number, p_value, with_interval
from hepacast.report.inputs import Results
from hepacast.report.model import Block, Callout, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table


def build(results: Results) -> list[Block]:
    """Figure 4 and the performance tables."""
    name, item = judged_set(results)
    assert results.evaluation is not None
    kinds = {
        "frozen": "These models were frozen before they saw any of these patients.",
        "apparent": "These are the patients that the models were fitted on: the numbers flatter.",
    }
    text = kinds.get(item.kind, "Every prediction was made by a model that did not see the patient.")
    blocks: list[Block] = [
        Paragraph(f"Performance in the {set_label(name).lower()} ({item.n} patients, {item.events} events). {text}")
    ]
    failed = [
        f"{model_label(m)}: {r.main.reason or r.main.status}" for m, r in item.models.items() if r.main.status != "ok"
    ]
    if failed:
        blocks.append(Callout("warning", "Models without numbers", "; ".join(failed) + "."))
    blocks.append(TableBlock("discrimination", discrimination_table(results)))
    thresholds = threshold_table(results)
    if thresholds.rows:
        blocks.append(TableBlock("classification", thresholds))
    comparisons = delong_table(results)
    if comparisons.rows:
        blocks.append(TableBlock("delong", comparisons))
    figures = [_figure(results, name, item, ("training", name))]
    # A second set that no model saw (the external one beside an internal validation set) has a figure of its own.
    others = [key for key, other in results.evaluation.sets.items() if other.kind == "frozen" and key != name]
    figures += [_figure(results, key, results.evaluation.sets[key], (key,)) for key in others]
    return [*blocks, *(figure for figure in figures if figure is not None)]


def ok_models(results: Results, item: SetResult) -> dict[str, ModelResult]:
    """Models with numbers, in the study's order."""
    return {m: item.models[m] for m in model_names(results) if m in item.models and item.models[m].main.status == "ok"}


def _figure(results: Results, name: str, item: SetResult, calibrated: tuple[str, ...]) -> FigureBlock | None:
    """ROC and decision curves of one set, calibration of the main model in the sets named."""
    panels, texts = [], []
    for panel, text in (roc_panel(results, name, item), decision_panel(results, name, item)):
        if panel is not None:
            panels.append(panel)
            texts.append(text)
    main = main_model(results)
    assert results.evaluation is not None
    for set_name in dict.fromkeys(calibrated):
        other = results.evaluation.sets.get(set_name)
        panel = calibration_panel(results, main, other) if other is not None else None
        if panel is not None:
            panels.append(panel)
            apparent = ", the patients of the fit itself" if other is not None and other.kind == "apparent" else ""
            texts.append(f"calibration of the {main} model, {set_label(set_name).lower()}{apparent}")
    if not panels:
        return None
    caption = "; ".join(f"({chr(97 + i)}) {text}" if len(texts) > 1 else text for i, text in enumerate(texts))
    key = "performance" if len(calibrated) > 1 or name == "training" else f"performance-{name}"
    return FigureBlock(key, f"Performance: {caption}.", tuple(panels), columns=2 if len(panels) > 1 else 1)


def roc_panel(results: Results, name: str, item: SetResult) -> tuple[Panel | None, str]:
    """ROC curves of all models on one set."""
    curves = [
        RocCurve(model_label(m), points.fpr, points.tpr, r.main.auc.value, *r.main.auc.ci)
        for m, r in ok_models(results, item).items()
        if (points := r.main.roc) is not None
    ]
    if not curves:
        return None, ""
    alt = "ROC curves: " + "; ".join(f"{c.name} AUC {with_interval(c.auc, c.lo, c.hi)}" for c in curves)
    of = " (curves of the mean risk over the repeats, AUCs of single fits)" if item.repeats > 1 else ""
    return Panel(partial(draw_roc, curves, ci=confidence(results)), alt), f"ROC curves, {set_label(name).lower()}{of}"


def decision_panel(results: Results, name: str, item: SetResult) -> tuple[Panel | None, str]:
    """Decision curves of all models on one set."""
    curves = [
        DecisionCurve(model_label(m), d.thresholds, d.net_benefit, d.low, d.high)
        for m, r in ok_models(results, item).items()
        if (d := r.main.decision) is not None
    ]
    if not curves:
        return None, ""
    all_treated = BandCurve(item.states[-1].thresholds, item.states[-1].treat_all)
    draw = partial(draw_decision, curves, all_treated, prevalence=item.events / item.n)
    bands = " with bootstrap bands" if any(len(curve.low) for curve in curves) else ""
    alt = (
        f"Net benefit by threshold probability of {', '.join(curve.name for curve in curves)}, treat all and treat none"
    )
    return Panel(draw, alt), f"decision curves{bands}, {set_label(name).lower()}"


def calibration_panel(results: Results, model: str, item: SetResult) -> Panel | None:
    """Calibration of one model on one set."""
    found = item.models.get(model)
    c = None if found is None or found.main.status != "ok" else found.main.calibration
    if found is None or c is None or not c.groups:
        return None
    points = CalibrationPoints(
        [g.predicted for g in c.groups],
        [g.observed.value for g in c.groups],
        [g.observed.low for g in c.groups],
        [g.observed.high for g in c.groups],
    )
    smooth = None if c.curve is None else BandCurve(c.curve.predicted, c.curve.observed, c.curve.low, c.curve.high)
    notes = [f"Slope {estimate(c.slope, 2)}", f"Intercept {estimate(c.citl, 2)}", f"ICI {number(c.ici.value, 3)}"]
    positive, negative = event_names(results)
    draw = partial(
        draw_calibration,
        points,
        smooth=smooth,
        notes=notes,
        risks=found.main.risks,
        outcomes=found.main.outcomes,
        event_label=positive,
        no_event_label=negative,
        ci=confidence(results),
    )
    return Panel(draw, f"Observed proportion against predicted risk, {model} model: {'; '.join(notes)}")


def discrimination_table(results: Results) -> Table:
    """AUC, Brier score, calibration of every model on every set."""
    assert results.evaluation is not None
    rows: list[Row] = []
    for name, item in results.evaluation.sets.items():
        apparent = ", apparent" if item.kind == "apparent" else ""
        rows.append(Row((f"{set_label(name)}{apparent} (n = {item.n}, {item.events} events)",), "group"))
        for model in model_names(results):
            found = item.models.get(model)
            if found is None:
                continue
            at, c = found.main, found.main.calibration
            if at.status != "ok":
                rows.append(Row((model_label(model), at.reason or at.status), "indent"))
                continue
            fit = [MISSING] * 5
            if c is not None:
                test = p_value(c.hosmer_lemeshow.p) if c.hosmer_lemeshow is not None else MISSING
                fit = [
                    number(c.brier.value, 3),
                    estimate(c.slope, 2),
                    estimate(c.citl, 2),
                    number(c.ici.value, 3),
                    test,
                ]
            rows.append(Row((model_label(model), estimate(at.auc), *fit), "indent"))
    ci = confidence(results)
    columns = ["Model", f"AUC ({ci})", "Brier", f"Slope ({ci})", f"Intercept ({ci})", "ICI", "HL P"]
    notes = [
        "AUC, area under the ROC curve (DeLong's limits). Slope: 1 is perfect, below 1 means predictions that are too "
        "extreme, above 1 predictions that are not extreme enough. Intercept: calibration in the large, 0 is perfect. "
        "ICI, integrated calibration index. HL, Hosmer-Lemeshow test.",
    ]
    if _cross_fitted(results):
        notes.append(
            "An apparent slope above 1 is a consequence of cross-fitted Radscores: the logistic model was fitted to "
            "the scores of fits without the patient, and the scores of the final fit tell these same patients apart "
            "better. It is no fault of the model; judge the slope in patients whom it has not seen."
        )
    if any(item.kind == "nested" for item in results.evaluation.sets.values()):
        notes.append(NESTED_NOTE)
    return make_table("Discrimination and calibration", columns, rows, notes)


#: What the columns of a cross-validated set are of.
NESTED_NOTE = (
    "Nested cross-validation: the AUC is the mean over the repeats of the AUC within folds, of single fits, with "
    "limits that know of the repeats. Curves, cut-offs and calibration are of each patient's mean risk over the "
    "repeats."
)


def _cross_fitted(results: Results) -> bool:
    """Whether an apparent slope above 1 of a model with a Radscore stands in the table."""
    models = results.models
    training = results.evaluation.sets.get("training") if results.evaluation is not None else None
    if models is None or models.radiomics is None or models.radiomics.radscore is None or training is None:
        return False
    slopes = [
        found.main.calibration.slope.value
        for name, found in training.models.items()
        if name != "clinical" and found.main.calibration is not None
    ]
    return any(is_finite(slope) and slope > 1.005 for slope in slopes)


def threshold_table(results: Results) -> Table:
    """Sensitivity, specificity and predictive values at every cut-off."""
    assert results.evaluation is not None
    rows: list[Row] = []
    for name, item in results.evaluation.sets.items():
        lines: list[Row] = []
        for model, found in ok_models(results, item).items():
            for t in found.main.thresholds:
                shown = [percent_estimate(v) for v in (t.sensitivity, t.specificity, t.ppv, t.npv, t.accuracy)]
                counts = "/".join(f"{count:.0f}" for count in (t.tp, t.fp, t.tn, t.fn))
                lines.append(Row((model_label(model), f"{number(t.threshold, 3)}, {t.name}", *shown, counts), "indent"))
        if lines:
            rows += [Row((set_label(name),), "group"), *lines]
    columns = ["Model", "Cut-off", "Sensitivity", "Specificity", "PPV", "NPV", "Accuracy", "TP/FP/TN/FN"]
    notes = [
        f"Percent ({confidence(results)}). A patient counts as positive at or above the cut-off, which was fixed in "
        "the training set. PPV and NPV, positive and negative predictive value; TP, true positives; FP, false "
        "positives; TN, true negatives; FN, false negatives.",
    ]
    return make_table("Classification at fixed cut-offs", columns, rows, notes)


def delong_table(results: Results) -> Table:
    """Paired comparisons of AUCs, and of how patients are reclassified."""
    assert results.evaluation is not None
    sets = results.evaluation.sets
    more = any(c.nri is not None or c.idi is not None for item in sets.values() for c in item.comparisons)
    rows: list[Row] = []
    for name, item in sets.items():
        if item.comparisons:
            rows.append(Row((set_label(name),), "group"))
        for c in item.comparisons:
            pair = f"{model_label(c.first)} against {model_word(c.second)}"
            cells = [pair, estimate(c.difference), number(c.z, 2), p_value(c.p)]
            if more:
                cells += [_change(None if c.nri is None else c.nri.nri), _change(c.idi)]
            rows.append(Row(tuple(cells), "indent"))
    ci = confidence(results)
    columns = ["Models", f"Difference in AUC ({ci})", "z", "P"]
    notes = ["P of DeLong's test for paired AUCs, two-sided, not corrected for multiple comparisons."]
    if any(item.kind == "nested" for item in sets.values()):
        notes.append(
            "In nested cross-validation models are compared by the differences of their AUCs within the folds of every "
            "repeat; NRI and IDI are of each patient's mean risk over the repeats."
        )
    if more:
        columns += [f"NRI ({ci})", f"IDI ({ci})"]
        notes.append("NRI, continuous net reclassification improvement; IDI, integrated discrimination improvement.")
    return make_table("Comparison of models", columns, rows, notes)


def _change(change: Change | None) -> str:
    if change is None:
        return MISSING
    return with_interval(change.value, change.low, change.high)


def build_supplement(results: Results) -> list[Block]:
    """Training-set ROC, risks of every patient, calibration of the other models."""
    name, item = judged_set(results)
    assert results.evaluation is not None
    blocks: list[Block] = []
    training = results.evaluation.sets.get("training")
    if training is not None and name != "training":
        panel, text = roc_panel(results, "training", training)
        other, more = decision_panel(results, "training", training)
        panels = tuple(p for p in (panel, other) if p is not None)
        if panels:
            caption = (
                f"(a) {text}; (b) {more}; the patients of the fit itself." if len(panels) > 1 else f"{text or more}."
            )
            blocks.append(FigureBlock("training", caption, panels, columns=len(panels)))
    others = [m for m in model_names(results) if m != main_model(results)]
    drawn = [(m, p) for m in others if (p := calibration_panel(results, m, item)) is not None]
    if drawn:
        letters = [f"({chr(97 + i)}) {model_label(m)}" for i, (m, _) in enumerate(drawn)]
        shown = f": {', '.join(letters)}" if len(drawn) > 1 else f" of the {drawn[0][0]} model"
        caption = f"Calibration{shown}; {set_label(name).lower()}."
        panels = tuple(panel for _, panel in drawn)
        columns = min(2, len(panels))
        blocks.append(FigureBlock("calibration-others", caption, panels, columns=columns))
    risks = _risk_figure(results, name, item)
    return [*blocks, *([risks] if risks is not None else [])]


def _risk_figure(results: Results, name: str, item: SetResult) -> FigureBlock | None:
    main = main_model(results)
    found = item.models.get(main)
    if found is None or not len(found.main.risks):
        return None
    at = found.main
    positive, negative = event_names(results)
    cut = next((t.threshold for t in at.thresholds if is_finite(t.threshold)), None)
    assert results.evaluation is not None
    groups = [
        (set_label(other).removesuffix(" set"), model.main.risks, model.main.outcomes)
        for other, other_item in results.evaluation.sets.items()
        if (model := other_item.models.get(main)) is not None and len(model.main.risks)
    ]
    panels = (
        Panel(
            partial(
                draw_waterfall,
                at.risks,
                at.outcomes,
                threshold=cut,
                event_label=positive,
                no_event_label=negative,
            ),
            f"Risks of {len(at.risks)} patients in order, coloured by outcome",
        ),
        Panel(
            partial(
                draw_risk_distribution,
                groups,
                width_mm=85.0 if len(groups) < 3 else 130.0,
                event_label=positive,
                no_event_label=negative,
            ),
            "Predicted risk by outcome: " + ", ".join(group[0] for group in groups),
        ),
    )
    caption = f"Predicted risk of the {main} model: (a) every patient of the {set_label(name).lower()}"
    caption += f", cut-off {number(cut, 3)}" if cut is not None else ""
    return FigureBlock("risks", f"{caption}; (b) by outcome in each set.", panels)
