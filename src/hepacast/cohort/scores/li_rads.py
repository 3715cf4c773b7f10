"""LI-RADS: the category of a liver observation from its major features, by the diagnostic table of CT/MRI v2018."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hepacast.cohort.scores.base import Computed, Score, flag, quantity, register


def _li_rads(v: Mapping[str, Any]) -> Computed:
    if v["tumor_in_vein"]:
        return Computed(0, "LR-TIV")
    if v["targetoid"]:
        return Computed(0, "LR-M")
    size, others = v["tumor_diameter"], int(v["washout"]) + int(v["capsule"]) + int(v["threshold_growth"])
    parts = {"additional major features": others}
    if not v["arterial_hyperenhancement"]:
        low = others == 0 or (others == 1 and size < 20)
        return Computed(0, "LR-3" if low else "LR-4", parts)
    if size < 10:
        return Computed(0, "LR-4" if others else "LR-3", parts)
    if size >= 20:
        return Computed(0, "LR-5" if others else "LR-4", parts)
    if others == 0:
        return Computed(0, "LR-3", parts)
    return Computed(0, "LR-5" if others >= 2 or v["washout"] or v["threshold_growth"] else "LR-4", parts)


register(
    Score(
        "LI-RADS",
        "LI-RADS category of an observation, CT/MRI version 2018",
        "tumor in vein: LR-TIV; targetoid: LR-M; else by nonrim arterial phase hyperenhancement (APHE), size and the "
        "number of additional major features (enhancing capsule, nonperipheral washout, threshold growth). No APHE: "
        "LR-3 without any or below 20 mm with one, else LR-4. APHE below 10 mm: LR-3 without, LR-4 with any; 10-19 mm: "
        "LR-3 without, LR-4 with the capsule alone, LR-5 with washout, growth or two; 20 mm and more: LR-4 without, "
        "LR-5 with any",
        "Chernyak V et al., Radiology 2018;289:816-830 (LI-RADS v2018, American College of Radiology)",
        (
            quantity("tumor_diameter", "mm", help="diameter of the observation, capsule included"),
            flag("arterial_hyperenhancement", "nonrim arterial phase hyperenhancement"),
            flag("washout", "nonperipheral washout"),
            flag("capsule", "enhancing capsule"),
            flag("threshold_growth", "growth by 50 % or more within six months", default=False),
            flag("targetoid", "targetoid: rim enhancement, peripheral washout or the like", default=False),
            flag("tumor_in_vein", "definite tumor in a vein", default=False),
        ),
        _li_rads,
        ordered=("LR-3", "LR-4", "LR-5", "LR-M", "LR-TIV"),
        note="For patients with cirrhosis, chronic hepatitis B or HCC. LR-1 and LR-2 are a reader's judgment. LR-M and "
        "LR-TIV stand behind LR-5 and are no higher degree of it.",
    )
)
