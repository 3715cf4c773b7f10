"""The liver network on a CT: several hypotheses of where and how the abdomen lies, the most plausible liver is taken.

Each look is a crop to a box, resampling, one pass, one piece. What was found surely is looked at once more from nearby,
since bowel and kidney far below the liver are taken for it where a whole pelvis is in view. A liver that is sure of
itself, on the right, of a liver's size and not cut by the box ends the search; else other boxes are tried, and then the
scan mirrored, turned and upside down, as wrong headers and situs inversus leave it.

Of a scan that begins within the liver the networks are less sure, the less of it is left: kidney, gallbladder and bowel
are taken for it in one look and not in another. There several looks from the upper end down are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hepacast.segmentation.builtin.abdomen import Box, abdomen_boxes, largest_piece
from hepacast.segmentation.builtin.median import median_of_27
from hepacast.segmentation.builtin.network import LIVER
from hepacast.segmentation.builtin.resample import onto_grid, rescale

Network = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

_HALF_MM = tuple(mm / 2 for mm in LIVER.voxel_mm)
_MM = LIVER.voxel_mm[2]

#: Volume of a whole liver (mL).
_LIVER_ML = (400.0, 5000.0)

#: A section of the liver at the end of a box (cm2) above which it counts as cut.
_CUT_CM2 = 5.0

#: Median of a liver (HU), steatotic ones and arterial phases included.
_LIVER_HU = (-40.0, 199.0)

#: How far a liver's middle lies to the right of the body's, at least (mm); what lies in the middle is bladder or heart.
_RIGHT_MM = 15.0

#: Mean probability inside what was found: of livers 0.90 to 0.93 on the CTs tried, 0.86 where a fifth is bowel, 0.88
#: of one upside down.
_SURE = 0.89

#: The same of a patient who lies otherwise than the file says: bowel turned over reached 0.898, true livers 0.914.
_SURE_OF_TURNED = 0.9

#: What a liver loses of its plausibility for each thing that a liver is not.
_UNLIKE = 0.3

_UNSURE = "the network is not sure that this is a whole liver: look at the mask"

#: Less plausible is nothing at all (two things that a liver is not).
_LEAST = 0.45

#: Boxes that are looked at, at most.
_MOST_BOXES = 4

#: Further looks: around voxels of this probability with so much above and below (mm); where that cut the liver, so much
#: (mm) is added; at most so many in a box.
_CORE, _NEARBY_MM, _FURTHER_MM, _MOST_LOOKS = 0.9, 30.0, 60.0, 4

#: A liver at the upper end of the scan: looks at parts that are so much (mm) higher each, at least so many.
_HIGHER_MM, _LEAST_LOOKS = 60.0, 3

#: What their mean is above is likely. It is cut at one of these levels, even steps in logit (a border is even in it):
#: from that about which least is lost down, as long as hardly more is lost (so much). Bowel and kidney beside the tip
#: of a liver leave step by step, a liver has a border.
_LIKELY, _AS_STEADY = 0.5, 0.02
_LEVELS = tuple(float(1 / (1 + np.exp(-logit))) for logit in np.arange(0.0, 3.51, 0.25))

#: HU are smoothed so far (voxels) before what lies beside a cut liver is called alike or unlike; alike is what differs
#: from its median by at most so many robust standard deviations of its own smoothed HU, or so many HU.
_SMOOTH, _ALIKE, _ALIKE_HU = 1.5, 2.5, 10.0

#: Slices of 3 mm by which a scan is continued above and below, so that a liver that the scan cuts does not end at a
#: wall of 0 HU (measured on a real CT: 5 slices are best; Dice of a cut liver 0.960 for 0.932, of a whole one equal).
_CONTINUED = 5

#: Ways in which the scan may lie, as axes that are flipped, and what is told of them.
_TURNS: dict[tuple[int, ...], str] = {
    (): "",
    (0,): "the liver was found with left and right exchanged: situs inversus, or a wrong header?",
    (0, 1): "the liver was found with the patient turned over: prone, and the header says supine?",
    (2,): "the liver was found with head and feet exchanged: is the order of the slices wrong?",
}


def normalized(hu: Array) -> npt.NDArray[np.float32]:
    """-200 to 200 HU as -0.5 to 0.5."""
    return (np.clip(hu, -200.0, 200.0) / 400.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Liver:
    """What one look found, on voxels of 3 mm of its box, x to the right and y to the front.

    Attributes
    ----------
    mask
        The liver.
    plausibility
        Mean probability inside it, less `_UNLIKE` for what a liver is not.
    cut
        Whether it reaches the lower and the upper end of what was looked at, where the scan goes on.
    at_top
        Whether it reaches the upper end, wherever the scan ends.
    """

    mask: Mask
    plausibility: float
    cut: tuple[bool, bool]
    at_top: bool


def find_liver(
    network: Network, array: Array, spacing: Sequence[float], report: Callable[[float, str], None]
) -> tuple[Mask, tuple[str, ...]]:
    """The liver in a CT.

    Parameters
    ----------
    network
        The liver network.
    array
        HU, axes (x, y, z) to the left, the back and the head.
    spacing
        mm along them.
    report
        Progress.

    Returns
    -------
    mask
        Boolean array of the same shape; empty where nothing was found.
    notes
        What a reader should know of it.
    """
    best: tuple[_Liver, Box, tuple[int, ...]] | None = None
    for number, (turned, box) in enumerate(_hypotheses(array, spacing)):
        report(0.05 + 0.9 * number / (number + 2), "liver network")
        image = _prepared(np.flip(array, turned)[box], spacing)
        found = _look(network, image, _ends(box, array.shape[2]))
        if (
            not turned
            and box[2].stop == array.shape[2]
            and (found is None or found.plausibility < _SURE or found.at_top)
        ):
            found = _from_above(network, image, box[2].start > 0) or found
        # A patient who lies otherwise than the file says has to be sure: bowel upside down may look like a liver.
        if found is None or found.plausibility < (_SURE_OF_TURNED if turned else _LEAST):
            continue
        if best is None or found.plausibility > best[0].plausibility:
            best = found, box, turned
        if not turned and found.plausibility >= _SURE:
            break
    whole = np.zeros(array.shape, dtype=bool)
    if best is None:
        return whole, ()
    liver, box, turned = best
    part = np.flip(whole, turned)[box]
    part[...] = onto_grid(liver.mask[::-1, ::-1], LIVER.voxel_mm, part.shape, spacing)
    return whole, tuple(filter(None, [_TURNS[turned], _UNSURE if liver.plausibility < _SURE else ""]))


def _hypotheses(array: Array, spacing: Sequence[float]) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Axes to flip, and a box of the flipped scan: the likeliest first."""
    for turned in _TURNS:
        boxes = abdomen_boxes(np.flip(array, turned), spacing)
        yield from ((turned, box) for box in boxes[: 1 if turned else _MOST_BOXES])


