"""PyRadiomics' own baseline tables and matrices of its five cases (every setting that they were made with).

Resampling, normalisation and re-segmentation are done by PyRadiomics here: what is tested is what comes after.
"""

from __future__ import annotations

import ast
import csv
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from hepacast.radiomics.core import FeatureSettings, image_features, shape_features
from hepacast.radiomics.discretise import discretise
from hepacast.radiomics.features.ngtdm import ngtdm_matrix
from hepacast.radiomics.kernels.cooccurrence import count_pairs
from hepacast.radiomics.kernels.neighbours import count_neighbours
from hepacast.radiomics.kernels.offsets import half_offsets
from hepacast.radiomics.kernels.runs import count_runs
from hepacast.radiomics.kernels.voi import Voi, gather
from hepacast.radiomics.kernels.zones import count_zones

FOLDER = "radiomics/pyradiomics"
CASES = ("brain1", "brain2", "breast1", "lung1", "lung2")
CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm", "shape", "shape2D")

#: Columns of each table; one that is missing fails the test.
N_CASES = {"firstorder": 20, "glcm": 40, "gldm": 35, "glrlm": 40, "glszm": 35, "ngtdm": 35, "shape": 10, "shape2D": 5}

#: The table of this case was made by an older mesh (the installed PyRadiomics differs from it by as much).
OLD_MESH = ("brain1", {"shape_MeshVolume", "shape_SurfaceArea", "shape_SurfaceVolumeRatio", "shape_Sphericity"})

SETTINGS = {
    "binWidth": "bin_width",
    "binCount": "bin_count",
    "voxelArrayShift": "voxel_array_shift",
    "distances": "distances",
    "force2D": "force2d",
    "force2Ddimension": "force2d_dimension",
    "weightingNorm": "weighting_norm",
    "symmetricalGLCM": "symmetrical_glcm",
    "gldm_a": "gldm_a",
}

Find = Callable[[str], Path]


@cache
def read(folder: Path, case: str) -> tuple[sitk.Image, sitk.Image]:
    image, mask = (sitk.ReadImage(str(folder / f"{case}_{kind}.nrrd")) for kind in ("image", "label"))
    return image, mask


#: What changes the image or the mask before features are computed.
PREPARATION = (
    *("normalize", "normalizeScale", "removeOutliers", "interpolator", "resampledPixelSpacing", "padDistance"),
    *("resegmentRange", "resegmentMode", "label"),
)


@cache
def prepare(
    folder: Path, name: str, setting_items: str, box: str | None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], tuple[float, ...]]:
    """Image, mask and spacing as PyRadiomics has them when features are computed."""
    extractor = pytest.importorskip("radiomics.featureextractor").RadiomicsFeatureExtractor
    operations = pytest.importorskip("radiomics.imageoperations")
    settings = ast.literal_eval(setting_items)
    image, mask = read(folder, name)
    if box is not None:  # one slice of the label
        k = ast.literal_eval(box)[2]
        one = np.zeros_like(sitk.GetArrayFromImage(mask))
        one[k] = sitk.GetArrayFromImage(mask)[k]
        slice_mask = sitk.GetImageFromArray(one)
        slice_mask.CopyInformation(mask)
        mask = slice_mask
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image, mask = extractor.loadImage(image, mask, None, **settings)
        if settings.get("resegmentRange") is not None:
            mask = operations.resegmentMask(image, mask, **settings)
    label = settings.get("label", 1)
    inside = sitk.GetArrayFromImage(mask) == label
    places = np.argwhere(inside)
    crop = tuple(slice(low, high + 1) for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True))
    return sitk.GetArrayFromImage(image)[crop].copy(), inside[crop].copy(), image.GetSpacing()[::-1]


@pytest.mark.data
@pytest.mark.parametrize("feature_class", CLASSES)
def test_baseline_table(data_dir: Find, feature_class: str) -> None:
    folder = data_dir(FOLDER)
    with (folder / "baseline" / f"baseline_{feature_class}.csv").open() as stream:
        rows = {row[0]: row[1:] for row in csv.reader(stream)}
    cases = rows["featureName"]
    assert len(cases) == N_CASES[feature_class]
    for column, case in enumerate(cases):
        settings = ast.literal_eval(rows["diagnostics_Configuration_Settings"][column])
        boxes = rows.get("diagnostics_Mask-corrected_BoundingBox") if feature_class == "shape2D" else None
        steps = repr({name: settings[name] for name in PREPARATION if name in settings})
        image, mask, spacing = prepare(folder, case.split("_")[0], steps, boxes[column] if boxes else None)
        own = FeatureSettings(**{new: settings[old] for old, new in SETTINGS.items() if settings.get(old) is not None})
        if feature_class.startswith("shape"):
            found = shape_features(mask, spacing, {feature_class: None}, own)
        else:
            found = image_features(image, mask, spacing, own, {feature_class: None})
        expected = {
            name.removeprefix("original_"): float(values[column])
            for name, values in rows.items()
            if name.startswith("original_")
        }
        assert set(found) == set(expected)
        for name, value in expected.items():
            old_mesh = case == OLD_MESH[0] and name in OLD_MESH[1]
            assert found[name] == pytest.approx(value, rel=1e-3 if old_mesh else 1e-10, abs=1e-12), (case, name)


def without_empty(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Leave out rows and columns (levels, sizes) that are 0."""
    matrix = matrix[matrix.any(axis=tuple(range(1, matrix.ndim)))]
    return matrix[:, matrix.any(axis=(0, *range(2, matrix.ndim)))]


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@pytest.mark.parametrize("case", CASES)
def test_baseline_matrices(data_dir: Find, case: str) -> None:
    folder = data_dir(FOLDER)
    image, mask = read(folder, case)
    voi = Voi.from_mask(sitk.GetArrayFromImage(mask) == 1)
    own = FeatureSettings()
    grey = discretise(gather(sitk.GetArrayFromImage(image), voi), own).padded(voi, 1)
    offsets = half_offsets()
    expected = {name: np.load(folder / "baseline" / f"{case}_{name}.npy") for name in CLASSES[1:6]}

    n = grey.n_codes + 1
    glcm = np.zeros((n, n, len(offsets)))
    for angle, matrix in enumerate(count_pairs(grey, offsets, symmetrical=True)):
        glcm[matrix.row, matrix.column, angle] = matrix.count / matrix.count.sum()
    np.testing.assert_allclose(without_empty(glcm), expected["glcm"], rtol=1e-13)

    cells = count_runs(grey, voi, offsets)
    glrlm = np.zeros((n, cells.size.max() + 1, len(offsets)))
    glrlm[cells.code, cells.size, np.repeat(np.arange(len(offsets)), np.diff(cells.starts))] = cells.count
    np.testing.assert_array_equal(without_empty(glrlm), without_empty(expected["glrlm"]))

    zones = count_zones(grey, None)
    glszm = np.zeros((n, zones.size.max() + 1))
    glszm[zones.code, zones.size] = zones.count
    np.testing.assert_array_equal(without_empty(glszm), without_empty(expected["glszm"]))

    near = count_neighbours(grey, offsets, 0)
    np.testing.assert_array_equal(without_empty(near.dependence.astype(float)), without_empty(expected["gldm"]))
    level, number, difference = ngtdm_matrix(grey, near)
    np.testing.assert_allclose(np.stack([number, difference, level], axis=1), expected["ngtdm"], rtol=1e-12)
