"""Centers, learning curve, what the models use, subgroups, recalibration, conformal sets, negative controls."""

from __future__ import annotations

from functools import partial

from hepacast.core.hashing import hash_value
from hepacast.core.stages import read_mark
from hepacast.evaluation.conformal import ConformalInfo, CoverageRow
from hepacast.evaluation.recalibration import Updating
from hepacast.evaluation.scrutiny import ModelScrutiny, PredictionScrutiny
from hepacast.evaluation.validated import coverage_is_broken
from hepacast.figures.labels import feature_label
from hepacast.figures.noise import NullPanel, draw_noise
from hepacast.figures.scrutiny import AreaRow, BarRow, LearningLine, draw_areas, draw_bars, draw_learning_curve
from hepacast.report.content.common import confidence, estimate, is_finite, main_model, model_label, set_label
from hepacast.report.formatting import MISSING, number, p_sentence, p_value, percent
from hepacast.report.inputs import Results
from hepacast.report.inputs.noise import NoiseControl
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.tables import Row, make_table

_MOST = 15
_METHODS = {"none": "As it is", "intercept": "New intercept", "slope": "New intercept and slope"}


def build(results: Results) -> list[Block]:
    """Everything that was looked at; what was left out by rule is said in one sentence each."""
    blocks: list[Block] = []
    if results.model_scrutiny is not None:
        blocks += _models(results, results.model_scrutiny)
    if results.prediction_scrutiny is not None:
        blocks += _predictions(results, results.prediction_scrutiny)
    return [*blocks, *build_noise(results)]


def _models(results: Results, found: ModelScrutiny) -> list[Block]:
    name = main_model(results)
    return [*_centers(results, found, name), *_learning(found), *_importance(results, found, name), *_shapley(found)]


def left_out(what: str, reason: str | None) -> list[Block]:
    """One sentence on a part that is not there, unless nobody asked for it."""
    return [Paragraph(f"{what}: left out, {reason}.")] if reason and reason != "not asked for" else []


def _centers(results: Results, found: ModelScrutiny, name: str) -> list[Block]:
    if not found.centers.rows:
        return left_out("Leave one center out", found.centers.reason)
    areas, rows = [], []
    for model in dict.fromkeys(row.model for row in found.centers.rows):
        areas.append(AreaRow(f"{model_label(model)} model", heading=True))
        rows.append(Row((f"{model_label(model)} model",), "group"))
        for row in (item for item in found.centers.rows if item.model == model):
            auc = row.discrimination
            areas.append(AreaRow(f"{row.center} ({row.events}/{row.n})", auc.value, *auc.ci))
            cells = (row.center, f"{row.events} / {row.n}", estimate(auc))
            rows.append(Row((*cells, number(row.slope.value, 2), number(row.citl.value, 2)), "indent"))
    main = [row for row in found.centers.rows if row.model == name and row.discrimination.known]
    text = (
        "Each center predicted by models that were fitted, with every selection, to the patients of the other centers"
    )
    if main:
        worst, best = (pick(main, key=lambda row: row.discrimination.value) for pick in (min, max))
        text += (
            f": the AUC of the {name} model goes from {number(worst.discrimination.value, 3)} "
            f"({worst.center}) to {number(best.discrimination.value, 3)}"
        )
    caption = "AUC in each center by models of the other centers (events/patients)."
    notes = ["Slope and intercept of the calibration; all analysed patients of the study take part."]
    heads = ["Center", "Events / patients", f"AUC ({confidence(results)})", "Slope", "Intercept"]
    alt = "; ".join(f"{row.label} {number(row.auc, 3)}" for row in areas if not row.heading)
    return [
        Paragraph(text + " ({centers})."),
        FigureBlock("centers-figure", caption, (Panel(partial(draw_areas, areas, ci=confidence(results)), alt),)),
        TableBlock("centers", make_table("Leave one center out", heads, rows, notes)),
    ]


def _learning(found: ModelScrutiny) -> list[Block]:
    if not found.learning_curve.rows:
        return left_out("Learning curve", found.learning_curve.reason)
    lines = []
    for model in dict.fromkeys(row.model for row in found.learning_curve.rows):
        part = [row for row in found.learning_curve.rows if row.model == model and is_finite(row.value)]
        if part:
            sd = [row.sd if is_finite(row.sd) else 0.0 for row in part]
            lines.append(LearningLine(model_label(model), [r.n_train for r in part], [r.value for r in part], sd))
    if not lines:
        return left_out("Learning curve", "no fit gave an AUC")
    gain = [f"{line.name} {number(line.auc[0], 3)} to {number(line.auc[-1], 3)}" for line in lines]
    last = lines[0]
    caption = (
        "Learning curve: AUC in held-out folds by number of training patients, everything refitted. A curve that still "
        "rises at its end says that more patients would help."
    )
    text = f"From {last.n_train[0]:.0f} to {last.n_train[-1]:.0f} training patients the AUC goes: {'; '.join(gain)}."
    return [
        Paragraph(f"{text} ({{learning}})"),
        FigureBlock("learning", caption, (Panel(partial(draw_learning_curve, lines), text),)),
    ]


