"""The sphere of PyRadiomics' LBP 3D: an icosahedron's vertices, subdivided, and harmonics at them."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@lru_cache(maxsize=8)
def icosphere(subdivisions: int, radius: float) -> Array:
    """Vertices (n, 3) of a subdivided icosahedron in the order of trimesh, 10 * 4^subdivisions + 2 of them."""
    short, long = 0.5257311121191336, 0.85065080835204
    vertices = np.array(
        [
            (-short, long, 0), (short, long, 0), (-short, -long, 0), (short, -long, 0),
            (0, -short, long), (0, short, long), (0, -short, -long), (0, short, -long),
            (long, 0, -short), (long, 0, short), (-long, 0, -short), (-long, 0, short),
        ]
    )  # fmt: skip
    faces: list[tuple[int, ...]] = [
        three
        for three in combinations(range(12), 3)
        if all(np.linalg.norm(vertices[a] - vertices[b]) < 1.2 for a, b in combinations(three, 2))
    ]
    for _ in range(subdivisions):
        edges = {tuple(sorted(edge)) for face in faces for edge in combinations(face, 2)}
        ordered = sorted(edges, key=lambda edge: (edge[1], edge[0]))
        number = {edge: len(vertices) + place for place, edge in enumerate(ordered)}
        vertices = np.vstack([vertices, vertices[np.array(ordered)].mean(axis=1)])
        faces = [part for face in faces for part in _quarters(face, number)]
        vertices = _on_sphere(vertices, radius)
    return _on_sphere(vertices, radius) if subdivisions == 0 else vertices


def _quarters(face: tuple[int, ...], number: dict[tuple[int, ...], int]) -> list[tuple[int, ...]]:
    a, b, c = sorted(face)
    ab, ac, bc = number[(a, b)], number[(a, c)], number[(b, c)]
    return [(a, ab, ac), (b, ab, bc), (c, ac, bc), (ab, ac, bc)]


def _on_sphere(vertices: Array, radius: float) -> Array:
    length = np.sqrt(np.dot(vertices**2, [1, 1, 1]))
    return vertices + vertices / length[:, None] * (radius - length)[:, None]


def harmonics(vertices: Array, radius: float, levels: int) -> npt.NDArray[np.complex128]:
    """Spherical harmonics below `levels` at the vertices, shape (vertices, terms).

    Terms: level 0, then level 1 with m = -1, 0, 1, and so on. PyRadiomics gives SciPy's ``sph_harm`` the polar angle
    where it expects the azimuth and the other way round; so that values agree, so does this function.
    """
    azimuth = np.arccos(np.clip(vertices[:, 2] / radius, -1, 1))
    polar = np.arctan2(vertices[:, 1], vertices[:, 0])
    terms = [(n, m) for n in range(levels) for m in range(-n, n + 1)]
    return np.ascontiguousarray(np.column_stack([_harmonic(m, n, azimuth, polar) for n, m in terms]))


def _harmonic(m: int, n: int, azimuth: Array, polar: Array) -> npt.NDArray[np.complex128]:
    """Y_n^m; SciPy's own function, which changed its name and its arguments' order in 1.15."""
    from scipy import special

    if hasattr(special, "sph_harm_y"):
        return np.asarray(special.sph_harm_y(n, m, polar, azimuth))
    return np.asarray(special.sph_harm(m, n, azimuth, polar))
