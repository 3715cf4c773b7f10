"""Local binary patterns in 3-D by spherical harmonics, equal to PyRadiomics' ``getLBP3DImage``.

Around each voxel of the VOI the image is read at the vertices of an icosphere by cubic splines. PyRadiomics does this
with 42 calls' worth of ``map_coordinates`` (64 taps a point); here vertices that share two coordinates share 16 of
the taps, which are the same for all voxels. Sums then run in another order, so a sample may differ in its last digit.
Where that could matter (a sample within a rounding error of the center's value, or half way between two whole
numbers) the sample is calculated again in SciPy's order.

Source: J. Banerjee et al., "3D LBP-based rotationally invariant region description", ACCV 2012 workshops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.radiomics.filters.fma import fma
from hepacast.radiomics.filters.source import Box, Source
from hepacast.radiomics.filters.sphere import harmonics, icosphere
from hepacast.radiomics.kernels.jit import jit

Array = npt.NDArray[np.float64]

#: The spline's filter forgets at 0.268 a voxel: 0.268^40 = 1e-23.
SPLINE_MARGIN = 40


def local_binary_patterns_3d(
    source: Source, box: Box, mask: npt.NDArray[np.bool_], *, levels: int, radius: float, subdivisions: int
) -> Iterator[tuple[str, Array]]:
    """Images ``lbp-3D-m1`` ... and ``lbp-3D-k`` of the box; voxels outside `mask` are 0.

    Parameters
    ----------
    mask
        Shape of `box`: the voxels that are asked for.
    levels
        Number of levels of spherical harmonics.
    radius
        Radius of the sphere, voxels.
    subdivisions
        Subdivisions of the icosahedron: 12, 42, 162 ... vertices.
    """
    vertices = icosphere(subdivisions, float(radius))
    outer = box.grown(SPLINE_MARGIN + math.ceil(radius), source.shape)
    coefficients = _spline_coefficients(source.crop(outer))
    images = np.zeros((levels + 1, *box.shape))
    samples = _Samples(vertices)
    limits = (-np.inf, np.inf)
    if source.array.dtype.kind in "iu":
        limits = (float(np.iinfo(source.array.dtype).min), float(np.iinfo(source.array.dtype).max))
    kind = 0 if source.array.dtype.kind in "iub" else 1 if source.array.dtype == np.float32 else 2
    _patterns(
        coefficients,
        np.array(outer.low),
        np.array(source.shape),
        source.crop(box).astype(np.float64),
        mask,
        np.array(box.low),
        vertices,
        samples.pair,
        samples.pair_start,
        samples.pair_weight,
        samples.last_start,
        samples.last_weight,
        kind,
        limits,
        float(source.absolute_maximum),
        harmonics(vertices, float(radius), levels),
        images,
    )
    for level in range(levels):
        yield f"lbp-3D-m{level + 1}", images[level]
    yield "lbp-3D-k", images[levels]


def _spline_coefficients(block: npt.NDArray[Any]) -> Array:
    from scipy.ndimage import spline_filter

    return np.ascontiguousarray(spline_filter(block, order=3, output=np.float64, mode="mirror"))


class _Samples:
    """Taps of all vertices, the first two axes grouped by the pairs of coordinates that occur."""

    def __init__(self, vertices: Array) -> None:
        pairs = sorted({(a, b) for a, b, _ in vertices.tolist()})
        number = {pair: place for place, pair in enumerate(pairs)}
        self.pair = np.array([number[(a, b)] for a, b, _ in vertices.tolist()])
        self.pair_start = np.array([[math.floor(a) - 1, math.floor(b) - 1] for a, b in pairs])
        self.pair_weight = np.array([np.outer(_weights(a), _weights(b)) for a, b in pairs])
        self.last_start = np.array([math.floor(c) - 1 for c in vertices[:, 2]])
        self.last_weight = np.array([_weights(c) for c in vertices[:, 2]])


def _weights(position: float) -> Array:
    """Cubic B-spline weights of the four taps from ``floor(position) - 1`` on."""
    y = position - math.floor(position)
    z = 1.0 - y
    first, second = z * z * z / 6.0, (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0
    third = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0
    return np.array([first, second, third, 1.0 - first - second - third])


@jit
def _exact_sample(coefficients, low, shape, k, j, i, vertex):  # type: ignore[no-untyped-def]
    """SciPy's ``map_coordinates`` at one point, in its order of arithmetic; 0 outside the image."""
    position = np.empty(3)
    position[0], position[1], position[2] = k + vertex[0], j + vertex[1], i + vertex[2]
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
            at = floor - 1 + tap
            if last == 0:
                at = 0
            else:
                at = abs(at) % (2 * last)  # mirrored about the border voxels
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
def _pairwise_mean(values, single):  # type: ignore[no-untyped-def]
    """NumPy's mean of up to 128 contiguous numbers (pairwise in eight lanes), in single precision if asked."""
    n = values.size
    total = 0.0
    if n < 8:
        for v in range(n):
            total += values[v]
            if single:
                total = np.float64(np.float32(total))
        return np.float64(np.float32(total / n)) if single else total / n
    lanes = np.empty(8)
    for lane in range(8):
        lanes[lane] = values[lane]
    whole = n - n % 8
    for v in range(8, whole):
        lanes[v % 8] += values[v]
        if single:
            lanes[v % 8] = np.float32(lanes[v % 8])
    if single:
        r = lanes.astype(np.float32)
        total = np.float64(((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7])))
    else:
        r64 = lanes
        total = ((r64[0] + r64[1]) + (r64[2] + r64[3])) + ((r64[4] + r64[5]) + (r64[6] + r64[7]))
    for v in range(whole, n):
        total += values[v]
        if single:
            total = np.float64(np.float32(total))
    return np.float64(np.float32(total / n)) if single else total / n


