from __future__ import annotations

import numpy as np
import pytest

from hepacast.deep import CropSpec, DeepSpec, channel_names, crop_geometry, crop_mask, crop_patient, uncrop
from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume

GRID = Geometry((40, 36, 20), (2.0, 2.0, 5.0), (-30.0, 12.0, 7.0))


def _ball(center: tuple[int, int, int] = (10, 18, 20), radius_mm: float = 14.0) -> Volume:
    k, j, i = np.indices(GRID.shape)
    distance = ((k - center[0]) * 5.0) ** 2 + ((j - center[1]) * 2.0) ** 2 + ((i - center[2]) * 2.0) ** 2
    return Volume(distance <= radius_mm**2, GRID)


def _image(value: float = 60.0) -> Volume:
    ramp = np.arange(GRID.size[0], dtype=np.float32)[None, None, :] + np.zeros(GRID.shape, dtype=np.float32)
    return Volume(ramp + np.float32(value), GRID)


def test_a_fixed_box_keeps_millimeters_and_is_centered() -> None:
    spec = CropSpec(size=(16, 16, 16), size_mm=(48.0, 32.0, 32.0))
    ball = _ball()
    grid = crop_geometry(ball, spec)
    assert grid.spacing == (2.0, 2.0, 3.0)
    mask = crop_mask(ball, grid)
    volume = mask.sum() * grid.voxel_volume_mm3
    assert volume == pytest.approx(ball.array.sum() * GRID.voxel_volume_mm3, rel=0.1)
    middle = np.argwhere(mask).mean(axis=0)
    np.testing.assert_allclose(middle, [7.5, 7.5, 7.5], atol=0.6)


def test_without_a_box_the_voi_with_its_margin_fills_the_crop() -> None:
    spec = CropSpec(size=(16, 16, 16), size_mm=None, margin_mm=4.0)
    ball = _ball()
    grid = crop_geometry(ball, spec)
    lengths = np.array(grid.spacing) * 16
    spans = (np.ptp(np.argwhere(ball.array), axis=0) + 1)[::-1] * np.array(GRID.spacing)
    np.testing.assert_allclose(lengths, spans + 8.0)


