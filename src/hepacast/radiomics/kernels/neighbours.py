"""What surrounds each voxel: the counts behind the GLDM and the NGTDM, from one visit of all neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.kernels.offsets import flat_offsets


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Tables by level code.

    Parameters
    ----------
    dependence
        ``dependence[code, d]`` voxels have d dependent neighbours.
    voxels
        ``voxels[code, m]`` voxels have m neighbours in the VOI.
    difference
        ``difference[code, m]``: sum of \\|m g - (sum of the neighbours' levels)\\| over those voxels, a whole
        number; divided by m it is the sum of the differences to the neighbours' mean.
    """

    dependence: npt.NDArray[np.int64]
    voxels: npt.NDArray[np.int64]
    difference: npt.NDArray[np.int64]


def count_neighbours(image: LevelImage, offsets: npt.NDArray[np.int64], alpha: int) -> Neighbourhoods:
    """Visit the neighbours at `offsets` and opposite to them.

    Parameters
    ----------
    alpha
        Largest level difference of dependent neighbours.
    """
    n = 2 * len(offsets)
    narrow = image.values.dtype == np.uint8 and n * 255 < 1 << 16
    longest = int(image.box.lengths.max(initial=1))
    shape = (image.n_codes + 1, n + 1)
    dependence, voxels, difference = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    _visit(
        image.codes,
        image.values,
        image.box.starts,
        image.box.lengths,
        flat_offsets(offsets, image.box.shape),
        alpha,
        np.empty((2, longest), dtype=np.uint16),
        np.empty(longest, dtype=np.uint16 if narrow else np.int64),
        dependence,
        voxels,
        difference,
    )
    return Neighbourhoods(dependence, voxels, difference)


@jit
def _add_equal(here, before, after, same, known, total):  # type: ignore[no-untyped-def]
    for i in range(here.size):
        same[i] += np.uint16(here[i] == before[i]) + np.uint16(here[i] == after[i])
        known[i] += np.uint16(before[i] != 0) + np.uint16(after[i] != 0)
        total[i] += before[i]
        total[i] += after[i]


@jit
def _add_similar(here, there, alpha, same, known, total):  # type: ignore[no-untyped-def]
    for i in range(here.size):
        apart = abs(np.int64(here[i]) - np.int64(there[i]))
        same[i] += np.uint16(there[i] != 0 and apart <= alpha)
        known[i] += np.uint16(there[i] != 0)
        total[i] += there[i]


@jit
def _visit(codes, values, starts, lengths, offsets, alpha, work, sums, dependence, voxels, difference):  # type: ignore[no-untyped-def]
    for s in range(starts.size):
        a, n = starts[s], lengths[s]
        here = values[a : a + n]
        same, known, total = work[0, :n], work[1, :n], sums[:n]
        same[:] = 0
        known[:] = 0
        total[:] = 0
        for o in range(offsets.size):
            before = values[a - offsets[o] : a - offsets[o] + n]
            after = values[a + offsets[o] : a + offsets[o] + n]
            if alpha == 0:
                _add_equal(here, before, after, same, known, total)
            else:
                _add_similar(here, before, alpha, same, known, total)
                _add_similar(here, after, alpha, same, known, total)
        for i in range(n):
            code = codes[a + i]
            m = known[i]
            dependence[code, same[i]] += 1
            voxels[code, m] += 1
            difference[code, m] += abs(np.int64(here[i]) * np.int64(m) - np.int64(total[i]))
