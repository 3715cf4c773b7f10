"""Phases after contrast: which one an image is, and what changes from one to another."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hepacast.biomarkers.definitions import INTENSITY, LI_RADS, Biomarker, Missing, Number, Numbers

UNENHANCED, ARTERIAL, PORTAL, DELAYED, HEPATOBILIARY = "unenhanced", "arterial", "portal", "delayed", "hepatobiliary"
#: In the order of time.
PHASES = (UNENHANCED, ARTERIAL, PORTAL, DELAYED, HEPATOBILIARY)
#: How the names of sequences and files call a phase, as whole words.
_WORDS: dict[str, tuple[str, ...]] = {
    HEPATOBILIARY: ("hepatobiliary", "hbp", "hb", "20min"),
    UNENHANCED: ("unenhanced", "native", "nativ", "noncontrast", "plain", "precontrast", "pre", "nc", "ncct", "nect"),
    ARTERIAL: ("arterial", "arteriell", "artery", "art", "ap", "hap"),
    PORTAL: ("portal", "portovenous", "portalvenous", "venous", "pv", "pvp", "pp", "vp"),
    DELAYED: ("delayed", "delay", "equilibrium", "late", "transitional", "dp", "ep", "tp"),
}
#: The same in Chinese, which has no spaces: inside of other words too.
_SIGNS: dict[str, tuple[str, ...]] = {
    HEPATOBILIARY: ("肝胆期", "肝胆特异期"),
    UNENHANCED: ("平扫",),
    ARTERIAL: ("动脉期",),
    PORTAL: ("门脉期", "静脉期"),
    DELAYED: ("延迟期", "平衡期", "移行期"),
}

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


def phase_of(name: str) -> str | None:
    """The phase that the name of a sequence or a file speaks of ("T1_arterial", "PVP"); None where it names none, or
    several."""
    words = re.split(r"[\W_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold())
    joined = "".join(words)
    found = {phase for phase, known in _WORDS.items() if any(word in known for word in words)}
    found |= {phase for phase, known in _SIGNS.items() if any(word in joined for word in known)}
    if not found:
        found = {phase for phase, known in _WORDS.items() if any(len(word) > 5 and word in joined for word in known)}
    if found == {ARTERIAL, UNENHANCED} and "pre" in words:  # "pre-arterial" speaks of no phase
        return None
    return next(iter(found)) if len(found) == 1 else None


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
