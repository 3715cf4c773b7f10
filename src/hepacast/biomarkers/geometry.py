"""Geometry: how many tumors, how large, of which form, and where they lie in the liver. Numbers of masks alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.biomarkers.definitions import BURDEN, MRECIST, SEEN, Biomarker, Missing, Number
from hepacast.biomarkers.regions import Region, Regions
from hepacast.biomarkers.surface import BIOMARKERS as SURFACE
from hepacast.biomarkers.surface import nodularity
from hepacast.imaging.mesh import Mesh, measure_mesh
from hepacast.imaging.volume import Geometry, Volume

_RECIST = "Eisenhauer EA et al., Eur J Cancer 2009;45:228-247 (RECIST 1.1)"
_FORM = "Zwanenburg A et al., Radiology 2020;295:328-338 (IBSI)"
#: A satellite is at most so large (mm) and lies at most so far from the main tumor (mm).
SATELLITE_MM, SATELLITE_DISTANCE_MM = 20.0, 20.0
#: RECIST and mRECIST add up at most so many tumors of an organ, each at least so large (mm).
TARGETS, TARGET_MM = 2, 10.0

BIOMARKERS = (
    Biomarker("tumor_number", "Number of tumors", "", "parts of the tumor mask that do not touch (26 neighbors)"),
    Biomarker(
        "longest_diameter",
        "Longest diameter",
        "mm",
        "longest distance across a tumor within one axial slice, the largest of all tumors, edge to edge",
        _RECIST,
    ),
    Biomarker("sum_of_diameters", "Sum of diameters", "mm", "longest axial diameters of all tumors added up", _RECIST),
    Biomarker(
        "target_sum",
        "Sum of the target lesions",
        "mm",
        "longest axial diameters of the two largest tumors of 10 mm or more added up",
        _RECIST,
    ),
    Biomarker("tumor_volume", "Tumor volume", "ml", "all tumors that count", BURDEN),
    Biomarker(
        "ln_tumor_volume", "Tumor volume, ln", "ln ml", "natural logarithm of the volume of the measured tumor", BURDEN
    ),
    Biomarker("liver_volume", "Liver volume", "ml", "the whole liver, tumors included"),
    Biomarker(
        "ln_liver_volume", "Liver volume without tumor, ln", "ln ml", "natural logarithm of the spared liver volume"
    ),
    Biomarker("spared_volume", "Spared liver volume", "ml", "the liver without tumor"),
    Biomarker("burden", "Tumor burden", "%", "tumor volume as a share of the liver volume", BURDEN),
    Biomarker(
        "sphericity",
        "Sphericity",
        "",
        "area of the ball of the largest tumor's volume divided by the area of its surface; 1: a ball",
        _FORM,
    ),
    Biomarker(
        "margin_irregularity",
        "Margin irregularity",
        "",
        "share of the largest tumor's convex hull that is not tumor; 0: convex, smooth",
        _FORM,
    ),
    Biomarker(
        "distance_to_capsule",
        "Distance to the capsule",
        "mm",
        "shortest distance from a tumor to the liver's surface; 0: it reaches it",
    ),
    Biomarker(
        "distance_to_vessels",
        "Distance to the vessels",
        "mm",
        "shortest distance from a tumor to a vessel that is outlined; 0: they touch",
    ),
    Biomarker(
        "distance_to_hilum",
        "Distance to the hilum",
        "mm",
        "shortest distance from a tumor to the outlined hilum; 0: they touch",
    ),
    Biomarker(
        "satellites",
        "Satellites",
        "",
        "tumors of at most 20 mm within 20 mm of the largest",
        "Plessier A et al., Liver Transpl 2004;10(Suppl 1):S86-S90",
    ),
    Biomarker("spleen_volume", "Spleen volume", "ml", "the spleen", "Prassopoulos P et al., Eur Radiol 1997;7:246-248"),
    *SURFACE,
)

VIABLE = (
    Biomarker(
        "viable_diameter",
        "Viable diameter",
        "mm",
        "longest distance within one axial slice across the part of a tumor that enhances in the arterial phase "
        f"(smoothed by 2 mm, {SEEN} above the liver's median), the largest; 0: nothing enhances",
        MRECIST,
    ),
    Biomarker(
        "viable_sum",
        "Sum of viable diameters",
        "mm",
        "viable diameters of the two largest tumors of 10 mm or more added up",
        MRECIST,
    ),
    Biomarker("viable_volume", "Viable tumor volume", "ml", "the part of all tumors that enhances", BURDEN),
)


def axial_axis(geometry: Geometry) -> int:
    """The axis (0: k, 1: j, 2: i) that runs most along the body: planes across it are the axial ones."""
    along = np.abs(np.array(geometry.direction)[2])  # z of the axes i, j, k
    return 2 - int(np.argmax(along))


def padded(region: Region) -> npt.NDArray[np.uint8]:
    """The region in its box with an empty voxel on every side."""
    return np.pad(region.mask.array[region.box].astype(np.uint8), 1)


def mesh_of(region: Region) -> Mesh:
    """The surface of a region."""
    return measure_mesh(padded(region), region.mask.spacing[::-1])


def longest_axial(mask: Volume) -> float:
    """Longest distance (mm) within one axial slice, from edge to edge; 0 for an empty mask."""
    if not mask.array.any():
        return 0.0
    return mesh_of(Region(mask)).diameters[axial_axis(mask.geometry)]


def longest_connected(mask: Volume) -> float:
    """`longest_axial` that does not cross a gap: the longest of the parts of every axial slice (8 neighbors)."""
    from scipy import ndimage

    if not mask.array.any():
        return 0.0
    axis = axial_axis(mask.geometry)
    neighbors = np.ones((3, 3, 3), dtype=bool)
    neighbors[tuple(slice(None) if other != axis else [0, 2] for other in range(3))] = False
    box = Region(mask).box
    labels, number = ndimage.label(mask.array[box], structure=neighbors)
    steps = mask.spacing[::-1]
    found = 0.0
    for part, place in enumerate(ndimage.find_objects(labels, number), start=1):
        extent = [(side.stop - side.start) * step for side, step in zip(place, steps)]
        extent[axis] = 0.0
        if math.hypot(*extent) > found:
            inside = np.pad((labels[place] == part).astype(np.uint8), 1)
            found = max(found, measure_mesh(inside, steps).diameters[axis])
    return found


@dataclass(frozen=True, eq=False)
class _Form:
    """The largest tumor's form."""

    region: Region

    @cached_property
    def mesh(self) -> Mesh:
        return mesh_of(self.region)

    def sphericity(self) -> Number:
        if self.mesh.area <= 0:
            return Missing("the tumor has no surface")
        return (36 * math.pi * self.mesh.volume**2) ** (1 / 3) / self.mesh.area

    def irregularity(self) -> Number:
        """1 - volume / volume of the convex hull of the surface's points, which lie midway between voxels."""
        from scipy.spatial import ConvexHull

        hull = ConvexHull(edge_points(padded(self.region), self.region.mask.spacing[::-1]))
        return max(0.0, 1.0 - self.mesh.volume / float(hull.volume))


