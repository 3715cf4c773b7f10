"""Every feature equals PyRadiomics', for random volumes and every setting that changes a feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import HepacastError, ImageError
from hepacast.radiomics.core import FeatureSettings, FeatureWarnings, Voi, image_features, shape_features
from hepacast.radiomics.features import glcm as glcm_module
from hepacast.radiomics.features.registry import FEATURES, OPTIONAL, REMOVED

TEXTURE = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")

#: Where a matrix is empty PyRadiomics still returns these numbers for it; here there is no value.
OF_AN_EMPTY_MATRIX = {"glcm_MCC", "glcm_InverseVariance", "glrlm_RunEntropy", "glrlm_RunVariance"}

#: Roots of a difference that can be 0: a rounding error of 1e-16 is 1e-8 in the value.
ROUNDING = {"glcm_Imc2": 1e-7, "glcm_MCC": 1e-7}

IMAGES = {
    "normal": lambda rng, shape: rng.normal(40, 60, shape),
    "integers": lambda rng, shape: rng.integers(-200, 200, shape).astype(np.int16),
    "float32": lambda rng, shape: rng.normal(-3, 60, shape).astype(np.float32),
    "constant": lambda rng, shape: np.full(shape, 37.25),
    "few": lambda rng, shape: rng.choice([0.0, 1.0, 50.0, 400.0], shape),
    "smooth": lambda rng, shape: np.indices(shape).sum(axis=0) * 7.0,
}


@st.composite
def setting_choices(draw: st.DrawFn) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if draw(st.booleans()):
        chosen["bin_width"] = draw(st.sampled_from([1.0, 3.0, 25.0, 0.7, 200.0]))
    else:
        chosen["bin_count"] = draw(st.integers(1, 40))
    options = {
        "distances": st.sampled_from([(2,), (1, 2), (1, 3)]),
        "weighting_norm": st.sampled_from(["manhattan", "euclidean", "infinity", "no_weighting"]),
        "symmetrical_glcm": st.just(False),
        "gldm_a": st.integers(1, 5),
        "voxel_array_shift": st.just(2000.0),
    }
    for name, strategy in options.items():
        if draw(st.booleans()):
            chosen[name] = draw(strategy)
    if draw(st.booleans()):
        chosen.update(force2d=True, force2d_dimension=draw(st.integers(0, 2)))
    return chosen


def assert_equal(
    found: dict[str, float], expected: dict[str, float], reasons: FeatureWarnings, relative: float = 1e-9
) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        if np.isnan(found[name]):
            assert reasons.reason(name), name
            assert np.isnan(value) or name in OF_AN_EMPTY_MATRIX, (name, value, reasons.reason(name))
        elif name == "glcm_Correlation" and found[name] == 1.0 and abs(value) < 1e-6:
            pass  # one level on one side of an asymmetrical matrix: PyRadiomics' 1, or 0 / (rounding error) instead
        else:
            absolute = ROUNDING.get(name, 1e-9)
            if name == "glcm_ClusterShade":
                # Large third powers that cancel: 0 is right, and a sum in another order is a few roundings of them off.
                absolute = max(absolute, 1e-14 * expected["glcm_ClusterProminence"] ** 0.75)
            assert found[name] == pytest.approx(value, rel=relative, abs=absolute), name


@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(IMAGES)),
    st.sampled_from([(1, 4, 5), (4, 1, 3), (3, 4, 5), (6, 5, 7), (2, 2, 2), (1, 1, 6)]),
    st.sampled_from([0.15, 0.6, 1.0]),
    setting_choices(),
)
@settings(max_examples=120, deadline=None)
def test_all_classes_equal_the_oracle(
    oracle: Any, seed: int, kind: str, shape: tuple[int, int, int], filling: float, chosen: dict[str, Any]
) -> None:
    rng = np.random.default_rng(seed)
    image = IMAGES[kind](rng, shape)
    mask = rng.random(shape) < filling
    if mask.sum() < 2:
        return
    spacing = tuple(rng.uniform(0.5, 3, 3))
    reasons = FeatureWarnings()
    found = image_features(image, mask, spacing, FeatureSettings(**chosen), dict.fromkeys(TEXTURE), reasons)
    box = oracle.crop(mask)
    for name in TEXTURE:
        own = {key: value for key, value in found.items() if key.startswith(name + "_")}
        try:
            expected = oracle.features(name, image[box], mask[box], spacing, chosen)
        except RuntimeError:  # "Error getting angle count": the VOI is narrower than every distance
            assert np.isnan(own.get("glcm_Idn", np.nan))
            continue
        assert_equal(own, expected, reasons)


def test_many_levels_equal_the_oracle(oracle: Any) -> None:
    """More than 255 levels: two bytes a voxel, codes instead of levels."""
    rng = np.random.default_rng(2)
    image = np.exp(rng.normal(3, 1, (7, 8, 9)))
    mask = rng.random(image.shape) < 0.9
    for chosen in ({"bin_width": 1.0}, {"bin_width": 1.0, "distances": (1, 2), "gldm_a": 3}, {"bin_count": 500}):
        reasons = FeatureWarnings()
        found = image_features(image, mask, (1, 1, 1), FeatureSettings(**chosen), dict.fromkeys(TEXTURE), reasons)
        expected: dict[str, float] = {}
        for name in TEXTURE:
            expected.update(oracle.features(name, image, mask, (1, 1, 1), chosen))
        assert_equal(found, expected, reasons)


def test_maximal_correlation_of_many_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 64 levels the two largest eigenvalues are sought; the result is that of all eigenvalues."""
    rng = np.random.default_rng(4)
    image = np.cumsum(rng.normal(0, 30, (12, 12, 12)), axis=2)
    mask = np.ones(image.shape, dtype=bool)

    def correlation() -> float:
        return image_features(image, mask, (1, 1, 1), FeatureSettings(bin_width=5), {"glcm": ["MCC"]})["glcm_MCC"]

    found = correlation()
    monkeypatch.setattr(glcm_module, "_BITWISE_LEVELS", 512)
    assert 0.5 < found < 1
    assert found == pytest.approx(correlation(), rel=1e-11)
    monkeypatch.setattr(glcm_module, "_BITWISE_LEVELS", 64)
    monkeypatch.setattr(glcm_module, "second_largest", lambda *_: None)  # as if the search had failed
    assert found == pytest.approx(correlation(), rel=1e-11)
    monkeypatch.setattr(glcm_module, "_ALL_LEVELS", 64)
    assert np.isnan(correlation())


