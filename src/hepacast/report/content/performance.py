"""How good the models are: discrimination, calibration, classification, net benefit, comparisons."""

from __future__ import annotations

from functools import partial

from hepacast.core.estimates import Estimate
from hepacast.core.formatting import MISSING, capital, listing, number, p_value, with_interval
from hepacast.core.tables import Row, Table, make_table
from hepacast.evaluation.calibration import Calibration
from hepacast.evaluation.reclassification import Change
from hepacast.evaluation.results import HorizonResult, ModelResult, SetResult
from hepacast.evaluation.roc import RocPoints
from hepacast.figures.curves import draw_calibration, draw_decision, draw_roc
from hepacast.figures.patients import draw_risk_distribution, draw_waterfall
from hepacast.report.content.common import (
    at_horizon,
    confidence,
    estimate,
    evaluated,
    event_names,
    figure_of,
    has_time,
    horizon,
    is_finite,
    judged_set,
    main_model,
    model_label,
    model_names,
    model_word,
    percent_estimate,
    set_label,
    set_word,
    sets_in_order,
    unseen_sets,
)
from hepacast.report.model import Block, Callout, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

#: Pairs of models that one table compares in every set.
_MOST_PAIRS = 6


def build(results: Results) -> list[Block]:
    """The tables of performance; ROC, calibration and decision curves."""
    blocks: list[Block] = [Paragraph(_text(results)), *_missing(results)]
    blocks.append(TableBlock("discrimination", discrimination_table(results)))
    if has_time(results):
        blocks.append(TableBlock("calibration", calibration_table(results)))
        shown = {name: item for name, item in unseen_sets(results).items() if name in _decision_sets(results)}
        figures = [_roc_figure(results), _calibration_figure(results), _decision_figure(results, shown, "decision")]
        return [*blocks, *(figure for figure in figures if figure is not None)]
    blocks += _more_tables(results)
    name, _ = judged_set(results)
    figures = [_set_figure(results, name, ("training", name))]
    # A second set that no model saw (the external one beside an internal validation set) has a figure of its own.
    others = [key for key, other in evaluated(results).sets.items() if other.kind == "frozen" and key != name]
    figures += [_set_figure(results, key, (key,)) for key in others]
    return [*blocks, *(figure for figure in figures if figure is not None)]


def build_supplement(results: Results) -> list[Block]:
    """Curves of the sets and models that the main report leaves out, risks of every patient."""
    others = [model for model in model_names(results) if model != main_model(results)]
    if has_time(results):
        blocks = [*_more_tables(results), *_other_pairs(results)]
        figures = [_calibration_figure(results, model) for model in others]
        rest = {name: s for name, s in unseen_sets(results).items() if name not in _decision_sets(results)}
        figures.append(_decision_figure(results, rest, "decision-nested"))
        return [*blocks, *(figure for figure in figures if figure is not None)]
    name, item = judged_set(results)
    blocks = _other_pairs(results)
    if "training" in evaluated(results).sets and name != "training":
        found = [_roc_panel(results, "training"), _decision_panel(results, "training")]
        panels = [(panel, text) for panel, text in found if panel is not None]
        if panels:
            of = "; the patients of the fit itself" if len(panels) > 1 else ""
            caption = "; ".join(f"({chr(97 + i)}) {t}" if len(panels) > 1 else t for i, (_, t) in enumerate(panels))
            blocks.append(FigureBlock("training", f"{caption}{of}.", tuple(p for p, _ in panels), columns=len(panels)))
    drawn = [(model, panel) for model in others if (panel := _calibration_of(results, model, name)) is not None]
    if drawn:
        letters = [f"({chr(97 + i)}) {model_label(results, m)}" for i, (m, _) in enumerate(drawn)]
        shown = f": {', '.join(letters)}" if len(drawn) > 1 else f" of the {drawn[0][0]} model"
        caption = f"Calibration{shown}; {set_word(results, name)}."
        panels_of = tuple(panel for _, panel in drawn)
        blocks.append(FigureBlock("calibration-others", caption, panels_of, columns=min(2, len(panels_of))))
    risks = _risk_figure(results, name, item)
    return [*blocks, *([risks] if risks is not None else [])]


def _more_tables(results: Results) -> list[Block]:
    """Classification and comparisons, which grow with the horizons: of follow-up they stand in the supplement."""
    tables = {"classification": threshold_table(results), "comparisons": comparison_table(results)}
    return [TableBlock(key, table) for key, table in tables.items() if table.rows]


def _other_pairs(results: Results) -> list[Block]:
    table = comparison_table(results, others=True)
    return [TableBlock("comparisons-others", table)] if table.rows else []


