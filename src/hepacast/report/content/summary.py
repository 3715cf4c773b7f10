"""First section: what was found, in a few lines; nothing found, where that is so; the planted truth."""

from __future__ import annotations

from hepacast.core.estimates import Estimate
from hepacast.evaluation.results import SetResult
from hepacast.report.content.common import (
    Omit,
    confidence,
    estimate,
    is_finite,
    judged_set,
    main_model,
    model_label,
    model_names,
    model_word,
    result_of,
    set_label,
    validation_of,
    verdicts,
)
from hepacast.report.formatting import number, p_sentence, plural
from hepacast.report.inputs import Results
from hepacast.report.model import Block, Bullets, Callout

#: Head of what speaks against the main model; the sentences are those of `evaluation/verdicts.py`.
VALIDATION_FAILS = "The validation does not hold in every respect"


def build(results: Results) -> list[Block]:
    """The summary."""
    blocks: list[Block] = []
    lines = [*_patients(results), *_performance(results), *_honest(results), *_comparison(results)]
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
    best = item.models.get(main_model(results))
    c = best.main.calibration if best is not None else None
    if c is not None:
        of = " (each patient's mean risk over the repeats)" if item.repeats > 1 else ""
        lines.append(
            f"**Calibration of the {main_model(results)} model{of}.** Slope {estimate(c.slope, 2)}, intercept "
            f"{estimate(c.citl, 2)}, integrated calibration index {number(c.ici.value, 3)}, Brier score "
            f"{number(c.brier.value, 3)}."
        )
    return lines


def _discrimination(results: Results, name: str, item: SetResult) -> str:
    where = set_label(name).lower()
    shown = {model: item.models[model].main for model in model_names(results) if model in item.models}
    aucs = [f"{model_label(m)} {estimate(r.auc)}" for m, r in shown.items() if r.status == "ok"]
    why = [f"{model_label(m)}: {r.reason or r.status}" for m, r in shown.items() if r.status != "ok"]
    if not aucs:
        reasons = f" ({'; '.join(why)})" if why else ""
        return f"**Discrimination.** No model has an AUC in the {where}{reasons}."
    kind = {"frozen": "frozen models, patients never seen in training", "apparent": "the patients of the fit itself"}
    what = kind.get(item.kind, "every prediction by a model that did not see the patient")
    if item.repeats > 1:
        what += f"; mean of {item.repeats} repeats"
    text = f"**Discrimination.** AUC ({confidence(results)}) in the {where} ({what}): {'; '.join(aucs)}."
    return text + (f" Without an AUC: {'; '.join(why)}." if why else "")


def _honest(results: Results) -> list[str]:
    model = main_model(results) if results.models is not None else ""
    item = validation_of(results, model)
    if item is None or item.nested is None:
        return []
    text = f"**Honest validation.** With every step repeated inside each fold, the {model} model's AUC is "
    text += estimate(item.nested.auc)
    usual = []
    apparent = item.apparent or _auc_of(results, "training", model)
    if apparent is not None:
        usual.append(f"{number(apparent.value, 3)} on the patients of the fit")
    if item.usual is not None:
        usual.append(f"{number(item.usual.value, 3)} the usual way, with features selected before cross-validation")
    return [text + (f"; it would read {' and '.join(usual)}." if usual else ".")]


def _comparison(results: Results) -> list[str]:
    try:
        _, item = judged_set(results)
    except Omit:
        return []
    main = main_model(results)
    test = "differences of the AUC within folds" if item.kind == "nested" else "DeLong's test"
    parts = [
        f"against {model_word(c.second if c.first == main else c.first)} {p_sentence(c.p)}"
        for c in item.comparisons
        if main in (c.first, c.second)
    ]
    return [f"**Comparison.** {model_label(main)} model, {test}: {'; '.join(parts)}."] if parts else []


def _auc_of(results: Results, set_name: str, model: str) -> Estimate | None:
    found = result_of(results, set_name, model)
    return found.auc if found is not None and found.status == "ok" else None


def nothing_found(results: Results) -> str:
    """Why the study has found nothing, in words; empty where it has found something or was not able to tell."""
    if results.models is None:
        return ""
    main = main_model(results)
    item = validation_of(results, main)
    reasons = []
    if item is not None and item.nested is not None and is_finite(item.nested.auc.value, item.nested.auc.low):
        if item.nested.auc.low > 0.5:
            return ""
        reasons.append(
            f"its AUC in nested cross-validation is {estimate(item.nested.auc)}, which chance alone (0.500) explains"
        )
    permutation = results.validation.permutation if results.validation is not None else None
    if permutation is not None and is_finite(permutation.p) and permutation.p >= 0.05:
        reasons.append(f"with the outcome shuffled, the whole chain does as well ({p_sentence(permutation.p)})")
    combined = results.models.combined
    if combined is not None and combined.status != "ok":
        reasons.append(f"no model could be made ({combined.reason or combined.status})")
    if not reasons:
        return ""
    if _frozen_holds(results):
        return f"The {main} model's signal does not show in the training set: {'; '.join(reasons)}."
    return (
        f"The {main} model does not predict {_outcome(results)}: {'; '.join(reasons)}. "
        "The figures and tables below are shown for completeness; none of them is evidence of a signal."
    )


def _frozen_holds(results: Results) -> str:
    """What to add where the frozen model does predict patients it has never seen; empty where it does not."""
    main = main_model(results)
    item = validation_of(results, main)
    auc = (item.frozen if item is not None else None) or _auc_of(results, "validation", main)
    if auc is None or not is_finite(auc.low) or auc.low <= 0.5:
        return ""
    return (
        f" In the validation set the frozen model does better than chance ({estimate(auc)}). The two disagree: "
        "more patients are needed before either is believed."
    )


def _outcome(results: Results) -> str:
    return results.outcome.name if results.outcome is not None else "the outcome"


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
        text += f" Estimated: nested AUC of the {model} model {estimate(item.nested.auc)}"
        frozen = item.frozen or _auc_of(results, "validation", model)
        text += f", frozen {estimate(frozen)}." if frozen is not None else "."
    return Callout("truth", "The planted truth", text)
