"""One patient's risk from a bundle: with interval, points on the nomogram, shares and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from hepacast._version import __version__
from hepacast.bundle.labs import ClinicalValue, read_labs
from hepacast.bundle.model import Bundle
from hepacast.bundle.signing import UNSIGNED
from hepacast.bundle.unknown_values import can_draw, limits_over_unknown, unknown_columns
from hepacast.core import views
from hepacast.core.files import to_jsonable
from hepacast.core.formatting import risk_text
from hepacast.core.tables import Table, make_table
from hepacast.errors import BundleError
from hepacast.evaluation.conformal import ConformalAnswer, ConformalRule
from hepacast.evaluation.validated import WHERE, ModelLineage, ValidatedPerformance, coverage_is_broken
from hepacast.figures.labels import feature_label
from hepacast.modelling.frozen_score import RADSCORE
from hepacast.stats.intervals import level_text

#: More unusual features than this are summed up in one warning.
MAX_FEATURES = 12
COEFFICIENTS = "uncertainty of the model's coefficients"
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


@dataclass(frozen=True, repr=False)
class Prediction(views.Shown):
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
        What the interval is made of; of limits that are NaN, why there are none.
    cautions
        How validation has failed; said before the risk.
    validated
        What validation showed of the model, one line a set; empty where the bundle does not say.
    coverage
        How many of the conformal sets held the outcome in validation.
    patient, date
        Study code of the patient and the day (ISO), as given; empty where they were not.
    signature
        Who has signed the bundle, as far as this computer knows (`hepacast.bundle.signing.SignedBy.text`).
    inputs
        Clinical values and biomarkers as the model read them, by column, in its units; None (or NaN) is not known.
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
    interval_of: str = COEFFICIENTS
    cautions: tuple[str, ...] = ()
    validated: tuple[str, ...] = ()
    coverage: str = ""
    patient: str = ""
    date: str = ""
    signature: str = UNSIGNED.text()
    inputs: dict[str, float | str | None] = field(default_factory=dict)
    hepacast: str = __version__
    notice: str = NOTICE

    def to_json(self) -> dict[str, Any]:
        """All numbers; null where there is none."""
        plain: dict[str, Any] = to_jsonable(asdict(self))
        return plain

    def to_frame(self) -> pd.DataFrame:
        """One row: outcome, model, risk with limits (by every horizon), cut-off and side of it."""
        row: dict[str, Any] = {
            "patient": self.patient, "outcome": self.outcome, "model": self.model, "risk": self.risk,
            "low": self.low, "high": self.high, "cutoff": self.cutoff, "group": self.group,
            "linear_predictor": self.linear_predictor,
        }  # fmt: skip
        row |= {f"risk by {item.time:g} {item.unit}": item.risk for item in self.horizons}
        return pd.DataFrame([row])

    def text(self) -> str:
        """For the terminal."""
        lines = [
            *(f"caution: {item}" for item in self.cautions),
            *([f"patient {self.patient}"] if self.patient else []),
            *self._risk_lines(),
            f"  {self.group}{self._cutoff_text()}; model: {self.model}",
        ]
        if self.conformal is not None:
            lines.append(f"  {conformal_text(self.conformal, self.coverage)}")
        lines += [f"  validated: {item}" for item in self.validated]
        lines += [f"  {name}: {value}" for name, value in self.values.items()]
        lines += [f"  {name}: {value:.3f}" for name, value in self.scores.items()]
        if self.points is not None:
            shown = ", ".join(f"{name} {points:.0f}" for name, points in self.points.items())
            lines.append(f"  nomogram: {shown}; total {self.total_points:.0f} points")
        lines += [f"  warning: {item}" for item in self.warnings]
        lines.append(f"  model bundle {self.bundle[:12]}, {self.study}, {self.signature}")
        return "\n".join([*lines, self.notice])

    def _cutoff_text(self) -> str:
        return f" (cut-off {risk_text(self.cutoff)}, from training)" if math.isfinite(self.cutoff) else ""

    def _risk_lines(self) -> list[str]:
        if not self.horizons:
            return [f"{self.outcome}: risk {risk_text(self.risk)} ({limits_text(self)})"]
        return [
            f"{self.outcome}: risk of the event",
            *(f"  {horizon_text(item, self.level)}" for item in self.horizons),
            *([] if self.interval_of == COEFFICIENTS else [f"  interval: {self.interval_of}"]),
        ]


@views.page.register
def _(record: Prediction) -> list[str | Table]:
    """Risk first, then what the model read, then what raises and lowers the risk; cautions above, warnings below."""
    head = [
        *(f"Caution: {text}" for text in record.cautions),
        *(line.strip() for line in record._risk_lines()),
        f"{record.group}{record._cutoff_text()}; model: {record.model}",
    ]
    if record.conformal is not None:
        head.append(conformal_text(record.conformal, record.coverage))
    head += [f"Validated: {text}" for text in record.validated]
    read = {**record.values, **{name: f"{value:.3f}" for name, value in record.scores.items()}}
    points = {name.split(" (")[0]: value for name, value in (record.points or {}).items()}
    rows = [[name, value, f"{points[name]:.0f}" if name in points else ""] for name, value in read.items()]
    if record.total_points is not None:
        rows.append(["Total", "", f"{record.total_points:.0f}"])
    parts: list[str | Table] = ["\n".join(head)]
    parts.append(make_table("What the model read", ["", "Value", "Points"], rows))
    if record.shares:
        shares = [[item.label, item.value, f"{item.contribution:+.2f}"] for item in record.shares[:MAX_FEATURES]]
        parts.append(
            make_table("Largest shares", ["", "Value", "Share"], shares, ["Share: against the average patient."])
        )
    tail = [
        *(f"Warning: {text}" for text in record.warnings),
        f"Bundle {record.bundle[:12]}, {record.study}, {record.signature}.",
    ]
    return [*parts, "\n".join([*tail, record.notice])]


@views.drawings.register
def _(record: Prediction) -> views.Drawings:
    """`shares`: what raises and lowers the risk."""
    from hepacast.figures.patients import ShareBar, draw_shares

    bars = [ShareBar(item.label, item.value, item.contribution) for item in record.shares[:MAX_FEATURES]]
    label = f"Share in the {'log hazard' if record.horizons else 'log odds'}, against the average patient"
    return {"shares": lambda: draw_shares(bars, risk=record.risk, x_label=label)} if bars else {}


def limits_text(item: Prediction) -> str:
    """``95% interval 55.1% to 70.7%``, with what it holds beside the coefficients; or why there is none."""
    if not (math.isfinite(item.low) and math.isfinite(item.high)):
        return f"no interval: {item.interval_of}"
    more = "" if item.interval_of == COEFFICIENTS else f", {item.interval_of}"
    return f"{level_text(item.level)} interval {risk_text(item.low)} to {risk_text(item.high)}{more}"


def horizon_text(item: HorizonRisk, level: float) -> str:
    """``by 365 days: 63.0% (95% interval 55.1% to 70.7%)``."""
    text = f"by {item.time:g} {item.unit}: {risk_text(item.risk)}"
    if math.isfinite(item.low) and math.isfinite(item.high):
        text += f" ({level_text(level)} interval {risk_text(item.low)} to {risk_text(item.high)})"
    return text


def conformal_text(item: ConformalAnswer, coverage: str = "") -> str:
    """``90% set holds the event and not its absence (coverage in validation: ...)``, or why there is none."""
    if item.label is None or item.level is None:
        return f"conformal set: none ({item.reason})"
    return f"conformal {level_text(item.level)} set {item.sentence}" + (f" ({coverage})" if coverage else "")


def _conformal(
    bundle: Bundle, name: str, risk: float, horizons: tuple[HorizonRisk, ...], against: Sequence[str] = ()
) -> ConformalAnswer:
    """By the rule in the card, which is that of the main model.

    Coverage holds for patients like those of the calibration alone: none is given for a patient against whom something
    speaks, and none where validation has shown that it does not hold.
    """
    rule = bundle.card.get("conformal") or {"reason": "the bundle holds no rule for it"}
    if "reason" in rule:
        return ConformalAnswer(None, reason=str(rule["reason"]))
    if rule["model"] != name:
        return ConformalAnswer(None, reason=f"calibrated for the {rule['model']} model only")
    level = float(rule["level"])
    broken = [row for row in rule.get("coverage", ()) if _broken(row, level)]
    if broken:
        seen = "; ".join(_coverage_of(row) for row in broken)
        return ConformalAnswer(None, reason=f"{level_text(level)} sets did not hold in new patients: {seen}")
    if against:
        reason = f"coverage holds for patients like those of the training alone; here {'; '.join(against)}"
        return ConformalAnswer(None, reason=reason)
    last = horizons[-1] if horizons else None
    by = f"by {last.time:g} {last.unit}" if last is not None else ""
    values = (float(rule[key]) for key in ("level", "event_from", "no_event_to"))
    return ConformalRule(*values).predict(risk, by=by)


def _share(row: Mapping[str, Any], key: str) -> float:
    value = row[f"coverage_{key}"]
    return math.nan if value is None else float(value)


def _broken(row: Mapping[str, Any], level: float) -> bool:
    return any(coverage_is_broken(_share(row, key), row[f"n_{key}"], level) for key in ("events", "others"))


def _coverage_of(row: Mapping[str, Any]) -> str:
    """``validation set, held the outcome of 22% of the 9 with the event and 95% of the 40 without it``."""
    parts = [
        f"{_share(row, key):.0%} of the {row[f'n_{key}']} {words}"
        for key, words in (("events", "with the event"), ("others", "without it"))
        if math.isfinite(_share(row, key))
    ]
    where = WHERE.get(str(row["set"]), str(row["set"]))
    return f"in the {where} they held the outcome of {' and '.join(parts)}" if parts else f"{where}: not known"


def _coverage(bundle: Bundle) -> str:
    """What the sets held in new patients."""
    rows = (bundle.card.get("conformal") or {}).get("coverage")
    if rows is None:
        return "how many such sets held the outcome in new patients is not in this bundle"
    if not rows:
        return "calibrated on out-of-fold risks; not observed in new patients"
    return "; ".join(_coverage_of(row) for row in rows)


def predict(
    bundle: Bundle,
    labs: Mapping[str, str],
    features: Mapping[str, float] | None = None,
    *,
    model: str | None = None,
    level: float = 0.95,
    notes: tuple[str, ...] = (),
    doubts: tuple[str, ...] = (),
    patient: str = "",
    date: str = "",
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
    patient, date
        Study code and day, for the page.

    Raises
    ------
    HepacastError
        A clinical value is missing, unknown or impossible.
    BundleError
        The model needs features and there are none.
    """
    name = model or bundle.main
    values = read_labs(labs, bundle.columns, bundle.clinical_names(name))
    if bundle.needs_features(name) and features is None:
        raise BundleError(
            f"The model {name!r} needs an image.",
            expected="--image and, if there is one, --mask",
            remedy=f"or use --model {bundle.imageless()[0]}" if bundle.imageless() else None,
        )
    row = _row(bundle, name, values, features or {})
    found = _predicted(bundle, name, values, row, level, notes, doubts)
    return replace(found, patient=patient, date=date)


