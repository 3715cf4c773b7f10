"""Laplacian of Gaussian of a box of voxels, equal to ITK's ``LaplacianRecursiveGaussianImageFilter`` of the image.

Formula: R. Deriche, "Recursively implementing the Gaussian and its derivatives", INRIA research report 1893 (1993):
fourth-order recursive filters, once forwards and once backwards along each axis. ITK filters in double precision and
stores in single precision after each pass; the same is done here, in the same order, so that results agree to the
last bit as far as lines are read in full.

A recursive filter sees the whole line, but its memory fades by ``exp(-1.37 / sigma)`` a voxel (sigma in voxels).
Lines are cut `MARGIN_SIGMAS` standard deviations beyond the box, where less than 1e-12 of a change is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.filters.source import Box, Source
from hepacast.radiomics.kernels.jit import jit

Float32 = npt.NDArray[np.float32]

#: exp(-1.3732 * 20) = 1.2e-12 of an intensity difference beyond the cut is left in the box.
MARGIN_SIGMAS = 20.0

#: ITK's filter needs this many voxels along each axis.
LEAST_SIZE = 4

# Deriche's coefficients as in itkRecursiveGaussianImageFilter.hxx; index 0: Gaussian, 2: its second derivative.
_W1, _L1 = 0.6681, -1.3932
_W2, _L2 = 2.0787, -1.3732
_A1 = (1.3530, -0.6724, -1.3563)
_B1 = (1.8151, -3.4327, 5.2318)
_A2 = (-0.3531, 0.6724, 0.3446)
_B2 = (0.0902, 0.6100, -2.2355)


def too_small(shape: tuple[int, ...], spacing: tuple[float, float, float], sigma: float) -> str | None:
    """Why PyRadiomics leaves this sigma out for an image of this size, or None."""
    if min(shape) < LEAST_SIZE:
        return f"the image has fewer than {LEAST_SIZE} voxels along an axis, too few for a LoG filter"
    needed = [math.ceil(sigma / step) + 1 for step in spacing]
    if any(size < least for size, least in zip(reversed(shape), needed)):
        return f"the image is too small for a LoG filter of sigma {sigma:g} mm"
    return None


def laplacian_of_gaussian(source: Source, box: Box, sigma: float) -> Float32:
    """The scale-normalized LoG image of the box.

    Parameters
    ----------
    sigma
        Width of the Gaussian, mm.
    """
    steps = source.spacing[::-1]  # along (k, j, i)
    margins = tuple(math.ceil(MARGIN_SIGMAS * sigma / step) + 4 for step in steps)
    outer = box.grown((margins[0], margins[1], margins[2]), source.shape)
    block = source.array[outer.slices]
    inner = box.within(outer)
    total = np.zeros(box.shape, dtype=np.float32)
    # ITK's axes are counted from x: the derivative along one, then the smoothing along the others, ascending.
    for axis in (2, 1, 0):
        part = _recurse(block, axis, _Coefficients.second_derivative(sigma, steps[axis]), inner[axis])
        for other in (2, 1, 0):
            if other != axis:
                part = _recurse(part, other, _Coefficients.gaussian(sigma, steps[other]), inner[other])
        _accumulate(total.reshape(-1), part.reshape(-1), 1.0 / (steps[axis] * steps[axis]))
    return total


@dataclass(frozen=True)
class _Coefficients:
    """Numerators n, m (forwards, backwards), denominators d and the values for the lines' ends."""

    n: npt.NDArray[np.float64]
    m: npt.NDArray[np.float64]
    d: npt.NDArray[np.float64]
    bn: npt.NDArray[np.float64]
    bm: npt.NDArray[np.float64]

    @classmethod
    def gaussian(cls, sigma: float, spacing: float) -> _Coefficients:
        """Smoothing whose gain is 1."""
        scale = sigma / spacing
        d, sd, _, _ = _denominator(scale)
        n, sn, _, _ = _numerator(scale, 0)
        alpha = 2 * sn / sd - n[0]
        return cls._complete([value * (1.0 / alpha) for value in n], d)

    @classmethod
    def second_derivative(cls, sigma: float, spacing: float) -> _Coefficients:
        """Second derivative, times sigma squared (normalized across scale)."""
        scale = sigma / spacing
        d, sd, dd, ed = _denominator(scale)
        n0, sn0, dn0, en0 = _numerator(scale, 0)
        n2, sn2, dn2, en2 = _numerator(scale, 2)
        beta = -(2 * sn2 - sd * n2[0]) / (2 * sn0 - sd * n0[0])
        n = [second + beta * first for first, second in zip(n0, n2)]
        sn, dn, en = sn2 + beta * sn0, dn2 + beta * dn0, en2 + beta * en0
        alpha = en * sd * sd - ed * sn * sd - 2 * dn * dd * sd + 2 * dd * dd * sn
        alpha /= sd * sd * sd
        return cls._complete([value * (sigma * sigma / alpha) for value in n], d)

    @classmethod
    def _complete(cls, n: list[float], d: list[float]) -> _Coefficients:
        m = [n[1] - d[0] * n[0], n[2] - d[1] * n[0], n[3] - d[2] * n[0], -d[3] * n[0]]
        sn = n[0] + n[1] + n[2] + n[3]
        sm = m[0] + m[1] + m[2] + m[3]
        sd = 1.0 + d[0] + d[1] + d[2] + d[3]
        return cls(*(np.array(values) for values in (n, m, d, [x * sn / sd for x in d], [x * sm / sd for x in d])))


