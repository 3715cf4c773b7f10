"""The abdomen around the liver: where each organ lies, in mm, and how bright it is in the portal-venous phase.

Sizes and places follow ordinary adult anatomy; a smooth warp and random proportions make patients differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hepacast.phantom.shapes import Field, Grid, Mask, Point, ellipsoid, random_field, warped
from hepacast.phantom.spec import PatientSpec

#: Mean attenuation in the portal-venous phase, HU.
HU = {
    "air": -1000.0, "lung": -840.0, "fat": -104.0, "visceral_fat": -96.0, "skin": 5.0, "muscle": 58.0, "rib": 330.0,
    "bone": 210.0, "cortex": 480.0, "canal": 25.0, "disc": 85.0, "aorta": 165.0, "cava": 140.0, "spleen": 124.0,
    "kidney": 185.0, "pelvis": 60.0, "stomach_wall": 75.0, "stomach": 18.0, "gas": -850.0, "gallbladder": 9.0,
    "bowel_wall": 80.0, "bowel": 25.0, "heart": 135.0, "ascites": 8.0, "pancreas": 92.0,
}  # fmt: skip


#: Half width and half depth of the ordinary abdomen inside its wall, and the wall's muscle, mm.
_INSIDE_MM = (122.0, 79.0)
_MUSCLE_MM = 13.0


@dataclass(frozen=True, eq=False)
class Body:
    """The abdomen without the liver.

    Parameters
    ----------
    image
        HU so far.
    cavity
        Distance inside the abdominal wall, mm (positive inside).
    below_diaphragm
        Distance below the diaphragm, mm.
    keep_out
        Voxels that the liver may not take (organs with a thin layer of fat).
    coordinates
        Coordinates (x, y, z) in which the anatomy is defined: warped, and scaled to the abdomen's size, mm.
    scale
        Width and depth of the abdomen relative to the ordinary one.
    """

    image: Field
    cavity: Field
    below_diaphragm: Field
    keep_out: Mask
    coordinates: tuple[Field, Field, Field]
    scale: tuple[float, float]


def make_body(grid: Grid, spec: PatientSpec, generator: np.random.Generator) -> Body:
    """Draw the abdomen of one patient."""
    x, y, z = warped(grid, generator, amplitude=3.2)
    shape = grid.geometry.shape
    image = np.full(shape, HU["air"], dtype=np.float32)
    large = 1.0 if spec.sex == "M" else 0.95
    fat = float(np.clip(generator.gamma(6.0, 2.2), 6, 24))
    # Width and depth inside the wall; the outside follows from the fat.
    inside = (
        float(np.clip(generator.normal(122, 6), 108, 134) * large),
        float(np.clip(generator.normal(80, 5), 69, 92) * large),
    )
    scale = (inside[0] / _INSIDE_MM[0], inside[1] / _INSIDE_MM[1])
    half = (min(inside[0] + fat + _MUSCLE_MM, 165.0), min(inside[1] + fat + _MUSCLE_MM, 128.0))
    skin = ellipsoid(x, y, 0.0, (0, 0, 0), (half[0], half[1], np.inf), boxy=True)
    skin = np.broadcast_to(skin, shape)
    _wall(image, skin, fat, (x, y, z), generator)
    x, y = x / np.float32(scale[0]), y / np.float32(scale[1])
    cavity = _cavity(skin, fat, x, y)
    image[cavity > 0] = HU["visceral_fat"]
    diaphragm = _diaphragm(cavity, x, generator)
    keep_out = np.zeros(shape, dtype=bool)
    _bowel(image, cavity, (x, y, z), generator)
    _retroperitoneum(image, keep_out, (x, y, z), generator)
    _left_organs(image, keep_out, cavity, diaphragm - z, (x, y, z), spec, generator)
    _spine(image, keep_out, (x, y, z), generator)
    _chest(image, keep_out, cavity, diaphragm - z, (x, y, z))
    fatty = image == HU["visceral_fat"]
    image[fatty] += 6.0 * random_field(shape, grid.spacing_kji, 9.0, generator)[fatty]
    return Body(image, cavity, diaphragm - z, keep_out, (x, y, z), scale)


def _wall(
    image: Field, skin: Field, fat: float, where: tuple[Field, Field, Field], generator: np.random.Generator
) -> None:
    x, y, z = where
    image[skin > 0] = HU["fat"]
    image[(skin > 0) & (skin < 2.0)] = HU["skin"]
    muscle = (skin > fat) & (skin < fat + _MUSCLE_MM)
    image[muscle] = HU["muscle"]
    # Ribs run downwards to the front: in a slice they are a row of spots in the wall.
    angle = np.arctan2(x, y)
    period, tilt = 30.0, 34.0
    phase = float(generator.uniform(0, period))
    turn = np.mod(z + phase + tilt * np.abs(angle), period) - period / 2
    cage = (np.abs(angle) < 2.35) | (z > 95)
    bone = np.hypot(turn, (skin - fat - 7.5) * 1.25) < 5.2
    ribs = bone & cage & (z > 18) & (np.abs(angle) > 0.25)
    image[ribs] = HU["rib"]


def _cavity(skin: Field, fat: float, x: Field, y: Field) -> Field:
    """Inside the wall, and in front of the spine and the back muscles."""
    back = ellipsoid(x, y, 0.0, (0, 96, 0), (78, 46, np.inf), boxy=True)
    return np.minimum(skin - (fat + _MUSCLE_MM), -back).astype(np.float32)


def _diaphragm(cavity: Field, x: Field, generator: np.random.Generator) -> Field:
    """Height of the diaphragm above each point: two domes that fall off towards the wall."""
    top = float(generator.uniform(130, 138))
    inward = np.clip(cavity / 52.0, 0.0, 1.0)
    dome = np.sqrt(np.maximum(1.0 - (1.0 - inward) ** 2, 0.0))
    height = top - 66.0 + 66.0 * dome
    middle = 13.0 * np.exp(-(((x - 8.0) / 30.0) ** 2))
    left = 6.0 / (1.0 + np.exp(-x / 14.0))
    return (height - middle - left).astype(np.float32)


def _bowel(image: Field, cavity: Field, where: tuple[Field, Field, Field], generator: np.random.Generator) -> None:
    """Loops of bowel in the front and on the left, below the stomach."""
    spans = _spans(where)
    for _ in range(22):
        low = float(generator.uniform(-30, 72))
        centre = (float(generator.uniform(-40, 105)), float(generator.uniform(-72, 22)), low)
        radius = float(generator.uniform(10, 19))
        stretch = float(generator.uniform(1.0, 2.0))
        radii = (radius * stretch, radius, radius * float(generator.uniform(1.0, 1.8)))
        box = _reach(spans, centre, radii)
        part, (x, y, z) = image[box], (axis[box] for axis in where)
        loop = ellipsoid(x, y, z, centre, radii)
        inside = (loop > 0) & (cavity[box] > 3)
        part[inside] = HU["bowel_wall"]
        content = HU["bowel"] + float(generator.normal(0, 14))
        part[(loop > 3.2) & inside] = content
        if generator.random() < 0.4:
            part[(loop > 3.2) & inside & (y < centre[1] - 0.25 * radius)] = HU["gas"]


def _spans(where: tuple[Field, Field, Field]) -> list[tuple[Field, Field]]:
    """Least and largest x of every column of voxels, y of every row and z of every slice."""
    return [
        (axis.min(axis=others), axis.max(axis=others))
        for axis, others in zip(where, ((0, 1), (0, 2), (1, 2)), strict=True)
    ]


def _reach(spans: list[tuple[Field, Field]], centre: Point, radii: Point) -> tuple[slice, ...]:
    """The part of the image (slices, rows, columns) outside of which no voxel can lie in the ellipsoid."""
    box = []
    for (least, largest), middle, radius in zip(spans, centre, radii, strict=True):
        reach = radius + 0.01  # single precision does not hide a voxel of the surface
        near = np.flatnonzero((least <= middle + reach) & (largest >= middle - reach))
        box.append(slice(int(near[0]), int(near[-1]) + 1) if len(near) else slice(0, 0))
    return tuple(reversed(box))


def _retroperitoneum(
    image: Field, keep_out: Mask, where: tuple[Field, Field, Field], generator: np.random.Generator
) -> None:
    """Kidneys, great vessels, pancreas, psoas and the diaphragm's crura."""
    x, y, z = where
    for side, base in ((-1.0, 22.0), (1.0, 33.0)):
        psoas = ellipsoid(x, y, 0.0, (side * 36, 52, 0), (15, 18, np.inf))
        image[(psoas > 0) & (z < 55)] = HU["muscle"]
        centre = (side * float(generator.normal(66, 4)), 44.0, base + float(generator.normal(0, 7)))
        tilted = x - side * 0.18 * (z - centre[2]) * -1.0
        kidney = ellipsoid(tilted, y, z, centre, (25, 24, 50))
        hilum = ellipsoid(tilted, y, z, (centre[0] - side * 20, centre[1] - 6, centre[2]), (17, 12, 24))
        image[kidney > 0] = HU["kidney"] + float(generator.normal(0, 8))
        image[kidney > 12] = HU["kidney"] - 28
        image[(hilum > 0) & (kidney > -6)] = HU["pelvis"] - 110
        image[(hilum > 6) & (kidney > 4)] = HU["pelvis"]
        keep_out |= kidney > -5
    # Behind the right kidney lie fat and muscle, no liver.
    loin = ellipsoid(x, y, 0.0, (-50, 78, 0), (44, 38, np.inf))
    keep_out |= (loin > 0) & (z < 84)
    pancreas = ellipsoid(x, y + 0.18 * x, z, (22, 2, 58), (58, 11, 13))
    image[pancreas > 0] = HU["pancreas"]
    aorta = ellipsoid(x, y, 0.0, (9, 38, 0), (11, 11, np.inf))
    crus = ellipsoid(x, y, 0.0, (2, 44, 0), (25, 16, np.inf))
    image[(crus > 0) & (z > 45)] = HU["muscle"]
    image[aorta > 0] = HU["aorta"]
    image[(aorta > 0) & (aorta < 1.2)] = HU["muscle"] + 20
    forward = np.clip((z - 70) / 60, 0, 1)
    cava = ellipsoid(x, y + 14 * forward, 0.0, (-24, 34, 0), (13, 10, np.inf))
    image[(cava > 0) & (z < 150)] = HU["cava"]
    keep_out |= (cava > -0.5) | (aorta > -4) | ((crus > -3) & (z > 30))


