"""Centers, learning curve, importance, subgroups, recalibration and conformal sets of a time-to-event study."""

from __future__ import annotations

from functools import partial

from hepacast.evaluation.calibration import Calibration
from hepacast.evaluation.recalibration import Updating
from hepacast.evaluation.scrutiny import ModelScrutiny, PredictionScrutiny
from hepacast.evaluation.subgroups import SubgroupRow
from hepacast.figures import BandCurve, CalibrationPoints, draw_calibration
from hepacast.figures.labels import feature_label
from hepacast.figures.scrutiny import AreaRow, BarRow, LearningLine, draw_areas, draw_bars, draw_learning_curve
from hepacast.report.content.common import estimate, is_finite
from hepacast.report.content.scrutiny import build_noise, conformal_rows, left_out
from hepacast.report.content.survival_common import by_word, ci_of, horizon, lower_first, model_name, set_name, survival
from hepacast.report.formatting import MISSING, number, p_sentence, p_value, percent
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import Survival
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, make_table

_MOST = 15
_METHODS = {
    "none": "As it is",
    "intercept": "Baseline hazard × one number",
    "slope": "The same, and slope of the linear predictor",
    "baseline": "Baseline hazard estimated anew, and slope",
    "refit": "Coefficients and baseline estimated anew",
}


def build(results: Results) -> list[Block]:
    """Everything that was looked at; what was left out by rule is said in one sentence each."""
    item = survival(results)
    blocks: list[Block] = []
    if results.model_scrutiny is not None:
        found = results.model_scrutiny
        blocks += [*_centers(item, found), *_learning(item, found), *_importance(results, item, found)]
    if results.prediction_scrutiny is not None:
        later = results.prediction_scrutiny
        blocks += _subgroups(item, later)
        for entry in later.recalibration:
            blocks += _recalibration(item, entry, later)
        blocks += _conformal(results, item, later)
    return [*blocks, *build_noise(results)]


def _centers(item: Survival, found: ModelScrutiny) -> list[Block]:
    if not found.centers.rows:
        return left_out("Leave one center out", found.centers.reason)
    areas, rows = [], []
    for model in dict.fromkeys(row.model for row in found.centers.rows):
        name = f"{model_name(item, model)} model"
        areas.append(AreaRow(name, heading=True))
        rows.append(Row((name,), "group"))
        for row in (entry for entry in found.centers.rows if entry.model == model):
            areas.append(
                AreaRow(f"{row.center} ({row.events}/{row.n})", row.discrimination.value, *row.discrimination.ci)
            )
            c = estimate(row.discrimination) if row.discrimination.known else row.reason or MISSING
            rows.append(
                Row(
                    (
                        row.center,
                        f"{row.events} / {row.n}",
                        c,
                        estimate(row.observed_expected, 2),
                        estimate(row.slope, 2),
                    ),
                    "indent",
                )
            )
    main = [row for row in found.centers.rows if row.model == item.models.main and row.discrimination.known]
    text = (
        "Each center predicted by models that were fitted, with every selection, to the patients of the other centers"
    )
    if main:
        worst, best = (pick(main, key=lambda row: row.discrimination.value) for pick in (min, max))
        text += (
            f": the C of the {item.models.main} model goes from {number(worst.discrimination.value, 3)} "
            f"({worst.center}) to {number(best.discrimination.value, 3)} ({best.center})"
        )
    caption = "Harrell's C in each center by models of the other centers (events/patients)."
    at = f"{by_word(item)} {horizon(item, found.horizon)}"
    notes = [
        f"O/E, observed over expected risk {at}, and slope of the complementary log-log risk: 1 is perfect. All "
        "analysed patients of the study take part."
    ]
    ci = ci_of(item)
    heads = ["Center", "Events / patients", f"C ({ci})", f"O/E ({ci})", f"Slope ({ci})"]
    alt = "; ".join(f"{row.label} {number(row.auc, 3)}" for row in areas if not row.heading)
    return [
        Paragraph(text + " ({centers})."),
        FigureBlock("centers-figure", caption, (Panel(partial(draw_areas, areas, measure="C", ci=ci), alt),)),
        TableBlock("centers", make_table("Leave one center out", heads, rows, notes)),
    ]