def _text(results: Results) -> str:
    name, item = judged_set(results)
    if not has_time(results):
        kinds = {
            "frozen": "These models were frozen before they saw any of these patients.",
            "apparent": "These are the patients that the models were fitted on: the numbers flatter.",
        }
        text = kinds.get(item.kind, "Every prediction was made by a model that did not see the patient.")
        return f"Performance in the {set_word(results, name)} ({item.n} patients, {item.events} events). {text}"
    sets = evaluated(results).sets
    text = ""
    if any(entry.kind == "apparent" for entry in sets.values()):
        text = "Apparent numbers, of the patients that the models were fitted on, flatter. "
    if any(entry.kind == "nested" for entry in sets.values()):
        text += "Cross-validated ones judge each training patient's mean risk by models that did not see the patient. "
    frozen = listing([set_word(results, key) for key, entry in sets.items() if entry.kind == "frozen"])
    if frozen:
        text += f"In the {frozen} the models were frozen before they saw any of the patients. "
    return text + _drift(results)


def _drift(results: Results) -> str:
    """What stands out in calibration: said, and not left to the reader of a table."""
    said, main = [], main_model(results)
    for name, entry in unseen_sets(results).items():
        at = entry.models[main].main if main in entry.models else None
        ratio = at.calibration.observed_expected if at is not None and at.calibration is not None else None
        if entry.kind == "apparent" or ratio is None or not ratio.has_limits:
            continue
        way = "too high" if ratio.high < 1 else "too low" if ratio.low > 1 else ""
        if way:
            said.append(f"{way} in the {set_word(results, name)} (observed over expected {estimate(ratio, 2)})")
    if not said:
        return ""
    return (
        f"Risks of the {main} model{at_horizon(results, evaluated(results).horizons[-1])} are {listing(said)}: before "
        f"they are used there, the baseline must be adapted, whatever the model's C."
    )


def _missing(results: Results) -> list[Block]:
    """Which numbers there are not, and why."""
    if not has_time(results):
        _, item = judged_set(results)
        failed = [
            f"{model_label(results, m)}: {r.main.reason or r.main.status}"
            for m, r in item.models.items()
            if r.main.status != "ok"
        ]
        return [Callout("warning", "Models without numbers", "; ".join(failed) + ".")] if failed else []
    reasons = [
        f"{set_label(results, name)}, {model_label(results, model)}, {horizon(results, at.time)}: {why}"
        for name, entry in sets_in_order(results).items()
        for model, result in entry.models.items()
        for at in result.horizons
        if (why := at.auc.reason or at.reason)
    ]
    return [Callout("note", "Not estimable", f"{'; '.join(dict.fromkeys(reasons))}.")] if reasons else []


def ok_models(results: Results, item: SetResult) -> dict[str, ModelResult]:
    """Models with numbers, in the study's order."""
    return {m: item.models[m] for m in model_names(results) if m in item.models and item.models[m].main.status == "ok"}


def _at(results: Results, item: SetResult, time: float | None) -> dict[str, HorizonResult]:
    """The models of a set at a horizon; None: without time."""
    if time is None:
        return {model: found.main for model, found in ok_models(results, item).items()}
    found = {model: item.models[model].at(time) for model in model_names(results) if model in item.models}
    return {model: at for model, at in found.items() if at is not None}


def _set_figure(results: Results, name: str, calibrated: tuple[str, ...]) -> FigureBlock | None:
    """ROC and decision curves of one set, calibration of the main model in the sets named."""
    found = [_roc_panel(results, name), _decision_panel(results, name)]
    main = main_model(results)
    for key in dict.fromkeys(calibrated):
        item = evaluated(results).sets.get(key)
        apparent = ", the patients of the fit itself" if item is not None and item.kind == "apparent" else ""
        text = f"calibration of the {main} model, {set_word(results, key)}{apparent}"
        found.append((_calibration_of(results, main, key) if item is not None else None, text))
    shown = [(panel, text) for panel, text in found if panel is not None]
    key = "performance" if len(calibrated) > 1 or name == "training" else f"performance-{name}"
    return figure_of(key, "Performance", [panel for panel, _ in shown], [text for _, text in shown])


def _roc_panel(results: Results, name: str, time: float | None = None) -> tuple[Panel | None, str]:
    """ROC curves of all models on one set, and what they are."""
    item = evaluated(results).sets[name]
    curves = {
        model_label(results, model): (at.roc, at.auc)
        for model, at in _at(results, item, time).items()
        if at.roc is not None
    }
    of = " (curves of the mean risk over the repeats, AUCs of single fits)" if item.repeats > 1 else ""
    text = (
        f"ROC curves, {set_word(results, name)}{of}"
        if time is None
        else f"at {horizon(results, time)}, {set_word(results, name)}"
    )
    return _drawn_roc(results, curves, text), text


