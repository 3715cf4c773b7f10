"""What several sections need: names of models and sets, the main model, the set that models are judged on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hepacast.core.estimates import Estimate
from hepacast.core.formatting import MISSING, capital, listing, percent_with_interval, with_interval
from hepacast.evaluation.results import EvaluationResults, HorizonResult, SetResult
from hepacast.modelling.described import ChainOptimism, ModelValidation
from hepacast.report.model import Block, FigureBlock, Panel, TableBlock
from hepacast.report.results import Results
from hepacast.stats.intervals import ci_label

STATEMENT = "Research use only. Not a medical device; not for decisions about patients."


Build = Callable[[Results], list[Block]]


def texts_of(build: Build) -> Build:
    """The texts of a section, for the main report, where its tables and figures stand in the supplement."""
    return lambda results: [block for block in build(results) if not isinstance(block, TableBlock | FigureBlock)]


def exhibits_of(build: Build) -> Build:
    """The tables and figures of a section whose texts stand in the main report."""
    return lambda results: [block for block in build(results) if isinstance(block, TableBlock | FigureBlock)]


class Omit(Exception):
    """Raised by a section that has nothing to show; the text says why, in one sentence."""


def has_time(results: Results) -> bool:
    """Whether the outcome is a time to an event: then there are horizons, and C."""
    return results.timed is not None


def measure(results: Results) -> str:
    """How discrimination is measured: ``C`` of follow-up, else ``AUC``."""
    return "C" if has_time(results) else "AUC"


def model_label(results: Results, name: str) -> str:
    """``Combined``; of follow-up with its kind: ``Clinical (Cox)``, ``Binary (24 months)``."""
    label = capital(name.replace("_", " "))
    if results.timed is None:
        return label
    found = results.timed
    if name == "binary":
        return f"{label} ({horizon(results, found.horizons[-1])})"
    return f"{label} ({'Fine-Gray' if found.competing else 'Cox'})"


def model_word(results: Results, name: str) -> str:
    """A model's name inside a sentence: ``combined``, ``DLRCR``, ``combined (Cox)``."""
    return lower_first(model_label(results, name)) if has_time(results) else name.replace("_", " ")


#: What the sets of a study with follow-up are called where they stand beside each other.
_SETS = {"nested": "Training set, cross-validated", "training": "Training set, apparent"}


def set_label(results: Results, name: str) -> str:
    """``validation`` -> ``Validation set``."""
    if has_time(results) and name in _SETS:
        return _SETS[name]
    return "Nested cross-validation" if name == "nested" else f"{capital(name)} set"


def set_word(results: Results, name: str) -> str:
    """A set's name inside a sentence: ``validation set``."""
    return lower_first(set_label(results, name))


