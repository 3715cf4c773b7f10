"""Phases after contrast, and which one the name of a sequence or a file speaks of."""

from __future__ import annotations

import re

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