@jit
def _kurtosis(values, work, single):  # type: ignore[no-untyped-def]
    """SciPy's excess kurtosis; NaN where the values are all (nearly) the same."""
    n = values.size
    mean = _pairwise_mean(values, single)
    for v in range(n):
        d = values[v] - mean
        if single:
            d = np.float64(np.float32(d))
        work[v] = np.float64(np.float32(d * d)) if single else d * d
    second = _pairwise_mean(work, single)
    for v in range(n):
        work[v] = np.float64(np.float32(work[v] * work[v])) if single else work[v] * work[v]
    fourth = _pairwise_mean(work, single)
    epsilon = 1.1920928955078125e-07 if single else 2.220446049250313e-16
    limit = (epsilon * mean) * (epsilon * mean)
    if second <= limit:
        return np.nan
    if single:
        square = np.float32(second * second)
        return np.float64(np.float32(np.float32(fourth / np.float64(square)) - np.float32(3.0)))
    return fourth / (second * second) - 3


@jit
def _norm(bits, level, harmonics):  # type: ignore[no-untyped-def]
    """Length of the pattern's part of one level: Re sqrt(sum_v (sum_m c_m Y_m(v))^2).

    Summed in PyRadiomics' order: patterns that are turned into each other have equal lengths up to rounding, and
    percentiles fall between them. NumPy multiplies complex numbers with one rounding for the first product and the
    sum; so does this.
    """
    n_vertices = harmonics.shape[0]
    first, stop = level * level, (level + 1) * (level + 1)
    total_re, total_im = 0.0, 0.0
    c_re = np.zeros(stop - first)
    c_im = np.zeros(stop - first)
    for v in range(n_vertices):
        if bits[v]:
            for t in range(first, stop):
                c_re[t - first] += harmonics[v, t].real
                c_im[t - first] += harmonics[v, t].imag
    for v in range(n_vertices):
        re, im = 0.0, 0.0
        for t in range(first, stop):
            y_re, y_im = harmonics[v, t].real, harmonics[v, t].imag
            a, b = c_re[t - first], c_im[t - first]
            re += fma(a, y_re, -(b * y_im))
            im += fma(a, y_im, b * y_re)
        total_re += fma(re, re, -(im * im))
        total_im += fma(re, im, im * re)
    return np.sqrt(complex(total_re, total_im)).real


