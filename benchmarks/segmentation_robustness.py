"""How the built-in liver network holds on a real CT that is cut, turned, shifted, resampled or noisy.

    python benchmarks/segmentation_robustness.py IMAGE MASK --labels 1,2 [--json FILE] [--only cut] [--threads 1]

Every change of the scan is segmented anew and compared, by Dice, with the given liver inside what remains of the scan;
beside it the Dice of the unchanged scan's result inside the same part. The script says where the difference is more
than 0.02 although at least 120 mm of the scan remain. Results are kept in the file, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hepacast.errors import HepacastError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume
from hepacast.segmentation.axes import turn
from hepacast.segmentation.builtin import BuiltinSegmenter

LEAST_MM, MOST_LOSS = 120.0, 0.02
Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]


def scans(image: Array, liver: Mask, mm: Spacing) -> Iterator[tuple[str, Array, Mask, Spacing, slice]]:
    """Name, HU (x, y, z to the left, back, head), liver, voxel size, and which slices of the original remain."""
    whole = slice(0, image.shape[2])
    height = image.shape[2] * mm[2]
    for cut in np.arange(20.0, height - LEAST_MM + 1e-6, 20.0):
        n = round(cut / mm[2])
        yield f"cut {cut:.0f} mm from the top", image[:, :, :-n], liver[:, :, :-n], mm, slice(0, image.shape[2] - n)
        yield f"cut {cut:.0f} mm from the bottom", image[:, :, n:], liver[:, :, n:], mm, slice(n, image.shape[2])
    for thick in (0.6, 3.0, 5.0, 10.0):
        factors = (1.0, 1.0, mm[2] / thick)
        yield (
            f"slices of {thick:g} mm",
            ndimage.zoom(image, factors, order=1),
            ndimage.zoom(liver.astype(np.float32), factors, order=1) > 0.5,
            (mm[0], mm[1], thick),
            whole,
        )
    for angle in (-15, 15):
        turned = ndimage.rotate(image, angle, axes=(0, 1), reshape=False, order=1, cval=-1000.0)
        mask = ndimage.rotate(liver.astype(np.float32), angle, axes=(0, 1), reshape=False, order=1) > 0.5
        yield f"turned by {angle} degrees", turned, mask, mm, whole
    for x, y in ((40, 0), (-40, 30)):
        step = (round(x / mm[0]), round(y / mm[1]), 0)
        moved = ndimage.shift(image, step, order=0, cval=-1000.0)
        yield f"moved by {x}, {y} mm", moved, ndimage.shift(liver, step, order=0), mm, whole
    noise = np.random.default_rng(1).standard_normal(image.shape, dtype=np.float32)
    yield "noise of 30 HU", image + 30 * noise, liver, mm, whole
    margin = [(round(80 / side),) * 2 for side in mm[:2]] + [(0, 0)]
    yield "field 160 mm larger", np.pad(image, margin, constant_values=-1000.0), np.pad(liver, margin), mm, whole


def segmented(image: Array, mm: Spacing, threads: int) -> Mask:
    """The liver as the segmenter finds it."""
    size = (image.shape[0], image.shape[1], image.shape[2])
    volume = Volume(np.ascontiguousarray(image.transpose(2, 1, 0)), Geometry(size, mm))
    labelmap = BuiltinSegmenter(lesions=False, threads=threads).segment(volume).labelmap
    return np.asarray(labelmap.volume.array != 0).transpose(2, 1, 0)


def dice(a: Mask, b: Mask) -> float:
    """Dice coefficient."""
    return 2.0 * float((a & b).sum()) / max(1.0, float(a.sum()) + float(b.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("--labels", default="1", help="label values of the liver, by commas")
    parser.add_argument("--only", default="", help="changes whose name begins so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    turned = turn(read_volume(given.image), "LPS")
    labels = [int(word) for word in given.labels.split(",")]
    liver = np.isin(np.rint(turn(read_volume(given.mask), "LPS").array).astype(int), labels)
    image, mm = turned.array.astype(np.float32), turned.spacing
    kept = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {}
    base = segmented(image, mm, given.threads)
    print(f"{'unchanged':36} Dice {dice(base, liver):.4f}", flush=True)
    for name, scan, mask, spacing, part in scans(image, liver, mm):
        if not name.startswith(given.only):
            continue
        if name not in kept:
            try:
                found = dice(segmented(scan, spacing, given.threads), mask)
            except HepacastError as error:
                found, name = 0.0, f"{name} (refused: {error.message})"
            kept[name] = {"dice": found, "unchanged": dice(base[:, :, part], liver[:, :, part])}
            if given.json:
                given.json.write_text(json.dumps(kept, indent=1))
        entry = kept[name]
        loss = entry["unchanged"] - entry["dice"]
        mark = "   MORE THAN 0.02 LOWER" if loss > MOST_LOSS else ""
        print(f"{name:36} Dice {entry['dice']:.4f}, unchanged {entry['unchanged']:.4f}{mark}", flush=True)


if __name__ == "__main__":
    main()
