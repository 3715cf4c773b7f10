"""What networks say of patients, as arrays and as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.errors import ModelError

if TYPE_CHECKING:
    from hepacast.deep.trained import TrainedNetwork


@dataclass(frozen=True, eq=False)
class Applied:
    """What a network (or several) says of n patients.

    Parameters
    ----------
    scores
        (n,): risk of the event, 0 to 1 (binary); log hazard ratio (Cox); share of the follow-up not lived (hazards).
        NaN without a prediction pathway.
    features
        Penultimate features in SDs of the training patients, (n, d); empty (n, 0) without a prediction pathway.
    masks
        Probability of tumor, float16, (n, z, y, x); None without a segmentation pathway.
    """

    scores: npt.NDArray[Any]
    features: npt.NDArray[Any]
    masks: npt.NDArray[np.float16] | None


def log_odds(applied: Applied, outcome: str = "binary") -> np.ndarray:
    """Log odds of binary scores, (n,); a risk of 0 or 1 counts as one in a million away from it.

    Of networks that learn times (`outcome` of the `NetworkSpec`) the score itself: a log hazard, or the risk by the end
    of the follow-up.
    """
    if outcome != "binary":
        return np.asarray(applied.scores, dtype=float)
    risk = np.clip(applied.scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(risk / (1 - risk)))


def feature_table(applied: Applied, index: Sequence[Any]) -> pd.DataFrame:
    """Penultimate features as columns ``deep:1``, ``deep:2``, ..."""
    columns = [f"deep:{number + 1}" for number in range(applied.features.shape[1])]
    return pd.DataFrame(applied.features, index=list(index), columns=columns)


def mean_readings(networks: Sequence[TrainedNetwork], crops: Any, index: Sequence[Any]) -> pd.DataFrame:
    """Mean log odds or score (column ``log odds``) and mean penultimate features over networks.

    Parameters
    ----------
    networks
        Of one outcome, with one number of penultimate features.
    crops
        (n, channels, z, y, x).
    index
        Names of the n rows.

    Raises
    ------
    ModelError
        There is no network, or crops that do not fit.
    """
    if not networks:
        raise ModelError("There is no network to apply.")
    applied = [network.apply(crops) for network in networks]
    features = np.mean([feature_table(item, index).to_numpy(dtype=float) for item in applied], axis=0)
    table = pd.DataFrame(features, index=list(index), columns=feature_table(applied[0], index).columns)
    own = [log_odds(item, network.spec.outcome) for item, network in zip(applied, networks, strict=True)]
    table.insert(0, "log odds", np.mean(own, axis=0))
    return table
