"""First section: what was found, in a few lines; nothing found, where that is so; the planted truth."""

from __future__ import annotations

from hepacast.core.estimates import Estimate
from hepacast.core.formatting import listing, number, p_sentence, plural
from hepacast.evaluation.results import SetResult
from hepacast.report.content.common import (
    Omit,
    at_horizon,
    confidence,
    discrimination_of,
    estimate,
    evaluated,
    has_time,
    is_finite,
    judged_set,
    main_model,
    measure,
    model_label,
    model_names,
    model_word,
    set_word,
    unseen_sets,
    validation_of,
    verdicts,
)
from hepacast.report.model import Block, Bullets, Callout
from hepacast.report.results import Results

#: Head of what speaks against the main model; the sentences are those of `evaluation/verdicts.py`.
VALIDATION_FAILS = "The validation does not hold in every respect"


def build(results: Results) -> list[Block]:
    """The summary."""
    blocks: list[Block] = []
    lines = [*_patients(results), *_performance(results), *_validation(results)]
    lines += [*_comparison(results), *_groups(results)]
    if not lines:
        raise Omit("no stage has written results yet")
    found = nothing_found(results)
    if found:
        weak = _frozen_holds(results)
        blocks.append(Callout("warning", "The evidence is divided" if weak else "Nothing was found", found + weak))
    against = verdicts(results, main_model(results)) if results.evaluation is not None else []
    if against:
        blocks.append(Callout("warning", VALIDATION_FAILS, " ".join(against)))
    blocks.append(Bullets(tuple(lines)))
    if results.truth is not None:
        blocks.append(truth_panel(results))
    return blocks


def facts(results: Results) -> list[tuple[str, str]]:
    """Lines of the first page."""
    found, outcome = [], results.outcome
    if outcome is not None:
        count = f"{outcome.n_events} events in" if has_time(results) else f"{outcome.n_events} of"
        found.append(("Outcome", f"{outcome.name}: {count} {outcome.n} patients"))
    if results.models is not None:
        found.append(("Models", ", ".join(model_label(results, name) for name in model_names(results))))
    if results.evaluation is None:
        return found
    name, main = results.evaluation.judged, main_model(results)
    best = discrimination_of(results, name, main)
    if best is not None and best.known:
        text = f"{estimate(best)} ({confidence(results)}), {main} model, {set_word(results, name)}"
        found.append((measure(results), text))
    return found


def _patients(results: Results) -> list[str]:
    if results.flow is None or results.outcome is None:
        return []
    flow = results.flow
    sets = "; ".join(
        f"{name} set {item.n}" + (f" with {plural(item.events, 'event')}" if item.events is not None else "")
        for name, item in flow.sets.items()
    )
    text = f"**Patients.** {flow.included + flow.n_lost} of {flow.reviewed} reviewed were included"
    lost = f"; {flow.n_lost} of them could not be analyzed, {flow.included} were" if flow.lost else ""
    return [f"{text}{lost} ({sets})."]


def _performance(results: Results) -> list[str]:
    try:
        name, item = judged_set(results)
    except Omit:
        return []
    lines = [_discrimination(results, name, item)]
    main = main_model(results)
    best = item.models[main].main.calibration if main in item.models else None
    if best is None:
        return lines
    if has_time(results):
        at = at_horizon(results, evaluated(results).horizons[-1])
        parts = [
            f"{set_word(results, key)} observed over expected {estimate(c.observed_expected, 2)}, slope "
            f"{estimate(c.slope, 2)}"
            for key, entry in unseen_sets(results).items()
            if (c := entry.models[main].main.calibration) is not None and entry.kind != "apparent"
        ]
        return [*lines, f"**Calibration of the {main} model's risk{at}.** {'; '.join(parts)}."] if parts else lines
    of = " (each patient's mean risk over the repeats)" if item.repeats > 1 else ""
    return [
        *lines,
        f"**Calibration of the {main} model{of}.** Slope {estimate(best.slope, 2)}, intercept "
        f"{estimate(best.citl, 2)}, integrated calibration index {number(best.ici.value, 3)}, Brier score "
        f"{number(best.brier.value, 3)}.",
    ]


def _discrimination(results: Results, name: str, item: SetResult) -> str:
    where, short = set_word(results, name), measure(results)
    shown = {model: item.models[model] for model in model_names(results) if model in item.models}
    values = {model: discrimination_of(results, name, model) for model in shown}
    known = [f"{model_label(results, m)} {estimate(v)}" for m, v in values.items() if v is not None]
    why = [
        f"{model_label(results, m)}: {shown[m].main.reason or shown[m].main.status}"
        for m, v in values.items()
        if v is None
    ]
    article = "a" if short == "C" else "an"
    if not known:
        reasons = f" ({'; '.join(why)})" if why else ""
        return f"**Discrimination.** No model has {article} {short} in the {where}{reasons}."
    kind = {"frozen": "frozen models, patients never seen in training", "apparent": "the patients of the fit itself"}
    what = kind.get(item.kind, "every prediction by a model that did not see the patient")
    if item.repeats > 1:
        what += f"; mean of {item.repeats} repeats"
    text = f"**Discrimination.** {short} ({confidence(results)}) in the {where} ({what}): {'; '.join(known)}."
    return text + (f" Without {article} {short}: {'; '.join(why)}." if why else "")


