"""One patient's risk from a bundle: with interval, points on the nomogram, shares and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import hepacast
from hepacast.bundle.labs import ClinicalValue, read_labs
from hepacast.bundle.model import Bundle
from hepacast.errors import BundleError
from hepacast.evaluation.conformal import ConformalAnswer, ConformalRule
from hepacast.modelling.frozen_models import RADSCORE
from hepacast.modelling.survival_frozen import FrozenSurvivalModels
from hepacast.stats.intervals import level_text

#: More unusual features than this are summed up in one warning.
MAX_FEATURES = 12
NOTICE = "Research use only. Not a medical device; not to be used alone to decide on treatment."


@dataclass(frozen=True)
class Share:
    """What one variable adds to the log odds, against the mean training patient."""

    name: str
    label: str
    value: str
    contribution: float


@dataclass(frozen=True)
class HorizonRisk:
    """Risk of the event by one time, with limits (NaN where the model gives none)."""

    time: float
    unit: str
    risk: float
    low: float
    high: float


@dataclass(frozen=True)
class Prediction:
    """The result for one patient.

    Attributes
    ----------
    risk, low, high
        Probability of the outcome with limits (uncertainty of the model's coefficients); of a time-to-event outcome by
        the main horizon.
    horizons
        Of a time-to-event outcome: the risk by every horizon, the main one last.
    cutoff, group
        Youden's cut-off in training, and the side on which the patient falls.
    points, total_points
        On the nomogram; None where the model has none.
    shares
        Largest first; the features of a score that is a linear combination of them are listed one by one.
    warnings
        What speaks against relying on the number.
    scores
        Scores made from the image that the model reads, by name.
    conformal
        Which outcomes remain possible at the study's coverage, or why that cannot be said; None of networks.
    interval_of
        What the interval is made of.
    """

    outcome: str
    model: str
    risk: float
    low: float
    high: float
    level: float
    linear_predictor: float
    cutoff: float
    group: str
    values: dict[str, str]
    radscore: float | None
    points: dict[str, float] | None
    total_points: float | None
    shares: tuple[Share, ...]
    warnings: tuple[str, ...]
    bundle: str
    study: str
    horizons: tuple[HorizonRisk, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    conformal: ConformalAnswer | None = None
    interval_of: str = "uncertainty of the model's coefficients"
    hepacast: str = hepacast.__version__
    notice: str = NOTICE

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return asdict(self)

    def text(self) -> str:
        """For the terminal."""
        lines = [
            *self._risk_lines(),
            f"  {self.group}{self._cutoff_text()}; model: {self.model}",
        ]
        if self.conformal is not None:
            lines.append(f"  {conformal_text(self.conformal)}")
        lines += [f"  {name}: {value}" for name, value in self.values.items()]
        lines += [f"  {name}: {value:.3f}" for name, value in self.scores.items()]
        if self.points is not None:
            shown = ", ".join(f"{name} {points:.0f}" for name, points in self.points.items())
            lines.append(f"  nomogram: {shown}; total {self.total_points:.0f} points")
        lines += [f"  warning: {item}" for item in self.warnings]
        lines.append(f"  model bundle {self.bundle[:12]}, {self.study}")
        return "\n".join([*lines, self.notice])

    def _cutoff_text(self) -> str:
        return f" (cut-off {self.cutoff:.1%}, from training)" if math.isfinite(self.cutoff) else ""

    def _risk_lines(self) -> list[str]:
        if not self.horizons:
            return [
                f"{self.outcome}: risk {self.risk:.1%} "
                f"({level_text(self.level)} interval {self.low:.1%} to {self.high:.1%})"
            ]
        return [
            f"{self.outcome}: risk of the event",
            *(f"  {horizon_text(item, self.level)}" for item in self.horizons),
        ]


def horizon_text(item: HorizonRisk, level: float) -> str:
    """``by 365 days: 63.0% (95% interval 55.1% to 70.7%)``."""
    text = f"by {item.time:g} {item.unit}: {item.risk:.1%}"
    if math.isfinite(item.low) and math.isfinite(item.high):
        text += f" ({level_text(level)} interval {item.low:.1%} to {item.high:.1%})"
    return text


def conformal_text(item: ConformalAnswer) -> str:
    """``conformal set, 90%: the event can be ruled out (...)``, or why there is none."""
    if item.label is None or item.level is None:
        return f"conformal set: none ({item.reason})"
    return f"conformal set, {item.level:.0%}: {item.sentence}"


def _conformal(bundle: Bundle, name: str, risk: float, horizons: tuple[HorizonRisk, ...]) -> ConformalAnswer:
    """By the rule in the card, which is that of the main model."""
    rule = bundle.card.get("conformal") or {"reason": "the bundle holds no rule for it"}
    if "reason" in rule:
        return ConformalAnswer(None, reason=str(rule["reason"]))
    if rule["model"] != name:
        return ConformalAnswer(None, reason=f"calibrated for the {rule['model']} model only")
    last = horizons[-1] if horizons else None
    by = f"by {last.time:g} {last.unit}" if last is not None else ""
    values = (float(rule[key]) for key in ("level", "event_from", "no_event_to"))
    return ConformalRule(*values).predict(risk, by=by)


def predict(
    bundle: Bundle,
    labs: Mapping[str, str],
    features: Mapping[str, float] | None = None,
    *,
    model: str | None = None,
    level: float = 0.95,
    notes: tuple[str, ...] = (),
    doubts: tuple[str, ...] = (),
) -> Prediction:
    """Predict one patient.

    Parameters
    ----------
    bundle
        An open bundle.
    labs
        Clinical values as text by name (``{"inr": "1.2", "alb": "3.8 g/dL"}``).
    features
        Radiomics features by column name, where the model needs them (`measure_features`).
    model
        Name of the model; default the main one.
    level
        Of the interval.
    notes
        Further warnings, of the segmentation for example.
    doubts
        What is not plausible about image and masks: warned about, and no conformal set is given.

    Raises
    ------
    HepacastError
        A clinical value is missing, unknown or impossible.
    BundleError
        The model needs features and there are none.
    """
    name = model or bundle.main
    frozen = bundle.models.model(name)
    values = read_labs(labs, bundle.columns, bundle.clinical_names(name))
    if bundle.needs_features(name) and features is None:
        raise BundleError(
            f"The model {name!r} needs an image.",
            expected="--image and, if there is one, --mask",
            remedy=f"or use --model {bundle.imageless()[0]}" if bundle.imageless() else None,
        )
    row = _row(bundle, name, values, features or {})
    interval = bundle.models.interval(row, name, level)[0]
    risk = float(bundle.models.predict_risk(row)[name].iloc[0])
    cutoff = float(bundle.models.cutoffs[name])
    scores = {
        str(item): float(value) for item, value in bundle.models.scores(row).iloc[0].items() if item in frozen.names
    }
    points, total = _points(bundle, name, row)
    horizons = _horizons(bundle, name, row, level)
    return Prediction(
        outcome=str(bundle.card["outcome"]["name"]),
        model=name,
        risk=risk,
        low=float(interval[0]),
        high=float(interval[1]),
        level=level,
        linear_predictor=float(bundle.models.linear_predictor(row)[name].iloc[0]),
        cutoff=cutoff,
        group=_group(risk, cutoff),
        values={bundle.column(item).label: values[item].shown for item in bundle.clinical_names(name)},
        radscore=scores.get(RADSCORE),
        points=points,
        total_points=total,
        shares=_shares(bundle, name, row, values),
        warnings=(*_warnings(bundle, name, row), *notes, *([frozen.note] if frozen.status != "ok" else [])),
        bundle=bundle.identity,
        study=str(bundle.card["name"]),
        horizons=horizons,
        scores=scores,
        conformal=_conformal(bundle, name, risk, horizons),
    )


def _horizons(bundle: Bundle, name: str, row: pd.DataFrame, level: float) -> tuple[HorizonRisk, ...]:
    """Risk by every horizon that the model knows."""
    models = bundle.models
    if not isinstance(models, FrozenSurvivalModels):
        return ()
    found = []
    for time in models.horizons:
        risk = float(models.predict_risk(row, time)[name].iloc[0])
        if math.isfinite(risk):
            low, high = models.interval(row, name, level, time)[0]
            found.append(HorizonRisk(time, models.unit, risk, float(low), float(high)))
    return tuple(found)


def _row(bundle: Bundle, name: str, values: Mapping[str, ClinicalValue], features: Mapping[str, float]) -> pd.DataFrame:
    """The one-row table that all models of the bundle can read; what this model does not need may be missing."""
    row: dict[str, Any] = {}
    for column in bundle.models.columns():
        if column in values:
            row[column] = values[column].value
        elif column in features:
            row[column] = features[column]
        else:
            known = {item.name for item in bundle.columns}
            row[column] = None if column in known and bundle.column(column).kind == "categorical" else math.nan
    return pd.DataFrame([row], index=pd.Index(["patient"], name="patient")).astype(
        {column: object for column, value in row.items() if isinstance(value, str) or value is None}
    )


def _group(risk: float, cutoff: float) -> str:
    if not math.isfinite(cutoff):
        return "no risk groups"
    return "high risk" if risk >= cutoff else "low risk"


def _points(bundle: Bundle, name: str, row: pd.DataFrame) -> tuple[dict[str, float] | None, float | None]:
    """Points by axis, from the nomogram's own scale: points = (contribution - smallest on the axis) x scale."""
    spec = bundle.nomogram
    if spec is None or name != bundle.main:
        return None, None
    frozen = bundle.models.model(name)
    design = frozen.design(bundle.models.inputs(row))[0]
    betas = np.array(frozen.coefficients[1:])
    points = {}
    for axis in spec["predictors"]:
        source = axis["name"]
        own = sum(
            float(value * beta)
            for term, value, beta in zip(frozen.terms, design, betas, strict=True)
            if term.source == source
        )
        points[str(axis["label"])] = (own - spec["minimum"][source]) * spec["scale"]
    return points, float(sum(points.values()))


def _shares(bundle: Bundle, name: str, row: pd.DataFrame, values: Mapping[str, ClinicalValue]) -> tuple[Share, ...]:
    shares = bundle.models.contributions(row, name).iloc[0]
    scores = bundle.models.scores(row).iloc[0]
    frozen = bundle.models.model(name)
    terms = {term.name: term for term in frozen.terms}
    found = []
    for item, share in shares.items():
        term = terms.get(str(item))
        if item in bundle.models.divided(name):
            # What the features do not explain is a constant of the training mean.
            if abs(share) > 1e-9:
                found.append(Share(str(item), f"{item}, constant part", "", float(share)))
        elif item in bundle.models.score_names:
            found.append(Share(str(item), str(item), f"{scores[item]:.3f}", float(share)))
        elif term is not None:
            spec = bundle.column(term.source)
            # A binary column holds 0 and 1: which of them the patient has stands beside the bar.
            named = term.level is not None and spec.kind != "binary"
            label = f"{spec.label}: {term.level}" if named else spec.label
            found.append(Share(str(item), label, values[term.source].shown, float(share)))
        else:
            found.append(Share(str(item), str(item), f"{row[item].iloc[0]:.4g}", float(share)))
    return tuple(sorted(found, key=lambda entry: -abs(entry.contribution)))


def _warnings(bundle: Bundle, name: str, row: pd.DataFrame) -> list[str]:
    """One warning each; many unusual features of a chain that reads thousands are summed up."""
    labels = {item.name: item.label for item in bundle.columns}
    measured = set(bundle.feature_names(name))
    found: list[str] = []
    features: list[str] = []
    for entry in bundle.models.unusual(row, name):
        item = str(entry["name"])
        value = entry["value"]
        shown = f" ({value:.4g})" if isinstance(value, float) and math.isfinite(value) else ""
        (features if item in measured else found).append(f"{labels.get(item, item)}{shown}: {entry['problem']}")
    if len(features) <= MAX_FEATURES:
        return [*found, *features]
    n = len(measured)
    rest = f"{len(features)} of {n} features ({len(features) / n:.1%}) are missing or outside the training range"
    return [*found, *features[:3], f"{rest}, the first three above; chance alone brings some"]
