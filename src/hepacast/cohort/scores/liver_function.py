"""Liver function: Child-Pugh, ALBI and its modified grade, PALBI, MELD, MELD-Na, MELD 3.0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hepacast.cohort.scores.base import SEX, Computed, Score, ScoreInput, flag, grade_by_limits, quantity, register

ALBI_LIMITS = (-2.60, -1.39)
MALBI_LIMITS = (-2.60, -2.27, -1.39)
PALBI_LIMITS = (-2.53, -2.09)

_ASCITES = ScoreInput(
    "ascites",
    "choice",
    "ascites",
    choices={
        **{"none": 1, "no": 1, "0": 1, "absent": 1, "keine": 1, "无": 1},
        **{"mild": 2, "slight": 2, "controlled": 2, "wenig": 2, "少量": 2, "轻度": 2},
        **{"moderate": 3, "severe": 3, "refractory": 3, "viel": 3, "中量": 3, "大量": 3, "中重度": 3},
    },
    probes=(1, 2, 3),
)
_ENCEPHALOPATHY = ScoreInput(
    "encephalopathy",
    "choice",
    "hepatic encephalopathy, grade 0 to 4",
    choices={"none": 1, "no": 1, "无": 1, "0": 1, "1": 2, "2": 2, "3": 3, "4": 3, "mild": 2, "severe": 3},
    probes=(1, 2, 3),
)


def _points(value: float, low: float, high: float) -> int:
    """1 below `low`, 2 from `low` to `high`, 3 above `high`."""
    return 1 if value < low else 2 if value <= high else 3


def _child_pugh(v: Mapping[str, Any]) -> Computed:
    parts = {
        "points bilirubin": _points(v["bilirubin"], 2.0, 3.0),
        # Albumin counts the other way round: above 35 g/L is 1 point, 28 to 35 is 2, below 28 is 3.
        "points albumin": 1 if v["albumin"] > 35 else 2 if v["albumin"] >= 28 else 3,
        "points INR": _points(v["inr"], 1.7, 2.3),
        "points ascites": v["ascites"],
        "points encephalopathy": v["encephalopathy"],
    }
    total = sum(parts.values())
    return Computed(total, "A" if total <= 6 else "B" if total <= 9 else "C", parts)


def albi(bilirubin_umol_l: float, albumin_g_l: float) -> float:
    """ALBI score, ``0.66 log10(bilirubin, umol/L) - 0.085 albumin (g/L)``."""
    return 0.66 * math.log10(bilirubin_umol_l) - 0.085 * albumin_g_l


def _albi(v: Mapping[str, Any]) -> Computed:
    value = albi(v["bilirubin"], v["albumin"])
    return Computed(value, grade_by_limits(value, ALBI_LIMITS, ("1", "2", "3")))


def _malbi(v: Mapping[str, Any]) -> Computed:
    value = albi(v["bilirubin"], v["albumin"])
    return Computed(value, grade_by_limits(value, MALBI_LIMITS, ("1", "2a", "2b", "3")))


def _palbi(v: Mapping[str, Any]) -> Computed:
    bilirubin, platelets = math.log10(v["bilirubin"]), math.log10(v["platelets"])
    value = 2.02 * bilirubin - 0.37 * bilirubin**2 - 0.04 * v["albumin"] - 3.48 * platelets + 1.01 * platelets**2
    return Computed(value, grade_by_limits(value, PALBI_LIMITS, ("1", "2", "3")))


def _clamp(value: float, low: float, high: float = math.inf) -> float:
    return min(max(value, low), high)


def _round_half_up(value: float, digits: int = 0) -> float:
    """Round as the allocation rules do; Python's own rounding takes halves to the even number."""
    scale = 10**digits
    return math.floor(value * scale + 0.5 + 1e-9) / scale


def _meld_initial(v: Mapping[str, Any]) -> float:
    """MELD before rounding: values below 1 count as 1, creatinine at most 4 mg/dL and 4 on dialysis."""
    creatinine = 4.0 if v["dialysis"] else _clamp(v["creatinine"], 1.0, 4.0)
    bilirubin, inr = _clamp(v["bilirubin"], 1.0), _clamp(v["inr"], 1.0)
    return 9.57 * math.log(creatinine) + 3.78 * math.log(bilirubin) + 11.20 * math.log(inr) + 6.43


def _meld(v: Mapping[str, Any]) -> Computed:
    return Computed(_clamp(_round_half_up(_meld_initial(v)), 6, 40), parts={"before rounding": _meld_initial(v)})


def _meld_na(v: Mapping[str, Any]) -> Computed:
    initial = _round_half_up(_meld_initial(v))
    sodium = _clamp(v["sodium"], 125, 137)
    value = initial
    if initial > 11:
        value = initial + 1.32 * (137 - sodium) - 0.033 * initial * (137 - sodium)
    return Computed(_clamp(_round_half_up(value), 6, 40), parts={"MELD": initial, "before rounding": value})


