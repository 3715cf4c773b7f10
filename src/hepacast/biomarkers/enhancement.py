"""Numbers of one image (a phase, a sequence): liver, tumor and its parts, relative to the liver of the same patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hepacast.biomarkers.definitions import (
    HETEROGENEITY,
    INTENSITY,
    LI_RADS,
    OWN,
    SEEN,
    VISIBLE,
    Biomarker,
    Missing,
    Number,
)
from hepacast.biomarkers.regions import Box, Region, Regions, TumorRegions
from hepacast.biomarkers.scales import smoothed, split
from hepacast.imaging.preprocessing.normalize import robust_scale
from hepacast.imaging.volume import Volume

Values = npt.NDArray[np.float64]

#: Scales of structure, mm: of the liver and of the whole tumor, and the one of the core and of the tumor's fine part.
LIVER_MM, CORE_MM = (1.0, 2.0, 4.0), 1.5
#: Shares of a tumor are told from an image smoothed within it by this much, mm: noise is no tissue.
SHARE_MM = 2.0
#: A course from margin to middle is fitted to no fewer voxels.
FEWEST_VOXELS = 20
#: No liver tissue has an attenuation beyond these in CT.
LIVER_HU = (-100.0, 400.0)
#: Tumor below this many HU after contrast has not taken any up.
NECROTIC_HU = 30.0


def _structure(region: str, label: str, mm: float) -> tuple[Biomarker, Biomarker]:
    """Fine and coarse structure of a region at a length."""
    at = f"a Gaussian of {mm:g} mm within the {region}"
    name = f"{mm:g}".replace(".", "_")
    return (
        Biomarker(
            f"{region}_fine_{name}",
            f"{label}: structure finer than {mm:g} mm",
            INTENSITY,
            f"SD of what {at} takes away",
            HETEROGENEITY,
        ),
        Biomarker(
            f"{region}_coarse_{name}",
            f"{label}: structure coarser than {mm:g} mm",
            INTENSITY,
            f"SD of what {at} leaves",
            HETEROGENEITY,
        ),
    )


BIOMARKERS = (
    Biomarker(
        "liver_mean",
        "Liver, mean",
        INTENSITY,
        "mean of the liver without tumor (CT alone), as all of it within -100 to 400 HU",
        HETEROGENEITY,
    ),
    Biomarker("liver_p10", "Liver, 10th percentile", INTENSITY, "10th percentile of the liver without tumor"),
    Biomarker("liver_p90", "Liver, 90th percentile", INTENSITY, "90th percentile of the liver without tumor"),
    Biomarker("liver_sd", "Liver, SD", INTENSITY, "SD of the liver without tumor", HETEROGENEITY),
    *(item for mm in LIVER_MM for item in _structure("liver", "Liver", mm)),
    Biomarker(
        "tumor_minus_liver", "Tumor minus liver", INTENSITY, "mean of the tumor minus mean of the liver", LI_RADS
    ),
    Biomarker("tumor_sd", "Tumor, SD", INTENSITY, "SD of the tumor", HETEROGENEITY),
    Biomarker(
        "tumor_p10_minus_liver",
        "Tumor's 10th percentile minus liver",
        INTENSITY,
        "10th percentile of the tumor minus mean of the liver",
    ),
    Biomarker(
        "tumor_p90_minus_liver",
        "Tumor's 90th percentile minus liver",
        INTENSITY,
        "90th percentile of the tumor minus mean of the liver",
    ),
    Biomarker(
        "rim_minus_liver",
        "Rim minus liver",
        INTENSITY,
        "mean of the tumor's outer 4 mm minus mean of the liver",
        LI_RADS,
    ),
    Biomarker(
        "core_minus_liver",
        "Core minus liver",
        INTENSITY,
        "mean of the tumor deeper than 4 mm minus mean of the liver",
        LI_RADS,
    ),
    Biomarker("rim_minus_core", "Rim minus core", INTENSITY, "mean of the rim minus mean of the core", LI_RADS),
    Biomarker("rim_ratio", "Rim to core", "", "mean of the rim divided by mean of the core (CT alone)", LI_RADS),
    Biomarker("core_sd", "Core, SD", INTENSITY, "SD of the core", HETEROGENEITY),
    Biomarker(
        "core_detrended_sd",
        "Core, SD about its course from margin to middle",
        INTENSITY,
        "SD of the core about a quadratic of the distance to the margin: a rim wider than 4 mm, or a dark middle, is "
        "not taken for heterogeneity",
    ),
    *_structure("core", "Core", CORE_MM),
    _structure("tumor", "Tumor", CORE_MM)[0],
    *(_structure("tumor", "Tumor", mm)[1] for mm in LIVER_MM),
    Biomarker(
        "around_minus_liver",
        "Liver around the tumor minus liver",
        INTENSITY,
        "mean of the liver within 8 mm of the tumor minus mean of the liver",
        LI_RADS,
    ),
    Biomarker(
        "capsule",
        "Capsule",
        INTENSITY,
        "mean of the rim minus the brighter of core and liver around the tumor: above 0 where a bright rim encloses it",
        LI_RADS,
    ),
    Biomarker(
        "bright_share",
        "Share of the tumor brighter than the liver",
        "",
        f"share of the tumor, smoothed by 2 mm within it, {SEEN} above the liver's median",
        LI_RADS,
    ),
    Biomarker(
        "dark_share",
        "Share of the tumor darker than the liver",
        "",
        f"share of the tumor, smoothed by 2 mm within it, {SEEN} below the liver's median",
        LI_RADS,
    ),
    Biomarker(
        "necrotic_share",
        "Necrotic share",
        "",
        "share of the tumor, smoothed by 2 mm within it, below 30 HU after contrast (CT alone)",
    ),
    Biomarker("spleen_minus_liver", "Spleen minus liver", INTENSITY, "mean of the spleen minus mean of the liver", OWN),
    Biomarker("aorta_minus_liver", "Aorta minus liver", INTENSITY, "mean of the aorta minus mean of the liver", OWN),
    Biomarker("tumor_to_aorta", "Tumor to aorta", "", "mean of the tumor divided by mean of the aorta (CT alone)", OWN),
)

GAPS = Missing("the image has voxels without a value there")
NO_SCALE = Missing("the signal of MR has no absolute scale")


@dataclass(frozen=True, eq=False)
class PhaseImage:
    """One image as it is measured: cropped, and on the scale of the patient's own liver where it is MR.

    Parameters
    ----------
    image
        The whole image.
    crop
        Its crop to liver and tumor, on the scale.
    offset, scale
        Intensity on the scale: (intensity - offset) / scale. CT: 0 and 1.
    modality
        ``CT`` or ``MR``.
    liver
        The liver without tumor, in CT between -100 and 400 HU.
    """

    image: Volume
    crop: npt.NDArray[np.float32]
    offset: float
    scale: float
    modality: str
    liver: Region | Missing

    @classmethod
    def of(cls, image: Volume, box: Box, liver: Region | Missing, modality: str) -> PhaseImage | Missing:
        """The image on its scale, or why it has none."""
        crop = np.ascontiguousarray(image.array[box], dtype=np.float32)
        offset, scale = 0.0, 1.0
        if modality == "MR":
            if isinstance(liver, Missing):
                return liver
            values = crop.reshape(-1)[liver.index]
            offset, scale = robust_scale(values)
            if not scale > 0:
                return Missing("the liver has one intensity only" if scale == 0 else "the image has gaps in the liver")
            crop = (crop - np.float32(offset)) / np.float32(scale)
        elif not isinstance(liver, Missing):
            liver = _tissue(crop, liver)
        return cls(image, crop, offset, scale, modality, liver)

    @property
    def spacing_kji(self) -> tuple[float, float, float]:
        i, j, k = self.image.spacing
        return (k, j, i)

    @property
    def visible(self) -> float:
        """Smallest difference that counts as seen."""
        return VISIBLE[self.modality]

    def values(self, region: Region) -> Values:
        """Intensities of a region on the crop (of the liver and the tumor; `elsewhere` has the others)."""
        return self.crop.reshape(-1)[region.index].astype(np.float64)

    def elsewhere(self, region: Region) -> Values:
        """Intensities of a structure that lies on the whole image."""
        values = np.ascontiguousarray(self.image.array).reshape(-1)[region.index].astype(np.float64)
        return (values - self.offset) / self.scale

    def smoothed(self, region: Region, mm: float) -> npt.NDArray[np.float32]:
        """Intensities smoothed within a region, at its voxels."""
        return smoothed(self.crop[region.box], region.mask.array[region.box], self.spacing_kji, mm)

    @cached_property
    def smooth_liver(self) -> npt.NDArray[np.float32] | Missing:
        """The liver smoothed by `SHARE_MM`."""
        if isinstance(self.liver, Missing):
            return self.liver
        return self.smoothed(self.liver, SHARE_MM) if self.whole(self.liver) else GAPS

    @cached_property
    def seen(self) -> tuple[float, float] | Missing:
        """Below and above which a smoothed voxel is told from the liver: its median, and the larger of `visible` and
        two robust standard deviations of the liver smoothed alike, so that noise is not taken for enhancement."""
        smooth = self.smooth_liver
        if isinstance(smooth, Missing):
            return smooth
        middle, spread = robust_scale(smooth)
        step = max(self.visible, 2.0 * spread)
        return middle - step, middle + step

    def fine_and_coarse(self, region: Region, mm: float) -> tuple[float, float]:
        """SD of fine and coarse structure of a region."""
        known = self.smooth_liver if region is self.liver and mm == SHARE_MM else None
        return split(self.values(region), known if isinstance(known, np.ndarray) else self.smoothed(region, mm))

    def whole(self, region: Region) -> bool:
        """Whether every voxel of the region has a value."""
        return bool(np.isfinite(self.values(region)).all())


def _tissue(crop: npt.NDArray[np.float32], liver: Region) -> Region | Missing:
    """The liver without what is none in CT: lung, gas and metal at an edge that is drawn too wide."""
    values = crop.reshape(-1)[liver.index]
    outside = (values < LIVER_HU[0]) | (values > LIVER_HU[1])
    if not outside.any():
        return liver
    if outside.all():
        return Missing(f"no voxel of the liver lies between {LIVER_HU[0]:g} and {LIVER_HU[1]:g} HU")
    mask = liver.mask.array.copy()
    mask.reshape(-1)[liver.index[outside]] = False
    return Region(liver.mask.with_array(mask))


@dataclass(frozen=True, eq=False)
class _Reading:
    """One image with one tumor's regions: means, each computed once."""

    phase: PhaseImage
    regions: Regions
    tumor: TumorRegions | Missing

    @cached_property
    def liver_values(self) -> Values | Missing:
        return self._of(self.phase.liver)

    @cached_property
    def liver_spread(self) -> Values | Missing:
        """10th percentile, median and 90th percentile of the liver."""
        liver = self.liver_values
        return liver if isinstance(liver, Missing) else np.percentile(liver, [10, 50, 90])

    @cached_property
    def tumor_values(self) -> Values | Missing:
        return self._of(self.tumor if isinstance(self.tumor, Missing) else self.tumor.tumor)

    @cached_property
    def core_values(self) -> Values | Missing:
        return self._of(self.tumor if isinstance(self.tumor, Missing) else self.tumor.core)

    @cached_property
    def rim_values(self) -> Values | Missing:
        return self._of(self.tumor if isinstance(self.tumor, Missing) else self.tumor.rim)

    @cached_property
    def around_values(self) -> Values | Missing:
        return self._of(self.tumor if isinstance(self.tumor, Missing) else self.tumor.around)

    @cached_property
    def smooth_tumor(self) -> npt.NDArray[np.float32] | Missing:
        if isinstance(self.tumor_values, Missing) or isinstance(self.tumor, Missing):
            return self.tumor_values if isinstance(self.tumor_values, Missing) else Missing("there is no tumor")
        return self.phase.smoothed(self.tumor.tumor, SHARE_MM)

    def _of(self, region: Region | Missing) -> Values | Missing:
        if isinstance(region, Missing):
            return region
        values = self.phase.values(region)
        return values if np.isfinite(values).all() else GAPS

    def elsewhere(self, name: str) -> Values | Missing:
        region = self.regions.other(name)
        if isinstance(region, Missing):
            return region
        values = self.phase.elsewhere(region)
        return values if np.isfinite(values).all() else GAPS

    def structure(self, region: Region | Missing, known: Values | Missing, mm: float) -> tuple[Number, Number]:
        if isinstance(region, Missing) or isinstance(known, Missing):
            why = known if isinstance(known, Missing) else Missing(str(region))
            return why, why
        return self.phase.fine_and_coarse(region, mm)

    def share(self, *, brighter: bool) -> Number:
        """Share of the smoothed tumor that is seen brighter, or darker, than the liver."""
        smooth, seen = self.smooth_tumor, self.phase.seen
        if isinstance(smooth, Missing) or isinstance(seen, Missing):
            return smooth if isinstance(smooth, Missing) else Missing(str(seen))
        return float((smooth >= seen[1] if brighter else smooth <= seen[0]).mean())


