"""`hepacast score`: one patient, and a table."""

from __future__ import annotations

import numpy as np
import pandas as pd


def test_a_score_of_one_patient(hepacast, numbers):
    code, out, err = hepacast("score", "ALBI", "--bilirubin", "20 umol/L", "--albumin", "3.8 g/dL")
    assert code == 0, err
    # Johnson 2015: 0.66 log10(20) - 0.085 x 38 = -2.371, grade 2.
    for words in (
        "Value: \N{MINUS SIGN}2.371",
        "Grade: 2",
        "0.66 log10(bilirubin, umol/L) - 0.085 albumin (g/L)",
        "2015;33:550",
    ):
        assert words in out
    assert hepacast("score", "albi", "bilirubin=20 umol/L", "--albumin=38 g/L")[1] == out.replace("3.8 g/dL", "38 g/L")
    found = numbers("score", "MELD", "--bilirubin", "1 mg/dL", "--creatinine", "1 mg/dL", "--inr", "1", "--dialysis")
    # Dialysis sets creatinine to 4 mg/dL: 9.57 ln 4 + 6.43 = 19.7.
    assert found["value"] == 20.0


def test_score_errors(hepacast):
    for words, message in (
        (("ALBY",), "did you mean 'ALBI'"),
        (("ALBI", "--bilirubin", "20", "--albumin", "38 g/L"), "unit"),
        (("ALBI", "--albumine", "38 g/L"), "did you mean 'albumin'"),
        (("ALBI", "--albumin", "38 g/L"), "bilirubin"),
        (("ALBI", "38 g/L"), "belongs to no input"),
        (("ALBI", "--albumin", "38 g/L", "albumin=30 g/L"), "twice"),
        ((), "Name a score"),
    ):
        code, _, err = hepacast("score", *words)
        assert code == 2
        assert message in err


def test_a_score_explains_itself_and_all_are_listed(hepacast):
    code, out, _ = hepacast("score", "Child-Pugh")
    assert code == 0 and "encephalopathy" in out and "Source: Pugh" in out
    code, out, _ = hepacast("score", "--list")
    assert code == 0 and out.count("\n") > 25


def test_scores_as_columns(hepacast, numbers, table, tmp_path):
    path = table(
        {
            "Patient": ["P1", "P2", "P3"], "Bilirubin (umol/L)": [20, None, 60], "ALB (g/L)": [38, 35, 28],
            "code": ["007", "x", None],
        }
    )  # fmt: skip
    for kind, read in (("csv", pd.read_csv), ("xlsx", pd.read_excel), ("parquet", pd.read_parquet)):
        code, out, err = hepacast("score", "ALBI", path, "-o", tmp_path / f"out.{kind}")
        assert code == 0, err
        assert "2 of 3 patients" in out and "missing: bilirubin" in out
        written = read(tmp_path / f"out.{kind}")
        np.testing.assert_allclose(written["ALBI"], [-2.3713202, np.nan, -1.2064202], rtol=1e-6)
        assert list(written["ALB (g/L)"]) == [38, 35, 28] and written["code"][0] == "007"
    assert numbers("score", "ALBI", path)["patients"][1]["ALBI"] is None
    code, _, err = hepacast("score", "ALBI", table({"x": [1], "y": [2]}, "no.csv"))
    assert code == 2 and "--id" in err
    code, _, err = hepacast("score", "ALBI", path, "-o", tmp_path / "out.doc")
    assert code == 2 and ".xlsx" in err