def _validation(results: Results) -> list[str]:
    model = main_model(results) if results.models is not None else ""
    item = validation_of(results, model)
    if item is None or item.nested is None:
        return []
    text = f"**Honest validation.** With every step repeated inside each fold, the {model} model's {measure(results)} "
    text += f"is {estimate(item.nested.estimate)}"
    usual = []
    apparent = item.apparent or discrimination_of(results, "training", model)
    if apparent is not None and apparent.known:
        usual.append(f"{number(apparent.value, 3)} on the patients of the fit")
    if item.usual is not None:
        what = "predictors" if has_time(results) else "features"
        usual.append(f"{number(item.usual.value, 3)} the usual way, with {what} selected before cross-validation")
    return [text + (f"; it would read {' and '.join(usual)}." if usual else ".")]


def _comparison(results: Results) -> list[str]:
    try:
        _, item = judged_set(results)
    except Omit:
        return []
    main, short = main_model(results), measure(results)
    test = f"differences of {'C' if short == 'C' else 'the AUC'} within folds" if item.kind == "nested" else (
        "differences of C" if short == "C" else "DeLong's test"
    )  # fmt: skip
    parts = [
        f"against {model_word(results, c.second if c.first == main else c.first)} "
        + (f"{estimate(c.difference)}, " if has_time(results) else "")
        + p_sentence(c.p)
        for c in item.comparisons
        if main in (c.first, c.second) and c.measure == short
    ]
    return [f"**Comparison.** {model_label(results, main)} model, {test}: {'; '.join(parts)}."] if parts else []


def _groups(results: Results) -> list[str]:
    found = results.evaluation.groups if results.evaluation is not None else ()
    parts = []
    for entry in found:
        if entry.hazard_ratio is not None:
            by = " (cross-validated risk)" if entry.set == "training" and has_time(results) else ""
            ratio = f"hazard ratio ({confidence(results)}) {estimate(entry.hazard_ratio, 2)}"
            end = "" if has_time(results) else f", {entry.end_point}"
            parts.append(f"{entry.set} set{by}{end} {ratio}, {entry.test} {p_sentence(entry.p)}")
    return [f"**High against low risk.** {'; '.join(parts)}."] if parts else []


def nothing_found(results: Results) -> str:
    """Why the study has found nothing, in words; empty where it has found something or was not able to tell."""
    if results.models is None:
        return ""
    main, short = main_model(results), measure(results)
    item = validation_of(results, main)
    reasons = []
    if item is not None and item.nested is not None and is_finite(item.nested.estimate.value, item.nested.estimate.low):
        if item.nested.estimate.low > 0.5:
            return ""
        nested = estimate(item.nested.estimate)
        reasons.append(f"its {short} in nested cross-validation is {nested}, which chance alone (0.500) explains")
    permutation = results.validation.permutation if results.validation is not None else None
    if permutation is not None and is_finite(permutation.p) and permutation.p >= 0.05:
        what = "follow-up" if has_time(results) else "the outcome"
        reasons.append(f"with {what} shuffled, the whole chain does as well ({p_sentence(permutation.p)})")
    why = _not_made(results)
    if why:
        reasons.append(f"no model could be made ({why})")
    if not reasons:
        return ""
    if _frozen_holds(results):
        return f"The {main} model's signal does not show in the training set: {'; '.join(reasons)}."
    outcome = results.outcome.name if results.outcome is not None else "the outcome"
    return (
        f"The {main} model does not predict {outcome}: {'; '.join(reasons)}. "
        "The figures and tables below are shown for completeness; none of them is evidence of a signal."
    )


def _not_made(results: Results) -> str:
    """Why the main model could not be made; empty where it was."""
    if results.timed is not None:
        model = results.timed.models[main_model(results)]
        return "" if model.status == "ok" else model.reason or model.status
    if results.models is None:
        return ""
    models = results.models
    named = {"radiomics": models.radiomics, "joint": models.joint, **models.joined}
    main = named.get(main_model(results), models.combined)
    return "" if main is None or main.status == "ok" else main.reason or main.status


def _frozen_holds(results: Results) -> str:
    """What to add where the frozen model does predict patients it has never seen; empty where it does not."""
    main = main_model(results)
    item = validation_of(results, main)
    found: dict[str, Estimate | None] = {
        name: discrimination_of(results, name, main) for name in ("validation", "external")
    }
    if item is not None and item.frozen is not None:
        found["validation"] = item.frozen
    held = {name: value for name, value in found.items() if value is not None and value.low > 0.5}
    if not held:
        return ""
    sets = " and the ".join(set_word(results, name) for name in held)
    values = listing([estimate(value) for value in held.values()])
    return (
        f" In the {sets} the frozen model does better than chance ({values}). The two disagree: "
        "more patients are needed before either is believed."
    )


def truth_panel(results: Results) -> Callout:
    """What was planted in virtual patients, beside what was estimated."""
    truth = results.truth
    assert truth is not None
    if not truth.planted:
        text = "These patients are virtual, and **no effect was planted**: every honest AUC should be 0.50."
    else:
        terms = ", ".join(f"{term.label} ({number(term.coefficient, 2)})" for term in truth.terms)
        best = "; ".join(f"{name} {number(value, 3)}" for name, value in truth.bayes_auc.items())
        text = "These patients are virtual. "
        text += f"Planted log odds: {terms}. " if terms else ""
        text += f"AUC of the true risk, which no model can beat in the long run: {best}."
    if truth.description:
        text += f" {truth.description}"
    model = main_model(results) if results.models is not None else ""
    item = validation_of(results, model)
    if item is not None and item.nested is not None:
        text += f" Estimated: nested AUC of the {model} model {estimate(item.nested.estimate)}"
        frozen = item.frozen or discrimination_of(results, "validation", model)
        text += f", frozen {estimate(frozen)}." if frozen is not None else "."
    return Callout("truth", "The planted truth", text)