def test_optional_features(oracle: Any) -> None:
    rng = np.random.default_rng(1)
    image, mask = rng.normal(size=(5, 6, 7)), rng.random((5, 6, 7)) < 0.8
    found = image_features(image, mask, (2, 1, 1), FeatureSettings(), {"firstorder": ["StandardDeviation", "Mean"]})
    expected = oracle.features("firstorder", image, mask, (2, 1, 1), {}, ["StandardDeviation", "Mean"])
    assert_equal(found, expected, FeatureWarnings())


def test_names_are_pyradiomics() -> None:
    radiomics = pytest.importorskip("radiomics")
    for name, kind in radiomics.getFeatureClasses().items():
        known = kind.getFeatureNames()
        assert FEATURES[name] == tuple(feature for feature, deprecated in known.items() if not deprecated)
        deprecated = {feature for feature, old in known.items() if old}
        assert deprecated == {*OPTIONAL.get(name, ()), *REMOVED.get(name, {})}


def test_unknown_names_are_refused() -> None:
    image, mask = np.zeros((2, 2, 2)), np.ones((2, 2, 2), dtype=bool)
    with pytest.raises(HepacastError, match="no feature class 'texture'"):
        image_features(image, mask, (1, 1, 1), FeatureSettings(), {"texture": None})
    with pytest.raises(HepacastError, match="no feature 'Men'"):
        image_features(image, mask, (1, 1, 1), FeatureSettings(), {"firstorder": ["Men"]})
    with pytest.raises(HepacastError, match="glcm_DifferenceAverage"):
        image_features(image, mask, (1, 1, 1), FeatureSettings(), {"glcm": ["Dissimilarity"]})
    with pytest.raises(ImageError, match="grid"):
        image_features(image, mask[:1], (1, 1, 1), FeatureSettings(), {"glcm": None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"bin_width": 0},
        {"bin_count": 0},
        {"distances": ()},
        {"distances": (0,)},
        {"force2d_dimension": 3},
        {"weighting_norm": "gaussian"},
        {"gldm_a": -1},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HepacastError, match="cannot be used"):
        FeatureSettings(**wrong)


