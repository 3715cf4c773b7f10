"""Laws that features must obey, whatever the image: shifts, turns, intensities, other VOIs."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepacast.imaging import Geometry, Volume
from hepacast.radiomics import Settings, extract
from hepacast.radiomics.names import split_name

SHAPE = (14, 16, 18)
SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ISOTROPIC = Geometry((18, 16, 14), (1.5, 1.5, 1.5))


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise around a blob, and the blob with a ragged border away from the image's border."""
    generator = np.random.default_rng(seed)
    k, j, i = np.indices(SHAPE)
    distance = np.sqrt((k - 7) ** 2 + (j - 8) ** 2 + (i - 9) ** 2)
    image = generator.normal(100, 35, SHAPE) + 6 * (8 - distance)
    mask = distance < generator.uniform(3.0, 4.5) + generator.normal(0, 0.4, SHAPE)
    return image.astype(np.int16), mask


def measure(image: np.ndarray, mask: np.ndarray, content: object, spacing: float = 1.5) -> dict[str, float]:
    grid = Geometry((image.shape[2], image.shape[1], image.shape[0]), (spacing,) * 3)
    volume = Volume(np.ascontiguousarray(image), grid)
    return extract(volume, volume.with_array(np.ascontiguousarray(mask)), content)["voi"].features  # type: ignore[arg-type]


def same(first: dict[str, float], second: dict[str, float], names: list[str], rtol: float = 1e-9) -> None:
    a, b = (np.array([values[name] for name in names]) for values in (first, second))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-10)


TEXTURES = ("glcm", "gldm", "glrlm", "glszm", "ngtdm")


@FEW
@given(SEEDS, st.tuples(*[st.integers(0, 5)] * 3))
def test_a_shift_of_image_and_voi_changes_nothing(seed: int, move: tuple[int, int, int]) -> None:
    image, mask = picture(seed)
    content = {"imageType": {"Original": {}, "Wavelet": {}, "Gradient": {}, "Square": {}}, "setting": {"binWidth": 10}}
    # The surroundings go along, so that filters read the same neighbors.
    wide = np.pad(image, 10, mode="reflect")
    inside = np.pad(mask, 10)
    moved = tuple(slice(low, low + size + 12) for low, size in zip(move, SHAPE))
    still = tuple(slice(3, 3 + size + 12) for size in SHAPE)
    top = np.abs(wide).max()
    first, second = wide[still].copy(), wide[moved].copy()
    first[0, 0, 0] = second[0, 0, 0] = top  # point filters scale by the largest value
    a, b = measure(first, inside[still], content), measure(second, inside[moved], content)
    same(a, b, list(a))


@FEW
@given(SEEDS, st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_turned_images_have_the_same_features(seed: int, order: list[int], mirrored: tuple[bool, ...]) -> None:
    image, mask = picture(seed)
    content = {"imageType": {"Original": {}, "Gradient": {}, "Exponential": {}}, "setting": {"binWidth": 10}}
    turn = tuple(slice(None, None, -1 if flip else 1) for flip in mirrored)
    a = measure(image, mask, content)
    b = measure(image.transpose(order)[turn], mask.transpose(order)[turn], content)
    # PyRadiomics' marching cubes treat ambiguous corners by direction; 2-D diameters belong to planes.
    directed = ("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity", "Maximum2DDiameter")
    named = [name for name in a if not any(word in name for word in directed)]
    same(a, b, named, rtol=1e-6)
    same(a, b, [name for name in a if name.endswith(("MeshVolume", "SurfaceArea"))], rtol=0.05)


@FEW
@given(SEEDS, st.integers(-8, 8))
def test_a_shift_by_whole_bins_leaves_textures(seed: int, bins: int) -> None:
    image, mask = picture(seed)
    content = {"imageType": {"Original": {}}, "setting": {"binWidth": 10}}
    a, b = measure(image, mask, content), measure(image + np.int16(10 * bins), mask, content)
    same(a, b, [name for name in a if (split_name(name) or ("", "", ""))[1] in TEXTURES])
    assert np.isclose(b["original_firstorder_Mean"], a["original_firstorder_Mean"] + 10 * bins)
    for name in ("Variance", "Skewness", "Kurtosis", "Entropy", "InterquartileRange"):
        assert np.isclose(a[f"original_firstorder_{name}"], b[f"original_firstorder_{name}"])


@FEW
@given(SEEDS, st.sampled_from([0.5, 2.0, 4.0]))
def test_intensities_and_bin_width_scale_together(seed: int, factor: float) -> None:
    image, mask = picture(seed)
    kinds = {"Original": {}, "Wavelet": {}, "LoG": {"sigma": [2.0]}, "SquareRoot": {}}
    a = measure(image.astype(np.float64), mask, {"imageType": kinds, "setting": {"binWidth": 8.0}})
    b = measure(image * factor, mask, {"imageType": kinds, "setting": {"binWidth": 8.0 * factor}})
    same(a, b, [name for name in a if (split_name(name) or ("", "", ""))[1] in TEXTURES], rtol=1e-7)
    assert np.isclose(b["original_firstorder_Mean"], factor * a["original_firstorder_Mean"])


@FEW
@given(SEEDS, st.sampled_from([0.5, 3.0]))
def test_shape_follows_the_voxel_size(seed: int, factor: float) -> None:
    image, mask = picture(seed)
    content = {"featureClass": {"shape": None}}
    a, b = measure(image, mask, content), measure(image, mask, content, spacing=1.5 * factor)
    powers = {"MeshVolume": 3, "VoxelVolume": 3, "SurfaceArea": 2, "SurfaceVolumeRatio": -1}
    for name, value in a.items():
        feature = name.rsplit("_", 1)[1]
        unitless = feature in ("Sphericity", "Elongation", "Flatness")
        assert np.isclose(b[name], value * factor ** (0 if unitless else powers.get(feature, 1)), rtol=1e-9), name


@FEW
@given(SEEDS)
def test_voxels_outside_the_voi_do_not_reach_the_original_image(seed: int) -> None:
    image, mask = picture(seed)
    other = np.where(mask, image, np.random.default_rng(seed).integers(-500, 900, SHAPE)).astype(np.int16)
    content = {"imageType": {"Original": {}}}
    a, b = measure(image, mask, content), measure(other, mask, content)
    assert a == b


def test_other_vois_of_the_call_change_nothing() -> None:
    image, mask = picture(5)
    volume = Volume(image, ISOTROPIC)
    far = np.zeros(SHAPE, dtype=bool)
    far[0:3, 0:3, 0:4] = True
    chosen = Settings.load("ptlf")
    alone = extract(volume, {"a": volume.with_array(mask)}, chosen)["a"].features
    both = extract(volume, {"b": volume.with_array(far), "a": volume.with_array(mask)}, chosen)
    assert list(both.vois) == ["b", "a"]
    assert both["a"].features == alone