def _drawn_roc(results: Results, curves: dict[str, tuple[RocPoints, Estimate]], text: str) -> Panel | None:
    if not curves:
        return None
    alt = f"{text}: " + "; ".join(f"{name} AUC {estimate(auc)}" for name, (_, auc) in curves.items())
    return Panel(partial(draw_roc, curves, ci=confidence(results)), capital(alt))


def _roc_figure(results: Results) -> FigureBlock | None:
    """Time-dependent ROC curves: one panel a horizon and set, or the sets in one panel where there is one model."""
    found: list[tuple[Panel | None, str]] = []
    sets, names = unseen_sets(results), model_names(results)
    for time in evaluated(results).horizons:
        if len(names) > 1:
            found += [_roc_panel(results, name, time) for name in sets]
            continue
        points = {name: _at(results, entry, time).get(names[0]) for name, entry in sets.items()}
        curves = {
            set_label(results, name).replace(" set", ""): (at.roc, at.auc)
            for name, at in points.items()
            if at is not None and at.roc is not None
        }
        text = f"at {horizon(results, time)}"
        found.append((_drawn_roc(results, curves, text), text))
    shown = [(panel, text) for panel, text in found if panel is not None]
    return figure_of("roc", "Time-dependent ROC curves", [panel for panel, _ in shown], [text for _, text in shown])


def _decision_panel(results: Results, name: str, time: float | None = None) -> tuple[Panel | None, str]:
    """Decision curves of all models on one set, and what they are."""
    item = evaluated(results).sets[name]
    curves = {
        model_label(results, model): at.decision
        for model, at in _at(results, item, time).items()
        if at.decision is not None
    }
    if not curves:
        return None, ""
    state = next((state for state in item.states if state.time == time), item.states[-1])
    draw = partial(draw_decision, curves, state.thresholds, state.treat_all)
    names = ", ".join(curves)
    alt = f"Net benefit by threshold probability of {names}, treat all and treat none"
    if time is None:
        bands = " with bootstrap bands" if any(len(curve.low) for curve in curves.values()) else ""
        text = f"decision curves{bands}, {set_word(results, name)}"
        return Panel(partial(draw, prevalence=item.events / item.n), alt), text
    text = f"{set_word(results, name)}, {horizon(results, time)}"
    return Panel(partial(draw, prevalence=state.risk.value, title=capital(text)), f"{alt}, {text}"), text


def _decision_sets(results: Results) -> list[str]:
    """The frozen sets; the cross-validated training set where there is none."""
    unseen = unseen_sets(results)
    return [name for name, entry in unseen.items() if entry.kind == "frozen"] or list(unseen)[:1]


def _decision_figure(results: Results, sets: dict[str, SetResult], key: str) -> FigureBlock | None:
    found = [_decision_panel(results, name, state.time) for name, entry in sets.items() for state in entry.states]
    shown = [(panel, text) for panel, text in found if panel is not None]
    title = "Decision curves with bootstrap bands"
    return figure_of(key, title, [panel for panel, _ in shown], [text for _, text in shown])


def _calibration_of(results: Results, model: str, name: str) -> Panel | None:
    """Calibration of one model on one set, with the risks of its patients; without time."""
    found = evaluated(results).sets[name].models.get(model)
    c = None if found is None or found.main.status != "ok" else found.main.calibration
    if found is None or c is None or not c.groups:
        return None
    notes = [f"Slope {estimate(c.slope, 2)}", f"Intercept {estimate(c.citl, 2)}", f"ICI {number(c.ici.value, 3)}"]
    positive, negative = event_names(results)
    draw = partial(
        draw_calibration,
        c.groups,
        smooth=c.curve,
        notes=notes,
        risks=found.main.risks,
        outcomes=found.main.outcomes,
        event_label=positive,
        no_event_label=negative,
        ci=confidence(results),
    )
    return Panel(draw, f"Observed proportion against predicted risk, {model} model: {'; '.join(notes)}")


def calibration_panel(results: Results, c: Calibration, title: str) -> Panel:
    """Calibration at a horizon."""
    notes = [f"O/E {estimate(c.observed_expected, 2)}", f"Slope {estimate(c.slope, 2)}"]
    notes += [f"ICI {number(c.ici.value, 3)}"] if c.ici.known else []
    draw = partial(draw_calibration, c.groups, smooth=c.curve, notes=notes, ci=confidence(results), title=title)
    return Panel(draw, f"Observed against predicted risk, {title}: {'; '.join(notes)}")


