"""Grey-level discretisation: from intensities to whole levels, with PyRadiomics' bin edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.features.base import FeatureSettings, UndefinedError
from hepacast.radiomics.kernels.voi import PaddedVoi, Voi

#: More bins than this are a bin width that does not fit the image's unit; the edges alone would fill the memory.
MAX_BINS = 1 << 24

#: Up to this level the padded image holds the levels themselves, one byte a voxel.
BYTE_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Levels:
    """The grey levels of a VOI.

    Parameters
    ----------
    level
        Grey level (1, 2, ...) of each voxel, in the order of memory.
    counts
        ``counts[g]`` voxels have level g; ``counts[0]`` is 0.
    """

    level: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]

    @cached_property
    def present(self) -> npt.NDArray[np.int64]:
        """The levels that occur, ascending."""
        return np.flatnonzero(self.counts)

    @property
    def maximum(self) -> int:
        """The largest level: PyRadiomics' Ng."""
        return len(self.counts) - 1

    def padded(self, voi: Voi, margin: int) -> LevelImage:
        """The levels as a small image with an empty margin, see `LevelImage`."""
        return LevelImage.of(self, voi.padded(margin))


@dataclass(frozen=True, eq=False)
class LevelImage:
    """Levels on the padded bounding box, in as few bytes as they need.

    Parameters
    ----------
    box
        The padded box and its segments.
    codes
        Flat; 0 outside the VOI, else a code 1..n. Up to level 255 the code is the level (one byte); above, codes
        number the levels that occur, so that tables stay as small as the number of different levels.
    values
        Flat; the level itself of every voxel (the same array where codes are levels).
    level_of_code
        Level of each code; entry 0 is 0.
    present
        The codes that occur, ascending.
    """

    box: PaddedVoi
    codes: npt.NDArray[Any]
    values: npt.NDArray[Any]
    level_of_code: npt.NDArray[np.int64]
    present: npt.NDArray[np.int64]

    @property
    def n_codes(self) -> int:
        """The largest code."""
        return len(self.level_of_code) - 1

    @classmethod
    def of(cls, levels: Levels, box: PaddedVoi) -> LevelImage:
        """Place `levels` in `box`."""
        if levels.maximum <= BYTE_LEVELS:
            codes = np.zeros(box.size, dtype=np.uint8)
            _scatter(levels.level, box.starts, box.lengths, codes)
            return cls(box, codes, codes, np.arange(levels.maximum + 1), levels.present)
        code_of_level = np.zeros(levels.maximum + 1, dtype=np.int32)
        code_of_level[levels.present] = np.arange(1, len(levels.present) + 1)
        n = len(levels.present)
        codes = np.zeros(box.size, dtype=np.uint8 if n <= BYTE_LEVELS else np.uint16 if n < 1 << 16 else np.int32)
        values = np.zeros(box.size, dtype=np.int32)
        _scatter(code_of_level[levels.level], box.starts, box.lengths, codes)
        _scatter(levels.level, box.starts, box.lengths, values)
        return cls(box, codes, values, np.concatenate([[0], levels.present]), np.arange(1, n + 1))


def bin_edges(low: Any, high: Any, settings: FeatureSettings) -> npt.NDArray[np.float64]:
    """Edges of the grey-level bins; a value v has level g where ``edges[g-1] <= v < edges[g]``.

    The arithmetic is PyRadiomics' own, in the image's own precision, since an edge that differs in its last digit
    moves the voxels that lie on it.

    Parameters
    ----------
    low, high
        Smallest and largest value in the VOI, as scalars of the image's type.

    Raises
    ------
    UndefinedError
        More than `MAX_BINS` bins.
    """
    if settings.bin_count is not None:
        edges = np.asarray(np.histogram_bin_edges(np.array([low, high]), bins=settings.bin_count), dtype=np.float64)
        edges[-1] += 1  # the maximum belongs to the last bin
        return edges
    width = settings.bin_width
    if float(high - low) / width > MAX_BINS:
        raise UndefinedError(f"values from {low:g} to {high:g} would need more than {MAX_BINS} bins of width {width:g}")
    start = low - (low % width)
    edges = np.arange(start, high + 2 * width, width).astype(np.float64)
    return edges if len(edges) > 1 else np.array([edges[0] - 0.5, edges[0] + 0.5])


def discretise(values: npt.NDArray[Any], settings: FeatureSettings, ends: tuple[Any, Any] | None = None) -> Levels:
    """Grey level of each value.

    Parameters
    ----------
    values
        Finite values of the VOI's voxels, float64 or float32, at least one.
    ends
        The smallest and the largest of them, where they are known.

    Raises
    ------
    UndefinedError
        The bin width asks for too many bins.
    """
    edges = bin_edges(*(ends or (values.min(), values.max())), settings)
    level = np.empty(values.size, dtype=np.int32)
    counts = np.zeros(len(edges) + 1, dtype=np.int64)
    _digitise(values, edges, level, counts)
    top = int(np.flatnonzero(counts)[-1])
    return Levels(level, counts[: top + 1])


@jit
def _digitise(values, edges, level, counts):  # type: ignore[no-untyped-def]
    """As numpy.digitize: guess the bin from the width, then step to where the edges say."""
    n = edges.size
    first = edges[0]
    scale = 1.0 / (edges[1] - first) if edges[1] > first else 0.0
    for v in range(values.size):
        value = np.float64(values[v])
        at = int(min(max((value - first) * scale, 0.0), n - 1.0))
        while at < n - 1 and value >= edges[at + 1]:
            at += 1
        while at >= 0 and value < edges[at]:
            at -= 1
        level[v] = at + 1
        counts[at + 1] += 1


@jit
def _scatter(level, starts, lengths, image):  # type: ignore[no-untyped-def]
    at = 0
    for s in range(starts.size):
        for i in range(starts[s], starts[s] + lengths[s]):
            image[i] = level[at]
            at += 1
