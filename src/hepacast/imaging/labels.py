"""`LabelMap`: an integer volume whose values have names, and its way from and to single masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging.volume import Volume

#: How far a mask's value may lie from a whole number: rounding of scaled or resampled files (0.99999), nothing more.
ALMOST_WHOLE = 1e-3


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Structures that do not overlap, as one integer volume with names.

    Parameters
    ----------
    volume
        Integer array, 0 is background.
    labels
        Value of each structure by name, e.g. ``{"parenchyma": 1, "tumor": 2}``. A value that has a name need not
        occur; a value that occurs need not have a name (it is then kept, see `unnamed`).
    notes
        What a reader of the file should know.
    """

    volume: Volume
    labels: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not np.issubdtype(self.volume.array.dtype, np.integer):
            raise ImageError("A label map holds whole numbers.", found=f"values of type {self.volume.array.dtype}")
        values = list(self.labels.values())
        if any(value == 0 for value in values) or len(set(values)) != len(values):
            raise ImageError(
                "Every structure needs a label of its own.",
                expected="different whole numbers other than 0 (background)",
                found=", ".join(f"{name}: {value}" for name, value in self.labels.items()),
                remedy="correct the numbers (labels of the study file, --labels)",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The structures' names, in the order of `labels`."""
        return tuple(self.labels)

    @property
    def unnamed(self) -> tuple[int, ...]:
        """Values other than 0 that occur and have no name."""
        known = set(self.labels.values())
        return tuple(value for value in values_of(self.volume.array) if value not in known)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """`notes`, and that of the values without a name."""
        return (*self.notes, *unnamed_note(self.unnamed))

    def mask(self, name: str) -> Volume:
        """One structure as a boolean volume (empty where the value does not occur).

        Raises
        ------
        ImageError
            No structure has this name.
        """
        if name not in self.labels:
            raise ImageError(
                f"The label map has no structure {name!r}.", expected=", ".join(self.names) or "a named structure"
            )
        return self.volume.with_array(self.volume.array == self.labels[name])

    def masks(self) -> dict[str, Volume]:
        """Every named structure as a boolean volume."""
        return {name: self.mask(name) for name in self.labels}

    @classmethod
    def from_masks(cls, masks: Mapping[str, Volume], labels: Mapping[str, int] | None = None) -> LabelMap:
        """Put masks that do not overlap into one label map.

        Parameters
        ----------
        masks
            Boolean volumes on one grid, by name.
        labels
            Value of each name; 1, 2, 3 ... in the order of `masks` when not given.

        Raises
        ------
        ImageError
            Two masks share voxels, a name has no value, or there is no mask.
        GeometryError
            The grids differ.
        """
        if not masks:
            raise ImageError("A label map needs at least one mask.")
        chosen = dict(labels) if labels is not None else {name: i + 1 for i, name in enumerate(masks)}
        missing = [name for name in masks if name not in chosen]
        if missing:
            raise ImageError(f"No label value is given for {', '.join(missing)}.", expected=", ".join(chosen))
        first = next(iter(masks.values()))
        array = np.zeros(first.geometry.shape, dtype=smallest_label_type(chosen.values()))
        for name, mask in masks.items():
            first.geometry.require_same(mask.geometry, what=f"the mask {name!r}")
            inside = mask.array.astype(bool)
            if array[inside].any():
                raise ImageError(
                    f"The mask {name!r} shares {int((array[inside] != 0).sum())} voxels with another one.",
                    expected="masks that do not overlap",
                    remedy="subtract one from the other first, e.g. parenchyma: liver - tumor",
                )
            array[inside] = chosen[name]
        return cls(first.with_array(array), chosen)


def unnamed_note(values: Sequence[int]) -> tuple[str, ...]:
    """What is said of values that occur in a mask and that nobody named; nothing where there are none."""
    if not values:
        return ()
    shown = ", ".join(str(value) for value in values[:10]) + (" ..." if len(values) > 10 else "")
    one = len(values) == 1
    return (
        f"the value{'' if one else 's'} {shown} of the mask ha{'s' if one else 've'} no name in labels and "
        f"{'is' if one else 'are'} in no VOI",
    )


def values_of(array: npt.NDArray[np.integer]) -> list[int]:
    """The whole numbers other than 0 that occur, in order."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if high - low <= 1:  # a mask of one structure: nothing has to be sorted
        return [value for value in sorted({low, high}) if value != 0]
    return [int(value) for value in np.unique(array[array != 0])]


def smallest_label_type(values: Iterable[int]) -> np.dtype:
    """The smallest unsigned (or, with a negative label, signed) type that holds the values."""
    numbers = [0, *values]
    return np.result_type(np.min_scalar_type(min(numbers)), np.min_scalar_type(max(numbers)))


def as_labels(volume: Volume, *, where: str | None = None) -> Volume:
    """The volume with integer values; floats within `ALMOST_WHOLE` of whole numbers are accepted, others refused.

    Raises
    ------
    ImageError
        Some values are not whole numbers (a probability map, a smoothed or resampled mask).
    """
    array = volume.array
    if array.dtype == bool:
        return volume.with_array(array.astype(np.uint8))
    if np.issubdtype(array.dtype, np.integer):
        return volume
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(array) & (np.abs(array - np.rint(array)) <= ALMOST_WHOLE)
    if not whole.all():
        others = array[~whole]
        without = int(np.count_nonzero(~np.isfinite(others)))
        raise ImageError(
            "The mask's values are not whole numbers.",
            expected=f"labels: 0 outside, a whole number inside (within {ALMOST_WHOLE:g})",
            found=f"{len(others)} other voxels, for example {others[0]!s}",
            where=where,
            remedy="put 0 in the place of NaN"
            if without == len(others)
            else "export the label map itself, not a probability map or an interpolated copy",
        )
    numbers = np.rint(array).astype(np.int64)
    kind = smallest_label_type([int(numbers.min()), int(numbers.max())])
    return volume.with_array(numbers.astype(kind))
