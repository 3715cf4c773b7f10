"""How good survival models are: discrimination, calibration at the horizons, net benefit, comparisons."""

from __future__ import annotations

from functools import partial

from hepacast.evaluation.calibration import Calibration
from hepacast.evaluation.results import EvaluationResults, HorizonResult, SetResult
from hepacast.figures import (
    BandCurve,
    CalibrationPoints,
    DecisionCurve,
    RocCurve,
    draw_calibration,
    draw_decision,
    draw_roc,
)
from hepacast.report.content.common import estimate
from hepacast.report.content.survival_common import (
    by_word,
    c_of,
    ci_of,
    honest_sets,
    judged,
    lower_first,
    measured,
    model_name,
    set_name,
    sets_in_order,
    survival,
)
from hepacast.report.formatting import MISSING, listing, number, p_value, with_interval
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import Survival
from hepacast.report.model import Block, Callout, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, Table, make_table


def build(results: Results) -> list[Block]:
    """Tables and figures of discrimination, calibration and net benefit."""
    item, found = survival(results), judged(results)
    blocks: list[Block] = [Paragraph(_text(item, found))]
    missing = _missing(item, found)
    if missing:
        blocks.append(Callout("note", "Not estimable", f"{missing}."))
    blocks.append(TableBlock("discrimination", discrimination_table(item, found)))
    blocks.append(TableBlock("calibration", calibration_table(item, found)))
    comparisons = comparison_table(item, found)
    if comparisons.rows:
        blocks.append(TableBlock("comparisons", comparisons))
    for figure in (_roc_figure(item, found), _calibration_figure(item, found), _decision_figure(item, found)):
        if figure is not None:
            blocks.append(figure)
    return blocks


def build_supplement(results: Results) -> list[Block]:
    """Calibration of the other models, and net benefit in the sets that the main figure leaves out."""
    item, found = survival(results), judged(results)
    blocks: list[Block] = []
    for name in item.models.names:
        if name != item.models.main:
            figure = _calibration_figure(item, found, name)
            if figure is not None:
                blocks.append(figure)
    rest = {name: s for name, s in honest_sets(found).items() if name not in _decision_sets(found)}
    figure = _decisions_of(item, rest, "decision-nested")
    return [*blocks, *([figure] if figure is not None else [])]


def _text(item: Survival, found: EvaluationResults) -> str:
    kinds = {s.kind for s in found.sets.values()}
    text = "Apparent numbers, of the patients that the models were fitted on, flatter. "
    if "nested" in kinds:
        text += "Cross-validated ones judge each training patient's mean risk by models that did not see the patient. "
    if "frozen" in kinds:
        frozen = listing([lower_first(set_name(n)) for n, s in found.sets.items() if s.kind == "frozen"])
        text += f"In the {frozen} the models were frozen before they saw any of the patients. "
    return text + _drift(item, found)


def _drift(item: Survival, found: EvaluationResults) -> str:
    """What stands out in calibration: said, and not left to the reader of a table."""
    said = []
    for name, entry in honest_sets(found).items():
        result = entry.models.get(item.models.main)
        at = result.horizons[-1] if result is not None and result.horizons else None
        ratio = at.calibration.observed_expected if at is not None and at.calibration is not None else None
        if ratio is None or not ratio.has_limits:
            continue
        if ratio.high < 1:
            said.append(f"too high in the {lower_first(set_name(name))} (observed over expected {estimate(ratio, 2)})")
        elif ratio.low > 1:
            said.append(f"too low in the {lower_first(set_name(name))} (observed over expected {estimate(ratio, 2)})")
    if not said:
        return ""
    at_text = f"{by_word(item)} {found.horizons[-1]:g} {found.unit}"
    return (
        f"Risks of the {item.models.main} model {at_text} are {listing(said)}: before they are used there, the "
        "baseline must be adapted, whatever the model's C."
    )


def _missing(item: Survival, found: EvaluationResults) -> str:
    reasons = []
    for name, entry in sets_in_order(found).items():
        for model, result in entry.models.items():
            for at in result.horizons:
                why = at.auc.reason or (at.reason if at.calibration is None else "")
                if why:
                    reasons.append(f"{set_name(name)}, {model_name(item, model)}, {at.time:g} {found.unit}: {why}")
    return "; ".join(dict.fromkeys(reasons))