def lower_first(text: str) -> str:
    """Text with a small first letter, unless the first word is an abbreviation."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def horizon(results: Results, time: float) -> str:
    """``365 days``; empty of an outcome without time."""
    return f"{time:g} {results.timed.unit}" if results.timed is not None else ""


def horizons(results: Results) -> str:
    """``180 and 365 days``."""
    assert results.timed is not None
    found = results.timed
    return f"{listing([f'{t:g}' for t in found.horizons])} {found.unit}"


def by_word(results: Results) -> str:
    """``before`` where an event at the very horizon does not count, else ``by``."""
    return "before" if results.timed is not None and results.timed.before_horizon else "by"


def at_horizon(results: Results, time: float) -> str:
    """`` by 365 days``, to be added to a sentence; empty of an outcome without time."""
    return f" {by_word(results)} {horizon(results, time)}" if has_time(results) else ""


def event_word(results: Results) -> str:
    """``progression``, or ``the event`` where the study gives no name."""
    assert results.timed is not None
    name = results.timed.event
    return "the event" if name == "event" else name


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


def evaluated(results: Results) -> EvaluationResults:
    """What the evaluation found."""
    judged_set(results)
    assert results.evaluation is not None
    return results.evaluation


def sets_in_order(results: Results) -> dict[str, SetResult]:
    """The sets as tables print them: of follow-up apparent, cross-validated, then those that no model saw."""
    found = evaluated(results).sets
    if not has_time(results):
        return found
    first = [name for name in ("training", "nested", "validation", "external") if name in found]
    return {name: found[name] for name in [*first, *(name for name in found if name not in first)]}


def unseen_sets(results: Results) -> dict[str, SetResult]:
    """The sets whose patients no judged model had seen; where there are none, all."""
    sets = sets_in_order(results)
    return {name: item for name, item in sets.items() if item.kind != "apparent"} or sets


def discrimination_of(results: Results, set_name: str, model: str) -> Estimate | None:
    """C or AUC of a model on a set, where it could be measured."""
    found = evaluated(results).sets.get(set_name) if results.evaluation is not None else None
    entry = found.models.get(model) if found is not None else None
    if entry is None or (entry.c is None and entry.main.status != "ok"):
        return None
    return entry.discrimination


def lettered(texts: Sequence[str]) -> str:
    """``(a) one; (b) another``; a single text has no letter."""
    return "; ".join(f"({chr(97 + i)}) {text}" if len(texts) > 1 else text for i, text in enumerate(texts))


def figure_of(key: str, title: str, panels: Sequence[Panel], texts: Sequence[str]) -> FigureBlock | None:
    """A figure of lettered panels, two side by side; None without any."""
    if not panels:
        return None
    return FigureBlock(key, f"{title}: {lettered(texts)}.", tuple(panels), columns=2 if len(panels) > 1 else 1)


def result_of(results: Results, set_name: str, model: str) -> HorizonResult | None:
    """One model's results on one set (at the main horizon), if they exist."""
    if results.evaluation is None or set_name not in results.evaluation.sets:
        return None
    found = results.evaluation.sets[set_name].models.get(model)
    return None if found is None else found.main


def validation_of(results: Results, model: str) -> ModelValidation | None:
    """How a model was validated, if the stage ran."""
    return None if results.validation is None else results.validation.models.get(model)


def plus_632(found: ChainOptimism | None) -> Estimate | None:
    """Efron and Tibshirani's estimate; it has no limits."""
    return Estimate(found.plus_632) if found is not None and is_finite(found.plus_632) else None


def without_limits(found: ChainOptimism) -> str:
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


def selected_predictors(results: Results, kind: str) -> list[str]:
    """What the final models hold of a part of the chain: ``clinical``, ``radiomics``, ``binary``."""
    models, timed = results.models, results.timed if results.timed is not None else None
    if kind == "radiomics":
        score = models.radiomics.radscore if models is not None and models.radiomics is not None else None
        return [term.feature for term in score.terms] if score is not None else []
    if kind == "binary":
        return list(timed.binary.selected) if timed is not None and timed.binary is not None else []
    if timed is not None:
        return list(timed.selected)
    return list(models.clinical.selected) if models is not None and models.clinical is not None else []


def selection(results: Results) -> str:
    """How the clinical predictors were chosen (`modelling.selection`)."""
    if results.models is not None:
        return str(results.models.selection)
    return str((results.study.settings.get("modelling") or {}).get("selection") or "independent")


def example_patient(results: Results) -> str:
    """The patient worked through on the nomogram; empty where there is none."""
    example = results.models.example if results.models is not None else None
    return "" if example is None else example.patient


def is_finite(*values: float) -> bool:
    """Whether all numbers exist."""
    return all(math.isfinite(value) for value in values)


def confidence(results: Results) -> str:
    """``95% CI``: what every interval of these results is called, by the level that the study asked for."""
    if results.timed is not None:
        return ci_label(results.timed.confidence)
    if results.evaluation is not None:
        return ci_label(results.evaluation.level)
    return ci_label(float((results.study.settings.get("evaluation") or {}).get("confidence", 0.95)))