def _importance(results: Results, found: ModelScrutiny, name: str) -> list[Block]:
    words = {column.name: column.label for column in results.columns}
    rows = [row for row in found.importance.rows if row.model == name][:_MOST]
    if not rows:
        return left_out("Importance of the predictors", found.importance.reason)
    bars = [
        BarRow(feature_label(row.name) if ":" in row.name else words.get(row.name, row.name), row.loss, row.sd)
        for row in rows
    ]
    caption = (
        f"Importance in held-out folds, {name} model: loss of AUC when a predictor is shuffled among patients that the "
        f"model had not seen; lines are one SD over folds" + (f" (the {_MOST} largest)." if len(rows) == _MOST else ".")
    )
    alt = "; ".join(f"{bar.label} {number(bar.value, 3)}" for bar in bars)
    return [
        Paragraph("What the predictors are worth in patients that the model had not seen: {importance}."),
        FigureBlock("importance", caption, (Panel(partial(draw_bars, bars, x_label="Loss of AUC"), alt),)),
    ]


def _shapley(found: ModelScrutiny) -> list[Block]:
    rows = found.shapley.rows[:_MOST]
    if not rows:
        return []
    bars = [
        BarRow(
            feature_label(row.name) if ":" in row.name else f"{row.name} ({row.features} features)",
            row.mean_absolute,
            falling=is_finite(row.direction) and row.direction < 0,
        )
        for row in rows
    ]
    caption = (
        f"Shapley values of the radiomics score, which has no coefficients: mean size in {found.shapley.patients} "
        "training patients, by sampling of orders."
    )
    alt = "; ".join(f"{bar.label} {number(bar.value, 3)}" for bar in bars)
    single = any(is_finite(row.direction) for row in rows)
    draw = partial(draw_bars, bars, x_label="Mean |Shapley value| (score)", two_colors=single)
    return [
        Paragraph("What the radiomics score is made of: {shapley}."),
        FigureBlock("shapley", caption, (Panel(draw, alt),)),
    ]


def _predictions(results: Results, found: PredictionScrutiny) -> list[Block]:
    blocks = _subgroups(results, found)
    for entry in found.recalibration:
        blocks += _recalibration(entry, found.model)
    return [*blocks, *_conformal(results, found)]


def _subgroups(results: Results, found: PredictionScrutiny) -> list[Block]:
    rows = found.subgroups.rows
    if len(rows) < 2:
        return left_out("Subgroups", found.subgroups.reason)
    areas: list[AreaRow] = []
    lines: list[Row] = []
    for row in rows:
        first = not any(line.label == row.group and line.heading for line in areas)
        if row.level and first:
            areas.append(AreaRow(row.group, heading=True))
            p = f" ({p_sentence(row.p_equal)} for equal AUCs)" if is_finite(row.p_equal) else ""
            lines.append(Row((f"{row.group}{p}",), "group"))
        label = row.level or "All patients"
        area = row.discrimination
        areas.append(AreaRow(f"{label} ({row.events}/{row.n})", area.value, *area.ci))
        auc = estimate(area) if area.known else row.reason or MISSING
        fit = (number(row.observed_expected.value, 2), number(row.slope.value, 2))
        cells = (label, f"{row.events} / {row.n}", auc, *fit)
        lines.append(Row(cells, "indent" if row.level else "body"))
    where = set_label(found.subgroups.set).lower()
    caption = f"The {found.model} model in subgroups, {where} (events/patients); gray line: all patients."
    notes = [
        "O/E: observed over expected events. A subgroup with fewer than 10 events or 10 patients without has counts "
        "only. Small subgroups have wide limits: no difference found is not equality."
    ]
    if found.subgroups.set == "nested":
        notes.append("Judged by each patient's mean risk over the repeats of nested cross-validation.")
    heads = ["Group", "Events / patients", f"AUC ({confidence(results)})", "O/E", "Slope"]
    table = make_table(f"Subgroups, {found.model} model, {where}", heads, lines, notes)
    alt = "; ".join(f"{line.label} {number(line.auc, 3)}" for line in areas if not line.heading)
    draw = partial(draw_areas, areas, overall=rows[0].discrimination.value, ci=confidence(results))
    return [
        Paragraph(f"Subgroups of the {where} are in {{subgroups}}."),
        FigureBlock("subgroups-figure", caption, (Panel(draw, alt),)),
        TableBlock("subgroups", table),
    ]


