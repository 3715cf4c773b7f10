"""PROBAST+AI: flags of quality (development) and risk of bias (evaluation), read off the run, with the reason.

Of the signaling questions those that a run can answer are answered; those that it cannot are named and left to the
author. A domain is ``high`` where one of its flags is, else ``unclear`` where one is, else ``low``. Questions are in
short words of our own: the published tool is binding.

References
----------
Moons KGM et al. PROBAST+AI. BMJ 2025;388:e082505.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hepacast.core.estimates import Estimate
from hepacast.core.formatting import listing, number, plural
from hepacast.core.tables import Table, make_table
from hepacast.report.content.common import (
    has_time,
    judged_set,
    main_model,
    result_of,
    selection,
    set_word,
    validation_of,
)
from hepacast.report.content.metrics_score import AUTHOR
from hepacast.report.results import Results

Flag = Literal["low", "high", "unclear"]
Part = Literal["development", "evaluation"]

DEVELOPMENT, EVALUATION = "development", "evaluation"
DOMAINS = ("participants and data", "predictors", "outcome", "analysis")
#: Events that one candidate coefficient needs, and events and non-events that an evaluation needs, by usual rules.
EVENTS_PER_CANDIDATE, EVALUATION_EVENTS = 10.0, 100
#: How far a slope, or observed over expected, may be from 1.
SLOPE_OFF = 0.2


@dataclass(frozen=True)
class Judgement:
    """One flag: part, domain, question, flag, and the number or sentence behind it."""

    part: Part
    domain: str
    question: str
    flag: Flag
    reason: str


Rule = Callable[[Results], tuple[Flag, str]]


def judge(results: Results) -> list[Judgement]:
    """All flags of a run, in the order of the tool."""
    return [
        Judgement(part, domain, question, *rule(results))
        for part, domain, question, rule in RULES
        if has_time(results) or rule is not _censoring
    ]


def domain_flag(found: list[Judgement], part: str, domain: str) -> Flag:
    """The worst flag of a domain."""
    flags = [item.flag for item in found if item.part == part and item.domain == domain]
    return "high" if "high" in flags else "unclear" if "unclear" in flags else "low"


def domains_table(found: list[Judgement]) -> Table:
    """One row a domain, with what decided it."""
    rows = []
    for domain in DOMAINS:
        cells = []
        for part in (DEVELOPMENT, EVALUATION):
            flag = domain_flag(found, part, domain)
            why = [i.question for i in found if (i.part, i.domain) == (part, domain) and i.flag == flag != "low"]
            cells += [flag, "; ".join(why)]
        rows.append((domain, *cells))
    heads = ["Domain", "Development: concern", "Decided by", "Evaluation: risk of bias", "Decided by (evaluation)"]
    notes = ["Unclear where the author must judge; no flag here replaces a reader's judgement."]
    return make_table("PROBAST+AI by domain", heads, rows, notes=notes, words=True)


def questions_table(found: list[Judgement]) -> Table:
    """One row a question."""
    rows = [(item.part, item.domain, item.question, item.flag, item.reason) for item in found]
    return make_table("PROBAST+AI (Moons 2025)", ["Part", "Domain", "Question", "Flag", "Reason"], rows, words=True)


def _author(what: str) -> Rule:
    return lambda results: ("unclear", f"{AUTHOR}: {what}")


def _eligibility(results: Results) -> tuple[Flag, str]:
    if results.flow is None:
        return "unclear", AUTHOR
    left = results.flow.reviewed - results.flow.included
    text = f"{left} of {results.flow.reviewed} left out, each with a reason in {{design}}"
    return "unclear", f"{text}; the author judges whether the reasons are fair"


def _same_predictors(results: Results) -> tuple[Flag, str]:
    return "low", "one study file defines and computes them alike for every patient, blind to the outcome"


def _after_event(results: Results) -> tuple[Flag, str]:
    late = [item.message for item in results.findings if "after" in item.code and "event" in item.code]
    if late:
        return "high", late[0].rstrip(".")
    return "unclear", "no candidate is marked as measured after the event; the author affirms it"


def _outcome(results: Results) -> tuple[Flag, str]:
    if results.outcome is None:
        return "unclear", AUTHOR
    if results.outcome.conditions:
        return "low", f"the same rule for every patient: {results.outcome.definition.rstrip('. ')}"
    return (
        "unclear",
        f"read from the table ({results.outcome.definition.rstrip('. ')}); the author says how it was assessed",
    )


def _sample_size(results: Results) -> tuple[Flag, str]:
    said = _size_warnings(results)
    if said:
        return "high", "; ".join(said)
    candidates = sum(column.candidate for column in results.columns)
    training = results.flow.sets.get("training") if results.flow is not None else None
    if training is None or not training.events or not candidates:
        return "unclear", "events or candidates are not counted"
    rate = training.events / candidates
    model = results.models.radiomics if results.models is not None else None
    n_features = max((step.n_in for step in model.steps), default=0) if model is not None else 0
    text = f"{training.events} events for {plural(candidates, 'clinical candidate')} ({rate:.1f} each)"
    if n_features:
        return "high", f"{text} and {n_features:,} features"
    return ("low" if rate >= EVENTS_PER_CANDIDATE else "high"), text


def _size_warnings(results: Results) -> list[str]:
    """What the checks of the data warn of; a note only says how many events there are."""
    codes = ("events-per-variable", "sample-too-small")
    return [i.message.rstrip(". ") for i in results.findings if i.code in codes and i.severity != "note"]


def _continuous(results: Results) -> tuple[Flag, str]:
    return "low", "numbers enter as numbers; no cut-off is made from the data for a predictor"


def _missing(results: Results) -> tuple[Flag, str]:
    step = next((s.label for s in results.models.radiomics.steps if "missing" in s.label.lower()), None) if (
        results.models is not None and results.models.radiomics is not None
    ) else None  # fmt: skip
    censored = " or for censoring" if has_time(results) else ""
    text = (
        f"nobody was left out for a missing predictor{censored}; values are imputed from training patients, in every "
        "fold anew"
    )
    return "low", f"{text} ({step})" if step else text


def _chosen_by_p(results: Results) -> bool:
    """Whether candidates were chosen by their P alone (univariable)."""
    if selection(results) != "independent":
        return False
    if results.timed is not None:
        return bool({"clinical", "combined"} & set(results.timed.names))
    return results.models is not None and results.models.clinical is not None


def _censoring(results: Results) -> tuple[Flag, str]:
    assert results.timed is not None
    found = results.timed
    broken = [t.label for t in found.models[found.main].zph[:-1] if t.p < 0.05]
    text = "follow-up to censoring enters the likelihood; AUC and Brier score are weighted for censoring"
    if found.competing:
        text += "; competing events by Fine and Gray's model, Aalen-Johansen estimates"
    if broken:
        return "unclear", f"{text}; but hazards are not proportional ({listing(broken)}): {{proportional}}"
    return "low", text


def _overfitting(results: Results) -> tuple[Flag, str]:
    model = results.models.radiomics if results.models is not None else None
    univariate = [s.label for s in model.steps if "univariate" in s.label.lower()] if model is not None else []
    clinical = _chosen_by_p(results)
    reasons = [f"features filtered by {univariate[0]}"] if univariate else []
    reasons += ["clinical candidates chosen by P"] if clinical else []
    if not reasons:
        return "low", "no selection by single P values"
    measured = "; its optimism is measured in {validation}" if _optimism(results)[0] == "low" else ""
    return "high", "; ".join(reasons) + measured


def _optimism(results: Results) -> tuple[Flag, str]:
    item = validation_of(results, main_model(results))
    if item is None or (item.nested is None and item.bootstrap is None):
        return "high", "the whole chain was not refitted in folds or resamples"
    return "low", "every step, selection included, is refitted in each fold and resample: {validation}"


def _imbalance(results: Results) -> tuple[Flag, str]:
    if has_time(results):
        return "low", "time to an event: no classes are weighted or resampled"
    chain = (results.study.settings.get("modelling") or {}).get("chain")
    weights = chain.get("class_weights", "none") if isinstance(chain, dict) else "none"
    if weights in ("none", None):
        return "low", "classes are neither weighted nor resampled"
    return "low", f"classes weighted ({weights}); risks come from a logistic model of the score, which is not"


def _seen(results: Results) -> tuple[Flag, str]:
    name, item = judged_set(results)
    if item.kind == "apparent":
        return "high", "judged on the patients of the fit only"
    kind = "out-of-fold" if item.kind == "nested" and has_time(results) else item.kind
    where = set_word(results, name) if has_time(results) else name
    return "low", f"{where}: {item.n} patients that the models had not seen ({kind} predictions)"


def _evaluation_size(results: Results) -> tuple[Flag, str]:
    name, item = judged_set(results)
    if has_time(results):
        text = f"{set_word(results, name)}: {item.events} events ({EVALUATION_EVENTS} are wanted)"
        return ("low" if item.events >= EVALUATION_EVENTS else "high"), text
    fewest = min(item.events, item.n - item.events)
    text = f"{item.events} events and {item.n - item.events} without"
    return ("low" if fewest >= EVALUATION_EVENTS else "high"), f"{text} ({EVALUATION_EVENTS} of each are wanted)"


def _leakage(results: Results) -> tuple[Flag, str]:
    checks = results.run.checks if results.run is not None else []
    wanted = [item for item in checks if "training and validation" in item.name or "nested" in item.name.lower()]
    if not wanted:
        return "unclear", "the run made no checks of itself"
    failed = [item.name for item in wanted if not item.passed]
    return ("high", f"failed: {failed[0]}") if failed else ("low", "; ".join(item.name.lower() for item in wanted))


def _predictions_kept(results: Results) -> tuple[Flag, str]:
    checks = results.run.checks if results.run is not None else []
    found = next((item for item in checks if "missing" in item.name.lower()), None)
    if found is None:
        return "unclear", "not checked"
    return ("low" if found.passed else "high"), found.message


def _untouched(results: Results) -> tuple[Flag, str]:
    return "low", "patients of the evaluation are neither resampled nor weighted"


def _all_measures(results: Results) -> tuple[Flag, str]:
    name, _ = judged_set(results)
    at = result_of(results, name, main_model(results))
    if at is None or (at.status != "ok" and not has_time(results)):
        return "unclear", "the main model could not be judged"
    if at.calibration is None or at.decision is None:
        return "high", "calibration or net benefit is missing"
    where = "{discrimination}, {calibration}, {decision}" if has_time(results) else "{discrimination}, {performance}"
    return "low", f"discrimination, calibration and net benefit: {where}"


def _calibrated(results: Results) -> tuple[Flag, str]:
    name, _ = judged_set(results)
    at = result_of(results, name, main_model(results))
    found = at.calibration if at is not None else None
    if found is None or not found.slope.known:
        return "unclear", "no slope, or no observed risk" if has_time(results) else "no slope"
    slope = f"slope {_limits(found.slope)}"
    judged = [found.slope]
    text = f"calibration {slope}"
    if has_time(results):
        judged.append(found.observed_expected)
        ratio = f"observed over expected {_limits(found.observed_expected)}"
        text = f"{set_word(results, name)}: {slope}, {ratio}: {{calibration}}"
    off = [item for item in judged if not abs(item.value - 1) <= SLOPE_OFF]
    if not off:
        return "low", text
    return ("unclear" if all(item.low <= 1 <= item.high for item in off) else "high"), text


def _limits(value: Estimate) -> str:
    return f"{number(value.value, 2)} ({number(value.low, 2)} to {number(value.high, 2)})"


RULES: tuple[tuple[Part, str, str, Rule], ...] = (
    ("development", "participants and data", "Appropriate source of data", _author("kind and dates of the data")),
    ("development", "participants and data", "Appropriate in- and exclusions", _eligibility),
    (
        "development",
        "predictors",
        "Defined and measured alike for all, without knowledge of the outcome",
        _same_predictors,
    ),
    ("development", "predictors", "Available when the model is to be used", _after_event),
    ("development", "outcome", "Appropriate, standard definition, alike for all", _outcome),
    ("development", "outcome", "Assessed without knowledge of the predictors", _author("blinding")),
    ("development", "analysis", "Sample size", _sample_size),
    ("development", "analysis", "Continuous predictors not dichotomized", _continuous),
    ("development", "analysis", "Missing data", _missing),
    ("development", "analysis", "Class imbalance", _imbalance),
    ("development", "analysis", "Selection by univariable P", _overfitting),
    ("development", "analysis", "Overfitting and optimism accounted for", _optimism),
    ("development", "analysis", "Censoring and competing events", _censoring),
    ("evaluation", "participants and data", "Appropriate source of data", _author("kind and dates of the data")),
    ("evaluation", "participants and data", "Appropriate in- and exclusions", _eligibility),
    ("evaluation", "predictors", "Defined and measured as in development", _same_predictors),
    ("evaluation", "outcome", "Defined as in development, alike for all", _outcome),
    ("evaluation", "outcome", "Assessed without knowledge of the predictors", _author("blinding")),
    ("evaluation", "analysis", "Patients that the model had not seen", _seen),
    ("evaluation", "analysis", "Sample size", _evaluation_size),
    ("evaluation", "analysis", "No leakage between the parts", _leakage),
    ("evaluation", "analysis", "Nobody without a prediction", _predictions_kept),
    ("evaluation", "analysis", "Evaluation set as it is", _untouched),
    ("evaluation", "analysis", "Resampling repeats all steps", _optimism),
    ("evaluation", "analysis", "Discrimination, calibration and usefulness", _all_measures),
    ("evaluation", "analysis", "Calibration", _calibrated),
)
