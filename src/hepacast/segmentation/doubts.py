"""`Remark`: one thing that is not plausible about an image and its masks; it is told, or stops the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hepacast.errors import ImageError


@dataclass(frozen=True)
class Remark:
    """One thing that is not plausible.

    Attributes
    ----------
    severity
        ``doubtful``: look at it; ``impossible``: not to be measured unless a person accepts it.
    code
        Stable short name.
    structure
        Whose it is; ``image`` where it is about the image.
    problem
        What is wrong, without this patient's numbers.
    detail
        This patient's numbers.
    """

    severity: Literal["doubtful", "impossible"]
    code: str
    structure: str
    problem: str
    detail: str = ""

    @property
    def casts_doubt(self) -> bool:
        """Whether a result of this patient should not be relied on; the others are remarks on settings and borders."""
        return self.code not in ("gray-levels", "small-lesions", "padding", "cut-off")

    def __str__(self) -> str:
        return f"{self.structure}: {self.problem}" + (f" ({self.detail})" if self.detail else "")


def require_possible(remarks: Iterable[Remark], *, accept: bool = False, where: str | None = None) -> list[Remark]:
    """The doubts about one patient, once nothing impossible is among them or a person has accepted it.

    Parameters
    ----------
    accept
        Of a command line: ``--accept-doubtful``.

    Raises
    ------
    ImageError
        Something is impossible.
    """
    items = accepted(remarks, "with --accept-doubtful") if accept else list(remarks)
    wrong = [str(item) for item in items if item.severity == "impossible"]
    if wrong:
        raise ImageError(
            "Image and mask are not plausible.",
            expected="HU (CT) and the masks of this patient's liver and tumor",
            found="; ".join(wrong),
            where=where,
            remedy="correct the file, the labels or the mask; if it is right as it is: --accept-doubtful",
        )
    return items


def accepted(remarks: Iterable[Remark], by: str) -> list[Remark]:
    """The remarks once a person has accepted what is impossible: it is doubtful then, and says so."""
    return [
        replace(item, severity="doubtful", problem=f"{item.problem}; accepted {by}")
        if item.severity == "impossible"
        else item
        for item in remarks
    ]


def group_remarks(found: Mapping[str, Sequence[Remark]], limit: int = 3) -> list[tuple[Remark, list[str]]]:
    """Equal problems of several patients together, in order of the first.

    Parameters
    ----------
    found
        Remarks by patient.
    limit
        Up to so many patients stand alone, with their own numbers.

    Returns
    -------
    list of (Remark, list of str)
        The remark (of a group: the first patient's numbers) and its patients.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, Remark]]] = {}
    for patient, remarks in found.items():
        for item in remarks:
            groups.setdefault((item.severity, item.structure, item.problem), []).append((patient, item))
    grouped: list[tuple[Remark, list[str]]] = []
    for members in groups.values():
        if len(members) <= limit:
            grouped += [(item, [patient]) for patient, item in members]
        else:
            grouped.append((members[0][1], [patient for patient, _ in members]))
    return grouped
