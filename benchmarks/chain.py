"""Time one refit of the radiomics chain, beside the same steps written with pandas and scikit-learn as papers do it.

    python benchmarks/chain.py [--patients 147] [--features 3748] [--repeats 5] [--bootstraps 0] [--json FILE]

Both do Z-score, |Spearman's rho| <= 0.8, univariate P < .05 (t or Mann-Whitney by normality), LASSO with 10-fold
cross-validation, and the ten features of most weight. Times are wall-clock seconds on one thread; run it on a quiet
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hepacast.compute.executor import single_threaded
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.study_models import StudyModels


def radiomics_like(n: int, p: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Features in correlated groups of ten, as wavelet and LoG copies of one texture are; two groups matter."""
    rng = np.random.default_rng(seed)
    groups = -(-p // 10)
    base = rng.normal(size=(n, groups))
    values = np.repeat(base, 10, axis=1)[:, :p] + 0.4 * rng.normal(size=(n, p))
    risk = 1 / (1 + np.exp(-(base[:, 0] + base[:, 1] - 1.3)))
    table = pd.DataFrame(values, columns=[f"f{j}" for j in range(p)], index=[f"P{i:04d}" for i in range(n)])
    return table, (rng.uniform(size=n) < risk).astype(int)


def as_papers_do(X: pd.DataFrame, y: np.ndarray) -> list[str]:
    """The same chain with pandas' corr, a loop over scipy's tests, and LogisticRegressionCV."""
    from scipy.stats import mannwhitneyu, shapiro, ttest_ind
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.preprocessing import StandardScaler

    Z = pd.DataFrame(StandardScaler().fit_transform(X), columns=X.columns, index=X.index)
    upper = Z.corr(method="spearman").abs()
    upper = upper.where(np.triu(np.ones(upper.shape, dtype=bool), k=1))
    Z = Z.drop(columns=[name for name in upper.columns if (upper[name] > 0.8).any()])
    kept = []
    for name in Z.columns:
        a, b = Z.loc[y == 1, name], Z.loc[y == 0, name]
        normal = shapiro(a).pvalue > 0.05 and shapiro(b).pvalue > 0.05
        p = ttest_ind(a, b, equal_var=False).pvalue if normal else mannwhitneyu(a, b).pvalue
        if p < 0.05:
            kept.append(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lasso = LogisticRegressionCV(
            Cs=100, cv=10, penalty="l1", solver="saga", max_iter=500, scoring="neg_log_loss", random_state=0
        ).fit(Z[kept], y)
    weights = pd.Series(np.abs(lasso.coef_[0]), index=kept)
    return list(weights.nlargest(10).index)


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock seconds of each repeat."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=147)
    parser.add_argument("--features", type=int, default=3748)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bootstraps", type=int, default=0, help="also time the optimism bootstrap")
    parser.add_argument("--workers", type=int, default=2, help="processes of the bootstrap")
    parser.add_argument("--skip-papers", action="store_true", help="leave out the pandas and scikit-learn version")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    X, y = radiomics_like(options.patients, options.features)
    result: dict[str, object] = {
        "patients": options.patients,
        "features": options.features,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
    }
    Radscore(score="apparent").fit(X, y)  # compiles once after installation
    apparent = timed(lambda: Radscore(score="apparent").fit(X, y), options.repeats)
    crossed = timed(lambda: Radscore(score="cross-fitted").fit(X, y), max(1, options.repeats // 2))
    result |= {"chain_s": apparent, "chain_cross_fitted_s": crossed}
    print(f"one refit of the chain:           {np.median(apparent):8.2f} s (median of {len(apparent)})")
    print(f"with cross-fitted Radscore:       {np.median(crossed):8.2f} s (six refits)")
    counts = [(step.label, step.n_in, step.n_out) for step in Radscore(score="apparent").fit(X, y).counts_]
    for label, n_in, n_out in counts:
        print(f"    {n_in:5d} -> {n_out:5d}  {label}")
    result["steps"] = counts
    if not options.skip_papers:
        papers = timed(lambda: as_papers_do(X, y), 1)
        result["papers_s"] = papers
        print(f"pandas and scikit-learn:          {papers[0]:8.2f} s ({papers[0] / np.median(apparent):.0f} times)")
    if options.bootstraps:
        models = StudyModels(radiomics=Radscore(score="apparent"), models=("radiomics",))
        seconds = timed(lambda: bootstrap_optimism(models, X, y, options.bootstraps, workers=options.workers), 1)[0]
        result["bootstrap"] = {"samples": options.bootstraps, "workers": options.workers, "seconds": seconds}
        rate = seconds / options.bootstraps * 1000 / 60
        print(f"{options.bootstraps} bootstraps of the chain:        {seconds:8.1f} s; 1000 take {rate:.1f} min")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with single_threaded():
        main()