def discrimination_table(item: Survival, found: EvaluationResults) -> Table:
    """C and AUC(t) of every model on every set."""
    rows: list[Row] = []
    for name, entry in sets_in_order(found).items():
        rows.append(Row((f"{set_name(name)} (n = {entry.n}, {entry.events} events)",), "group"))
        for model, result in entry.models.items():
            aucs = {at.time: measured(at.auc) for at in result.horizons}
            cells = [aucs.get(t, MISSING) for t in found.horizons]
            rows.append(Row((model_name(item, model), measured(c_of(found, name, model)), *cells), "indent"))
    ci = ci_of(item)
    heads = [f"AUC at {t:g} {found.unit} ({ci})" for t in found.horizons]
    notes = [
        "C, Harrell's concordance of the linear predictor. AUC, cumulative/dynamic, weighted for censoring; .5 is "
        "chance, 1 perfect.",
    ]
    if "nested" in found.sets:
        notes.append(
            "Cross-validated: C is the mean over the repeats of C within folds; the AUCs judge each patient's mean "
            "risk over the repeats, all folds together. A model that finds no signal predicts the event rate of its "
            "training folds, and its AUC over all folds falls below .5: then the C is what to read."
        )
    if "binary" in item.models.names and len(found.horizons) > 1:
        notes.append("A binary model has a risk at its own horizon only.")
    return make_table("Discrimination", ["Model", f"C ({ci})", *heads], rows, notes)


def calibration_table(item: Survival, found: EvaluationResults) -> Table:
    """Observed over expected, slope, ICI and Brier score at each horizon."""
    rows: list[Row] = []
    for name, entry in sets_in_order(found).items():
        rows.append(Row((set_name(name),), "group"))
        for model, result in entry.models.items():
            for at in result.horizons:
                c, cells = at.calibration, (MISSING,) * 5
                if c is not None:
                    ratio, slope = (
                        estimate(value, 2) if value.known else MISSING for value in (c.observed_expected, c.slope)
                    )
                    accuracy = f"{number(c.brier.value, 3)} ({number(c.brier_null, 3)})"
                    cells = (ratio, slope, number(c.ici.value, 3), accuracy, number(c.brier_scaled, 3))
                rows.append(Row((f"{model_name(item, model)}, {at.time:g} {found.unit}", *cells), "indent"))
            if result.integrated_brier is not None:
                label = f"{model_name(item, model)}, 0 to {found.horizons[-1]:g} {found.unit}"
                accuracy = f"{number(result.integrated_brier.value, 3)} ({number(result.integrated_brier.null, 3)})"
                rows.append(
                    Row(
                        (label, MISSING, MISSING, MISSING, accuracy, number(result.integrated_brier.scaled, 3)),
                        "indent",
                    )
                )
    ci = ci_of(item)
    columns = ["Model and horizon", f"O/E ({ci})", f"Slope ({ci})", "ICI", "Brier (no model)", "Scaled Brier"]
    notes = [
        "O/E, observed over expected risk: 1 is perfect, below 1 the predicted risks are too high. Slope of the "
        "complementary log-log risk: 1 is perfect, below 1 predictions are too extreme. ICI, integrated calibration "
        "index: mean distance of smoothed observed and predicted risk. Brier score with that of the observed risk for "
        "everybody in brackets; scaled: share of it that the model removes, below 0 it does worse. Rows from 0 on hold "
        "the integrated Brier score."
    ]
    return make_table("Calibration and accuracy", columns, rows, notes)


def comparison_table(item: Survival, found: EvaluationResults) -> Table:
    """Differences between models of the same patients."""
    rows: list[Row] = []
    for name, entry in honest_sets(found).items():
        if entry.comparisons:
            rows.append(Row((set_name(name),), "group"))
        for c in entry.comparisons:
            pair = f"{model_name(item, c.first)} against {lower_first(model_name(item, c.second))}"
            measure = "C" if c.measure == "C" else f"AUC at {c.time:g} {found.unit}"
            rows.append(Row((pair, measure, estimate(c.difference), number(c.z, 2), p_value(c.p)), "indent"))
    notes = ["P two-sided, from the influence functions of both estimates, not corrected for multiple comparisons."]
    if "nested" in found.sets:
        notes.append(
            "Cross-validated: C is compared within the folds of every repeat, AUC by each patient's mean risk over the "
            "repeats."
        )
    return make_table(
        "Comparison of models", ["Models", "Measure", f"Difference ({ci_of(item)})", "z", "P"], rows, notes
    )


def _roc_figure(item: Survival, found: EvaluationResults) -> FigureBlock | None:
    """Time-dependent ROC curves: one panel a horizon and set, or the sets in one panel where there is one model."""
    panels: list[Panel] = []
    texts: list[str] = []
    sets = honest_sets(found) or sets_in_order(found)
    single = len(item.models.names) == 1
    for time in found.horizons:
        if single:
            curves = [
                _roc_curve(set_name(name).replace(" set", ""), at)
                for name, entry in sets.items()
                if (at := _at(entry, item.models.main, time)) is not None and at.roc is not None
            ]
            _add_roc(item, panels, texts, curves, f"{time:g} {found.unit}")
            continue
        for name, entry in sets.items():
            curves = [
                _roc_curve(model_name(item, model), at)
                for model in item.models.names
                if (at := _at(entry, model, time)) is not None and at.roc is not None
            ]
            _add_roc(item, panels, texts, curves, f"{time:g} {found.unit}, {lower_first(set_name(name))}")
    if not panels:
        return None
    return _figure("roc", "Time-dependent ROC curves", panels, texts)