@jit
def _patterns(  # type: ignore[no-untyped-def]
    coefficients, low, shape, centers, mask, box_low, vertices, pair, pair_start, pair_weight,
    last_start, last_weight, kind, limits, largest, harmonics, images,
):  # fmt: skip
    n_vertices = vertices.shape[0]
    n_pairs = pair_start.shape[0]
    n_levels = images.shape[0] - 1
    n0, n1, n2 = centers.shape
    reach = 2
    for v in range(n_vertices):
        for axis in range(3):
            reach = max(reach, math.ceil(abs(vertices[v, axis])) + 2)
    row = np.empty((n_pairs, n2 + 2 * reach + 4))
    samples = np.empty((n_vertices, n2))
    values = np.empty(n_vertices)
    work = np.empty(n_vertices)
    bits = np.zeros(n_vertices, dtype=np.bool_)
    tolerance = 1e-12 * max(largest, 1e-300) + (0.0 if kind != 1 else 1e-6 * largest)
    by_count = np.full(n_vertices + 1, -1.0)
    for k in range(n0):
        gk = k + box_low[0]
        for j in range(n1):
            gj = j + box_low[1]
            start = 0
            while start < n2 and not mask[k, j, start]:
                start += 1
            if start == n2:
                continue
            stop = n2
            while not mask[k, j, stop - 1]:
                stop -= 1
            inside = reach <= gk < shape[0] - reach and reach <= gj < shape[1] - reach
            # Voxels whose taps all lie in the image take the fast way; those at its border the exact one.
            first = max(start, reach - box_low[2])
            last = min(stop, shape[2] - reach - box_low[2])
            if inside and first < last:
                _sample_row(
                    coefficients, gk - low[0], gj - low[1], box_low[2] - low[2], first, last, reach,
                    pair, pair_start, pair_weight, last_start, last_weight, row, samples,
                )  # fmt: skip
            for i in range(start, stop):
                if not mask[k, j, i]:
                    continue
                fast = inside and first <= i < last
                center = centers[k, j, i]
                gi = i + box_low[2]
                count = 0
                for v in range(n_vertices):
                    value = samples[v, i] if fast else 0.0
                    if kind == 0:
                        near = abs(value - math.floor(value) - 0.5) < tolerance
                    else:
                        near = abs(value - center) < tolerance
                    if near or not fast:
                        value = _exact_sample(coefficients, low, shape, gk, gj, gi, vertices[v])
                    if kind == 0:
                        value = math.floor(value + 0.5) if value > 0 else math.ceil(value - 0.5)
                        value = min(max(value, limits[0]), limits[1])
                    elif kind == 1:
                        value = np.float64(np.float32(value))
                    values[v] = value
                    bits[v] = value >= center
                    count += bits[v]
                images[n_levels, k, j, i] = _kurtosis(values, work, kind == 1)
                if by_count[count] < 0:
                    by_count[count] = _norm(bits, 0, harmonics)
                images[0, k, j, i] = by_count[count]
                for level in range(1, n_levels):
                    images[level, k, j, i] = _norm(bits, level, harmonics)


@jit
def _sample_row(  # type: ignore[no-untyped-def]
    coefficients, ck, cj, ci, first, last, reach, pair, pair_start, pair_weight, last_start, last_weight, row, samples,
):  # fmt: skip
    """All vertices' samples of the voxels first..last of one row."""
    width = last - first + 2 * reach
    begin = ci + first - reach
    for p in range(pair_start.shape[0]):
        out = row[p]
        for i in range(width):
            out[i] = 0.0
        for a in range(4):
            for b in range(4):
                w = pair_weight[p, a, b]
                if w != 0.0:
                    line = coefficients[ck + pair_start[p, 0] + a, cj + pair_start[p, 1] + b]
                    for i in range(width):
                        out[i] += w * line[begin + i]
    for v in range(pair.size):
        source = row[pair[v]]
        w0, w1, w2, w3 = last_weight[v, 0], last_weight[v, 1], last_weight[v, 2], last_weight[v, 3]
        shift = reach + last_start[v]
        out = samples[v]
        for i in range(last - first):
            at = i + shift
            out[first + i] = w0 * source[at] + w1 * source[at + 1] + w2 * source[at + 2] + w3 * source[at + 3]
