"""A virtual TACE patient's CT: a tumor with an enhancing rim and an uneven inside, and benign nodules beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.phantom.ct import USUAL, PhantomCT, Scanner, make_ct
from hepacast.phantom.liver import Tumors
from hepacast.phantom.shapes import Field, Grid, Mask, random_field
from hepacast.phantom.spec import PatientSpec

#: SD of the tumor's unevenness (HU) at a score of 0, its growth a unit of the score, and its correlation length (mm).
UNEVEN_HU, UNEVEN_GROWTH, UNEVEN_MM = 12.0, 0.55, 4.4
#: Enhancement of the rim over the tumor (HU) at a score of 0, and a unit of the score; width of the rim (mm).
RIM_HU, RIM_STEP_HU, RIM_MM = 30.0, 16.0, 7.0
_NODULES_NEAR_MM = 60.0


@dataclass(frozen=True)
class TaceImage:
    """What decides a virtual TACE patient's CT.

    Parameters
    ----------
    base
        Body, liver, tumors; its `texture` is the parenchyma's, which has no effect here.
    rim, texture
        Hidden scores of the tumor's rim and of its inside.
    """

    base: PatientSpec
    rim: float
    texture: float


def uneven_hu(score: float) -> float:
    """SD of the tumor's unevenness, HU: ``12 exp(0.55 score)``, 4 to 40 HU in practice."""
    return UNEVEN_HU * math.exp(UNEVEN_GROWTH * score)


def rim_hu(score: float) -> float:
    """Enhancement of the rim over the tumor's inside, HU: -5 to 65 HU in practice."""
    return RIM_HU + RIM_STEP_HU * score


def make_tace_ct(spec: TaceImage, size: str = "demo", scanner: Scanner = USUAL) -> PhantomCT:
    """Draw one patient; see `hepacast.phantom.ct.make_ct` for sizes, scanners, labels and errors."""

    def paint(
        image: Field, grid: Grid, liver: Mask, tumors: Tumors, stream: Callable[[str], np.random.Generator]
    ) -> None:
        level = float(image[liver & ~tumors.mask].mean()) + float(stream("tace-level").normal(24.0, 5.0))
        _paint(image, grid, tumors.mask, tumors.depth * tumors.radius_mm, level, spec, stream("tace-tumor"))
        _nodules(image, grid, liver, tumors.mask, level, stream("tace-nodules"))

    return make_ct(spec.base, size, paint=paint, scanner=scanner)


def _paint(
    image: Field, grid: Grid, mask: Mask, depth_mm: Field, level: float, spec: TaceImage, generator: np.random.Generator
) -> None:
    field = random_field(image.shape, grid.spacing_kji, UNEVEN_MM, generator)
    rim = mask & (depth_mm < RIM_MM)
    inside = mask & ~rim if (mask & ~rim).sum() > 8 else mask
    # Brought to mean 0 and SD 1 within this very tumor, so that the image says what the hidden scores say.
    field = (field - field[inside].mean()) / max(float(field[inside].std()), 1e-6)
    image[inside] = level + uneven_hu(spec.texture) * field[inside]
    image[rim] = level + rim_hu(spec.rim)


def _nodules(image: Field, grid: Grid, liver: Mask, tumor: Mask, level: float, generator: np.random.Generator) -> None:
    """Benign nodules near the tumor, with rims and insides of their own that say nothing about the response."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~tumor, sampling=grid.spacing_kji)
    for _ in range(int(generator.integers(1, 4))):
        radius = float(generator.uniform(8.0, 13.0))
        scores = np.clip(generator.standard_normal(2), -2.2, 2.2)
        free = np.argwhere(liver & (away > radius + 4.0) & (away < _NODULES_NEAR_MM))
        texture = random_field(image.shape, grid.spacing_kji, UNEVEN_MM, generator)
        if not len(free):
            continue
        center = free[generator.integers(len(free))]
        inside = radius - _distance_mm(grid, center)
        here = (inside > 0) & liver & ~tumor
        image[here] = level + uneven_hu(float(scores[0])) * texture[here]
        image[here & (inside < RIM_MM)] += rim_hu(float(scores[1]))


def _distance_mm(grid: Grid, voxel: npt.NDArray[np.int64]) -> Field:
    k, j, i = (int(value) for value in voxel)
    squares = (grid.z - grid.z[k]) ** 2 + (grid.y - grid.y[:, j : j + 1]) ** 2 + (grid.x - grid.x[..., i : i + 1]) ** 2
    return np.sqrt(squares)