class TestDegenerate:
    """Nothing crashes, and what has no value is NaN with a reason, never 0."""

    everything = dict.fromkeys((*TEXTURE, "shape", "shape2D"))

    def both(self, image: npt.NDArray[Any], mask: npt.NDArray[np.bool_], **chosen: Any) -> tuple[dict[str, float], Any]:
        reasons = FeatureWarnings()
        own = FeatureSettings(**chosen)
        found = image_features(image, mask, (2.0, 1.0, 1.0), own, self.everything, reasons)
        found |= shape_features(mask, (2.0, 1.0, 1.0), self.everything, own, reasons)
        assert {name for name, value in found.items() if np.isnan(value)} == set(reasons.as_dict())
        return found, reasons

    def test_empty(self) -> None:
        found, reasons = self.both(np.zeros((3, 3, 3)), np.zeros((3, 3, 3), dtype=bool))
        assert all(np.isnan(value) for value in found.values())
        assert set(reasons.as_dict().values()) == {"the VOI has no voxels"}

    def test_one_voxel(self) -> None:
        mask = np.zeros((3, 3, 3), dtype=bool)
        mask[2, 0, 1] = True
        found, reasons = self.both(np.full((3, 3, 3), 7.5), mask)
        assert found["firstorder_Mean"] == found["firstorder_Median"] == found["firstorder_90Percentile"] == 7.5
        assert found["shape_VoxelVolume"] == 2.0
        assert found["shape_MeshVolume"] == pytest.approx(2 / 6)  # an octahedron with half axes of half a voxel
        assert found["glszm_ZonePercentage"] == 1.0
        assert found["gldm_SmallDependenceEmphasis"] == 1.0
        assert "neighbour" in reasons.reason("glcm_Contrast")
        assert "line" in reasons.reason("glrlm_RunEntropy")
        assert "single voxel" in reasons.reason("shape_Elongation")

    def test_nan_and_infinity_inside(self) -> None:
        image, mask = np.ones((3, 3, 3)), np.ones((3, 3, 3), dtype=bool)
        image[0, 0, 0], image[1, 1, 1] = np.nan, np.inf
        found, reasons = self.both(image, mask)
        assert reasons.reason("firstorder_Mean") == "2 of 27 voxels of the VOI have no finite value"
        assert np.isnan(found["ngtdm_Contrast"])
        assert found["shape_VoxelVolume"] == 54.0

    def test_nan_outside_is_of_no_account(self) -> None:
        image, mask = np.random.default_rng(0).normal(0, 50, (4, 5, 6)), np.zeros((4, 5, 6), dtype=bool)
        mask[1:3, 1:4, 2:5] = True
        want, _ = self.both(image, mask)
        image[~mask] = np.nan
        found, _ = self.both(image, mask)
        np.testing.assert_equal(found, want)

    def test_constant(self) -> None:
        found, _ = self.both(np.full((3, 4, 5), 0.1), np.ones((3, 4, 5), dtype=bool))
        assert found["firstorder_Variance"] == found["firstorder_Skewness"] == 0.0
        assert found["glcm_MCC"] == found["glcm_Correlation"] == 1.0
        assert found["ngtdm_Coarseness"] == 1e6
        assert found["glszm_LargeAreaEmphasis"] == 3600.0

    def test_too_many_bins_are_a_reason_not_a_full_memory(self) -> None:
        image = np.array([[[0.0, 1.0, 1e12]]])
        found, reasons = self.both(image, np.ones((1, 1, 3), dtype=bool), bin_width=0.001)
        assert found["firstorder_Maximum"] == 1e12
        assert "bins" in reasons.reason("firstorder_Entropy")
        assert "bins" in reasons.reason("glcm_Idn")

    def test_too_many_levels_for_texture(self) -> None:
        image = np.arange(27_000.0).reshape(30, 30, 30)
        found, reasons = self.both(image, np.ones((30, 30, 30), dtype=bool), bin_width=1)
        assert found["firstorder_Entropy"] == pytest.approx(np.log2(27_000))
        assert "wider bins" in reasons.reason("glszm_ZoneEntropy")

    def test_two_far_voxels(self) -> None:
        mask = np.zeros((3, 9, 9), dtype=bool)
        mask[0, 0, 0] = mask[2, 8, 8] = True
        found, reasons = self.both(np.arange(243.0).reshape(3, 9, 9), mask)
        assert "neighbour" in reasons.reason("glcm_Contrast")
        assert found["shape_Maximum3DDiameter"] > np.sqrt(16 + 64 + 64)

    def test_one_slice_has_no_thickness(self) -> None:
        mask = np.zeros((3, 5, 5), dtype=bool)
        mask[1, 1:4, 1:3] = True
        found, reasons = self.both(np.zeros((3, 5, 5)), mask, force2d=True)
        assert found["shape_LeastAxisLength"] == found["shape_Flatness"] == 0.0
        assert found["shape2D_PixelSurface"] == 6.0
        found, reasons = self.both(np.zeros((3, 5, 5)), mask)
        assert "force2D" in reasons.reason("shape2D_Perimeter")
        mask[0, 1, 1] = True
        found, reasons = self.both(np.zeros((3, 5, 5)), mask, force2d=True)
        assert "2 slices" in reasons.reason("shape2D_Perimeter")