def _denominator(scale: float) -> tuple[list[float], float, float, float]:
    cos1, cos2 = math.cos(_W1 / scale), math.cos(_W2 / scale)
    exp1, exp2 = math.exp(_L1 / scale), math.exp(_L2 / scale)
    d4 = exp1 * exp1 * exp2 * exp2
    d3 = -2 * cos1 * exp1 * exp2 * exp2
    d3 += -2 * cos2 * exp2 * exp1 * exp1
    d2 = 4 * cos2 * cos1 * exp1 * exp2
    d2 += exp1 * exp1 + exp2 * exp2
    d1 = -2 * (exp2 * cos2 + exp1 * cos1)
    return (
        [d1, d2, d3, d4],
        1.0 + d1 + d2 + d3 + d4,
        d1 + 2 * d2 + 3 * d3 + 4 * d4,
        d1 + 4 * d2 + 9 * d3 + 16 * d4,
    )


def _numerator(scale: float, order: int) -> tuple[list[float], float, float, float]:
    a1, b1, a2, b2 = _A1[order], _B1[order], _A2[order], _B2[order]
    sin1, sin2 = math.sin(_W1 / scale), math.sin(_W2 / scale)
    cos1, cos2 = math.cos(_W1 / scale), math.cos(_W2 / scale)
    exp1, exp2 = math.exp(_L1 / scale), math.exp(_L2 / scale)
    n0 = a1 + a2
    n1 = exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2)
    n1 += exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1)
    n2 = (a1 + a2) * cos2 * cos1
    n2 -= b1 * cos2 * sin1 + b2 * cos1 * sin2
    n2 *= 2 * exp1 * exp2
    n2 += a2 * exp1 * exp1 + a1 * exp2 * exp2
    n3 = exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2)
    n3 += exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1)
    return [n0, n1, n2, n3], n0 + n1 + n2 + n3, n1 + 2 * n2 + 3 * n3, n1 + 4 * n2 + 9 * n3


def _recurse(block: npt.NDArray[Any], axis: int, c: _Coefficients, keep: slice) -> Float32:
    """Filter along `axis` and keep only the slice of it that later passes need."""
    shape = list(block.shape)
    shape[axis] = keep.stop - keep.start
    result = np.empty(shape, dtype=np.float32)
    if axis == 0:
        # (k, lanes = j): one plane of constant i at a time would stride; lanes along i are contiguous.
        for j in range(block.shape[1]):
            _filter_lanes(block[:, j, :], result[:, j, :], keep.start, c.n, c.m, c.d, c.bn, c.bm)
    elif axis == 1:
        for k in range(block.shape[0]):
            _filter_lanes(block[k], result[k], keep.start, c.n, c.m, c.d, c.bn, c.bm)
    else:
        for k in range(block.shape[0]):
            lanes = np.ascontiguousarray(block[k].T)
            out = np.empty((shape[2], shape[1]), dtype=np.float32)
            _filter_lanes(lanes, out, keep.start, c.n, c.m, c.d, c.bn, c.bm)
            result[k] = out.T
    return result


