"""The largest eigenvalues of a product of two sparse matrices, by Arnoldi's method.

ARPACK gives the last bit of its answer by where its arrays happen to lie in memory; these loops add in one order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit

_STEPS_BETWEEN_LOOKS = 10
_MOST_STEPS = 240
_TOLERANCE = 1e-13


@jit
def extend_basis(row, column, p, scaled, basis, hessenberg, start, stop, middle, image):  # type: ignore[no-untyped-def]
    """Arnoldi steps `start` to `stop` for the matrix ``L R``, L(i, k) = scaled and R(k, j) = p of the cell (j, k).

    Parameters
    ----------
    row, column, p, scaled
        Place and values of each cell.
    basis
        Orthonormal vectors, one a row; `start` + 1 of them are there.
    hessenberg
        Written: the matrix in this basis.
    middle, image
        Work space of n numbers each.

    Returns
    -------
    int
        Steps done; fewer than asked when the basis spans an invariant space.
    """
    n = basis.shape[1]
    for step in range(start, stop):
        middle[:] = 0.0
        image[:] = 0.0
        for cell in range(len(p)):
            middle[column[cell]] += p[cell] * basis[step, row[cell]]
        for cell in range(len(p)):
            image[row[cell]] += scaled[cell] * middle[column[cell]]
        # Twice, so that the basis stays orthogonal to machine precision
        for _ in range(2):
            for other in range(step + 1):
                product = 0.0
                for i in range(n):
                    product += basis[other, i] * image[i]
                hessenberg[other, step] += product
                for i in range(n):
                    image[i] -= product * basis[other, i]
        length = 0.0
        for i in range(n):
            length += image[i] * image[i]
        length = np.sqrt(length)
        hessenberg[step + 1, step] = length
        if length < 1e-14:
            return step + 1
        for i in range(n):
            basis[step + 1, i] = image[i] / length
    return stop


def second_largest(
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    p: npt.NDArray[np.float64],
    scaled: npt.NDArray[np.float64],
    n: int,
) -> complex | None:
    """Second largest eigenvalue (by its real part) of ``sum_k scaled(i, k) p(j, k)``; None if it does not converge.

    Parameters
    ----------
    row, column
        Place of each cell, below `n`.
    p, scaled
        Its values in the two matrices.
    n
        Rows and columns.
    """
    most = min(n, _MOST_STEPS)
    basis = np.zeros((most + 1, n))
    hessenberg = np.zeros((most + 1, most))
    first = np.cos(np.arange(n))  # any fixed vector but the constant one, which is an eigenvector
    basis[0] = first / np.sqrt(np.sum(first * first))
    work = (np.empty(n), np.empty(n))
    done = 0
    while done < most:
        wanted = min(done + _STEPS_BETWEEN_LOOKS, most)
        reached = extend_basis(row, column, p, scaled, basis, hessenberg, done, wanted, *work)
        values, vectors = np.linalg.eig(hessenberg[:reached, :reached])
        if reached >= 2:
            second = int(np.argsort(values.real, kind="stable")[-2])
            residual = hessenberg[reached, reached - 1] * abs(vectors[-1, second])
            if reached < wanted or reached == n or residual <= _TOLERANCE * max(abs(values[second]), 1e-3):
                return complex(values[second])
        elif reached < wanted:
            return None
        done = reached
    return None