def _calibration_figure(results: Results, model: str | None = None) -> FigureBlock | None:
    """Calibration of a model (None: the main one): a column a horizon, a row a set of unseen patients."""
    name = model or main_model(results)
    panels, texts = [], []
    for key, entry in unseen_sets(results).items():
        for time in evaluated(results).horizons:
            at = _at(results, entry, time).get(name)
            if at is not None and at.calibration is not None and at.calibration.groups:
                texts.append(f"{set_word(results, key)}, {horizon(results, time)}")
                panels.append(calibration_panel(results, at.calibration, capital(texts[-1])))
    key = "calibration-curves" if model is None else f"calibration-{name}"
    return figure_of(key, f"Calibration of the {model_word(results, name)} model", panels, texts)


def discrimination_table(results: Results) -> Table:
    """AUC, Brier score and calibration of every model on every set; of follow-up C and the AUC at each horizon."""
    if has_time(results):
        return _discrimination_by_time(results)
    rows: list[Row] = []
    for name, item in evaluated(results).sets.items():
        apparent = ", apparent" if item.kind == "apparent" else ""
        rows.append(Row((f"{set_label(results, name)}{apparent} (n = {item.n}, {item.events} events)",), "group"))
        for model in (name for name in model_names(results) if name in item.models):
            at, c = item.models[model].main, item.models[model].main.calibration
            if at.status != "ok":
                rows.append(Row((model_label(results, model), at.reason or at.status), "indent"))
                continue
            fit = [MISSING] * 5
            if c is not None:
                test = p_value(c.hosmer_lemeshow.p) if c.hosmer_lemeshow is not None else MISSING
                fit = [number(c.brier.value, 3), estimate(c.slope, 2), estimate(c.citl, 2)]
                fit += [number(c.ici.value, 3), test]
            rows.append(Row((model_label(results, model), estimate(at.auc), *fit), "indent"))
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
    if any(item.kind == "nested" for item in evaluated(results).sets.values()):
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


def _discrimination_by_time(results: Results) -> Table:
    found = evaluated(results)
    rows: list[Row] = []
    for name, entry in sets_in_order(results).items():
        rows.append(Row((f"{set_label(results, name)} (n = {entry.n}, {entry.events} events)",), "group"))
        for model, result in entry.models.items():
            aucs = {at.time: _known(at.auc) for at in result.horizons}
            cells = [aucs.get(time, MISSING) for time in found.horizons]
            rows.append(Row((model_label(results, model), _known(result.discrimination), *cells), "indent"))
    ci = confidence(results)
    heads = [f"AUC at {horizon(results, time)} ({ci})" for time in found.horizons]
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
    if "binary" in model_names(results) and len(found.horizons) > 1:
        notes.append("A binary model has a risk at its own horizon only.")
    return make_table("Discrimination", ["Model", f"C ({ci})", *heads], rows, notes)


def _known(value: Estimate, digits: int = 3) -> str:
    return estimate(value, digits) if value.known else MISSING


def calibration_table(results: Results) -> Table:
    """Observed over expected, slope, ICI and Brier score at each horizon."""
    rows: list[Row] = []
    for name, entry in sets_in_order(results).items():
        rows.append(Row((set_label(results, name),), "group"))
        for model, result in entry.models.items():
            label = model_label(results, model)
            for at in result.horizons:
                c, cells = at.calibration, (MISSING,) * 5
                if c is not None:
                    accuracy = f"{number(c.brier.value, 3)} ({number(c.brier_null, 3)})"
                    fit = (_known(c.observed_expected, 2), _known(c.slope, 2), number(c.ici.value, 3))
                    cells = (*fit, accuracy, number(c.brier_scaled, 3))
                rows.append(Row((f"{label}, {horizon(results, at.time)}", *cells), "indent"))
            whole = result.integrated_brier
            if whole is not None:
                cells = (
                    *(MISSING,) * 3,
                    f"{number(whole.value, 3)} ({number(whole.null, 3)})",
                    number(whole.scaled, 3),
                )
                last = horizon(results, evaluated(results).horizons[-1])
                rows.append(Row((f"{label}, 0 to {last}", *cells), "indent"))
    ci = confidence(results)
    columns = ["Model and horizon", f"O/E ({ci})", f"Slope ({ci})", "ICI", "Brier (no model)", "Scaled Brier"]
    notes = [
        "O/E, observed over expected risk: 1 is perfect, below 1 the predicted risks are too high. Slope of the "
        "complementary log-log risk: 1 is perfect, below 1 predictions are too extreme. ICI, integrated calibration "
        "index: mean distance of smoothed observed and predicted risk. Brier score with that of the observed risk for "
        "everybody in brackets; scaled: share of it that the model removes, below 0 it does worse. Rows from 0 on hold "
        "the integrated Brier score."
    ]
    return make_table("Calibration and accuracy", columns, rows, notes)


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
                lines.append(
                    Row((model_label(results, model), f"{number(t.threshold, 3)}, {t.name}", *shown, counts), "indent")
                )
        if lines:
            rows += [Row((set_label(results, name),), "group"), *lines]
    columns = ["Model", "Cut-off", "Sensitivity", "Specificity", "PPV", "NPV", "Accuracy", "TP/FP/TN/FN"]
    notes = [
        f"Percent ({confidence(results)}). A patient counts as positive at or above the cut-off, which was fixed in "
        "the training set. PPV and NPV, positive and negative predictive value; TP, true positives; FP, false "
        "positives; TN, true negatives; FN, false negatives.",
    ]
    if has_time(results):
        when = horizon(results, evaluated(results).horizons[-1])
        notes.append(f"State at {when}, weighted for censoring: counts are rounded sums of weights.")
    return make_table("Classification at fixed cut-offs", columns, rows, notes)


