"""A bundle's main model as a few plain numbers that anything can evaluate: what a live nomogram reads.

`calculator_of` is the only road from a frozen model to the page, and the page only reads what it says::

    linear predictor = intercept + sum over terms of coefficient x column
    risk             = 1 / (1 + exp(-lp))          (link "logit")
                     = 1 - exp(-hazard x exp(lp))  (link "hazard", one a horizon)
    points           = (what the predictor's terms add - minimum) x scale

A column is 1 or 0 for a level, else the number, or its logarithm; `fill`, on that scale, stands in for one that nobody
knows. Limits are those of `modelling.frozen_logistic.FrozenLogistic.interval` and
`modelling.frozen_cox.FrozenCox.interval`. The smallest and largest values of training are in no such description: axes
have rounded ends, and the middle 95% of training is rounded to three digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from scipy.stats import norm

from hepacast._version import __version__
from hepacast.biomarkers.measure import definitions_of_recipe
from hepacast.bundle.measure import biomarkers_read
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.bundle.prediction import NOTICE, cautions_of
from hepacast.cohort import ColumnSpec
from hepacast.cohort.quantities import get_quantity, unit_factor
from hepacast.core.files import to_jsonable
from hepacast.errors import BundleError
from hepacast.evaluation.validated import ModelLineage
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, Source

FORMAT, VERSION = "hepacast-calculator", 1


def calculator_of(bundle: Bundle | NetworkBundle, level: float = 0.95) -> dict[str, Any]:
    """The description of a bundle's main model.

    Parameters
    ----------
    level
        Of the intervals.

    Returns
    -------
    dict
        JSON-able, null where there is no number: `predictors` (axis, units, what is possible), `terms`, `intercept`,
        `covariance`, `points`, `risks` (one, or one a horizon), and what a reader must know of the model.

    Raises
    ------
    BundleError
        The model has no nomogram; the message says why.
    """
    if isinstance(bundle, NetworkBundle):
        raise BundleError(
            "Networks have no nomogram: they read the image itself.",
            expected="a bundle with a logistic or Cox model (model.hepacast)",
            remedy="use `hepacast predict` with the image",
        )
    name, spec = bundle.main, bundle.nomogram
    model = bundle.models.model(name)
    if spec is None:
        raise BundleError(
            f"The model {name!r} has no nomogram.", found=_why_none(model), remedy="use `hepacast predict`"
        )
    half = float(norm.ppf(0.5 + level / 2))
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model": {"name": name, "kind": model.kind, "method": model.method, "n": model.n, "events": model.n_events},
        "predictors": [_predictor(bundle, source, spec) for source in model.sources],
        "terms": [
            {"predictor": term.source, "level": term.level, "coefficient": beta, "mean": term.mean}
            for term, beta in zip(model.terms, model.coefficients[1:], strict=True)
        ],
        "intercept": model.coefficients[0],
        "covariance": model.covariance if model.status == "ok" else None,
        "level": level,
        "half_width": half,
        "points": {"scale": spec["scale"], "minimum": spec["minimum"], "total_ticks": spec["total_ticks"]},
        "risks": _risks(bundle, model),
        "cutoff": bundle.models.cutoffs[name],
        "about": _about(bundle, name),
    }
    plain: dict[str, Any] = to_jsonable(content)
    return plain


def _why_none(model: FrozenLinear) -> str:
    if model.status != "ok" or not model.terms:
        return model.note or "it has no predictors, so everybody has one risk"
    logs = [source.name for source in model.sources if source.predictor.log == "log10p1"]
    return f"{', '.join(logs)} as the logarithm of 1 + x" if logs else "it was drawn without one"


def field_of_column(column: ColumnSpec) -> dict[str, Any]:
    """A clinical value as a page asks for it, without an axis: label, units, levels, what is possible."""
    told: dict[str, Any] = {
        "name": column.name,
        "label": column.label,
        "unit": column.unit,
        "image": None,
        "meaning": "",
    }
    if column.kind != "numeric":
        levels = [{"value": name, "label": name, "known": True} for name in column.level_names]
        return told | {"kind": "levels", "levels": levels}
    possible = list(column.plausible) if column.plausible else None
    return told | {"kind": "number", "log": "", "possible": possible, "units": _units(column)}


def _predictor(bundle: Bundle, source: Source, spec: Mapping[str, Any]) -> dict[str, Any]:
    """One axis with its field: what can be typed, what it means, what is usual."""
    own = source.predictor
    column = next((item for item in bundle.columns if item.name == source.name), None)
    told: dict[str, Any] = {"name": source.name, "label": own.label, "unit": own.unit, "possible": None, "units": []}
    told |= field_of_column(column) if column is not None else {}
    told |= {"image": _image_of(bundle, source.name), "meaning": _meaning(bundle, source.name), "fill": source.fill}
    if own.is_level:
        return told | {"kind": "levels", "levels": _levels(source, column)}
    axis = next(item for item in spec["predictors"] if item["name"] == source.name)
    ticks = [{key: tick[key] for key in ("value", "label", "points")} for tick in axis["ticks"]]
    known = bundle.training.quantiles.get(source.name) if bundle.training is not None else None
    values = [*(float(tick["value"]) for tick in ticks), *(known or ())]
    low, high = _covering(min(values), max(values), source)
    usual = None if known is None else [known[0], known[-1]]
    return told | {"kind": "number", "log": own.log, "ticks": ticks, "low": low, "high": high, "usual": usual}


def _covering(low: float, high: float, source: Source) -> tuple[float, float]:
    """Ends of an axis that hold the range of training; one that did not is moved to one digit outside of it.

    The axis of a logarithm has ticks at 1, 2, 5, 10, ... within the range.
    """
    if source.minimum < low:
        step = 10.0 ** math.floor(math.log10(abs(source.minimum or 1.0)))
        low = math.floor(source.minimum / step) * step
    if source.maximum > high:
        step = 10.0 ** math.floor(math.log10(abs(source.maximum or 1.0)))
        high = math.ceil(source.maximum / step) * step
    return float(f"{low:.3g}"), float(f"{high:.3g}")


def _image_of(bundle: Bundle, name: str) -> str | None:
    """Which kind of number of the image a predictor is; None of what a laboratory or a clinician tells."""
    if name in bundle.models.score_names:
        return name
    return "biomarker" if name in biomarkers_read(bundle) else None


def _meaning(bundle: Bundle, name: str) -> str:
    """How a biomarker is measured; empty for others."""
    item = definitions_of_recipe(bundle.recipe).get(name) if name in biomarkers_read(bundle) else None
    return "" if item is None else item.definition


def _levels(source: Source, column: ColumnSpec | None) -> list[dict[str, Any]]:
    """Levels in order, as the model reads them and as they are shown."""
    if column is None or column.kind != "binary":
        names = column.level_names if column else ()
        order = list(dict.fromkeys([*names, *source.known_levels]))
        return [{"value": item, "label": item, "known": item in source.known_levels} for item in order]
    return [
        {"value": str(code), "label": label, "known": str(code) in source.known_levels}
        for code, label in enumerate(column.level_names)
    ]


def _units(column: ColumnSpec) -> list[dict[str, Any]]:
    """Units in which a value can be told, the study's own first, each with its factor to that one."""
    if not column.quantity:
        return []
    item = get_quantity(column.quantity)
    own = unit_factor(column.unit, item)
    found = {column.unit: 1.0, **{unit: unit_factor(unit, item) / own for unit in (item.unit, *item.units)}}
    return [{"unit": unit, "factor": 1.0 if unit == column.unit else factor} for unit, factor in found.items()]


