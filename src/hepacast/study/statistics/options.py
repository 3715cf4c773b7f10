"""Short notations of the command line: ``age:4``, ``age:smoke``, ``bili:1,2,5``."""

from __future__ import annotations

from collections.abc import Sequence

from hepacast.errors import ModelError


def split_splines(items: Sequence[str]) -> dict[str, int | tuple[float, ...]]:
    """``["age:4", "bili:0.5,1,2.4"]``: number of knots, or the knots.

    Raises
    ------
    ModelError
        An item is not written like this.
    """
    found: dict[str, int | tuple[float, ...]] = {}
    for item in items:
        name, numbers = _split(item, "A spline", "age:4, or age:20,40,60 for the knots themselves")
        found[name] = int(numbers[0]) if len(numbers) == 1 and numbers[0].is_integer() else numbers
    return found


def split_ticks(items: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """``["bili:1,2,5,10"]``: ticks of an axis.

    Raises
    ------
    ModelError
        An item is not written like this.
    """
    return dict(_split(item, "Ticks", "bili:1,2,5,10") for item in items)


def split_pairs(items: Sequence[str]) -> list[tuple[str, str]]:
    """``["age:smoke"]``: two predictors that interact.

    Raises
    ------
    ModelError
        An item is not written like this.
    """
    pairs = []
    for item in items:
        parts = [part.strip() for part in item.split(":")]
        if len(parts) != 2 or not all(parts):
            raise ModelError("An interaction is written A:B.", found=item)
        pairs.append((parts[0], parts[1]))
    return pairs


def _split(item: str, what: str, example: str) -> tuple[str, tuple[float, ...]]:
    name, sign, text = item.rpartition(":")
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not sign or not name.strip() or not numbers:
        raise ModelError(f"{what} must be written as a column and numbers.", expected=example, found=item)
    return name.strip(), numbers
