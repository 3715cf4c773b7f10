"""Patients whose values are all the same: one patient who is in the table twice, or a row that was copied."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hepacast.cohort.findings import Finding, name_patients

#: Fewer columns than this are equal by chance.
_FEW_COLUMNS = 3
#: Pairs of equal patients that chance may bring, columns taken as independent, before they say nothing.
_BY_CHANCE = 1e-3


def equal_rows(values: pd.DataFrame) -> list[list[str]]:
    """Groups of patients with the same value in every column, where chance would hardly bring one.

    Parameters
    ----------
    values
        One row a patient; a missing value equals a missing one. Patients with fewer than three values are left out.
    """
    known = values[values.notna().sum(axis=1) >= _FEW_COLUMNS]
    n = len(known)
    if n < 2 or known.shape[1] < _FEW_COLUMNS:
        return []
    twins = known[known.duplicated(keep=False)]
    if not len(twins):
        return []
    log_chance = float(np.log(n * (n - 1) / 2))
    for name in known:
        share = known[name].value_counts(dropna=False).to_numpy(dtype=float) / n
        log_chance += float(np.log((share**2).sum()))
    if log_chance > np.log(_BY_CHANCE):
        return []
    groups = twins.groupby(list(twins.columns), dropna=False, sort=False, observed=True).groups.values()
    return [[str(patient) for patient in members] for members in groups]


def tell_equal_rows(values: pd.DataFrame, what: str) -> list[Finding]:
    """A warning for each group of `equal_rows`; `what` names the columns (values, features)."""
    return [
        Finding(
            "warning",
            "same-values",
            f"{name_patients(names)} have the same {what} in all {values.shape[1]} columns: are they one patient?",
            patient=names[0],
        )
        for names in equal_rows(values)
    ]
