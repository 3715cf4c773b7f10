"""Sums over the cells of one co-occurrence matrix: every GLCM feature but MCC, in one visit of each cell."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit

_EPS = 2.220446049250313e-16

#: What `pair_sums` writes, in this order.
COLUMNS = (
    "Autocorrelation", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast", "Correlation",
    "JointAverage", "JointEnergy", "JointEntropy", "MaximumProbability", "SumSquares", "Imc1", "Imc2",
    "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "Id", "Idm", "Idmn", "Idn",
    "InverseVariance", "SumAverage", "SumEntropy",
)  # fmt: skip


@jit
def pair_sums(level, row, column, p, px, py, px_values, px_number, py_values, py_number, difference, total, out):  # type: ignore[no-untyped-def]
    """The features of one normalised matrix.

    Parameters
    ----------
    level
        Grey level of each code.
    row, column, p
        Codes and probability of each cell.
    px, py
        Marginal probabilities by code.
    px_values, px_number, py_values, py_number
        Their different values and how many codes have each: there are far fewer than codes.
    difference, total
        Probabilities of \\|i - j\\| (0 .. Ng - 1) and of i + j (0 .. 2 Ng).
    out
        Written: one value for each of `COLUMNS`.
    """
    ux = 0.0
    uy = 0.0
    for c in range(level.size):
        ux += level[c] * px[c]
        uy += level[c] * py[c]
    entropy = _moments(level, row, column, p, ux, uy, out)
    hx, hy, hxy2 = _marginal_entropies(px_values, px_number, py_values, py_number)
    _information(row, column, p, px, py, entropy, hx, hy, hxy2, out)
    _difference_features(difference, out)
    average = 0.0
    spread = 0.0
    for k in range(2, total.size):
        average += k * total[k]
        if total[k] > 0:
            spread -= total[k] * math.log2(total[k] + _EPS)
    out[21] = average
    out[22] = spread


@jit
def _moments(level, row, column, p, ux, uy, out):  # type: ignore[no-untyped-def]
    out[:11] = 0.0
    out[6] = ux
    entropy = 0.0
    sx2 = 0.0
    sy2 = 0.0
    both = 0.0
    one_row = True
    one_column = True
    for c in range(p.size):
        i = level[row[c]]
        j = level[column[c]]
        q = p[c]
        dx = i - ux
        dy = j - uy
        s = i + j - ux - uy
        out[0] += q * (i * j)
        out[1] += q * s**4
        out[2] += q * s**3
        out[3] += q * s**2
        out[4] += q * (i - j) ** 2
        sx2 += q * dx**2
        sy2 += q * dy**2
        both += q * dx * dy
        out[7] += q**2
        entropy -= q * math.log2(q + _EPS)
        out[9] = max(out[9], q)
        one_row = one_row and row[c] == row[0]
        one_column = one_column and column[c] == column[0]
    # One level only on either side: no spread, whatever rounding left of it. PyRadiomics' correlation is 1 then
    spread = 0.0 if one_row or one_column else math.sqrt(sx2) * math.sqrt(sy2)
    out[5] = both / (spread + _EPS) if spread != 0 else 1.0
    out[8] = entropy
    out[10] = sx2
    return entropy


@jit
def _marginal_entropies(px, px_number, py, py_number):  # type: ignore[no-untyped-def]
    """Entropies of both marginals, and of the matrix that they would make if levels were independent."""
    hx = 0.0
    hy = 0.0
    hxy2 = 0.0
    for i in range(px.size):
        if px[i] > 0:
            hx -= px_number[i] * px[i] * math.log2(px[i] + _EPS)
        for j in range(py.size):
            independent = px[i] * py[j]
            if independent > 0:
                hxy2 -= px_number[i] * py_number[j] * independent * math.log2(independent + _EPS)
    for j in range(py.size):
        if py[j] > 0:
            hy -= py_number[j] * py[j] * math.log2(py[j] + _EPS)
    return hx, hy, hxy2


@jit
def _information(row, column, p, px, py, hxy, hx, hy, hxy2, out):  # type: ignore[no-untyped-def]
    hxy1 = 0.0
    for c in range(p.size):
        hxy1 -= p[c] * math.log2(px[row[c]] * py[column[c]] + _EPS)
    largest = max(hx, hy)
    out[11] = (hxy - hxy1) / largest if largest != 0 else 0.0
    gain = 1 - math.exp(-2 * (hxy2 - hxy))
    # Rounding can leave the mutual information just below 0: PyRadiomics' root is NaN then, and the angle is left out
    out[12] = 0.0 if hxy2 == hxy else (math.sqrt(gain) if gain >= 0 else math.nan)


@jit
def _difference_features(difference, out):  # type: ignore[no-untyped-def]
    levels = difference.size
    out[13:21] = 0.0
    for k in range(levels):
        q = difference[k]
        if q == 0:
            continue
        out[13] += k * q
        out[14] -= q * math.log2(q + _EPS)
        out[16] += q / (1 + k)
        out[17] += q / (1 + k * k)
        out[18] += q / (1 + (k * k) / (levels * levels))
        out[19] += q / (1 + k / levels)
        if k > 0:
            out[20] += q / (k * k)
    for k in range(levels):
        out[15] += difference[k] * (k - out[13]) ** 2


def level_products(
    p: npt.NDArray[np.float64], px: npt.NDArray[np.float64], py: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Q(i, j) = sum_k p(i, k) p(j, k) / (px(i) py(k) + eps), added in the order of k."""
    q = np.zeros_like(p)
    _add_products(np.ascontiguousarray(p.T), px, py, q)
    return q


@jit
def _add_products(across, px, py, q):  # type: ignore[no-untyped-def]
    n = px.size
    for k in range(n):
        for i in range(n):
            if across[k, i] != 0:
                divisor = px[i] * py[k] + _EPS
                for j in range(n):
                    q[i, j] += across[k, i] * across[k, j] / divisor
