"""Limits: what the study cannot say, read off its own numbers."""

from __future__ import annotations

from hepacast.core.formatting import listing, number, plural
from hepacast.core.p_values import p_below
from hepacast.report.content.common import (
    STATEMENT,
    at_horizon,
    has_time,
    is_finite,
    main_model,
    model_names,
    model_word,
    selection,
    set_word,
    validation_of,
    verdicts,
)
from hepacast.report.content.patients import lost_text
from hepacast.report.model import Block, Bullets, Callout
from hepacast.report.results import Results

#: Fewer events than this in a validation set leave its estimates uncertain (Collins 2016, Stat Med 35:214).
_VALIDATION_EVENTS = 100
#: Findings of the cohort stage that say that there are too few patients.
_SIZE_CODES = ("fewer-events-than-variables", "events-per-variable", "sample-too-small")


def build(results: Results) -> list[Block]:
    """What this study cannot say."""
    limits = verdicts(results, main_model(results)) if results.models is not None else []
    limits = [*limits, *_of_size(results), *_of_design(results), *_of_follow_up(results), *_of_patients(results)]
    limits += [*_of_images(results), *_of_models(results), *_of_validation(results)]
    if results.truth is not None:
        limits.insert(0, "The patients are virtual: nothing here says anything about real patients.")
    limits.append("An association in these patients is not a cause, and the model has not been tested prospectively.")
    return [Callout("warning", "Research use only", STATEMENT), Bullets(tuple(limits))]


def _of_size(results: Results) -> list[str]:
    found = []
    for name, item in results.flow.sets.items() if results.flow is not None else ():
        if name == "training" or item.events is None:
            continue
        few, noun, many = item.events, "event", "events"
        if item.n - few < few and not has_time(results):
            few, noun, many = item.n - few, "patient without the event", "patients without the event"
        if few < _VALIDATION_EVENTS:
            found.append(
                f"The {set_word(results, name)} has {plural(few, noun, many)}; with fewer than {_VALIDATION_EVENTS}, "
                f"its {'C' if has_time(results) else 'AUC'} and calibration are uncertain, as the width of their "
                "intervals shows."
            )
    said = [item.message.rstrip(". ") for item in results.findings if item.code in _SIZE_CODES]
    return [*found, *(f"Sample size: {text}." for text in said)]


def _of_design(results: Results) -> list[str]:
    found = []
    split = ((results.study.settings.get("cohort") or {}).get("split") or {}).get("by")
    if split == "random":
        found.append(
            "The validation set is a random part of the same cohort, not another center: it cannot show that the model "
            "travels."
        )
    if results.flow is not None and set(results.flow.sets) <= {"training"}:
        found.append(
            "There is no set of patients whom the models have never seen; the honest numbers are those of nested "
            "cross-validation and of the bootstrap."
        )
    return found


def _of_follow_up(results: Results) -> list[str]:
    """Where many were censored before a horizon."""
    sets = results.evaluation.sets if results.evaluation is not None and has_time(results) else {}
    return [
        f"In the {set_word(results, name).removesuffix(', apparent')}, {state.censored} of {item.n} patients were "
        f"censored{at_horizon(results, state.time)}. Weighting for them assumes that who was censored did not differ "
        "in prognosis from who was not."
        for name, item in sets.items()
        if name != "nested"
        for state in item.states
        if state.censored >= 0.1 * item.n
    ]


def _of_patients(results: Results) -> list[str]:
    """Of whom the model does not speak: those left out by the rules, and those lost after inclusion."""
    found = []
    left_out = results.flow.left_out if results.flow is not None else []
    if left_out:
        count, why = sum(item.n for item in left_out), listing([f"{item.reason} in {item.n}" for item in left_out])
        who = plural(count, "patient was", "patients were")
        found.append(f"{who} left out ({why}); the model speaks of the others only.")
    lost = lost_text(results)
    if lost:
        found.append(f"{lost} Such patients are not lost at random: of them the model can say nothing.")
    return found


#: Choices of clinical predictors that stand on P values.
_BY_P = ("independent", "backward")


def _of_images(results: Results) -> list[str]:
    if results.segmentation is not None:
        made = results.segmentation.source != "given"
        return ["The features were measured in masks made by a network; its errors are in them."] if made else []
    if results.models is None or results.models.radiomics is None:
        return []
    return ["The features came as a table: their images, masks and settings were not seen by this run."]


def _of_models(results: Results) -> list[str]:
    """What the fitted models stand on."""
    if results.timed is not None:
        return _of_hazards(results)
    models, found = results.models, []
    if models is None:
        return []
    fits = [models.clinical.final if models.clinical else None, models.combined.final if models.combined else None]
    if any(fit is not None and fit.method == "Firth" for fit in fits):
        found.append(
            "A predictor separates the groups (almost) completely; the model was fitted by Firth's method, and its "
            "odds ratios are shrunken."
        )
    chosen = models.clinical is not None and selection(results) in _BY_P
    alpha = models.clinical.alpha if models.clinical is not None else 0.0
    return [*found, *([_chosen_by_p(alpha, "odds")] if chosen else [])]


def _of_hazards(results: Results) -> list[str]:
    assert results.timed is not None
    found, limits = results.timed, []
    for name, model in found.models.items():
        broken = [t.label for t in model.zph[:-1] if t.p < 0.05]
        if broken:
            limits.append(
                f"The hazards of the {model_word(results, name)} model are not proportional ({listing(broken)}): its "
                "ratios are averages over the follow-up."
            )
        if model.method == "cox-firth":
            limits.append(
                f"A predictor of the {model_word(results, name)} model separates the events; it was fitted by Firth's "
                "method, and its ratios are shrunken."
            )
    chosen = selection(results) in _BY_P and "clinical" in model_names(results)
    return [*limits, *([_chosen_by_p(found.alpha, "hazard")] if chosen else [])]


def _chosen_by_p(alpha: float, ratio: str) -> str:
    return (
        f"Clinical predictors were chosen by {p_below(alpha)} in these same patients, as published studies do. This "
        f"favors chance findings; the nested numbers account for it, the {ratio} ratios do not."
    )


def _of_validation(results: Results) -> list[str]:
    found, models = [], results.models
    item = validation_of(results, main_model(results)) if models is not None else None
    if item is not None and item.nested is not None and item.usual is not None:
        gap = item.usual.value - item.nested.estimate.value
        if is_finite(gap) and gap > 0:
            found.append(
                f"Validated the usual way, the {main_model(results)} model's {'C' if has_time(results) else 'AUC'} "
                f"would have been overstated by {number(gap, 3)}."
            )
    shares = results.validation.stability.get("radiomics", []) if results.validation is not None else []
    score = models.radiomics.radscore if models is not None and models.radiomics is not None else None
    if shares and score is not None:
        frequency = {item.name: item.frequency for item in shares}
        rare = [t.feature for t in score.terms if frequency.get(t.feature, 0.0) < 0.5]
        if rare:
            found.append(
                f"{len(rare)} of the {len(score.terms)} features of the Radscore were selected in fewer than half of "
                "the refits: another sample would give another signature."
            )
    return found
