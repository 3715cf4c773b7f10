"""Time one refit of the radiomics chain, beside the same steps written with pandas and scikit-learn as papers do it.

    python benchmarks/chain.py [--patients 147] [--features 3748] [--repeats 5] [--bootstraps 0] [--json FILE]
    python benchmarks/chain.py --bootstraps 1000 --workers 2 --json chain.json     # the whole comparison, to the end

All do Z-score, |Spearman's rho| <= 0.8, univariate P < .05 (t or Mann-Whitney by normality), LASSO with 10-fold
cross-validation, and the ten features of most weight; R (cor, wilcox.test, glmnet) takes part where it is installed.
Times are wall-clock seconds and CPU seconds on one thread: on a busy machine only the CPU seconds say something. The
file is written after every part, so that a benchmark that is stopped keeps what it has measured; a bootstrap says every
minute how far it is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hepacast.core.executor import single_threaded
from hepacast.modelling.bootstrap import bootstrap_optimism
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.study_models import StudyModels

#: Minutes that 1000 bootstraps of the chain may take on two cores.
AIM_MINUTES = 10.0


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


R_SCRIPT = """
args <- commandArgs(TRUE)
d <- as.matrix(read.csv(args[1])); y <- d[, 1]; x <- d[, -1]
start <- proc.time()
z <- scale(x)
r <- abs(cor(z, method = "spearman")); r[lower.tri(r, diag = TRUE)] <- 0
z <- z[, !apply(r > 0.8, 2, any)]
p <- apply(z, 2, function(v) {
  a <- v[y == 1]; b <- v[y == 0]
  normal <- shapiro.test(a)$p.value > 0.05 && shapiro.test(b)$p.value > 0.05
  if (normal) t.test(a, b)$p.value else wilcox.test(a, b)$p.value
})
z <- z[, p < 0.05]
fit <- glmnet::cv.glmnet(z, y, family = "binomial", nfolds = 10)
w <- abs(as.matrix(coef(fit, s = "lambda.min"))[-1, ])
chosen <- head(sort(w, decreasing = TRUE), 10)
used <- proc.time() - start
cat(used[["elapsed"]], used[["user.self"]] + used[["sys.self"]])
"""


def in_r(X: pd.DataFrame, y: np.ndarray) -> tuple[float, float] | None:
    """(wall, CPU) seconds of the same steps in R without reading the table; None where R or glmnet is missing."""
    program = shutil.which("Rscript")
    if program is None:
        print("R:                                   not installed (no Rscript)", flush=True)
        return None
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder) / "table.csv", Path(folder) / "chain.R"
        X.assign(y=y)[["y", *X.columns]].to_csv(table, index=False)
        script.write_text(R_SCRIPT, encoding="utf-8")
        done = subprocess.run([program, str(script), str(table)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"R:                                   no time ({done.stderr.strip().splitlines()[-1]})", flush=True)
        return None
    wall, cpu = (float(word) for word in done.stdout.split())
    return wall, cpu


def timed(work: Callable[[], object], repeats: int) -> dict[str, list[float]]:
    """Wall-clock and CPU seconds of each repeat."""
    wall, cpu = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return {"wall_s": wall, "cpu_s": cpu}


def said(label: str, found: dict[str, list[float]], note: str = "") -> None:
    """Print the medians."""
    wall, cpu = (float(np.median(found[key])) for key in ("wall_s", "cpu_s"))
    print(f"{label:34s}{wall:8.2f} s wall, {cpu:6.2f} s CPU  {note}", flush=True)


class Minutes:
    """Says once a minute how many resamples are done, and how long the rest will take."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()

    def __call__(self, done: int, total: int) -> None:
        """As the progress of `map_items`."""
        now = time.perf_counter()
        if now - self.last < 60 or not done:
            return
        self.last = now
        rest = (now - self.start) / done * (total - done) / 60
        print(f"    {done} of {total} fits, about {rest:.1f} min left", flush=True)


def bootstraps(
    X: pd.DataFrame, y: np.ndarray, samples: int, workers: int, score: str, papers_s: float | None
) -> dict[str, object]:
    """Time the optimism bootstrap of the whole chain, and say whether 1000 take ten minutes at most."""
    models = StudyModels(radiomics=Radscore(score=score), models=("radiomics",))
    start, before = time.perf_counter(), _cpu_with_children()
    bootstrap_optimism(models, X, y, samples, workers=workers, progress=Minutes())
    wall, cpu = time.perf_counter() - start, _cpu_with_children() - before
    minutes, free = wall / samples * 1000 / 60, cpu / samples * 1000 / 60 / workers
    aim = f"aim {AIM_MINUTES:g} min {'held' if minutes <= AIM_MINUTES else 'missed'}"
    print(
        f"{samples} bootstraps of the chain ({score}): {wall:.1f} s wall, {cpu:.1f} s CPU; 1000: {minutes:.1f} min "
        f"({free:.1f} on {workers} free cores), {aim}",
        flush=True,
    )
    if papers_s is not None:
        fits = 6 if score == "cross-fitted" else 1
        hours = papers_s * fits * 1000 / workers / 3600
        print(f"    the same 1000 with pandas and scikit-learn, by its one refit: {hours:.1f} h", flush=True)
    return {"samples": samples, "workers": workers, "score": score, "wall_s": wall, "cpu_s": cpu, "1000_min": minutes}


def _cpu_with_children() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=147)
    parser.add_argument("--features", type=int, default=3748)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bootstraps", type=int, default=0, help="also time the optimism bootstrap")
    parser.add_argument("--workers", type=int, default=2, help="processes of the bootstrap")
    parser.add_argument(
        "--score", default="cross-fitted", choices=("apparent", "cross-fitted"), help="of the bootstrap"
    )
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
    result |= {"chain": apparent, "chain_cross_fitted": crossed}
    said("one refit of the chain:", apparent, f"(median of {options.repeats})")
    said("with cross-fitted Radscore:", crossed, "(six refits)")
    counts = [(step.label, step.n_in, step.n_out) for step in Radscore(score="apparent").fit(X, y).counts_]
    for label, n_in, n_out in counts:
        print(f"    {n_in:5d} -> {n_out:5d}  {label}")
    result["steps"] = counts
    write(result, options.json)
    if not options.skip_papers:
        papers = timed(lambda: as_papers_do(X, y), 1)
        result["papers"] = papers
        said("pandas and scikit-learn:", papers, f"({papers['cpu_s'][0] / np.median(apparent['cpu_s']):.0f} times)")
        r = in_r(X, y)
        if r is not None:
            result["r"] = {"wall_s": [r[0]], "cpu_s": [r[1]]}
            said("R (cor, wilcox.test, glmnet):", {"wall_s": [r[0]], "cpu_s": [r[1]]})
        write(result, options.json)
    if options.bootstraps:
        one = None if options.skip_papers else float(result["papers"]["wall_s"][0])  # type: ignore[index]
        result["bootstrap"] = bootstraps(X, y, options.bootstraps, options.workers, options.score, one)
    write(result, options.json)


def write(result: dict[str, object], path: Path | None) -> None:
    """What is known so far."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with single_threaded():
        main()
