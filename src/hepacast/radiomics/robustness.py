"""Agreement of each feature between perturbations or readers: ICC(2,1) and ICC(3,1), all features at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.core.executor import Progress, map_items
from hepacast.errors import HepacastError, TableError
from hepacast.radiomics.patients import Case, VolumeSource, load_case
from hepacast.radiomics.perturb import DEFAULT, Perturbation, perturb_image
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.table import concat_long, to_wide
from hepacast.stats.agreement import icc_values

#: Least number of patients whose values are complete, for an ICC to be told.
LEAST_PATIENTS = 2


def icc_features(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """ICC of every feature between tables of the same patients.

    Parameters
    ----------
    tables
        Wide tables (index patient), one for each reader or perturbation, at least two.

    Returns
    -------
    DataFrame
        Index feature; ``icc2`` (two-way random, absolute agreement, single measure), ``icc3`` (two-way mixed,
        consistency), ``n`` (patients whose values are complete in all tables), ``reason`` where there is no ICC. A
        feature with missing values is judged on the patients that have it in all tables.

    Raises
    ------
    TableError
        Fewer than two tables, or no patient or feature in common.
    """
    if len(tables) < 2:
        raise TableError("Agreement needs at least two tables.", found=str(len(tables)))
    columns = [column for column in tables[0].columns if all(column in table.columns for table in tables[1:])]
    patients = [patient for patient in tables[0].index if all(patient in table.index for table in tables[1:])]
    if not columns or not patients:
        raise TableError(
            "The tables have no patient or no feature in common.",
            found=f"{len(patients)} patients, {len(columns)} features",
        )
    values = np.stack([table.loc[patients, columns].to_numpy(dtype=float) for table in tables], axis=1)
    complete = np.isfinite(values).all(axis=1)  # (patients, features)
    icc2 = np.full(len(columns), np.nan)
    icc3 = np.full(len(columns), np.nan)
    n = complete.sum(axis=0)
    # Features that miss the same patients are calculated together; nearly always that is all of them.
    patterns, which = np.unique(complete, axis=1, return_inverse=True)
    for place in range(patterns.shape[1]):
        kept = patterns[:, place]
        if kept.sum() < LEAST_PATIENTS:
            continue
        chosen = np.flatnonzero(which == place)
        block = values[kept][:, :, chosen]
        icc2[chosen] = icc_values(block, "ICC2")
        icc3[chosen] = icc_values(block, "ICC3")
    return pd.DataFrame(
        {"icc2": icc2, "icc3": icc3, "n": n, "reason": _reasons(icc2, n)}, index=pd.Index(columns, name="feature")
    )


def _reasons(icc2: npt.NDArray[np.float64], n: npt.NDArray[Any]) -> list[str | None]:
    return [
        None if np.isfinite(value) else "too few complete patients" if count < LEAST_PATIENTS else "it does not vary"
        for value, count in zip(icc2, n)
    ]


def extract_perturbed(
    cases: Sequence[Case],
    settings: Settings | str | Path | Mapping[str, Any],
    *,
    perturbations: Sequence[Perturbation] = DEFAULT,
    seed: int = 0,
    workers: int | None = 1,
    progress: Progress | None = None,
) -> dict[str, pd.DataFrame]:
    """The long feature table of each perturbation, by the perturbation's name.

    Every image is read once and measured under all perturbations by one worker.
    """
    chosen = Settings.load(settings)
    tasks = [
        (case.patient, sequence, image, case.vois_of(sequence), chosen, tuple(perturbations), seed)
        for case in cases
        for sequence, image in case.images.items()
    ]
    results = map_items(_run, tasks, workers=workers, progress=progress)
    return {
        change.name: concat_long([result[place] for result in results], settings_hash=chosen.hash, engine="")
        for place, change in enumerate(perturbations)
    }


def perturbation_icc(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """ICC of every feature between the perturbations of `extract_perturbed`."""
    return icc_features([to_wide(table) for table in tables.values()])


def _run(
    task: tuple[str, str, VolumeSource, dict[str, Any], Settings, tuple[Perturbation, ...], int],
) -> list[pd.DataFrame]:
    from hepacast.radiomics.extraction import extract

    patient, sequence, image, sources, settings, perturbations, seed = task
    expected = settings.feature_names()

    def failed(names: Sequence[str], reason: str) -> dict[str, VoiResult]:
        return {name: VoiResult.failed(name, expected, reason) for name in names}

    try:
        volume, masks = load_case(image, sources, settings.parameters)
    except (HepacastError, OSError) as error:
        whole = ExtractionResult(failed(list(sources), str(error).splitlines()[0]), settings.hash, "")
        return [whole.to_long(patient, sequence) for _ in perturbations]
    tables = []
    for change in perturbations:
        results: dict[str, VoiResult] = {}
        for name, mask in masks.items():
            # One VOI at a time: a perturbation that leaves nothing of one must not take the others with it.
            try:
                moved, vois = perturb_image(volume, {name: mask}, change, seed=seed)
                results[name] = extract(moved, vois, settings)[name]
            except HepacastError as error:
                results.update(failed([name], error.message))
        tables.append(ExtractionResult(results, settings.hash, "").to_long(patient, sequence))
    return tables