def _risks(bundle: Bundle, model: FrozenLinear) -> list[dict[str, Any]]:
    """How the linear predictor becomes a risk: once, or by each horizon that the model knows, the main one last."""
    if not bundle.models.horizons:
        return [{"link": "logit", "time": None, "unit": ""}]
    found: list[dict[str, Any]] = []
    for time in bundle.models.horizons:
        entry: dict[str, Any] = {"time": time, "unit": bundle.models.unit}
        if not isinstance(model, FrozenCox):
            # A logistic model of the event by one horizon has no risk at another.
            if math.isfinite(float(model.risk_of([0.0], time)[0])):
                found.append(entry | {"link": "logit"})
            continue
        limits = (model.limits or {}).get(f"{time:g}")
        variance, integral = (None, None) if limits is None else limits
        hazard = float(model.cumulative_hazard([time])[0])
        found.append(entry | {"link": "hazard", "hazard": hazard, "variance": variance, "integral": integral})
    return found


def _about(bundle: Bundle, name: str) -> dict[str, Any]:
    """Whose model it is, what validation showed, and its limits."""
    card = bundle.card
    validated = card.get("validated") or {}
    return {
        "study": card["name"],
        "outcome": dict(card["outcome"]),
        "intended_use": card["intended_use"],
        "notice": NOTICE,
        "population": card.get("population"),
        "validated": list((validated.get("models") or {}).get(name, ())),
        "validated_level": validated.get("level"),
        "net_benefit": (card.get("net_benefit") or {}).get(name),
        "updates": [ModelLineage.from_json(item, "card: updates").text() for item in card.get("updates", ())],
        "cautions": list(cautions_of(card, name)),
        "identity": bundle.identity,
        "signed": asdict(bundle.signed),
        "made_by": (card.get("provenance") or {}).get("hepacast"),
        "hepacast": __version__,
    }
