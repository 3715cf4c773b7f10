"""Which series of a study is which sequence of a model: by modality, words, number, thickness and length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.dicom import DicomSeries
from hepacast.imaging.phases import phase_of
from hepacast.pacs.peer import FoundSeries
from hepacast.study.schema.base import Part, option


class SeriesRule(Part):
    """What a series must be; every rule that is given must hold."""

    modality: Literal["CT", "MR"] = option("CT", "Modality of the series.")
    words: list[str] = option(
        list, "One of these stands in the description (case is ignored).", example=["portal", "门脉"]
    )
    without: list[str] = option(list, "None of these stands in the description.", example=["thick", "mip"])
    number: int | None = option(None, "Number of the series.")
    thickness: tuple[float, float] | None = option(None, "Smallest and largest slice thickness.", unit="mm")
    min_images: int = option(10, "Fewest images.", ge=1)
    prefer: Literal["", "thinnest", "most images", "first"] = option(
        "", "Which of several that fit; none: the study is refused."
    )


@dataclass(frozen=True)
class SeriesFacts:
    """A series by what rules look at."""

    uid: str
    modality: str
    description: str
    number: int | None
    thickness: float | None
    images: int

    @classmethod
    def found(cls, item: FoundSeries) -> SeriesFacts:
        """Of an answer of a PACS."""
        return cls(item.series, item.modality, item.description, item.number, item.thickness, item.instances or 0)

    @classmethod
    def read(cls, item: DicomSeries) -> SeriesFacts:
        """Of files; the thickness is what the header says, else the distance of slices."""
        first = item.slices[0]
        heights = np.diff([one.height for one in item.slices])
        thickness = first.thickness or (float(np.median(np.abs(heights))) if len(heights) else None)
        return cls(item.uid, item.modality, item.description, item.number, thickness, len(item.slices))


def fits(rule: SeriesRule, item: SeriesFacts, *, known: bool = True) -> bool:
    """Whether a series fits; `known` False: a thickness or number of images that nobody has told is no reason."""
    words = item.description.casefold()
    told = known or item.images > 0
    thickness = rule.thickness is None or (
        not known if item.thickness is None else rule.thickness[0] <= item.thickness <= rule.thickness[1]
    )
    return (
        item.modality == rule.modality
        and (not rule.words or any(word.casefold() in words for word in rule.words))
        and not any(word.casefold() in words for word in rule.without)
        and (rule.number is None or item.number == rule.number)
        and thickness
        and (not told or item.images >= rule.min_images)
    )


def choose(rules: Mapping[str, SeriesRule], series: Sequence[SeriesFacts]) -> dict[str, SeriesFacts]:
    """One series for each name.

    Raises
    ------
    ImageError
        None fits, or several do and the rule does not say which.
    """
    return {name: _one(name, rule, series) for name, rule in rules.items()}


def propose(
    sequences: Mapping[str, str], found: Sequence[FoundSeries], rules: Mapping[str, SeriesRule]
) -> dict[str, str]:
    """UIDs of the series that are likely the sequences, in the newest study that has any.

    Parameters
    ----------
    sequences
        ``CT`` or ``MR`` by name.
    found
        One patient's series.
    rules
        Of a node; a sequence without one is looked for by its modality and by the phase that its name speaks of.

    Returns
    -------
    dict
        By sequence; one that none or several series fit is left out.
    """
    for study in dict.fromkeys(item.study for item in sorted(found, key=lambda item: item.date, reverse=True)):
        facts = [SeriesFacts.found(item) for item in found if item.study == study]
        chosen = {}
        for name, modality in sequences.items():
            phase = None if name in rules else phase_of(name)
            near = [item for item in facts if phase is None or phase_of(item.description) == phase]
            rule = rules.get(name) or SeriesRule.model_validate({"modality": modality})
            try:
                chosen[name] = _one(name, rule, near, known=False).uid
            except ImageError:
                continue
        if chosen:
            return chosen
    return {}


def _one(name: str, rule: SeriesRule, series: Sequence[SeriesFacts], *, known: bool = True) -> SeriesFacts:
    fitting = [item for item in series if fits(rule, item, known=known)]
    if len(fitting) > 1 and rule.prefer == "thinnest":
        return min(fitting, key=lambda item: (item.thickness or np.inf, item.number or 0, item.uid))
    if len(fitting) > 1 and rule.prefer == "most images":
        return min(fitting, key=lambda item: (-item.images, item.number or 0, item.uid))
    if len(fitting) > 1 and rule.prefer == "first":
        return min(fitting, key=lambda item: (item.number is None, item.number or 0, item.uid))
    if len(fitting) != 1:
        shown = [
            f"{i.modality} number {i.number}, {i.images} images, {i.thickness or '?'} mm" for i in fitting or series
        ]
        raise ImageError(
            f"{'No' if not fitting else 'More than one'} series fits the rule of {name!r}.",
            found="; ".join(shown) or "no series",
            remedy="change the rule (words, number, thickness), or say which is preferred",
        )
    return fitting[0]
