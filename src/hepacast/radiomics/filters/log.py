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

from hepacast.core.jit import jit
from hepacast.radiomics.filters.source import Scratch, SourceImage, VoxelBox

Float32 = npt.NDArray[np.float32]

#: exp(-1.3732 * 20) = 1.2e-12 of an intensity difference beyond the cut is left in the box.
MARGIN_SIGMAS = 20.0

#: Slices that go through two passes at a time.
SLAB = 32

#: Lines that are filtered together.
LANES = 64

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


def laplacian_of_gaussian(source: SourceImage, box: VoxelBox, sigma: float) -> Float32:
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
    total = source.scratch.array("image", box.shape, np.float32)
    total.fill(0.0)
    # ITK's axes are counted from x: the derivative along one, then the smoothing along the others, ascending.
    for axis in (2, 1, 0):
        order = (axis, *(other for other in (2, 1, 0) if other != axis))
        part = _filtered(block, order, sigma, steps, inner, source.scratch)
        _accumulate(total.reshape(-1), part.reshape(-1), 1.0 / (steps[axis] * steps[axis]))
    return total


def _filtered(
    block: npt.NDArray[Any],
    order: tuple[int, ...],
    sigma: float,
    steps: tuple[float, ...],
    inner: tuple[slice, slice, slice],
    scratch: Scratch,
) -> Float32:
    """The derivative along the first axis of `order`, smoothed along the others, of the `inner` voxels.

    The first two passes are made slab by slab along the third axis: what lies between them stays in the cache.
    """
    first, second, third = order
    shape = list(block.shape)
    shape[first] = inner[first].stop - inner[first].start
    between = list(shape)
    between[third] = min(SLAB, shape[third])
    shape[second] = inner[second].stop - inner[second].start
    slab = scratch.array("a", tuple(between), np.float32)
    half = scratch.array("b", tuple(shape), np.float32)
    derivative = _Coefficients.second_derivative(sigma, steps[first])
    smooth = _Coefficients.gaussian(sigma, steps[second])
    for at in range(0, shape[third], SLAB):
        count = min(SLAB, shape[third] - at)
        _recurse(block, slab, first, derivative, inner[first].start, (third, count, at, 0))
        _recurse(slab, half, second, smooth, inner[second].start, (third, count, 0, at))
    whole = (second, shape[second], 0, 0)
    shape[third] = inner[third].stop - inner[third].start
    result = scratch.array("a", tuple(shape), np.float32)
    _recurse(half, result, third, _Coefficients.gaussian(sigma, steps[third]), inner[third].start, whole)
    return result


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


def _recurse(
    block: npt.NDArray[Any], result: Float32, axis: int, c: _Coefficients, start: int, slab: tuple[int, int, int, int]
) -> None:
    """Filter along `axis`, keep the positions from `start` on that `result` has room for.

    `slab` says along which other axis how many slices are taken, from which of `block`, to which of `result`.
    """
    along = (_along_first, _along_second, _along_last)[axis]
    lines = np.zeros((2, block.shape[axis] * LANES)), np.zeros(4 * LANES)
    along(block, result, start, slab, lines, (c.n, c.m, c.d, c.bn, c.bm))


# Lines are filtered `LANES` at a time, in scratch arrays [position, lane] that stay in the cache.


@jit
def _copy(source, target):  # type: ignore[no-untyped-def]
    for i in range(source.size):
        target[i] = source[i]


@jit
def _along_first(block, result, start, slab, lines, coefficients):  # type: ignore[no-untyped-def]
    """Along k; the slab lies along j, or along i when all of it is taken."""
    size, columns = block.shape[0], block.shape[2]
    x, y, ring = lines[0][0], lines[0][1], lines[1]
    axis, count, of, to = slab
    for j in range(count if axis == 1 else block.shape[1]):
        for left in range(0, columns, LANES):
            lanes = min(LANES, columns - left)
            for p in range(size):
                _copy(block[p, of + j, left : left + lanes], x[p * LANES : p * LANES + lanes])
            _filter_lanes(x, y, ring, start, start + result.shape[0], coefficients)
            for p in range(result.shape[0]):
                at = (start + p) * LANES
                _copy(y[at : at + lanes], result[p, to + j, left : left + lanes])


@jit
def _along_second(block, result, start, slab, lines, coefficients):  # type: ignore[no-untyped-def]
    """Along j; the slab lies along k, or along i when all of it is taken."""
    size, columns = block.shape[1], block.shape[2]
    x, y, ring = lines[0][0], lines[0][1], lines[1]
    axis, count, of, to = slab
    for k in range(count if axis == 0 else block.shape[0]):
        for left in range(0, columns, LANES):
            lanes = min(LANES, columns - left)
            for p in range(size):
                _copy(block[of + k, p, left : left + lanes], x[p * LANES : p * LANES + lanes])
            _filter_lanes(x, y, ring, start, start + result.shape[1], coefficients)
            for p in range(result.shape[1]):
                at = (start + p) * LANES
                _copy(y[at : at + lanes], result[to + k, p, left : left + lanes])


