"""Every consensus value of IBSI 1: the digital phantom and configurations A to E of the CT phantom."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import Settings, extract

SLICES = ["2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb"]
SPACE = ["3D_avg", "3D_comb"]
CT = "ibsi_1_ct_radiomics_phantom"
CONFIGURATIONS: dict[str, tuple[str, int, dict[str, Any], dict[str, Any]]] = {
    "dig_phantom": (
        "ibsi_1_digital_phantom",
        482,
        {"binWidth": 1},
        {"discretize": False, "aggregation": SLICES + SPACE},
    ),
    "chest_config_a": (CT, 406, {"binWidth": 25, "resegmentRange": [-500, 400]}, {"aggregation": SLICES}),
    "chest_config_b": (
        CT,
        406,
        {
            "binCount": 32,
            "resegmentRange": [-500, 400],
            "resampledPixelSpacing": [2, 2, 0],
            "interpolator": "sitkLinear",
        },
        {"aggregation": SLICES},
    ),
    "chest_config_c": (
        CT,
        270,
        {
            "binWidth": 25,
            "resegmentRange": [-1000, 400],
            "resampledPixelSpacing": [2, 2, 2],
            "interpolator": "sitkLinear",
        },
        {"ivhBinWidth": 2.5},
    ),
    "chest_config_d": (
        CT,
        270,
        {"binCount": 32, "resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkLinear"},
        {"outlierSigma": 3},
    ),
    "chest_config_e": (
        CT,
        270,
        {
            "binCount": 32,
            "resegmentRange": [-1000, 400],
            "resampledPixelSpacing": [2, 2, 2],
            "interpolator": "sitkBSpline",
        },
        {"outlierSigma": 3, "ivhBinCount": 1000},
    ),
}


@pytest.mark.data
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_consensus_value_is_reached(name: str, data_dir: Callable[[str], Path]) -> None:
    folder = data_dir("radiomics/ibsi")
    phantom, count, setting, ibsi = CONFIGURATIONS[name]
    image = Volume.from_sitk(sitk.ReadImage(str(folder / phantom / "nifti/image/phantom.nii.gz")))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / phantom / "nifti/mask/mask.nii.gz"))) > 0
    settings = Settings.load({"mode": "ibsi", "setting": setting, "ibsi": ibsi})
    found = extract(image, image.with_array(mask), settings)["voi"]
    assert found.status == "ok"
    values = {**found.features, **found.diagnostics}
    table = folder / "ibsi_1_reference_values" / f"ibsi_1_{name}.csv"
    with table.open(encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream, delimiter=";") if row[0] not in ("", "reference value")]
    assert len(rows) == count
    wrong = {}
    for reference, tolerance, tag in rows:
        value, expected = values.get(tag), float(reference)
        # References are printed with three digits.
        last_digit = 10 ** (math.floor(math.log10(abs(expected))) - 2) if expected else 0.0
        if value is None or abs(value - expected) > float(tolerance or 0) + 0.5001 * last_digit:
            wrong[tag] = (value, expected)
    assert wrong == {}


def test_every_expected_feature_has_a_value() -> None:
    generator = np.random.default_rng(0)
    grid = Geometry((20, 18, 12), (1.0, 1.0, 2.0))
    image = Volume(generator.normal(50, 30, grid.shape).astype(np.int16), grid)
    mask = image.with_array(np.indices(grid.shape).sum(axis=0) % 17 < 13)
    settings = Settings.load({"mode": "ibsi", "setting": {"binWidth": 10}})
    result = extract(image, mask, settings)["voi"]
    assert list(result.features) == settings.feature_names()
    assert result.status == "ok"


def test_the_ibsi_mode_refuses_what_it_does_not_know() -> None:
    for content, words in (
        ({"imageType": {"Wavelet": {}}}, "imageType"),
        ({"setting": {"normalize": True}}, "normalize"),
        ({"setting": {"interpolator": "sitkGaussian"}}, "interpolator"),
        ({"ibsi": {"agregation": ["3D_avg"]}}, "did you mean 'aggregation'"),
        ({"ibsi": {"aggregation": ["4D"]}}, "aggregation"),
    ):
        with pytest.raises(StudyFileError) as caught:
            Settings.load({"mode": "ibsi", **content})
        assert words in str(caught.value)
    with pytest.raises(StudyFileError, match="mode: ibsi"):
        Settings.load({"ibsi": {}})
    with pytest.raises(StudyFileError, match="PyRadiomics cannot"):
        Settings.load("ibsi").to_pyradiomics()


def test_an_empty_resegmentation_is_a_failure_with_a_reason() -> None:
    grid = Geometry((6, 6, 6), (1.0, 1.0, 1.0))
    image = Volume(np.zeros(grid.shape, dtype=np.int16), grid)
    mask = image.with_array(np.ones(grid.shape, dtype=bool))
    settings = {"mode": "ibsi", "setting": {"resegmentRange": [100, 200]}}
    result = extract(image, mask, settings)["voi"]
    assert result.status == "failed"
    assert "resegmentation leaves 0 voxel" in str(result.reason)
