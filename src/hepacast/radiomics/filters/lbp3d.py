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

from hepacast.radiomics.filters.lbp3d_kernels import DOUBLE, INTEGER, SINGLE, patterns, work_space
from hepacast.radiomics.filters.source import SourceImage, VoxelBox
from hepacast.radiomics.filters.sphere import harmonics, icosphere
from hepacast.radiomics.filters.spline import spline_coefficients

Array = npt.NDArray[np.float64]

#: The spline's filter forgets at 0.268 a voxel: 0.268^32 = 5e-19.
SPLINE_MARGIN = 32


def local_binary_patterns_3d(
    source: SourceImage, box: VoxelBox, mask: npt.NDArray[np.bool_], *, levels: int, radius: float, subdivisions: int
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
    coefficients = spline_coefficients(source.crop(outer), source.scratch.array("a", outer.shape, np.float64))
    terms = harmonics(vertices, float(radius), levels)
    whole = source.array.dtype.kind in "iu"
    kind = INTEGER if whole else SINGLE if source.array.dtype == np.float32 else DOUBLE
    limits = (float(np.iinfo(source.array.dtype).min), float(np.iinfo(source.array.dtype).max)) if whole else (0.0, 0.0)
    # Samples carry errors of some last digits; in single precision also those of the cast.
    scale = max(float(source.absolute_maximum), 1e-300)
    tolerance = scale * (1e-6 if kind == SINGLE else 1e-12)
    sphere = _sphere(vertices)
    values = np.empty((levels + 1, int(np.count_nonzero(mask))))  # by voxel of the mask
    patterns(
        coefficients,
        np.array(outer.low),
        np.array(source.shape),
        source.doubles(box, "b"),
        mask,
        np.array(box.low),
        sphere,
        kind,
        limits,
        tolerance,
        _harmonics(terms),
        _length_by_count(terms[:, 0]),
        work_space(len(vertices), len(sphere[2]), 2 * levels - 1, sphere[-1]),
        values,
    )
    for level in range(levels + 1):
        image = source.scratch.array("image", box.shape, np.float64)
        image.fill(0.0)
        image[mask] = values[level]
        yield f"lbp-3D-m{level + 1}" if level < levels else "lbp-3D-k", image


def _harmonics(terms: npt.NDArray[np.complex128]) -> tuple[Array, Array, int]:
    """Harmonics at the vertices as real and imaginary parts; 1 where those of level 1 are each other's mirror images
    to the last bit (SciPy makes them so)."""
    mirrored = terms.shape[1] > 3 and np.array_equal(terms[:, 1], -terms[:, 3].conj()) and not terms[:, 2].imag.any()
    return np.ascontiguousarray(terms.real), np.ascontiguousarray(terms.imag), int(mirrored)


def _length_by_count(terms: npt.NDArray[np.complex128]) -> Array:
    """Level 0 of a pattern, which depends on the number of ones only (the harmonic is constant)."""
    result = np.zeros(len(terms) + 1)
    for count in range(1, len(terms) + 1):
        total = np.add.accumulate(terms[:count])[-1]
        result[count] = np.sqrt(np.add.accumulate((total * terms) ** 2)[-1]).real
    return result


def _sphere(vertices: Array) -> tuple[Array, Any, Any, Array, Any, Array, int]:
    """Taps of all vertices, the first two axes grouped by the pairs of coordinates that occur."""
    points = vertices.tolist()
    pairs = sorted({(a, b) for a, b, _ in points})
    number = {pair: place for place, pair in enumerate(pairs)}
    return (
        vertices,
        np.array([number[(a, b)] for a, b, _ in points]),
        np.array([[math.floor(a) - 1, math.floor(b) - 1] for a, b in pairs]),
        np.array([np.outer(_weights(a), _weights(b)) for a, b in pairs]),
        np.array([math.floor(c) - 1 for _, _, c in points]),
        np.array([_weights(c) for _, _, c in points]),
        math.ceil(float(np.abs(vertices).max())) + 2,
    )


def _weights(position: float) -> Array:
    """Cubic B-spline weights of the four taps from ``floor(position) - 1`` on."""
    y = position - math.floor(position)
    z = 1.0 - y
    first, second = z * z * z / 6.0, (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0
    third = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0
    return np.array([first, second, third, 1.0 - first - second - third])