def _learning(item: Survival, found: ModelScrutiny) -> list[Block]:
    if not found.learning_curve.rows:
        return left_out("Learning curve", found.learning_curve.reason)
    lines = []
    for model in dict.fromkeys(row.model for row in found.learning_curve.rows):
        part = [row for row in found.learning_curve.rows if row.model == model and is_finite(row.value)]
        if part:
            sd = [row.sd if is_finite(row.sd) else 0.0 for row in part]
            lines.append(LearningLine(model_name(item, model), [r.n_train for r in part], [r.value for r in part], sd))
    if not lines:
        return left_out("Learning curve", "no fit gave a C")
    gain = [f"{line.name} {number(line.auc[0], 3)} to {number(line.auc[-1], 3)}" for line in lines]
    first = lines[0].n_train
    caption = (
        "Learning curve: Harrell's C in held-out folds by number of training patients, everything refitted. A curve "
        "that still rises at its end says that more patients would help."
    )
    text = f"From {first[0]:.0f} to {first[-1]:.0f} training patients C goes: {'; '.join(gain)}."
    return [
        Paragraph(f"{text} ({{learning}})"),
        FigureBlock("learning", caption, (Panel(partial(draw_learning_curve, lines, measure="C"), text),)),
    ]


def _importance(results: Results, item: Survival, found: ModelScrutiny) -> list[Block]:
    words = {column.name: column.label for column in results.columns}
    rows = [row for row in found.importance.rows if row.model == item.models.main][:_MOST]
    if not rows:
        return left_out("Importance of the predictors", found.importance.reason)
    bars = [
        BarRow(feature_label(row.name) if ":" in row.name else words.get(row.name, row.name), row.loss, row.sd)
        for row in rows
    ]
    caption = (
        f"Importance in held-out folds, {lower_first(model_name(item, item.models.main))} model: loss of C when a "
        "predictor is shuffled among patients that the model had not seen; lines are one SD over folds"
        + (f" (the {_MOST} largest)." if len(rows) == _MOST else ".")
    )
    alt = "; ".join(f"{bar.label} {number(bar.value, 3)}" for bar in bars)
    return [
        Paragraph("What the predictors are worth in patients that the model had not seen: {importance}."),
        FigureBlock("importance", caption, (Panel(partial(draw_bars, bars, x_label="Loss of C"), alt),)),
    ]


def _subgroups(item: Survival, found: PredictionScrutiny) -> list[Block]:
    rows = found.subgroups.rows
    if len(rows) < 2:
        return left_out("Subgroups", found.subgroups.reason)
    areas: list[AreaRow] = []
    lines: list[Row] = []
    for row in rows:
        first = not any(line.label == row.group and line.heading for line in areas)
        if row.level and first:
            areas.append(AreaRow(row.group, heading=True))
            p = f" ({p_sentence(row.p_equal)} for equal C)" if is_finite(row.p_equal) else ""
            lines.append(Row((f"{row.group}{p}",), "group"))
        c = row.discrimination
        areas.append(AreaRow(f"{row.level or 'All patients'} ({row.events}/{row.n})", c.value, *c.ci))
        lines.append(_subgroup_row(row))
    where = lower_first(set_name(found.subgroups.set))
    caption = (
        f"The {lower_first(model_name(item, found.model))} model in subgroups, {where} (events/patients); gray line: "
        "all patients."
    )
    notes = [
        f"O/E, observed over expected risk {by_word(item)} {horizon(item, found.horizon)}. A subgroup with fewer than "
        "10 events or 10 patients without has counts only. Small subgroups have wide limits: no difference found is "
        "not equality."
    ]
    ci = ci_of(item)
    heads = ["Group", "Events / patients", f"C ({ci})", f"O/E ({ci})", f"Slope ({ci})"]
    table = make_table(f"Subgroups, {lower_first(model_name(item, found.model))} model, {where}", heads, lines, notes)
    alt = "; ".join(f"{line.label} {number(line.auc, 3)}" for line in areas if not line.heading)
    draw = partial(draw_areas, areas, overall=rows[0].discrimination.value, measure="C", ci=ci)
    return [
        Paragraph(f"Subgroups of the {where} are in {{subgroups}}."),
        FigureBlock("subgroups-figure", caption, (Panel(draw, alt),)),
        TableBlock("subgroups", table),
    ]


