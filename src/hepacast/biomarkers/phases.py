"""Phases after contrast: what changes from one to another."""

from __future__ import annotations

from collections.abc import Mapping

from hepacast.biomarkers.definitions import INTENSITY, LI_RADS, Biomarker, Missing, Number, Numbers
from hepacast.imaging.phases import ARTERIAL, DELAYED, PORTAL, UNENHANCED

_SEEN = "difference to the liver of the same phase"

BIOMARKERS = (
    Biomarker(
        "wash_in", "Wash-in", INTENSITY, f"tumor minus liver, arterial minus unenhanced phase ({_SEEN})", LI_RADS
    ),
    Biomarker("wash_out_portal", "Wash-out to portal", INTENSITY, "tumor minus liver, arterial minus portal", LI_RADS),
    Biomarker(
        "wash_out_delayed", "Wash-out to delayed", INTENSITY, "tumor minus liver, arterial minus delayed", LI_RADS
    ),
    Biomarker(
        "late_wash_out", "Portal to delayed wash-out", INTENSITY, "tumor minus liver, portal minus delayed", LI_RADS
    ),
    Biomarker(
        "rim_wash_out",
        "Wash-out of the rim",
        INTENSITY,
        "rim minus liver, arterial minus the last of delayed and portal",
        LI_RADS,
    ),
    Biomarker(
        "core_wash_out",
        "Wash-out of the core",
        INTENSITY,
        "core minus liver, arterial minus the last of delayed and portal",
        LI_RADS,
    ),
)

_PAIRS = {
    "wash_in": ("tumor_minus_liver", ARTERIAL, UNENHANCED),
    "wash_out_portal": ("tumor_minus_liver", ARTERIAL, PORTAL),
    "wash_out_delayed": ("tumor_minus_liver", ARTERIAL, DELAYED),
    "late_wash_out": ("tumor_minus_liver", PORTAL, DELAYED),
    "rim_wash_out": ("rim_minus_liver", ARTERIAL, "last"),
    "core_wash_out": ("core_minus_liver", ARTERIAL, "last"),
}


def between_phases(by_phase: Mapping[str, Numbers]) -> dict[str, Number]:
    """Differences between phases, of numbers that are relative to the liver of their own phase.

    Parameters
    ----------
    by_phase
        Numbers of `enhancement.measure_phase` by phase.
    """
    last = DELAYED if DELAYED in by_phase else PORTAL
    found: dict[str, Number] = {}
    for name, (number, first, second) in _PAIRS.items():
        second = last if second == "last" else second
        lacking = [phase for phase in (first, second) if phase not in by_phase]
        if lacking:
            found[name] = Missing(f"there is no {' and no '.join(lacking)} phase")
            continue
        one, other = by_phase[first][number], by_phase[second][number]
        if isinstance(one, Missing) or isinstance(other, Missing):
            found[name] = one if isinstance(one, Missing) else other
        else:
            found[name] = one - other
    return found
