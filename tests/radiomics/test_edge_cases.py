"""VOIs and images at the edge of what can be measured: the right value, or NaN with a reason; never a crash."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import ExtractionResult, Settings, extract
from hepacast.radiomics.compare import relative_difference

GRID = Geometry((26, 24, 12), (0.9, 1.1, 2.0))
SHAPE = GRID.shape


def noise(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(11).normal(90, 40, SHAPE).astype(dtype)


def block(k: slice, j: slice, i: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[k, j, i] = True
    return mask


BALL = (np.indices(SHAPE)[0] - 6) ** 2 * 4 + (np.indices(SHAPE)[1] - 12) ** 2 + (np.indices(SHAPE)[2] - 13) ** 2 < 70

FAR_BLOCK = block(slice(8, 11), slice(15, 20), slice(18, 24))
ROW = block(slice(5, 6), slice(4, 5), slice(3, 9))

#: Name -> image, mask.
CASES: dict[str, tuple[Callable[[], np.ndarray], np.ndarray]] = {
    "one slice": (noise, BALL & block(slice(6, 7), slice(None), slice(None))),
    "one row and one voxel beside it": (noise, ROW | block(slice(5, 6), slice(5, 6), slice(4, 5))),
    "touching three borders": (noise, block(slice(0, 4), slice(0, 6), slice(20, 26))),
    "the whole image": (noise, np.ones(SHAPE, dtype=bool)),
    "two parts": (noise, block(slice(1, 4), slice(2, 7), slice(2, 7)) | FAR_BLOCK),
    "a hole": (noise, BALL & ~block(slice(5, 8), slice(10, 14), slice(11, 15))),
    "constant": (lambda: np.full(SHAPE, 37, dtype=np.int16), BALL),
    "all zero": (lambda: np.zeros(SHAPE, dtype=np.int16), BALL),
    "constant, in doubles": (lambda: np.full(SHAPE, 37.3), BALL),
    "constant in the VOI only": (lambda: np.where(BALL, 50, noise()).astype(np.int16), BALL),
    "negative": (lambda: noise() - np.int16(1000), BALL),
    "8-bit": (lambda: noise().clip(0, 255).astype(np.uint8), BALL),
    "single precision": (lambda: noise("float32"), BALL),
    "checkerboard": (lambda: (np.indices(SHAPE).sum(axis=0) % 2 * 100).astype(np.int16), BALL),
    "huge values": (lambda: noise("float64") * 1e7, BALL),
    "tiny values": (lambda: noise("float64") * 1e-7, BALL),
}  # fmt: skip


def measured(name: str, settings: Settings, backend: str = "hepacast") -> ExtractionResult:
    image, mask = CASES[name]
    volume = Volume(image(), GRID)
    return extract(volume, volume.with_array(mask), settings, backend=backend)  # type: ignore[arg-type]


def settings_for(name: str) -> Settings:
    settings = Settings.load("ptlf")
    return settings.with_parameters(binWidth=2.5e8) if name == "huge values" else settings


@pytest.mark.parametrize("name", CASES)
def test_every_feature_has_a_value_or_a_reason(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = measured(name, settings_for(name))["voi"]
    assert list(result.features) == Settings.load("ptlf").feature_names()
    for feature, value in result.features.items():
        assert np.isfinite(value) != (feature in result.reasons), feature
    assert result.status in ("ok", "partial")
    assert np.isfinite(result.features["original_firstorder_Mean"])


def is_flat(features: dict[str, float], name: str) -> bool:
    """Is the image constant up to rounding, so that PyRadiomics' Skewness and Kurtosis are those of rounding errors?"""
    image = name.split("_")[0]
    spread, mean = (features[f"{image}_firstorder_{key}"] for key in ("Range", "Mean"))
    return spread <= 1e-12 * max(1.0, abs(mean))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("huge values", "tiny values")])
def test_values_equal_pyradiomics_where_it_has_any(name: str) -> None:
    pytest.importorskip("radiomics")
    pytest.importorskip("trimesh")
    settings = settings_for(name)
    ours, oracle = measured(name, settings)["voi"], measured(name, settings, "pyradiomics")["voi"]
    if oracle.status == "failed":
        pytest.skip(f"PyRadiomics gives up: {oracle.reason}")
    names = [
        key
        for key, value in oracle.features.items()
        if np.isfinite(value) and not (key.endswith(("_Skewness", "_Kurtosis")) and is_flat(oracle.features, key))
    ]
    a = np.array([ours.features[key] for key in names])
    b = np.array([oracle.features[key] for key in names])
    far = relative_difference(a, b) > 1e-6
    assert {key: (x, y) for key, x, y, bad in zip(names, a, b, far) if bad} == {}
