"""Folds and resamples that depend on the seed and the patients' identifiers, not on the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.core.seeds import rng
from hepacast.errors import OutcomeError

Integers = NDArray[np.int64]


def shuffle_key(seed: int, purpose: Sequence[object], identifier: object) -> bytes:
    """A pseudo-random key of one patient: the same wherever its row stands."""
    text = "\x1f".join([str(int(seed)), *(str(word) for word in purpose), str(identifier)])
    return hashlib.sha256(text.encode("utf-8")).digest()


def stratified_folds(ids: Sequence[object] | pd.Index, y: ArrayLike, k: int, seed: int, *purpose: object) -> Integers:
    """Fold number (0 ... k-1) of every row, the classes spread evenly.

    Patients are dealt in the order of a hash of seed, purpose and identifier; rows of the same identifier (a bootstrap
    sample holds patients twice) stay together, as they would otherwise be tested on themselves.

    Parameters
    ----------
    ids
        Patient of each row, length n.
    y
        Classes, length n.
    k
        Number of folds, 2 or more.

    Raises
    ------
    OutcomeError
        Fewer patients than folds.
    """
    labels = [str(item) for item in ids]
    class_of = dict(zip(labels, np.asarray(y).tolist()))
    if not 2 <= k <= len(class_of):
        raise OutcomeError(
            "The patients cannot be divided into so many folds.", expected=f"2 to {len(class_of)}", found=str(k)
        )
    fold_of: dict[str, int] = {}
    dealt = 0
    # The rarer class first, so that its patients are spread most evenly.
    sizes = pd.Series(list(class_of.values())).value_counts()
    for group in sorted(sizes.index, key=lambda value: (sizes[value], str(value))):
        members = [name for name, value in class_of.items() if value == group]
        for name in sorted(members, key=lambda item: shuffle_key(seed, purpose, item)):
            fold_of[name] = dealt % k
            dealt += 1
    return np.array([fold_of[name] for name in labels], dtype=np.int64)


def inner_fold_count(y: ArrayLike, wanted: int, ids: Sequence[object] | pd.Index | None = None) -> int:
    """Folds that the smaller class allows, at most `wanted` and at least 3.

    Raises
    ------
    OutcomeError
        A class has fewer than three patients.
    """
    classes = pd.Series(np.asarray(y))
    if ids is not None:
        classes = classes[~pd.Index([str(item) for item in ids]).duplicated()]
    smallest = int(classes.value_counts().min()) if classes.nunique() > 1 else 0
    if smallest < 3:
        raise OutcomeError(
            "Too few patients of a class to choose a penalty by cross-validation.",
            expected="three or more of each class",
            found=str(smallest),
        )
    return min(wanted, smallest)


def bootstrap_rows(y: ArrayLike, seed: int, *purpose: object) -> Integers:
    """Rows of one bootstrap sample, drawn with replacement within each class (so that no class is lost).

    The rows must stand in the order of the patients' identifiers for the sample to depend on these alone.
    """
    classes = np.asarray(y)
    generator = rng(seed, "bootstrap", *purpose)
    drawn = np.concatenate(
        [
            generator.choice(members, size=len(members), replace=True)
            for members in (np.flatnonzero(classes == value) for value in np.unique(classes))
        ]
    )
    return np.sort(drawn).astype(np.int64)
