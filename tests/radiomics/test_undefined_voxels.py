"""Voxels without a number: what lies outside the VOI spoils only what reads it, and the reason says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import extract

GRID = Geometry((56, 60, 40), (1.0, 1.0, 1.5))
RNG = np.random.default_rng(8)
SOUND = RNG.normal(50, 15, GRID.shape).astype(np.float32)
VOI = np.zeros(GRID.shape, bool)
VOI[16:26, 20:32, 20:31] = True
POINTS: dict[str, Any] = {"Original": {}, "Square": {}, "SquareRoot": {}, "Logarithm": {}, "Exponential": {}}


def volume_with(*places: Any, value: float = np.nan) -> Volume:
    array = SOUND.copy()
    for place in places:
        array[place] = value
    return Volume(array, GRID)


def features(volume: Volume, **content: Any) -> Any:
    settings = {"featureClass": {"firstorder": ["Mean"], "glcm": ["Idn"], "shape": ["VoxelVolume"]}, **content}
    return extract(volume, volume.with_array(VOI), settings)["voi"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_reads_the_voi_alone_is_not_spoilt(value: float) -> None:
    largest = np.unravel_index(np.abs(SOUND).argmax(), SOUND.shape)
    assert not VOI[largest]
    found = features(volume_with(np.s_[:, :3], value=value), imageType=POINTS)
    expected = features(volume_with(np.s_[:, :3], value=0.0), imageType=POINTS)
    assert found.status == "ok"
    assert found.features == expected.features


def test_filters_are_spoilt_only_within_their_reach() -> None:
    kinds = {"Wavelet": {}, "Gradient": {}, "LBP3D": {}, "LoG": {"sigma": [1.0]}}
    # Behind the margins of wavelet and gradient; LoG (20 sigma) and LBP 3D (a spline) read on to there.
    beside = volume_with(np.s_[:, 52:])
    found = features(beside, imageType=kinds)
    expected = features(Volume(SOUND, GRID), imageType=kinds)
    for name, value in expected.features.items():
        if name.startswith(("lbp", "log")):
            assert np.isnan(found.features[name])
            assert "outside the VOI" in found.reasons[name] and "put a number in their place" in found.reasons[name]
            assert name.rsplit("_", 2)[0] in found.reasons[name]
        else:
            assert found.features[name] == value


def test_patterns_beside_undefined_voxels_are_not_numbers() -> None:
    touching = volume_with(np.s_[:, 33])
    kinds = {"LBP2D": {}, "Original": {}, "Gradient": {}}
    content: dict[str, Any] = {"imageType": kinds, "setting": {"force2D": True}}
    found = features(touching, **content)
    assert {name.split("_")[0] for name in found.reasons} == {"lbp-2D"}
    touching = volume_with(np.s_[:, 32])
    assert {name.split("_")[0] for name in features(touching, **content).reasons} == {"lbp-2D", "gradient"}


def test_the_reason_names_normalization_and_resampling() -> None:
    beside = volume_with(np.s_[0])
    found = features(beside, setting={"normalize": True})
    assert "normalize" in found.reasons["original_firstorder_Mean"]
    assert found.features["original_shape_VoxelVolume"] == 1.5 * VOI.sum()
    found = features(beside, setting={"resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkBSpline"})
    assert "resampling" in found.reasons["original_firstorder_Mean"]


@pytest.mark.parametrize("content", [{}, {"setting": {"resampledPixelSpacing": [2, 2, 2]}}])
def test_undefined_voxels_of_the_voi_are_counted(content: dict[str, Any]) -> None:
    found = features(volume_with(np.s_[20, 25, 22:25]), **content)
    assert "of the VOI have no finite value" in found.reasons["original_firstorder_Mean"]


def test_two_vois_do_not_spoil_each_other() -> None:
    other = np.zeros(GRID.shape, bool)
    other[16:26, 36:40, 20:31] = True
    volume = volume_with(np.s_[:, 42])
    settings = {"imageType": {"Wavelet": {}}, "featureClass": {"firstorder": ["Mean"]}}
    both = extract(volume, {"voi": volume.with_array(VOI), "other": volume.with_array(other)}, settings)
    assert both["voi"].features == features(Volume(SOUND, GRID), **settings).features
    assert both["other"].status == "failed"


def test_ibsi_does_not_make_levels_of_nothing() -> None:
    settings = {"mode": "ibsi", "setting": {"binWidth": 25}}
    inside = volume_with(np.s_[20, 25, 22:25])
    assert "3 of 1320 voxels" in str(extract(inside, inside.with_array(VOI), settings)["voi"].reason)
    resampled = {"mode": "ibsi", "setting": {"resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkBSpline"}}
    beside = volume_with(np.s_[0])
    assert "outside the VOI" in str(extract(beside, beside.with_array(VOI), resampled)["voi"].reason)


@pytest.mark.parametrize("mode", [{}, {"mode": "ibsi"}])
def test_a_voi_lost_by_resampling_is_said_to_be(mode: dict[str, str]) -> None:
    tiny = np.zeros(GRID.shape, bool)
    tiny[20, 25:27, 22:24] = True
    content = {"setting": {"resampledPixelSpacing": [4, 4, 4], "interpolator": "sitkBSpline"}, **mode}
    volume = Volume(SOUND, GRID)
    reason = str(extract(volume, volume.with_array(tiny), content)["voi"].reason)
    assert "4 x 4 x 4 mm" in reason and "4 voxels" in reason and "resampledPixelSpacing" in reason


def test_a_label_that_does_not_occur_is_named() -> None:
    volume = Volume(SOUND, GRID)
    mask = volume.with_array(VOI.astype(np.uint8) * 3)
    for backend in ("hepacast", "pyradiomics"):
        if backend == "pyradiomics":
            pytest.importorskip("radiomics")
        found = extract(volume, mask, {"setting": {"label": 2}}, backend=backend)["voi"]  # type: ignore[arg-type]
        assert found.status == "failed"
        assert found.reason == "no voxel has the label 2; the mask holds 3"
