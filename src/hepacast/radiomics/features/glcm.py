"""Grey-level co-occurrence matrix (GLCM): which levels are neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.features.base import EPS, FeatureSettings, UndefinedError
from hepacast.radiomics.kernels.cooccurrence import PairCounts, count_pairs, merge
from hepacast.radiomics.kernels.offsets import half_offsets, weights
from hepacast.radiomics.kernels.pair_sums import COLUMNS, pair_sums

#: Up to this many levels MCC takes all eigenvalues as PyRadiomics does; above, only the largest are sought.
_ALL_EIGENVALUES = 256


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
    pairs = count_pairs(image, offsets, symmetrical=settings.symmetrical_glcm)
    if settings.weighting_norm is not None:
        pairs = merge(pairs, weights(offsets, spacing_kji, settings.weighting_norm, decay=True))
    matrices = _normalise(pairs)
    if not matrices:
        raise UndefinedError(f"no voxel of the VOI has a neighbour at distance {settings.distances}")
    level = image.level_of_code.astype(np.float64)
    by_angle = np.array([_angle(level, *matrix) for matrix in matrices])
    result: dict[str, float | UndefinedError] = {}
    for name in names:
        if name == "MCC":
            result[name] = _maximal_correlation(matrices, image.present, len(level))
        else:
            result[name] = _mean(by_angle[:, COLUMNS.index(name)])
    return result


_Matrix = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]]


def _normalise(pairs: PairCounts) -> list[_Matrix]:
    """Rows, columns and probabilities of every direction that has pairs."""
    matrices = []
    for first, last in zip(pairs.starts[:-1], pairs.starts[1:], strict=True):
        count = pairs.count[first:last]
        if count.sum() > 0:
            matrices.append((pairs.row[first:last], pairs.column[first:last], count / count.sum()))
    return matrices


def _angle(
    level: npt.NDArray[np.float64],
    row: npt.NDArray[np.int32],
    column: npt.NDArray[np.int32],
    p: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    n = len(level)
    top = int(level[-1])
    i, j = level[row].astype(np.int64), level[column].astype(np.int64)
    px, py = np.bincount(row, p, minlength=n), np.bincount(column, p, minlength=n)
    difference = np.bincount(np.abs(i - j), p, minlength=top)
    total = np.bincount(i + j, p, minlength=2 * top + 1)
    out = np.empty(len(COLUMNS))
    pair_sums(level, row, column, p, px, py, difference, total, out)
    return out


def _mean(values: npt.NDArray[np.float64]) -> float | UndefinedError:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else UndefinedError("undefined in every direction")


def _maximal_correlation(
    matrices: list[_Matrix], present: npt.NDArray[np.int64], n_codes: int
) -> float | UndefinedError:
    """Square root of the second largest eigenvalue of Q(i, j) = sum_k p(i, k) p(j, k) / (px(i) py(k)).

    PyRadiomics adds its epsilon to each px(i) py(k), which matters for rare levels, so Q is not a product of simple
    factors, but still one matrix product: (p / (px py + eps)) p'.
    """
    n = len(present)
    if n < 2:
        return 1.0  # PyRadiomics: a flat region
    if n > _ALL_EIGENVALUES:
        return _mean(np.array([_second_eigenvalue(matrix, n_codes) for matrix in matrices]))
    place = np.zeros(n_codes, dtype=np.int64)
    place[present] = np.arange(n)
    p = np.zeros((len(matrices), n, n))
    for angle, (row, column, share) in enumerate(matrices):
        p[angle, place[row], place[column]] = share
    px, py = p.sum(axis=2, keepdims=True), p.sum(axis=1, keepdims=True)
    q = (p / (px * py + EPS)) @ p.transpose(0, 2, 1)
    eigenvalues = np.sort(np.linalg.eigvals(q), axis=-1)
    with np.errstate(invalid="ignore"):  # rounding can leave an eigenvalue of 0 just below it
        roots = np.sqrt(eigenvalues[:, -2])
    valid = roots[~np.isnan(roots)]
    return float(valid.mean().real) if valid.size else UndefinedError("undefined in every direction")


def _second_eigenvalue(matrix: _Matrix, n_codes: int) -> float:
    """As above for very many levels, from sparse products only (Arnoldi iteration to machine precision)."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import LinearOperator, eigs

    row, column, share = matrix
    used, place = np.unique(np.concatenate([row, column]), return_inverse=True)
    n = len(used)
    rows, columns = place[: len(row)], place[len(row) :]
    px, py = np.bincount(rows, share, minlength=n), np.bincount(columns, share, minlength=n)
    p = csr_array((share, (rows, columns)), shape=(n, n))
    scaled = csr_array((share / (px[rows] * py[columns] + EPS), (rows, columns)), shape=(n, n))
    if n < 4:
        found = np.linalg.eigvals((scaled @ p.T).toarray())
    else:
        operator = LinearOperator((n, n), matvec=lambda v: scaled @ (p.T @ v), dtype=np.float64)
        found = eigs(operator, k=2, which="LR", v0=np.ones(n), return_eigenvectors=False, maxiter=100 * n)
    second = float(np.sort(found.real)[-2]) if n > 1 else 0.0
    return float(np.sqrt(second)) if second >= 0 else float("nan")
