"""Apply a trained nnU-Net to one image: tiles in, label map out, in bounded memory.

The same arithmetic as nnU-Net's own predictor (tiles half a patch apart, Gaussian weights, mean of the folds'
logits, linear resampling of the logits, argmax), but the resampled logits never exist as a whole: they are made
and reduced to labels slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

#: Above this size (bytes) logits are kept in half precision, as nnU-Net always does.
_HALF_ABOVE = 1 << 30

#: Tiles a forward pass on a CPU. PyTorch uses its fast convolution for small inputs only when several come at once.
_TILES_AT_ONCE = 4
#: And on a GPU, whose memory nnU-Net plans for training with two.
_TILES_AT_ONCE_GPU = 2

#: Logit of the background where no tile was computed, and (negative) of everything else.
_CERTAIN = 20.0

#: Arithmetic of the networks.
PRECISIONS = ("float32", "float16", "bfloat16")


def arithmetic(device_type: str, precision: str) -> AbstractContextManager[Any]:
    """Where networks run in the given precision: PyTorch's autocast, as nnU-Net does on a GPU."""
    import torch

    if precision == "float32":
        return nullcontext()
    return torch.autocast(device_type, dtype=getattr(torch, precision))


def tile_starts(size: Sequence[int], patch: Sequence[int], step: float) -> list[list[int]]:
    """Where tiles begin along each axis: evenly spread, at most `step` patches apart, ends covered."""
    starts = []
    for side, length in zip(size, patch, strict=True):
        most = max(0, side - length)
        count = int(np.ceil(most / (length * step))) + 1
        gap = most / (count - 1) if count > 1 else 0.0
        starts.append([int(np.round(gap * n)) for n in range(count)])
    return starts