def edge_points(inside: npt.NDArray[np.uint8], spacing_kji: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Points midway between neighbors inside and outside, mm along (k, j, i)."""
    steps = np.array(spacing_kji)
    parts = []
    for axis in range(3):
        low = tuple(slice(None, -1) if other == axis else slice(None) for other in range(3))
        high = tuple(slice(1, None) if other == axis else slice(None) for other in range(3))
        at = np.argwhere(inside[low] != inside[high]).astype(float)
        at[:, axis] += 0.5
        parts.append(at * steps)
    return np.concatenate(parts)


def surface_points(mask: Volume) -> npt.NDArray[np.float64]:
    """Centers of the voxels that have a face to the outside, mm along (k, j, i); the image's edge is no outside."""
    return np.asarray(np.argwhere(_surface(mask.array)) * np.array(mask.spacing[::-1]), dtype=np.float64)


def _surface(array: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    inner = array.copy()
    for axis in range(3):
        here, there = np.moveaxis(inner, axis, 0), np.moveaxis(array, axis, 0)
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
    return array & ~inner


def _nearest(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Shortest distance between two sets of points, mm."""
    from scipy.spatial import cKDTree

    tree = cKDTree(other)
    near = float(tree.query(one[:: max(1, len(one) // 200)])[0].min())  # nothing farther needs to be looked at
    found = tree.query(one, distance_upper_bound=near * (1 + 1e-9) + 1e-9)[0]
    return min(near, float(found.min()))


def measure_geometry(regions: Regions) -> dict[str, Number]:
    """Every number of `BIOMARKERS`, or the reason why it is missing."""
    measured = regions.measured
    why = regions.main if isinstance(regions.main, Missing) else None
    diameters = [longest_axial(part.mask) for part in regions.lesions]
    numbers: dict[str, Number] = dict.fromkeys(
        (item.name for item in BIOMARKERS), why or Missing("there is no mask of the tumor")
    )
    # A tumor mask that is empty says that there are none; without a mask nothing is known.
    if why is None or why == "no tumor is outlined":
        volume = sum(part.volume_ml for part in regions.lesions)
        targets = sorted((size for size in diameters if size >= TARGET_MM), reverse=True)[:TARGETS]
        numbers |= {
            "tumor_number": float(len(regions.lesions)),
            "longest_diameter": max(diameters, default=0.0),
            "sum_of_diameters": float(sum(diameters)),
            "target_sum": float(sum(targets)),
            "tumor_volume": float(volume),
        }
        numbers["satellites"] = float(_satellites(regions, diameters))
    if not isinstance(measured, Missing) and not isinstance(regions.main, Missing):
        form = _Form(regions.main.tumor)
        numbers |= {
            "ln_tumor_volume": math.log(measured.tumor.volume_ml),
            "sphericity": form.sphericity(),
            "margin_irregularity": form.irregularity(),
        }
        numbers |= _distances(regions)
    numbers |= _volumes(regions, numbers["tumor_volume"])
    numbers["surface_nodularity"] = (
        regions.liver if isinstance(regions.liver, Missing) else nodularity(regions.liver.mask, _avoided(regions))
    )
    return numbers


def _avoided(regions: Regions) -> npt.NDArray[np.bool_] | None:
    """Tumors, whose bulge is no nodularity of the liver."""
    parts = [part.mask.array for part in regions.lesions]
    return np.logical_or.reduce(parts) if parts else None


def _volumes(regions: Regions, tumor: Number) -> dict[str, Number]:
    spleen = regions.other("spleen")
    liver, spared = (
        item if isinstance(item, Missing) else item.volume_ml for item in (regions.liver, regions.parenchyma)
    )
    if isinstance(liver, Missing) or isinstance(tumor, Missing):
        burden: Number = liver if isinstance(liver, Missing) else tumor
    else:
        burden = 100.0 * tumor / liver
    return {
        "liver_volume": liver,
        "spared_volume": spared,
        "ln_liver_volume": spared if isinstance(spared, Missing) else math.log(spared),
        "burden": burden,
        "spleen_volume": spleen if isinstance(spleen, Missing) else spleen.volume_ml,
    }


def _satellites(regions: Regions, diameters: list[float]) -> int:
    """Small tumors near the largest one."""
    if len(regions.lesions) < 2:
        return 0
    main = surface_points(regions.lesions[0].mask)
    small = [part for part, size in zip(regions.lesions[1:], diameters[1:]) if size <= SATELLITE_MM]
    return sum(_nearest(surface_points(part.mask), main) <= SATELLITE_DISTANCE_MM for part in small)


def _distances(regions: Regions) -> dict[str, Number]:
    """How near a tumor comes to the liver's surface, to vessels, to the hilum."""
    # One of the surface voxels is the nearest to anything outside, and to the liver's surface.
    edge = np.concatenate([surface_points(part.mask) for part in regions.lesions])
    tumors = np.logical_or.reduce([part.mask.array for part in regions.lesions])
    steps = regions.lesions[0].mask.spacing[::-1]
    numbers: dict[str, Number] = {}
    if isinstance(regions.liver, Missing):
        numbers["distance_to_capsule"] = regions.liver
    else:
        surface = _surface(regions.liver.mask.array)
        if not surface.any():
            numbers["distance_to_capsule"] = Missing("the image ends before the liver does")
        elif (surface & tumors).any():
            numbers["distance_to_capsule"] = 0.0
        else:
            numbers["distance_to_capsule"] = _nearest(edge, np.argwhere(surface) * np.array(steps))
    shift = np.array([side.start for side in regions.box]) * np.array(steps)
    for name, structure in (("distance_to_vessels", "vessels"), ("distance_to_hilum", "hilum")):
        other = regions.other(structure)
        if isinstance(other, Missing):
            numbers[name] = other
        elif (other.mask.array[regions.box] & tumors).any():
            numbers[name] = 0.0
        else:
            apart = _nearest(edge + shift, other.points)
            # Voxels that touch by a face lie a step apart.
            numbers[name] = 0.0 if apart <= max(steps) * (1 + 1e-6) else apart
    return numbers