def _left_organs(
    image: Field,
    keep_out: Mask,
    cavity: Field,
    below: Field,
    where: tuple[Field, Field, Field],
    spec: PatientSpec,
    generator: np.random.Generator,
) -> None:
    """Spleen, stomach and gallbladder."""
    x, y, z = where
    grown = float(generator.normal(1.16 if spec.cirrhosis else 1.0, 0.07))
    spleen = ellipsoid(x, y, z, (96, 32, 86), (40 * grown, 46 * grown, 46 * grown))
    medial = ellipsoid(x, y, z, (54, 8, 86), (36, 44, 80))
    spleen_mask = (spleen > 0) & (medial < 0) & (cavity > 3) & (below > 3)
    image[spleen_mask] = HU["spleen"] + float(generator.normal(0, 6))
    keep_out |= spleen_mask
    wide = float(generator.uniform(0.8, 1.15))
    stomach = ellipsoid(x, y + 0.35 * (x - 55), z, (60, -22, 84), (44 * wide, 30 * wide, 34))
    stomach = np.minimum(stomach, np.minimum(cavity - 4, below - 4))
    image[stomach > 0] = HU["stomach_wall"]
    image[stomach > 4.5] = HU["stomach"]
    level = -22 - 9 * wide
    image[(stomach > 4.5) & (y < level)] = HU["gas"]
    keep_out |= stomach > -5
    bladder = ellipsoid(x, y, z, (-46, -44, 38), (14, 19, 25))
    image[bladder > 0] = HU["gallbladder"]
    image[(bladder > 0) & (bladder < 1.6)] = 60.0
    keep_out |= bladder > 0


