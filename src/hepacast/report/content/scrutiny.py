"""Centers, learning curve, what the models use, subgroups, recalibration, conformal sets, negative controls."""

from __future__ import annotations

from functools import partial

from hepacast.core.formatting import MISSING, capital, number, p_sentence, p_value, percent
from hepacast.core.hashing import hash_value
from hepacast.core.stages import read_mark
from hepacast.core.tables import Row, make_table
from hepacast.evaluation.conformal import ConformalInfo, CoverageRow
from hepacast.evaluation.negative_controls import NoiseControl
from hepacast.evaluation.recalibration import Updating
from hepacast.evaluation.scrutiny import ModelScrutiny, PredictionScrutiny
from hepacast.evaluation.subgroups import Performance
from hepacast.evaluation.validated import coverage_is_broken
from hepacast.figures.labels import feature_label
from hepacast.figures.noise import NullPanel, draw_noise
from hepacast.figures.scrutiny import AreaRow, BarRow, LearningLine, draw_areas, draw_bars, draw_learning_curve
from hepacast.report.content.common import (
    at_horizon,
    confidence,
    estimate,
    example_patient,
    has_time,
    is_finite,
    lower_first,
    main_model,
    measure,
    model_label,
    model_word,
    set_label,
    set_word,
)
from hepacast.report.content.performance import calibration_panel
from hepacast.report.model import Block, FigureBlock, Panel, Paragraph, TableBlock
from hepacast.report.results import Results

_MOST = 15
#: What each change of a model is called: of the log odds, and of a hazard.
_CHANGES = {"none": "As it is", "intercept": "New intercept", "slope": "New intercept and slope"}
_CHANGES_OF_HAZARD = {
    "none": "As it is",
    "intercept": "Baseline hazard × one number",
    "slope": "The same, and slope of the linear predictor",
    "baseline": "Baseline hazard estimated anew, and slope",
    "refit": "Coefficients and baseline estimated anew",
}


def build(results: Results) -> list[Block]:
    """Everything that was looked at; what was left out by rule is said in one sentence each."""
    blocks: list[Block] = []
    if results.model_scrutiny is not None:
        found = results.model_scrutiny
        blocks += [*_centers(results, found), *_learning(results, found), *_importance(results, found)]
        blocks += _shapley(found)
    if results.prediction_scrutiny is not None:
        later = results.prediction_scrutiny
        blocks += _subgroups(results, later)
        for entry in later.recalibration:
            blocks += _recalibration(results, entry, later)
        blocks += _conformal(results, later)
    return [*blocks, *build_noise(results)]


def _left_out(what: str, reason: str) -> list[Block]:
    """One sentence on a part that is not there, unless nobody asked for it."""
    return [Paragraph(f"{what}: left out, {reason}.")] if reason and reason != "not asked for" else []


def _long_measure(results: Results) -> str:
    return "Harrell's C" if has_time(results) else "AUC"


def _the_measure(results: Results) -> str:
    return "C" if has_time(results) else "the AUC"


def _cells(results: Results, found: Performance) -> tuple[str, str, str]:
    """Discrimination and calibration of one group of patients; of follow-up with limits."""
    shown = estimate(found.discrimination) if found.discrimination.known else found.reason or MISSING
    if has_time(results) or results.external:
        return shown, estimate(found.observed_expected, 2), estimate(found.slope, 2)
    return shown, number(found.observed_expected.value, 2), number(found.slope.value, 2)


