"""Are an image and its masks plausible? The one judge of `check`, `run`, `extract`, `predict` and `segment`.

What is doubtful is said, and a person looks at it; what is impossible stops the work until a person accepts it.
Nothing is corrected here. HU are judged only where the image is a CT; of MR what holds in any intensity unit: volumes,
labels, the run of edges, gray levels.

References
----------
HU: Kodama Y et al., AJR 2007;188:1307-1312 (unenhanced livers, steatosis); Heiken JP et al., Radiology 1995;195:353-357
(enhancement by 50 HU and more); Goldman IS et al., AJR 1985;144:541-546 (dense livers). Volumes: Vauthey JN et al.,
Liver Transpl 2002;8:233-240. Gray levels: Tixier F et al., J Nucl Med 2012;53:693-700.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Volume
from hepacast.imaging.morphology import bounding_box, components
from hepacast.imaging.structures import by_role, with_unions
from hepacast.segmentation.doubts import Remark
from hepacast.segmentation.edges import edge_ratio
from hepacast.segmentation.phases import judge_phases

Modality = Literal["CT", "MR"]

#: Volume of an adult's liver, mL: normal ones 1000 to 2200; cirrhosis, resection and large tumors reach further.
LIVER_ML = (500.0, 5000.0)
#: How far to the right of the body's middle a liver's middle lies, at least (mm); in the middle lie bladder and heart.
RIGHT_MM = 15.0
#: Share of air at the four sides of the slices from which the body's outline is in view.
OUTLINE = 0.3
#: No liver is larger than this (mL), polycystic ones included.
LARGEST_LIVER_ML = 15000.0
#: Median HU of the liver in any phase; outside the second range it is no liver, or the values are no HU.
LIVER_HU, LIVER_HU_POSSIBLE = (20.0, 200.0), (-60.0, 320.0)
#: Median HU of a tumor: fat, gas and necrosis below, iodized oil above.
TUMOR_HU, TUMOR_HU_POSSIBLE = (-20.0, 250.0), (-150.0, 900.0)
#: Below this (HU) a voxel is gas or lung.
AIR_HU = -300.0
#: Air in a CT (HU), with noise.
AIR_OF_CT = (-1100.0, -900.0)
#: Share of all that is no air in the image from which on a mask outlines nothing (a body, an inverted mask).
COVERS = 0.9
#: Share of gas or lung that a mask may hold at its border; of a structure that is no liver or tumor.
AIR_SHARE, AIR_SHARE_OF_OTHERS = 0.05, 0.3
#: Largest and smallest plausible spread of HU in a liver: (P95 - P5) / 3.29, a standard deviation without its tails.
SPREAD_HU = (0.5, 60.0)
#: So few voxels may be alike in any image.
ALIKE_BY_CHANCE = 10
#: Lower values (HU) are no measurement, but padding outside the field of view.
PADDING_HU = -1500.0
#: Gray levels of a VOI at the settings' bin width: with fewer texture says nothing, with more each level is rare.
GRAY_LEVELS = (8, 256)
#: Voxel sizes (mm) of CT and MR of the abdomen, along any axis.
USUAL_VOXEL_MM = (0.2, 12.0)
#: A second piece of the liver larger than this share is worth a look.
SECOND_PIECE = 0.05
#: Lesions smaller than this (mL) are mostly noise in a 5-mm CT.
SMALL_LESION_ML = 0.1
#: Share of a structure's outer surface that lies on another one from which it counts as enclosed by it: tumors that
#: reach the liver's surface have 0.65 and more, the rest of a liver that is mostly tumor less than 0.5.
ENCLOSED = 0.6
#: Edge strength at a mask's surface, over that at the surface of the mask moved aside (`edge_ratio`).
EDGE_RATIO = 1.08
#: Share of the tumor in the liver's mask from which on that is the whole liver; share beside it that is no border's.
DRAWN_WHOLE, OUTSIDE = 0.3, 0.05
#: MR: below this part of the brightest tissue (99th percentile) there is air or no signal.
NO_SIGNAL = 0.03

_ORGAN = ("liver", "parenchyma")
_SWAPPED = (
    "the labels look swapped: the tumor encloses the parenchyma and is larger (ITK-SNAP drawings often have 1 = tumor, "
    "2 = liver)"
)


@dataclass(frozen=True)
class VoiValues:
    """Size and intensities of one VOI; intensities in the image's unit (CT: HU), NaN where it is empty.

    Attributes
    ----------
    volume_ml
        Volume, mL.
    median, p5, p95, minimum, maximum
        Of the finite intensities.
    """

    voi: str
    volume_ml: float
    median: float
    p5: float
    p95: float
    minimum: float
    maximum: float

    def gray_levels(self, bin_width: float) -> int:
        """Bins whose edges are multiples of the width, from the lowest to the highest intensity."""
        return int(np.floor(self.maximum / bin_width) - np.floor(self.minimum / bin_width)) + 1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def modality_of(volume: Volume) -> Modality | None:
    """What a DICOM file says that its image is; None for other formats and other modalities."""
    kinds: dict[str, Modality] = {"CT": "CT", "MR": "MR"}
    return kinds.get(volume.modality)


def judge_image(volume: Volume, modality: Modality | None) -> list[Remark]:
    """What is not plausible about an image, whatever is outlined in it.

    Parameters
    ----------
    volume
        The image.
    modality
        ``CT`` promises HU, ``MR`` that they are none; None: not known.
    """
    found = _voxel_size(volume)
    if modality == "MR" and ((volume.array >= AIR_OF_CT[0]) & (volume.array <= AIR_OF_CT[1])).mean() > AIR_SHARE:
        problem = "much of it has the value of air in a CT (about -1000): is this an MR image?"
        found.append(Remark("doubtful", "not-mr", "image", problem, f"minimum {_range(volume.array)[0]:.6g}"))
    if modality != "CT":
        return found
    low, high = _range(volume.array)
    shown = f"values from {low:.4g} to {high:.4g}"
    if high - low <= 2.0:
        problem = "the values are scaled to 0 to 1 and are no HU"
        return [*found, Remark("impossible", "not-hu", "image", problem, shown)]
    if low >= 0 and high <= 255:
        problem = "the values have been windowed to 0 to 255 and are hardly HU"
        found.append(Remark("doubtful", "not-hu", "image", problem, shown))
    elif low >= 0:
        problem = "no value is below 0, so air, fat or the rescale intercept (often -1024) is lacking: hardly HU"
        found.append(Remark("doubtful", "not-hu", "image", problem, shown))
    elif low > AIR_HU:
        problem = f"no value is below {AIR_HU:g}, as air is: the values have been clipped, or are no HU"
        found.append(Remark("doubtful", "not-hu", "image", problem, shown))
    if low < PADDING_HU:
        problem = f"values below {PADDING_HU:g} HU are padding outside the field of view; filters would read them"
        found.append(Remark("doubtful", "padding", "image", problem, f"minimum {low:.6g}"))
    return found


def _voxel_size(volume: Volume) -> list[Remark]:
    """A size in another unit than mm that `hepacast.imaging.nifti.PLAUSIBLE_MM` does not rule out."""
    low, high = USUAL_VOXEL_MM
    if low <= min(volume.spacing) and max(volume.spacing) <= high:
        return []
    shown = " x ".join(f"{step:.4g}" for step in volume.spacing) + " mm"
    problem = "the voxel size is unusual for a scan of the abdomen: is the header in another unit than mm?"
    return [Remark("doubtful", "voxel-size", "image", problem, shown)]


def judge(
    volumes: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    modalities: Mapping[str, Modality | None],
    *,
    made: bool = False,
) -> list[Remark]:
    """Everything that is not plausible about one patient's images and structures.

    Parameters
    ----------
    volumes
        Images by sequence; the masks are drawn on the first one. An image on another grid is judged without them.
    masks
        Boolean volumes by name; ``liver``, ``parenchyma`` and ``tumor`` have rules of their own, however they are
        spelt (see `by_role`). An empty structure is no remark: whether it may be is decided by who wants to
        measure it.
    modalities
        ``CT`` or ``MR`` by sequence; None (not known): a CT where the image holds air.
    made
        The masks were made by a network, so nobody has said that there is a liver in the image: what is hardly one is
        impossible then.
    """
    named = by_role(masks)
    masks = with_unions(named)
    found = [*_beyond_the_liver(named), *judge_masks(masks)]
    if made:
        found = _hardly_a_liver(found, masks, next(iter(volumes.values())))
    for sequence, volume in volumes.items():
        modality = modalities.get(sequence)
        own = judge_image(volume, modality)
        if all(volume.geometry.is_same(mask.geometry) for mask in masks.values()):
            own += judge_intensities(masks, volume, modality)
        prefix = f"{sequence}, " if len(volumes) > 1 else ""
        found += [replace(item, structure=f"{prefix}{item.structure}") for item in own]
    return [*found, *judge_phases(volumes, masks, modalities)] if len(volumes) > 1 else found


def judge_masks(masks: Mapping[str, Volume]) -> list[Remark]:
    """What is not plausible about volumes and places of structures, whatever the image shows."""
    present = {name: mask for name, mask in masks.items() if mask.array.any()}
    ends = [name for name, mask in present.items() if mask.array[0].any() or mask.array[-1].any()]
    problem = "reaches the first or last slice, so the scan may not show all of it"
    small = _cropped(present)
    return [
        *_volumes(small),
        *_labels(small),
        *(Remark("doubtful", "cut-off", name, problem) for name in ends if name in ("liver", "tumor")),
    ]


def _hardly_a_liver(found: list[Remark], masks: Mapping[str, Volume], volume: Volume) -> list[Remark]:
    """The remarks on a network's masks: a liver of no liver's volume, though the scan shows all of it, is none."""
    organ = next((name for name in _ORGAN if name in masks and masks[name].array.any()), None)
    if organ is None or not volume.geometry.is_same(masks[organ].geometry):
        return found
    ends = masks[organ].array[[0, -1]].any()
    raised = [
        replace(item, severity="impossible", problem=f"this is hardly a liver: {item.problem}")
        if item.code == "liver-volume" and not ends
        else item
        for item in found
    ]
    right = _right_of_the_middle(volume, masks[organ])
    shown = f"its middle {abs(right):.0f} mm to the {'right' if right > 0 else 'left'} of the body's"
    if not right < RIGHT_MM:
        return raised
    problem = "this is hardly a liver: it lies in the middle of the body"
    if right <= -RIGHT_MM:
        problem = "it lies on the patient's left: no liver, situs inversus, or left and right exchanged in the header"
    return [*raised, Remark("impossible", "liver-place", organ, problem, shown)]


def _right_of_the_middle(volume: Volume, mask: Volume) -> float:
    """From the middle of all that is denser than air to the mask's, toward the patient's right (mm).

    NaN where the body's outline is not in view: an image cropped to the liver, or an MR.
    """
    slices = np.flatnonzero(mask.array.any(axis=(1, 2)))[:: max(1, round(5.0 / volume.spacing[2]))]
    dense = volume.array[slices] > AIR_HU
    border = np.concatenate([dense[:, end].ravel() for end in (0, -1)] + [dense[:, :, end].ravel() for end in (0, -1)])
    if border.mean() > 1 - OUTLINE:
        return float("nan")
    tissue, inside = (np.argwhere(array).mean(axis=0) for array in (dense, mask.array[slices].astype(bool)))
    steps = (inside - tissue)[::-1] * np.array(volume.spacing)
    return -float((np.array(volume.geometry.direction, dtype=float) @ steps)[0])


def judge_intensities(masks: Mapping[str, Volume], volume: Volume, modality: Modality | None) -> list[Remark]:
    """What is not plausible about the intensities in structures, and about their border in the image."""
    lowest = _range(volume.array)[0]
    known: Modality | None = "CT" if modality is None and lowest <= AIR_HU else modality
    present = {name: mask for name, mask in masks.items() if mask.array.any()}
    # The liver beside its parenchyma is the same tissue and the tumor once more.
    judged = {name: mask for name, mask in present.items() if name != "liver" or "parenchyma" not in present}
    found = [item for name, mask in judged.items() for item in _intensities(name, volume, mask, known)]
    found += [item for name, mask in judged.items() for item in _covers(name, volume, mask, known)]
    found += [item for name, mask in judged.items() for item in _partly_empty(name, volume, mask)]
    organ = next((present[name] for name in _ORGAN if name in present), None)
    if organ is None or known != "CT" or any(item.severity == "impossible" for item in found):
        return found
    return [*found, *_edges(volume, organ)]


def measure_voi(name: str, mask: Volume, volume: Volume) -> VoiValues:
    """Volume and intensities of one VOI, for the table of all patients."""
    values = _finite(volume.array[mask.array.astype(bool)])
    ml = float(np.count_nonzero(mask.array)) * mask.geometry.voxel_volume_mm3 / 1000.0
    if not values.size:
        return VoiValues(name, ml, np.nan, np.nan, np.nan, np.nan, np.nan)
    low, p5, median, p95, high = (float(value) for value in np.percentile(values, [0, 5, 50, 95, 100]))
    return VoiValues(name, ml, median, p5, p95, low, high)


def lowest_value(volume: Volume) -> float:
    """The lowest finite intensity of an image."""
    return _range(volume.array)[0]


def judge_levels(values: VoiValues, bin_width: float | None) -> list[Remark]:
    """Whether a VOI has too few or too many gray levels of a bin width (intensity) for texture."""
    if not bin_width or not np.isfinite(values.maximum - values.minimum):
        return []
    levels, (low, high) = values.gray_levels(bin_width), GRAY_LEVELS
    if low <= levels <= high:
        return []
    problem = f"fewer than {low} gray levels" if levels < low else f"more than {high} gray levels"
    text = f"{problem} at a bin width of {bin_width:g}: texture says little, choose another width"
    return [Remark("doubtful", "gray-levels", values.voi, text, f"{levels} levels")]


# -- rules -------------------------------------------------------------------------------------------------------------


def _volumes(masks: Mapping[str, Volume]) -> list[Remark]:
    found = []
    organ = "liver" if "liver" in masks else "parenchyma"
    if organ in masks:
        found += _liver(organ, masks[organ])
    if "tumor" in masks:
        tumor = masks["tumor"]
        sizes = components(tumor)[1] * tumor.geometry.voxel_volume_mm3 / 1000.0
        small = int((sizes < SMALL_LESION_ML).sum())
        if small:
            problem = f"lesions smaller than {SMALL_LESION_ML} mL"
            found.append(Remark("doubtful", "small-lesions", "tumor", problem, f"{small} of {sizes.size}"))
    return found


def _liver(name: str, mask: Volume) -> list[Remark]:
    sizes = np.sort(components(mask)[1])[::-1]
    volume = float(sizes.sum()) * mask.geometry.voxel_volume_mm3 / 1000.0
    low, high = LIVER_ML
    if not low <= volume <= high:
        severity: Literal["doubtful", "impossible"] = "impossible" if volume > LARGEST_LIVER_ML else "doubtful"
        problem = f"the volume is not plausible for an adult's liver ({low:.0f} to {high:.0f} mL)"
        return [Remark(severity, "liver-volume", name, problem, f"{volume:.4g} mL")]
    if sizes.size > 1 and sizes[1] > SECOND_PIECE * sizes.sum():
        share = f"the second one holds {100 * sizes[1] / sizes.sum():.0f} %"
        return [Remark("doubtful", "liver-pieces", name, "the liver is in pieces", share)]
    return []


def _labels(masks: Mapping[str, Volume]) -> list[Remark]:
    """How tumor and liver lie to each other."""
    if "tumor" not in masks or not ({"liver", "parenchyma"} & set(masks)):
        return []
    tumor = masks["tumor"].array.astype(bool)
    whole = masks["liver"].array.astype(bool) if "liver" in masks else None
    rest = whole & ~tumor if whole is not None else masks["parenchyma"].array.astype(bool) & ~tumor
    tumor_ml, rest_ml = (
        float(np.count_nonzero(item)) * masks["tumor"].geometry.voxel_volume_mm3 / 1000.0 for item in (tumor, rest)
    )
    sizes = f"tumor {tumor_ml:.4g} mL, parenchyma {rest_ml:.4g} mL"
    if not rest.any():
        problem = "nothing of the liver lies outside the tumor: are the labels right?"
        return [Remark("doubtful", "all-tumor", "tumor", problem, sizes)]
    shared, tumor_free, rest_free = _faces(tumor, rest)
    if tumor_ml > rest_ml:
        if shared >= ENCLOSED * (shared + rest_free):
            return [Remark("impossible", "swapped-labels", "tumor", _SWAPPED, sizes)]
        hint = _SWAPPED.partition(" (")[2].rstrip(")")
        problem = f"the tumor is larger than the rest of the liver; if the labels are swapped, correct them ({hint})"
        return [Remark("doubtful", "large-tumor", "tumor", problem, sizes)]
    found = []
    if whole is not None and (outside := int((tumor & ~whole).sum())):
        share = f"{100 * outside / tumor.sum():.1f} % of its voxels"
        found.append(Remark("doubtful", "outside-liver", "tumor", "the tumor lies outside the liver", share))
    elif shared == 0 and tumor_free:
        found.append(Remark("doubtful", "apart", "tumor", "the tumor does not touch the liver", sizes))
    return found


def _beyond_the_liver(named: Mapping[str, Volume]) -> list[Remark]:
    """A tumor that is partly outside of a liver that was drawn as a whole, before the liver is joined with it.

    A liver that was drawn without its tumor shares its border with it at most.
    """
    if "parenchyma" in named or not {"liver", "tumor"} <= set(named):
        return []
    liver, tumor = (named[name].array.astype(bool) for name in ("liver", "tumor"))
    if liver.shape != tumor.shape or not tumor.any():
        return []
    inside = float(liver[tumor].mean())
    if not DRAWN_WHOLE <= inside <= 1.0 - OUTSIDE:
        return []
    share = f"{1.0 - inside:.0%} of its voxels"
    return [Remark("doubtful", "outside-liver", "tumor", "the tumor lies outside the liver", share)]


def _faces(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    """Voxel faces that two structures share, and those of each that lie on neither."""
    shared = first_free = second_free = 0
    box = bounding_box(first | second)
    if box is None:
        return 0, 0, 0
    a, b = first[box], second[box]
    for axis in range(3):
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        for x, y in ((tuple(lower), tuple(upper)), (tuple(upper), tuple(lower))):
            shared += int((a[x] & b[y]).sum())
            first_free += int((a[x] & ~a[y] & ~b[y]).sum())
            second_free += int((b[x] & ~a[y] & ~b[y]).sum())
        for end in (0, -1):
            first_free += int(np.take(a, end, axis).sum())
            second_free += int(np.take(b, end, axis).sum())
    return shared, first_free, second_free


def _intensities(name: str, volume: Volume, mask: Volume, modality: Modality | None) -> list[Remark]:
    values = _finite(volume.array[mask.array.astype(bool)])
    if not values.size:
        return [Remark("impossible", "no-number", name, "no voxel holds a number (all are NaN)")]
    if modality == "MR":
        return _without_signal(name, volume, values)
    p5, median, p95 = (float(value) for value in np.percentile(values, [5, 50, 95]))
    shown = f"median {median:.4g} HU, 5th to 95th percentile {p5:.4g} to {p95:.4g}"
    if modality is None:
        return _perhaps_shifted(name, median)
    if name not in (*_ORGAN, "tumor"):
        air = float((values < AIR_HU).mean())
        problem = "the mask lies in air or lung"
        return [Remark("doubtful", "air", name, problem, shown)] if air > AIR_SHARE_OF_OTHERS else []
    usual, possible = (LIVER_HU, LIVER_HU_POSSIBLE) if name in _ORGAN else (TUMOR_HU, TUMOR_HU_POSSIBLE)
    what = "a liver on CT" if name in _ORGAN else "a liver tumor on CT"
    if not usual[0] <= median <= usual[1]:
        sure = not possible[0] <= median <= possible[1]
        problem = f"{what} has a median of {usual[0]:g} to {usual[1]:g} HU in any phase"
        if usual[0] <= median - 1024 <= usual[1]:
            problem += "; these values are HU + 1024 (stored without the rescale intercept)"
        return [Remark("impossible" if sure else "doubtful", "intensity", name, problem, shown)]
    return _mixture(name, values, shown)


def _covers(name: str, volume: Volume, mask: Volume, modality: Modality | None) -> list[Remark]:
    """A mask of all that the image shows: the body, the whole image, or the background of a structure."""
    shown = volume.array >= AIR_HU if modality == "CT" else np.ones(volume.array.shape, bool)
    share = float((mask.array.astype(bool) & shown).sum() / max(int(shown.sum()), 1))
    if share < COVERS:
        return []
    problem = "the mask covers nearly the whole image: is it the background, or the body?"
    return [Remark("doubtful", "covers", name, problem, f"{share:.0%} of it")]


def _partly_empty(name: str, volume: Volume, mask: Volume) -> list[Remark]:
    """Voxels without a number in a mask that has others."""
    inside = volume.array[mask.array.astype(bool)]
    lost = int((~np.isfinite(inside)).sum()) if inside.dtype.kind == "f" else 0
    if not 0 < lost < inside.size:
        return []
    problem = "some voxels hold no number (NaN or infinity): features that read them are not defined"
    return [Remark("doubtful", "no-number", name, problem, f"{lost} of {inside.size}")]


def _without_signal(name: str, volume: Volume, values: npt.NDArray[np.float64]) -> list[Remark]:
    """An MR mask outside the body; of magnitudes only, as standardized intensities have no zero."""
    brightest, median = float(np.percentile(_finite(volume.array), 99)), float(np.median(values))
    if np.percentile(_finite(volume.array), 5) < 0 or median >= NO_SIGNAL * brightest:
        return []
    problem = "the mask lies where the image has hardly any signal: in air?"
    return [Remark("doubtful", "air", name, problem, f"median {median:.4g}, brightest tissue {brightest:.4g}")]


def _mixture(name: str, values: npt.NDArray[np.float64], shown: str) -> list[Remark]:
    """A mask that covers other tissue too, though its median is that of a liver."""
    air = float((values < AIR_HU).mean())
    if air > AIR_SHARE:
        return [Remark("doubtful", "air", name, "the mask holds air or lung", f"{air:.0%} of its voxels")]
    p5, p95 = np.percentile(values, [5, 95])
    spread = float(p95 - p5) / 3.29
    if spread < SPREAD_HU[0] and values.size >= ALIKE_BY_CHANCE:
        return [Remark("doubtful", "constant", name, "the intensities hardly differ: this is no measured image", shown)]
    if name in _ORGAN and spread > SPREAD_HU[1]:
        return [Remark("doubtful", "mixture", name, "the intensities differ more than in one organ", shown)]
    return []


def _perhaps_shifted(name: str, median: float) -> list[Remark]:
    """Of an image whose modality is not known: the intensity of soft tissue that would give a shifted CT away."""
    if LIVER_HU[0] <= median - 1024 <= LIVER_HU[1]:
        problem = "if this is a CT, its values are HU + 1024 (stored without the rescale intercept)"
        return [Remark("doubtful", "intensity", name, problem, f"median {median:.4g}")]
    return []


def _edges(volume: Volume, organ: Volume) -> list[Remark]:
    ratio = edge_ratio(volume, organ)
    if not ratio < EDGE_RATIO:
        return []
    problem = "the mask's border does not follow the image's edges: is it another patient's or another phase's?"
    return [Remark("doubtful", "edges", "liver", problem, f"edges {ratio:.2f} times those of the mask moved aside")]


def _cropped(masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The masks within the box that holds them all; the place in the patient is not kept."""
    if not masks:
        return {}
    union = np.logical_or.reduce([mask.array.astype(bool) for mask in masks.values()])
    box = bounding_box(union)
    if box is None:
        return dict(masks)
    cut = {}
    for name, mask in masks.items():
        array = mask.array[box].astype(bool)
        cut[name] = Volume(array, replace(mask.geometry, size=array.shape[::-1]))
    return cut


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    return numbers[np.isfinite(numbers)]


def _range(array: npt.NDArray[Any]) -> tuple[float, float]:
    if array.dtype.kind != "f":
        return float(array.min()), float(array.max())
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
