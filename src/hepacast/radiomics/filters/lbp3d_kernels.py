"""The compiled loops of LBP 3D: samples on the sphere, their kurtosis, and the length of the pattern's parts.

Voxels are taken in chunks of `LANES` along a row, and every step runs over the lanes innermost, so that the
processor's vector registers hold different voxels and each voxel's sums keep the order that SciPy and NumPy use.
"""

from __future__ import annotations

import math

import numpy as np

from hepacast.core.jit import jit
from hepacast.radiomics.filters.fma import fma

LANES = 64

#: Number types of the image: whole numbers, single and double precision.
INTEGER, SINGLE, DOUBLE = 0, 1, 2


@jit
def exact_sample(coefficients, low, shape, k, j, i, vertex):  # type: ignore[no-untyped-def]
    """SciPy's ``map_coordinates`` at one point, in its order of arithmetic; 0 outside the image."""
    position = (k + vertex[0], j + vertex[1], i + vertex[2])
    index = np.empty((3, 4), dtype=np.int64)
    weight = np.empty((3, 4))
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


@jit
def patterns(  # type: ignore[no-untyped-def]
    coefficients, low, shape, centers, mask, box_low, sphere, kind, limits, tolerance, harmonics_re, harmonics_im,
    by_count, values,
):  # fmt: skip
    """Fill `values` (levels + 1, n): lengths and kurtosis of the n voxels of `mask`, in the order of memory.

    `low` is the first voxel of `coefficients` in the image, `box_low` that of `centers` and `mask`.
    """
    vertices, pair, pair_start, pair_weight, last_start, last_weight, reach = sphere
    n_vertices = vertices.shape[0]
    n0, n1, n2 = centers.shape
    row = np.empty((pair_start.shape[0], LANES + 2 * reach))
    samples = np.zeros((n_vertices, LANES))
    bits = np.empty((n_vertices, LANES))
    count = np.empty(LANES)
    work = np.empty((12, LANES))
    single = np.empty((n_vertices, LANES), dtype=np.float32)
    work_single = np.empty((12, LANES), dtype=np.float32)
    kurtosis = np.empty(LANES)
    parts = np.empty((2 * harmonics_re.shape[1] + 4, LANES))
    done = 0
    for k in range(n0):
        gk = k + box_low[0]
        for j in range(n1):
            gj = j + box_low[1]
            first = 0
            while first < n2:
                if not mask[k, j, first]:
                    first += 1
                    continue
                n = min(LANES, n2 - first)
                while not mask[k, j, first + n - 1]:
                    n -= 1
                center = centers[k, j, first : first + n]
                inside = (
                    reach <= gk < shape[0] - reach
                    and reach <= gj < shape[1] - reach
                    and reach <= first + box_low[2]
                    and first + n + box_low[2] <= shape[2] - reach
                )
                if inside:
                    _sample(
                        coefficients, gk - low[0], gj - low[1], first + box_low[2] - low[2] - reach, n, reach,
                        pair, pair_start, pair_weight, last_start, last_weight, row, samples,
                    )  # fmt: skip
                if not inside or _any_near(samples, center, n, kind, tolerance):
                    for v in range(n_vertices):
                        for i in range(n):
                            value = samples[v, i]
                            distance = value - math.floor(value) - 0.5 if kind == INTEGER else value - center[i]
                            if not inside or abs(distance) < tolerance:
                                gi = first + i + box_low[2]
                                samples[v, i] = exact_sample(coefficients, low, shape, gk, gj, gi, vertices[v])
                if kind == INTEGER:
                    _round(samples, n, limits)
                if kind == SINGLE:
                    for v in range(n_vertices):
                        for i in range(n):
                            single[v, i] = samples[v, i]
                            samples[v, i] = single[v, i]
                    _kurtosis(single, n, work_single, np.float32(1.1920929e-07), kurtosis)
                else:
                    _kurtosis(samples, n, work, 2.220446049250313e-16, kurtosis)
                _signs(samples, center, n, bits, count)
                voxel = done
                for i in range(n):
                    if mask[k, j, first + i]:
                        values[values.shape[0] - 1, voxel] = kurtosis[i]
                        values[0, voxel] = by_count[int(count[i])]
                        voxel += 1
                for level in range(1, values.shape[0] - 1):
                    _lengths(bits, n, level, harmonics_re, harmonics_im, parts)
                    voxel = done
                    for i in range(n):
                        if mask[k, j, first + i]:
                            values[level, voxel] = np.sqrt(complex(parts[0, i], parts[1, i])).real
                            voxel += 1
                done = voxel
                first += n


