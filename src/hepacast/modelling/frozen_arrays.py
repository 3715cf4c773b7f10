"""Arrays of a frozen classifier by name, and what each kind of classifier registers: writing, score, check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepacast.core.entries import Entry, require
from hepacast.modelling.base import Array

Settings = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


class NamedArrays:
    """Arrays by name, whose shapes are asked for; -1 is any length."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], place: str) -> None:
        self._arrays, self.place = arrays, place

    def of(self, name: str, *shape: int) -> NDArray[Any]:
        """The array of this name."""
        where = f"{self.place}: {name}"
        require(name in self._arrays, where, "an array", "none")
        found = self._arrays[name]
        fits = found.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, found.shape))
        shown = " x ".join("n" if length == -1 else str(length) for length in shape)
        require(fits, where, f"an array of {shown}", " x ".join(map(str, found.shape)))
        return found

    def indices(self, name: str, below: int, *shape: int) -> NDArray[Any]:
        """Whole numbers from 0 up to a limit."""
        found = self.of(name, *shape)
        good = np.issubdtype(found.dtype, np.integer) and bool(((found >= 0) & (found < below)).all())
        require(good, f"{self.place}: {name}", f"whole numbers from 0 to {below - 1}", f"{found.dtype}")
        return found

    def within(self, prefix: str) -> NamedArrays:
        """Those whose names begin with a prefix, without it."""
        own = {key.removeprefix(prefix): item for key, item in self._arrays.items() if key.startswith(prefix)}
        return NamedArrays(own, f"{self.place}: {prefix.rstrip('-')}")


class ArrayForm(NamedTuple):
    """One kind of frozen classifier.

    Parameters
    ----------
    classes
        Names of the classes of fitted classifiers that become this kind.
    freeze
        A fitted classifier as settings (JSON-able) and arrays.
    score
        The score of each row from settings, arrays and values, shape (n,).
    check
        Raises a `ModelError` where settings and arrays, read from a file, do not fit one another and the number of
        features.
    """

    classes: tuple[str, ...]
    freeze: Callable[[Any], tuple[Settings, Arrays]]
    score: Callable[[Mapping[str, Any], Mapping[str, Any], Array], Array]
    check: Callable[[Entry, NamedArrays, int], None]
