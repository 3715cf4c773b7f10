"""What a biomarker is: name, label, unit, definition, source; and a value that is missing, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Every name begins so, in tables and in models: ``biomarker/portal/tumor_minus_liver``.
FAMILY = "biomarker"
#: Groups of numbers that belong to no single phase.
SHAPE, BETWEEN, STAGE = "shape", "phases", "stage"
#: Stands for the unit of intensities: HU in CT, robust standard deviations of the liver in MR.
INTENSITY = "intensity"
UNITS = {"CT": "HU", "MR": "SD of the liver"}
#: Smallest difference to the liver that counts as seen, in the unit of intensities.
VISIBLE = {"CT": 10.0, "MR": 1.0}

#: The same of a single place, in words: noise must not be taken for tissue.
SEEN = "at least 10 HU (MR: 1 SD) and 2 robust SD of the liver, smoothed alike,"

LI_RADS = "Chernyak V et al., Radiology 2018;289:816-830 (LI-RADS v2018)"
MRECIST = "Lencioni R, Llovet JM, Semin Liver Dis 2010;30:52-60 (mRECIST)"
HETEROGENEITY = "Ganeshan B, Miles KA, Cancer Imaging 2013;13:140-149 (filtration and histogram)"
BURDEN = "Chapiro J et al., Radiology 2015;275:438-447"
OWN = "defined here"


def kind_of(name: str) -> str:
    """What a biomarker tells of, by its name: models shrink each kind by a penalty of its own.

    ``shape`` (sizes, volumes, number, outline), ``signs`` (LI-RADS features and stages), ``liver`` (the tissue around),
    ``heterogeneity`` (spread and structure within the tumor) or ``enhancement`` (its parts against the liver).
    """
    group, _, short = name.removeprefix(f"{FAMILY}/").partition("/")
    if group == SHAPE:
        return SHAPE
    if group in ("li-rads", STAGE):
        return "signs"
    if short.startswith("liver_") or short == "ecv_liver":
        return "liver"
    if short.endswith(("_sd", "_share")) or "_fine_" in short or "_coarse_" in short:
        return "heterogeneity"
    return "enhancement"


class Missing(str):
    """Why a number could not be measured."""


Number = float | Missing
Numbers = Mapping[str, Number]


@dataclass(frozen=True)
class Biomarker:
    """One number.

    Parameters
    ----------
    name
        Short name; within its group.
    label
        As it stands in tables and on a nomogram.
    unit
        Unit, "" for a share or a count; `INTENSITY` where it is that of the image.
    definition
        How it is measured, in words that a reader can check.
    source
        Where the definition, or the use of the number, is published.
    """

    name: str
    label: str
    unit: str
    definition: str
    source: str = OWN
