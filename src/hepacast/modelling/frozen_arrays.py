"""What the arrays of each kind of frozen classifier have to be: read from a file, they are checked before they count.

Shapes fit one another and the number of features, every number is finite, and no tree leads in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepacast.core.entries import Entry, require
from hepacast.modelling.frozen_classifiers import ACTIVATIONS, KERNELS, FrozenClassifier

Arrays = Mapping[str, NDArray[Any]]

#: Deepest nesting of classifiers in stacks and calibrations.
_MAX_DEPTH = 4


def read_classifier(kind: str, settings: Any, arrays: Arrays, features: int, place: str) -> FrozenClassifier:
    """A classifier from its kind, settings and arrays.

    Parameters
    ----------
    features
        Number of columns of what it is applied to.
    place
        For messages.

    Raises
    ------
    ModelError
        An unknown kind, a setting or an array that is missing or impossible.
    """
    made = FrozenClassifier(kind, settings, dict(arrays))
    for name, array in arrays.items():
        numeric = np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
        require(numeric and bool(np.isfinite(array).all()), f"{place}: {name}", "finite numbers", array.dtype)
    _check(made, features, place, 0)
    return made


def _check(made: FrozenClassifier, features: int, place: str, depth: int) -> None:
    require(depth <= _MAX_DEPTH, place, f"classifiers at most {_MAX_DEPTH} deep in one another", depth)
    if made.kind in ("stack", "calibrated"):
        (_stack if made.kind == "stack" else _calibrated)(made, features, place, depth)
    else:
        _CHECKS[made.kind](Entry(made.settings, place), _Arrays(made.arrays, place), features)


class _Arrays:
    """Arrays by name, whose shapes are asked for; -1 is any length."""

    def __init__(self, arrays: Arrays, place: str) -> None:
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

    def within(self, prefix: str) -> _Arrays:
        """Those whose names begin with a prefix, without it."""
        own = {key.removeprefix(prefix): item for key, item in self._arrays.items() if key.startswith(prefix)}
        return _Arrays(own, f"{self.place}: {prefix.rstrip('-')}")


def _linear(settings: Entry, arrays: _Arrays, features: int) -> None:
    arrays.of("coefficients", features)
    arrays.of("intercept", 1)


def _svm(settings: Entry, arrays: _Arrays, features: int) -> None:
    settings.text("kernel", tuple(KERNELS))
    settings.number("gamma", low=0.0)
    settings.whole("degree")
    settings.number("coef0")
    arrays.of("vectors", len(arrays.of("weights", -1)), features)
    arrays.of("intercept", 1)


def _neighbors(settings: Entry, arrays: _Arrays, features: int) -> None:
    settings.number("power", low=1.0)
    settings.text("weights", ("uniform", "distance"))
    rows = len(arrays.of("labels", -1))
    require(1 <= settings.whole("neighbors") <= rows, settings.at("neighbors"), f"1 to {rows}", "another number")
    arrays.of("points", rows, features)
    known = bool(np.isin(arrays.of("labels", rows), (0, 1)).all())
    require(known, f"{arrays.place}: labels", "0 and 1", "another value")


def _trees(settings: Entry, arrays: _Arrays, features: int) -> None:
    """Every path from a root ends in a leaf."""
    feature = arrays.of("feature", -1)
    count = len(feature)
    inner = feature >= 0
    good = np.issubdtype(feature.dtype, np.integer) and bool((feature < features).all())
    require(good, f"{arrays.place}: feature", f"numbers below {features}", feature.dtype)
    for name in ("threshold", "value"):
        arrays.of(name, count)
    left, right = arrays.indices("left", max(count, 1), count), arrays.indices("right", max(count, 1), count)
    nodes = arrays.indices("starts", max(count, 1), -1).astype(np.int64)
    require(len(nodes) > 0, f"{arrays.place}: starts", "at least one tree", "none")
    reached = len(nodes)
    while nodes.size and reached <= count:
        asked = nodes[inner[nodes]]
        nodes = np.concatenate([left[asked], right[asked]]).astype(np.int64)
        reached += len(nodes)
    require(reached <= count, f"{arrays.place}: left", "trees whose every path ends", "nodes in a circle")


def _forest(settings: Entry, arrays: _Arrays, features: int) -> None:
    _trees(settings, arrays, features)
    value = arrays.of("value", -1)
    good = bool(((value >= 0) & (value <= 1)).all())
    require(good, f"{arrays.place}: value", "shares of events, 0 to 1", "another value")


def _boosting(settings: Entry, arrays: _Arrays, features: int) -> None:
    _trees(settings, arrays, features)
    arrays.of("base", 1)


def _perceptron(settings: Entry, arrays: _Arrays, features: int) -> None:
    settings.text("activation", tuple(ACTIVATIONS))
    layers, width = settings.whole("layers", low=1), features
    for layer in range(layers):
        weights = arrays.of(f"weights-{layer}", width, -1)
        width = weights.shape[1]
        arrays.of(f"bias-{layer}", width)
    require(width == 1, f"{arrays.place}: weights-{layers - 1}", "one output", width)


def _naive_bayes(settings: Entry, arrays: _Arrays, features: int) -> None:
    arrays.of("means", 2, features)
    for name, shape in (("variances", (2, features)), ("priors", (2,))):
        require(bool((arrays.of(name, *shape) > 0).all()), f"{arrays.place}: {name}", "above 0", "another value")


def _auto(settings: Entry, arrays: _Arrays, features: int) -> None:
    kept = arrays.indices("kept", max(features, 1), -1)
    values = arrays.of("values", -1)
    starts = arrays.indices("starts", len(values) + 1, len(kept) + 1)
    arrays.of("scores", len(values))
    good = bool((np.diff(starts) > 0).all()) and starts[0] == 0 and starts[-1] == len(values)
    require(good, f"{arrays.place}: starts", f"increasing numbers from 0 to {len(values)}", "others")
    rising = all(bool((np.diff(values[a:b]) > 0).all()) for a, b in pairwise(starts))
    require(rising, f"{arrays.place}: values", "increasing values of every feature", "others")
    require(bool((arrays.of("spread", len(kept)) > 0).all()), f"{arrays.place}: spread", "above 0", "another value")
    for number, member in enumerate(settings.entries("members")):
        own = arrays.within(f"{number}-")
        member.number("weight", low=0.0, high=1.0 + 1e-9)
        known = own.of("known", -1)
        sorted_ = bool(len(known)) and bool((np.diff(known) >= 0).all())
        require(sorted_, f"{own.place}: known", "sorted scores", "others")
        _MEMBERS[member.text("kind", tuple(_MEMBERS))](member, own, len(kept))


def _member_linear(settings: Entry, arrays: _Arrays, features: int) -> None:
    arrays.of("coefficients", features)


def _member_radial(settings: Entry, arrays: _Arrays, features: int) -> None:
    width = settings.number("width", low=0.0)
    require(width > 0, settings.at("width"), "above 0", width)
    used = int((arrays.of("root", features) > 0).sum())
    arrays.of("train", len(arrays.of("alpha", -1)), used)


def _member_svm(settings: Entry, arrays: _Arrays, features: int) -> None:
    columns = arrays.indices("columns", features, -1)
    _svm(settings.entry("svm"), arrays, len(columns))


def _part(settings: Any, arrays: Arrays, number: int, place: str) -> FrozenClassifier:
    entry, prefix = Entry(settings, place), f"{number}-"
    own = {key.removeprefix(prefix): item for key, item in arrays.items() if key.startswith(prefix)}
    return FrozenClassifier(entry.text("kind"), entry.raw("settings"), own)


def _stack(made: FrozenClassifier, features: int, place: str, depth: int) -> None:
    parts = Entry(made.settings, place).entries("parts")
    require(len(parts) >= 2, f"{place}: parts", "members and their combination", len(parts))
    for number, item in enumerate(parts):
        part = _part({key: item.raw(key) for key in item}, made.arrays, number, item.place)
        _check(part, features if number < len(parts) - 1 else len(parts) - 1, item.place, depth + 1)


def _calibrated(made: FrozenClassifier, features: int, place: str, depth: int) -> None:
    settings, arrays = Entry(made.settings, place), _Arrays(made.arrays, place)
    _check(_part(made.settings, made.arrays, 0, place), features, place, depth + 1)
    if settings.text("method", ("isotonic", "platt")) == "platt":
        arrays.of("map", 2)
        return
    x = arrays.of("x", -1)
    y = arrays.of("y", len(x))
    rising = bool((np.diff(x) >= 0).all()) and bool((np.diff(y) >= 0).all())
    good = bool(len(x)) and rising and bool(((y >= 0) & (y <= 1)).all())
    require(good, f"{place}: y", "risks that rise with the score", "others")


_Check = Callable[[Entry, _Arrays, int], None]
_MEMBERS: dict[str, _Check] = {
    "linear": _member_linear,
    "radial": _member_radial,
    "svm": _member_svm,
    "forest": _forest,
}
_CHECKS: dict[str, _Check] = {
    "linear": _linear,
    "svm": _svm,
    "neighbors": _neighbors,
    "forest": _forest,
    "boosting": _boosting,
    "perceptron": _perceptron,
    "naive-bayes": _naive_bayes,
    "auto": _auto,
}
