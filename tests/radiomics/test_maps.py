"""Feature maps against PyRadiomics' voxel-based extraction."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import Settings, feature_maps

GRID = Geometry((12, 11, 8), (1.0, 1.2, 2.0))
CLASSES = dict.fromkeys(["firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"])


def phantom() -> tuple[Volume, Volume]:
    image = Volume(np.random.default_rng(2).normal(100, 50, GRID.shape).astype(np.int16), GRID)
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[2:5, 3:7, 4:8] = True
    mask[3, 4, 5] = False
    return image, image.with_array(mask)


@pytest.mark.parametrize(
    "extra",
    [
        {"setting": {"binWidth": 25}},
        {"setting": {"binWidth": 25}, "voxelSetting": {"kernelRadius": 2, "maskedKernel": False}},
        {"setting": {"binCount": 8, "force2D": True}, "voxelSetting": {"initValue": -1}},
    ],
    ids=["plain", "unmasked", "2-D"],
)
def test_maps_equal_pyradiomics(extra: dict[str, Any]) -> None:
    extractor = pytest.importorskip("radiomics.featureextractor")
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    image, voi = phantom()
    settings = Settings.load({"featureClass": CLASSES, **extra})
    found = feature_maps(image, voi, settings)
    made = extractor.RadiomicsFeatureExtractor(settings.to_pyradiomics()).execute(
        image.to_sitk(), voi.to_sitk(), label=1, voxelBased=True
    )
    expected = {name: value for name, value in made.items() if not name.startswith("diagnostics")}
    assert set(found) == set(expected)
    for name, picture in expected.items():
        start = image.to_sitk().TransformPhysicalPointToIndex(picture.GetOrigin())[::-1]
        values = sitk.GetArrayFromImage(picture)
        box = tuple(slice(low, low + size) for low, size in zip(start, values.shape))
        inside = voi.array[box]
        if name == "original_glcm_MCC" and (values[inside] == settings.parameters.initValue).all():
            continue  # PyRadiomics gives the whole map up where one neighborhood lacks neighbors in a direction
        if name == "original_glcm_JointAverage":
            # PyRadiomics forgets to leave out directions without neighbors, in the maps of this feature only.
            inside = inside & np.isfinite(values)
        np.testing.assert_allclose(found[name].array[box][inside], values[inside], rtol=1e-6, atol=1e-9, err_msg=name)
        assert (found[name].array[~voi.array] == settings.parameters.initValue).all()


def test_maps_say_what_they_cannot_do() -> None:
    image, voi = phantom()
    with pytest.raises(StudyFileError, match="PyRadiomics' definitions"):
        feature_maps(image, voi, {"mode": "ibsi"})
    with pytest.raises(ImageError, match="cannot be measured"):
        feature_maps(image, voi.with_array(np.zeros(GRID.shape, bool)), {})
    with pytest.raises(StudyFileError, match="own grid"):
        feature_maps(image, voi, {"setting": {"resampledPixelSpacing": [2, 2, 2]}})