def minus(one: Values | Missing, other: Values | Missing) -> Number:
    """Difference of two regions' means, or why there is none."""
    return _combined(one, other, lambda a, b: float(a.mean() - b.mean()))


def _combined(one: Values | Missing, other: Values | Missing, work: Callable[[Values, Values], float]) -> Number:
    if isinstance(one, Missing):
        return one
    return other if isinstance(other, Missing) else work(one, other)


def _single(values: Values | Missing, work: Callable[[Values], float]) -> Number:
    return values if isinstance(values, Missing) else work(values)


def measure_phase(
    phase: PhaseImage | Missing, regions: Regions, tumor: TumorRegions | Missing, *, enhanced: bool | None
) -> dict[str, Number]:
    """Every number of `BIOMARKERS`, or the reason why it is missing.

    Parameters
    ----------
    phase
        The image on its scale.
    regions, tumor
        The patient's regions, and the tumor that is measured.
    enhanced
        Whether it was taken after contrast; None: not known.
    """
    if isinstance(phase, Missing):
        return {item.name: phase for item in BIOMARKERS}
    found = _Reading(phase, regions, tumor)
    numbers = {**_of_liver(found), **_of_tumor(found), **_shares(found, enhanced), **_of_others(found)}
    return {item.name: numbers[item.name] for item in BIOMARKERS}


