"""One virtual patient's portal-venous CT with the masks of parenchyma and tumor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hepacast.core.seeds import rng
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.volume import Volume
from hepacast.phantom.anatomy import HU, Body, make_body
from hepacast.phantom.liver import (
    Tumors,
    liver_mask,
    parenchyma_texture,
    place_tumors,
    portal_trunk,
    tumor_values,
    vessel_weights,
)
from hepacast.phantom.shapes import SIZES, Field, Grid, Mask, make_grid
from hepacast.phantom.spec import PatientSpec

#: Labels of the phantom's masks, the two classes of the leading study.
LABELS = {"parenchyma": 1, "tumor": 2}
#: Standard deviation of the scanner's noise, HU, for 5-mm slices.
NOISE_HU = 5.5


@dataclass(frozen=True)
class Scanner:
    """How a hospital's scans differ from the phantom's usual ones.

    Parameters
    ----------
    noise, blur
        Factors on the standard deviation of the noise and on the width of the blur in the plane.
    enhancement
        HU that liver, vessels and tumors are brighter by (more contrast medium, another moment).
    """

    noise: float = 1.0
    blur: float = 1.0
    enhancement: float = 0.0


USUAL = Scanner()


class PhantomCT(NamedTuple):
    """A virtual CT.

    Parameters
    ----------
    image
        int16, HU.
    labels
        ``parenchyma`` (liver without tumor, vessels included) and ``tumor``.
    """

    image: Volume
    labels: LabelMap


#: Called with image (HU, changed in place), grid, liver, tumors and a maker of random streams by purpose.
Paint = Callable[[Field, Grid, Mask, Tumors, Callable[[str], np.random.Generator]], None]


def make_ct(
    spec: PatientSpec, size: str = "demo", *, paint: Paint | None = None, scanner: Scanner = USUAL
) -> PhantomCT:
    """Draw one patient's abdomen.

    Parameters
    ----------
    spec
        What is to be seen. The same spec gives the same voxels, always.
    size
        ``demo``: 96 x 96 x 31 voxels of 3.6 x 3.6 x 5 mm; ``full``: 512 x 512 x 40 of 0.68 x 0.68 x 5 mm;
        ``tiny``: 48 x 48 x 16, for tests.
    paint
        Changes the tissue after liver, vessels and tumors are drawn and before the scanner's blur and noise.
    scanner
        The same patient on another scanner differs by nothing else.

    Returns
    -------
    PhantomCT

    Raises
    ------
    ImageError
        The size has no such name.
    """
    grid = make_grid(size)
    stream = lambda purpose: rng(spec.seed, "phantom-ct", spec.patient, purpose)  # noqa: E731
    body = make_body(grid, spec, stream("body"))
    liver, field = liver_mask(grid, body, spec, stream("liver"))
    tumors = place_tumors(grid, liver, body, spec, stream("tumors"))
    image = body.image.copy()
    if spec.ascites:
        _add_ascites(image, body, liver, field)
    portal_trunk(grid, body, image, spec)
    hu = float(np.clip(stream("enhancement").normal(108, 6), 94, 124))
    image[_gaps(image, liver)] = HU["muscle"]
    image[liver] = hu
    texture = parenchyma_texture(grid, spec, stream("texture"))
    image[liver] += texture[liver]
    portal, veins = vessel_weights(grid, liver, body, spec, stream("vessels"))
    image += portal * ((hu + (-30.0 if spec.embolus else 52.0)) - image)
    image += veins * ((hu + 46.0) - image)
    tissue = tumor_values(grid, tumors, hu, spec, stream("tissue"))
    image[tumors.mask] = tissue[tumors.mask]
    if paint is not None:
        paint(image, grid, liver, tumors, stream)
    image[liver] += scanner.enhancement
    scanned = _scan(grid, image, scanner, stream("scanner"))
    labels = np.where(tumors.mask, LABELS["tumor"], np.where(liver, LABELS["parenchyma"], 0)).astype(np.uint8)
    return PhantomCT(Volume(scanned, grid.geometry), LabelMap(Volume(labels, grid.geometry), dict(LABELS)))


def _gaps(image: Field, liver: Mask) -> Mask:
    """Single voxels of fat between liver and diaphragm or gallbladder, which only a coarse grid leaves."""
    from scipy import ndimage

    closed = ndimage.binary_closing(liver, structure=np.ones((1, 3, 3), dtype=bool))
    return closed & ~liver & (image < -60) & (image > -150)


def _add_ascites(image: Field, body: Body, liver: Mask, field: Field) -> None:
    """Fluid in the fat between liver and wall."""
    fat = (image < -60) & (image > -150) & (body.cavity > 0) & (body.below_diaphragm > 2)
    near = (field > -16) | (body.cavity < 7)
    x = body.coordinates[0]
    image[fat & near & ~liver & ((x < 20) | (body.cavity < 7))] = HU["ascites"]


def _scan(grid: Grid, image: Field, scanner: Scanner, generator: np.random.Generator) -> np.ndarray:
    """The scanner's blur (partial volume) and its noise, correlated in the plane as after filtered back-projection."""
    from scipy import ndimage

    in_plane = 1.6 / grid.geometry.spacing[0]
    wide = scanner.blur * max(0.32, in_plane)
    blurred = ndimage.gaussian_filter(image, (0.18, wide, wide), mode="nearest")
    white = generator.standard_normal(image.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, (0.0, max(0.45, in_plane), max(0.45, in_plane)), mode="wrap")
    level = scanner.noise * NOISE_HU * float(np.exp(generator.normal(0.0, 0.04)))
    noise *= level / float(noise.std())
    noise[blurred < -700] *= 1.6
    return np.clip(np.rint(blurred + noise), -1024, 3071).astype(np.int16)


__all__ = ["LABELS", "NOISE_HU", "SIZES", "PhantomCT", "Scanner", "make_ct"]