def _of_main(results: Results) -> bool:
    """Whether there are so many pairs that those of the main model stand alone, and the others in the supplement."""
    main, sets = main_model(results), evaluated(results).sets.values()
    pairs = [[{c.first, c.second} for c in item.comparisons] for item in sets]
    return any(len(set(map(frozenset, each))) > _MOST_PAIRS and any(main in pair for pair in each) for each in pairs)


def comparison_table(results: Results, others: bool = False) -> Table:
    """Differences of discrimination between models of the same patients, and how patients are reclassified.

    Of many pairs those of the main model; `others`: those that are left out so.
    """
    sets = unseen_sets(results) if has_time(results) else evaluated(results).sets
    more = any(c.nri is not None or c.idi is not None for item in sets.values() for c in item.comparisons)
    divided, main = _of_main(results), main_model(results)
    rows: list[Row] = []
    for name, item in sets.items():
        shown = [c for c in item.comparisons if (divided and main not in (c.first, c.second)) == others]
        if shown:
            rows.append(Row((set_label(results, name),), "group"))
        for c in shown:
            cells = [f"{model_label(results, c.first)} against {model_word(results, c.second)}"]
            if has_time(results):
                cells.append("C" if c.measure == "C" else f"AUC at {horizon(results, c.time)}")
            cells += [estimate(c.difference), number(c.z, 2), p_value(c.p)]
            cells += [_change(None if c.nri is None else c.nri.nri), _change(c.idi)] if more else []
            rows.append(Row(tuple(cells), "indent"))
    ci = confidence(results)
    difference = ["Measure", f"Difference ({ci})"] if has_time(results) else [f"Difference in AUC ({ci})"]
    columns = ["Models", *difference, "z", "P", *([f"NRI ({ci})", f"IDI ({ci})"] if more else [])]
    notes = _comparison_notes(results, more)
    if divided and not others:
        notes.append(f"Pairs with the {model_word(results, main)} model; all others are in the supplement.")
    title = "Comparison of models" + (", pairs without the main model" if others else "")
    return make_table(title, columns, rows, notes)


def _comparison_notes(results: Results, more: bool) -> list[str]:
    nested = any(item.kind == "nested" for item in evaluated(results).sets.values())
    if has_time(results):
        notes = ["P two-sided, from the influence functions of both estimates, not corrected for multiple comparisons."]
        folds = (
            "Cross-validated: C is compared within the folds of every repeat, AUC by each patient's mean risk over the "
            "repeats."
        )
    else:
        notes = ["P of DeLong's test for paired AUCs, two-sided, not corrected for multiple comparisons."]
        folds = (
            "In nested cross-validation models are compared by the differences of their AUCs within the folds of every "
            "repeat; NRI and IDI are of each patient's mean risk over the repeats."
        )
    notes += [folds] if nested else []
    if more:
        notes.append("NRI, continuous net reclassification improvement; IDI, integrated discrimination improvement.")
    return notes


def _change(change: Change | None) -> str:
    return MISSING if change is None else with_interval(change.value, change.low, change.high)


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
        (set_label(results, other).removesuffix(" set"), model.main.risks, model.main.outcomes)
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
    caption = f"Predicted risk of the {main} model: (a) every patient of the {set_word(results, name)}"
    caption += f", cut-off {number(cut, 3)}" if cut is not None else ""
    return FigureBlock("risks", f"{caption}; (b) by outcome in each set.", panels)