def _ends(box: Box, slices: int) -> tuple[bool, bool]:
    """Whether the lower and the upper end of a box are not those of the scan."""
    return box[2].start > 0, box[2].stop < slices


def _look(network: Network, image: npt.NDArray[np.float32], open_ends: tuple[bool, bool]) -> _Liver | None:
    """The most plausible of looks at a box and at parts of it: around what is sure, and further where that was cut."""
    slices, near, further = image.shape[2], round(_NEARBY_MM / _MM), round(_FURTHER_MM / _MM)
    part, seen, best = (0, slices), set[tuple[int, int]](), None
    while part not in seen and len(seen) < _MOST_LOOKS:
        seen.add(part)
        low, high = part
        probability = _probability(network, image[:, :, low:high])
        found = _judged(image[:, :, low:high], probability, (open_ends[0] or low > 0, open_ends[1] or high < slices))
        if found is not None and (best is None or found.plausibility > best.plausibility):
            mask = np.zeros(image.shape, dtype=bool)
            mask[:, :, low:high] = found.mask
            best = replace(found, mask=mask)
        sure = np.flatnonzero(_one_piece(probability > _CORE).any(axis=(0, 1)))
        if found is None or not sure.size:
            break
        below = low - further if found.cut[0] else low + int(sure[0]) - near
        above = high + further if found.cut[1] else low + int(sure[-1]) + 1 + near
        below, above = max(0, below), min(slices, above)
        if abs(below - low) + abs(above - high) <= near // 2:
            break
        part = below, above
    return best


def _from_above(network: Network, image: npt.NDArray[np.float32], open_below: bool) -> _Liver | None:
    """A liver that the scan's upper end cuts: the mean of looks at the upper 60, 120, 180 mm, ... of a box.

    Further down than three looks only as long as the liver goes on there. None where it does not reach the upper end:
    if that shows neither lungs nor liver, it is not where a liver lies.
    """
    slices, step = image.shape[2], round(_HIGHER_MM / _MM)
    total, looks = np.zeros(image.shape, dtype=np.float32), np.zeros(slices, dtype=np.float32)
    once = np.zeros(image.shape, dtype=bool)
    for number, high in enumerate(range(step, slices + step, step), start=1):
        low = max(0, slices - high)
        probability = _probability(network, image[:, :, low:])
        total[:, :, low:] += probability
        once[:, :, low:] |= probability > _LIKELY
        looks[low:] += 1
        if number < _LEAST_LOOKS and low > 0:
            continue
        mean = total[:, :, low:] / looks[low:]
        liver = _steadiest(mean, once[:, :, low:], image[:, :, low:])
        found = _judged(image[:, :, low:], mean, (open_below or low > 0, False), liver)
        if found is None or not found.at_top:
            return None
        if low == 0 or not found.cut[0]:
            mask = np.zeros(image.shape, dtype=bool)
            mask[:, :, low:] = found.mask
            return replace(found, mask=mask)
    return None


