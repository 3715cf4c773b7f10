"""Triangles of the marching-cubes surface midway between voxels inside and outside (Lorensen and Cline 1987).

The eight corners of a cube, (k, j, i) from its first voxel, and its twelve edges are numbered as is usual::

    corners 0 (0,0,0)  1 (0,0,1)  2 (0,1,1)  3 (0,1,0)  4 (1,0,0)  5 (1,0,1)  6 (1,1,1)  7 (1,1,0)
    edges   0: 0-1  1: 1-2  2: 2-3  3: 3-0  4: 4-5  5: 5-6  6: 6-7  7: 7-4  8: 0-4  9: 1-5  a: 2-6  b: 3-7

Bit c of a cube's pattern is set where corner c lies inside. Patterns 0 to 127 are listed; pattern 255 - n has the
triangles of n, turned around. On a face with two opposite corners inside, each of them is cut off on its own.
The diagonals of polygons with more than three corners are those that make volume and area PyRadiomics' own; they
were found by solving for each pattern's share of the volume and area that it returns for random masks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CORNERS = np.array(
    [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)], dtype=np.float64
)
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))

#: Patterns 0 to 127, separated by commas: triangles of three edges, seen from outside (right-handed k, j, i).
_TRIANGLES = """
-, 830, 019, 983 931, 12a, 12a 308, 2a9 029, a98 a83 a32, 23b, 8b2 820, 019 23b, 98b 9b2 921, 3ba 13a,
8ba 8a1 810, ba9 3b9 039, 8ba 98a, 478, 473 430, 019 478, 731 947 971, 12a 478, 12a 047 307, 2a9 029 478,
473 a94 a43 a32, 23b 478, 47b 4b2 420, 019 23b 478, 947 97b 9b2 921, 3ba 13a 478, ba1 47b 4b1 410,
ba9 3b9 039 478, ba9 7b9 479, 954, 830 954, 154 014, 548 583 531, 12a 954, 12a 308 954, a54 2a4 024,
a54 a48 a83 a32, 23b 954, 8b2 820 954, 154 014 23b, 8b2 548 582 521, 3ba 13a 954, 8ba 8a1 810 954,
3ba a54 3a4 034, 8ba 8a5 854, 789 579, 573 953 930, 157 178 018, 573 531, 12a 789 579, 12a 095 305 357,
578 a58 2a8 028, 573 a53 a32, 23b 789 579, 957 97b 9b2 920, 157 178 018 23b, 7b2 721 571,
3ba 13a 789 579, a10 ba0 7b0 570 950, 03b 0ba 0a5 057 078, 7ba 57a, a65, 830 a65, 019 a65, 983 931 a65,
265 125, 265 125 308, 026 659 069, 983 659 693 632, 23b a65, 8b2 820 a65, 019 23b a65, 98b 9b2 921 a65,
b65 3b5 135, 651 8b6 861 810, 659 b69 3b9 039, 98b 9b6 965, a65 847, 473 430 a65, 019 a65 847,
731 947 971 a65, 265 125 847, 265 125 047 307, 026 659 069 847, 947 973 932 659 692, 23b a65 847,
47b 4b2 420 a65, 019 23b a65 847, 947 97b 9b2 921 a65, b65 3b5 135 847, b65 b51 b10 47b 4b0,
659 b69 3b9 039 847, 947 97b 9b6 965, 9a6 964, 830 9a6 964, 1a6 016 064, a64 a48 a83 a31, 264 249 129,
264 249 129 308, 264 024, 483 432 642, 23b 9a6 964, 8b2 820 9a6 964, 1a6 016 064 23b,
b21 8b1 481 641 a61, 649 b69 3b9 139, 491 641 b61 8b1 810, 3b6 036 064, 8b6 864, 89a 78a 67a,
673 9a6 963 930, 678 a68 1a8 018, 731 a67 a71, 267 789 279 129, 309 739 679 269 129, 026 678 068,
673 632, 23b 89a 78a 67a, 7b2 720 a67 9a7 970, 678 a68 1a8 018 23b, 7b2 721 a67 a71, 3b6 136 678 689 169,
910 67b, 3b6 036 678 068, 67b
"""


def triangles() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """All triangles of patterns 1 to 127.

    Returns
    -------
    pattern
        Shape (t,): the pattern to which each triangle belongs.
    vertices
        Shape (t, 3, 3): its three vertices, each (k, j, i) from the cube's first voxel.
    """
    midpoints = np.array([(CORNERS[a] + CORNERS[b]) / 2 for a, b in _EDGES])
    patterns, corners = [], []
    for pattern, text in enumerate(_TRIANGLES.replace("\n", " ").split(",")):
        for triangle in text.replace("-", "").split():
            patterns.append(pattern)
            corners.append(midpoints[[int(edge, 16) for edge in triangle]])
    return np.array(patterns, dtype=np.int64), np.array(corners)
