"""Every filter on a box equals PyRadiomics' filter of the whole image, to the last bit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import spline_filter

from hepacast.radiomics import Settings
from hepacast.radiomics.filters import SourceImage, VoxelBox, filtered_images
from hepacast.radiomics.filters.spline import spline_coefficients

imageoperations = pytest.importorskip("radiomics.imageoperations")

SPACING = (0.743, 0.81, 1.6)
SHAPES = ((21, 24, 31), (20, 22, 24))
TYPES = ("int16", "uint8", "float32", "float64")


def image_of(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Noise with a constant block, in which only rounding errors are left of some filters."""
    image = np.random.default_rng(3).normal(100, 60, shape).clip(0, 250).astype(dtype)
    image[5:12, 5:12, 5:12] = 7
    return image


def boxes(shape: tuple[int, ...]) -> list[VoxelBox]:
    whole = VoxelBox.whole(shape)
    return [
        whole,
        VoxelBox((4, 5, 6), (12, 13, 15)),
        VoxelBox((0, 0, 0), (4, 3, 5)),
        VoxelBox((16, 16, 18), whole.high),
    ]


def oracle(image: np.ndarray, mask: np.ndarray, image_type: str, parameters: dict) -> dict[str, np.ndarray]:
    picture, label = sitk.GetImageFromArray(image), sitk.GetImageFromArray(mask.astype(np.uint8))
    picture.SetSpacing(SPACING)
    label.SetSpacing(SPACING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(imageoperations, f"get{image_type}Image")(picture, label, **parameters)
        return {name: sitk.GetArrayFromImage(result).copy() for result, name, _ in made}


CASES: list[tuple[str, dict[str, Any]]] = [
    ("Original", {}),
    ("Square", {}),
    ("SquareRoot", {}),
    ("Logarithm", {}),
    ("Exponential", {}),
    ("Gradient", {}),
    ("Gradient", {"gradientUseSpacing": False}),
    ("LoG", {"sigma": [1, 3.0, 5.0]}),
    ("Wavelet", {}),
    ("Wavelet", {"level": 2}),
    ("Wavelet", {"wavelet": "db3", "level": 2, "start_level": 1}),
    ("Wavelet", {"wavelet": "bior2.2", "force2D": True}),
    ("Wavelet", {"wavelet": "haar", "force2D": True, "force2Ddimension": 1}),
    ("LBP2D", {}),
    ("LBP2D", {"lbp2DRadius": 2.0, "lbp2DSamples": 9, "lbp2DMethod": "default", "force2D": True}),
    ("LBP2D", {"lbp2DMethod": "ror", "force2D": True, "force2Ddimension": 2}),
    ("LBP3D", {}),
    ("LBP3D", {"lbp3DLevels": 3, "lbp3DIcosphereRadius": 2.0}),
    ("LBP3D", {"lbp3DIcosphereSubdivision": 0}),
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("image_type", "own"), CASES, ids=[f"{name}-{own}" for name, own in CASES])
def test_box_equals_whole_image(image_type: str, own: dict[str, Any], dtype: str) -> None:
    if image_type == "LBP2D":
        pytest.importorskip("skimage")
    shape = SHAPES[len(str(own)) % 2]
    image = image_of(shape, dtype)
    mask = np.random.default_rng(5).random(shape) < 0.7
    content = {"imageType": {image_type: {k: v for k, v in own.items() if not k.startswith("force")}}}
    settings = Settings.load({**content, "setting": {k: v for k, v in own.items() if k.startswith("force")}})
    expected = oracle(image, mask, image_type, {**own})
    for box in boxes(shape):
        inside = mask[box.slices]
        images = filtered_images(
            image_type, SourceImage(image, SPACING), box, inside, settings.parameters_for(image_type)
        )
        _compare(images, expected, box, inside, image_type)


def _compare(images: Iterator, expected: dict, box: VoxelBox, inside: np.ndarray, image_type: str) -> None:
    found = {name: values.copy() for name, values in images}
    assert list(found) == list(expected)
    for name, values in found.items():
        reference = expected[name][box.slices]
        if image_type == "LBP3D":  # defined at the VOI's voxels only; kurtosis may be undefined
            np.testing.assert_allclose(values[inside], reference[inside], rtol=1e-10, atol=1e-12)
            if name != "lbp-3D-k":
                assert np.array_equal(values[inside], reference[inside])
        else:
            assert values.dtype == reference.dtype
            assert np.array_equal(values, reference, equal_nan=True), name


def test_log_of_a_crop_far_from_the_border_is_unchanged() -> None:
    image = np.random.default_rng(1).normal(0, 100, (24, 180, 180)).astype(np.int16)
    image[:, :10] += 2000  # a bright edge beyond the margin's reach would show
    box = VoxelBox((8, 150, 150), (14, 160, 160))
    settings = Settings.load({"imageType": {"LoG": {"sigma": [1.0, 2.0]}}})
    mask = np.ones(box.shape, dtype=bool)
    expected = oracle(image, np.ones(image.shape), "LoG", {"sigma": [1.0, 2.0]})
    for name, values in filtered_images("LoG", SourceImage(image, SPACING), box, mask, settings.parameters_for("LoG")):
        reference = expected[name][box.slices]
        np.testing.assert_allclose(values, reference, rtol=0, atol=1e-9 * np.abs(reference).max())


def test_log_that_does_not_fit_says_why() -> None:
    image = np.zeros((3, 20, 20), dtype=np.int16)
    settings = Settings.load({"imageType": {"LoG": {"sigma": [1.0]}}})
    box = VoxelBox.whole(image.shape)
    ((name, reason),) = filtered_images(
        "LoG", SourceImage(image, SPACING), box, np.ones(image.shape, bool), settings.parameters_for("LoG")
    )
    assert name == "log-sigma-1-0-mm-3D"
    assert "fewer than 4 voxels" in reason


def test_point_filters_scale_by_the_whole_image() -> None:
    image = np.zeros((4, 4, 4), dtype=np.int16)
    image[0, 0, 0], image[3, 3, 3] = -400, 100
    box = VoxelBox((2, 2, 2), (4, 4, 4))
    settings = Settings.load({"imageType": {"Square": {}}})
    ((_, values),) = filtered_images(
        "Square", SourceImage(image, SPACING), box, np.ones(box.shape, bool), settings.parameters
    )
    assert values[1, 1, 1] == pytest.approx(100**2 / 400)


@pytest.mark.parametrize("shape", [(20, 30, 25), (1, 40, 7), (2, 3, 150), (80, 5, 5)])
def test_splines_are_scipys_to_the_last_bit(shape: tuple[int, int, int]) -> None:
    block = np.random.default_rng(1).integers(-1000, 1000, shape).astype(np.int16)
    found = spline_coefficients(block, np.empty(shape))
    np.testing.assert_array_equal(found, spline_filter(block, order=3, output=np.float64, mode="mirror"))