def _predicted(
    bundle: Bundle,
    name: str,
    values: Mapping[str, ClinicalValue],
    row: pd.DataFrame,
    level: float,
    notes: tuple[str, ...],
    doubts: tuple[str, ...],
) -> Prediction:
    cutoff = float(bundle.models.cutoffs[name])
    risk = float(bundle.models.predict_risk(row)[name].iloc[0])
    scores = _scores(bundle, name, row)
    points, total = _points(bundle, name, row)
    unknown = unknown_columns(bundle, name, row)
    low, high = _limits(bundle, name, row, unknown, level)
    horizons = _horizons(bundle, name, row, unknown, level)
    clinical, measured = _unusual(bundle, name, row)
    against = [*_against(bundle, name, clinical, measured), *doubts]
    return Prediction(
        outcome=str(bundle.card["outcome"]["name"]),
        model=name,
        risk=risk,
        low=low,
        high=high,
        level=level,
        linear_predictor=float(bundle.models.linear_predictor(row)[name].iloc[0]),
        cutoff=cutoff,
        group=risk_group(risk, cutoff),
        values={bundle.column(item).label: values[item].shown for item in bundle.clinical_names(name)},
        radscore=scores.get(RADSCORE),
        points=points,
        total_points=total,
        shares=_shares(bundle, name, row, values),
        warnings=(*_warnings(bundle, name, clinical, measured), *doubts, *notes, *_model_note(bundle, name)),
        bundle=bundle.identity,
        signature=bundle.signed.text(),
        study=str(bundle.card["name"]),
        horizons=horizons,
        scores=scores,
        conformal=_conformal(bundle, name, risk, horizons, against),
        interval_of=_interval_of(bundle, unknown),
        cautions=cautions_of(bundle.card, name),
        validated=validated_of(bundle.card, name),
        coverage=_coverage(bundle),
        inputs={item: values[item].value for item in bundle.clinical_names(name)},
    )


