"""Patients who are in a table twice under two identifiers."""

import numpy as np
import pandas as pd
import pytest

from hepacast.cohort import ClinicalTable, ColumnSpec
from hepacast.cohort.checks import check_table
from hepacast.cohort.equal_rows import equal_rows


def labs(n=60, columns=4, seed=0):
    rng = np.random.default_rng(seed)
    index = pd.Index([f"P{i:02d}" for i in range(n)], name="patient")
    return pd.DataFrame({f"x{k}": rng.normal(50, 10, n).round(1) for k in range(columns)}, index=index)


def test_a_patient_under_two_names_is_told():
    frame = labs()
    frame.loc["P07", "x1"] = np.nan
    frame.loc["P41"] = frame.loc["P07"]
    frame.loc["P50"] = frame.loc["P07"]
    found = check_table(ClinicalTable(frame, tuple(ColumnSpec(name) for name in frame.columns)))
    (told,) = [item.message for item in found if item.code == "same-values"]
    assert told.startswith("P07, P41, P50 have the same values in all 4 columns")


@pytest.mark.parametrize(
    "frame",
    [
        labs(),
        labs(columns=2).assign(x0=5.0),  # too few columns
        labs().round(-2),  # chance
        labs(columns=4) * np.nan,
        pd.DataFrame({f"b{k}": np.arange(60) % 2 for k in range(6)}, index=labs().index),
    ],
)
def test_equal_by_chance_is_no_doubt(frame):
    assert equal_rows(frame) == []
