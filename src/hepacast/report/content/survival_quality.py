"""METRICS and PROBAST+AI of a time-to-event study: what differs from a binary one; the rest is judged alike."""

from __future__ import annotations

from collections.abc import Callable

from hepacast.evaluation.results import HorizonResult
from hepacast.report.content.common import is_finite
from hepacast.report.content.metrics_score import EVENTS_PER_COEFFICIENT, RULES, Met
from hepacast.report.content.probast import (
    EVALUATION_EVENTS,
    EVENTS_PER_CANDIDATE,
    SLOPE_OFF,
    Flag,
    Part,
    Rule,
    optimism_flag,
    size_warnings,
)
from hepacast.report.content.probast import RULES as QUESTIONS
from hepacast.report.content.survival_common import judge, judged, lower_first, set_name, survival
from hepacast.report.formatting import listing, number, plural
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import ModelC


def _dimension(results: Results) -> Met:
    item = survival(results)
    model = item.models.models.get(item.models.main)
    if model is None or not model.terms:
        return Met(None, "the main model has no predictor")
    rate = model.events / len(model.terms)
    text = f"{model.events} events for {plural(len(model.terms), 'coefficient')} of the final model ({rate:.0f} each)"
    radiomics = results.models.radiomics if results.models is not None else None
    if radiomics is not None and radiomics.radscore is not None and radiomics.radscore.terms:
        text += f"; the signature has {plural(len(radiomics.radscore.terms), 'feature')}"
    return Met(rate >= EVENTS_PER_COEFFICIENT, text)


def _measures(results: Results) -> Met:
    has_groups = results.evaluation is not None and bool(results.evaluation.groups)
    groups = "; groups at the training cut-off in {survival}" if has_groups else ""
    return Met(True, "Harrell's C and AUC at the horizons: {discrimination}; Brier scores: {calibration}" + groups)


def _intervals(results: Results) -> Met:
    entry = _main_validation(results)
    folds = "; {validation}: corrected for overlapping folds" if entry.nested is not None else ""
    return Met(True, "{discrimination}: limits from influence functions" + folds)


def _calibration(results: Results) -> Met:
    found = any(
        at.calibration is not None
        for entry in judged(results).sets.values()
        for model in entry.models.values()
        for at in model.horizons
    )
    return Met(found, "observed over expected, slope, curve at each horizon: {calibration}" if found else "none")


def _against_clinical(results: Results) -> Met:
    _, item = judge(judged(results))
    met = any("clinical" in (pair.first, pair.second) for pair in item.comparisons)
    benefit = ", net benefit in {decision}" if any(len(state.thresholds) for state in item.states) else ""
    return Met(met, "{comparisons}" + benefit if met else "no clinical model stands beside the radiomics model")


def _against_simple(results: Results) -> Met:
    found = _against_clinical(results)
    return Met(True, "Cox model of clinical variables: {comparisons}") if found.met else found


def _internal(results: Results) -> Met:
    sets = judged(results).sets
    split = ((results.study.settings.get("cohort") or {}).get("split") or {}).get("by")
    if "validation" in sets and (split == "random" or "external" in sets):
        n = sets["validation"].n
        how = "of the same source, drawn at random" if split == "random" else "of the validation set beside an external"
        return Met(True, f"frozen model in {n} patients {how}")
    nested = (
        " (nested cross-validation of the whole chain is in {validation})" if _main_validation(results).nested else ""
    )
    return Met(False, f"no held-out patients of the same source{nested}")


def _external(results: Results) -> Met:
    if results.centers.get("training"):
        return RULES[27](results)
    found = judged(results).sets.get("external")
    if found is None:
        return Met(False, "no patients of another center were held out")
    return Met(True, f"frozen model in {found.n} patients of the set that the study file calls external")


#: By number of the item, as in `metrics_score.RULES`.
METRICS_RULES: dict[int, Callable[[Results], Met]] = RULES | {
    16: _dimension,
    20: _measures,
    21: _intervals,
    22: _calibration,
    24: _against_clinical,
    25: _against_simple,
    26: _internal,
    27: _external,
}


def _main_validation(results: Results) -> ModelC:
    item = survival(results)
    return item.validation.models.get(item.models.main, ModelC())


def _at_main(results: Results) -> tuple[str, HorizonResult | None]:
    """The judged set, and the main model in it at the main horizon."""
    name, entry = judge(judged(results))
    model = entry.models.get(survival(results).models.main)
    return name, model.horizons[-1] if model is not None and model.horizons else None


def _sample_size(results: Results) -> tuple[Flag, str]:
    said = size_warnings(results)
    if said:
        return "high", "; ".join(said)
    candidates = sum(column.candidate for column in results.columns)
    training = judged(results).sets.get("training")
    if training is None or not candidates:
        return "unclear", "events or candidates are not counted"
    rate = training.events / candidates
    text = f"{training.events} events for {plural(candidates, 'clinical candidate')} ({rate:.1f} each)"
    model = results.models.radiomics if results.models is not None else None
    n_features = max((step.n_in for step in model.steps), default=0) if model is not None else 0
    if n_features:
        return "high", f"{text} and {n_features:,} features"
    return ("low" if rate >= EVENTS_PER_CANDIDATE else "high"), text


