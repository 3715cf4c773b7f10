"""Ways of choosing clinical predictors on real tables: discrimination and calibration in patients left out.

    python benchmarks/clinical_choice.py --data DIR [--repeats 10] STUDY.yaml [STUDY.yaml ...]

For every study file the clinical model is fitted by each way (`modelling.selection`) in repeated five-fold
cross-validation of the training patients, the same folds for all. AUC (C of Harrell, of a time to an event) is that of
the scores left out, by fold, averaged; the slope is that of all scores left out of a repeat (1: right; below: too
extreme).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import yaml

from hepacast.core.progress import SilentReporter
from hepacast.errors import HepacastError
from hepacast.modelling.clinical import ClinicalModel, Keep
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.targets import event_classes, has_time
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_checks import concordance
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.ranks import auc_from_ranks
from hepacast.study.context import make_context
from hepacast.study.run import run_study
from hepacast.study.stages.modelling import load_analysis

FOLDS = 5


def discrimination(score: np.ndarray, y: np.ndarray) -> float:
    """AUC or Harrell's C; one half where all scores are the same."""
    if has_time(y):
        return float(concordance(y[:, 0], (y[:, 1] == 1).astype(float), score).c) if np.ptp(score) else 0.5
    return float(auc_from_ranks(y, score))


def slope(score: np.ndarray, y: np.ndarray) -> float:
    """Calibration slope; NaN where all scores are the same."""
    if not np.ptp(score) > 1e-9:
        return float("nan")
    if has_time(y):
        return float(fit_cox(score[:, None], y[:, 0], (y[:, 1] == 1).astype(float)).coef[0])
    return float(fit_logistic(score[:, None], y).coef[0])


def judged(x: pd.DataFrame, y: np.ndarray, model: ClinicalModel, repeats: int) -> tuple[float, float, int]:
    """Mean discrimination, median slope, and fits that failed."""
    found, slopes, failed = [], [], 0
    for repeat in range(repeats):
        fold = stratified_folds(x.index, event_classes(y), FOLDS, repeat, "clinical-choice")
        scores = np.zeros(len(x))
        for number in range(FOLDS):
            held = fold == number
            try:
                scores[held] = model.fit(x[~held], y[~held]).frozen_.linear_predictor(x[held])
            except HepacastError:
                failed += 1
            found.append(discrimination(scores[held], y[held]))
        slopes.append(slope(scores, y))
    return float(np.mean(found)), float(np.nanmedian(slopes)), failed


def rows_of(study: Path, data: Path, repeats: int) -> list[dict[str, Any]]:
    """One row a way of choosing."""
    with tempfile.TemporaryDirectory() as folder:
        plain = yaml.safe_load(study.read_text(encoding="utf-8"))
        plain["modelling"]["models"] = ["clinical"]
        plain.pop("features", None)
        plain.pop("images", None)
        own = Path(folder) / "study.yaml"
        own.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
        run_study(own, data=data, until="radiomics", reporter=SilentReporter())
        analysis = load_analysis(make_context(own, data=data))
    x, y = analysis.part("training")
    name = f"{study.parent.name}/{study.stem}"
    events = int((y[:, 1] == 1).sum() if has_time(y) else y.sum())
    rows = []
    for keep in get_args(Keep):
        c, line, failed = judged(x, y, ClinicalModel(analysis.predictors, keep=keep), repeats)
        found = {"choice": keep, "auc_or_c": round(c, 3), "slope": round(line, 2), "failed": failed}
        rows.append({"study": name, "n": len(x), "events": events, **found})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    rows = [row for study in options.studies for row in rows_of(study, options.data, options.repeats)]
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
