"""`CellCounts`: the non-empty cells of matrices of grey level by size (runs, zones, dependences)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Cells (code, size) that are not empty, of one or several matrices.

    Parameters
    ----------
    starts
        The cells of matrix a are ``starts[a]:starts[a + 1]``.
    code
        Grey-level code, 1..n.
    size
        Run length, zone size, or number of dependent voxels (the voxel itself included).
    count
        How many.
    """

    starts: npt.NDArray[np.int64]
    code: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    count: npt.NDArray[np.float64]

    @classmethod
    def of_table(cls, table: npt.NDArray[np.integer]) -> CellCounts:
        """One matrix from a dense table indexed [code, size]."""
        code, size = np.nonzero(table)
        count = table[code, size].astype(np.float64)
        return cls(np.array([0, len(code)]), code, size, count)

    @classmethod
    def join(cls, parts: list[CellCounts]) -> CellCounts:
        """Several matrices as one object, in the order given."""
        if not parts:
            empty = np.zeros(0, dtype=np.int64)
            return cls(np.zeros(1, dtype=np.int64), empty, empty, np.zeros(0))
        ends = np.cumsum([part.code.size for part in parts])
        return cls(
            np.concatenate([[0], ends]).astype(np.int64),
            np.concatenate([part.code for part in parts]),
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.count for part in parts]),
        )

    def matrices(self) -> list[CellCounts]:
        """Each matrix on its own."""
        pairs = zip(self.starts[:-1], self.starts[1:], strict=True)
        return [
            CellCounts(
                np.array([0, last - first]), self.code[first:last], self.size[first:last], self.count[first:last]
            )
            for first, last in pairs
        ]

    def merged(self, weights: npt.NDArray[np.float64]) -> CellCounts:
        """One matrix: the weighted sum of all."""
        width = int(self.size.max(initial=0)) + 1
        cells, place = np.unique(self.code * width + self.size, return_inverse=True)
        each = np.repeat(weights, np.diff(self.starts))
        count = np.asarray(np.bincount(place, self.count * each, minlength=len(cells)), dtype=np.float64)
        return CellCounts(np.array([0, len(cells)]), cells // width, cells % width, count)
