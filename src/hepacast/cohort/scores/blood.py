"""Fibrosis indexes (FIB-4, APRI, GPR) and blood-count indexes (NLR, PLR, LMR, PNI, SII)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hepacast.cohort.scores.base import Computed, Score, ScoreInput, quantity, register

#: Upper limits of normal used when a laboratory's own is not given, U/L.
AST_UPPER_LIMIT = 40.0
GGT_UPPER_LIMIT = 61.0


def _limit(name: str, of: str, default: float) -> ScoreInput:
    help_text = f"upper limit of normal of {of.upper()} (default {default:g} U/L)"
    return ScoreInput(name, "quantity", help_text, of, "U/L", default=default)


def _fib4(v: Mapping[str, Any]) -> Computed:
    value = v["age"] * v["ast"] / (v["platelets"] * math.sqrt(v["alt"]))
    return Computed(value, "low" if value < 1.45 else "high" if value > 3.25 else "indeterminate")


def _apri(v: Mapping[str, Any]) -> Computed:
    value = v["ast"] / v["ast_upper_limit"] / v["platelets"] * 100
    return Computed(value, "low" if value <= 0.5 else "high" if value > 1.5 else "indeterminate")


def _gpr(v: Mapping[str, Any]) -> Computed:
    value = v["ggt"] / v["ggt_upper_limit"] / v["platelets"] * 100
    return Computed(value, "high" if value > 0.32 else "low")


def _pni(v: Mapping[str, Any]) -> Computed:
    value = v["albumin"] + 5 * v["lymphocytes"]
    return Computed(value, "no malnutrition" if value >= 45 else "moderate" if value >= 40 else "severe")


def _sii(v: Mapping[str, Any]) -> Computed:
    value = v["platelets"] * v["neutrophils"] / v["lymphocytes"]
    return Computed(value, "high" if value >= 330 else "low")


def _ratio(first: str, second: str) -> Any:
    def compute(v: Mapping[str, Any]) -> Computed:
        return Computed(v[first] / v[second])

    return compute


_PLATELETS = quantity("platelets", "10^9/L")
_NEUTROPHILS = quantity("neutrophils", "10^9/L")
_LYMPHOCYTES = quantity("lymphocytes", "10^9/L")
_MONOCYTES = quantity("monocytes", "10^9/L")

register(
    Score(
        "FIB-4",
        "Fibrosis-4 index",
        "age (years) x AST (U/L) / (platelets (10^9/L) x sqrt(ALT (U/L)))",
        "Sterling RK et al., Hepatology 2006;43:1317-1325",
        (quantity("age", "years"), quantity("ast", "U/L"), quantity("alt", "U/L"), _PLATELETS),
        _fib4,
        grades="low: < 1.45, high: > 3.25",
    )
)
register(
    Score(
        "APRI",
        "AST to platelet ratio index",
        "AST / upper limit of normal / platelets (10^9/L) x 100",
        "Wai CT et al., Hepatology 2003;38:518-526",
        (quantity("ast", "U/L"), _PLATELETS, _limit("ast_upper_limit", "ast", AST_UPPER_LIMIT)),
        _apri,
        grades="low: <= 0.5, high: > 1.5",
        note="Give your laboratory's upper limit of normal; 40 U/L is taken otherwise.",
    )
)
register(
    Score(
        "GPR",
        "GGT to platelet ratio",
        "GGT / upper limit of normal / platelets (10^9/L) x 100",
        "Lemoine M et al., Gut 2016;65:1369-1376",
        (quantity("ggt", "U/L"), _PLATELETS, _limit("ggt_upper_limit", "ggt", GGT_UPPER_LIMIT)),
        _gpr,
        grades="high (significant fibrosis in chronic hepatitis B): > 0.32",
        note="Give your laboratory's upper limit of normal; 61 U/L is taken otherwise.",
    )
)
register(
    Score(
        "NLR",
        "Neutrophil to lymphocyte ratio",
        "neutrophils / lymphocytes (both 10^9/L)",
        "Halazun KJ et al., Ann Surg 2009;250:141-151",
        (_NEUTROPHILS, _LYMPHOCYTES),
        _ratio("neutrophils", "lymphocytes"),
        note="No grade: published limits differ from 2 to 5.",
    )
)
register(
    Score(
        "PLR",
        "Platelet to lymphocyte ratio",
        "platelets / lymphocytes (both 10^9/L)",
        "Templeton AJ et al., Cancer Epidemiol Biomarkers Prev 2014;23:1204-1212 (solid tumors)",
        (_PLATELETS, _LYMPHOCYTES),
        _ratio("platelets", "lymphocytes"),
        note="No grade: published limits differ.",
    )
)
register(
    Score(
        "LMR",
        "Lymphocyte to monocyte ratio",
        "lymphocytes / monocytes (both 10^9/L)",
        "Nishijima TF et al., Cancer Treat Rev 2015;41:971-978 (solid tumors)",
        (_LYMPHOCYTES, _MONOCYTES),
        _ratio("lymphocytes", "monocytes"),
        higher_is_worse=False,
        note="No grade: published limits differ.",
    )
)
register(
    Score(
        "PNI",
        "Prognostic nutritional index",
        "albumin (g/L) + 5 x lymphocytes (10^9/L); the same as 10 x albumin (g/dL) + 0.005 x lymphocytes (per mm^3)",
        "Onodera T et al., Nihon Geka Gakkai Zasshi 1984;85:1001-1005",
        (quantity("albumin", "g/L"), _LYMPHOCYTES),
        _pni,
        grades="no malnutrition: >= 45, moderate: >= 40, severe: < 40",
        higher_is_worse=False,
    )
)
register(
    Score(
        "SII",
        "Systemic immune-inflammation index",
        "platelets x neutrophils / lymphocytes (all 10^9/L)",
        "Hu B et al., Clin Cancer Res 2014;20:6212-6222",
        (_PLATELETS, _NEUTROPHILS, _LYMPHOCYTES),
        _sii,
        grades="high: >= 330",
    )
)
