"""Grey-level co-occurrence matrix (GLCM): which levels are neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.features.base import EPS, FeatureSettings, UndefinedError
from hepacast.radiomics.kernels.cooccurrence import PairCounts, count_pairs, merge
from hepacast.radiomics.kernels.krylov import second_largest
from hepacast.radiomics.kernels.offsets import half_offsets, weights
from hepacast.radiomics.kernels.pair_sums import COLUMNS, level_products, pair_sums

#: Up to so many levels sums are added in PyRadiomics' order and MCC takes all eigenvalues: where a direction's true
#: value is 0, the sign of a rounding error decides whether PyRadiomics counts the direction. Above, MCC seeks the two
#: largest eigenvalues, up to so many levels; should the search fail, it takes all, up to so many.
_BITWISE_LEVELS = 64
_MOST_LEVELS = 4096
_ALL_LEVELS = 512


def glcm(
    image: LevelImage,
    spacing_kji: Sequence[float],
    settings: FeatureSettings,
    names: Sequence[str],
) -> dict[str, float | UndefinedError]:
    """GLCM features (PyRadiomics ``glcm``; IBSI 1 section 3.6, family LFYI).

    One matrix a direction, a feature of each, then their mean; directions without any pair are left out. With
    `settings.weighting_norm` the directions are merged first.

    Raises
    ------
    UndefinedError
        No voxel of the VOI has a neighbour in it.
    """
    offsets = half_offsets(settings.distances, settings.flat_axis)
    pairs: Iterable[PairCounts] = count_pairs(image, offsets, symmetrical=settings.symmetrical_glcm)
    if settings.weighting_norm is not None:
        steps = weights(offsets, spacing_kji, settings.weighting_norm, decay=True)
        pairs = [merge(pairs, steps, image.n_codes)]
    with_mcc = "MCC" in names
    by_angle = np.array([_angle(image, matrix, with_mcc) for matrix in pairs if matrix.count.sum() > 0])
    if not by_angle.size:
        raise UndefinedError(f"no voxel of the VOI has a neighbour at distance {settings.distances}")
    result: dict[str, float | UndefinedError] = {
        name: _mean(by_angle[:, COLUMNS.index(name)].real) for name in names if name != "MCC"
    }
    if with_mcc:
        result["MCC"] = _maximal_correlation(by_angle[:, -2], bool(by_angle[:, -1].real.any()), image)
    return {name: result[name] for name in names}


def _angle(image: LevelImage, matrix: PairCounts, with_mcc: bool) -> npt.NDArray[np.complex128]:
    """The features of one direction in the order of `COLUMNS`; for MCC the second eigenvalue (or NaN), and 1 if any
    eigenvalue is complex."""
    level = image.level_of_code.astype(np.float64)
    n, top = len(level), int(level[-1])
    row, column = matrix.row, matrix.column
    p = matrix.count / matrix.count.sum()
    i, j = image.level_of_code[row], image.level_of_code[column]
    px = np.asarray(np.bincount(row, p, minlength=n), dtype=np.float64)
    py = np.asarray(np.bincount(column, p, minlength=n), dtype=np.float64)
    difference = np.bincount(np.abs(i - j), p, minlength=top)
    total = np.bincount(i + j, p, minlength=2 * top + 1)
    out = np.empty(len(COLUMNS))
    marginals = (*_different(px[image.present]), *_different(py[image.present]))
    pair_sums(level, row, column, p, px, py, *marginals, difference, total, out)
    second = _second_eigenvalue(row, column, p, px, py, image.present) if with_mcc else (np.nan, 0)
    return np.append(out.astype(np.complex128), second)


def _different(marginal: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The different values and how often each occurs; with few levels the values as they are (in their order)."""
    if len(marginal) <= _BITWISE_LEVELS:
        return marginal, np.ones(len(marginal), dtype=np.int64)
    values, number = np.unique(marginal, return_counts=True)
    return values, number.astype(np.int64)


def _mean(values: npt.NDArray[np.float64]) -> float | UndefinedError:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else UndefinedError("undefined in every direction")


def _maximal_correlation(
    second: npt.NDArray[np.complex128], any_complex: bool, image: LevelImage
) -> float | UndefinedError:
    """Mean over the directions of the root of the second largest eigenvalue."""
    n = len(image.present)
    if n < 2:
        return 1.0  # PyRadiomics: a flat region
    if n > _MOST_LEVELS:
        return UndefinedError(f"{n} grey levels: eigenvalues are sought for {_MOST_LEVELS} at most")
    # Rounding can leave an eigenvalue of 0 just below it: PyRadiomics leaves the direction out, unless rounding has
    # made any eigenvalue complex, when the root is imaginary and counts as 0
    eigenvalues = second if any_complex else second.real
    with np.errstate(invalid="ignore"):
        roots = np.sqrt(eigenvalues)
    valid = roots[~np.isnan(roots)]
    return float(valid.mean().real) if valid.size else UndefinedError("undefined in every direction")


def _second_eigenvalue(
    row: npt.NDArray[np.int32],
    column: npt.NDArray[np.int32],
    p: npt.NDArray[np.float64],
    px: npt.NDArray[np.float64],
    py: npt.NDArray[np.float64],
    present: npt.NDArray[np.int64],
) -> tuple[complex, bool]:
    """Second largest eigenvalue of Q(i, j) = sum_k p(i, k) p(j, k) / (px(i) py(k)); whether any one is complex.

    PyRadiomics adds its epsilon to each px(i) py(k), which matters for rare levels, so Q is not a product of simple
    factors, but still one matrix product: (p / (px py + eps)) p'. With few levels Q often has rank 1, and the sign
    of a rounding error decides about a direction (see above): there the sum is PyRadiomics' own, to the last bit.
    With many levels the two largest eigenvalues are all that is sought.
    """
    n = len(present)
    if not 2 <= n <= _MOST_LEVELS:
        return complex(np.nan), False
    place = np.zeros(len(px), dtype=np.int64)
    place[present] = np.arange(n)
    dense = np.zeros((n, n)) if n <= _ALL_LEVELS else None
    if dense is not None:
        dense[place[row], place[column]] = p
    if dense is None or n > _BITWISE_LEVELS:
        scaled = p / (px[row] * py[column] + EPS)
        found = second_largest(place[row], place[column], p, scaled, n)
        if found is not None or dense is None:
            return (complex(np.nan) if found is None else found), False
    eigenvalues = np.linalg.eigvals(level_products(dense, px[present], py[present]))
    return complex(np.sort(eigenvalues)[-2]), np.iscomplexobj(eigenvalues)
