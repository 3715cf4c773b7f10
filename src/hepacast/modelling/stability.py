"""How stable a selection is when the patients change a little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm


@dataclass(frozen=True)
class Stability:
    """Selection over refits.

    Attributes
    ----------
    frequency
        Share of refits that selected each name, largest first; names never selected are left out.
    index, ci_low, ci_high
        Nogueira's stability with limits: 1 the same selection always, 0 what chance gives, NaN where it does not exist
        (one refit, nothing or everything ever selected). No limit is above 1.
    mean_size
        Mean number of selected names.
    n_refits, n_candidates
        Refits, and names that could have been selected.
    """

    frequency: pd.Series
    index: float
    ci_low: float
    ci_high: float
    mean_size: float
    n_refits: int
    n_candidates: int


def selection_stability(selections: Sequence[Sequence[str]], n_candidates: int, level: float = 0.95) -> Stability:
    """Frequencies and Nogueira's index (Nogueira, Sechidis, Brown. J Mach Learn Res 2018;18:1-54).

    Parameters
    ----------
    selections
        What each refit selected.
    n_candidates
        Number of names that could be selected.
    """
    m, d = len(selections), n_candidates
    counts = pd.Series([name for chosen in selections for name in chosen], dtype=object).value_counts()
    share = (counts / m).astype(float) if m else counts.astype(float)
    names = sorted(share.index, key=lambda name: (-share[name], str(name)))
    share = share.loc[names]
    sizes = np.array([len(chosen) for chosen in selections], dtype=float)
    mean_size = float(sizes.mean()) if m else float("nan")
    missing = Stability(share, float("nan"), float("nan"), float("nan"), mean_size, m, d)
    if m < 2 or d < 1 or not 0 < mean_size < d:
        return missing
    rate = mean_size / d
    chance = rate * (1 - rate)
    p = share.to_numpy()
    index = 1 - (m / (m - 1) * (p * (1 - p)).sum() / d) / chance
    # Each refit's own contribution, for the variance (theorem 7 of the paper).
    parts = np.empty(m)
    for i, chosen in enumerate(selections):
        agreement = share.loc[list(chosen)].sum() / d if len(chosen) else 0.0
        k = sizes[i]
        parts[i] = (
            agreement - k * mean_size / d**2 + index / 2 * (2 * k * mean_size / d**2 - k / d - rate + 1)
        ) / chance
    variance = 4 / m**2 * ((parts - parts.mean()) ** 2).sum()
    half = norm.ppf(0.5 + level / 2) * np.sqrt(variance)
    return Stability(share, float(index), float(index - half), min(float(index + half), 1.0), mean_size, m, d)
