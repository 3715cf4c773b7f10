"""Coverage of the intervals of nested cross-validation and of the corrected bootstrap AUC, in simulated cohorts.

    python benchmarks/interval_coverage.py 300

The model is a ridge discriminant on the k columns that differ most between the groups, all refitted in every fold and
resample; truth is the AUC of these very fits in the population, which normal columns give in closed form.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from hepacast.stats.ranks import auc_covariance
from hepacast.stats.resampling import (
    MAX_OVERFITTING,
    location_shifted,
    nadeau_bengio,
    overfitting_rate,
    repeated_folds,
)

Array = NDArray[np.float64]
#: Patients, columns, columns chosen (all: 0), shift of the first three columns, share of events, folds.
SETTINGS = [
    (60, 5, 0, 0.5, 0.4, 5),
    (100, 5, 0, 0.5, 0.4, 5),
    (100, 5, 0, 0.5, 0.4, 10),
    (100, 5, 0, 0.0, 0.4, 5),
    (200, 5, 0, 0.5, 0.3, 5),
    (100, 300, 10, 0.7, 0.4, 5),
    (100, 300, 10, 0.0, 0.4, 5),
]
REPEATS, RESAMPLES = 10, 60


def fit(x: Array, y: Array, k: int) -> Array:
    """Weights of the discriminant; 0 for columns that were not chosen."""
    gap = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    chosen = np.argsort(-np.abs(gap) / x.std(axis=0))[: k or x.shape[1]]
    within = x[:, chosen] - np.where(y[:, None] == 1, x[y == 1].mean(axis=0), x[y == 0].mean(axis=0))[:, chosen]
    weights = np.zeros(x.shape[1])
    weights[chosen] = np.linalg.solve(within.T @ within / (len(y) - 2) + 0.1 * np.eye(len(chosen)), gap[chosen])
    return weights


def simulate(setting: tuple[int, int, int, float, float, int], count: int) -> str:
    """One row of the table: coverage by way, and how often the bootstrap has an interval."""
    n, p, k, shift, share, folds = setting
    rng = np.random.default_rng(list(map(int, (n, p, k, 10 * shift, 10 * share, folds))))
    mean = shift * (np.arange(p) < 3)
    inside = np.zeros(3)
    widths, given, apart, true = [], 0, [], []
    for _ in range(count):
        y = (rng.permutation(n) < round(share * n)).astype(float)
        x = rng.normal(size=(n, p)) + y[:, None] * mean

        def truth(w: Array, mean: Array = mean) -> float:
            return float(norm.cdf(w @ mean / np.sqrt(2 * (w @ w))))

        def drawn(rows: Array) -> Array:
            return rng.choice(rows, len(rows))

        values, variances, truths = np.empty((REPEATS, folds)), np.empty((REPEATS, folds)), []
        for repeat in range(REPEATS):
            fold = np.empty(n, dtype=int)
            for label in (0, 1):
                rows = rng.permutation(np.flatnonzero(y == label))
                fold[rows] = np.arange(len(rows)) % folds
            for part in range(folds):
                seen = fold != part
                w = fit(x[seen], y[seen], k)
                aucs, covariance = auc_covariance(y[~seen], [x[~seen] @ w])
                values[repeat, part], variances[repeat, part] = aucs[0], covariance[0, 0]
                truths.append(truth(w))
        own, old = repeated_folds(values, variances), nadeau_bengio(values, 1 / (folds - 1))
        inside[0] += own.low <= np.mean(truths) <= own.high
        inside[1] += old.low <= np.mean(truths) <= old.high
        widths.append(own.high - own.low)
        true.append(np.mean(truths))
        final = fit(x, y, k)
        training, whole, outside = [], [], []
        for _ in range(RESAMPLES):
            rows = np.concatenate([drawn(np.flatnonzero(y == label)) for label in (0, 1)])
            w = fit(x[rows], y[rows], k)
            training.append(auc_covariance(y[rows], [x[rows] @ w])[0][0])
            whole.append(auc_covariance(y, [x @ w])[0][0])
            left = np.setdiff1d(np.arange(n), rows)
            outside.append(auc_covariance(y[left], [x[left] @ w])[0][0])
        apparent = auc_covariance(y, [x @ final])[0][0]
        corrected = apparent - np.mean(training) + np.mean(whole)
        low, high, _ = location_shifted(training, corrected)
        if overfitting_rate(apparent, float(np.mean(outside)), 0.5) > MAX_OVERFITTING:
            low = high = np.nan
        apart.append(corrected - truth(final))
        given += np.isfinite(low)
        inside[2] += low <= truth(final) <= high
    shown = f"{100 * inside[0] / count:.0f}% | {np.mean(widths):.2f} | {100 * inside[1] / count:.0f}%"
    boot = f"{np.mean(apart):+.3f} | {100 * given / count:.0f}% | " + (
        f"{100 * inside[2] / given:.0f}%" if given else "none"
    )
    return f"| {n} | {p} | {k or 'all'} | {np.mean(true):.2f} | {folds} x {REPEATS} | {shown} | {boot} |"


if __name__ == "__main__":
    print("| patients | columns | chosen | true AUC | folds | nested | width | Nadeau-Bengio | ", end="")
    print("corrected - true | has limits | bootstrap |")
    for setting in SETTINGS:
        print(simulate(setting, int(sys.argv[1]) if len(sys.argv) > 1 else 300), flush=True)
