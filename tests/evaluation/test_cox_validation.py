"""Bootstrap validation of a Cox model against rms, with the resamples that R drew."""

from pathlib import Path

import numpy as np
import pytest

from hepacast.evaluation.cox_validation import INDEXES, calibrate_cox, gini_mean_difference, validate_cox

CASE = "f4_nomogram_cox_pbc"


@pytest.fixture
def pbc(golden):
    reference, frame = golden(CASE)
    edema = [(frame["edema"] == level).astype(float) for level in ("treated", "present")]
    x = np.column_stack([frame["age"], np.log(frame["bili"]), frame["albumin"], *edema])
    rows = np.loadtxt(Path(__file__).parents[1] / "golden" / CASE / "boot_idx.csv", delimiter=",", dtype=int) - 1
    return reference, x, frame["years"].to_numpy(), frame["dead"].to_numpy(), rows


def test_validate_equals_rms(pbc):
    reference, x, years, dead, rows = pbc
    table = validate_cox(x, years, dead, rows)
    assert list(table.index) == list(INDEXES)
    for name in INDEXES:
        expected = reference["validate"][name]
        got = table.loc[name, ["original", "training", "test", "optimism", "corrected"]].to_numpy(float)
        wanted = [expected[k] for k in ("index.orig", "training", "test", "optimism", "index.corrected")]
        # rms stops its resampled fits early, so that they agree to 5e-5 only (README of the references).
        np.testing.assert_allclose(got, wanted, atol=5e-5, err_msg=name)
        assert table.loc[name, "n"] == expected["n"]


def test_calibrate_equals_rms(pbc):
    reference, x, years, dead, rows = pbc
    expected = reference["calibrate_km_5y"]
    table = calibrate_cox(x, years, dead, expected["u"], rows, group_size=expected["m"])
    wanted = dict(zip(expected["columns"], np.array(expected["table"]).T, strict=True))
    np.testing.assert_allclose(table["predicted"], wanted["mean.predicted"], atol=1e-8)
    np.testing.assert_allclose(table["observed"], wanted["KM"], atol=1e-10)
    np.testing.assert_allclose(table["se"], wanted["std.err"], atol=1e-10)
    # A patient whose prediction lies on a cut changes the group between programs: 5e-4.
    np.testing.assert_allclose(table["corrected"], wanted["KM.corrected"], atol=5e-4)


def test_gini_mean_difference():
    x = np.array([1.0, 4.0, 9.0, 2.0])
    pairs = np.abs(np.subtract.outer(x, x)).sum() / (4 * 3)
    np.testing.assert_allclose(gini_mean_difference(x), pairs)
