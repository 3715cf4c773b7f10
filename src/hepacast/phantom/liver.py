"""The liver: its shape, vessels, tumors and texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.imaging.morphology import bounding_box
from hepacast.phantom.anatomy import HU, Body
from hepacast.phantom.shapes import Field, Grid, Mask, Point, ellipsoid, paint_tubes, random_field, smooth_union
from hepacast.phantom.spec import PatientSpec, TumorSpec, texture_amplitude

#: Plausible total liver volumes, ml.
VOLUME_ML = (1120.0, 1950.0)
_MAX_SWELLING_MM = 7.0
#: x (mm) that parts the right from the left lobe in this phantom.
LOBE_BORDER_X = -22.0


@dataclass(frozen=True, eq=False)
class Tumors:
    """All tumors of one liver: voxels, and depth below the surface as a share of the radius (0 rim, 1 middle)."""

    mask: Mask
    depth: Field
    radius_mm: Field


def liver_mask(grid: Grid, body: Body, spec: PatientSpec, generator: np.random.Generator) -> tuple[Mask, Field]:
    """A liver of the drawn volume, and its field (mm, about the distance inside its free surface)."""
    # Drawn first: what follows draws as many numbers as the grid has voxels.
    target = _target_volume(spec, body, generator)
    x, y, z = body.coordinates
    reach = [float(generator.normal(1.0, 0.055)) for _ in range(6)]
    right = ellipsoid(x, y, z, (-68, 2, 78), (84 * reach[0], 96 * reach[1], 76 * reach[2]), boxy=True)
    left = ellipsoid(x, y + 0.10 * x, z, (14, -44, 100), (80 * reach[3], 42 * reach[4], 40 * reach[5]))
    field = smooth_union(right, left, 7.0)
    # The visceral surface: what lies low, medial and at the back is no liver.
    visceral = -(x + 22.0) * 0.52 + (z - 70.0) * 0.85 - y * 0.34 + 28.0 * float(generator.normal(1.0, 0.12))
    field = np.minimum(field, visceral).astype(np.float32)
    if spec.cirrhosis:
        field += 1.6 * random_field(field.shape, grid.spacing_kji, 9.0, generator)
    behind = ellipsoid(x, y, 0.0, (46, 52, 0), (64, 54, np.inf))
    allowed = (body.cavity > 0.5) & (body.below_diaphragm > 0.5) & ~body.keep_out & (behind < 0)
    allowed &= (grid.z > 9.0) & (grid.z < 141.0)
    return _largest_of_volume(field, allowed, target, grid.geometry.voxel_volume_mm3), field


def _target_volume(spec: PatientSpec, body: Body, generator: np.random.Generator) -> float:
    """Larger people have larger livers, and tumors come on top of a part of it."""
    mean, sd = 1440.0 * body.scale[0] * body.scale[1], 130.0
    tumors = sum(np.pi / 6 * (tumor.diameter_mm / 10) ** 3 for tumor in spec.tumors)
    return float(np.clip(generator.normal(mean, sd) + 0.5 * tumors, *VOLUME_ML))


def _largest_of_volume(field: Field, allowed: Mask, target_ml: float, voxel_mm3: float) -> Mask:
    """The connected region of highest field values with the target's volume."""
    from scipy import ndimage

    count = round(target_ml * 1000.0 / voxel_mm3)
    values = np.sort(field[allowed])[::-1]
    # Where the abdomen has no room for the drawn volume, the liver stays smaller rather than flow around all organs.
    level = max(float(values[min(count, len(values) - 1)]), -_MAX_SWELLING_MM)
    mask = allowed & (field > level)
    mask = ndimage.binary_opening(mask, iterations=1) if mask.shape[0] > 20 else mask
    labels, number = ndimage.label(mask)
    if number > 1:
        mask = labels == int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    return ndimage.binary_fill_holes(mask)


