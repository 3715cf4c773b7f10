"""How good survival models are: discrimination, calibration at the horizons, net benefit, comparisons."""

from __future__ import annotations

from functools import partial

from hepacast.figures import (
    BandCurve,
    CalibrationPoints,
    DecisionCurve,
    RocCurve,
    draw_calibration,
    draw_decision,
    draw_roc,
)
from hepacast.report.content.common import estimate, is_finite
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
from hepacast.report.inputs.survival import AtHorizon, Survival, SurvivalResults, SurvivalSet
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


def _text(item: Survival, found: SurvivalResults) -> str:
    kinds = {s.kind for s in found.sets.values()}
    text = "Apparent numbers, of the patients that the models were fitted on, flatter. "
    if "nested" in kinds:
        text += "Cross-validated ones judge each training patient's mean risk by models that did not see the patient. "
    if "frozen" in kinds:
        frozen = listing([lower_first(set_name(n)) for n, s in found.sets.items() if s.kind == "frozen"])
        text += f"In the {frozen} the models were frozen before they saw any of the patients. "
    return text + _drift(item, found)


def _drift(item: Survival, found: SurvivalResults) -> str:
    """What stands out in calibration: said, and not left to the reader of a table."""
    said = []
    for name, entry in honest_sets(found).items():
        result = entry.models.get(item.models.main)
        at = result.horizons[-1] if result is not None and result.horizons else None
        ratio = at.calibration.observed_expected if at is not None else None
        if at is None or ratio is None or not is_finite(ratio.low, ratio.high):
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


def _missing(item: Survival, found: SurvivalResults) -> str:
    reasons = []
    for name, entry in sets_in_order(found).items():
        for model, result in entry.models.items():
            for at in result.horizons:
                why = at.auc.reason or at.calibration.reason
                if why:
                    reasons.append(f"{set_name(name)}, {model_name(item, model)}, {at.time:g} {found.unit}: {why}")
    return "; ".join(dict.fromkeys(reasons))


def discrimination_table(item: Survival, found: SurvivalResults) -> Table:
    """C and AUC(t) of every model on every set."""
    rows: list[Row] = []
    for name, entry in sets_in_order(found).items():
        rows.append(Row((f"{set_name(name)} (n = {entry.n}, {entry.events} events)",), "group"))
        for model, result in entry.models.items():
            aucs = {at.time: measured(at.auc) for at in result.horizons}
            cells = [aucs.get(t, MISSING) for t in found.horizons]
            rows.append(Row((model_name(item, model), measured(c_of(item, name, model)), *cells), "indent"))
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


def calibration_table(item: Survival, found: SurvivalResults) -> Table:
    """Observed over expected, slope, ICI and Brier score at each horizon."""
    rows: list[Row] = []
    for name, entry in sets_in_order(found).items():
        rows.append(Row((set_name(name),), "group"))
        for model, result in entry.models.items():
            for at in result.horizons:
                c = at.calibration
                label = f"{model_name(item, model)}, {at.time:g} {found.unit}"
                accuracy = f"{number(at.brier.value, 3)} ({number(at.brier_null, 3)})"
                rows.append(
                    Row(
                        (
                            label,
                            estimate(c.observed_expected, 2),
                            estimate(c.slope, 2),
                            number(c.ici, 3),
                            accuracy,
                            number(at.brier_scaled, 3),
                        ),
                        "indent",
                    )
                )
            if result.ibs is not None:
                label = f"{model_name(item, model)}, 0 to {found.horizons[-1]:g} {found.unit}"
                accuracy = f"{number(result.ibs.value, 3)} ({number(result.ibs.null, 3)})"
                rows.append(Row((label, MISSING, MISSING, MISSING, accuracy, number(result.ibs.scaled, 3)), "indent"))
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


def comparison_table(item: Survival, found: SurvivalResults) -> Table:
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


