"""The interval of a patient of whom a value is not known: over what it may be, and not at what is typical alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from hepacast.bundle.model import Bundle
from hepacast.core.seeds import rng
from hepacast.modelling.base import Array
from hepacast.modelling.frozen_logistic import FrozenLinear

#: Values drawn for what is not known.
DRAWS = 2000
_EDGE = 1e-12


def unknown_columns(bundle: Bundle, name: str, row: pd.DataFrame) -> list[str]:
    """Columns whose value nobody knows, or of a level that training never had: another value stands in for them."""
    return [str(entry["name"]) for entry in bundle.models.unusual(row, name) if entry["unknown"]]


def can_draw(bundle: Bundle, unknown: Sequence[str]) -> bool:
    """Whether the bundle knows what the values may be."""
    return bundle.training is not None and all(bundle.training.knows(name) for name in unknown)


def limits_over_unknown(
    bundle: Bundle, name: str, row: pd.DataFrame, unknown: Sequence[str], level: float, time: float | None = None
) -> Array:
    """Limits of one patient's risk, shape (2,).

    Each unknown value is drawn from its distribution in training given the known ones, and for each draw the linear
    predictor from the uncertainty of the coefficients; the limits are quantiles of the risks of all draws, and hold the
    limits at the value that stands in.

    Parameters
    ----------
    row
        The patient's one row.
    unknown
        Columns to draw (`can_draw`).
    time
        Of a time-to-event outcome; default the main horizon.
    """
    assert bundle.training is not None
    known = {str(key): value for key, value in row.iloc[0].items() if key not in unknown}
    drawn = bundle.training.draw(known, unknown, DRAWS)
    table = row.loc[row.index.repeat(DRAWS)].reset_index(drop=True)
    table = table.assign(**{str(key): values for key, values in drawn.items()})
    own, each = (bundle.models.interval(part, name, level, time) for part in (row, table))
    if not (np.isfinite(own).all() and np.isfinite(each).all()):
        return np.full(2, np.nan)
    scale, back = _scale(bundle.models.model(name))
    ends = scale(np.clip(each, _EDGE, 1 - _EDGE))
    strata = norm.ppf((rng(0, "coefficients").permutation(DRAWS) + 0.5) / DRAWS)
    half = (ends[:, 1] - ends[:, 0]) / (2 * norm.ppf(0.5 + level / 2))
    risks = back(ends.mean(axis=1) + strata * half)
    low, high = np.quantile(risks, [0.5 - level / 2, 0.5 + level / 2])
    return np.array([min(low, own[0, 0]), max(high, own[0, 1])])


def _scale(model: FrozenLinear) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The scale on which a model's interval is symmetric, and back from it to the risk."""
    if model.every_time:
        return lambda p: np.log(-np.log1p(-p)), lambda x: -np.expm1(-np.exp(np.minimum(x, 500.0)))
    return logit, expit
