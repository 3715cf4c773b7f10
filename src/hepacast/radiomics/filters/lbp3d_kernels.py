"""The compiled loops of LBP 3D: samples on the sphere, their kurtosis, and the length of the pattern's parts.

Voxels are taken in chunks of `LANES` along a row, and every step runs over the lanes innermost, so that the
processor's vector registers hold different voxels and each voxel's sums keep the order that SciPy and NumPy use.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.jit import jit
from hepacast.radiomics.filters.fma import fma

LANES = 64

#: Number types of the image: whole numbers, single and double precision.
INTEGER, SINGLE, DOUBLE = 0, 1, 2


@jit
def exact_sample(coefficients, low, shape, k, j, i, vertex, index, weight):  # type: ignore[no-untyped-def]
    """SciPy's ``map_coordinates`` at one point, in its order of arithmetic; 0 outside the image."""
    position = (k + vertex[0], j + vertex[1], i + vertex[2])
    for axis in range(3):
        last = shape[axis] - 1
        if position[axis] < 0 or position[axis] > last:
            return 0.0
        floor = math.floor(position[axis])
        y = position[axis] - floor
        z = 1.0 - y
        weight[axis, 1] = (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0
        weight[axis, 2] = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0
        weight[axis, 0] = z * z * z / 6.0
        weight[axis, 3] = 1.0 - weight[axis, 0] - weight[axis, 1] - weight[axis, 2]
        for tap in range(4):
            at = 0
            if last > 0:
                at = abs(floor - 1 + tap) % (2 * last)  # mirrored about the border voxels
                at = min(at, 2 * last - at)
            index[axis, tap] = at - low[axis]
    total = 0.0
    for a in range(4):
        for b in range(4):
            for c in range(4):
                value = coefficients[index[0, a], index[1, b], index[2, c]]
                total += value * weight[0, a] * weight[1, b] * weight[2, c]
    return total


def work_space(vertices: int, pairs: int, terms: int, reach: int) -> tuple[npt.NDArray[Any], ...]:
    """Arrays for `patterns`: what one chunk of voxels needs, small enough for the processor's first cache."""
    return (
        np.empty((pairs, LANES + 2 * reach)),
        np.zeros((vertices, LANES)),
        np.empty((vertices, LANES)),
        np.empty((vertices, LANES), dtype=np.float32),
        np.empty((20, LANES)),
        np.empty((20, LANES), dtype=np.float32),
        np.empty((2, LANES)),
        np.empty((2 * terms + 4, LANES)),
        np.empty((3, 4), dtype=np.int64),
        np.empty((3, 4)),
    )


@jit
def patterns(  # type: ignore[no-untyped-def]
    coefficients, low, shape, centers, mask, box_low, sphere, kind, limits, tolerance, harmonics, by_count, work,
    values,
):  # fmt: skip
    """Fill `values` (levels + 1, n): lengths and kurtosis of the n voxels of `mask`, in the order of memory.

    `low` is the first voxel of `coefficients` in the image, `box_low` that of `centers` and `mask`.
    """
    y_re, y_im, mirrored = harmonics
    bits, count, kurtosis, parts = work[2], work[6][0], work[6][1], work[7]
    last = values.shape[0] - 1
    done = 0
    for k in range(centers.shape[0]):
        for j in range(centers.shape[1]):
            first = 0
            while first < centers.shape[2]:
                if not mask[k, j, first]:
                    first += 1
                    continue
                n = min(LANES, centers.shape[2] - first)
                while not mask[k, j, first + n - 1]:
                    n -= 1
                center = centers[k, j, first : first + n]
                at = (k + box_low[0], j + box_low[1], first + box_low[2])
                _fill_samples(coefficients, low, shape, center, at, sphere, kind, tolerance, work)
                _fill_kurtosis(n, kind, limits, work)
                _signs(work[1], center, n, bits, count)
                voxel = done
                for i in range(n):
                    if mask[k, j, first + i]:
                        values[last, voxel] = kurtosis[i]
                        values[0, voxel] = by_count[int(count[i])]
                        voxel += 1
                for level in range(1, last):
                    if level == 1 and mirrored:
                        _lengths_of_vectors(bits, n, y_re, y_im, parts)
                    else:
                        _lengths(bits, n, level, y_re, y_im, parts)
                    voxel = done
                    for i in range(n):
                        if mask[k, j, first + i]:
                            values[level, voxel] = np.sqrt(complex(parts[0, i], parts[1, i])).real
                            voxel += 1
                done = voxel
                first += n


@jit
def _fill_samples(coefficients, low, shape, center, at, sphere, kind, tolerance, work):  # type: ignore[no-untyped-def]
    """All vertices' samples of the voxels from `at` on, those near a decision in SciPy's order of arithmetic."""
    vertices, reach, n = sphere[0], sphere[6], center.size
    row, samples, index, weight = work[0], work[1], work[8], work[9]
    gk, gj, gi = at
    inside = (
        reach <= gk < shape[0] - reach and reach <= gj < shape[1] - reach and reach <= gi and gi + n <= shape[2] - reach
    )
    if inside:
        _sample(coefficients, gk - low[0], gj - low[1], gi - low[2] - reach, n, sphere, row, samples)
        if not _any_near(samples, center, n, kind, tolerance):
            return
    for v in range(vertices.shape[0]):
        for i in range(n):
            value = samples[v, i]
            distance = value - math.floor(value) - 0.5 if kind == INTEGER else value - center[i]
            if not inside or abs(distance) < tolerance:
                samples[v, i] = exact_sample(coefficients, low, shape, gk, gj, gi + i, vertices[v], index, weight)


@jit
def _fill_kurtosis(n, kind, limits, work):  # type: ignore[no-untyped-def]
    """Kurtosis of the samples, which become numbers of the image's type before."""
    samples, single, kurtosis = work[1], work[3], work[6][1]
    if kind == INTEGER:
        _round(samples, n, limits)
    if kind == SINGLE:
        for v in range(samples.shape[0]):
            for i in range(n):
                single[v, i] = samples[v, i]
                samples[v, i] = single[v, i]
        _kurtosis(single, n, work[5], np.float32(1.1920929e-07), kurtosis)
    else:
        _kurtosis(samples, n, work[4], 2.220446049250313e-16, kurtosis)


@jit
def _sample(coefficients, ck, cj, begin, n, sphere, row, samples):  # type: ignore[no-untyped-def]
    """All vertices' samples of `n` voxels of one row that starts `reach` voxels after `begin`."""
    _, pair, pair_start, pair_weight, last_start, last_weight, reach = sphere
    width = n + 2 * reach
    for p in range(pair_start.shape[0]):
        out = row[p]
        for i in range(width):
            out[i] = 0.0
        for a in range(4):
            plane = coefficients[ck + pair_start[p, 0] + a]
            top = cj + pair_start[p, 1]
            w0, w1, w2, w3 = pair_weight[p, a, 0], pair_weight[p, a, 1], pair_weight[p, a, 2], pair_weight[p, a, 3]
            if w0 == 0.0 and w1 == 0.0 and w2 == 0.0 and w3 == 0.0:
                continue
            line0, line1, line2, line3 = plane[top], plane[top + 1], plane[top + 2], plane[top + 3]
            for i in range(width):
                at = begin + i
                out[i] += w0 * line0[at] + w1 * line1[at] + w2 * line2[at] + w3 * line3[at]
    for v in range(pair.size):
        source = row[pair[v]]
        w0, w1, w2, w3 = last_weight[v, 0], last_weight[v, 1], last_weight[v, 2], last_weight[v, 3]
        shift = reach + last_start[v]
        out = samples[v]
        for i in range(n):
            at = i + shift
            out[i] = w0 * source[at] + w1 * source[at + 1] + w2 * source[at + 2] + w3 * source[at + 3]


@jit
def _any_near(samples, center, n, kind, tolerance):  # type: ignore[no-untyped-def]
    """Is any sample so near to a decision that its last digits matter?"""
    nearest = np.inf
    for v in range(samples.shape[0]):
        if kind == INTEGER:
            for i in range(n):
                value = samples[v, i]
                distance = abs(value - math.floor(value) - 0.5)
                nearest = distance if distance < nearest else nearest
        else:
            for i in range(n):
                distance = abs(samples[v, i] - center[i])
                nearest = distance if distance < nearest else nearest
    return nearest < tolerance


@jit
def _round(samples, n, limits):  # type: ignore[no-untyped-def]
    """To whole numbers, half away from zero, within the image's number type."""
    least, most = limits
    for v in range(samples.shape[0]):
        for i in range(n):
            value = samples[v, i]
            up = math.floor(value + 0.5)
            down = math.ceil(value - 0.5)
            value = up if value > 0 else down
            value = least if value < least else value
            samples[v, i] = most if value > most else value


@jit
def _signs(samples, center, n, bits, count):  # type: ignore[no-untyped-def]
    for i in range(n):
        count[i] = 0.0
    for v in range(samples.shape[0]):
        for i in range(n):
            bits[v, i] = 1.0 if samples[v, i] >= center[i] else 0.0
            count[i] += bits[v, i]


@jit
def _join(lanes, at, n, out):  # type: ignore[no-untyped-def]
    """The sum of eight lanes, in pairs."""
    for i in range(n):
        left = (lanes[at, i] + lanes[at + 1, i]) + (lanes[at + 2, i] + lanes[at + 3, i])
        out[i] = left + ((lanes[at + 4, i] + lanes[at + 5, i]) + (lanes[at + 6, i] + lanes[at + 7, i]))


@jit
def _kurtosis(values, n, work, epsilon, kurtosis):  # type: ignore[no-untyped-def]
    """SciPy's excess kurtosis over the first axis; NaN where the values are all (nearly) the same.

    NumPy's means add up to 128 numbers in eight lanes, then the lanes in pairs, then what is left over; so do these.
    """
    mean, second, fourth = work[16], work[17], work[18]
    total = values.shape[0]
    whole = total - total % 8 if total >= 8 else 0
    divisor = values.dtype.type(total)
    for v in range(total):
        target = work[v % 8] if v < whole else mean
        if v == whole and whole:
            _join(work, 0, n, mean)
        fresh = v < 8 if v < whole else v == 0
        for i in range(n):
            target[i] = values[v, i] if fresh else target[i] + values[v, i]
    if whole == total:
        _join(work, 0, n, mean)
    for i in range(n):
        mean[i] = mean[i] / divisor
    for v in range(total):
        squares, fourths = (work[v % 8], work[8 + v % 8]) if v < whole else (second, fourth)
        if v == whole and whole:
            _join(work, 0, n, second)
            _join(work, 8, n, fourth)
        fresh = v < 8 if v < whole else v == 0
        for i in range(n):
            apart = values[v, i] - mean[i]
            square = apart * apart
            squares[i] = square if fresh else squares[i] + square
            fourths[i] = square * square if fresh else fourths[i] + square * square
    if whole == total:
        _join(work, 0, n, second)
        _join(work, 8, n, fourth)
    three = values.dtype.type(3)
    for i in range(n):
        second[i] = second[i] / divisor
        fourth[i] = fourth[i] / divisor
        limit = (epsilon * mean[i]) * (epsilon * mean[i])
        kurtosis[i] = np.nan if second[i] <= limit else fourth[i] / (second[i] * second[i]) - three


@jit
def _lengths(bits, n, level, y_re, y_im, parts):  # type: ignore[no-untyped-def]
    """sum_v (sum_m c_m Y_m(v))^2 of one level into parts[0] + i parts[1], with c_m = sum_v bit_v Y_m(v).

    Summed in PyRadiomics' order: patterns that are turned into each other have equal lengths up to rounding, and
    percentiles fall between them. NumPy multiplies complex numbers with one rounding for the first product and the
    sum; so does this.
    """
    first, terms = level * level, 2 * level + 1
    for t in range(2 * terms + 4):
        for i in range(n):
            parts[t, i] = 0.0
    for v in range(bits.shape[0]):
        for t in range(terms):
            c_re, c_im = parts[4 + 2 * t], parts[5 + 2 * t]
            for i in range(n):
                c_re[i] += y_re[v, first + t] * bits[v, i]
                c_im[i] += y_im[v, first + t] * bits[v, i]
    total_re, total_im, re, im = parts[0], parts[1], parts[2], parts[3]
    for v in range(bits.shape[0]):
        for t in range(terms):
            f_re, f_im = y_re[v, first + t], y_im[v, first + t]
            c_re, c_im = parts[4 + 2 * t], parts[5 + 2 * t]
            for i in range(n):
                add_re = fma(c_re[i], f_re, -(c_im[i] * f_im))
                add_im = fma(c_re[i], f_im, c_im[i] * f_re)
                re[i] = add_re if t == 0 else re[i] + add_re
                im[i] = add_im if t == 0 else im[i] + add_im
        for i in range(n):
            total_re[i] += fma(re[i], re[i], -(im[i] * im[i]))
            total_im[i] += fma(re[i], im[i], im[i] * re[i])


@jit
def _lengths_of_vectors(bits, n, y_re, y_im, parts):  # type: ignore[no-untyped-def]
    """Level 1 of `_lengths`, to the last bit, where Y_-1 is -conj(Y_1) and Y_0 real, to the last bit.

    Then c_-1 Y_-1 is the conjugate of c_1 Y_1, and the sum over m real.
    """
    total, c_0, c_re, c_im = parts[0], parts[2], parts[3], parts[4]
    for i in range(n):
        total[i] = parts[1, i] = c_0[i] = c_re[i] = c_im[i] = 0.0
    whole = bits.shape[0] - bits.shape[0] % 3
    for v in range(0, whole, 3):
        b0, b1, b2 = bits[v], bits[v + 1], bits[v + 2]
        y0, y1, y2 = y_re[v, 2], y_re[v + 1, 2], y_re[v + 2, 2]
        r0, r1, r2 = y_re[v, 3], y_re[v + 1, 3], y_re[v + 2, 3]
        i0, i1, i2 = y_im[v, 3], y_im[v + 1, 3], y_im[v + 2, 3]
        for i in range(n):
            c_0[i] = ((c_0[i] + y0 * b0[i]) + y1 * b1[i]) + y2 * b2[i]
            c_re[i] = ((c_re[i] + r0 * b0[i]) + r1 * b1[i]) + r2 * b2[i]
            c_im[i] = ((c_im[i] + i0 * b0[i]) + i1 * b1[i]) + i2 * b2[i]
    for v in range(whole, bits.shape[0]):
        for i in range(n):
            c_0[i] += y_re[v, 2] * bits[v, i]
            c_re[i] += y_re[v, 3] * bits[v, i]
            c_im[i] += y_im[v, 3] * bits[v, i]
    for v in range(bits.shape[0]):
        f_0, f_re, f_im = y_re[v, 2], y_re[v, 3], y_im[v, 3]
        for i in range(n):
            one = fma(c_re[i], f_re, -(c_im[i] * f_im))
            both = (one + c_0[i] * f_0) + one
            total[i] += both * both
