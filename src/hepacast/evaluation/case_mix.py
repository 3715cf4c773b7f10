"""Whether a frozen model meets other patients: case-mix beside that of training, and what it could reach here at best.

References
----------
Debray TPA et al. J Clin Epidemiol 2015;68:279 (case-mix and reproducibility). van Klaveren D et al. Stat Med
2016;35:4136 (model-based concordance: the C that a model would have if its risks were right in these patients). Goenen
M, Heller G. Biometrika 2005;92:965 (of a proportional hazards model).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record, read_record
from hepacast.evaluation.predictions import Array
from hepacast.modelling.known_values import PROBABILITIES
from hepacast.stats.samplesize import PrecisionSize

_NAN = math.nan
#: Interquartile range of a normal distribution in standard deviations.
_IQR = 1.3489795
_LOW, _MIDDLE, _HIGH = (PROBABILITIES.index(p) for p in (0.25, 0.5, 0.75))
#: What a number is in the table of case-mix besides the predictors.
LINEAR_PREDICTOR = "linear predictor"


@dataclass(frozen=True)
class CaseMixRow(Record):
    """One number, or one level of a category, here and in training.

    Attributes
    ----------
    name, label, unit, level
        Of the variable; `level` is empty of a number.
    here, trained
        Quartiles of a number ``(25%, median, 75%)``, or the share of a level, ``(share,)``; empty where not known.
    difference
        Standardized: of medians by the training's interquartile range / 1.35, of shares by their pooled deviation.
    n_missing
        Patients of whom nobody knows it.
    """

    name: str
    label: str
    unit: str = ""
    level: str = ""
    here: tuple[float, ...] = ()
    trained: tuple[float, ...] = ()
    difference: float = _NAN
    n_missing: int = 0


@dataclass(frozen=True)
class ExternalValidation(Record):
    """A frozen model in patients of another hospital; how good it is stands beside it.

    Attributes
    ----------
    name
        What results call it: the main model's name, of several bundles that of the bundle.
    study, identity, model
        Whose model it is, the hash of its bundle, which of its models.
    signature
        Who has signed the bundle, as far as the validating hospital knows.
    trained_n, trained_events
        Patients and events that it was fitted to.
    outcome_here, outcome_trained
        Definitions of the outcome, where both are told.
    rows
        Case-mix.
    spread
        SD of the linear predictor here over that in training, as far as quartiles tell; above 1 patients differ more.
    expected
        AUC or C that the model would have here if its risks were right.
    observed
        What it has.
    unlike
        Patients with a value beyond those of training, by label of the value.
    validated
        What its own validation had shown, in sentences.
    verdict
        What this validation says, the gravest first.
    sizes
        Patients that a validation needs to be so precise.
    """

    study: str
    identity: str
    model: str
    trained_n: int
    trained_events: int
    outcome_here: str = ""
    outcome_trained: str = ""
    rows: tuple[CaseMixRow, ...] = ()
    spread: float = _NAN
    expected: float = _NAN
    observed: Estimate = field(default_factory=lambda: Estimate(_NAN))
    unlike: dict[str, int] = field(default_factory=dict)
    n_unlike: int = 0
    validated: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    name: str = ""
    sizes: tuple[PrecisionSize, ...] = ()
    signature: str = ""


def read_external(path: Path) -> list[ExternalValidation]:
    """`evaluation/external.json`: one entry a model, the main one first; none where there is no such file."""
    if not path.is_file():
        return []
    if not path.read_bytes().lstrip().startswith(b"["):  # an earlier version knew one model, by its own name
        found = read_record(ExternalValidation, path)
        return [replace(found, name=found.model)]
    return read_record(list[ExternalValidation], path)


def expected_auc(risk: ArrayLike) -> float:
    """The AUC that risks would have if they were right: the model-based concordance of a binary outcome.

    Parameters
    ----------
    risk
        Predicted risks of the patients, shape (n,).

    Returns
    -------
    float
        Sum over pairs of the probability that the riskier one has the event and the other not, over the probability
        that one has it and the other not; NaN where no pair can differ.
    """
    p = np.sort(np.asarray(risk, dtype=float))
    if p.size < 2:
        return _NAN
    # Of each value: how much of "no event" lies below, beside (ties count a half), and in all.
    values, places = np.unique(p, return_inverse=True)
    event, free = np.bincount(places, p), np.bincount(places, 1.0 - p)
    below = np.concatenate([[0.0], np.cumsum(free)[:-1]])
    same = np.bincount(places, p * (1.0 - p))  # nobody is a pair with himself
    right = float((event * below + 0.5 * (event * free - same)).sum())
    pairs = float(p.sum() * (1.0 - p).sum() - (p * (1.0 - p)).sum())
    return right / pairs if pairs > 0 and values.size else _NAN


def expected_concordance(linear_predictor: ArrayLike) -> float:
    """The concordance that a proportional hazards model would have if it were right (Goenen and Heller).

    Mean over pairs of 1 / (1 + exp(-difference)) of the larger over the smaller linear predictor; ties give 0.5.
    """
    lp = np.sort(np.asarray(linear_predictor, dtype=float))
    n = lp.size
    if n < 2:
        return _NAN
    total = sum(float((1.0 / (1.0 + np.exp(-(lp[i + 1 :] - lp[i])))).sum()) for i in range(n - 1))
    return total / (n * (n - 1) / 2)


def number_row(
    name: str, label: str, unit: str, values: ArrayLike, trained: Sequence[float] | None, n_missing: int = 0
) -> CaseMixRow:
    """A number's quartiles here beside those of training (`PROBABILITIES` of the known values)."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    here = tuple(float(v) for v in np.quantile(known, (0.25, 0.5, 0.75))) if known.size else ()
    if trained is None:
        return CaseMixRow(name, label, unit, here=here, n_missing=n_missing)
    told = (trained[_LOW], trained[_MIDDLE], trained[_HIGH])
    width = (told[2] - told[0]) / _IQR
    difference = (here[1] - told[1]) / width if here and width > 0 else _NAN
    return CaseMixRow(name, label, unit, here=here, trained=told, difference=difference, n_missing=n_missing)