def _steadiest(probability: npt.NDArray[np.float32], once: Mask, image: npt.NDArray[np.float32]) -> Mask:
    """The liver at the level about which its largest piece is steady (a maximally stable region, Matas 2004).

    Of the mean probability of several looks, with what was likely in one of them (`once`).
    """
    masks = [_one_piece(probability > level) for level in _LEVELS]
    kept = [float((m & inner).sum()) / max(1.0, float(m.sum())) for m, inner in zip(masks, masks[2:], strict=False)]
    steady = int(np.argmax(kept))
    while steady > 0 and kept[steady - 1] >= max(kept) - _AS_STEADY:
        steady -= 1
    liver = _one_piece(probability > _LEVELS[steady + 1], image)
    return _parted_by_hu(liver, probability > _LIKELY, once, image) if liver.any() else liver


def _parted_by_hu(liver: Mask, likely: Mask, once: Mask, image: npt.NDArray[np.float32]) -> Mask:
    """A cut liver with the lobes that its level missed, and without the bowel or gallbladder that it held.

    Lobes: what was likely in one look at least and has the liver's HU (smoothed), where it goes on with the liver or is
    joined to it above the image. Bowel and gallbladder: what has rather the HU of that which is likely but no liver,
    and goes on there; so a tumor, whatever its HU, stays. Only what is thicker than two voxels is moved: at borders HU
    are mixed.
    """
    median, apart = _own_hu(image, liver)
    alike = np.abs(_smoothed(image, once) - median) <= apart
    lobes = _opened(once & ~liver & alike)
    if lobes.any():
        liver = liver | _one_piece(liver | lobes, image)
    others = _opened(likely & ~_dilated(liver))
    if not others.any():
        return liver
    smooth = _smoothed(image, liver)
    unlike = _opened(liver & (np.abs(smooth - np.median(image[others])) < np.abs(smooth - median)))
    leaving = _touching(unlike, _dilated(others, 2))
    return _one_piece(liver & ~leaving, image) if leaving.any() else liver


def _judged(
    image: npt.NDArray[np.float32],
    probability: npt.NDArray[np.float32],
    open_ends: tuple[bool, bool],
    cut_by_scan: Mask | None = None,
) -> _Liver | None:
    """The largest piece, and how plausible it is as a liver.

    A given mask of a liver that the scan cuts may be small; what else the network took for it lowers its plausibility.
    """
    piece = _one_piece(probability > 0.5)
    mask = piece if cut_by_scan is None else cut_by_scan
    if not mask.any():
        return None
    area, volume = _MM * _MM / 100.0, LIVER.voxel_mm[0] * LIVER.voxel_mm[1] * _MM / 1000.0
    right = (float(np.nonzero(mask)[0].mean()) - (image.shape[0] - 1) / 2) * LIVER.voxel_mm[0]
    # Of thick slices the last voxel of a box is half outside (0 HU), so the one before it tells too.
    ends = (mask[:, :, :2], mask[:, :, -2:])
    reached = tuple(float(end.sum(axis=(0, 1)).max()) * area > _CUT_CM2 for end in ends)
    cut = (open_ends[0] and reached[0], open_ends[1] and reached[1])
    unlike = [
        not (0.0 if cut_by_scan is not None else _LIVER_ML[0]) <= mask.sum() * volume <= _LIVER_ML[1],
        not _LIVER_HU[0] <= 400.0 * float(np.median(image[mask])) <= _LIVER_HU[1],
        right < _RIGHT_MM,
        any(cut),
    ]
    return _Liver(mask, float(probability[piece].mean()) - _UNLIKE * sum(unlike), cut, reached[1])


def _prepared(array: Array, spacing: Sequence[float]) -> npt.NDArray[np.float32]:
    """Resampled to 1.5 mm, median of 27, to 3 mm, normalized; trained with x to the right and y to the front."""
    smooth = median_of_27(rescale(array, spacing, _HALF_MM))
    return normalized(rescale(smooth, _HALF_MM, LIVER.voxel_mm))[::-1, ::-1]