def measure_parts(phase: PhaseImage, regions: Regions, tumor: TumorRegions | Missing) -> dict[str, Number]:
    """What LI-RADS reads of a tumor in one phase: rim and core against each other, the liver, and what lies around."""
    found = _Reading(phase, regions, tumor)
    return _contrasts(found)


def _contrasts(found: _Reading) -> dict[str, Number]:
    liver, rim, core = found.liver_values, found.rim_values, found.core_values
    return {
        "rim_minus_liver": minus(rim, liver),
        "core_minus_liver": minus(core, liver),
        "rim_minus_core": minus(rim, core),
        "capsule": capsule_of(rim, core, found.around_values),
    }


def _of_liver(found: _Reading) -> dict[str, Number]:
    liver = found.liver_values
    numbers: dict[str, Number] = {
        "liver_mean": NO_SCALE if found.phase.modality == "MR" else _single(liver, lambda v: float(v.mean())),
        "liver_p10": _single(found.liver_spread, lambda v: float(v[0])),
        "liver_p90": _single(found.liver_spread, lambda v: float(v[2])),
        "liver_sd": _single(liver, lambda v: float(v.std())),
    }
    for mm in LIVER_MM:
        fine, coarse = found.structure(found.phase.liver, liver, mm)
        numbers |= {f"liver_fine_{mm:g}": fine, f"liver_coarse_{mm:g}": coarse}
    return numbers