def _centers(results: Results, found: ModelScrutiny) -> list[Block]:
    if not found.centers.rows:
        return _left_out("Leave one center out", found.centers.reason)
    name, ci = main_model(results), confidence(results)
    areas, rows = [], []
    for model in dict.fromkeys(row.model for row in found.centers.rows):
        heading = f"{model_label(results, model)} model"
        areas.append(AreaRow(heading, heading=True))
        rows.append(Row((heading,), "group"))
        for row in (item for item in found.centers.rows if item.model == model):
            value = row.discrimination
            areas.append(AreaRow(f"{row.center} ({row.events}/{row.n})", value.value, *value.ci))
            cells = _cells(results, row)
            if not has_time(results):
                cells = (cells[0], cells[2], number(row.citl.value, 2))
            rows.append(Row((row.center, f"{row.events} / {row.n}", *cells), "indent"))
    text = (
        "Each center predicted by models that were fitted, with every selection, to the patients of the other centers"
    )
    main = [row for row in found.centers.rows if row.model == name and row.discrimination.known]
    if main:
        worst, best = (pick(main, key=lambda row: row.discrimination.value) for pick in (min, max))
        text += (
            f": the {measure(results)} of the {name} model goes from {number(worst.discrimination.value, 3)} "
            f"({worst.center}) to {number(best.discrimination.value, 3)} ({best.center})"
        )
    caption = f"{_long_measure(results)} in each center by models of the other centers (events/patients)."
    every = "all analysed patients of the study take part."
    if has_time(results):
        heads = [f"O/E ({ci})", f"Slope ({ci})"]
        note = (
            f"O/E, observed over expected risk{at_horizon(results, found.horizon)}, and slope of the complementary "
            f"log-log risk: 1 is perfect. {capital(every)}"
        )
    else:
        heads, note = ["Slope", "Intercept"], f"Slope and intercept of the calibration; {every}"
    columns = ["Center", "Events / patients", f"{measure(results)} ({ci})", *heads]
    alt = "; ".join(f"{row.label} {number(row.auc, 3)}" for row in areas if not row.heading)
    draw = partial(draw_areas, areas, measure=measure(results), ci=ci)
    return [
        Paragraph(text + " ({centers})."),
        FigureBlock("centers-figure", caption, (Panel(draw, alt),)),
        TableBlock("centers", make_table("Leave one center out", columns, rows, [note])),
    ]


def _learning(results: Results, found: ModelScrutiny) -> list[Block]:
    if not found.learning_curve.rows:
        return _left_out("Learning curve", found.learning_curve.reason)
    lines = []
    for model in dict.fromkeys(row.model for row in found.learning_curve.rows):
        part = [row for row in found.learning_curve.rows if row.model == model and is_finite(row.value)]
        if part:
            sd = [row.sd if is_finite(row.sd) else 0.0 for row in part]
            sizes, values = [row.n_train for row in part], [row.value for row in part]
            lines.append(LearningLine(model_label(results, model), sizes, values, sd))
    if not lines:
        return _left_out("Learning curve", f"no fit gave {'a C' if has_time(results) else 'an AUC'}")
    gain = [f"{line.name} {number(line.auc[0], 3)} to {number(line.auc[-1], 3)}" for line in lines]
    first = lines[0].n_train
    caption = (
        f"Learning curve: {_long_measure(results)} in held-out folds by number of training patients, everything "
        "refitted. A curve that still rises at its end says that more patients would help."
    )
    text = f"From {first[0]:.0f} to {first[-1]:.0f} training patients {_the_measure(results)} goes: {'; '.join(gain)}."
    draw = partial(draw_learning_curve, lines, measure=measure(results))
    return [Paragraph(f"{text} ({{learning}})"), FigureBlock("learning", caption, (Panel(draw, text),))]