def place_tumors(grid: Grid, liver: Mask, body: Body, spec: PatientSpec, generator: np.random.Generator) -> Tumors:
    """Put every tumor into its lobe, apart from the others where there is room."""
    from scipy import ndimage

    inside = np.zeros(liver.shape, dtype=np.float32)
    box = _box_with_margin(liver)
    inside[box] = ndimage.distance_transform_edt(liver[box], sampling=grid.spacing_kji)
    mask = np.zeros(liver.shape, dtype=bool)
    depth = np.full(liver.shape, -1.0, dtype=np.float32)
    radius_map = np.zeros(liver.shape, dtype=np.float32)
    placed: list[tuple[npt.NDArray[np.float64], float]] = []
    for tumor in spec.tumors:
        radius = tumor.diameter_mm / 2
        centre = _tumor_centre(grid, body, inside, tumor, placed, generator)
        placed.append((centre, radius))
        distance = _distance(grid, centre, generator)
        bumps = random_field(liver.shape, grid.spacing_kji, max(6.0, 0.45 * radius), generator)
        share = 1.0 - (distance + tumor.lobulation * radius * bumps) / radius
        here = (share > 0) & liver & ~mask
        mask |= here
        depth[here] = share[here]
        radius_map[here] = radius
    return Tumors(mask, depth, radius_map)


def _box_with_margin(liver: Mask) -> tuple[slice, ...]:
    box = bounding_box(liver) or (slice(None), slice(None), slice(None))
    return tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)