def _of_tumor(found: _Reading) -> dict[str, Number]:
    liver, tumor, rim, core = found.liver_values, found.tumor_values, found.rim_values, found.core_values
    parts = found.tumor
    regions: Mapping[str, Region | Missing] = (
        {"tumor": parts, "core": parts} if isinstance(parts, Missing) else {"tumor": parts.tumor, "core": parts.core}
    )
    numbers: dict[str, Number] = {
        "tumor_minus_liver": minus(tumor, liver),
        "tumor_sd": _single(tumor, lambda v: float(v.std())),
        "tumor_p10_minus_liver": _combined(tumor, liver, lambda t, v: float(np.percentile(t, 10) - v.mean())),
        "tumor_p90_minus_liver": _combined(tumor, liver, lambda t, v: float(np.percentile(t, 90) - v.mean())),
        **_contrasts(found),
        "rim_ratio": _ratio(found, rim, core, "core"),
        "core_sd": _single(core, lambda v: float(v.std())),
        "core_detrended_sd": _detrended_sd(core, parts if isinstance(parts, Missing) else parts.core_depth),
        "around_minus_liver": minus(found.around_values, liver),
    }
    fine, coarse = found.structure(regions["core"], core, CORE_MM)
    numbers |= {"core_fine_1_5": fine, "core_coarse_1_5": coarse}
    numbers["tumor_fine_1_5"] = found.structure(regions["tumor"], tumor, CORE_MM)[0]
    for mm in LIVER_MM:
        numbers[f"tumor_coarse_{mm:g}"] = found.structure(regions["tumor"], tumor, mm)[1]
    return numbers