def test_a_turned_image_gives_the_same_crop() -> None:
    turned = Geometry(GRID.size, GRID.spacing, GRID.origin, ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    spec = CropSpec(size=(16, 16, 16), size_mm=(48.0, 32.0, 32.0))
    image, ball = _image(), _ball()
    first = crop_patient({"a": image}, {"tumor": ball}, spec)
    second = crop_patient(
        {"a": Volume(image.array, turned)}, {"tumor": Volume(ball.array, turned)}, DeepSpec(crop=spec)
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_the_liver_is_the_scale_of_every_patient() -> None:
    spec = CropSpec(size=(8, 8, 8), size_mm=(24.0, 24.0, 24.0), normalize={"t1": "reference-tissue"})
    generator = np.random.default_rng(2)
    liver, tumor = _ball(radius_mm=30.0), _ball(radius_mm=14.0)
    array = generator.normal(0.0, 1.0, GRID.shape).astype(np.float32)
    array[tumor.array] += 4.0
    masks = {"parenchyma": liver.with_array(liver.array & ~tumor.array), "tumor": tumor}
    crops = [
        crop_patient({"t1": Volume(gain * array + offset, GRID)}, masks, spec, modalities={"t1": "MR"})
        for gain, offset in ((1.0, 0.0), (35.0, 800.0))
    ]
    # Gain and offset of a scanner are gone, and a tumor 4 SDs brighter than the liver is that in every patient.
    np.testing.assert_allclose(crops[0], crops[1], atol=1e-3)
    inside = crop_mask(tumor, crop_geometry(tumor, spec))
    assert np.median(crops[0][0][inside]) == pytest.approx(4.0, abs=0.3)
    # The tumor is taken out of a mask of the whole liver, and nothing is guessed without one.
    whole = crop_patient({"t1": Volume(array, GRID)}, {"liver": liver, "tumor": tumor}, spec)
    np.testing.assert_array_equal(whole, crops[0])
    with pytest.raises(ImageError, match="needs the liver"):
        crop_patient({"t1": Volume(array, GRID)}, {"tumor": tumor}, spec)
    with pytest.raises(ImageError, match="one intensity only"):
        flat = array.copy()
        flat[masks["parenchyma"].array] = 7.0
        flat[20 // 2, 18, 0] = 9.0
        masks["parenchyma"].array[20 // 2, 18, 0] = True
        crop_patient({"t1": Volume(flat, GRID)}, masks, spec)


def test_what_lies_far_away_changes_nothing() -> None:
    spec = CropSpec(size=(8, 8, 8), size_mm=(24.0, 24.0, 24.0), window=(70.0, 200.0))
    image, ball = _image(), _ball()
    far = image.array.copy()
    far[:, :3] = 300.0
    far[:, -3:] = 300.0
    first, second = (crop_patient({"a": image.with_array(item)}, {"tumor": ball}, spec) for item in (image.array, far))
    np.testing.assert_array_equal(first, second)


def test_channels_windows_and_scores() -> None:
    spec = CropSpec(size=(8, 8, 8), size_mm=(30.0, 30.0, 30.0), window=(50.0, 100.0), normalize={"c": "percentile"})
    images = {"a": _image(-500.0), "b": _image(), "c": _image(1000.0)}
    crop = crop_patient(images, {"tumor": _ball()}, spec, modalities={"b": "MR"})
    assert crop.shape == (3, 8, 8, 8)
    assert crop.dtype == np.float32
    assert (crop[0] == -1.0).all()
    assert abs(crop[1].mean()) < 1e-4
    assert crop[1].std() == pytest.approx(1.0, abs=1e-3)
    assert crop[2].min() == 0.0
    assert crop[2].max() == 1.0


@pytest.mark.parametrize(("policy", "expected"), [("zeros", 0.0), ("mean", 1.0)])
def test_a_missing_phase_follows_the_policy(policy: str, expected: float) -> None:
    spec = CropSpec(size=(8, 8, 8), size_mm=(20.0, 20.0, 20.0), channels=["a", "b"], window=(0.0, 2.0), missing=policy)
    crop = crop_patient({"a": _image(100.0)}, {"tumor": _ball()}, spec)
    assert (crop[1] == expected).all()


def test_flags_say_what_is_there_and_an_error_names_the_patient() -> None:
    spec = CropSpec(size=(8, 8, 8), size_mm=(20.0, 20.0, 20.0), channels=["a", "b"], missing="flag")
    crop = crop_patient({"b": _image()}, {"tumor": _ball()}, spec)
    assert crop.shape[0] == len(channel_names(spec, ["a", "b"])) == 4
    assert (crop[0] == 0).all()
    assert (crop[2] == 0).all()
    assert (crop[3] == 1).all()
    strict = CropSpec(channels=["a", "b"])
    with pytest.raises(ImageError, match="'a' is missing"):
        crop_patient({"b": _image()}, {"tumor": _ball()}, strict, patient="P7")
    with pytest.raises(ImageError, match="no center"):
        crop_patient({"a": _image()}, {"tumor": Volume(np.zeros(GRID.shape, dtype=bool), GRID)}, CropSpec())
    with pytest.raises(ImageError, match="no mask of"):
        crop_patient({"a": _image()}, {"liver": _ball()}, CropSpec())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_number_enters_a_network_and_none_far_away_matters(value: float) -> None:
    spec = CropSpec(size=(8, 8, 8), size_mm=(24.0, 24.0, 24.0))
    image, ball = _image(), _ball()
    whole = crop_patient({"a": image}, {"tumor": ball}, spec)
    far, near = image.array.copy(), image.array.copy()
    far[0, 0, 0] = near[10, 18, 20] = value
    np.testing.assert_array_equal(crop_patient({"a": image.with_array(far)}, {"tumor": ball}, spec), whole)
    with pytest.raises(ImageError, match="no numbers") as told:
        crop_patient({"a": image.with_array(near)}, {"tumor": ball}, spec)
    assert "of the crop of 'a'" in str(told.value)
    # Beyond the image the darkest voxel stands in, and no NaN.
    edge = _ball(center=(1, 2, 2), radius_mm=4.0)
    assert np.isfinite(crop_patient({"a": image.with_array(near)}, {"tumor": edge}, spec)).all()


def test_a_map_comes_back_to_its_place() -> None:
    spec = CropSpec(size=(24, 24, 24), size_mm=(60.0, 48.0, 48.0))
    ball = _ball()
    grid = crop_geometry(ball, spec)
    back = uncrop(crop_mask(ball, grid).astype(np.float32), grid, GRID) >= 0.5
    dice = 2 * (back & ball.array).sum() / (back.sum() + ball.array.sum())
    assert dice > 0.9


@pytest.mark.parametrize("rules", [{"size": (4, 16, 16)}, {"size_mm": (0.0, 1.0, 1.0)}, {"window": (50.0, 0.0)}])
def test_impossible_crops_are_refused(rules: dict) -> None:
    with pytest.raises(ValueError):
        CropSpec(**rules)