def sliding_logits(
    network: Callable[[torch.Tensor], torch.Tensor],
    data: torch.Tensor,
    patch: Sequence[int],
    classes: int,
    *,
    device: Any,
    step: float = 0.5,
    mirror_axes: Sequence[int] = (),
    precision: str = "float32",
    wanted: Callable[[Sequence[int], Sequence[int]], bool] | None = None,
    regions: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Logits (class, slice, row, column) of a whole preprocessed image, averaged over overlapping tiles.

    Parameters
    ----------
    network, device, classes
        Maps (batch, channel, *patch) to (batch, class, *patch); where it is; its outputs.
    data
        Shape (channel, slice, row, column), normalized.
    patch, step
        Two sides for a 2-D network (applied slice by slice), three for a 3-D one; distance of tiles as a share of it.
    mirror_axes, precision
        Axes of the patch to mirror for test-time averaging; one of `PRECISIONS`.
    wanted
        Tells by its first voxel and the one after its last which tile is computed; None: all. Where none is, the
        logits say background.
    regions, report
        Whether outputs are regions of their own, not labels of which the first is the background; told of each tile.
    """
    import torch

    flat = len(patch) == 2
    patch3 = [1, *patch] if flat else list(patch)
    padded, crop = _pad(data, patch3)
    size = padded.shape[1:]
    corners = _corners(size, patch3, step, flat)
    if wanted is not None:
        corners = [corner for corner in corners if wanted(*_without_padding(corner, patch3, crop))]
    total, weight_sum = _sums(device, classes, size)
    weight = gaussian_weights(tuple(patch)).reshape(patch3).to(total)
    at_once = _TILES_AT_ONCE_GPU if device.type == "cuda" else _TILES_AT_ONCE
    for first in range(0, len(corners), at_once):
        group = corners[first : first + at_once]
        boxes = [tuple(slice(a, a + n) for a, n in zip(corner, patch3, strict=True)) for corner in group]
        batch = torch.stack([padded[(slice(None), *box)] for box in boxes]).to(device)
        with arithmetic(device.type, precision):
            outputs = _mirrored(network, batch[:, :, 0] if flat else batch, mirror_axes).to(total)
        for box, output in zip(boxes, outputs, strict=True):
            total[(slice(None), *box)] += (output.unsqueeze(1) if flat else output) * weight
            weight_sum[box] += weight
        if report is not None:
            report(min(first + at_once, len(corners)), len(corners))
    if wanted is not None:
        _say_background(total, weight_sum, regions)
    total /= weight_sum
    return total[(slice(None), *crop)].to("cpu")


def _without_padding(corner: Sequence[int], patch: Sequence[int], crop: Sequence[slice]) -> tuple[list[int], list[int]]:
    """First voxel of a tile and the one after its last, counted in the image before it was padded."""
    first = [a - part.start for a, part in zip(corner, crop, strict=True)]
    return first, [a + n for a, n in zip(first, patch, strict=True)]


def _say_background(total: torch.Tensor, weight_sum: torch.Tensor, regions: bool) -> None:
    """In place, where no tile was computed."""
    nowhere = weight_sum == 0
    weight_sum[nowhere] = 1.0
    total[:, nowhere] = -_CERTAIN
    if not regions:
        total[0, nowhere] = _CERTAIN


def _sums(device: Any, classes: int, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of logits and of weights over tiles, on the GPU if half of its free memory is enough."""
    import torch

    voxels = int(np.prod(size))
    kind = torch.float16 if classes * voxels * 4 > _HALF_ABOVE else torch.float32
    on_gpu = device.type == "cuda"
    if on_gpu:
        on_gpu = 2 * (classes + 1) * voxels * kind.itemsize <= torch.cuda.mem_get_info(device)[0]
    store = device if on_gpu else torch.device("cpu")
    return torch.zeros((classes, *size), dtype=kind, device=store), torch.zeros(tuple(size), dtype=kind, device=store)


def _corners(size: Sequence[int], patch: Sequence[int], step: float, flat: bool) -> list[tuple[int, int, int]]:
    """First voxel of every tile; a flat network takes every slice."""
    starts = tile_starts(size, patch, step)
    if flat:
        starts[0] = list(range(size[0]))
    return [(a, b, c) for a in starts[0] for b in starts[1] for c in starts[2]]


def count_tiles(shape: Sequence[int], patch: Sequence[int], step: float = 0.5) -> int:
    """Tiles needed for an image of `shape` (slice, row, column)."""
    if len(patch) == 2:
        return int(shape[0]) * count_tiles((1, *shape[1:]), (1, *patch), step)
    return int(np.prod([len(starts) for starts in tile_starts(shape, patch, step)]))


def gaussian_weights(patch: tuple[int, ...]) -> torch.Tensor:
    """Weights that favor a tile's center (sigma: an eighth of the patch), as nnU-Net's; never 0."""
    import torch
    from scipy.ndimage import gaussian_filter

    weights = np.zeros(patch)
    weights[tuple(side // 2 for side in patch)] = 1
    weights = gaussian_filter(weights, [side / 8 for side in patch], 0, mode="constant", cval=0)
    weights /= weights.max() / 10
    weights[weights == 0] = weights[weights > 0].min()
    return torch.from_numpy(weights.astype(np.float32))


def _pad(data: torch.Tensor, patch: Sequence[int]) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """Zero-pad an image smaller than the patch, half on each side."""
    import torch

    pads, crop = [], []
    for side, least in zip(data.shape[1:], patch, strict=True):
        missing = max(0, least - side)
        before = missing // 2
        pads.append((before, missing - before))
        crop.append(slice(before, before + side))
    if not any(chain.from_iterable(pads)):
        return data, tuple(crop)
    flat = list(chain.from_iterable(reversed(pads)))
    return torch.nn.functional.pad(data, flat), tuple(crop)


def _mirrored(
    network: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor, axes: Sequence[int]
) -> torch.Tensor:
    import torch

    output = network(batch)
    sets = [s for n in range(1, len(axes) + 1) for s in combinations([a + 2 for a in axes], n)]
    for flips in sets:
        output = output + torch.flip(network(torch.flip(batch, flips)), flips)
    return output / (len(sets) + 1)


def labels_on_grid(
    logits: torch.Tensor,
    shape: Sequence[int],
    *,
    separate_slices: bool,
    regions: Sequence[int] | None = None,
) -> npt.NDArray[np.uint8]:
    """Resample logits to the image's grid and take the labels, slice by slice.

    Equal to nnU-Net's export (linear interpolation, voxel centers aligned, edges clamped; with `separate_slices`
    nearest neighbor across slices, as nnU-Net does for thick slices), but it holds only one slice of logits.

    Parameters
    ----------
    logits
        Shape (class, slice, row, column).
    shape
        Wanted (slice, row, column).
    regions
        For models trained on overlapping regions: the label of each output, in order; otherwise argmax.
    """
    return labels_of([planes_on_grid(logits, shape, separate_slices=separate_slices)], shape, regions)


def planes_on_grid(logits: torch.Tensor, shape: Sequence[int], *, separate_slices: bool) -> Iterator[torch.Tensor]:
    """Logits (class, row, column) of each slice of the image's grid."""
    import torch

    slices, height, width = (int(n) for n in shape)
    scale = logits.shape[1] / slices
    same_plane = tuple(logits.shape[2:]) == (height, width)
    for index in range(slices):
        center = scale * (index + 0.5) - 0.5
        plane = _slice_at(logits, center, separate_slices)
        if not same_plane:
            plane = torch.nn.functional.interpolate(
                plane[None], size=(height, width), mode="bilinear", align_corners=False
            )[0]
        yield plane


def labels_of(
    models: Sequence[Iterator[torch.Tensor]], shape: Sequence[int], regions: Sequence[int] | None
) -> npt.NDArray[np.uint8]:
    """Labels (slice, row, column) from the planes of logits of one model, or the mean probability of several.

    Parameters
    ----------
    models
        For each model the planes of `planes_on_grid`.
    regions
        As in `labels_on_grid`.
    """
    import torch

    result = np.zeros([int(n) for n in shape], dtype=np.uint8)
    for index, planes in enumerate(zip(*models, strict=True)):
        plane = planes[0]
        if len(planes) > 1 and regions is None:
            plane = torch.stack([torch.softmax(item, 0) for item in planes]).mean(0)
        elif len(planes) > 1:
            plane = torch.stack([torch.sigmoid(item) for item in planes]).mean(0) - 0.5
        if regions is None:
            result[index] = _largest(plane.numpy())
        else:
            for output, label in enumerate(regions):
                result[index][(plane[output] > 0).numpy()] = label
    return result


def _largest(outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Index of the largest output of each pixel, the first of equals; a few outputs go faster one by one."""
    best, labels = outputs[0].copy(), np.zeros(outputs.shape[1:], dtype=np.uint8)
    for index, output in enumerate(outputs[1:], start=1):
        larger = output > best
        labels[larger] = index
        np.maximum(best, output, out=best)
    return labels


def _slice_at(logits: torch.Tensor, center: float, nearest: bool) -> torch.Tensor:
    last = logits.shape[1] - 1
    if nearest:
        return logits[:, min(max(int(np.floor(center + 0.5)), 0), last)].float()
    low = int(np.floor(center))
    part = center - low
    first = logits[:, min(max(low, 0), last)].float()
    if part == 0:
        return first
    return first * (1 - part) + logits[:, min(max(low + 1, 0), last)].float() * part