class TestLaws:
    """What must not change, and what must change in a known way."""

    rng = np.random.default_rng(8)
    image = np.cumsum(rng.normal(0, 30, (9, 10, 11)), axis=1)
    mask = rng.random((9, 10, 11)) < 0.8
    classes = dict.fromkeys(TEXTURE)

    def features(self, image: Any, mask: Any, spacing: Any = (1.0, 1.0, 1.0), **chosen: Any) -> dict[str, float]:
        found = image_features(image, mask, spacing, FeatureSettings(**chosen), self.classes)
        return found | shape_features(mask, spacing, {"shape": None})

    @pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
    def test_a_quarter_turn(self, axes: tuple[int, int]) -> None:
        want = self.features(self.image, self.mask)
        found = self.features(np.rot90(self.image, axes=axes), np.rot90(self.mask, axes=axes))
        planes = {name for name in want if "Maximum2DDiameter" in name}
        # Polygons of the mesh are cut into triangles along diagonals that do not turn with the mask
        mesh = {f"shape_{name}" for name in ("MeshVolume", "SurfaceArea", "SurfaceVolumeRatio", "Sphericity")}
        for name in set(want) - planes:
            exact = 0.03 if name in mesh else 1e-9
            assert found[name] == pytest.approx(want[name], rel=exact, abs=1e-9), name
        assert sorted(found[name] for name in planes) == pytest.approx(sorted(want[name] for name in planes))

    def test_a_margin_and_a_shift_change_nothing(self) -> None:
        want = self.features(self.image, self.mask)
        image = np.pad(self.image, ((2, 5), (0, 3), (4, 0)), constant_values=1e9)
        mask = np.pad(self.mask, ((2, 5), (0, 3), (4, 0)))
        found = self.features(image, mask)
        for name, value in want.items():
            assert found[name] == pytest.approx(value, rel=1e-12), name

    def test_a_fixed_bin_count_knows_no_shift_and_no_scale(self) -> None:
        want = self.features(self.image, self.mask, bin_count=24)
        found = self.features(self.image * 8 + 512, self.mask, bin_count=24)
        for name, value in want.items():
            if not name.startswith("firstorder"):
                assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        for name in ("Entropy", "Uniformity", "Skewness", "Kurtosis"):
            assert found[f"firstorder_{name}"] == pytest.approx(want[f"firstorder_{name}"], rel=1e-9)
        assert found["firstorder_Mean"] == pytest.approx(want["firstorder_Mean"] * 8 + 512)
        assert found["firstorder_Variance"] == pytest.approx(want["firstorder_Variance"] * 64)

    def test_a_fixed_bin_width_knows_no_shift_by_whole_bins(self) -> None:
        want = self.features(self.image, self.mask, bin_width=16)
        found = self.features(self.image + 16 * 64, self.mask, bin_width=16)
        for name in (name for name in want if name.startswith(("gl", "ngtdm"))):
            assert found[name] == pytest.approx(want[name], rel=1e-9, abs=1e-12), name

    def test_a_scale_of_space(self) -> None:
        want = shape_features(self.mask, (1.0, 1.5, 2.0), {"shape": None})
        found = shape_features(self.mask, (3.0, 4.5, 6.0), {"shape": None})
        powers = {"MeshVolume": 3, "VoxelVolume": 3, "SurfaceArea": 2, "SurfaceVolumeRatio": -1}
        for name, value in want.items():
            feature = name.removeprefix("shape_")
            power = 1 if "Length" in feature or "Diameter" in feature else powers.get(feature, 0)
            assert found[name] == pytest.approx(value * 3.0**power, rel=1e-12), name

    def test_a_prepared_voi_gives_the_same(self) -> None:
        want = self.features(self.image, self.mask)
        assert self.features(self.image, Voi.from_mask(self.mask)) == want  # type: ignore[arg-type]
        assert self.features(np.asfortranarray(self.image), self.mask) == want
