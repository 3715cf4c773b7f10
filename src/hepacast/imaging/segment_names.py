"""Names that a mask file gives to its segments (3D Slicer, DICOM SEG), beside the names that the user gives."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from hepacast.errors import ImageError

#: How names of the two structures begin, so that "Leber" is not taken for a tumor without a word.
_LIVER = ("liver", "parenchym", "leber", "hepar", "foie", "higado", "figado", "fegato", "lever", "печен", "肝")
_TUMOR: tuple[str, ...] = (
    "tumo",
    "tumeur",
    "lesion",
    "lasion",
    "lesao",
    "hcc",
    "icc",
    "cca",
    "mass",
    "metast",
    "cancer",
    "carcinom",
    "karzinom",
    "nodul",
    "neoplas",
)
_TUMOR += ("gtv", "krebs", "herd", "опухол", "очаг", "瘤", "肿瘤", "腫瘍", "病灶", "肝癌", "肝肿瘤", "转移")
#: Whole words that mean the liver, and not a part or a vessel of it.
_WHOLE_LIVER = set(_LIVER) - {"parenchym", "печен"} | {"печень", "肝脏", "肝臟", "肝臓"}
#: Names that programs give by themselves and that say nothing.
_GENERIC = re.compile(r"(segment|label|structure|mask|roi|object|class)?[ _-]*\d*")


def numbered(names: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Value of each segment by name; none is lost: a name that is used twice gets its value, ``"tumor (3)"``."""
    pairs = list(names)
    uses = Counter(name for _, name in pairs)
    named = {name if uses[name] == 1 else f"{name} ({value})": value for value, name in pairs}
    return named if len(named) == len(pairs) else {f"{name} ({value})": value for value, name in pairs}


def compare_names(own: Mapping[str, int], labels: Mapping[str, int], where: str) -> list[str]:
    """The user's names of a file's values against the file's own.

    Parameters
    ----------
    own
        Value by the file's name.
    labels
        Value by the user's name.
    where
        The file.

    Returns
    -------
    list of str
        Values that are taken under another name than the file's, where the file's is not known to mean something else.

    Raises
    ------
    ImageError
        A name stands for another value in the file, or the file calls a value liver and the user tumor, or the
        reverse.
    """
    by_value = {value: name for name, value in own.items()}
    spelt = {_folded(name): value for name, value in own.items()}
    notes, wrong = [], []
    for name, value in labels.items():
        theirs = by_value.get(value)
        elsewhere = spelt.get(_folded(name), value) != value
        if theirs is None:
            if elsewhere:
                wrong.append(name)
        elif _folded(theirs) != _folded(name):
            kinds = kind_of(theirs), kind_of(name)
            if elsewhere or (None not in kinds and kinds[0] != kinds[1]):
                wrong.append(name)
            elif kinds[0] != kinds[1] and not _GENERIC.fullmatch(_folded(theirs)):
                notes.append(f"the file calls the value {value} {theirs!r}; it is taken as {name!r}")
    if wrong:
        raise ImageError(
            f"The mask file's own names contradict the names of its values ({', '.join(wrong)}).",
            expected=", ".join(f"{name}: {value}" for name, value in own.items()) + " (the file's names)",
            found=", ".join(f"{name}: {value}" for name, value in labels.items()),
            where=where,
            remedy="correct the numbers (labels of the study file, --labels), or the names in the file",
        )
    return notes


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).casefold()
    return " ".join(re.sub(r"[\s_]+", " ", "".join(c for c in plain if not unicodedata.combining(c))).split())


def kind_of(name: str) -> str | None:
    """Which of the two structures a name speaks of (liver, tumor); None for another one, or where it is both."""
    words = _words(name)
    tumor = any(_is_tumor(word) for word in words)
    liver = any(word.startswith(_LIVER) and not _is_tumor(word) for word in words)
    return None if tumor == liver else "tumor" if tumor else "liver"


def role_of(name: str) -> str | None:
    """``liver``, ``parenchyma`` or ``tumor`` where a name is one word for it, with or without a number ("HCC 2")."""
    words = _words(name)
    if len(words) != 1:
        return None
    if _is_tumor(words[0]):
        return "tumor"
    return "parenchyma" if words[0].startswith("parenchym") else "liver" if words[0] in _WHOLE_LIVER else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_\d]+", _folded(name)) if word]


def _is_tumor(word: str) -> bool:
    """Whether a word begins as one for a tumor, alone or behind one for the liver ("Lebertumor")."""
    behind = [word[len(start) :] for start in _LIVER if word.startswith(start)]
    return any(part.startswith(_TUMOR) for part in (word, *behind))
