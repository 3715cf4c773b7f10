"""The liver network on a CT: crop to the abdomen, resample, one pass, keep the liver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hepacast.segmentation.builtin.abdomen import Box, abdomen_boxes, largest_piece
from hepacast.segmentation.builtin.network import LIVER
from hepacast.segmentation.builtin.resample import onto_grid, rescale

Network = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

_HALF_MM = tuple(mm / 2 for mm in LIVER.voxel_mm)

#: What is smaller (mL) is not a whole liver, and is looked for in further boxes.
_LEAST_ML = 400.0

#: A section of the liver at the end of a box (cm2) above which it counts as cut.
_CUT_CM2 = 5.0

#: Median of a liver (HU), steatotic ones and arterial phases included.
_LIVER_HU = (-40.0, 250.0)

#: Boxes that are looked at, at most.
_MOST_BOXES = 4

#: Slices of 3 mm by which a scan is continued above and below, so that a liver that the scan cuts does not end at a
#: wall of 0 HU (measured on a real CT: 5 slices are best; Dice of a cut liver 0.960 for 0.932, of a whole one equal).
_CONTINUED = 5


def normalized(hu: Array) -> npt.NDArray[np.float32]:
    """-200 to 200 HU as -0.5 to 0.5."""
    return (np.clip(hu, -200.0, 200.0) / 400.0).astype(np.float32)


def find_liver(network: Network, array: Array, spacing: Sequence[float], report: Callable[[float, str], None]) -> Mask:
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
    Boolean array of the same shape; empty where nothing was found.
    """
    best: Mask = np.zeros(array.shape, dtype=bool)
    largest = 0.0
    boxes = abdomen_boxes(array, spacing)[:_MOST_BOXES]
    for number, box in enumerate(boxes):
        report(0.05 + 0.9 * number / len(boxes), "liver network")
        found = _into(array.shape, box, _liver_in(network, array[box], spacing))
        size = _milliliters(found, spacing)
        if size > largest and _LIVER_HU[0] <= float(np.median(array[found])) <= _LIVER_HU[1]:
            best, largest = found, size
            # A liver that is cut where the box ends, and not the scan, may be whole in another box.
            if size >= _LEAST_ML and not _cut(found, box, spacing):
                break
    return best


def _liver_in(network: Network, array: Array, spacing: Sequence[float]) -> Mask:
    """The liver in a box."""
    field, size = _network_input(array, spacing)
    probability = network(field)
    # The network was trained with x to the right and y to the front.
    found = _without_margin(probability, size)[::-1, ::-1]
    return onto_grid(_one_piece(found > 0.5), LIVER.voxel_mm, array.shape, spacing)


def _milliliters(mask: Mask, spacing: Sequence[float]) -> float:
    return float(mask.sum()) * float(np.prod(spacing)) / 1000.0


def _cut(found: Mask, box: Box, spacing: Sequence[float]) -> bool:
    """Whether a liver reaches an end of the box that is not an end of the scan."""
    z = box[2]
    ends = [z.start] * (z.start > 0) + [z.stop - 1] * (z.stop < found.shape[2])
    area = float(spacing[0] * spacing[1]) / 100.0
    return any(float(found[:, :, end].sum()) * area > _CUT_CM2 for end in ends)


def _network_input(array: Array, spacing: Sequence[float]) -> tuple[npt.NDArray[np.float32], tuple[int, ...]]:
    """Resampled to 1.5 mm, median of 27, to 3 mm, normalized, in the middle of the network's field."""
    fine = rescale(array, spacing, _HALF_MM)
    smooth = _median(fine)
    del fine
    image = normalized(rescale(smooth, _HALF_MM, LIVER.voxel_mm))[::-1, ::-1]
    field = np.zeros(LIVER.input_size, dtype=np.float32)
    inner, outer = _centered(image.shape, LIVER.input_size)
    field[outer] = image[inner]
    x, y, z = outer
    field[x, y, max(0, z.start - _CONTINUED) : z.start] = field[x, y, z.start : z.start + 1]
    field[x, y, z.stop : z.stop + _CONTINUED] = field[x, y, z.stop - 1 : z.stop]
    return field, image.shape


def _median(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median of each voxel's 3 x 3 x 3 neighborhood, edges repeated (ITK's filter uses all cores)."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(array), [1, 1, 1]))


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


def _one_piece(mask: Mask) -> Mask:
    """The largest piece after thin bridges are cut (opening with the 18 nearest neighbors)."""
    from scipy import ndimage

    ball = ndimage.generate_binary_structure(3, 2)
    core = largest_piece(ndimage.binary_erosion(mask, ball))
    return ndimage.binary_dilation(core, ball)


def _into(shape: Sequence[int], box: Box, part: Mask) -> Mask:
    whole = np.zeros(tuple(shape), dtype=bool)
    whole[box] = part
    return whole