@jit
def _along_last(block, result, start, slab, lines, coefficients):  # type: ignore[no-untyped-def]
    """Along i; the slab lies along k or j."""
    slices, rows, size = block.shape
    x, y, ring = lines[0][0], lines[0][1], lines[1]
    axis, count, of, to = slab
    of_k, to_k, of_j, to_j = (of, to, 0, 0) if axis == 0 else (0, 0, of, to)
    if axis == 0:
        slices = count
    else:
        rows = count
    for k in range(slices):
        for top in range(0, rows, LANES):
            lanes = min(LANES, rows - top)
            # Turned in squares of 8 by 8, so that each line of the cache is used in full.
            for square in range(0, size, 8):
                end = min(square + 8, size)
                for i in range(lanes):
                    for p in range(square, end):
                        x[p * LANES + i] = block[of_k + k, of_j + top + i, p]
            _filter_lanes(x, y, ring, start, start + result.shape[2], coefficients)
            for square in range(0, result.shape[2], 8):
                end = min(square + 8, result.shape[2])
                for i in range(lanes):
                    for p in range(square, end):
                        result[to_k + k, to_j + top + i, p] = y[(start + p) * LANES + i]


@jit
def _filter_lanes(x, y, ring, start, stop, coefficients):  # type: ignore[no-untyped-def]
    """Filter the columns of `x` (position, lane); the answer at positions `start` to `stop` is left in `y`."""
    n, m, d, bn, bm = coefficients
    _forwards(x, y, stop, n, d, bn)
    _backwards(x, y, ring, start, stop, m, d, bm)


@jit
def _forwards(x, y, stop, n, d, bn):  # type: ignore[no-untyped-def]
    """Before the line its first value is repeated; at rest the answer to it is bn / d times that value."""
    length = x.size // LANES
    for p in range(min(4, length)):
        a, b, c = max(p - 1, 0), max(p - 2, 0), max(p - 3, 0)
        for i in range(LANES):
            value = (
                x[p * LANES + i] * n[0] + x[a * LANES + i] * n[1] + x[b * LANES + i] * n[2] + x[c * LANES + i] * n[3]
            )
            s1 = y[(p - 1) * LANES + i] * d[0] if p >= 1 else x[0 * LANES + i] * bn[0]
            s2 = y[(p - 2) * LANES + i] * d[1] if p >= 2 else x[0 * LANES + i] * bn[1]
            s3 = y[(p - 3) * LANES + i] * d[2] if p >= 3 else x[0 * LANES + i] * bn[2]
            s4 = x[0 * LANES + i] * bn[3]
            y[p * LANES + i] = value - (s1 + s2 + s3 + s4)
    p = 4
    while p + 4 <= stop:
        _four_forwards(x, y, p, n, d)
        p += 4
    n0, n1, n2, n3 = n[0], n[1], n[2], n[3]
    d1, d2, d3, d4 = d[0], d[1], d[2], d[3]
    while p < stop:
        for i in range(LANES):
            value = (
                x[p * LANES + i] * n0
                + x[(p - 1) * LANES + i] * n1
                + x[(p - 2) * LANES + i] * n2
                + x[(p - 3) * LANES + i] * n3
            )
            y[p * LANES + i] = value - (
                y[(p - 1) * LANES + i] * d1
                + y[(p - 2) * LANES + i] * d2
                + y[(p - 3) * LANES + i] * d3
                + y[(p - 4) * LANES + i] * d4
            )
        p += 1


@jit
def _backwards(x, y, ring, start, stop, m, d, bm):  # type: ignore[no-untyped-def]
    """The ring holds the answers of the four positions after p, the nearest first."""
    last = x.size // LANES - 1
    for p in range(last, max(last - 4, start - 1), -1):
        after = last - p
        a, b, c = min(p + 1, last), min(p + 2, last), min(p + 3, last)
        for i in range(LANES):
            end = x[last * LANES + i]
            value = x[a * LANES + i] * m[0] + x[b * LANES + i] * m[1] + x[c * LANES + i] * m[2] + end * m[3]
            s1 = ring[i] * d[0] if after >= 1 else end * bm[0]
            s2 = ring[i + LANES] * d[1] if after >= 2 else end * bm[1]
            s3 = ring[i + 2 * LANES] * d[2] if after >= 3 else end * bm[2]
            s4 = end * bm[3]
            _push(ring, i, value - (s1 + s2 + s3 + s4))
            if p < stop:
                y[p * LANES + i] += ring[i]
    p = last - 4
    while p - 3 >= stop:
        _four_backwards(x, y, ring, p, m, d, False)
        p -= 4
    while p >= start and p >= stop:
        _one_backwards(x, y, ring, p, m, d, False)
        p -= 1
    while p - 3 >= start:
        _four_backwards(x, y, ring, p, m, d, True)
        p -= 4
    while p >= start:
        _one_backwards(x, y, ring, p, m, d, True)
        p -= 1