@jit
def _sample(  # type: ignore[no-untyped-def]
    coefficients, ck, cj, begin, n, reach, pair, pair_start, pair_weight, last_start, last_weight, row, samples,
):  # fmt: skip
    """All vertices' samples of `n` voxels of one row that starts `reach` voxels after `begin`."""
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
def _mean(values, n, power, mean, lanes, out):  # type: ignore[no-untyped-def]
    """NumPy's mean over the first axis of ``(values - mean) ** power`` (power 0: of the values themselves).

    NumPy adds up to 128 numbers in eight lanes, then the lanes in pairs, then what is left over.
    """
    total = values.shape[0]
    whole = total - total % 8 if total >= 8 else 0
    for v in range(total):
        if v < whole:
            target = lanes[v % 8]
            fresh = v < 8
        else:
            target = out
            fresh = v == 0
        if v == whole and whole:
            for i in range(n):
                left = (lanes[0, i] + lanes[1, i]) + (lanes[2, i] + lanes[3, i])
                out[i] = left + ((lanes[4, i] + lanes[5, i]) + (lanes[6, i] + lanes[7, i]))
        for i in range(n):
            value = values[v, i]
            if power > 0:
                value = value - mean[i]
                value = value * value
            if power > 2:
                value = value * value
            target[i] = value if fresh else target[i] + value
    if whole == total:
        for i in range(n):
            left = (lanes[0, i] + lanes[1, i]) + (lanes[2, i] + lanes[3, i])
            out[i] = left + ((lanes[4, i] + lanes[5, i]) + (lanes[6, i] + lanes[7, i]))
    divisor = values.dtype.type(total)
    for i in range(n):
        out[i] = out[i] / divisor


@jit
def _kurtosis(values, n, work, epsilon, kurtosis):  # type: ignore[no-untyped-def]
    """SciPy's excess kurtosis over the first axis; NaN where the values are all (nearly) the same."""
    lanes, mean, second, fourth = work[:8], work[8], work[9], work[10]
    _mean(values, n, 0, mean, lanes, mean)
    _mean(values, n, 2, mean, lanes, second)
    _mean(values, n, 4, mean, lanes, fourth)
    three = values.dtype.type(3)
    for i in range(n):
        limit = (epsilon * mean[i]) * (epsilon * mean[i])
        square = second[i] * second[i]
        kurtosis[i] = np.nan if second[i] <= limit else fourth[i] / square - three


@jit
def _lengths(bits, n, level, harmonics_re, harmonics_im, parts):  # type: ignore[no-untyped-def]
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
            y_re, y_im = harmonics_re[v, first + t], harmonics_im[v, first + t]
            c_re, c_im = parts[4 + 2 * t], parts[5 + 2 * t]
            for i in range(n):
                c_re[i] += y_re * bits[v, i]
                c_im[i] += y_im * bits[v, i]
    total_re, total_im, re, im = parts[0], parts[1], parts[2], parts[3]
    for v in range(bits.shape[0]):
        for t in range(terms):
            y_re, y_im = harmonics_re[v, first + t], harmonics_im[v, first + t]
            c_re, c_im = parts[4 + 2 * t], parts[5 + 2 * t]
            for i in range(n):
                a, b = c_re[i], c_im[i]
                add_re = fma(a, y_re, -(b * y_im))
                add_im = fma(a, y_im, b * y_re)
                re[i] = add_re if t == 0 else re[i] + add_re
                im[i] = add_im if t == 0 else im[i] + add_im
        for i in range(n):
            total_re[i] += fma(re[i], re[i], -(im[i] * im[i]))
            total_im[i] += fma(re[i], im[i], im[i] * re[i])
