"""Registration of a CT phase that a breath or a deformation has moved: error of the liver in mm, Dice, CPU seconds.

    python benchmarks/registration.py CT.nii.gz LIVER.nii.gz

The moved phase is the CT under a known field (`hepacast.phantom.motion`), with another contrast and noise. Without
files the phantom of `hepacast.phantom.ct` stands in.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from hepacast.imaging import Volume, read_volume
from hepacast.imaging.morphology import dilate
from hepacast.imaging.preprocessing import body_mask, register
from hepacast.imaging.resample import resample_image, resample_mask
from hepacast.imaging.structures import structure_mask
from hepacast.phantom.ct import make_ct
from hepacast.phantom.motion import Motion, breath, deformation
from hepacast.phantom.spec import PatientSpec

SPACING = (2.5, 2.5, 3.0)


def other_phase(image: Volume) -> Volume:
    """Less contrast of the bright tissues, and noise of 10 HU."""
    array = image.array.astype(np.float32)
    array = np.where(array > 60, 60 + 0.6 * (array - 60), array)
    return image.with_array((array + np.random.default_rng(1).normal(0, 10, array.shape)).astype(np.float32))


def row(name: str, motion: Motion, image: Volume, liver: Volume, kind: str, region: str) -> str:
    """One registration, measured."""
    mask = body_mask(image) if region == "body" else dilate(liver, 10.0)
    moving = other_phase(motion.move(image))
    start = time.process_time()
    found = register(moving, image, kind=kind, mask=mask, fill=-1024.0)  # type: ignore[arg-type]
    seconds = time.process_time() - start
    places = np.argwhere(liver.array)[::97][:, ::-1]
    points = (image.geometry.affine_lps @ np.c_[places, np.ones(len(places))].T)[:3].T
    truth = motion.moved(points)
    before = np.linalg.norm(truth - points, axis=1)
    after = np.linalg.norm(found.moved(points) - truth, axis=1)
    moved = motion.move(liver.with_array(liver.array.astype(np.uint8)), order=0)
    back = found.resampled_mask(moved, image)
    dice = [2 * (mask & liver.array).sum() / (mask.sum() + liver.array.sum()) for mask in (moved.array > 0, back.array)]
    return (
        f"| {name} | {kind}, {region} | {before.mean():.1f} | {after.mean():.1f} ({np.percentile(after, 95):.1f}) | "
        f"{dice[0]:.3f} | {dice[1]:.3f} | {found.used} | {found.jacobian[0]:.2f} | {seconds:.0f} |"
    )


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 3:
        given = read_volume(sys.argv[2])
        image = resample_image(read_volume(sys.argv[1]), spacing=SPACING)
        liver = resample_mask(given.with_array(given.array > 0), spacing=SPACING)
    else:
        made = make_ct(PatientSpec("P", 1), "demo")
        image, liver = made.image, structure_mask(made.labels, "liver")
    liver = liver.with_array(liver.array.astype(bool))
    motions = {
        "breath, 15 mm": breath(liver, (1.0, -3.0, 14.5)),
        "breath, 20 mm": breath(liver, (2.0, -5.0, -19.0)),
        "smooth deformation, 6 mm": deformation(image.geometry, 6.0),
        "none": breath(liver, (0.0, 0.0, 0.0)),
    }
    print(
        "| motion | registration | error before, mm | after (95 %) | Dice before | after | taken | Jacobian | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, motion in motions.items():
        for kind, region in (("rigid", "body"), ("rigid", "liver"), ("bspline", "liver")):
            print(row(name, motion, image, liver, kind, region), flush=True)


if __name__ == "__main__":
    main()
