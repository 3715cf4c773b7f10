"""First section and first page of a time-to-event report."""

from __future__ import annotations

from hepacast.report.content.common import Omit, confidence, estimate, is_finite, verdicts
from hepacast.report.content.summary import VALIDATION_FAILS, _patients
from hepacast.report.content.survival_common import (
    by_word,
    c_of,
    honest_sets,
    horizon,
    judge,
    judged,
    lower_first,
    measured,
    model_name,
    set_name,
    survival,
)
from hepacast.report.content.survival_validation import nothing_found
from hepacast.report.formatting import number, p_sentence, with_interval
from hepacast.report.inputs import Results
from hepacast.report.model import Block, Bullets, Callout


def build(results: Results) -> list[Block]:
    """What was found, in a few lines."""
    survival(results)
    blocks: list[Block] = []
    found = nothing_found(results)
    if found:
        blocks.append(Callout("warning", "Nothing was found", found))
    against = verdicts(results, survival(results).models.main)
    if against:
        blocks.append(Callout("warning", VALIDATION_FAILS, " ".join(against)))
    lines = [*_patients(results), *_discrimination(results), *_calibration(results)]
    lines += [*_comparison(results), *_groups(results), *_honest(results)]
    return [*blocks, Bullets(tuple(lines))]


def facts(results: Results) -> list[tuple[str, str]]:
    """Lines of the first page."""
    item = survival(results)
    shown = []
    if results.outcome is not None:
        text = f"{results.outcome.name}: {results.outcome.n_events} events in {results.outcome.n} patients"
        shown.append(("Outcome", text))
    shown.append(("Models", ", ".join(model_name(item, name) for name in item.models.names)))
    try:
        found = judged(results)
    except Omit:
        return shown
    parts = [
        f"{measured(c_of(found, name, item.models.main))}, {lower_first(set_name(name))}" for name in honest_sets(found)
    ]
    if parts:
        shown.append(("C", f"{'; '.join(parts)} ({confidence(results)}; {item.models.main} model)"))
    return shown


def _discrimination(results: Results) -> list[str]:
    item, found = survival(results), judged(results)
    lines = []
    for name in item.models.names:
        parts = [f"{lower_first(set_name(key))} {measured(c_of(found, key, name))}" for key in honest_sets(found)]
        lines.append(f"**{model_name(item, name)} model.** C ({confidence(results)}): {'; '.join(parts)}.")
    return lines


def _calibration(results: Results) -> list[str]:
    item, found = survival(results), judged(results)
    parts = []
    for key, entry in honest_sets(found).items():
        at = entry.models[item.models.main].horizons[-1:]
        c = at[0].calibration if at else None
        if c is not None:
            parts.append(
                f"{lower_first(set_name(key))} observed over expected {estimate(c.observed_expected, 2)}, slope "
                f"{estimate(c.slope, 2)}"
            )
    if not parts:
        return []
    text = f"{by_word(item)} {horizon(item, found.horizons[-1])}"
    return [f"**Calibration of the {item.models.main} model's risk {text}.** {'; '.join(parts)}."]


def _comparison(results: Results) -> list[str]:
    item, found = survival(results), judged(results)
    name, entry = judge(found)
    parts = [
        f"against the {lower_first(model_name(item, c.second if c.first == item.models.main else c.first))} model a "
        f"difference in C of {estimate(c.difference)}, {p_sentence(c.p)}"
        for c in entry.comparisons
        if item.models.main in (c.first, c.second) and c.measure == "C"
    ]
    head = f"**Comparison, {lower_first(set_name(name))}.** {model_name(item, item.models.main)} model"
    return [f"{head}: {'; '.join(parts)}."] if parts else []


def _groups(results: Results) -> list[str]:
    found = results.evaluation.groups if results.evaluation is not None else ()
    parts = []
    for entry in found:
        if entry.hazard_ratio is not None:
            h = entry.hazard_ratio
            where = "training set (cross-validated risk)" if entry.set == "training" else f"{entry.set} set"
            ratio = with_interval(h.value, h.low, h.high, 2)
            parts.append(f"{where} hazard ratio ({confidence(results)}) {ratio}, {entry.test} {p_sentence(entry.p)}")
    return [f"**High against low risk.** {'; '.join(parts)}."] if parts else []


def _honest(results: Results) -> list[str]:
    item, found = survival(results), judged(results)
    entry = item.validation.models.get(item.models.main)
    if entry is None or entry.nested is None:
        return []
    text = (
        f"**Honest validation.** With every step repeated inside each fold, the {item.models.main} model's C is "
        f"{estimate(entry.nested.c)}"
    )
    apparent = c_of(found, "training", item.models.main).value if "training" in found.sets else float("nan")
    return [text + (f"; on the patients of the fit it is {number(apparent, 3)}." if is_finite(apparent) else ".")]