def _detrended_sd(values: Values | Missing, depth: Values | Missing) -> Number:
    """SD about a quadratic of the depth."""
    if isinstance(values, Missing) or isinstance(depth, Missing):
        return values if isinstance(values, Missing) else Missing(str(depth))
    if len(values) < FEWEST_VOXELS:
        return Missing(f"the core has fewer than {FEWEST_VOXELS} voxels")
    steps = depth / depth.max()
    design = np.stack([np.ones_like(steps), steps, steps**2], axis=1)
    about = values - values.mean()  # of one value everywhere the SD is 0, not what rounding leaves
    return float((about - design @ np.linalg.lstsq(design, about, rcond=None)[0]).std())


def capsule_of(rim: Values | Missing, core: Values | Missing, around: Values | Missing) -> Number:
    """How much brighter the rim is than both what it encloses and what lies around it."""
    parts = (rim, core, around)
    lacking = [part for part in parts if isinstance(part, Missing)]
    if lacking:
        return lacking[0]
    shell, inside, outside = (float(np.mean(part)) for part in parts if not isinstance(part, Missing))
    return shell - max(inside, outside)


def _ratio(found: _Reading, one: Values | Missing, other: Values | Missing, name: str) -> Number:
    if found.phase.modality == "MR":
        return NO_SCALE
    if isinstance(other, np.ndarray) and float(other.mean()) <= 0:
        return Missing(f"the {name} has a mean of 0 HU or less: a ratio to it says nothing")
    return _combined(one, other, lambda a, b: float(a.mean() / b.mean()))


def _shares(found: _Reading, enhanced: bool | None) -> dict[str, Number]:
    unknown = "it is not known whether the phase is enhanced" if enhanced is None else "the phase is unenhanced"
    necrotic: Number = NO_SCALE if found.phase.modality == "MR" else Missing(unknown)
    if found.phase.modality == "CT" and enhanced:
        smooth = found.smooth_tumor
        necrotic = smooth if isinstance(smooth, Missing) else float((smooth < NECROTIC_HU).mean())
    return {
        "bright_share": found.share(brighter=True),
        "dark_share": found.share(brighter=False),
        "necrotic_share": necrotic,
    }


def _of_others(found: _Reading) -> dict[str, Number]:
    aorta = found.elsewhere("aorta")
    return {
        "spleen_minus_liver": minus(found.elsewhere("spleen"), found.liver_values),
        "aorta_minus_liver": minus(aorta, found.liver_values),
        "tumor_to_aorta": _ratio(found, found.tumor_values, aorta, "aorta"),
    }