def _meld_3(v: Mapping[str, Any]) -> Computed:
    creatinine = 3.0 if v["dialysis"] else _clamp(v["creatinine"], 1.0, 3.0)
    bilirubin, inr = _clamp(v["bilirubin"], 1.0), _clamp(v["inr"], 1.0)
    sodium, albumin = 137 - _clamp(v["sodium"], 125, 137), 3.5 - _clamp(v["albumin"], 1.5, 3.5)
    value = (
        (1.33 if v["sex"] == "female" else 0.0)
        + 4.56 * math.log(bilirubin)
        + 0.82 * sodium
        - 0.24 * sodium * math.log(bilirubin)
        + 9.09 * math.log(inr)
        + 11.14 * math.log(creatinine)
        + 1.85 * albumin
        - 1.83 * albumin * math.log(creatinine)
        + 6
    )
    return Computed(_clamp(_round_half_up(value), 6, 40), parts={"before rounding": value})


_DIALYSIS = flag("dialysis", "two or more dialyses within the week before", default=False)

register(
    Score(
        "Child-Pugh",
        "Child-Pugh score and class",
        "1 to 3 points each for bilirubin (< 2, 2-3, > 3 mg/dL), albumin (> 35, 28-35, < 28 g/L), INR (< 1.7, "
        "1.7-2.3, > 2.3), ascites (none, mild, moderate to severe), encephalopathy (none, grade 1-2, grade 3-4)",
        "Pugh RN et al., Br J Surg 1973;60:646-649; INR limits as in EASL guidelines (J Hepatol 2018;69:182-236)",
        (quantity("bilirubin", "mg/dL"), quantity("albumin", "g/L"), quantity("inr", ""), _ASCITES, _ENCEPHALOPATHY),
        _child_pugh,
        grades="A: 5-6, B: 7-9, C: 10-15 points",
        note="For primary biliary cholangitis other bilirubin limits are in use; they are not applied.",
    )
)
register(
    Score(
        "ALBI",
        "Albumin-bilirubin score and grade",
        "0.66 log10(bilirubin, umol/L) - 0.085 albumin (g/L)",
        "Johnson PJ et al., J Clin Oncol 2015;33:550-558",
        (quantity("bilirubin", "umol/L"), quantity("albumin", "g/L")),
        _albi,
        grades="1: <= -2.60, 2: <= -1.39, 3: > -1.39",
    )
)
register(
    Score(
        "mALBI",
        "Modified ALBI grade",
        "ALBI score with grade 2 divided at -2.27",
        "Hiraoka A et al., Liver Cancer 2017;6:325-336",
        (quantity("bilirubin", "umol/L"), quantity("albumin", "g/L")),
        _malbi,
        grades="1: <= -2.60, 2a: <= -2.27, 2b: <= -1.39, 3: > -1.39",
    )
)
register(
    Score(
        "PALBI",
        "Platelet-albumin-bilirubin score and grade",
        "2.02 log10(bilirubin, umol/L) - 0.37 log10(bilirubin)^2 - 0.04 albumin (g/L) - 3.48 log10(platelets, 10^9/L) "
        "+ 1.01 log10(platelets)^2",
        "Roayaie S et al., Hepatology 2015;62:631A-632A",
        (quantity("bilirubin", "umol/L"), quantity("albumin", "g/L"), quantity("platelets", "10^9/L")),
        _palbi,
        grades="1: <= -2.53, 2: <= -2.09, 3: > -2.09",
    )
)
_MELD_INPUTS = (quantity("bilirubin", "mg/dL"), quantity("creatinine", "mg/dL"), quantity("inr", ""))
register(
    Score(
        "MELD",
        "Model for end-stage liver disease",
        "9.57 ln(creatinine, mg/dL) + 3.78 ln(bilirubin, mg/dL) + 11.20 ln(INR) + 6.43, values below 1 taken as 1, "
        "creatinine at most 4 (4 on dialysis); rounded, 6 to 40",
        "Kamath PS et al., Hepatology 2001;33:464-470, with the limits of the UNOS allocation",
        (*_MELD_INPUTS, _DIALYSIS),
        _meld,
    )
)
register(
    Score(
        "MELD-Na",
        "MELD with sodium",
        "MELD + 1.32 (137 - Na) - 0.033 MELD (137 - Na) where MELD is above 11, Na from 125 to 137 mmol/L; rounded, "
        "6 to 40",
        "OPTN policy of January 2016 (after Kim WR et al., N Engl J Med 2008;359:1018-1026)",
        (*_MELD_INPUTS, quantity("sodium", "mmol/L"), _DIALYSIS),
        _meld_na,
    )
)
register(
    Score(
        "MELD 3.0",
        "MELD 3.0",
        "1.33 (female) + 4.56 ln(bilirubin) + 0.82 (137 - Na) - 0.24 (137 - Na) ln(bilirubin) + 9.09 ln(INR) + "
        "11.14 ln(creatinine) + 1.85 (3.5 - albumin) - 1.83 (3.5 - albumin) ln(creatinine) + 6; bilirubin, INR and "
        "creatinine at least 1 (mg/dL), creatinine at most 3, Na 125-137 mmol/L, albumin 1.5-3.5 g/dL; rounded, 6-40",
        "Kim WR et al., Gastroenterology 2021;161:1887-1895",
        (*_MELD_INPUTS, quantity("sodium", "mmol/L"), quantity("albumin", "g/dL"), SEX, _DIALYSIS),
        _meld_3,
    )
)
