"""A small study with images: virtual bodies of 5-mm voxels, masks given, one of them doubtful."""

from pathlib import Path

import numpy as np

from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume

PATIENTS = [f"P{number:02}" for number in range(1, 25)]
GEOMETRY = Geometry((64, 64, 20), (5.0, 5.0, 5.0), (-160.0, -160.0, 0.0))


def coarse() -> Geometry:
    """The grid of every fourth voxel of three slices."""
    return Geometry((16, 16, 3), (20.0, 20.0, 5.0), GEOMETRY.origin)


STUDY = """hepacast: 1
name: Small images
seed: 1
cohort:
  table: clinical.csv
  id: patient
  columns:
    alb: {column: ALB, unit: g/L}
    bad: {column: bad, kind: binary}
outcome: {definition: binary-column, column: bad}
images:
  sequences:
    CT: {path: "images/{patient}.nii.gz"}
  segmentation:
    source: given
    masks: "masks/{patient}.nii.gz"
    labels: {parenchyma: 1, tumor: 2}
modelling: {candidates: [alb], models: [clinical]}
"""


def body(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map of one patient."""
    k, j, i = np.meshgrid(np.arange(20), np.arange(64), np.arange(64), indexing="ij")
    rng = np.random.default_rng(number)
    image = np.where(((i - 32) / 28) ** 2 + ((j - 32) / 22) ** 2 < 1, 40.0, -1000.0)
    liver = ((i - 22) / 15) ** 2 + ((j - 30) / 15) ** 2 + ((k - 10) / 9) ** 2 < 1
    liver[10, 30, 34 : 37 + number] = True  # no two masks are one
    tumor = (i - 20) ** 2 + (j - 28 - number % 3) ** 2 + (k - 10) ** 2 < 9
    image[liver], image[tumor] = 105.0, 60.0
    image += rng.normal(0, 8, image.shape)
    mask = liver.astype(np.uint8)
    mask[tumor] = 2
    if number == 7:  # the liver is hardly outlined
        mask[(mask == 1) & ((i - 22) ** 2 + (j - 30) ** 2 + (k - 10) ** 2 > 40)] = 0
    return np.rint(image).astype(np.int16), mask


def make(folder: Path) -> None:
    """Write the study."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["patient,ALB,bad"]
    for number, patient in enumerate(PATIENTS, start=1):
        image, mask = body(number)
        for name, array in (("images", image), ("masks", mask)):
            write_volume(Volume(array, GEOMETRY), folder / name / f"{patient}.nii.gz")
        rows.append(f"{patient},{30 + number % 11},{int(number % 3 == 0)}")
    (folder / "clinical.csv").write_text("\n".join(rows) + "\n")
    (folder / "study.yaml").write_text(STUDY)
