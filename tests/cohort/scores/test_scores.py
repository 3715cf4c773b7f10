"""Worked cases of every index, calculated by hand from the published formulas (the steps stand beside them)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepacast.cohort.scores import SCORES, compute_score, get_score, possible_grades
from hepacast.errors import StudyFileError, TableError

E1, E2 = f"{math.e:.10f}", f"{math.e**2:.10f}"

# Each case: score, inputs, value, grade.
FORMULAS = [
    # ALBI: 0.66 x 1 - 0.085 x 40 = -2.74; 0.66 x 2 - 2.55 = -1.23; 0.66 x 1.30103 - 3.23 = -2.37132
    ("ALBI", {"bilirubin": "10 umol/L", "albumin": "40 g/L"}, -2.74, "1"),
    ("ALBI", {"bilirubin": "100 umol/L", "albumin": "30 g/L"}, -1.23, "3"),
    ("ALBI", {"bilirubin": "20 umol/L", "albumin": "3.8 g/dL"}, -2.37132, "2"),
    # mALBI: 0.66 - 2.89 = -2.23 is above -2.27
    ("mALBI", {"bilirubin": "10 umol/L", "albumin": "40 g/L"}, -2.74, "1"),
    ("mALBI", {"bilirubin": "20 umol/L", "albumin": "38 g/L"}, -2.37132, "2a"),
    ("mALBI", {"bilirubin": "10 umol/L", "albumin": "34 g/L"}, -2.23, "2b"),
    ("mALBI", {"bilirubin": "100 umol/L", "albumin": "30 g/L"}, -1.23, "3"),
    # PALBI, log10 of 10, 31.6228, 100: 1, 1.5, 2: 2.02 - .37 - 1.6 - 6.96 + 4.04 = -2.87
    ("PALBI", {"bilirubin": "10 umol/L", "albumin": "40 g/L", "platelets": "100 10^9/L"}, -2.87, "1"),
    # 3.03 - 0.8325 - 1.6 - 6.96 + 4.04 = -2.3225
    ("PALBI", {"bilirubin": "31.6227766 umol/L", "albumin": "40 g/L", "platelets": "100 10^9/L"}, -2.3225, "2"),
    # 4.04 - 1.48 - 1.2 - 6.96 + 4.04 = -1.56
    ("PALBI", {"bilirubin": "100 umol/L", "albumin": "30 g/L", "platelets": "100 10^9/L"}, -1.56, "3"),
    # MELD: 6.43 -> 6; 9.57 + 6.43 = 16; 2 x 3.78 + 6.43 = 13.99; 11.2 + 6.43 = 17.63
    ("MELD", {"bilirubin": "0.5 mg/dL", "creatinine": "0.6 mg/dL", "inr": "0.9"}, 6, ""),
    ("MELD", {"bilirubin": "1 mg/dL", "creatinine": f"{E1} mg/dL", "inr": "1"}, 16, ""),
    ("MELD", {"bilirubin": f"{E2} mg/dL", "creatinine": "1 mg/dL", "inr": "1"}, 14, ""),
    ("MELD", {"bilirubin": "1 mg/dL", "creatinine": "1 mg/dL", "inr": E1}, 18, ""),
    # 9.57 x .641854 + 3.78 x 1.098612 + 11.2 x .587787 + 6.43 = 6.1425 + 4.1528 + 6.5832 + 6.43 = 23.3085
    ("MELD", {"bilirubin": "3.0 mg/dL", "creatinine": "1.9 mg/dL", "inr": "1.8"}, 23, ""),
    # creatinine 4 on dialysis: 9.57 x 1.386294 + 6.43 = 19.697
    ("MELD", {"bilirubin": "1 mg/dL", "creatinine": "1 mg/dL", "inr": "1", "dialysis": "yes"}, 20, ""),
    # MELD-Na: 23 + 1.32 x 7 - 0.033 x 23 x 7 = 23 + 9.24 - 5.313 = 26.927; 137 and above change nothing
    ("MELD-Na", {"bilirubin": "3 mg/dL", "creatinine": "1.9 mg/dL", "inr": "1.8", "sodium": "130 mmol/L"}, 27, ""),
    ("MELD-Na", {"bilirubin": "3 mg/dL", "creatinine": "1.9 mg/dL", "inr": "1.8", "sodium": "141 mmol/L"}, 23, ""),
    # Na 120 counts as 125: 23 + 15.84 - 9.108 = 29.732
    ("MELD-Na", {"bilirubin": "3 mg/dL", "creatinine": "1.9 mg/dL", "inr": "1.8", "sodium": "120 mmol/L"}, 30, ""),
    # MELD of 6 stays whatever the sodium
    ("MELD-Na", {"bilirubin": "1 mg/dL", "creatinine": "1 mg/dL", "inr": "1", "sodium": "125 mmol/L"}, 6, ""),
]

_M3 = {"bilirubin": "1 mg/dL", "creatinine": "1 mg/dL", "inr": "1", "sodium": "137 mmol/L", "albumin": "3.5 g/dL"}
FORMULAS += [
    # MELD 3.0: 6 for a man, 7.33 for a woman with nothing else
    ("MELD 3.0", {**_M3, "sex": "male"}, 6, ""),
    ("MELD 3.0", {**_M3, "sex": "female"}, 7, ""),
    # ln bilirubin 1, sodium 10 below: 4.56 + 8.2 - 2.4 + 6 = 16.36
    ("MELD 3.0", {**_M3, "bilirubin": f"{E1} mg/dL", "sodium": "127 mmol/L", "sex": "M"}, 16, ""),
    # ln creatinine 1, albumin 1 below: 11.14 + 1.85 - 1.83 + 6 = 17.16
    ("MELD 3.0", {**_M3, "creatinine": f"{E1} mg/dL", "albumin": "25 g/L", "sex": "男"}, 17, ""),
    # creatinine at most 3: 11.14 x 1.098612 + 6 = 18.2385
    ("MELD 3.0", {**_M3, "creatinine": "5 mg/dL", "sex": "m"}, 18, ""),
    # FIB-4: 50 x 64 / (100 x 8) = 4; 40 x 36 / (200 x 6) = 1.2; 60 x 45 / (216 x 5) = 2.5
    ("FIB-4", {"age": 50, "ast": "64 U/L", "alt": "64 U/L", "platelets": "100 10^9/L"}, 4.0, "high"),
    ("FIB-4", {"age": "40", "ast": "36 U/L", "alt": "36 U/L", "platelets": "200 10^9/L"}, 1.2, "low"),
    ("FIB-4", {"age": 60, "ast": "45 U/L", "alt": "25 U/L", "platelets": "216 10^9/L"}, 2.5, "indeterminate"),
    # APRI: 80/40/100 x 100 = 2; 40/40/200 x 100 = 0.5; 60/40/150 x 100 = 1; own limit 70/35/100 x 100 = 2
    ("APRI", {"ast": "80 U/L", "platelets": "100 10^9/L"}, 2.0, "high"),
    ("APRI", {"ast": "40 U/L", "platelets": "200 10^9/L"}, 0.5, "low"),
    ("APRI", {"ast": "60 U/L", "platelets": "150 10^9/L"}, 1.0, "indeterminate"),
    ("APRI", {"ast": "70 U/L", "platelets": "100 10^9/L", "ast_upper_limit": "35 U/L"}, 2.0, "high"),
    # GPR: 122/61/200 x 100 = 1; 61/61/250 x 100 = 0.4; 30.5/61/250 x 100 = 0.2
    ("GPR", {"ggt": "122 U/L", "platelets": "200 10^9/L"}, 1.0, "high"),
    ("GPR", {"ggt": "61 U/L", "platelets": "250 10^9/L"}, 0.4, "high"),
    ("GPR", {"ggt": "30.5 U/L", "platelets": "250 10^9/L"}, 0.2, "low"),
    ("NLR", {"neutrophils": "4 10^9/L", "lymphocytes": "2 10^9/L"}, 2.0, ""),
    ("NLR", {"neutrophils": "6 10^9/L", "lymphocytes": "0.8 10^9/L"}, 7.5, ""),
    ("NLR", {"neutrophils": "3000 /uL", "lymphocytes": "1.5 10^9/L"}, 2.0, ""),
    ("PLR", {"platelets": "150 10^9/L", "lymphocytes": "1.5 10^9/L"}, 100.0, ""),
    ("PLR", {"platelets": "240 10^9/L", "lymphocytes": "0.8 10^9/L"}, 300.0, ""),
    ("PLR", {"platelets": "90000 /uL", "lymphocytes": "2 10^9/L"}, 45.0, ""),
    ("LMR", {"lymphocytes": "1.5 10^9/L", "monocytes": "0.5 10^9/L"}, 3.0, ""),
    ("LMR", {"lymphocytes": "0.9 10^9/L", "monocytes": "0.6 10^9/L"}, 1.5, ""),
    ("LMR", {"lymphocytes": "2 10^9/L", "monocytes": "400 /uL"}, 5.0, ""),
    # PNI: 40 + 7.5; 35 + 5; 28 + 4
    ("PNI", {"albumin": "40 g/L", "lymphocytes": "1.5 10^9/L"}, 47.5, "no malnutrition"),
    ("PNI", {"albumin": "3.5 g/dL", "lymphocytes": "1000 /mm^3"}, 40.0, "moderate"),
    ("PNI", {"albumin": "28 g/L", "lymphocytes": "0.8 10^9/L"}, 32.0, "severe"),
    # SII: 200 x 4 / 2; 100 x 3 / 1.5; 165 x 4 / 2
    ("SII", {"platelets": "200 10^9/L", "neutrophils": "4 10^9/L", "lymphocytes": "2 10^9/L"}, 400.0, "high"),
    ("SII", {"platelets": "100 10^9/L", "neutrophils": "3 10^9/L", "lymphocytes": "1.5 10^9/L"}, 200.0, "low"),
    ("SII", {"platelets": "165 10^9/L", "neutrophils": "4 10^9/L", "lymphocytes": "2 10^9/L"}, 330.0, "high"),
]


def _cp(bilirubin, albumin, inr, ascites, encephalopathy):
    return {
        "bilirubin": bilirubin, "albumin": albumin, "inr": inr, "ascites": ascites, "encephalopathy": encephalopathy,
    }  # fmt: skip


def _hap(albumin, bilirubin, afp, diameter, **more):
    return {
        "albumin": f"{albumin} g/L", "bilirubin": f"{bilirubin} umol/L", "afp": f"{afp} ng/mL",
        "tumor_diameter": f"{diameter} cm", **more,
    }  # fmt: skip


def _art(ast_before, ast_after, before, after, response):
    return {
        "ast_before": f"{ast_before} U/L", "ast_after": f"{ast_after} U/L", "child_pugh_before": before,
        "child_pugh_after": after, "response": response,
    }  # fmt: skip


def _abcr(afp, bclc, before, after, response):
    return {
        "afp": f"{afp} ng/mL", "bclc": bclc, "child_pugh_before": before, "child_pugh_after": after,
        "response": response,
    }  # fmt: skip


def _size(diameter, number, **more):
    return {"tumor_diameter": f"{diameter} cm", "tumor_number": number, **more}


_LIVER = {"bilirubin": "10 umol/L"}
POINTS = [
    # Child-Pugh: all at 1; 2 + 2 + 1 + 2 + 1; all at 3; and the limits themselves
    ("Child-Pugh", _cp("1.0 mg/dL", "40 g/L", "1.1", "none", "none"), 5, "A"),
    ("Child-Pugh", _cp("2.5 mg/dL", "30 g/L", "1.2", "mild", "0"), 8, "B"),
    ("Child-Pugh", _cp("80 umol/L", "25 g/L", "2.5", "severe", "3"), 15, "C"),
    ("Child-Pugh", _cp("2.0 mg/dL", "3.5 g/dL", "1.7", "none", "none"), 8, "B"),
    ("Child-Pugh", _cp("3.0 mg/dL", "2.8 g/dL", "2.3", "moderate", "1"), 11, "C"),
    ("HAP", _hap(40, 10, 20, 5), 0, "A"),
    ("HAP", _hap(36, 17, 400, 7), 0, "A"),
    ("HAP", _hap(35, 10, 20, 5), 1, "B"),
    ("HAP", _hap(35, 18, 20, 5), 2, "C"),
    ("HAP", _hap(35, 18, 500, 8), 4, "D"),
    ("mHAP-II", _hap(40, 10, 20, 5, tumor_number=1), 0, "A"),
    ("mHAP-II", _hap(40, 10, 20, 5, tumor_number=2), 1, "B"),
    ("mHAP-II", _hap(35, 10, 20, 5, tumor_number=3), 2, "C"),
    ("mHAP-II", _hap(35, 18, 500, 8, tumor_number=2), 5, "D"),
    ("six-and-twelve", _size(5, 1), 6, "1 (low)"),
    ("six-and-twelve", _size(5.5, 1), 6.5, "2 (intermediate)"),
    ("six-and-twelve", _size(9, 3), 12, "2 (intermediate)"),
    ("six-and-twelve", _size(11, 2), 13, "3 (high)"),
    ("up-to-seven", _size(6, 1), 7, "within"),
    ("up-to-seven", {"tumor_diameter": "61 mm", "tumor_number": 1}, 7.1, "beyond"),
    ("up-to-seven", _size(4, 2, vascular_invasion="yes"), 6, "beyond"),
    # ART: nothing; AST +25 % exactly counts as not risen; 4 + 1.5 + 1; 3 alone
    ("ART", _art(40, 45, 5, 5, "yes"), 0, "0-1.5"),
    ("ART", _art(40, 50, 5, 6, "yes"), 1.5, "0-1.5"),
    ("ART", _art(40, 51, 5, 6, "no"), 6.5, ">= 2.5"),
    ("ART", _art(40, 40, 5, 7, "yes"), 3, ">= 2.5"),
    # ABCR: 0 + 0 + 0 - 3; 1 + 2 + 0 + 0; 1 + 3 + 2 + 0
    ("ABCR", _abcr(20, "A", 5, 5, "yes"), -3, "<= 0"),
    ("ABCR", _abcr(200, "B", 5, 6, "no"), 3, "1-3"),
    ("ABCR", _abcr(5000, "C", 5, 7, "no"), 6, ">= 4"),
    # ERASL-pre: 0; .818 + .447 + .1 x 5 + .58 x 1 + .492 = 2.837; .818 + .447 + 1 + 1.16 + .984 = 4.409
    ("ERASL-pre", _LIVER | {"sex": "F", "albumin": "45 g/L", "afp": "1 ng/mL"} | _size(1, 1), 0.0, "low"),
    (
        "ERASL-pre",
        _LIVER | {"sex": "M", "albumin": "38 g/L", "afp": f"{math.exp(5):.9f} ng/mL"} | _size(E1, 2),
        2.837,
        "intermediate",
    ),
    (
        "ERASL-pre",
        _LIVER | {"sex": "M", "albumin": "38 g/L", "afp": f"{math.exp(10):.7f} ng/mL"} | _size(E2, 4),
        4.409,
        "high",
    ),
]


@pytest.mark.parametrize(("name", "values", "value", "grade"), FORMULAS + POINTS)
def test_worked_cases(name, values, value, grade):
    result = compute_score(name, values)
    assert result.value == pytest.approx(value, abs=5e-6)
    assert result.grade == grade
    assert result.source and result.formula


def test_every_index_has_at_least_three_worked_cases():
    staged = {"BCLC", "CNLC", "AJCC TNM 8", "HKLC", "CLIP", "Okuda", "JIS", "LI-RADS"}  # in files of their own
    counts = {name: sum(case[0] == name for case in FORMULAS + POINTS) for name in SCORES if name not in staged}
    assert min(counts.values()) >= 3, counts


def test_units_do_not_matter():
    first = compute_score("ALBI", {"bilirubin": "1.2 mg/dL", "albumin": "3.8 g/dL"})
    second = compute_score("ALBI", {"bilirubin": "20.52 umol/L", "albumin": "38 g/L"})
    assert first.value == pytest.approx(second.value, abs=1e-12)


@given(st.floats(5, 500), st.floats(15, 55))
def test_albi_rises_with_bilirubin_and_falls_with_albumin(bilirubin, albumin):
    base = compute_score("ALBI", {"bilirubin": f"{bilirubin} umol/L", "albumin": f"{albumin} g/L"}).value
    more = compute_score("ALBI", {"bilirubin": f"{bilirubin * 1.1} umol/L", "albumin": f"{albumin} g/L"}).value
    less = compute_score("ALBI", {"bilirubin": f"{bilirubin} umol/L", "albumin": f"{albumin * 0.9} g/L"}).value
    assert more > base
    assert less > base


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bilirubin": "20 umol/L"}, "needs more inputs"),
        ({"bilirubin": "20", "albumin": "38 g/L"}, "needs its unit"),
        ({"bilirubin": "<3 umol/L", "albumin": "38 g/L"}, "given as a limit"),
        ({"bilirubin": "20 umol/L", "albumin": "3.8 g/L"}, "looks like g/dL"),
        ({"bilirubin": "1.2 umol/L", "albumin": "38 g/L"}, "looks like mg/dL"),
        ({"bilirubin": "x umol/L", "albumin": "38 g/L"}, "not a value"),
    ],
)
def test_bad_values_are_refused(values, words):
    with pytest.raises(TableError, match=words):
        compute_score("ALBI", values)


def test_unknown_names_give_the_nearest():
    with pytest.raises(StudyFileError, match="did you mean 'bilirubin'"):
        compute_score("ALBI", {"bilirubine": "20 umol/L"})
    with pytest.raises(StudyFileError, match="did you mean 'PALBI'"):
        get_score("PALBY")
    assert get_score("meld na").name == "MELD-Na"
    assert get_score("meld_3_0").name == "MELD 3.0"


def test_erasl_refuses_an_afp_of_zero():
    with pytest.raises(TableError, match="logarithm of AFP"):
        compute_score("ERASL-pre", _LIVER | {"sex": "F", "albumin": "45 g/L", "afp": "0 ng/mL"} | _size(1, 1))


@pytest.mark.parametrize("name", list(SCORES))
def test_every_score_is_described(name):
    score = SCORES[name]
    assert score.title and score.formula and len(score.source) > 20
    assert len({item.name for item in score.inputs}) == len(score.inputs)


def test_continuous_scores_cannot_be_bounded():
    with pytest.raises(TableError, match="cannot be bounded without albumin"):
        possible_grades("ALBI", {"bilirubin": "20 umol/L"})