def _subgroup_row(row: SubgroupRow) -> Row:
    c = estimate(row.discrimination) if row.discrimination.known else row.reason or MISSING
    oe, slope = estimate(row.observed_expected, 2), estimate(row.slope, 2)
    label = row.level or "All patients"
    return Row((label, f"{row.events} / {row.n}", c, oe, slope), "indent" if row.level else "body")


def _recalibration(item: Survival, entry: Updating, found: PredictionScrutiny) -> list[Block]:
    where = lower_first(set_name(entry.set))
    if not entry.methods:
        return left_out(f"Recalibration in the {where}", entry.reason)
    rows = [
        Row(
            (
                _METHODS[row.method] + (" (chosen)" if row.method == entry.chosen else ""),
                number(row.shift, 3),
                number(row.slope, 3),
                p_value(row.p) if is_finite(row.p) else MISSING,
                row.reason or percent(row.mean_risk),
                number(row.brier, 4),
            )
        )
        for row in entry.methods
    ]
    at = f"{by_word(item)} {horizon(item, found.horizon)}"
    name = lower_first(model_name(item, found.model))
    text = f"Taken to the {where}, where {entry.events} events came {at},"
    if is_finite(entry.ratio):
        text += f" at {number(entry.ratio, 2)} times the rate that the {name} model expected,"
    if entry.chosen is not None:
        text += f" the closed test chooses “{lower_first(_METHODS[entry.chosen])}” ({{recalibration-{entry.set}}})."
    else:
        text += f" these changes would be made ({{recalibration-{entry.set}}}); competing events leave no test of them."
    observed = f" {percent(entry.observed.value)} observed." if entry.observed is not None else ""
    notes = [
        "New cumulative hazard = exp(shift) × old baseline hazard × exp(slope × linear predictor), with follow-up to "
        f"the horizon.{observed} P: likelihood ratio against the largest change that keeps the baseline's shape. "
        f"Mean risk {at} and Brier score after the change are of the patients that it was fitted to: they show its "
        "size, not its worth."
    ]
    heads = ["Change", "Shift (log hazard)", "Slope", "P", "Mean risk", "Brier score"]
    table = make_table(f"Recalibration of the {name} model, {where}", heads, rows, notes, words=True)
    blocks: list[Block] = [Paragraph(text), TableBlock(f"recalibration-{entry.set}", table)]
    if entry.before is not None and entry.after is not None and entry.chosen is not None:
        panels = (_panel(item, entry.before, "As it is"), _panel(item, entry.after, "After the change"))
        caption = (
            f"Calibration in the {where} {at}: (a) as it is; (b) after the chosen change "
            f"({lower_first(_METHODS[entry.chosen])}), in the patients that it was fitted to."
        )
        blocks.append(FigureBlock(f"recalibration-{entry.set}-figure", caption, panels, columns=2))
    return blocks


def _panel(item: Survival, found: Calibration, title: str) -> Panel:
    points = CalibrationPoints(
        [g.predicted for g in found.groups],
        [g.observed.value for g in found.groups],
        [g.observed.low for g in found.groups],
        [g.observed.high for g in found.groups],
    )
    curve = found.curve
    smooth = None if curve is None else BandCurve(curve.predicted, curve.observed, curve.low, curve.high)
    notes = [f"O/E {estimate(found.observed_expected, 2)}", f"Slope {estimate(found.slope, 2)}"]
    draw = partial(draw_calibration, points, smooth=smooth, notes=notes, ci=ci_of(item), title=title)
    return Panel(draw, f"{title}: {'; '.join(notes)}")


def _conformal(results: Results, item: Survival, found: PredictionScrutiny) -> list[Block]:
    if not found.conformal.rows:
        return left_out("Conformal sets", found.conformal.reason)
    at = f"{by_word(item)} {horizon(item, found.horizon)}"
    level = percent(found.conformal.level, 0)
    text = (
        f"A {level} conformal set lists what stays possible for one patient {at}: the event, its absence or both; such "
        "sets were calibrated on out-of-fold risks, weighted for censoring, to hold the truth of "
        f"{level} of the patients of either class ({{conformal}})."
    )
    example = item.example.patient if item.example is not None else ""
    names = {entry.set: set_name(entry.set) for entry in found.conformal.rows}
    blocks = conformal_rows(found.conformal, names, lower_first(model_name(item, found.model)), text, example)
    return list(blocks)