def _roc_curve(name: str, at: HorizonResult) -> RocCurve:
    assert at.roc is not None
    return RocCurve(name, at.roc.fpr, at.roc.tpr, at.auc.value, *at.auc.ci)


def _add_roc(item: Survival, panels: list[Panel], texts: list[str], curves: list[RocCurve], text: str) -> None:
    if curves:
        alt = f"ROC curves at {text}: " + "; ".join(f"{c.name} {with_interval(c.auc, c.lo, c.hi)}" for c in curves)
        panels.append(Panel(partial(draw_roc, curves, ci=ci_of(item)), alt))
        texts.append(f"at {text}")


def _at(entry: SetResult, model: str, time: float) -> HorizonResult | None:
    result = entry.models.get(model)
    return None if result is None else result.at(time)


def _calibration_figure(item: Survival, found: EvaluationResults, model: str | None = None) -> FigureBlock | None:
    """Calibration at each horizon (columns) in each honest set (rows)."""
    name = model or item.models.main
    panels, texts = [], []
    for set_key, entry in (honest_sets(found) or sets_in_order(found)).items():
        for time in found.horizons:
            at = _at(entry, name, time)
            if at is None or at.calibration is None or not at.calibration.groups:
                continue
            text = f"{lower_first(set_name(set_key))}, {time:g} {found.unit}"
            panels.append(_calibration_panel(item, at.calibration, text))
            texts.append(text)
    if not panels:
        return None
    key = "calibration-curves" if model is None else f"calibration-{name}"
    title = f"Calibration of the {lower_first(model_name(item, name))} model"
    return _figure(key, title, panels, texts)


def _calibration_panel(item: Survival, c: Calibration, text: str) -> Panel:
    points = CalibrationPoints(
        [g.predicted for g in c.groups],
        [g.observed.value for g in c.groups],
        [g.observed.low for g in c.groups],
        [g.observed.high for g in c.groups],
    )
    smooth = None if c.curve is None else BandCurve(c.curve.predicted, c.curve.observed, c.curve.low, c.curve.high)
    notes = [
        f"O/E {estimate(c.observed_expected, 2)}",
        f"Slope {estimate(c.slope, 2)}",
        f"ICI {number(c.ici.value, 3)}",
    ]
    title = text[:1].upper() + text[1:]
    draw = partial(draw_calibration, points, smooth=smooth, notes=notes, ci=ci_of(item), title=title)
    return Panel(draw, f"Observed against predicted risk, {text}: {'; '.join(notes)}")


def _decision_sets(found: EvaluationResults) -> list[str]:
    """The frozen sets; the cross-validated training set where there is none."""
    honest = honest_sets(found)
    return [name for name, entry in honest.items() if entry.kind == "frozen"] or list(honest)[:1]


def _decision_figure(item: Survival, found: EvaluationResults) -> FigureBlock | None:
    shown = {name: found.sets[name] for name in _decision_sets(found)}
    return _decisions_of(item, shown, "decision")


def _decisions_of(item: Survival, sets: dict[str, SetResult], key: str) -> FigureBlock | None:
    panels, texts = [], []
    for name, entry in sets.items():
        for everyone in entry.states:
            curves = []
            for model in item.models.names:
                at = _at(entry, model, everyone.time)
                if at is not None and at.decision is not None:
                    d = at.decision
                    curves.append(DecisionCurve(model_name(item, model), d.thresholds, d.net_benefit, d.low, d.high))
            if not curves:
                continue
            text = f"{lower_first(set_name(name))}, {everyone.time:g} {item.models.unit}"
            treat_all = BandCurve(everyone.thresholds, everyone.treat_all)
            draw = partial(
                draw_decision, curves, treat_all, prevalence=everyone.risk.value, title=text[:1].upper() + text[1:]
            )
            panels.append(Panel(draw, f"Net benefit by threshold probability, {text}"))
            texts.append(text)
    if not panels:
        return None
    return _figure(key, "Decision curves with bootstrap bands", panels, texts)


def _figure(key: str, title: str, panels: list[Panel], texts: list[str]) -> FigureBlock:
    caption = "; ".join(f"({chr(97 + i)}) {text}" if len(texts) > 1 else text for i, text in enumerate(texts))
    columns = 2 if len(panels) > 1 else 1
    return FigureBlock(key, f"{title}: {caption}.", tuple(panels), columns=columns)