def _spine(image: Field, keep_out: Mask, where: tuple[Field, Field, Field], generator: np.random.Generator) -> None:
    """Vertebrae with discs, canal, arches and back muscles."""
    x, y, z = where
    phase = float(generator.uniform(0, 34))
    for side in (-1.0, 1.0):
        muscle = ellipsoid(x, y, 0.0, (side * 33, 86, 0), (31, 20, np.inf))
        image[muscle > 0] = HU["muscle"]
        image[(muscle > 0) & (muscle < 1.5)] = HU["fat"] * 0.3
    body = ellipsoid(x, y, 0.0, (0, 62, 0), (21, 16, np.inf), boxy=True)
    level = np.broadcast_to(np.mod(z + phase, 34.0), image.shape)
    image[body > 0] = HU["bone"]
    image[(body > 0) & (body < 2.2)] = HU["cortex"]
    image[(body > 0) & (level < 7.0)] = HU["disc"]
    arch = ellipsoid(x, y, 0.0, (0, 83, 0), (19, 12, np.inf))
    image[(arch > 0) & (arch < 6) & (level > 9)] = HU["rib"]
    canal = ellipsoid(x, y, 0.0, (0, 81, 0), (10, 8, np.inf))
    image[canal > 0] = HU["canal"]
    spinous = ellipsoid(x, y, 0.0, (0, 100, 0), (3.6, 11, np.inf))
    image[(spinous > 0) & (level > 10)] = HU["rib"]
    wings = ellipsoid(x, y - 0.22 * np.abs(x), 0.0, (0, 78, 0), (40, 3.6, np.inf))
    image[(wings > 0) & (np.abs(x) > 12) & (level > 14) & (level < 25)] = HU["rib"]
    keep_out |= body > -10


def _chest(image: Field, keep_out: Mask, cavity: Field, below: Field, where: tuple[Field, Field, Field]) -> None:
    """Lungs above the diaphragm and the lower heart."""
    x, y, z = where
    chest = (cavity > 1.5) & (below < 0)
    mediastinum = ellipsoid(x, y, 0.0, (4, 40, 0), (24, 26, np.inf))
    lung = chest & (mediastinum < 0)
    image[lung] = HU["lung"]
    image[chest & (below > -3.0) & (mediastinum < 0) & (below < 0)] = HU["muscle"]
    heart = ellipsoid(x + 0.25 * y, y, z, (18, -36, 156), (60, 42, 30))
    image[(heart > 0) & chest] = HU["muscle"] + 40
    image[(heart > 7) & chest] = HU["heart"]
    keep_out |= chest
