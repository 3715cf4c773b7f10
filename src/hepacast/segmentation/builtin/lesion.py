"""The lesion network inside a liver mask: resample to 1 x 1 x 3 mm, blank the rest, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from hepacast.segmentation.builtin.liver import Array, Mask, Network, normalized
from hepacast.segmentation.builtin.network import LESION
from hepacast.segmentation.builtin.resample import onto_grid, rescale

#: Value of voxels outside the liver (the lowest that the normalization gives).
_BLANK = -0.5

#: Margin around the liver's box, voxels of the resampled grid (two dilations).
_ROUNDS = 2


def find_lesions(
    network: Network,
    array: Array,
    liver: Mask,
    spacing: Sequence[float],
    report: Callable[[float, str], None],
    *,
    side_by_side: int = 1,
) -> Mask:
    """Lesions inside a liver.

    Parameters
    ----------
    network
        The lesion network.
    array
        HU, axes (x, y, z) to the left, the back and the head.
    liver
        Mask of the same shape; must not be empty.
    spacing
        mm along the axes.
    report
        Progress.
    side_by_side
        Tiles that the network may be given at once.
    """
    from scipy import ndimage

    # Resampling only the part around the liver: its grid must be centered on the same point as the whole's.
    inner = rescale(liver.astype(np.float32), spacing, LESION.voxel_mm) > 0.5
    if not inner.any():
        return np.zeros_like(liver)
    grown = ndimage.binary_dilation(inner, ndimage.generate_binary_structure(3, 2), iterations=_ROUNDS)
    image = rescale(normalized(array), spacing, LESION.voxel_mm)
    image = np.clip(np.where(grown, image, _BLANK), -0.5, 0.5)
    box = ndimage.find_objects(grown.astype(np.uint8))[0]
    # Trained with x to the right and y to the front.
    image, needed = image[box][::-1, ::-1], inner[box][::-1, ::-1]
    probability = np.zeros(image.shape, dtype=np.float32)
    tiles = [tile for tile in _tiles(image.shape) if needed[tile].any()]
    with ThreadPoolExecutor(side_by_side) as pool:
        for number, (tile, found) in enumerate(zip(tiles, pool.map(lambda tile: _apply(network, image, tile), tiles))):
            report(number / len(tiles), f"lesion network, tile {number + 1} of {len(tiles)}")
            probability[tile] = found
    whole = np.zeros(inner.shape, dtype=bool)
    whole[box] = (probability > 0.5)[::-1, ::-1]
    return onto_grid(whole, LESION.voxel_mm, array.shape, spacing, threshold=LESION_THRESHOLD)


#: The original takes every voxel that the interpolated mask touches at all.
LESION_THRESHOLD = 0.0


def _tiles(shape: Sequence[int]) -> Iterator[tuple[slice, slice, slice]]:
    """Boxes of the network's output size side by side; the last one of each row ends at the edge."""
    starts = []
    for n, tile in zip(shape, LESION.output_size, strict=True):
        row = list(range(0, n, tile)) if n > tile else [0]
        starts.append([min(start, max(0, n - tile)) for start in row])
    for x in starts[0]:
        for y in starts[1]:
            for z in starts[2]:
                corner = (x, y, z)
                a, b, c = (
                    slice(start, min(start + size, n))
                    for start, size, n in zip(corner, LESION.output_size, shape, strict=True)
                )
                yield a, b, c


def _apply(
    network: Network, image: npt.NDArray[np.float32], tile: tuple[slice, slice, slice]
) -> npt.NDArray[np.float32]:
    """The network's output over one box; what its field reaches beyond the image is 0, as in training."""
    field = np.zeros(LESION.input_size, dtype=np.float32)
    source, target, answer = [], [], []
    for box, size, out, inp, n in zip(
        tile, LESION.margin, LESION.output_size, LESION.input_size, image.shape, strict=True
    ):
        # A box shorter than the output (a small image) lies in the middle of it.
        lead = out // 2 - (box.stop - box.start) // 2
        first = box.start - lead - size
        low, high = max(0, first), min(n, first + inp)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
        answer.append(slice(lead, lead + box.stop - box.start))
    field[tuple(target)] = image[tuple(source)]
    return network(field)[tuple(answer)]
