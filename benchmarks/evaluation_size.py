"""How the CPU seconds of statistics and evaluation grow with the number of patients.

    python benchmarks/evaluation_size.py [--patients 1000 3000 10000] [--json FILE]

One line a function, one column a number of patients; bootstraps take 20 resamples. The power of n by which the last
step grew stands at the end: 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.core.executor import single_threaded
from hepacast.evaluation.calibration import calibration
from hepacast.evaluation.decision import decision_curves
from hepacast.evaluation.delong import delong_test
from hepacast.evaluation.evaluate import evaluate_risks
from hepacast.evaluation.event_by import event_by, pseudo_values
from hepacast.evaluation.reclassification import idi, nri
from hepacast.evaluation.roc import roc
from hepacast.evaluation.time_dependent import auc_at, brier_at, roc_at
from hepacast.stats.competing_risks import baseline_hazard, cumulative_incidence, fit_fine_gray
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_checks import concordance, proportional_hazards
from hepacast.stats.cutpoint import maxstat_cut
from hepacast.stats.kaplan_meier import kaplan_meier, log_rank
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.smoothing import loess, lowess

AT = 24.0


def jobs(n: int) -> dict[str, Callable[[], Any]]:
    """The functions, on the same made patients."""
    r = np.random.default_rng(1)
    first = r.normal(size=n)
    second = first + r.normal(size=n)
    both, risk, other = np.column_stack([first, second]), 1 / (1 + np.exp(-first)), 1 / (1 + np.exp(-second))
    y = (first + r.logistic(size=n) > 0).astype(float)
    came, left = r.exponential(24 * np.exp(-first / 2)), r.uniform(12, 60, n)
    times, event = np.minimum(came, left), (came <= left).astype(float)
    codes = np.where((event == 1) & (r.uniform(size=n) < 0.3), 2.0, event)
    groups, rows = r.integers(0, 3, n), [r.integers(0, n, n) for _ in range(20)]
    by, of_two = event_by(times, event, AT), {"one": risk, "other": other}
    return {
        "ROC curve": lambda: roc(y, risk),
        "DeLong": lambda: delong_test(y, risk, other),
        "NRI, IDI": lambda: (nri(y, risk, other), idi(y, risk, other)),
        "calibration": lambda: calibration(y, risk),
        "net benefit, resampled": lambda: decision_curves(y, {"one": risk}, indices=rows),
        "everything, two models, resampled": lambda: evaluate_risks(y, of_two, n_boot=20),
        "logistic regression": lambda: fit_logistic(both, y),
        "loess": lambda: loess(risk, y),
        "lowess": lambda: lowess(risk, y),
        "Kaplan-Meier": lambda: kaplan_meier(times, event),
        "log-rank, three groups": lambda: log_rank(times, event, groups),
        "maximally selected cut-off": lambda: maxstat_cut(times, event, first),
        "Cox regression": lambda: fit_cox(both, times, event),
        "proportional hazards": lambda: proportional_hazards(fit_cox(both, times, event), both, times, event),
        "C index": lambda: concordance(times, event, first),
        "AUC(t)": lambda: auc_at(times, event, first, AT),
        "Brier(t)": lambda: brier_at(times, event, risk, AT),
        "ROC(t)": lambda: roc_at(times, event, first, AT),
        "calibration at t": lambda: calibration(by, risk),
        "net benefit at t, resampled": lambda: decision_curves(by, {"one": risk}, indices=rows),
        "everything at t, two models, resampled": lambda: evaluate_risks(
            event, of_two, n_boot=20, times=times, horizon=AT
        ),
        "cumulative incidence": lambda: cumulative_incidence(times, codes),
        "Fine-Gray regression": lambda: fit_fine_gray(both, times, codes),
        "baseline of given predictors": lambda: baseline_hazard(first, times, codes),
        "pseudo-values": lambda: pseudo_values(times, codes, AT),
        "AUC(t), competing risks": lambda: auc_at(times, codes, first, AT),
        "Brier(t), competing risks": lambda: brier_at(times, codes, risk, AT),
        "calibration at t, competing risks": lambda: calibration(event_by(times, codes, AT), risk),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with single_threaded():
        for work in jobs(200).values():
            work()
        for n in options.patients:
            for name, work in jobs(n).items():
                start = time.process_time()
                work()
                found.setdefault(name, []).append(round(time.process_time() - start, 4))
    for name, seconds in found.items():
        power = float("nan")
        if len(seconds) > 1 and min(seconds[-2:]) >= 0.01:
            power = np.log(seconds[-1] / seconds[-2]) / np.log(options.patients[-1] / options.patients[-2])
        print(f"{name:40}" + "".join(f"{value:9.3f}" for value in seconds) + f"{power:7.1f}")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at the peak")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
