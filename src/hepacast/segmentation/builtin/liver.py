"""The liver network on a CT: crop to the abdomen, resample, one pass, keep the liver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hepacast.segmentation.builtin.abdomen import Box, abdomen_box, largest_piece
from hepacast.segmentation.builtin.network import LIVER
from hepacast.segmentation.builtin.resample import onto_grid, rescale

Network = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

_HALF_MM = tuple(mm / 2 for mm in LIVER.voxel_mm)


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
    box = abdomen_box(array, spacing)
    report(0.05, "resampling")
    field, size = _network_input(array[box], spacing)
    report(0.3, "liver network")
    probability = network(field)
    report(0.9, "liver mask")
    # The network was trained with x to the right and y to the front.
    found = _without_margin(probability, size)[::-1, ::-1]
    liver = _one_piece(found > 0.5)
    return _into(array.shape, box, onto_grid(liver, LIVER.voxel_mm, array[box].shape, spacing))


def _network_input(array: Array, spacing: Sequence[float]) -> tuple[npt.NDArray[np.float32], tuple[int, ...]]:
    """Resampled to 1.5 mm, median of 27, to 3 mm, normalized, in the middle of the network's field."""
    fine = rescale(array, spacing, _HALF_MM)
    smooth = _median(fine)
    del fine
    image = normalized(rescale(smooth, _HALF_MM, LIVER.voxel_mm))[::-1, ::-1]
    field = np.zeros(LIVER.input_size, dtype=np.float32)
    inner, outer = _centered(image.shape, LIVER.input_size)
    field[outer] = image[inner]
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