@jit
def _filter_lanes(data, out, start, n, m, d, bn, bm):  # type: ignore[no-untyped-def]
    """Filter the columns of `data` (position, lane); write the positions from `start` on to `out`."""
    length, lanes = data.shape
    stop = start + out.shape[0]
    x = np.empty((length, lanes))
    for p in range(length):
        for i in range(lanes):
            x[p, i] = data[p, i]
    # Forwards. Before the line its first value is repeated; at rest the answer to it is bn / d times that value.
    y = np.empty((length, lanes))
    first = x[0]
    for p in range(min(4, length)):
        x1 = x[p - 1] if p >= 1 else first
        x2 = x[p - 2] if p >= 2 else first
        x3 = x[p - 3] if p >= 3 else first
        for i in range(lanes):
            value = x[p, i] * n[0] + x1[i] * n[1] + x2[i] * n[2] + x3[i] * n[3]
            s1 = y[p - 1, i] * d[0] if p >= 1 else first[i] * bn[0]
            s2 = y[p - 2, i] * d[1] if p >= 2 else first[i] * bn[1]
            s3 = y[p - 3, i] * d[2] if p >= 3 else first[i] * bn[2]
            s4 = first[i] * bn[3]
            y[p, i] = value - (s1 + s2 + s3 + s4)
    n0, n1, n2, n3 = n[0], n[1], n[2], n[3]
    d1, d2, d3, d4 = d[0], d[1], d[2], d[3]
    for p in range(4, stop):
        xp, x1, x2, x3 = x[p], x[p - 1], x[p - 2], x[p - 3]
        yp, y1, y2, y3, y4 = y[p], y[p - 1], y[p - 2], y[p - 3], y[p - 4]
        for i in range(lanes):
            value = xp[i] * n0 + x1[i] * n1 + x2[i] * n2 + x3[i] * n3
            yp[i] = value - (y1[i] * d1 + y2[i] * d2 + y3[i] * d3 + y4[i] * d4)
    # Backwards, kept in a ring of five rows, and added to the forward answer where it is asked for.
    m1, m2, m3, m4 = m[0], m[1], m[2], m[3]
    ring = np.empty((5, lanes))
    last = x[length - 1]
    for p in range(length - 1, start - 1, -1):
        row = ring[p % 5]
        after = length - 1 - p
        if after < 4:
            x1 = x[p + 1] if after >= 1 else last
            x2 = x[p + 2] if after >= 2 else last
            x3 = x[p + 3] if after >= 3 else last
            for i in range(lanes):
                value = x1[i] * m1 + x2[i] * m2 + x3[i] * m3 + last[i] * m4
                s1 = ring[(p + 1) % 5, i] * d1 if after >= 1 else last[i] * bm[0]
                s2 = ring[(p + 2) % 5, i] * d2 if after >= 2 else last[i] * bm[1]
                s3 = ring[(p + 3) % 5, i] * d3 if after >= 3 else last[i] * bm[2]
                s4 = last[i] * bm[3]
                row[i] = value - (s1 + s2 + s3 + s4)
        else:
            x1, x2, x3, x4 = x[p + 1], x[p + 2], x[p + 3], x[p + 4]
            r1, r2, r3, r4 = ring[(p + 1) % 5], ring[(p + 2) % 5], ring[(p + 3) % 5], ring[(p + 4) % 5]
            for i in range(lanes):
                value = x1[i] * m1 + x2[i] * m2 + x3[i] * m3 + x4[i] * m4
                row[i] = value - (r1[i] * d1 + r2[i] * d2 + r3[i] * d3 + r4[i] * d4)
        if p < stop:
            kept = out[p - start]
            yp = y[p]
            for i in range(lanes):
                kept[i] = yp[i] + row[i]


@jit
def _accumulate(total, part, factor):  # type: ignore[no-untyped-def]
    for i in range(total.size):
        total[i] = np.float32(total[i] + part[i] * factor)
