"""Crops on disk, read a batch at a time: memory stays bounded however many patients there are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.files import atomic_path
from hepacast.errors import ModelError


@dataclass(frozen=True)
class CropStore:
    """One array of all patients in a file, opened as a memory map wherever it is needed.

    Parameters
    ----------
    path
        A ``.npy`` file, (n, ...).
    """

    path: Path

    @property
    def array(self) -> npt.NDArray[Any]:
        """The array, not in memory until it is read; nothing in the file can run code."""
        opened: npt.NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return opened

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        return np.asarray(self.array[rows])

    @classmethod
    def build(
        cls, path: Path, items: Sequence[Any], make: Callable[[Any], npt.NDArray[Any]], dtype: Any = np.float32
    ) -> CropStore:
        """Write the arrays of `items` one after the other; only one is in memory.

        Raises
        ------
        ModelError
            Two items have arrays of different shapes, or there is none.
        """
        if not len(items):
            raise ModelError("There is no patient to make a crop of.")
        first = np.asarray(make(items[0]), dtype=dtype)
        with atomic_path(path) as temporary:
            opened = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=(len(items), *first.shape))
            for row, item in enumerate(items):
                array = first if row == 0 else np.asarray(make(item), dtype=dtype)
                if array.shape != first.shape:
                    raise ModelError(
                        "Crops have different shapes.", expected=str(first.shape), found=f"{array.shape} in row {row}"
                    )
                opened[row] = array
            opened.flush()
            del opened
        return cls(path)

    @classmethod
    def keep(cls, path: Path, array: Any) -> CropStore:
        """An array as a store; a store stays what it is."""
        if isinstance(array, CropStore):
            return array
        return cls.build(path, range(len(array)), lambda row: np.asarray(array[row]), np.asarray(array[0]).dtype)


def hash_rows(array: Any, rows: npt.NDArray[np.int64]) -> str:
    """SHA-256 over some rows of an array."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.ascontiguousarray(array[int(row)]).tobytes())
    return digest.hexdigest()
