"""How many tiles of a CT nnU-Net need not compute, because they hold air alone.

    python benchmarks/nnunet_air.py CT.nii.gz

The image as it is, and with 120 mm of air added on each side across (a large field of view). No network is run.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from hepacast.imaging.io import read_volume
from hepacast.segmentation.nnunet.air import tiles_with_body
from hepacast.segmentation.nnunet.inference import tile_starts

#: Name, patch (voxels) and voxel size (mm) along slice, row, column, as nnU-Net plans them for abdominal CT.
PLANS = (
    ("3d_fullres, 128 x 128 x 128 voxels of 1.0 x 0.78 x 0.78 mm", (128, 128, 128), (1.0, 0.78, 0.78)),
    ("3d_lowres, 128 x 128 x 128 voxels of 2.0 x 1.6 x 1.6 mm", (128, 128, 128), (2.0, 1.6, 1.6)),
    ("demo, 24 x 48 x 48 voxels of 5 mm", (24, 48, 48), (5.0, 5.0, 5.0)),
)


def main(path: str) -> None:
    """Print a line a plan."""
    volume = read_volume(path, modality="CT")
    spacing = volume.spacing[::-1]
    wide = [round(120 / mm) for mm in spacing[1:]]
    images = {
        "as it is": volume.array,
        "wide field": np.pad(volume.array, [(0, 0), *((n, n) for n in wide)], constant_values=-1000),
    }
    for field, array in images.items():
        for name, patch, mm in PLANS:
            shape = [round(n * old / new) for n, old, new in zip(array.shape, spacing, mm, strict=True)]
            starts = tile_starts([max(n, p) for n, p in zip(shape, patch, strict=True)], patch, 0.5)
            corners = [(a, b, c) for a in starts[0] for b in starts[1] for c in starts[2]]
            start = time.process_time()
            touches = tiles_with_body(array, shape)
            kept = [
                corner
                for corner in corners
                if touches is None or touches(corner, [a + n for a, n in zip(corner, patch, strict=True)])
            ]
            seconds = time.process_time() - start
            print(f"{field}; {name}: {len(kept)} of {len(corners)} tiles ({seconds:.1f} CPU s to tell)")


if __name__ == "__main__":
    main(sys.argv[1])