def _roc_figure(item: Survival, found: SurvivalResults) -> FigureBlock | None:
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


def _roc_curve(name: str, at: AtHorizon) -> RocCurve:
    assert at.roc is not None
    return RocCurve(name, at.roc.fpr, at.roc.tpr, at.auc.value, at.auc.low, at.auc.high)


def _add_roc(item: Survival, panels: list[Panel], texts: list[str], curves: list[RocCurve], text: str) -> None:
    if curves:
        alt = f"ROC curves at {text}: " + "; ".join(f"{c.name} {with_interval(c.auc, c.lo, c.hi)}" for c in curves)
        panels.append(Panel(partial(draw_roc, curves, ci=ci_of(item)), alt))
        texts.append(f"at {text}")


def _at(entry: SurvivalSet, model: str, time: float) -> AtHorizon | None:
    result = entry.models.get(model)
    return None if result is None else next((at for at in result.horizons if at.time == time), None)


def _calibration_figure(item: Survival, found: SurvivalResults, model: str | None = None) -> FigureBlock | None:
    """Calibration at each horizon (columns) in each honest set (rows)."""
    name = model or item.models.main
    panels, texts = [], []
    for set_key, entry in (honest_sets(found) or sets_in_order(found)).items():
        for time in found.horizons:
            at = _at(entry, name, time)
            if at is None or not at.calibration.groups:
                continue
            text = f"{lower_first(set_name(set_key))}, {time:g} {found.unit}"
            panels.append(_calibration_panel(item, at, text))
            texts.append(text)
    if not panels:
        return None
    key = "calibration-curves" if model is None else f"calibration-{name}"
    title = f"Calibration of the {lower_first(model_name(item, name))} model"
    return _figure(key, title, panels, texts)


def _calibration_panel(item: Survival, at: AtHorizon, text: str) -> Panel:
    c = at.calibration
    points = CalibrationPoints(
        [g.predicted for g in c.groups],
        [g.observed for g in c.groups],
        [g.low for g in c.groups],
        [g.high for g in c.groups],
    )
    smooth = BandCurve(c.smooth.x, c.smooth.y, c.smooth.low, c.smooth.high) if c.smooth is not None else None
    notes = [f"O/E {estimate(c.observed_expected, 2)}", f"Slope {estimate(c.slope, 2)}", f"ICI {number(c.ici, 3)}"]
    title = text[:1].upper() + text[1:]
    draw = partial(draw_calibration, points, smooth=smooth, notes=notes, ci=ci_of(item), title=title)
    return Panel(draw, f"Observed against predicted risk, {text}: {'; '.join(notes)}")


def _decision_sets(found: SurvivalResults) -> list[str]:
    """The frozen sets; the cross-validated training set where there is none."""
    honest = honest_sets(found)
    return [name for name, entry in honest.items() if entry.kind == "frozen"] or list(honest)[:1]


def _decision_figure(item: Survival, found: SurvivalResults) -> FigureBlock | None:
    shown = {name: found.sets[name] for name in _decision_sets(found)}
    return _decisions_of(item, shown, "decision")


def _decisions_of(item: Survival, sets: dict[str, SurvivalSet], key: str) -> FigureBlock | None:
    panels, texts = [], []
    for name, entry in sets.items():
        for everyone in entry.treat_all:
            curves = []
            for model in item.models.names:
                at = _at(entry, model, everyone.time)
                if at is not None and at.decision is not None:
                    d = at.decision
                    curves.append(DecisionCurve(model_name(item, model), d.thresholds, d.net_benefit, d.low, d.high))
            if not curves:
                continue
            text = f"{lower_first(set_name(name))}, {everyone.time:g} {item.models.unit}"
            treat_all = BandCurve(everyone.thresholds, everyone.net_benefit)
            draw = partial(
                draw_decision, curves, treat_all, prevalence=everyone.rate, title=text[:1].upper() + text[1:]
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
