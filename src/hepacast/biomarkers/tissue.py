"""Numbers that need two phases voxel by voxel, or the blood: extracellular volume, fat, tumor that takes up nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hepacast.biomarkers.definitions import Biomarker, Missing, Number
from hepacast.biomarkers.enhancement import GAPS, NO_SCALE, SHARE_MM, PhaseImage
from hepacast.biomarkers.regions import Region, Regions
from hepacast.imaging.phases import ARTERIAL, DELAYED, PORTAL, UNENHANCED

_ECV = "Zissen MH et al., AJR 2013;201:1204-1210"
_FAT = "Park SH et al., Radiology 2006;239:105-112"
#: Tumor that gains fewer HU than this takes up no contrast agent.
ENHANCING_HU = 10.0

BIOMARKERS = (
    Biomarker(
        "ecv_liver",
        "Extracellular volume of the liver",
        "%",
        "100 (1 - hematocrit) times the liver's gain from unenhanced to delayed phase, divided by the aorta's (CT)",
        _ECV,
    ),
    Biomarker(
        "ecv_tumor",
        "Extracellular volume of the tumor",
        "%",
        "100 (1 - hematocrit) times the tumor's gain from unenhanced to delayed phase, divided by the aorta's (CT)",
        _ECV,
    ),
    Biomarker(
        "liver_minus_spleen",
        "Liver minus spleen, unenhanced",
        "HU",
        "mean of the liver minus that of the spleen, unenhanced (CT); below -9 HU: steatosis of 30 % or more",
        _FAT,
    ),
    Biomarker(
        "liver_to_spleen",
        "Liver to spleen, unenhanced",
        "",
        "mean of the liver divided by mean of the spleen in the unenhanced phase (CT)",
        _FAT,
    ),
    Biomarker(
        "unenhancing_share",
        "Share of the tumor that takes up nothing",
        "",
        "share of the tumor, smoothed by 2 mm within it, that gains less than 10 HU from unenhanced to the arterial or "
        "the portal phase (CT)",
        "Lencioni R, Llovet JM, Semin Liver Dis 2010;30:52-60",
    ),
)


def measure_tissue(
    phases: Mapping[str, PhaseImage | Missing], regions: Regions, hematocrit: float | None
) -> dict[str, Number]:
    """Every number of `BIOMARKERS`, or the reason why it is missing.

    Parameters
    ----------
    phases
        Images by phase, on one grid.
    hematocrit
        Share of the blood, above 0 and below 1; None: not known.
    """
    measured = regions.measured
    tumor = measured if isinstance(measured, Missing) else measured.tumor
    return {
        "ecv_liver": _ecv(phases, regions, regions.parenchyma, hematocrit),
        "ecv_tumor": _ecv(phases, regions, tumor, hematocrit),
        "liver_minus_spleen": _fat(phases, regions, ratio=False),
        "liver_to_spleen": _fat(phases, regions, ratio=True),
        "unenhancing_share": _unenhancing(phases, tumor),
    }


def _image(phases: Mapping[str, PhaseImage | Missing], phase: str) -> PhaseImage | Missing:
    image = phases.get(phase, Missing(f"there is no {phase} phase"))
    if isinstance(image, Missing):
        return image
    return NO_SCALE if image.modality == "MR" else image


def _ecv(
    phases: Mapping[str, PhaseImage | Missing], regions: Regions, region: Region | Missing, hematocrit: float | None
) -> Number:
    before, after = _image(phases, UNENHANCED), _image(phases, DELAYED)
    aorta = regions.other("aorta")
    for item in (before, after, aorta, region):
        if isinstance(item, Missing):
            return item
    if hematocrit is None:
        return Missing("the hematocrit is not known")
    assert isinstance(before, PhaseImage) and isinstance(after, PhaseImage)
    assert isinstance(aorta, Region) and isinstance(region, Region)
    blood = float(after.elsewhere(aorta).mean() - before.elsewhere(aorta).mean())
    whole = region is regions.parenchyma
    pair = [(image, image.liver if whole else region) for image in (before, after)]
    means = [float(image.values(part).mean()) for image, part in pair if not isinstance(part, Missing)]
    gain = means[1] - means[0] if len(means) == 2 else np.nan
    if not blood > 0 or not np.isfinite(gain):
        return Missing("the aorta is no brighter in the delayed phase than unenhanced")
    return 100.0 * (1.0 - hematocrit) * gain / blood


def _fat(phases: Mapping[str, PhaseImage | Missing], regions: Regions, *, ratio: bool) -> Number:
    image, spleen = _image(phases, UNENHANCED), regions.other("spleen")
    if isinstance(image, Missing) or isinstance(spleen, Missing):
        return image if isinstance(image, Missing) else Missing(str(spleen))
    if isinstance(image.liver, Missing):
        return image.liver
    liver, other = float(image.values(image.liver).mean()), float(image.elsewhere(spleen).mean())
    if not np.isfinite(liver - other) or (ratio and other <= 0):
        return Missing("the unenhanced image tells no attenuation of liver and spleen")
    return liver / other if ratio else liver - other


def _unenhancing(phases: Mapping[str, PhaseImage | Missing], tumor: Region | Missing) -> Number:
    before = _image(phases, UNENHANCED)
    if isinstance(before, Missing):
        return before
    if isinstance(tumor, Missing):
        return tumor
    later = [image for image in (_image(phases, ARTERIAL), _image(phases, PORTAL)) if isinstance(image, PhaseImage)]
    if not later:
        return Missing("there is neither an arterial nor a portal phase")
    if not all(image.whole(tumor) for image in (before, *later)):
        return GAPS
    start = before.smoothed(tumor, SHARE_MM)
    gain = np.max([image.smoothed(tumor, SHARE_MM) - start for image in later], axis=0)
    return float((gain < ENHANCING_HU).mean())