def _missing(results: Results) -> tuple[Flag, str]:
    return (
        "low",
        "nobody was left out for a missing predictor or for censoring; values are imputed from training patients, in "
        "every fold anew",
    )


def _censoring(results: Results) -> tuple[Flag, str]:
    item = survival(results)
    broken = [t.label for t in item.models.models[item.models.main].zph[:-1] if t.p < 0.05]
    text = "follow-up to censoring enters the likelihood; AUC and Brier score are weighted for censoring"
    if item.models.competing:
        text += "; competing events by Fine and Gray's model, Aalen-Johansen estimates"
    if broken:
        return "unclear", f"{text}; but hazards are not proportional ({listing(broken)}): {{proportional}}"
    return "low", text


def _imbalance(results: Results) -> tuple[Flag, str]:
    return "low", "time to an event: no classes are weighted or resampled"


def _overfitting(results: Results) -> tuple[Flag, str]:
    item = survival(results)
    model = results.models.radiomics if results.models is not None else None
    univariate = [s.label for s in model.steps if "univariate" in s.label.lower()] if model is not None else []
    reasons = [f"features filtered by {univariate[0]}"] if univariate else []
    if item.models.selection == "independent" and {"clinical", "combined"} & set(item.models.names):
        reasons.append("clinical candidates chosen by P")
    if not reasons:
        return "low", "no selection by single P values"
    measured = "; its optimism is measured in {validation}" if _optimism(results)[0] == "low" else ""
    return "high", "; ".join(reasons) + measured


def _optimism(results: Results) -> tuple[Flag, str]:
    entry = _main_validation(results)
    return optimism_flag(entry.nested is not None or entry.bootstrap is not None)


def _seen(results: Results) -> tuple[Flag, str]:
    name, entry = judge(judged(results))
    if entry.kind == "apparent":
        return "high", "judged on the patients of the fit only"
    kind = "frozen" if entry.kind == "frozen" else "out-of-fold"
    return "low", f"{lower_first(set_name(name))}: {entry.n} patients that the models had not seen ({kind} predictions)"


def _evaluation_size(results: Results) -> tuple[Flag, str]:
    name, entry = judge(judged(results))
    text = f"{lower_first(set_name(name))}: {entry.events} events ({EVALUATION_EVENTS} are wanted)"
    return ("low" if entry.events >= EVALUATION_EVENTS else "high"), text


def _all_measures(results: Results) -> tuple[Flag, str]:
    _, at = _at_main(results)
    if at is None:
        return "unclear", "the main model could not be judged"
    if at.calibration is None or at.decision is None:
        return "high", "calibration or net benefit is missing"
    return "low", "discrimination, calibration and net benefit: {discrimination}, {calibration}, {decision}"


def _calibrated(results: Results) -> tuple[Flag, str]:
    name, at = _at_main(results)
    fit = at.calibration if at is not None else None
    slope, ratio = (None, None) if fit is None else (fit.slope, fit.observed_expected)
    if slope is None or ratio is None or not is_finite(slope.value, ratio.value):
        return "unclear", "no slope, or no observed risk"
    text = (
        f"{lower_first(set_name(name))}: slope {number(slope.value, 2)} ({number(slope.low, 2)} to "
        f"{number(slope.high, 2)}), observed over expected {number(ratio.value, 2)} ({number(ratio.low, 2)} to "
        f"{number(ratio.high, 2)}): {{calibration}}"
    )
    off = [item for item in (slope, ratio) if abs(item.value - 1) > SLOPE_OFF]
    if not off:
        return "low", text
    return ("unclear" if all(item.low <= 1 <= item.high for item in off) else "high"), text


_OWN: dict[str, Rule] = {
    "Missing data": _missing,
    "Class imbalance": _imbalance,
    "Selection by univariable P": _overfitting,
    "Overfitting and optimism accounted for": _optimism,
    "Patients that the model had not seen": _seen,
    "Resampling repeats all steps": _optimism,
    "Discrimination, calibration and usefulness": _all_measures,
    "Calibration": _calibrated,
}


def _rule(part: Part, question: str, rule: Rule) -> Rule:
    if question == "Sample size":
        return _sample_size if part == "development" else _evaluation_size
    return _OWN.get(question, rule)


#: As `probast.RULES`, with the question of censoring.
PROBAST_RULES: tuple[tuple[Part, str, str, Rule], ...] = (
    *(
        (part, domain, question, _rule(part, question, rule))
        for part, domain, question, rule in QUESTIONS
        if part == "development"
    ),
    ("development", "analysis", "Censoring and competing events", _censoring),
    *(
        (part, domain, question, _rule(part, question, rule))
        for part, domain, question, rule in QUESTIONS
        if part == "evaluation"
    ),
)