def _recalibration(entry: Updating, model: str) -> list[Block]:
    where = set_label(entry.set).lower()
    if entry.chosen is None:
        return left_out(f"Recalibration in the {where}", entry.reason)
    rows = [
        Row(
            (
                _METHODS[row.method] + (" (chosen)" if row.method == entry.chosen else ""),
                number(row.shift, 3),
                number(row.slope, 3),
                p_value(row.p),
                percent(row.mean_risk),
                number(row.brier, 4),
            )
        )
        for row in entry.methods
    ]
    word = _METHODS[entry.chosen].lower()
    text = (
        f"Taken to the {where} ({entry.events} of {entry.n} with the event), the {model} model's calibration: "
        f"the closed test chooses “{word}” ({{recalibration-{entry.set}}})."
    )
    notes = [
        "New log odds = intercept + slope × old log odds. P: likelihood ratio against the largest change. Mean risk, "
        "Brier score after the change are of the patients that it was fitted to: they show its size, not its worth."
    ]
    heads = ["Change", "Intercept", "Slope", "P", "Mean risk", "Brier score"]
    table = make_table(f"Recalibration of the {model} model, {where}", heads, rows, notes)
    return [Paragraph(text), TableBlock(f"recalibration-{entry.set}", table)]


def _conformal(results: Results, found: PredictionScrutiny) -> list[Block]:
    item = found.conformal
    if not item.rows:
        return left_out("Conformal sets", item.reason)
    text = (
        f"A {percent(item.level, 0)} conformal set lists the outcomes that stay possible for one patient; such sets "
        f"were calibrated on out-of-fold risks to hold the true outcome of {percent(item.level, 0)} of the patients of "
        f"each class ({{conformal}})."
    )
    example = results.models.example.patient if results.models is not None and results.models.example else ""
    names = {row.set: set_label(row.set) for row in item.rows}
    return conformal_rows(item, names, found.model, text, example)


def conformal_rows(
    item: ConformalInfo, names: dict[str, str], model: str, text: str, example: str
) -> list[Block]:  # fmt: skip
    """Paragraph and table of conformal sets; `names` prints the sets, `example` is the worked patient."""
    rows = [
        Row(
            (
                names[row.set],
                percent(row.coverage_events),
                percent(row.coverage_others),
                percent(row.event),
                percent(row.no_event),
                percent(row.either),
                percent(row.neither),
            )
        )
        for row in item.rows
    ]
    text += "".join(_broken(row, names[row.set], item.level) for row in item.rows)
    if example in item.patients:
        text += f" Patient {example}, worked through on the nomogram: {_ANSWERS[item.patients[example]]}."
    heads = ["Set", "Held: event", "Held: no event", "Event only", "No event only", "Either", "Neither"]
    notes = ["Held: patients whose true outcome is in their set. Either: the model cannot tell."]
    table = make_table(f"Conformal sets of the {model} model", heads, rows, notes)
    return [Paragraph(text), TableBlock("conformal", table)]


def _broken(row: CoverageRow, name: str, level: float) -> str:
    """A sentence for each class of a set in which the level was not kept beyond chance."""
    told, where = "", name[:1].lower() + name[1:]
    for coverage, n, who in (
        (row.coverage_events, row.n_events, "with the event"),
        (row.coverage_others, row.n_others, "without it"),
    ):
        if coverage_is_broken(coverage, n, level):
            told += (
                f" In the {where} they held the outcome of only {percent(coverage)} of {n} patients {who}: what they "
                "were calibrated for was not kept there."
            )
    return told


_ANSWERS = {
    "event": "the set holds the event alone",
    "no event": "the set holds the absence of the event alone",
    "either": "the set holds both outcomes",
    "neither": "the set is empty: unlike the training patients of either outcome",
}


def build_noise(results: Results) -> list[Block]:
    """The negative controls, if they are of these very features and models."""
    noise = results.noise
    if noise is None or not _same(results):
        return []
    blocks: list[Block] = []
    for control in noise.controls:
        blocks += _control(control, noise.measure)
    for item in noise.images:
        blocks.append(Paragraph(f"Negative control with images, {item.control}: {item.sentence} (left: {item.left})."))
    return blocks


def _control(control: NoiseControl, measure: str) -> list[Block]:
    judged = {name: item for name, item in control.models.items() if item.sentence}
    panels = [
        NullPanel(f"{model_label(name)} model", item.null, item.observed, item.p, item.mean, item.se)
        for name, item in judged.items()
    ]
    if not panels:
        return []
    key = "noise-" + control.control.replace(" ", "-")
    text = " ".join(f"{model_label(name)}: {item.sentence}." for name, item in judged.items())
    caption = (
        f"Negative control, {control.control}: {measure} of the whole chain where there is nothing to find "
        f"({control.rounds} rounds); dashed 0.50, point the mean with its standard error, line the real result."
    )
    figure = FigureBlock(
        key, caption, (Panel(partial(draw_noise, panels, what=control.control, measure=measure), text),)
    )
    return [Paragraph(f"Negative control, {control.control} ({{{key}}}). {text}"), figure]


def _same(results: Results) -> bool:
    made = dict(results.noise.made_from) if results.noise is not None else {}
    settings = {k: v for k, v in (results.study.settings.get("modelling") or {}).items() if k != "validation"}
    if made.pop("models", None) != hash_value(settings):
        return False
    marks = {name: read_mark(results.folder / name) for name in made}
    return all(mark is not None and mark["key"] == made[name] for name, mark in marks.items())