def _probability(network: Network, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The network's answer on the image's voxels, the image in the middle of its field, continued above and below."""
    field = np.zeros(LIVER.input_size, dtype=np.float32)
    inner, outer = _centered(image.shape, LIVER.input_size)
    field[outer] = image[inner]
    x, y, z = outer
    field[x, y, max(0, z.start - _CONTINUED) : z.start] = field[x, y, z.start : z.start + 1]
    field[x, y, z.stop : z.stop + _CONTINUED] = field[x, y, z.stop - 1 : z.stop]
    return _without_margin(network(field), image.shape)


def _centered(size: Sequence[int], field: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where an image and a field overlap when their central voxels (index n // 2) meet."""
    inner, outer = [], []
    for n, m in zip(size, field, strict=True):
        shift = m // 2 - n // 2
        first, last = max(0, -shift), min(n, m - shift)
        inner.append(slice(first, last))
        outer.append(slice(first + shift, last + shift))
    return tuple(inner), tuple(outer)


def _without_margin(probability: npt.NDArray[np.float32], size: Sequence[int]) -> npt.NDArray[np.float32]:
    """The probability map on the image's voxels; beyond the network's output its edge is repeated."""
    padded = np.pad(probability, [(m, m) for m in LIVER.margin], mode="edge")
    inner, outer = _centered(size, LIVER.input_size)
    result = np.zeros(tuple(size), dtype=np.float32)
    result[inner] = padded[outer]
    return result


def _one_piece(mask: Mask, image: npt.NDArray[np.float32] | None = None) -> Mask:
    """The largest piece after thin bridges are cut (opening with the 18 nearest neighbors; ends are repeated).

    With an image that ends within the liver, also what is joined to it above the image: pieces that reach the upper end
    as the largest does, with a median that is alike its own.
    """
    from scipy import ndimage

    # A slice more at both ends, as the last one.
    core = _eroded(np.pad(mask, ((0, 0), (0, 0), (1, 1)), mode="edge"))
    largest = kept = largest_piece(core)
    if image is not None and largest[:, :, -2].any():
        pieces, _ = ndimage.label(core)
        median, apart = _own_hu(image, largest[:, :, 1:-1])
        ends = [n for n in np.unique(pieces[:, :, -2]) if n]
        alike = [n for n in ends if abs(np.median(image[pieces[:, :, 1:-1] == n]) - median) <= apart]
        kept = largest | np.isin(pieces, alike)
    return _dilated(kept)[:, :, 1:-1]


def _eroded(mask: Mask) -> Mask:
    """Without its outermost voxels (18 neighbors)."""
    from scipy import ndimage

    eroded: Mask = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 2), border_value=1)
    return eroded


def _dilated(mask: Mask, times: int = 1) -> Mask:
    """With the voxels around it (18 neighbors)."""
    from scipy import ndimage

    dilated: Mask = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=times)
    return dilated


def _opened(mask: Mask) -> Mask:
    """What is thicker than two voxels; at the ends of an image it goes on as there."""
    core = _eroded(np.pad(mask, ((0, 0), (0, 0), (1, 1)), mode="edge"))[:, :, 1:-1]
    return _dilated(core) & mask


def _touching(mask: Mask, other: Mask) -> Mask:
    """The pieces of a mask that have voxels in another."""
    from scipy import ndimage

    pieces, _ = ndimage.label(mask)
    return np.isin(pieces, np.setdiff1d(pieces[other], [0]))


def _own_hu(image: npt.NDArray[np.float32], liver: Mask) -> tuple[float, float]:
    """Median of a liver's smoothed values away from its border, and how far from it is alike."""
    inner = _eroded(liver)
    within = _smoothed(image, liver)[inner if inner.any() else liver]
    median = float(np.median(within))
    spread = 1.4826 * float(np.median(np.abs(within - median)))
    return median, max(_ALIKE * spread, _ALIKE_HU / 400.0)


def _smoothed(image: npt.NDArray[np.float32], mask: Mask) -> npt.NDArray[np.float32]:
    """Local means of the image over a mask (Gaussian of `_SMOOTH` voxels)."""
    from scipy import ndimage

    weights = ndimage.gaussian_filter(mask.astype(np.float32), _SMOOTH, mode="nearest")
    total = ndimage.gaussian_filter(np.where(mask, image, np.float32(0)), _SMOOTH, mode="nearest")
    means: npt.NDArray[np.float32] = total / np.maximum(weights, np.float32(1e-6))
    return means
