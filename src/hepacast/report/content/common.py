"""What several sections need: names of models and sets, the main model, the set that models are judged on."""

from __future__ import annotations

import math
from collections.abc import Callable

from hepacast.core.estimates import Estimate
from hepacast.evaluation.results import HorizonResult, SetResult
from hepacast.report.formatting import MISSING, capital, percent_with_interval, with_interval
from hepacast.report.inputs import ModelValidation, Optimism, Results
from hepacast.report.inputs.survival import OptimismC
from hepacast.report.model import Block, FigureBlock, TableBlock
from hepacast.stats.intervals import ci_label

STATEMENT = "Research use only. Not a medical device; not for decisions about patients."
#: Note below the table of the ways to validate.
WHICH_TO_TRUST = (
    "{measure} of nested cross-validation is the mean over the repeats of that within folds. A chain that selects "
    "among many more features than there are patients fits every bootstrap sample almost without a fault, and the "
    "bootstrap then corrects too little: there nested cross-validation and patients never seen are to be believed."
)


Build = Callable[[Results], list[Block]]


def texts_of(build: Build) -> Build:
    """The texts of a section, for the main report, where its tables and figures stand in the supplement."""
    return lambda results: [block for block in build(results) if not isinstance(block, TableBlock | FigureBlock)]


def exhibits_of(build: Build) -> Build:
    """The tables and figures of a section whose texts stand in the main report."""
    return lambda results: [block for block in build(results) if isinstance(block, TableBlock | FigureBlock)]


class Omit(Exception):
    """Raised by a section that has nothing to show; the text says why, in one sentence."""


def model_label(name: str) -> str:
    """``combined`` -> ``Combined``."""
    return capital(name.replace("_", " "))


def model_word(name: str) -> str:
    """A model's name inside a sentence: ``combined``, ``DLRCR``."""
    return name.replace("_", " ")


def set_label(name: str) -> str:
    """``validation`` -> ``Validation set``."""
    if name == "nested":
        return "Nested cross-validation"
    return f"{capital(name)} set"


def estimate(value: Estimate | None, digits: int = 3) -> str:
    """An estimate with its limits, or a dash."""
    return MISSING if value is None else with_interval(value.value, value.low, value.high, digits)


def percent_estimate(value: Estimate) -> str:
    """A share with its limits as percent."""
    return percent_with_interval(value.value, value.low, value.high)


def model_names(results: Results) -> list[str]:
    """The models in the study's order."""
    if results.models is not None:
        return list(results.models.names)
    if results.evaluation is not None:
        return list(dict.fromkeys(name for item in results.evaluation.sets.values() for name in item.models))
    return []


def main_model(results: Results) -> str:
    """The model that the study is about, as the modelling stage names it; networks beside it are not."""
    names = model_names(results)
    if not names:
        raise Omit("the results hold no model")
    named = results.models.main if results.models is not None else ""
    return named or ("combined" if "combined" in names else names[-1])


def judged_set(results: Results) -> tuple[str, SetResult]:
    """The set of the headline and what was found there."""
    if results.evaluation is None or not results.evaluation.sets:
        raise Omit("the results hold no evaluation")
    name = results.evaluation.judged
    return name, results.evaluation.sets[name]


def result_of(results: Results, set_name: str, model: str) -> HorizonResult | None:
    """One model's results on one set (at the main horizon), if they exist."""
    if results.evaluation is None or set_name not in results.evaluation.sets:
        return None
    found = results.evaluation.sets[set_name].models.get(model)
    return None if found is None else found.main


def validation_of(results: Results, model: str) -> ModelValidation | None:
    """How a model was validated, if the stage ran."""
    return None if results.validation is None else results.validation.models.get(model)


def plus_632(found: Optimism | OptimismC | None) -> Estimate | None:
    """Efron and Tibshirani's estimate; it has no limits."""
    return Estimate(found.plus_632) if found is not None and is_finite(found.plus_632) else None


def without_limits(found: Optimism | OptimismC) -> str:
    """Why a corrected estimate has no limits, to be added to its remark; empty where it has."""
    return f"; no limits: {found.reason}" if found.reason and not is_finite(found.corrected.low) else ""


def verdicts(results: Results, model: str) -> list[str]:
    """What a model's validation says against it, the gravest first, in whole sentences."""
    return [] if results.evaluation is None else results.evaluation.verdicts.get(model, [])


def event_names(results: Results) -> tuple[str, str]:
    """Names of the event group and of the other one."""
    if results.outcome is None:
        return "event", "no event"
    return results.outcome.positive, results.outcome.negative


def is_finite(*values: float) -> bool:
    """Whether all numbers exist."""
    return all(math.isfinite(value) for value in values)


def confidence(results: Results) -> str:
    """``95% CI``: what every interval of these results is called, by the level that the study asked for."""
    if results.survival is not None:
        return ci_label(results.survival.models.confidence)
    if results.evaluation is not None:
        return ci_label(results.evaluation.level)
    return ci_label(float((results.study.settings.get("evaluation") or {}).get("confidence", 0.95)))