def _importance(results: Results, found: ModelScrutiny) -> list[Block]:
    words, name = {column.name: column.label for column in results.columns}, main_model(results)
    selected = results.validation.stability.values() if results.validation is not None else ()
    words |= {share.name: share.label for shares in selected for share in shares if share.label}
    rows = [row for row in found.importance.rows if row.model == name][:_MOST]
    if not rows:
        return _left_out("Importance of the predictors", found.importance.reason)
    bars = [
        BarRow(feature_label(row.name) if ":" in row.name else words.get(row.name, row.name), row.loss, row.sd)
        for row in rows
    ]
    caption = (
        f"Importance in held-out folds, {model_word(results, name)} model: loss of {measure(results)} when a predictor "
        "is shuffled among patients that the model had not seen; lines are one SD over folds"
        + (f" (the {_MOST} largest)." if len(rows) == _MOST else ".")
    )
    alt = "; ".join(f"{bar.label} {number(bar.value, 3)}" for bar in bars)
    draw = partial(draw_bars, bars, x_label=f"Loss of {measure(results)}")
    return [
        Paragraph("What the predictors are worth in patients that the model had not seen: {importance}."),
        FigureBlock("importance", caption, (Panel(draw, alt),)),
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


def _subgroups(results: Results, found: PredictionScrutiny) -> list[Block]:
    rows, name, ci = found.subgroups.rows, model_word(results, found.model), confidence(results)
    if len(rows) < 2:
        return _left_out("Subgroups", found.subgroups.reason)
    areas: list[AreaRow] = []
    lines: list[Row] = []
    for row in rows:
        first = not any(line.label == row.group and line.heading for line in areas)
        if row.level and first:
            areas.append(AreaRow(row.group, heading=True))
            equal = f"for equal {'C' if has_time(results) else 'AUCs'}"
            p = f" ({p_sentence(row.p_equal)} {equal})" if is_finite(row.p_equal) else ""
            lines.append(Row((f"{row.group}{p}",), "group"))
        label, value = row.level or "All patients", row.discrimination
        areas.append(AreaRow(f"{label} ({row.events}/{row.n})", value.value, *value.ci))
        cells = (label, f"{row.events} / {row.n}", *_cells(results, row))
        lines.append(Row(cells, "indent" if row.level else "body"))
    where = set_word(results, found.subgroups.set)
    caption = f"The {name} model in subgroups, {where} (events/patients); gray line: all patients."
    ratio = (
        f"O/E, observed over expected risk{at_horizon(results, found.horizon)}."
        if has_time(results)
        else "O/E: observed over expected events."
    )
    notes = [
        f"{ratio} A subgroup with fewer than 10 events or 10 patients without has counts only. Small subgroups have "
        "wide limits: no difference found is not equality."
    ]
    if found.subgroups.set == "nested" and not has_time(results):
        notes.append("Judged by each patient's mean risk over the repeats of nested cross-validation.")
    limits = has_time(results) or bool(results.external)
    fit = [f"O/E ({ci})", f"Slope ({ci})"] if limits else ["O/E", "Slope"]
    heads = ["Group", "Events / patients", f"{measure(results)} ({ci})", *fit]
    table = make_table(f"Subgroups, {name} model, {where}", heads, lines, notes)
    alt = "; ".join(f"{line.label} {number(line.auc, 3)}" for line in areas if not line.heading)
    draw = partial(draw_areas, areas, overall=rows[0].discrimination.value, measure=measure(results), ci=ci)
    return [
        Paragraph(f"Subgroups of the {where} are in {{subgroups}}."),
        FigureBlock("subgroups-figure", caption, (Panel(draw, alt),)),
        TableBlock("subgroups", table),
    ]


def _recalibration(results: Results, entry: Updating, found: PredictionScrutiny) -> list[Block]:
    where, name = set_word(results, entry.set), model_word(results, found.model)
    if not entry.methods:
        return _left_out(f"Recalibration in the {where}", entry.reason)
    words = _CHANGES_OF_HAZARD if has_time(results) else _CHANGES
    rows = [
        Row(
            (
                words[row.method] + (" (chosen)" if row.method == entry.chosen else ""),
                number(row.shift, 3),
                number(row.slope, 3),
                p_value(row.p),
                row.reason or percent(row.mean_risk),
                number(row.brier, 4),
            )
        )
        for row in entry.methods
    ]
    chosen = lower_first(words[entry.chosen]) if entry.chosen is not None else ""
    key, at = f"recalibration-{entry.set}", at_horizon(results, found.horizon)
    notes, heads = _recalibration_words(results, entry, at)
    title = f"Recalibration of the {name} model, {where}"
    table = make_table(title, heads, rows, notes, words=has_time(results))
    text = _recalibration_text(results, entry, found, chosen)
    blocks: list[Block] = [Paragraph(text), TableBlock(key, table)]
    if entry.before is not None and entry.after is not None and chosen and has_time(results):
        titles = (entry.before, "As it is"), (entry.after, "After the change")
        panels = tuple(calibration_panel(results, calibration, title) for calibration, title in titles)
        caption = (
            f"Calibration in the {where}{at}: (a) as it is; (b) after the chosen change ({chosen}), in the patients "
            "that it was fitted to."
        )
        blocks.append(FigureBlock(f"{key}-figure", caption, panels, columns=2))
    return blocks


def _recalibration_text(results: Results, entry: Updating, found: PredictionScrutiny, chosen: str) -> str:
    where, name = set_word(results, entry.set), model_word(results, found.model)
    reference = f"{{recalibration-{entry.set}}}"
    if not has_time(results):
        return (
            f"Taken to the {where} ({entry.events} of {entry.n} with the event), the {name} model's calibration: "
            f"the closed test chooses “{chosen}” ({reference})."
        )
    text = f"Taken to the {where}, where {entry.events} events came{at_horizon(results, found.horizon)},"
    if is_finite(entry.ratio):
        text += f" at {number(entry.ratio, 2)} times the rate that the {name} model expected,"
    if chosen:
        return f"{text} the closed test chooses “{chosen}” ({reference})."
    return f"{text} these changes would be made ({reference}); competing events leave no test of them."


def _recalibration_words(results: Results, entry: Updating, at: str) -> tuple[list[str], list[str]]:
    """Notes and headings of the table."""
    if not has_time(results):
        note = (
            "New log odds = intercept + slope × old log odds. P: likelihood ratio against the largest change. Mean "
            "risk, Brier score after the change are of the patients that it was fitted to: they show its size, not its "
            "worth."
        )
        return [note], ["Change", "Intercept", "Slope", "P", "Mean risk", "Brier score"]
    observed = f" {percent(entry.observed.value)} observed." if entry.observed is not None else ""
    note = (
        "New cumulative hazard = exp(shift) × old baseline hazard × exp(slope × linear predictor), with follow-up to "
        f"the horizon.{observed} P: likelihood ratio against the largest change that keeps the baseline's shape. "
        f"Mean risk{at} and Brier score after the change are of the patients that it was fitted to: they show its "
        "size, not its worth."
    )
    return [note], ["Change", "Shift (log hazard)", "Slope", "P", "Mean risk", "Brier score"]


def _conformal(results: Results, found: PredictionScrutiny) -> list[Block]:
    item = found.conformal
    if not item.rows:
        return _left_out("Conformal sets", item.reason)
    level = percent(item.level, 0)
    if has_time(results):
        text = (
            f"A {level} conformal set lists what stays possible for one patient{at_horizon(results, found.horizon)}: "
            "the event, its absence or both; such sets were calibrated on out-of-fold risks, weighted for censoring, "
            f"to hold the truth of {level} of the patients of either class ({{conformal}})."
        )
    else:
        text = (
            f"A {level} conformal set lists the outcomes that stay possible for one patient; such sets were calibrated "
            f"on out-of-fold risks to hold the true outcome of {level} of the patients of each class ({{conformal}})."
        )
    names = {row.set: set_label(results, row.set) for row in item.rows}
    return conformal_rows(item, names, model_word(results, found.model), text, example_patient(results))


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
        blocks += _control(results, control, noise.measure)
    for item in noise.images:
        blocks.append(Paragraph(f"Negative control with images, {item.control}: {item.sentence} (left: {item.left})."))
    return blocks


def _control(results: Results, control: NoiseControl, measure: str) -> list[Block]:
    judged = {name: item for name, item in control.models.items() if item.sentence}
    panels = [
        NullPanel(f"{model_label(results, name)} model", item.null, item.observed, item.p, item.mean, item.se)
        for name, item in judged.items()
    ]
    if not panels:
        return []
    key = "noise-" + control.control.replace(" ", "-")
    text = " ".join(f"{model_label(results, name)}: {item.sentence}." for name, item in judged.items())
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