def _tumor_centre(
    grid: Grid,
    body: Body,
    inside: Field,
    tumor: TumorSpec,
    placed: list[tuple[npt.NDArray[np.float64], float]],
    generator: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """A point in the lobe, deep enough for most of the tumor to be in the liver."""
    radius = tumor.diameter_mm / 2
    x = body.coordinates[0]
    lobe = (x < LOBE_BORDER_X) if tumor.lobe == "right" else (x >= LOBE_BORDER_X)
    depth = np.where(lobe, inside, -1.0)
    candidates = np.argwhere(depth >= min(0.75 * radius, 0.9 * float(depth.max())))
    places = np.stack(
        [grid.x.ravel()[candidates[:, 2]], grid.y.ravel()[candidates[:, 1]], grid.z.ravel()[candidates[:, 0]]], axis=1
    )
    gap = np.full(len(places), np.inf)
    for centre, other in placed:
        gap = np.minimum(gap, np.linalg.norm(places - centre, axis=1) - other - radius)
    good = np.flatnonzero(gap > 4.0)
    chosen = good[generator.integers(len(good))] if len(good) else int(np.argmax(gap))
    return np.asarray(places[chosen], dtype=float)


def _distance(grid: Grid, centre: npt.NDArray[np.float64], generator: np.random.Generator) -> Field:
    axes = generator.uniform(0.86, 1.14, size=3)
    axes /= np.prod(axes) ** (1 / 3)
    squares = [((axis - c) / a) ** 2 for axis, c, a in zip((grid.x, grid.y, grid.z), centre, axes)]
    return np.sqrt(squares[0] + squares[1] + squares[2]).astype(np.float32)


def vessel_weights(
    grid: Grid, liver: Mask, body: Body, spec: PatientSpec, generator: np.random.Generator
) -> tuple[Field, Field]:
    """Shares (0 to 1) of portal and of hepatic veins in each voxel of the liver."""
    hilum = (-26.0, 6.0, 70.0)
    portal_points, portal_radii = _tree(
        [
            (hilum, (-74.0, 18.0, 80.0), 6.0),
            (hilum, (-66.0, -24.0, 72.0), 5.5),
            (hilum, (8.0, -38.0, 92.0), 5.0),
        ],
        generator,
    )
    dome = (-22.0, 16.0, 122.0)
    vein_points, vein_radii = _tree(
        [
            (dome, (-98.0, 4.0, 84.0), 5.5),
            (dome, (-46.0, -46.0, 84.0), 5.0),
            (dome, (24.0, -48.0, 104.0), 4.2),
        ],
        generator,
    )
    stretch = np.array([body.scale[0], body.scale[1], 1.0])
    portal_points, vein_points = portal_points * stretch, vein_points * stretch
    portal = np.zeros(liver.shape, dtype=np.float32)
    veins = np.zeros(liver.shape, dtype=np.float32)
    paint_tubes(grid, portal, portal_points, portal_radii, liver)
    paint_tubes(grid, veins, vein_points, vein_radii, liver)
    return portal, veins


def _tree(
    stems: list[tuple[Point, Point, float]], generator: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Dense points and radii of stems that fork twice."""
    points: list[npt.NDArray[np.float64]] = []
    radii: list[npt.NDArray[np.float64]] = []
    queue = [(np.array(a), np.array(b) + generator.normal(0, 6, 3), r, 0) for a, b, r in stems]
    while queue:
        start, end, radius, level = queue.pop()
        line = end - start
        length = float(np.linalg.norm(line))
        steps = max(3, int(length / max(2.2, 0.9 * radius)))
        t = np.linspace(0, 1, steps)[:, None]
        bend = generator.normal(0, 0.09 * length, 3)
        points.append(start + t * line + (4 * t * (1 - t)) * bend)
        radii.append(radius * (1 - 0.35 * t[:, 0]))
        if level == 2:
            continue
        for fork in (0.45, 0.72, 1.0):
            origin = start + fork * line + 4 * fork * (1 - fork) * bend
            aside = generator.normal(0, 1, 3)
            direction = line / length + 0.85 * aside / np.linalg.norm(aside)
            reach = 0.62 * length * float(generator.uniform(0.75, 1.2))
            tip = origin + reach * direction / np.linalg.norm(direction)
            queue.append((origin, tip, radius * (0.62 if fork < 1 else 0.7), level + 1))
    return np.concatenate(points), np.concatenate(radii)


def parenchyma_texture(grid: Grid, spec: PatientSpec, generator: np.random.Generator) -> Field:
    """Nodules of 8 to 14 mm between darker septa; SD in HU is `texture_amplitude` of the hidden score."""
    scale = float(generator.normal(4.4, 0.25))
    shape = grid.geometry.shape
    fine = random_field(shape, grid.spacing_kji, scale, generator)
    coarse = random_field(shape, grid.spacing_kji, 2.2 * scale, generator)
    field = fine - 0.55 * coarse
    septa = -np.abs(random_field(shape, grid.spacing_kji, scale, generator))
    pattern = field / field.std() + 0.7 * (septa - septa.mean()) / septa.std()
    return (texture_amplitude(spec.texture) * pattern / pattern.std()).astype(np.float32)


def tumor_values(
    grid: Grid, tumors: Tumors, liver_hu: float, spec: PatientSpec, generator: np.random.Generator
) -> Field:
    """HU of the tumor tissue: washout, mosaic, necrosis in larger ones, an enhancing capsule."""
    washout = float(generator.uniform(30, 48))
    mosaic = random_field(tumors.mask.shape, grid.spacing_kji, 7.0, generator)
    patches = random_field(tumors.mask.shape, grid.spacing_kji, 9.0, generator)
    values = liver_hu - washout + 8.0 * mosaic
    necrotic_share = float(generator.uniform(0.15, 0.65))
    core = (tumors.depth + 0.22 * patches > 1.0 - necrotic_share) & (tumors.radius_mm > 15) & (tumors.depth > 0.18)
    values[core] = 34.0 + 5.0 * mosaic[core]
    capsule = tumors.depth * tumors.radius_mm < 2.4
    values[capsule] = liver_hu - 4.0 + 4.0 * mosaic[capsule]
    return values.astype(np.float32)


def portal_trunk(grid: Grid, body: Body, image: Field, spec: PatientSpec) -> None:
    """The portal vein from the pancreas to the hilum, outside the liver."""
    t = np.linspace(0, 1, 60)[:, None]
    stretch = np.array([body.scale[0], body.scale[1], 1.0])
    start, end = np.array([12.0, 12.0, 48.0]) * stretch, np.array([-30.0, 6.0, 71.0]) * stretch
    weights = np.zeros(image.shape, dtype=np.float32)
    paint_tubes(grid, weights, start + t * (end - start), np.full(60, 7.0), None)
    bright = HU["muscle"] + 10 if spec.embolus else 168.0
    image += weights * (bright - image)
