"""What the sections of a time-to-event report share: names, horizons, sets in the order in which they are trusted."""

from __future__ import annotations

import math

from hepacast.core.estimates import Estimate
from hepacast.evaluation.results import EvaluationResults, SetResult
from hepacast.report.content.common import Omit
from hepacast.report.formatting import MISSING, capital, with_interval
from hepacast.report.inputs import Results
from hepacast.report.inputs.survival import Survival
from hepacast.stats.intervals import ci_label

#: Order in which sets are printed; what each is called.
_SETS = {
    "nested": "Training set, cross-validated",
    "training": "Training set, apparent",
    "validation": "Validation set",
    "external": "External set",
}


def survival(results: Results) -> Survival:
    """The time-to-event part of the results."""
    if results.survival is None:
        raise Omit("the modelling stage has not run")
    return results.survival


def judged(results: Results) -> EvaluationResults:
    """What the evaluation found."""
    survival(results)
    found = results.evaluation
    if found is None or not found.sets:
        raise Omit("the evaluation stage has not run")
    return found


def ci_of(item: Survival) -> str:
    """``95% CI``: what every interval of these results is called."""
    return ci_label(item.models.confidence)


def model_name(item: Survival, name: str) -> str:
    """``Clinical (Cox)``, ``Binary (24 months)``."""
    if name == "binary":
        return f"Binary ({horizon(item, item.models.horizons[-1])})"
    kind = "Fine-Gray" if item.models.competing else "Cox"
    return f"{capital(name)} ({kind})"


def horizon(item: Survival, time: float) -> str:
    """``365 days``."""
    return f"{time:g} {item.models.unit}"


def horizons(item: Survival) -> str:
    """``180 and 365 days``."""
    shown = [f"{t:g}" for t in item.models.horizons]
    return (f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]) + f" {item.models.unit}"


def event_name(item: Survival) -> str:
    """``progression``, or ``the event`` where the study gives no name."""
    return "the event" if item.models.event == "event" else item.models.event


def by_word(item: Survival) -> str:
    """``before`` where an event at the very horizon does not count, else ``by``."""
    return "before" if item.models.before_horizon else "by"


def set_name(name: str) -> str:
    """Name of a set as printed."""
    return _SETS.get(name, f"{capital(name)} set")


def sets_in_order(found: EvaluationResults) -> dict[str, SetResult]:
    """Apparent, cross-validated, then the sets that no model saw."""
    order = ["training", "nested", "validation", "external"]
    names = [name for name in order if name in found.sets] + [name for name in found.sets if name not in order]
    return {name: found.sets[name] for name in names}


def honest_sets(found: EvaluationResults) -> dict[str, SetResult]:
    """The sets whose patients no judged model had seen."""
    return {name: item for name, item in sets_in_order(found).items() if item.kind != "apparent"}


def judge(found: EvaluationResults) -> tuple[str, SetResult]:
    """The set that models are judged on first."""
    return found.judged, found.sets[found.judged]


def c_of(found: EvaluationResults, name: str, model: str) -> Estimate:
    """C of a model on a set."""
    return found.sets[name].models[model].discrimination


def measured(value: Estimate, digits: int = 3) -> str:
    """A measure with its limits, or a dash."""
    return with_interval(value.value, value.low, value.high, digits) if math.isfinite(value.value) else MISSING


def lower_first(text: str) -> str:
    """Text with a small first letter, unless the first word is an abbreviation."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
