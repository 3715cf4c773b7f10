"""IBSI 2: every consensus response map of phase 1 and every consensus value of phase 2."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from hepacast.imaging import Volume
from hepacast.radiomics import Settings, extract
from hepacast.radiomics.ibsi.filters import FilterParameters, response

DataDir = Callable[[str], Path]


def _laws(kernels: list[str], border: str, flat: bool) -> list[dict[str, Any]]:
    plain = {"kind": "laws", "kernels": kernels, "border": border, "bySlice": flat}
    turned = {**plain, "rotationInvariant": True, "pooling": "max"}
    return [plain, turned, {**turned, "energyRadius": 7}]


GABOR = {"kind": "gabor", "sigma": 10, "wavelength": 4, "aspect": 0.5, "angle": 60, "border": "zero"}
GABOR_B = {"kind": "gabor", "sigma": 20, "wavelength": 8, "aspect": 2.5, "angle": 225}
PLANES = {"rotationInvariant": True, "orthogonalPlanes": True}
DB2 = {"kind": "wavelet", "wavelet": "db2", "letters": "LHL", "border": "zero"}
COIF1 = {"kind": "wavelet", "wavelet": "coif1", "letters": "HHL", "border": "periodic"}
HAAR = {"kind": "wavelet", "wavelet": "haar", "level": 2, "rotationInvariant": True}

#: Response map -> phantom, filter.
MAPS: dict[str, tuple[str, dict[str, Any]]] = {
    "1_a_1": ("checkerboard", {"kind": "mean", "border": "zero"}),
    "1_a_2": ("checkerboard", {"kind": "mean", "border": "nearest"}),
    "1_a_3": ("checkerboard", {"kind": "mean", "border": "periodic"}),
    "1_a_4": ("checkerboard", {"kind": "mean", "border": "mirror"}),
    "1_b_1": ("impulse", {"kind": "mean", "border": "zero", "bySlice": True}),
    "2_a": ("impulse", {"kind": "log", "sigma": 3, "border": "zero"}),
    "2_b": ("checkerboard", {"kind": "log", "sigma": 5}),
    "2_c": ("checkerboard", {"kind": "log", "sigma": 5, "bySlice": True}),
    **{f"3_a_{k + 1}": ("impulse", x) for k, x in enumerate(_laws(["E5", "L5", "S5"], "zero", False))},
    **{f"3_b_{k + 1}": ("checkerboard", x) for k, x in enumerate(_laws(["E3", "W5", "R5"], "mirror", False))},
    **{f"3_c_{k + 1}": ("checkerboard", x) for k, x in enumerate(_laws(["L5", "S5"], "mirror", True))},
    "4_a_1": ("impulse", GABOR),
    "4_a_2": ("impulse", {**GABOR, **PLANES, "angle": 45}),
    "4_b_1": ("sphere", GABOR_B),
    "4_b_2": ("sphere", {**GABOR_B, **PLANES, "angle": 22.5}),
    "5_a_1": ("impulse", DB2),
    "5_a_2": ("impulse", {**DB2, "rotationInvariant": True}),
    "6_a_1": ("sphere", COIF1),
    "6_a_2": ("sphere", {**COIF1, "rotationInvariant": True}),
    "7_a_1": ("checkerboard", {**HAAR, "letters": "LLL"}),
    "7_a_2": ("checkerboard", {**HAAR, "letters": "HHH"}),
    "8_a_1": ("checkerboard", {"kind": "simoncelli", "level": 1, "border": "periodic"}),
    "8_a_2": ("checkerboard", {"kind": "simoncelli", "level": 2, "border": "periodic"}),
    "8_a_3": ("checkerboard", {"kind": "simoncelli", "level": 3, "border": "periodic"}),
    "9_a": ("impulse", {"kind": "log", "sigma": 3, "riesz": (1, 0, 0), "border": "zero"}),
    "9_b_1": ("sphere", {"kind": "log", "sigma": 3, "riesz": (0, 2, 0), "border": "zero"}),
    "10_b_1": ("pattern_1", {"kind": "simoncelli", "riesz": (0, 2, 0), "border": "nearest"}),
}


@pytest.mark.data
def test_no_reference_map_is_left_out(data_dir: DataDir) -> None:
    folder = data_dir("radiomics/ibsi") / "ibsi_2_reference_data/reference_response_maps"
    assert {file.name.removesuffix("-ValidCRM.nii") for file in folder.glob("*.nii")} == set(MAPS)


@pytest.mark.data
@pytest.mark.parametrize("name", MAPS)
def test_response_maps(name: str, data_dir: DataDir) -> None:
    folder = data_dir("radiomics/ibsi")
    phantom, parameters = MAPS[name]
    image = sitk.ReadImage(str(folder / f"ibsi_2_digital_phantom/nifti/{phantom}/image/{phantom}.nii.gz"))
    file = folder / f"ibsi_2_reference_data/reference_response_maps/{name}-ValidCRM.nii"
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).astype(np.float64)
    values = sitk.GetArrayFromImage(image).astype(np.float64)
    found = response(values, (2.0, 2.0, 2.0), FilterParameters(**parameters))
    assert np.abs(found - expected).max() <= 0.01 * np.ptp(expected)


TURNED = {"rotationInvariant": True}
ENERGY = {"kind": "laws", "rotationInvariant": True, "pooling": "max", "energyRadius": 7}
GABOR_CT = {"kind": "gabor", "sigma": 5, "wavelength": 2, "aspect": 1.5, "angle": 22.5, **TURNED}
DB3 = {"kind": "wavelet", "wavelet": "db3", **TURNED}
SIMONCELLI = {"kind": "simoncelli", "border": "periodic"}

#: Filter of phase 2 -> (A: slice by slice, B: in space at 1 mm).
VALUES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "1": ({"kind": "mean", "support": 1}, {"kind": "mean", "support": 1}),  # no filter
    "2": ({"kind": "mean", "support": 5, "bySlice": True}, {"kind": "mean", "support": 5}),
    "3": ({"kind": "log", "sigma": 1.5, "bySlice": True}, {"kind": "log", "sigma": 1.5}),
    "4": ({**ENERGY, "kernels": ["L5", "E5"], "bySlice": True}, {**ENERGY, "kernels": ["L5", "E5", "E5"]}),
    "5": (GABOR_CT, {**GABOR_CT, "orthogonalPlanes": True}),
    "6": ({**DB3, "letters": "LH"}, {**DB3, "letters": "LLH"}),
    "7": ({**DB3, "letters": "HH", "level": 2}, {**DB3, "letters": "HHH", "level": 2}),
    "8": ({**SIMONCELLI, "level": 1, "bySlice": True}, {**SIMONCELLI, "level": 1}),
    "9": ({**SIMONCELLI, "level": 2, "bySlice": True}, {**SIMONCELLI, "level": 2}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "A": {"resegmentRange": [-1000, 400]},
    "B": {"resegmentRange": [-1000, 400], "resampledPixelSpacing": [1, 1, 1], "interpolator": "sitkBSpline"},
}
FAST = ("1.A", "2.A", "3.A", "4.A", "6.A", "7.A", "8.A", "9.A")
ALL = [f"{number}.{letter}" for number in VALUES for letter in SETTINGS]


@pytest.mark.data
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow, id=name) for name in ALL]
)
def test_values_on_the_ct_phantom(name: str, data_dir: DataDir) -> None:
    folder = data_dir("radiomics/ibsi")
    number, letter = name.split(".")
    nifti = folder / "ibsi_2_ct_radiomics_phantom/nifti"
    image = Volume.from_sitk(sitk.ReadImage(str(nifti / "image/phantom.nii.gz")))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(nifti / "mask/mask.nii.gz"))) > 0
    chosen = VALUES[number]["AB".index(letter)]
    settings = Settings.load({"mode": "ibsi", "setting": SETTINGS[letter], "ibsi": {"filter": chosen}})
    found = extract(image, image.with_array(mask), settings)["voi"].features
    table = folder / "ibsi_2_reference_data/reference_feature_values/reference_values.csv"
    with table.open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream, delimiter=";") if row["filter_id"] == name]
    assert len(rows) == 18
    wrong = {}
    for row in rows:
        if not row["consensus_value"]:
            continue  # no consensus was reached
        value, expected = found.get(row["feature_tag"]), float(row["consensus_value"])
        last_digit = 10 ** (math.floor(math.log10(abs(expected))) - 2) if expected else 0.0
        if value is None or abs(value - expected) > float(row["tolerance"]) + 0.5001 * last_digit:
            wrong[row["feature_tag"]] = (value, expected)
    assert wrong == {}
