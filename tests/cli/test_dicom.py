"""DICOM at the command line: the series is named by an option, and what the reader notes is printed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
from dicom_files import write_slice
from rtstruct_files import rectangle, write_rtstruct

HEIGHTS = [5.0 * k for k in range(8)]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """``scan`` with two series (60 and 110 HU), ``liver.dcm`` with a box of 12 x 10 x 4 voxels."""
    for number, words, level in ((3, "late portal", 60), (4, "early arterial", 110)):
        for k, z in enumerate(HEIGHTS):
            pixels = np.random.default_rng(k).normal(level + 1024, 8, (20, 24))
            more = {"SeriesNumber": number, "SeriesDescription": words, "PixelSpacing": [2.0, 2.0], "slope": None}
            place = tmp_path / "scan" / f"{number}-{k}.dcm"
            write_slice(place, (0.0, 0.0, z), instance=k + 1, series=f"1.2.{number}", pixels=pixels.round(), **more)
    box = [rectangle((2 * 6 - 1.0, 2 * 18 - 1.0), (2 * 5 - 1.0, 2 * 15 - 1.0), z) for z in HEIGHTS[2:6]]
    write_rtstruct(tmp_path / "liver.dcm", {"Liver": box})
    (tmp_path / "few.yaml").write_text(
        "imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean], shape: [VoxelVolume]}\n"
    )
    return tmp_path


def test_extract_and_segment_take_the_series_that_is_named(scan: Path, hepacast) -> None:
    common = (scan / "liver.dcm", "--settings", scan / "few.yaml", "-q", "--accept-doubtful")
    plain = hepacast("extract", scan / "scan", *common)
    assert plain.code == 2
    for words in ('series 3 "late portal"', 'series 4 "early arterial"', "--series"):
        assert words in plain.err
    chosen = hepacast("extract", scan / "scan", *common, "--series", "arterial")
    assert chosen.code == 0
    value = float(next(line for line in chosen.out.splitlines() if "firstorder_Mean" in line).split("=")[1])
    assert value == pytest.approx(110 + 1024, abs=3)
    assert f"VoxelVolume = {12 * 10 * 4 * 20}" in chosen.out
    assert "note: slices have no rescale slope and intercept" in chosen.out
    out = scan / "mask.nii.gz"
    segment = ("segment", scan / "scan", "-o", out, "--model", f"given:{scan / 'liver.dcm'}", "--accept-doubtful", "-q")
    assert hepacast(*segment).code == 2 and not out.exists()
    made = hepacast(*segment, "--series", "3")
    assert made.code == 0 and out.exists()
    assert "note: slices have no rescale slope and intercept" in made.out