def level_rows(name: str, label: str, values: pd.Series, trained: Mapping[str, float] | None) -> list[CaseMixRow]:
    """Shares of a category's levels here beside those of training."""
    known = values.dropna().astype(str)
    here = known.value_counts(normalize=True)
    rows = []
    for level in dict.fromkeys([*(trained or {}), *here.index]):
        # A level that the model file does not tell was rare in training, or not there.
        share, before = float(here.get(level, 0.0)), None if trained is None else trained.get(level)
        spread = _NAN if before is None else math.sqrt((share * (1 - share) + before * (1 - before)) / 2)
        difference = _NAN if before is None else (share - before) / spread if spread > 0 else 0.0
        told = () if before is None else (before,)
        missing = int(values.isna().sum())
        rows.append(
            CaseMixRow(
                name, label, level=str(level), here=(share,), trained=told, difference=difference, n_missing=missing
            )
        )
    return rows


def spread_of(values: Array, trained: Sequence[float] | None) -> float:
    """Interquartile range here over that of training."""
    if trained is None or not np.isfinite(values).any():
        return _NAN
    low, high = np.nanquantile(values, (0.25, 0.75))
    width = trained[_HIGH] - trained[_LOW]
    return float((high - low) / width) if width > 0 else _NAN


def discrimination_verdict(found: ExternalValidation, measure: str) -> str:
    """How discrimination here stands beside what the case-mix allows, in one sentence; empty where nothing is known."""
    seen = found.observed
    if not (seen.has_limits and math.isfinite(found.expected)):
        return ""
    limits = f"{measure} {seen.value:.3f} ({seen.low:.3f} to {seen.high:.3f})"
    if seen.high < found.expected:
        return (
            f"{limits} is lower than the {found.expected:.3f} that the model would have in these very patients if its "
            "risks were right: it is not the case-mix, the predictors mean less here."
        )
    if seen.low > found.expected:
        return f"{limits} is higher than the {found.expected:.3f} that its risks promise in these patients."
    return f"{limits} is what its risks promise in these patients ({found.expected:.3f})."
