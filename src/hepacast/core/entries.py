"""Values of a JSON document by name and kind: a number is a finite number, a text a text, and nothing is guessed.

What is read back from a file may be damaged, of another version, or made by a stranger. Whoever reads takes each value
through an `Entry`, and a value of another kind is an error that names its place, never another number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hepacast.errors import ModelError

Model = TypeVar("Model", bound=BaseModel)

#: Above it a float does not tell whole numbers apart.
MAX_WHOLE = 2**53
#: Sides of a matrix that is still called symmetric differ by at most this share of its largest value.
_SYMMETRY = 1e-8
#: Smallest eigenvalue of a correlation matrix that still passes for one (rounding of nearly collinear terms).
_EIGENVALUE = -1e-6


class Entry:
    """A mapping of a document, and where in the document it stands.

    Parameters
    ----------
    value
        The mapping.
    place
        For messages: ``models.json: clinical``.

    Raises
    ------
    ModelError
        It is no mapping.
    """

    def __init__(self, value: Any, place: str) -> None:
        self.place = place
        if not isinstance(value, Mapping):
            raise _wrong(place, "named values", value)
        self._values: Mapping[str, Any] = value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def at(self, name: str) -> str:
        """The place of one value, for messages."""
        return f"{self.place}: {name}" if self.place else name

    def raw(self, name: str) -> Any:
        """The value as it stands in the file.

        Raises
        ------
        ModelError
            There is none of this name.
        """
        if name not in self._values:
            raise _wrong(self.at(name), "a value", "nothing", shown=True)
        return self._values[name]

    def number(self, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number between two limits."""
        return checked_number(self.raw(name), self.at(name), low, high)

    def number_or_nan(self, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number, or NaN where the file has null (JSON knows no NaN)."""
        return math.nan if self.raw(name) is None else self.number(name, low=low, high=high)

    def whole(self, name: str, *, low: int = 0) -> int:
        """A whole number that a count can be."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MAX_WHOLE:
            raise _wrong(self.at(name), f"a whole number of at least {low}", value)
        return value

    def truth(self, name: str) -> bool:
        """True or false."""
        return bool(self._of(name, bool, "true or false"))

    def text(self, name: str, allowed: Sequence[str] | None = None) -> str:
        """A text, of a list where there is one."""
        value = str(self._of(name, str, "a text"))
        if allowed is not None and value not in allowed:
            raise _wrong(self.at(name), " or ".join(map(repr, allowed)), value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._of(name, list | tuple, "a list of texts")
        for number, value in enumerate(values):
            if not isinstance(value, str):
                raise _wrong(f"{self.at(name)}[{number}]", "a text", value)
        return tuple(values)

    def numbers(self, name: str, count: int | None = None, *, gaps: bool = False) -> tuple[float, ...]:
        """A list of finite numbers, of a known length where `count` is given; null is NaN where `gaps` are allowed."""
        return checked_numbers(self.raw(name), self.at(name), count, gaps=gaps)

    def matrix(self, name: str, rows: int, columns: int) -> tuple[tuple[float, ...], ...]:
        """Rows of finite numbers."""
        values = self._of(name, list | tuple, f"{rows} rows")
        if len(values) != rows:
            raise _wrong(self.at(name), f"{rows} rows", f"{len(values)} rows", shown=True)
        return tuple(checked_numbers(row, f"{self.at(name)}[{k}]", columns) for k, row in enumerate(values))

    def covariance(self, name: str, size: int) -> tuple[tuple[float, ...], ...]:
        """A covariance matrix: symmetric, and no combination has a negative variance."""
        found = self.matrix(name, size, size)
        problem = _covariance_problem(found)
        if problem:
            raise _wrong(self.at(name), "a symmetric matrix without negative variances", problem, shown=True)
        return found

    def entry(self, name: str) -> Entry:
        """The mapping under a name."""
        return Entry(self.raw(name), self.at(name))

    def entries(self, name: str) -> list[Entry]:
        """A list of mappings."""
        values = self._of(name, list | tuple, "a list of entries")
        return [Entry(value, f"{self.at(name)}[{number}]") for number, value in enumerate(values)]

    def named(self, name: str) -> dict[str, Entry]:
        """A mapping of mappings."""
        own = self.entry(name)
        return {key: own.entry(key) for key in own}

    def _of(self, name: str, kind: Any, expected: str) -> Any:
        value = self.raw(name)
        if not isinstance(value, kind):
            raise _wrong(self.at(name), expected, value)
        return value


def checked_number(value: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number between two limits; true, "1", null and NaN are none.

    Raises
    ------
    ModelError
    """
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.nan
    if not math.isfinite(number) or not low <= number <= high:
        limits = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise _wrong(place, f"a finite number{limits}", value)
    return number


def checked_numbers(value: Any, place: str, count: int | None = None, *, gaps: bool = False) -> tuple[float, ...]:
    """A list of finite numbers; see `Entry.numbers`.

    Raises
    ------
    ModelError
    """
    if not isinstance(value, list | tuple):
        raise _wrong(place, "a list of numbers", value)
    if count is not None and len(value) != count:
        raise _wrong(place, f"{count} numbers", f"{len(value)} numbers", shown=True)
    return tuple(
        math.nan if gaps and item is None else checked_number(item, f"{place}[{number}]")
        for number, item in enumerate(value)
    )


def validated(kind: type[Model], value: Any, place: str) -> Model:
    """A part of a document as the pydantic model that describes it; texts are no numbers, and true is none.

    Raises
    ------
    ModelError
        The first complaint of the model.
    """
    try:
        return kind.model_validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join([place, *(str(item) for item in first["loc"])])
        raise _wrong(where, str(first["msg"]), first.get("input")) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(place, "a document", str(error), shown=True) from error


def ranges(entry: Entry) -> dict[str, tuple[float, float]]:
    """Smallest and largest value by name."""
    found = {name: entry.numbers(name, 2) for name in entry}
    for name, (low, high) in found.items():
        require(low <= high, entry.at(name), "the smaller value first", f"{low:g}, {high:g}")
    return {name: (limits[0], limits[1]) for name, limits in found.items()}


def require(holds: bool, place: str, expected: str, found: Any) -> None:
    """An error about a value that is of its kind and still impossible.

    Raises
    ------
    ModelError
    """
    if not holds:
        raise _wrong(place, expected, found, shown=True)


def _covariance_problem(matrix: Sequence[Sequence[float]]) -> str:
    import numpy as np

    values = np.array(matrix, dtype=float)
    if not values.size:
        return ""
    if np.abs(values - values.T).max() > _SYMMETRY * max(np.abs(values).max(), 1e-300):
        return "a matrix that is not symmetric"
    variances = np.diag(values)
    if (variances < 0).any():
        return f"a variance of {variances.min():.4g}"
    fixed = variances == 0
    if np.abs(values[fixed]).max(initial=0.0) > 0:
        return "a covariance of something that does not vary"
    free = values[np.ix_(~fixed, ~fixed)]
    spread = np.sqrt(np.diag(free))
    smallest = np.linalg.eigvalsh(free / np.outer(spread, spread)).min(initial=0.0)
    return f"an eigenvalue of {smallest:.4g} of the correlations" if smallest < _EIGENVALUE else ""


def _wrong(place: str, expected: str, found: Any, *, shown: bool = False) -> ModelError:
    text = str(found) if shown else repr(found)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return ModelError("A model holds a value that it cannot have.", expected=expected, found=text, where=place)
