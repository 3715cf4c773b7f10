from __future__ import annotations

import numpy as np
import pandas as pd

from hepacast.cohort import ColumnSpec
from hepacast.cohort.columns import numeric_columns


def test_a_column_as_numbers() -> None:
    stage = ColumnSpec("stage", kind="categorical", levels={"A": ("A",), "B": ("B",), "C": ("C",)})
    made = numeric_columns(pd.Series(["A", "C", None, "B"]), stage)
    assert list(made) == ["stage: B", "stage: C"]
    np.testing.assert_array_equal(made.to_numpy(), [[0, 0], [0, 1], [np.nan, np.nan], [1, 0]])
    alb = ColumnSpec("alb", kind="numeric", unit="g/L")
    np.testing.assert_array_equal(numeric_columns(pd.Series([38.0, None]), alb)["alb"], [38.0, np.nan])
