"""The whole chain against PyRadiomics, and what happens when a VOI cannot be measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from hepacast.errors import GeometryError, ImageError, MissingPackageError
from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import ExtractionResult, Settings, extract
from hepacast.radiomics.compare import relative_difference

DataDir = Callable[[str], Path]


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float] = (0.8, 0.9, 2.0)) -> Geometry:
    return Geometry(size=(shape[2], shape[1], shape[0]), spacing=spacing, origin=(-10.0, 5.0, 30.0))


@pytest.fixture
def phantom() -> tuple[Volume, Volume]:
    """Noise on a ramp, and an ellipsoid near one border."""
    shape = (16, 40, 44)
    generator = np.random.default_rng(7)
    k, j, i = np.indices(shape)
    image = (generator.normal(80, 40, shape) + 2 * i - j).astype(np.int16)
    mask = ((k - 7) / 6) ** 2 + ((j - 18) / 11) ** 2 + ((i - 10) / 9.5) ** 2 <= 1
    return Volume(image, grid(shape)), Volume(mask, grid(shape))


def differences(ours: ExtractionResult, oracle: ExtractionResult) -> dict[str, tuple[float, float]]:
    """Features that differ by more than 1e-6, for every VOI."""
    result = {}
    for voi, expected in oracle.vois.items():
        names = list(expected.features)
        assert list(ours[voi].features) == names
        a, b = (np.array([item[voi].features[name] for name in names]) for item in (ours, oracle))
        far = relative_difference(a, b) > 1e-6
        result.update({f"{voi}:{name}": (x, y) for name, x, y, bad in zip(names, a, b, far) if bad})
    return result


ALL_CLASSES = ["shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"]
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "resampled": {
        "imageType": {"Original": {}, "LoG": {"sigma": [2.0]}, "Wavelet": {}, "Square": {}},
        "setting": {"resampledPixelSpacing": [1.5, 1.5, 1.5], "binWidth": 20},
    },
    "resampled in the plane, linear, normalized, clipped": {
        "imageType": {"Original": {}, "Wavelet": {}, "Gradient": {}, "LBP3D": {}},
        "setting": {
            "resampledPixelSpacing": [1.2, 1.2, 0],
            "interpolator": "sitkLinear",
            "normalize": True,
            "normalizeScale": 100,
            "removeOutliers": 2,
            "padDistance": 8,
            "binWidth": 5,
        },
    },
    "same spacing is only cropped": {
        "imageType": {"Original": {}, "Exponential": {}},
        "setting": {"resampledPixelSpacing": [0.8, 0.9, 2.0]},
    },
    "resegmented, shape too": {
        "imageType": {"Original": {}},
        "setting": {"resegmentRange": [30, 140], "resegmentShape": True},
    },
    "resegmented by sigma": {
        "imageType": {"Original": {}, "Logarithm": {}},
        "setting": {"resegmentRange": [-1, 1.5], "resegmentMode": "sigma", "binCount": 32},
    },
    "resegmented by share of the maximum": {
        "imageType": {"Original": {}},
        "setting": {"resegmentRange": [0.4], "resegmentMode": "relative"},
    },
    "cropped before filtering": {
        "imageType": {"SquareRoot": {}, "LoG": {"sigma": [1.0]}, "Wavelet": {}},
        "setting": {"preCrop": True, "padDistance": 3},
    },
    "2-D": {
        "imageType": {"Original": {}, "Wavelet": {}},
        "setting": {"force2D": True, "binWidth": 10},
    },
    "other textures": {
        "imageType": {"Original": {}},
        "setting": {
            "distances": [1, 2],
            "weightingNorm": "euclidean",
            "symmetricalGLCM": False,
            "gldm_a": 1,
            "voxelArrayShift": 1000,
        },
    },
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_equals_pyradiomics(phantom: tuple[Volume, Volume], name: str) -> None:
    pytest.importorskip("radiomics")
    image, mask = phantom
    settings = Settings.load({"featureClass": dict.fromkeys(ALL_CLASSES), **CONFIGURATIONS[name]})
    ours = extract(image, mask, settings)
    assert differences(ours, extract(image, mask, settings, backend="pyradiomics")) == {}
    assert ours["voi"].status == "ok"


def test_ptlf_equals_pyradiomics_for_two_vois_in_one_call(phantom: tuple[Volume, Volume]) -> None:
    pytest.importorskip("radiomics")
    pytest.importorskip("trimesh")
    image, mask = phantom
    core = mask.array.copy()
    core[:, :, :8] = False
    vois = {"all": mask, "part": mask.with_array(core)}
    ours = extract(image, vois, "ptlf")
    assert len(ours["all"].features) == 1874
    assert differences(ours, extract(image, vois, "ptlf", backend="pyradiomics")) == {}
    alone = extract(image, {"part": vois["part"]}, "ptlf")
    assert alone["part"].features == ours["part"].features  # other VOIs in the call change nothing


def test_real_case_with_diagnostics(data_dir: DataDir) -> None:
    radiomics = pytest.importorskip("radiomics.featureextractor")
    folder = data_dir("radiomics/pyradiomics")
    picture = sitk.ReadImage(str(folder / "breast1_image.nrrd"))
    label = sitk.ReadImage(str(folder / "breast1_label.nrrd"))
    image, mask = Volume.from_sitk(picture), Volume.from_sitk(label)
    settings = Settings.load({"setting": {"resampledPixelSpacing": [1, 1, 1]}, "featureClass": {"firstorder": None}})
    found = extract(image, mask, settings)["voi"]
    expected = radiomics.RadiomicsFeatureExtractor(settings.to_pyradiomics()).execute(picture, label)
    skipped = ("Versions", "Configuration", "Mask-original_Hash")
    for name, value in expected.items():
        if name.startswith("diagnostics_") and not any(word in name for word in skipped):
            if isinstance(value, str):
                assert found.diagnostics[name] == value, name
            else:
                np.testing.assert_allclose(found.diagnostics[name], value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda m: np.zeros_like(m), "empty"),
        (lambda m: _with(np.zeros_like(m), (slice(3, 4), slice(4, 5), slice(5, 6))), "single voxel"),
        (lambda m: _with(np.zeros_like(m), (slice(3, 4), slice(4, 5), slice(5, 9))), "1 dimension"),
    ],
)
def test_a_voi_that_cannot_be_measured_fails_with_a_reason(phantom: Any, build: Any, words: str) -> None:
    image, mask = phantom
    vois = {"bad": mask.with_array(build(mask.array)), "good": mask}
    result = extract(image, vois, {"featureClass": {"firstorder": None}})
    bad = result["bad"]
    assert bad.status == "failed"
    assert words in str(bad.reason)
    assert all(np.isnan(value) for value in bad.features.values())
    assert result["good"].status == "ok"
    table = result.to_long("p1")
    assert set(table.loc[table["voi"] == "bad", "status"]) == {"failed"}
    assert table.loc[table["voi"] == "bad", "reason"].str.contains(words).all()


def _with(mask: np.ndarray, box: Any) -> np.ndarray:
    mask[box] = True
    return mask


def test_a_voi_with_missing_intensities_gives_nan_with_a_reason(phantom: Any) -> None:
    image, mask = phantom
    values = image.array.astype(np.float64)
    values[7, 18, 10] = np.nan
    result = extract(image.with_array(values), mask, {"featureClass": {"firstorder": None, "shape": None}})["voi"]
    assert result.status == "partial"
    assert np.isnan(result.features["original_firstorder_Mean"])
    assert "no finite value" in result.reasons["original_firstorder_Mean"]
    assert np.isfinite(result.features["original_shape_VoxelVolume"])


def test_a_filter_that_does_not_fit_is_told_for_each_feature(phantom: Any) -> None:
    image, mask = phantom
    settings = {"imageType": {"Original": {}, "LoG": {"sigma": [60.0]}}, "featureClass": {"firstorder": None}}
    result = extract(image, mask, settings)["voi"]
    assert result.status == "partial"
    assert "too small" in result.reasons["log-sigma-60-0-mm-3D_firstorder_Mean"]
    assert np.isfinite(result.features["original_firstorder_Mean"])


def test_other_grids_are_refused_with_the_offset(phantom: Any) -> None:
    image, mask = phantom
    moved = Volume(mask.array, Geometry(mask.geometry.size, mask.geometry.spacing, (-7.0, 5.0, 30.0)))
    with pytest.raises(GeometryError, match=r"3\.00 mm"):
        extract(image, moved, {"setting": {"geometryTolerance": 10}})


def test_correct_mask_resamples_the_mask(phantom: Any) -> None:
    image, mask = phantom
    half = Volume(np.repeat(mask.array, 2, axis=0), Geometry((44, 40, 32), (0.8, 0.9, 1.0), (-10.0, 5.0, 29.5)))
    settings = {"setting": {"correctMask": True}, "featureClass": {"shape": ["VoxelVolume"]}}
    volume = extract(image, half, settings)["voi"].features["original_shape_VoxelVolume"]
    assert volume == pytest.approx(mask.array.sum() * 0.8 * 0.9 * 2.0)


def test_the_label_is_the_one_that_is_meant(phantom: Any) -> None:
    image, mask = phantom
    labels = mask.array.astype(np.uint8) * 3
    labels[0, 0, :4] = 1
    settings = {"setting": {"label": 3}, "featureClass": {"shape": ["VoxelVolume"]}}
    found = extract(image, mask.with_array(labels), settings)["voi"].features["original_shape_VoxelVolume"]
    assert found == pytest.approx(mask.array.sum() * 0.8 * 0.9 * 2.0)


def test_complex_images_and_unknown_backends_are_refused(phantom: Any) -> None:
    image, mask = phantom
    with pytest.raises(ImageError, match="number type"):
        extract(image.with_array(image.array.astype(complex)), mask, {})
    with pytest.raises(Exception, match="Unknown backend"):
        extract(image, mask, {}, backend="matlab")  # type: ignore[arg-type]


def test_the_oracle_says_what_is_missing(phantom: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("radiomics")
    import scipy.special

    monkeypatch.delattr(scipy.special, "sph_harm", raising=False)
    image, mask = phantom
    with pytest.raises(MissingPackageError, match=r"SciPy below 1\.17"):
        extract(image, mask, {"imageType": {"LBP3D": {}}}, backend="pyradiomics")


@pytest.mark.data
@pytest.mark.parametrize("name", ["ptlf", "early-recurrence"])
@pytest.mark.parametrize("case", ["breast1", "brain2"])
def test_real_cases_equal_pyradiomics(data_dir: DataDir, case: str, name: str) -> None:
    pytest.importorskip("radiomics")
    pytest.importorskip("trimesh")
    folder = data_dir("radiomics/pyradiomics")
    image = Volume.from_sitk(sitk.ReadImage(str(folder / f"{case}_image.nrrd")))
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{case}_label.nrrd")))
    mask = image.with_array(label == 1)
    ours = extract(image, mask, name)
    assert ours["voi"].status == "ok"
    assert differences(ours, extract(image, mask, name, backend="pyradiomics")) == {}


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_nothing(phantom: tuple[Volume, Volume], threads: int) -> None:
    volume, mask = phantom
    vois = {"whole": mask, "part": mask.with_array(mask.array * (np.indices(mask.array.shape)[2] % 3 > 0))}
    alone, several = (extract(volume, vois, "ptlf", threads=number) for number in (1, threads))
    for name in vois:
        assert list(several[name].features.items()) == list(alone[name].features.items())
        assert several[name].reasons == alone[name].reasons
