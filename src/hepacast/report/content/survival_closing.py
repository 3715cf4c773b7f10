"""Limits of a time-to-event report."""

from __future__ import annotations

from hepacast.core.p_values import p_below
from hepacast.report.content.closing import _SIZE_CODES, patients_limits
from hepacast.report.content.common import STATEMENT, verdicts
from hepacast.report.content.survival_common import (
    by_word,
    horizon,
    judged,
    lower_first,
    model_name,
    set_name,
    survival,
)
from hepacast.report.formatting import listing, plural
from hepacast.report.inputs import Results
from hepacast.report.model import Block, Bullets, Callout

#: Fewer events than this in a validation set leave its estimates uncertain (Collins 2016, Stat Med 35:214).
_VALIDATION_EVENTS = 100


def build_limits(results: Results) -> list[Block]:
    """What this study cannot say: read off its own numbers."""
    limits = [*_sets(results), *_follow_up(results), *_models(results)]
    limits += verdicts(results, survival(results).models.main)
    said = [
        entry.message.rstrip(". ")
        for entry in results.findings
        if entry.code in _SIZE_CODES and entry.severity != "note"
    ]
    limits += [f"Sample size: {text}." for text in said]
    limits += patients_limits(results)
    if results.models is not None and results.models.radiomics is not None and results.segmentation is None:
        limits.append("The features came as a table: their images, masks and settings were not seen by this run.")
    limits.append("An association in these patients is not a cause, and the model has not been tested prospectively.")
    return [Callout("warning", "Research use only", STATEMENT), Bullets(tuple(limits))]


def _sets(results: Results) -> list[str]:
    found = judged(results)
    frozen = {name: s for name, s in found.sets.items() if s.kind == "frozen"}
    limits = [
        f"The {lower_first(set_name(name))} has {plural(s.events, 'event')}; with fewer than {_VALIDATION_EVENTS}, its "
        "estimates are uncertain, as the width of their intervals shows."
        for name, s in frozen.items()
        if s.events < _VALIDATION_EVENTS
    ]
    split = ((results.study.settings.get("cohort") or {}).get("split") or {}).get("by")
    if split == "random":
        limits.append("The validation set is a random part of the same cohort: it cannot show that the model travels.")
    if not frozen:
        limits.append(
            "There is no set of patients whom the models have never seen; the honest numbers are those of nested "
            "cross-validation and of the bootstrap."
        )
    return limits


def _follow_up(results: Results) -> list[str]:
    item, found = survival(results), judged(results)
    limits = []
    for name, s in found.sets.items():
        if name == "nested":
            continue
        for state in s.states:
            if state.censored >= 0.1 * s.n:
                where = lower_first(set_name(name)).removesuffix(", apparent")
                limits.append(
                    f"In the {where}, {state.censored} of {s.n} patients were censored {by_word(item)} "
                    f"{horizon(item, state.time)}. Weighting for them assumes that who was censored did not differ in "
                    "prognosis from who was not."
                )
    return limits


def _models(results: Results) -> list[str]:
    item = survival(results)
    limits = []
    for name in item.models.names:
        model = item.models.models[name]
        broken = [t.label for t in model.zph[:-1] if t.p < 0.05]
        if broken:
            limits.append(
                f"The hazards of the {lower_first(model_name(item, name))} model are not proportional "
                f"({listing(broken)}): its ratios are averages over the follow-up."
            )
        if model.method == "cox-firth":
            limits.append(
                f"A predictor of the {lower_first(model_name(item, name))} model separates the events; it was fitted "
                "by Firth's method, and its ratios are shrunken."
            )
    if item.models.selection == "independent" and "clinical" in item.models.names:
        limits.append(
            f"Clinical predictors were chosen by {p_below(item.models.alpha)} in these same patients, as published "
            "studies do. This favors chance findings; the nested numbers account for it, the hazard ratios do not."
        )
    return limits
