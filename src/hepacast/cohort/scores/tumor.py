"""Tumor burden and treatment scores: HAP, mHAP-II, six-and-twelve, up-to-seven, ART, ABCR, ERASL-pre."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hepacast.cohort.scores.base import (
    SEX,
    Computed,
    Score,
    ScoreInput,
    count,
    flag,
    grade_by_limits,
    quantity,
    register,
)
from hepacast.cohort.scores.liver_function import ALBI_LIMITS, albi
from hepacast.errors import TableError

ERASL_LIMITS = (2.558, 3.521)

_DIAMETER = quantity("tumor_diameter", "cm", help="diameter of the largest tumor")
_NUMBER = count("tumor_number", "number of tumors", 1, 100)
_BILIRUBIN = quantity("bilirubin", "umol/L")
_ALBUMIN = quantity("albumin", "g/L")
_AFP = quantity("afp", "ng/mL")


def _hap_points(v: Mapping[str, Any]) -> dict[str, int]:
    return {
        "points albumin": int(v["albumin"] < 36),
        "points bilirubin": int(v["bilirubin"] > 17),
        "points AFP": int(v["afp"] > 400),
        "points diameter": int(v["tumor_diameter"] > 7),
    }


def _hap_grade(total: int) -> str:
    return "ABCD"[min(total, 3)]


def _hap(v: Mapping[str, Any]) -> Computed:
    parts = _hap_points(v)
    total = sum(parts.values())
    return Computed(total, _hap_grade(total), parts)


def _mhap2(v: Mapping[str, Any]) -> Computed:
    parts = {**_hap_points(v), "points number": int(v["tumor_number"] >= 2)}
    total = sum(parts.values())
    return Computed(total, _hap_grade(total), parts)


def _six_and_twelve(v: Mapping[str, Any]) -> Computed:
    total = v["tumor_diameter"] + v["tumor_number"]
    return Computed(total, grade_by_limits(total, (6, 12), ("1 (low)", "2 (intermediate)", "3 (high)")))


def _up_to_seven(v: Mapping[str, Any]) -> Computed:
    total = v["tumor_diameter"] + v["tumor_number"]
    within = total <= 7 and not v["vascular_invasion"]
    return Computed(total, "within" if within else "beyond")


def _art(v: Mapping[str, Any]) -> Computed:
    rise = v["child_pugh_after"] - v["child_pugh_before"]
    parts = {
        "points AST": 4.0 if v["ast_after"] > 1.25 * v["ast_before"] else 0.0,
        "points Child-Pugh": 3.0 if rise >= 2 else 1.5 if rise == 1 else 0.0,
        "points response": 0.0 if v["response"] else 1.0,
    }
    total = sum(parts.values())
    return Computed(total, "0-1.5" if total <= 1.5 else ">= 2.5", parts)


def _abcr(v: Mapping[str, Any]) -> Computed:
    parts = {
        "points AFP": 1 if v["afp"] >= 200 else 0,
        "points BCLC": v["bclc"],
        "points Child-Pugh": 2 if v["child_pugh_after"] - v["child_pugh_before"] >= 2 else 0,
        "points response": -3 if v["response"] else 0,
    }
    total = sum(parts.values())
    return Computed(total, "<= 0" if total <= 0 else "1-3" if total <= 3 else ">= 4", parts)


def _erasl_pre(v: Mapping[str, Any]) -> Computed:
    if v["afp"] <= 0:
        raise TableError(
            "ERASL-pre takes the logarithm of AFP, which does not exist for 0.",
            remedy="give half the limit of detection for a value below it",
        )
    number = v["tumor_number"]
    parts = {
        "sex": 0.818 * (v["sex"] == "male"),
        "ALBI grade": 0.447 * (albi(v["bilirubin"], v["albumin"]) > ALBI_LIMITS[0]),
        "AFP": 0.100 * math.log(v["afp"]),
        "diameter": 0.580 * math.log(v["tumor_diameter"]),
        "number": 0.492 * (0 if number <= 1 else 1 if number <= 3 else 2),
    }
    total = sum(parts.values())
    return Computed(total, grade_by_limits(total, ERASL_LIMITS, ("low", "intermediate", "high")), parts)


_BEFORE = count("child_pugh_before", "Child-Pugh points before the first TACE", 5, 15)
_AFTER = count("child_pugh_after", "Child-Pugh points before the second TACE", 5, 15)
_RESPONSE = flag("response", "radiological response to the first TACE")

register(
    Score(
        "HAP",
        "Hepatoma arterial-embolization prognostic score",
        "one point each: albumin < 36 g/L, bilirubin > 17 umol/L, AFP > 400 ng/mL, largest tumor > 7 cm",
        "Kadalayil L et al., Ann Oncol 2013;24:2565-2570",
        (_ALBUMIN, _BILIRUBIN, _AFP, _DIAMETER),
        _hap,
        grades="A: 0, B: 1, C: 2, D: 3-4 points",
    )
)
register(
    Score(
        "mHAP-II",
        "Modified HAP-II score",
        "HAP with one more point for two or more tumors",
        "Park Y et al., Dig Liver Dis 2016;48:731-737",
        (_ALBUMIN, _BILIRUBIN, _AFP, _DIAMETER, _NUMBER),
        _mhap2,
        grades="A: 0, B: 1, C: 2, D: 3-5 points",
    )
)
register(
    Score(
        "six-and-twelve",
        "Six-and-twelve score",
        "diameter of the largest tumor (cm) + number of tumors",
        "Wang Q et al., J Hepatol 2019;70:893-903",
        (_DIAMETER, _NUMBER),
        _six_and_twelve,
        grades="1: <= 6, 2: <= 12, 3: > 12",
    )
)
register(
    Score(
        "up-to-seven",
        "Up-to-seven criterion",
        "diameter of the largest tumor (cm) + number of tumors, at most 7 and no vascular invasion",
        "Mazzaferro V et al., Lancet Oncol 2009;10:35-43",
        (_DIAMETER, _NUMBER, flag("vascular_invasion", "vascular invasion", default=False)),
        _up_to_seven,
        grades="within: <= 7, beyond: > 7 or vascular invasion",
    )
)
register(
    Score(
        "ART",
        "Assessment for retreatment with TACE",
        "AST risen by more than 25 %: 4 points; Child-Pugh risen by 1 point: 1.5, by 2 or more: 3; no radiological "
        "response: 1",
        "Sieghart W et al., Hepatology 2013;57:2261-2273",
        (
            quantity("ast_before", "U/L", of="ast", help="AST before the first TACE"),
            quantity("ast_after", "U/L", of="ast", help="AST before the second TACE"),
            _BEFORE,
            _AFTER,
            _RESPONSE,
        ),
        _art,
        grades="0-1.5: second TACE of benefit, >= 2.5: not",
    )
)
register(
    Score(
        "ABCR",
        "AFP, BCLC, Child-Pugh and response score",
        "AFP >= 200 ng/mL: 1 point; BCLC A 0, B 2, C 3; Child-Pugh risen by 2 or more: 2; radiological response: -3",
        "Adhoute X et al., J Hepatol 2015;62:855-862",
        (
            _AFP,
            ScoreInput("bclc", "choice", "BCLC stage before the first TACE", choices={"0": 0, "A": 0, "B": 2, "C": 3}),
            _BEFORE,
            _AFTER,
            _RESPONSE,
        ),
        _abcr,
        grades="<= 0, 1-3, >= 4",
        note="BCLC 0 is counted as A; the score is not defined for stage D.",
    )
)
register(
    Score(
        "ERASL-pre",
        "Early recurrence after surgery for liver tumor, preoperative model",
        "0.818 (male) + 0.447 (ALBI grade 2 or 3) + 0.100 ln(AFP, ug/L) + 0.580 ln(largest tumor, cm) + 0.492 x number "
        "(0: one, 1: two or three, 2: four or more)",
        "Chan AWH et al., J Hepatol 2018;69:1284-1293",
        (SEX, _BILIRUBIN, _ALBUMIN, _AFP, _DIAMETER, _NUMBER),
        _erasl_pre,
        grades="low: <= 2.558, intermediate: <= 3.521, high: > 3.521",
        note="An AFP below the limit of detection is given as half that limit; 0 has no logarithm.",
    )
)
