"""What fitting and validating the models of a study will cost: from its patients, its features and what is asked for.

Measured with 150 to 2,000 patients and 400 to 3,748 features (`benchmarks/cohort_size.py`), on one core.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hepacast.core.executor import resolve_workers
from hepacast.modelling.bootstrap import FEWEST, LARGE_COHORT
from hepacast.study.analysis_set import WIDE
from hepacast.study.context import Context
from hepacast.study.feature_settings import load_settings
from hepacast.study.stage import Cost
from hepacast.study.stages.clinical import load_table

#: Seconds of one refit with a cross-fitted Radscore (six fits of the chain): in all, a feature, and a feature and
#: patient; a bootstrap sample, whose copies of patients make for more features that matter, takes so many times longer.
_REFIT, _FEATURE, _CELL, _BOOTSTRAP, _FITS = 0.1, 4e-5, 4.2e-7, 1.25, 6
#: Seconds of a refit of what was selected once, of a model of clinical columns in all and a patient, and of one shuffle
#: of a column.
_SELECTED, _CLINICAL, _PATIENT, _SHUFFLE = 0.05, 0.03, 8e-5, 0.005
#: Seconds of a candidate where those that probably belong are chosen: of a joint model once, and again in its folds
_CHOSEN, _CHOICES = 0.003, 6
#: Columns that the models read, about; training sizes of a learning curve.
_READ, _SIZES = 12, 4
#: Memory: of the program, of a worker, and tables that a process holds at once (the chain's steps make their own).
_PROGRAM, _WORKER, _TABLES = 4e8, 2.5e8, 5.0
#: Features of a table that tells its columns only when it is read.
_UNKNOWN = 1000


def size_of_chain(context: Context) -> tuple[int, int]:
    """Training patients and features, as far as they are known."""
    return _patients(context), _features(context)


def chain_seconds(patients: float, features: int) -> float:
    """Seconds of one fit of the chain."""
    return (_REFIT + _FEATURE * features + _CELL * patients * features) / _FITS


def chain_bytes(patients: float, features: int) -> float:
    """Memory of a process that fits the chain."""
    return _WORKER + 8.0 * patients * features * _TABLES


def refits_cost(context: Context) -> Cost:
    """Of fitting the models and refitting them in their validation and scrutiny."""
    rules, workers = context.study.modelling.validation, resolve_workers(context.workers)
    n, p = size_of_chain(context)
    train = n * (1 - 1 / rules.folds)
    few = rules.bootstrap if n < LARGE_COHORT else min(rules.bootstrap, _samples_enough(n))
    seconds = rules.folds * rules.repeats * _refit(context, train, p)
    seconds += few * _BOOTSTRAP * _refit(context, n, p)
    seconds += rules.folds * rules.permutations * _refit(context, train, p)
    seconds += rules.folds * rules.learning_curve * _SIZES * _refit(context, 0.7 * train, p)
    if rules.importance:
        seconds += rules.folds * (_refit(context, train, p) + _READ * rules.importance * _SHUFFLE)
    if rules.usual_way and p:
        seconds += rules.folds * min(rules.repeats, 3) * _SELECTED
    # Fitting is not divided among the workers; nor is their start.
    alone = _refit(context, n, p) + 3.0
    return Cost(alone + seconds / workers, _PROGRAM + 8.0 * n * p * 3 + workers * chain_bytes(n, p))


def _samples_enough(patients: int) -> float:
    """Bootstrap samples that a large cohort needs, about: 80, and fewer where 0.001 of the AUC is enough."""
    return max(FEWEST, min(2 * FEWEST, 3e5 / patients))


def _refit(context: Context, patients: float, features: int) -> float:
    """Seconds of one fit of all models to so many patients."""
    options = context.study.modelling
    choices = ("joint" in options.models) * (_CHOICES if options.combination != "regression" else 1)
    chosen = choices * _CHOSEN * len(options.candidates)
    if not features:
        return chosen + _CLINICAL + _PATIENT * patients
    crossed = _FITS * chain_seconds(patients, features)
    return chosen + (crossed if options.radscore == "cross-fitted" else crossed / 5 + _CLINICAL)


def _patients(context: Context) -> int:
    """Training patients as far as they are known: those of the cohort stage, else all of the table."""
    sets = context.out / "cohort" / "sets.csv"
    if sets.is_file():
        return int((pd.read_csv(sets, dtype=str)["set"] == "training").sum())
    return len(load_table(context).patients)


def _features(context: Context) -> int:
    """Features of the chain: those that were measured, else those of the table or of the settings."""
    if not context.study.modelling.reads_features:
        return 0
    measured, table = context.out / "radiomics" / WIDE, context.study.features.table
    if measured.is_file():
        return len(_arrow_names(measured)) - 1
    if table is not None:
        return max(0, _columns_of(context.path(table)) - 1)
    images = context.study.images
    if images is None:
        return 0
    return len(load_settings(context).feature_names()) * len(images.vois) * len(images.sequences)


def _columns_of(path: Path) -> int:
    """Columns of a table's first line, or of its schema, without reading the rest."""
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return len(pq.read_schema(path).names)
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        with path.open("rb") as file:
            line = file.readline()
        return 1 + max(line.count(mark) for mark in (b",", b";", b"\t"))
    return _UNKNOWN


def _arrow_names(path: Path) -> list[str]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return list(pa.ipc.open_file(source).schema.names)
