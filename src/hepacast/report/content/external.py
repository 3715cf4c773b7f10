"""A frozen model in another hospital: whose it is, whether the patients are alike, and what this validation says."""

from __future__ import annotations

from hepacast.core.formatting import MISSING, listing, number, percent, plural
from hepacast.core.tables import Row, Table, make_table
from hepacast.evaluation.case_mix import CaseMixRow, ExternalValidation
from hepacast.report.content.common import Omit, confidence, evaluated, has_time, model_label
from hepacast.report.model import Block, Bullets, Callout, Paragraph, TableBlock
from hepacast.report.results import Results
from hepacast.stats.table_one import characteristics

#: Standardized differences beyond this are called notable (Austin, Stat Med 2009;28:3083).
NOTABLE = 0.1


def build(results: Results) -> list[Block]:
    """The model, the case-mix, and the verdict."""
    if not results.external:
        raise Omit("no model of another study was validated")
    several = len(results.external) > 1
    blocks: list[Block] = []
    for place, found in enumerate(results.external, start=1):
        blocks.append(Paragraph((f"**{model_label(results, found.name)}.** " if several else "") + _model(found)))
        if found.validated:
            blocks.append(Bullets(tuple(f"Its own validation: {text}." for text in found.validated)))
        if found.verdict:
            says = f"What this validation says{f' of {found.name}' if several else ''}"
            blocks.append(Callout("note", says, " ".join(found.verdict)))
        title = f"Case-mix of {found.name}" if several else "Case-mix"
        blocks.append(TableBlock("case-mix" if place == 1 else f"case-mix-{place}", case_mix_table(found, title)))
        blocks.append(Paragraph(_alike(results, found)))
        if found.sizes:
            blocks.append(TableBlock("sizes" if place == 1 else f"sizes-{place}", sizes_table(results, found)))
    if results.comparisons is not None and results.comparisons.by_outcome is not None:
        title = "The patients by outcome"
        blocks.append(TableBlock("patients", characteristics(results.comparisons.by_outcome, title)))
    return blocks


def _model(found: ExternalValidation) -> str:
    events = f" with {found.trained_events} events" if found.trained_events else ""
    made = f", made from {found.trained_n} patients{events}," if found.trained_n else ""
    text = (
        f"The {found.model} model of the study “{found.study}” (model file {found.identity[:12]}"
        f"{f', {found.signature}' if found.signature else ''}){made} "
        "was applied to these patients as it is."
    )
    if found.outcome_trained and found.outcome_trained != found.outcome_here:
        text += (
            f" It predicts: {found.outcome_trained.rstrip('. ')}. Here the outcome is: "
            f"{found.outcome_here.rstrip('. ')}. Where these differ, so may the results."
        )
    return text


def case_mix_table(found: ExternalValidation, title: str = "Case-mix") -> Table:
    """What the model reads, here and in its training."""
    rows: list[Row] = []
    named = ""
    for row in found.rows:
        if row.level and row.label != named:
            rows.append(Row((row.label, "", "", "", f"{row.n_missing}"), "group"))
        named = row.label
        missing = "" if row.level else f"{row.n_missing}"
        cells = (
            row.level or _label(row),
            quartiles_text(row.here),
            quartiles_text(row.trained),
            number(row.difference, 2),
            missing,
        )
        rows.append(Row(cells, "indent" if row.level else "body"))
    notes = [
        "Median (quartiles), or share. Difference, standardized: of medians by the interquartile range / 1.35 of the "
        f"training, of shares by their pooled deviation; beyond ±{NOTABLE:g} it is notable. Of the training only "
        "quartiles and shares are known, from the model file.",
    ]
    if any(not row.trained for row in found.rows):
        notes.append(f"{MISSING}: the model file does not say.")
    return make_table(title, ["", "Here", "Training", "Difference", "Missing"], rows, notes)


def sizes_table(results: Results, found: ExternalValidation) -> Table:
    """Patients that a validation needs for intervals so narrow, beside those of this one."""
    item = evaluated(results).sets[evaluated(results).judged]
    own = item.models[found.name]
    fit = own.main.calibration
    here = {own.measure: own.discrimination}
    if fit is not None:
        here |= {"O/E": fit.observed_expected, "slope": fit.slope}
    rows = []
    for size in found.sizes:
        value = here.get(size.measure)
        width = number(value.high - value.low, 2) if value is not None and value.has_limits else MISSING
        rows.append(Row((size.measure, width, number(size.width, 2), f"{size.n}", f"{item.n}")))
    how = "the precision reached here" if has_time(results) else "right risks of these patients"
    title = f"Sample size for validation of {found.name}" if len(results.external) > 1 else "Sample size for validation"
    heads = ["Measure", f"Width of the {confidence(results)} here", "Aimed at", "Patients needed", "Patients here"]
    return make_table(title, heads, rows, [f"Patients needed by {how}; intervals of 95%. With fewer, limits are wide: "
                                           "what is not found may still be there."])  # fmt: skip


def _label(row: CaseMixRow) -> str:
    return f"{row.label} ({row.unit})" if row.unit else row.label


def quartiles_text(values: tuple[float, ...]) -> str:
    """Median (quartiles), or one share; a dash of nothing."""
    if not values:
        return MISSING
    if len(values) == 1:
        return percent(values[0])
    low, middle, high = (f"{value:.3g}".replace("-", "\N{MINUS SIGN}") for value in values)
    return f"{middle} ({low}{' to ' if min(values) < 0 else '–'}{high})"


def _alike(results: Results, found: ExternalValidation) -> str:
    known = [row for row in found.rows if row.difference == row.difference]
    far = [f"{row.label}{f' ({row.level})' if row.level else ''}" for row in known if abs(row.difference) > NOTABLE]
    n = results.evaluation.sets[results.evaluation.judged].n if results.evaluation is not None else 0
    text = f"Notable differences from the training patients: {listing(far)}." if far else (
        "None of what the model reads differs notably from the training patients."
    )  # fmt: skip
    if found.unlike:
        each = listing([f"{name} in {count}" for name, count in found.unlike.items()])
        text += f" {plural(found.n_unlike, 'patient')} of {n} had a value beyond those of training ({each})."
    if found.spread == found.spread:
        text += (
            f" The linear predictor is spread {number(found.spread, 2)} times as wide as in training (interquartile "
            "ranges): the wider, the easier patients are told apart."
        )
    if found.expected == found.expected:
        name = "Harrell's C" if has_time(results) else "AUC"
        text += (
            f" If the model's risks were right in these very patients, its {name} would be {number(found.expected, 3)}"
            f"; observed: {number(found.observed.value, 3)}."
        )
    return text