@jit
def _four_forwards(x, y, p, n, d):  # type: ignore[no-untyped-def]
    """Positions p to p + 3: what they share is read once (reading is what takes the time)."""
    n0, n1, n2, n3 = n[0], n[1], n[2], n[3]
    d1, d2, d3, d4 = d[0], d[1], d[2], d[3]
    values = x[(p - 3) * LANES : (p + 4) * LANES]
    before = y[(p - 4) * LANES : p * LANES]
    after = y[p * LANES : (p + 4) * LANES]
    for i in range(LANES):
        a3, a2, a1, x0 = values[i], values[i + LANES], values[i + 2 * LANES], values[i + 3 * LANES]
        x1, x2, x3 = values[i + 4 * LANES], values[i + 5 * LANES], values[i + 6 * LANES]
        b4, b3, b2, b1 = before[i], before[i + LANES], before[i + 2 * LANES], before[i + 3 * LANES]
        y0 = (x0 * n0 + a1 * n1 + a2 * n2 + a3 * n3) - (b1 * d1 + b2 * d2 + b3 * d3 + b4 * d4)
        y1 = (x1 * n0 + x0 * n1 + a1 * n2 + a2 * n3) - (y0 * d1 + b1 * d2 + b2 * d3 + b3 * d4)
        y2 = (x2 * n0 + x1 * n1 + x0 * n2 + a1 * n3) - (y1 * d1 + y0 * d2 + b1 * d3 + b2 * d4)
        y3 = (x3 * n0 + x2 * n1 + x1 * n2 + x0 * n3) - (y2 * d1 + y1 * d2 + y0 * d3 + b1 * d4)
        after[i], after[i + LANES], after[i + 2 * LANES], after[i + 3 * LANES] = y0, y1, y2, y3


@jit
def _four_backwards(x, y, ring, p, m, d, add):  # type: ignore[no-untyped-def]
    """Positions p down to p - 3."""
    m1, m2, m3, m4 = m[0], m[1], m[2], m[3]
    d1, d2, d3, d4 = d[0], d[1], d[2], d[3]
    values = x[(p - 2) * LANES : (p + 5) * LANES]
    answer = y[(p - 3) * LANES : (p + 1) * LANES]
    for i in range(LANES):
        a2, a1, x0, x1 = values[i], values[i + LANES], values[i + 2 * LANES], values[i + 3 * LANES]
        x2, x3, x4 = values[i + 4 * LANES], values[i + 5 * LANES], values[i + 6 * LANES]
        b1, b2, b3, b4 = ring[i], ring[i + LANES], ring[i + 2 * LANES], ring[i + 3 * LANES]
        y0 = (x1 * m1 + x2 * m2 + x3 * m3 + x4 * m4) - (b1 * d1 + b2 * d2 + b3 * d3 + b4 * d4)
        y1 = (x0 * m1 + x1 * m2 + x2 * m3 + x3 * m4) - (y0 * d1 + b1 * d2 + b2 * d3 + b3 * d4)
        y2 = (a1 * m1 + x0 * m2 + x1 * m3 + x2 * m4) - (y1 * d1 + y0 * d2 + b1 * d3 + b2 * d4)
        y3 = (a2 * m1 + a1 * m2 + x0 * m3 + x1 * m4) - (y2 * d1 + y1 * d2 + y0 * d3 + b1 * d4)
        ring[i], ring[i + LANES], ring[i + 2 * LANES], ring[i + 3 * LANES] = y3, y2, y1, y0
        if add:
            answer[i + 3 * LANES] += y0
            answer[i + 2 * LANES] += y1
            answer[i + LANES] += y2
            answer[i] += y3


@jit
def _one_backwards(x, y, ring, p, m, d, add):  # type: ignore[no-untyped-def]
    """Position p alone."""
    for i in range(LANES):
        value = x[(p + 1) * LANES + i] * m[0] + x[(p + 2) * LANES + i] * m[1]
        value = value + x[(p + 3) * LANES + i] * m[2] + x[(p + 4) * LANES + i] * m[3]
        b1, b2, b3, b4 = ring[i], ring[i + LANES], ring[i + 2 * LANES], ring[i + 3 * LANES]
        _push(ring, i, value - (b1 * d[0] + b2 * d[1] + b3 * d[2] + b4 * d[3]))
        if add:
            y[p * LANES + i] += ring[i]


@jit
def _push(ring, i, value):  # type: ignore[no-untyped-def]
    """Put a new answer first; the oldest falls out."""
    ring[i + 3 * LANES] = ring[i + 2 * LANES]
    ring[i + 2 * LANES] = ring[i + LANES]
    ring[i + LANES] = ring[i]
    ring[i] = value


@jit
def _accumulate(total, part, factor):  # type: ignore[no-untyped-def]
    for i in range(total.size):
        total[i] = np.float32(total[i] + part[i] * factor)
