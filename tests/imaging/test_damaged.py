"""Damaged image and mask files: read, or refused in words; never another error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from hepacast.errors import HepacastError
from hepacast.imaging import Geometry, Volume, read_volume, write_volume
from hepacast.imaging.io import MaskRules, read_mask_set

GRID = Geometry((9, 8, 6), (0.7, 0.8, 3.0), (1.0, 2.0, 3.0))
EACH = 40


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit, one byte, a cut, an insertion or a stretch of equal bytes; mostly in the header."""
    data = bytearray(content)
    place = int(rng.integers(min(len(data), 600) if rng.random() < 0.85 else len(data)))
    kind = rng.integers(5)
    if kind == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[place] = int(rng.integers(256))
    elif kind == 2:
        del data[int(rng.integers(len(data))) :]
    elif kind == 3:
        data[place:place] = rng.integers(0, 256, int(rng.integers(1, 9))).astype(np.uint8).tobytes()
    else:
        data[place : place + 4] = bytes([int(rng.choice([0, 255, 48, 57, 45, 110]))]) * len(data[place : place + 4])
    return bytes(data)


def write(folder: Path, name: str) -> tuple[Volume, Path]:
    array = np.random.default_rng(0).integers(-1000, 1000, GRID.shape).astype(np.int16)
    image = Volume(array, GRID)
    if name == "m.seg.nrrd":
        segments = image.with_array((array > 0).astype(np.uint8) + (array > 700)).to_sitk()
        for number, (segment, value) in enumerate((("liver", 1), ("tumor", 2))):
            segments.SetMetaData(f"Segment{number}_Name", segment)
            segments.SetMetaData(f"Segment{number}_LabelValue", str(value))
        sitk.WriteImage(segments, str(folder / name), False)
    elif name == "a.mhd":
        sitk.WriteImage(image.to_sitk(), str(folder / name))
    else:
        write_volume(image, folder / name)
    return image, folder / name


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "m.seg.nrrd"])
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    image, path = write(tmp_path, name)
    sound, rng = path.read_bytes(), np.random.default_rng(sum(name.encode()))
    refused = 0
    for number in range(EACH):
        path.write_bytes(damaged(sound, rng))
        try:
            if name.startswith("m"):
                labels = {"liver": 1, "tumor": 2} if number % 2 else None
                read_mask_set(path, labels, reference=image, rules=MaskRules(correct=number % 3 == 0))
            else:
                read_volume(path)
        except HepacastError as error:
            refused += 1
            assert error.remedy, str(error)
    assert refused > EACH // 5