def _scores(bundle: Bundle, name: str, row: pd.DataFrame) -> dict[str, float]:
    """Scores made from the image that the model reads, by name."""
    read = bundle.models.model(name).names
    return {str(item): float(value) for item, value in bundle.models.scores(row).iloc[0].items() if item in read}


def _model_note(bundle: Bundle, name: str) -> list[str]:
    """What the fit of the model has to say against it."""
    frozen = bundle.models.model(name)
    return [frozen.note] if frozen.status != "ok" else []


def cautions_of(card: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """What validation says against a model."""
    return tuple((card.get("verdicts") or {}).get(name, ()))


def validated_of(card: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """What validation showed of a model, one line a set."""
    known = card.get("validated")
    if known is None:
        return ("not in this bundle, which an earlier version has written",)
    own = tuple(_validated_text(row, float(known["level"])) for row in known["models"].get(name, ()))
    return (*own, *(ModelLineage.from_json(item, "card: updates").text() for item in card.get("updates", ())))


def _validated_text(row: Mapping[str, Any], level: float) -> str:
    """One row of the card (`ValidatedPerformance`, null for what is not known) in words."""
    numbers = {key: math.nan if row[key] is None else float(row[key]) for key in ("value", "low", "high")}
    limits = {
        key: tuple(math.nan if value is None else float(value) for value in row[key])
        for key in ("slope", "observed_expected")
    }
    return ValidatedPerformance(**{**row, **numbers, **limits}).text(level)


def _limits(
    bundle: Bundle, name: str, row: pd.DataFrame, unknown: list[str], level: float, time: float | None = None
) -> tuple[float, float]:
    """Limits of the risk; NaN where a value is not known and the bundle does not say what it may be."""
    if not unknown:
        found = bundle.models.interval(row, name, level, time)[0]
    elif can_draw(bundle, unknown):
        found = limits_over_unknown(bundle, name, row, unknown, level, time)
    else:
        return math.nan, math.nan
    return float(found[0]), float(found[1])


def _interval_of(bundle: Bundle, unknown: list[str]) -> str:
    if not unknown:
        return COEFFICIENTS
    labels = {item.name: item.label for item in bundle.columns}
    shown = ", ".join(labels.get(name, name) for name in unknown[:3])
    shown += f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    if can_draw(bundle, unknown):
        return f"over what the value that is not known may be ({shown}) and the uncertainty of the model's coefficients"
    return f"the bundle does not say what the value that is not known may be ({shown})"


def _horizons(
    bundle: Bundle, name: str, row: pd.DataFrame, unknown: list[str], level: float
) -> tuple[HorizonRisk, ...]:
    """Risk by every horizon that the model knows."""
    models = bundle.models
    if not models.horizons:
        return ()
    found = []
    for time in models.horizons:
        risk = float(models.predict_risk(row, time)[name].iloc[0])
        if math.isfinite(risk):
            low, high = _limits(bundle, name, row, unknown, level, time)
            found.append(HorizonRisk(time, models.unit, risk, low, high))
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


def risk_group(risk: float, cutoff: float) -> str:
    """The side of the cut-off on which a patient falls."""
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
            found.append(Share(str(item), feature_label(str(item)), f"{row[item].iloc[0]:.4g}", float(share)))
    return tuple(sorted(found, key=lambda entry: -abs(entry.contribution)))


def _unusual(bundle: Bundle, name: str, row: pd.DataFrame) -> tuple[list[str], list[str]]:
    """What is missing, unknown to the model or outside the training range: clinical values, and features."""
    labels = {item.name: item.label for item in bundle.columns}
    measured = set(bundle.feature_names(name))
    found: list[str] = []
    features: list[str] = []
    for entry in bundle.models.unusual(row, name):
        item = str(entry["name"])
        value = entry["value"]
        shown = f" ({value:.4g})" if isinstance(value, float) and math.isfinite(value) else ""
        problem = f"{entry['problem']}{_stand_in(bundle, item, entry.get('level'))}"
        (features if item in measured else found).append(f"{labels.get(item, item)}{shown}: {problem}")
    return found, features


def _stand_in(bundle: Bundle, column: str, level: str | None) -> str:
    """The level that stands in, in the study's words: a binary column holds 0 and 1."""
    words = next((item.level_names for item in bundle.columns if item.name == column and item.kind == "binary"), None)
    return "" if level is None else f": {words[int(level)] if words else level}"


def _warnings(bundle: Bundle, name: str, clinical: list[str], features: list[str]) -> list[str]:
    """One warning each; many unusual features of a chain that reads thousands are summed up."""
    if len(features) <= MAX_FEATURES:
        return [*clinical, *features]
    n = len(bundle.feature_names(name))
    rest = f"{len(features)} of {n} features ({len(features) / n:.1%}) are missing or outside the training range"
    return [*clinical, *features[:3], f"{rest}, the first three above; chance alone brings some"]


def _against(bundle: Bundle, name: str, clinical: list[str], features: list[str]) -> list[str]:
    """What makes a patient unlike those of training.

    A feature of a patient like them lies outside the range of n training patients with a probability of 2 / (n + 1): of
    a chain that reads hundreds some do, and only three times as many speak against the patient.
    """
    expected = 2.0 * len(bundle.feature_names(name)) / (bundle.models.model(name).n + 1)
    if not features or len(features) <= 3 * expected:
        return clinical
    rest = f" and {len(features) - 1} more features" if len(features) > 1 else ""
    return [*clinical, features[0] + rest]
