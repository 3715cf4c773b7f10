"""One virtual patient's contrast-enhanced MR: three phases with bias fields, shifted against one another.

The tumor washes out in patches: how strongly is the patient's hidden score. Masks are drawn on the arterial phase.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.core.seeds import rng
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.volume import Volume
from hepacast.phantom.anatomy import make_body
from hepacast.phantom.liver import Tumors, liver_mask, place_tumors, vessel_weights
from hepacast.phantom.shapes import Field, Grid, make_grid, random_field
from hepacast.phantom.spec import PatientSpec

PHASES = ("arterial", "portal", "delayed")
LABELS = {"parenchyma": 1, "tumor": 2, "spleen": 3}
#: Signal of the abdomen by its attenuation in the CT phantom, for each phase: (HU, arterial, portal, delayed).
_TISSUE = np.array([
    (-1000, 0, 0, 0), (-840, 14, 14, 14), (-260, 30, 30, 30), (-110, 205, 210, 210), (-60, 190, 195, 195),
    (0, 45, 50, 55), (30, 60, 70, 75), (58, 92, 105, 110), (80, 120, 150, 140), (96, 150, 180, 160),
    (115, 160, 215, 180), (132, 165, 215, 180), (142, 110, 235, 200), (165, 310, 235, 195), (180, 290, 290, 230),
    (215, 150, 150, 150), (330, 80, 80, 80), (480, 40, 40, 40), (3000, 20, 20, 20),
], dtype=float)  # fmt: skip
#: Liver, portal branches and hepatic veins by phase.
_LIVER = (128.0, 190.0, 172.0)
_PORTAL = (150.0, 268.0, 205.0)
_VEINS = (118.0, 255.0, 200.0)
#: Amplitude of the washed-out patches at a score of 0 (signal units), and its growth a unit of the score.
WASH_OUT, WASH_OUT_GROWTH = 32.0, 0.5
NOISE = 5.0


@dataclass(frozen=True, eq=False)
class PhantomMR:
    """A virtual MR examination.

    Parameters
    ----------
    images
        By phase, int16; each as its scanner made it: bias field, gain, shift and noise included.
    labels
        ``parenchyma``, ``tumor`` and ``spleen`` on the arterial phase.
    shifts
        By phase: 4 x 4 matrix from points of the arterial phase to where they lie in this phase, mm.
    fields
        By phase: the multiplicative bias field, mean 1.
    """

    images: dict[str, Volume]
    labels: LabelMap
    shifts: dict[str, npt.NDArray[np.float64]]
    fields: dict[str, Field]


def wash_out(score: float) -> float:
    """Amplitude of the washed-out patches: ``32 exp(0.5 score)`` signal units."""
    return float(WASH_OUT * np.exp(WASH_OUT_GROWTH * score))


def make_mr(spec: PatientSpec, size: str = "demo") -> PhantomMR:
    """Draw one patient's three phases; ``spec.texture`` is the hidden degree of wash-out.

    Parameters
    ----------
    spec
        What is to be seen. The same spec gives the same voxels, always.
    size
        As `hepacast.phantom.ct.make_ct`.
    """
    grid = make_grid(size)
    stream = lambda purpose: rng(spec.seed, "phantom-mr", spec.patient, purpose)  # noqa: E731
    body = make_body(grid, spec, stream("body"))
    liver, _ = liver_mask(grid, body, spec, stream("liver"))
    tumors = place_tumors(grid, liver, body, spec, stream("tumors"))
    portal, veins = vessel_weights(grid, liver, body, spec, stream("vessels"))
    tissue = _tumor_phases(grid, tumors, spec, stream("tissue"))
    texture = 5.0 * random_field(liver.shape, grid.spacing_kji, 5.0, stream("texture"))
    images, shifts, fields = {}, {}, {}
    scanner = stream("scanner")
    for number, phase in enumerate(PHASES):
        image = np.interp(body.image, _TISSUE[:, 0], _TISSUE[:, 1 + number]).astype(np.float32)
        level = _LIVER[number] * float(scanner.normal(1.0, 0.05))
        image[liver] = level + texture[liver]
        image += portal * (_PORTAL[number] - image)
        image += veins * (_VEINS[number] - image)
        image[tumors.mask] = level + tissue[number][tumors.mask]
        shifts[phase] = _shift(scanner, moved=number > 0)
        fields[phase] = _bias(grid, scanner)
        images[phase] = Volume(_scan(grid, image, shifts[phase], fields[phase], scanner), grid.geometry)
    labels = np.where(tumors.mask, LABELS["tumor"], np.where(liver, LABELS["parenchyma"], 0)).astype(np.uint8)
    # On the left, below the diaphragm (the heart is as bright), darker than the kidney.
    left = (body.coordinates[0] > 40) & (body.below_diaphragm > 3)
    spleen = left & (body.image > 104) & (body.image < 142) & ~liver
    labels[spleen & (labels == 0)] = LABELS["spleen"]
    return PhantomMR(images, LabelMap(Volume(labels, grid.geometry), dict(LABELS)), shifts, fields)


def _tumor_phases(
    grid: Grid, tumors: Tumors, spec: PatientSpec, generator: np.random.Generator
) -> tuple[Field, Field, Field]:
    """The tumor against the liver in each phase: enhancement in the arterial one, patches that wash out later."""
    shape, spacing = tumors.mask.shape, grid.spacing_kji
    mosaic = random_field(shape, spacing, 5.0, generator)
    # The arterial pattern is as patchy as the wash-out, and tells nothing.
    feeding = np.maximum(random_field(shape, spacing, 6.0, generator), -0.5)
    patches = _patches(random_field(shape, spacing, 4.0, generator), tumors.mask)
    arterial = float(generator.uniform(35, 75)) + float(generator.uniform(8, 22)) * feeding
    amount = wash_out(spec.texture)
    portal = float(generator.normal(-10, 6)) - 0.45 * amount * patches + 5.0 * mosaic
    delayed = float(generator.normal(-16, 6)) - amount * patches + 5.0 * mosaic
    capsule = tumors.depth * tumors.radius_mm < 3.0
    delayed[capsule] = 12.0 + 4.0 * mosaic[capsule]
    return (arterial + 4.0 * mosaic).astype(np.float32), portal.astype(np.float32), delayed.astype(np.float32)


def _patches(field: Field, tumor: npt.NDArray[np.bool_]) -> Field:
    """Where the tumor washes out, 0 to 2: of one contrast within every tumor, however few patches it has room for.

    So the hidden score says how far *this* tumor washes out, and its image tells the score; without that, chance in
    the patches of a small tumor would hide it, and no reader could come near the Bayes AUC that is printed.
    """
    inside = field[tumor]
    return np.clip(0.8 + 0.7 * (field - inside.mean()) / max(float(inside.std()), 1e-6), 0.0, 2.0).astype(np.float32)


def _shift(generator: np.random.Generator, *, moved: bool) -> npt.NDArray[np.float64]:
    """Another breath: a shift of a few mm, most along the body, and a slight turn about its axis."""
    matrix = np.eye(4)
    angle = np.deg2rad(float(np.clip(generator.normal(0, 1.2), -3, 3)))
    shift = np.clip(generator.normal(0, (2.5, 3.0, 5.0)), -12, 12)
    if moved:
        matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix[:3, 3] = shift
    return matrix


def _bias(grid: Grid, generator: np.random.Generator) -> Field:
    """A smooth field: brighter near the coils, by up to about a half."""
    x, y, z = grid.x / 150.0, grid.y / 120.0, (grid.z - 75.0) / 75.0
    a = generator.normal(0, (0.16, 0.16, 0.08, 0.05, 0.05))
    log = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y - 0.12 * (x**2 + y**2) + a[4] * y * z
    field = np.exp(log)
    return (field / field.mean()).astype(np.float32)


def _scan(
    grid: Grid, image: Field, shift: npt.NDArray[np.float64], field: Field, generator: np.random.Generator
) -> npt.NDArray[np.int16]:
    from scipy import ndimage

    if not np.array_equal(shift, np.eye(4)):
        image = _moved(grid, image, shift)
    blurred = ndimage.gaussian_filter(image, (0.2, 0.45, 0.45), mode="nearest")
    gain = float(np.exp(generator.normal(0.0, 0.25)))
    # Magnitude of a complex signal: noise of the two channels (Rician), its floor in air included.
    real = blurred * field + NOISE * generator.standard_normal(image.shape, dtype=np.float32)
    imaginary = NOISE * generator.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(gain * np.hypot(real, imaginary)), 0, 4095).astype(np.int16)


def _moved(grid: Grid, image: Field, shift: npt.NDArray[np.float64]) -> Field:
    """The image whose content has been moved by the matrix: at point q stands what stood at the inverse of q."""
    from scipy import ndimage

    affine = grid.geometry.affine_lps
    index = np.linalg.inv(affine) @ np.linalg.inv(shift) @ affine
    flip = np.eye(4)[[2, 1, 0, 3]]
    index = flip @ index @ flip
    return np.asarray(ndimage.affine_transform(image, index[:3, :3], index[:3, 3], order=1, mode="nearest"))
