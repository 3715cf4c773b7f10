"""Staging systems by points: CLIP, Okuda, JIS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hepacast.cohort.scores.base import CHILD_PUGH_CLASS, Computed, Score, ScoreInput, flag, quantity, register
from hepacast.cohort.scores.staging import DIAMETER, NUMBER

_MORPHOLOGY = ScoreInput(
    "morphology",
    "choice",
    "tumor morphology",
    choices={
        **{"uninodular": 0, "unifocal": 0, "single": 0, "multinodular": 1, "multifocal": 1, "multiple": 1},
        **{"massive": 2, "diffuse": 2},
    },
    probes=(0, 1, 2),
)
_ASCITES = ScoreInput(
    "ascites",
    "choice",
    "ascites: no, or yes whatever its grade",
    choices={
        **dict.fromkeys(("no", "none", "absent", "0", "false", "keine", "无"), 0),
        **dict.fromkeys(
            ("yes", "mild", "slight", "controlled", "moderate", "severe", "refractory", "1", "2", "3", "true", "有"), 1
        ),
    },
    probes=(0, 1),
)
_HALF = flag("more_than_half", "tumor in more than half of the liver")


def _clip(v: Mapping[str, Any]) -> Computed:
    parts = {
        "points Child-Pugh": "ABC".index(v["child_pugh"]),
        "points morphology": 2 if v["more_than_half"] else v["morphology"],
        "points AFP": int(v["afp"] >= 400),
        "points portal vein": int(v["portal_vein_thrombosis"]),
    }
    total = sum(parts.values())
    return Computed(total, str(total), parts)


def _okuda(v: Mapping[str, Any]) -> Computed:
    parts = {
        "points tumor": int(v["more_than_half"]),
        "points ascites": int(v["ascites"]),
        "points albumin": int(v["albumin"] < 3.0),
        "points bilirubin": int(v["bilirubin"] > 3.0),
    }
    total = sum(parts.values())
    return Computed(total, "I" if total == 0 else "II" if total <= 2 else "III", parts)


def _jis(v: Mapping[str, Any]) -> Computed:
    met = [v["tumor_number"] == 1, v["tumor_diameter"] <= 2, not v["vascular_invasion"]]
    t = 4 - sum(met)
    stage = 4 if v["metastasis"] or v["nodes"] else t
    points, liver = stage - 1, "ABC".index(v["child_pugh"])
    parts = {
        "T": f"T{t}",
        "TNM stage (LCSGJ)": ("I", "II", "III", "IV")[stage - 1],
        "points TNM": points,
        "points Child-Pugh": liver,
    }
    return Computed(points + liver, str(points + liver), parts)


register(
    Score(
        "CLIP",
        "Cancer of the Liver Italian Program score",
        "Child-Pugh A 0, B 1, C 2; uninodular and <= 50 % of the liver 0, multinodular and <= 50 % 1, massive or > "
        "50 % 2; AFP >= 400 ng/mL 1; portal vein thrombosis 1",
        "The CLIP investigators, Hepatology 1998;28:751-755",
        (
            CHILD_PUGH_CLASS,
            _MORPHOLOGY,
            _HALF,
            quantity("afp", "ng/mL", probes=(10.0, 1000.0)),
            flag("portal_vein_thrombosis", "portal vein thrombosis"),
        ),
        _clip,
        grades="0 to 6 points",
    )
)
register(
    Score(
        "Okuda",
        "Okuda stage",
        "one point each: tumor > 50 % of the liver, ascites, albumin < 3 g/dL, bilirubin > 3 mg/dL",
        "Okuda K et al., Cancer 1985;56:918-928",
        (
            _HALF,
            _ASCITES,
            quantity("albumin", "g/dL", probes=(2.5, 4.0)),
            quantity("bilirubin", "mg/dL", probes=(1.0, 4.0)),
        ),
        _okuda,
        grades="I: 0, II: 1-2, III: 3-4 points",
    )
)
register(
    Score(
        "JIS",
        "Japan Integrated Staging score",
        "TNM stage of the Liver Cancer Study Group of Japan (I 0, II 1, III 2, IV 3) + Child-Pugh (A 0, B 1, C 2); T "
        "by three conditions: one tumor, <= 2 cm, no vascular invasion (T1 all, T2 two, T3 one, T4 none); N1 or M1: IV",
        "Kudo M et al., J Gastroenterol 2003;38:207-215",
        (
            DIAMETER,
            NUMBER,
            flag("vascular_invasion", "vascular or bile-duct invasion"),
            flag("nodes", "lymph-node metastases"),
            flag("metastasis", "distant metastases"),
            CHILD_PUGH_CLASS,
        ),
        _jis,
        grades="0 to 5 points",
    )
)
