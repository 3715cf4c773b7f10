"""Staging systems by rules: BCLC 2022, CNLC, AJCC TNM 8th edition, HKLC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hepacast.cohort.scores.base import CHILD_PUGH_CLASS, Computed, Score, count, flag, quantity, register

DIAMETER = quantity(
    "tumor_diameter", "cm", help="diameter of the largest tumor", probes=(1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 10.0)
)
NUMBER = count("tumor_number", "number of tumors", 1, 100)
ECOG = count("ecog", "ECOG performance status", 0, 4)
VASCULAR = flag("vascular_invasion", "macrovascular invasion (portal or hepatic vein) on imaging")
EXTRAHEPATIC = flag("extrahepatic_spread", "extrahepatic spread (lymph nodes or distant metastases)")


def _bclc(v: Mapping[str, Any]) -> Computed:
    diameter, number = v["tumor_diameter"], v["tumor_number"]
    if v["ecog"] >= 3 or v["child_pugh"] == "C":
        return _stage("D", "performance status 3-4 or end-stage liver function")
    if v["vascular_invasion"] or v["extrahepatic_spread"]:
        return _stage("C", "vascular invasion or extrahepatic spread")
    if v["ecog"] >= 1:
        return _stage("C", "performance status 1-2")
    if number == 1:
        return _stage("0", "one tumor of 2 cm or less") if diameter <= 2 else _stage("A", "one tumor")
    if number <= 3 and diameter <= 3:
        return _stage("A", "two or three tumors of 3 cm or less")
    return _stage("B", "several tumors beyond three of 3 cm")


def _cnlc(v: Mapping[str, Any]) -> Computed:
    diameter, number = v["tumor_diameter"], v["tumor_number"]
    if v["ecog"] >= 3 or v["child_pugh"] == "C":
        return _stage("IV", "performance status 3-4 or Child-Pugh C")
    if v["extrahepatic_spread"]:
        return _stage("IIIb", "extrahepatic spread")
    if v["vascular_invasion"]:
        return _stage("IIIa", "vascular invasion on imaging")
    if number >= 4:
        return _stage("IIb", "four or more tumors")
    if number >= 2:
        return _stage("Ib", "two or three tumors of 3 cm or less") if diameter <= 3 else _stage("IIa", "two or three")
    return _stage("Ia", "one tumor of 5 cm or less") if diameter <= 5 else _stage("Ib", "one tumor above 5 cm")


def t_category(v: Mapping[str, Any]) -> str:
    """T of the 8th edition, from parsed inputs of AJCC TNM 8 (diameter in cm)."""
    diameter, single = v["tumor_diameter"], v["tumor_number"] == 1
    if v["major_branch"] or v["adjacent_organ"]:
        return "T4"
    if single and diameter <= 2:
        return "T1a"
    if single and not v["vascular_invasion"]:
        return "T1b"
    if single or diameter <= 5:
        return "T2"
    return "T3"


def _ajcc(v: Mapping[str, Any]) -> Computed:
    t = t_category(v)
    parts = {"T": t, "N": "N1" if v["nodes"] else "N0", "M": "M1" if v["metastasis"] else "M0"}
    if v["metastasis"]:
        return Computed(0, "IVB", parts)
    if v["nodes"]:
        return Computed(0, "IVA", parts)
    return Computed(0, {"T1a": "IA", "T1b": "IB", "T2": "II", "T3": "IIIA", "T4": "IIIB"}[t], parts)


def _hklc_tumor(v: Mapping[str, Any]) -> str:
    large, many, venous = v["tumor_diameter"] > 5, v["tumor_number"] > 3, v["vascular_invasion"]
    if v["diffuse"] or (large and (many or venous)) or (many and venous):
        return "locally advanced"
    return "intermediate" if large or many or venous else "early"


def _hklc(v: Mapping[str, Any]) -> Computed:
    tumor, liver = _hklc_tumor(v), v["child_pugh"]
    spread = v["extrahepatic_spread"]
    parts = {"tumor": tumor}
    if v["ecog"] >= 2 or liver == "C":
        return Computed(0, "Va" if tumor == "early" and not spread else "Vb", parts)
    if spread:
        return Computed(0, "IVa" if liver == "A" else "IVb", parts)
    if tumor == "locally advanced":
        return Computed(0, "IIIb", parts)
    if tumor == "intermediate":
        return Computed(0, "IIb" if liver == "A" else "IIIa", parts)
    return Computed(0, "I" if liver == "A" else "IIa", parts)


def _stage(name: str, because: str) -> Computed:
    return Computed(0, name, {"because": because})


_COMMON = (DIAMETER, NUMBER, VASCULAR, EXTRAHEPATIC, ECOG, CHILD_PUGH_CLASS)

register(
    Score(
        "BCLC",
        "Barcelona Clinic Liver Cancer stage, 2022",
        "D: performance status 3-4 or end-stage liver function; C: vascular invasion, extrahepatic spread or "
        "performance status 1-2; 0: one tumor <= 2 cm; A: one tumor, or up to three <= 3 cm; B: the rest",
        "Reig M et al., J Hepatol 2022;76:681-693",
        _COMMON,
        _bclc,
        ordered=("0", "A", "B", "C", "D"),
        note="End-stage liver function is read as Child-Pugh C (not a candidate for transplantation).",
    )
)
register(
    Score(
        "CNLC",
        "China liver cancer staging",
        "IV: performance status 3-4 or Child-Pugh C; IIIb: extrahepatic spread; IIIa: vascular invasion; IIb: four or "
        "more tumors; IIa: two or three, the largest > 3 cm; Ib: one > 5 cm, or two or three <= 3 cm; Ia: one <= 5 cm",
        "National Health Commission of China, guideline for primary liver cancer 2022 (Zhou J et al., Liver Cancer "
        "2023;12:405-444)",
        _COMMON,
        _cnlc,
        ordered=("Ia", "Ib", "IIa", "IIb", "IIIa", "IIIb", "IV"),
    )
)
register(
    Score(
        "AJCC TNM 8",
        "AJCC/UICC TNM stage, 8th edition",
        "T1a: one <= 2 cm; T1b: one > 2 cm without vascular invasion; T2: one > 2 cm with it, or several <= 5 cm; T3: "
        "several, one > 5 cm; T4: major branch of portal or hepatic vein, or adjacent organ. IA: T1a, IB: T1b, II: T2, "
        "IIIA: T3, IIIB: T4, IVA: N1, IVB: M1",
        "Amin MB et al. (eds), AJCC Cancer Staging Manual, 8th edition, 2017",
        (
            DIAMETER,
            NUMBER,
            flag("vascular_invasion", "vascular invasion, microscopic included"),
            flag("major_branch", "invasion of a major branch of the portal or hepatic vein"),
            flag(
                "adjacent_organ",
                "invasion of an adjacent organ but the gallbladder, or of the peritoneum",
                default=False,
            ),
            flag("nodes", "regional lymph-node metastases"),
            flag("metastasis", "distant metastases"),
        ),
        _ajcc,
        ordered=("IA", "IB", "II", "IIIA", "IIIB", "IVA", "IVB"),
    )
)
register(
    Score(
        "HKLC",
        "Hong Kong Liver Cancer stage",
        "tumor early (<= 5 cm, <= 3, no venous invasion), intermediate (one of the three beyond) or locally advanced "
        "(two or more beyond, or diffuse); ECOG 0-1 and Child-Pugh A/B: I early A, IIa early B, IIb intermediate A, "
        "IIIa intermediate B, IIIb locally advanced, IVa and IVb extrahepatic spread A and B; ECOG 2-4 or Child-Pugh "
        "C: Va early, Vb else",
        "Yau T et al., Gastroenterology 2014;146:1691-1700",
        (*_COMMON, flag("diffuse", "diffuse tumor", default=False)),
        _hklc,
        ordered=("I", "IIa", "IIb", "IIIa", "IIIb", "IVa", "IVb", "Va", "Vb"),
        note="Vascular invasion means intrahepatic venous invasion; extrahepatic vascular invasion counts as spread.",
    )
)
