"""Preprocessing against what was put in: a known bias field, motion and intensity scale."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.morphology import dilate
from hepacast.imaging.preprocessing import (
    NyulStandardizer,
    body_mask,
    correct_bias,
    mutual_information,
    reference_tissue,
    register,
    registration_png,
    transform,
    white_stripe,
    zscore,
)
from hepacast.phantom.motion import breath, deformation

SPACING = (3.0, 3.0, 5.0)


def grid(shape=(24, 72, 84)):
    size = shape[::-1]
    origin = tuple(-0.5 * (n - 1) * s for n, s in zip(size, SPACING))
    geometry = Geometry(size, SPACING, origin)
    axes = [origin[a] + SPACING[a] * np.arange(size[a]) for a in range(3)]
    return geometry, axes[0][None, None, :], axes[1][None, :, None], axes[2][:, None, None]


def abdomen(shift=(0.0, 0.0, 0.0), angle=0.0, phase=0):
    """A body with fat, liver, spleen, vessel and tumor; moved by a rigid transform about z; two contrasts."""
    geometry, x, y, z = grid()
    c, s = np.cos(angle), np.sin(angle)
    x, y, z = x - shift[0], y - shift[1], z - shift[2]
    x, y = c * x + s * y, -s * x + c * y
    image = np.zeros(geometry.shape)

    def paint(center, radii, values):
        inside = sum(((a - m) / r) ** 2 for a, m, r in zip((x, y, z), center, radii)) < 1
        image[inside] = values[phase]
        return inside

    paint((0, 0, 0), (115, 95, 400), (180, 160))
    paint((0, 0, 0), (100, 80, 400), (90, 100))
    liver = paint((-35, -5, 5), (55, 60, 45), (140, 210))
    spleen = paint((70, 20, 10), (24, 30, 35), (110, 190))
    paint((0, 50, 0), (14, 14, 400), (60, 60))
    paint((20, 30, 0), (9, 9, 400), (250, 220))
    paint((-50, -20, 0), (16, 16, 16), (200, 150))
    return Volume(image.astype(np.float32), geometry), liver, spleen


def test_n4_takes_out_a_known_bias_field():
    image, *_ = abdomen()
    _, x, y, z = grid()
    rng = np.random.default_rng(1)
    field = np.exp(0.35 * x / 120 - 0.25 * (y / 100) ** 2 + 0.1 * z / 60)
    field /= field[image.array > 0].mean()
    noise = rng.normal(0, 2.0, image.array.shape)
    biased = image.with_array(np.maximum(image.array * field + noise * (image.array > 0), 0).astype(np.float32))
    found = correct_bias(biased)
    inside = image.array > 0
    log_error = np.log(found.field.array[inside] / field[inside])
    assert np.log(field[inside]).std() > 0.15
    # the field is recovered within 4 % (root mean square), from a spread of more than 15 %
    assert log_error.std() < 0.04
    assert np.corrcoef(np.log(found.field.array[inside]), np.log(field[inside]))[0, 1] > 0.97
    tissue = (image.array == 90) & (biased.array > 0)
    before = biased.array[tissue].std() / biased.array[tissue].mean()
    after = found.image.array[tissue].std() / found.image.array[tissue].mean()
    assert after < 0.4 * before
    np.testing.assert_allclose(found.image.array * found.field.array, biased.array, rtol=1e-4, atol=1e-3)


def test_n4_leaves_an_even_image_about_as_it_is_and_is_deterministic():
    image, *_ = abdomen()
    noisy = image.with_array((image.array + np.random.default_rng(2).normal(0, 2, image.array.shape)).clip(0))
    first, second = correct_bias(noisy), correct_bias(noisy)
    np.testing.assert_array_equal(first.image.array, second.image.array)
    assert first.spread < 0.06


def test_n4_refuses_what_it_cannot_do():
    image, *_ = abdomen()
    with pytest.raises(ImageError, match="magnitude"):
        correct_bias(image.with_array(image.array - 50))
    with pytest.raises(ImageError, match="too little tissue"):
        correct_bias(image, image.with_array(np.zeros(image.array.shape, dtype=bool)))
    with pytest.raises(ImageError, match="no number"):
        correct_bias(image.with_array(np.where(image.array > 200, np.nan, image.array)))


def test_body_is_found():
    image, *_ = abdomen()
    mask = body_mask(image).array
    assert (mask == (image.array > 0)).mean() > 0.99


@pytest.mark.parametrize(
    ("shift", "degrees"), [((6.0, -4.0, 5.0), 0.0), ((-7.0, 5.0, -4.0), 4.0), ((0.0, 0.0, 0.0), 0.0)]
)
def test_rigid_shift_is_recovered_across_contrasts(shift, degrees):
    reference, *_ = abdomen(phase=0)
    moving, *_ = abdomen(shift, np.deg2rad(degrees), phase=1)
    found = register(moving, reference, mask=body_mask(reference))
    # reference points x lie in the moving image at R x + shift
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    truth = np.array([[c, -s, 0, shift[0]], [s, c, 0, shift[1]], [0, 0, 1, shift[2]], [0, 0, 0, 1.0]])
    points = np.array([[-60, -50, -20, 1], [60, 50, 20, 1], [-60, 50, 20, 1], [60, -50, -20, 1.0]]).T
    error = np.linalg.norm(((found.matrix - truth) @ points)[:3], axis=0)
    # within half a voxel in the plane (3 mm) and less than a third of a slice (5 mm)
    assert error.max() < 1.5
    assert found.mutual_information_after >= found.mutual_information_before
    if any(shift):
        assert found.status == "ok"
        body = np.argwhere(body_mask(reference).array)[:, ::-1] * SPACING + reference.geometry.origin
        moved = np.linalg.norm(((truth - np.eye(4)) @ np.c_[body, np.ones(len(body))].T)[:3], axis=0)
        assert found.shift_mm == pytest.approx(moved.mean(), abs=1.5)
        assert found.displacement_mm == pytest.approx(moved.max(), abs=2.0)


def test_registration_is_deterministic():
    reference, *_ = abdomen(phase=0)
    moving, *_ = abdomen((5.0, 3.0, 0.0), phase=1)
    first, second = register(moving, reference), register(moving, reference)
    np.testing.assert_array_equal(first.matrix, second.matrix)
    np.testing.assert_array_equal(first.image.array, second.image.array)


def test_affine_recovers_a_stretch():
    reference, *_ = abdomen(phase=0)
    # moving(p) = reference(p / 1.05): the matrix from reference to moving points is 1.05
    stretched = ndimage.affine_transform(
        abdomen(phase=1)[0].array, [1.0, 1 / 1.05, 1 / 1.05],
        offset=[0, *(0.5 * (n - 1) * (1 - 1 / 1.05) for n in reference.array.shape[1:])], order=1,
    )  # fmt: skip
    moving = reference.with_array(stretched.astype(np.float32))
    found = register(moving, reference, kind="affine", mask=body_mask(reference))
    assert np.diag(found.matrix)[:2] == pytest.approx([1.05, 1.05], abs=0.015)
    rigid = register(moving, reference, mask=body_mask(reference))
    assert found.mutual_information_after > rigid.mutual_information_after


def test_registration_refuses_images_that_do_not_overlap():
    reference, *_ = abdomen()
    geometry = Geometry(reference.geometry.size, SPACING, (900.0, 0.0, 0.0))
    with pytest.raises(ImageError, match="hardly overlap"):
        register(Volume(reference.array, geometry), reference)
    with pytest.raises(GeometryError):
        register(reference, reference, mask=Volume(reference.array > 0, geometry))
    with pytest.raises(ImageError, match="not known"):
        register(reference, reference, kind="elastic")


def test_mutual_information_knows_its_ends():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40, 40, 40))
    assert mutual_information(a, a) == pytest.approx(2.0, abs=1e-9)
    assert mutual_information(a, -3 * a + 5) == pytest.approx(2.0, abs=0.02)
    assert mutual_information(a, b) == pytest.approx(1.0, abs=0.01)


def test_the_check_picture_is_drawn(tmp_path):
    reference, liver, _ = abdomen(phase=0)
    moved = {"portal": register(abdomen((6, -4, 5), phase=1)[0], reference), "delayed": register(reference, reference)}
    path = registration_png(reference, moved, tmp_path / "check.png", mask=reference.with_array(liver), title="P001")
    assert path.stat().st_size > 20_000
    with pytest.raises(ImageError):
        registration_png(reference, {}, tmp_path / "none.png")


# --- intensity scales ---------------------------------------------------------------------------------------------


def test_zscore_of_the_region():
    image, liver, _ = abdomen()
    noisy = image.with_array(image.array + np.random.default_rng(0).normal(0, 5, image.array.shape))
    region = image.with_array(liver)
    result = zscore(noisy, region).array[liver]
    assert (result.mean(), result.std()) == pytest.approx((0, 1), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 20), st.floats(-500, 500))
def test_scanner_gain_and_offset_do_not_matter(gain, offset):
    image, liver, spleen = abdomen()
    rng = np.random.default_rng(3)
    noisy = image.with_array(image.array + rng.normal(0, 5, image.array.shape))
    other = noisy.with_array(gain * noisy.array + offset)
    region, tissue = image.with_array(liver), image.with_array(spleen)
    nyul = NyulStandardizer().fit([noisy.array[liver], 2 * noisy.array[liver]])
    for scale in (
        lambda v: zscore(v, region, trim=0.01),
        lambda v: white_stripe(v, tissue),
        lambda v: reference_tissue(v, tissue),
        lambda v: nyul.apply(v, region),
    ):
        np.testing.assert_allclose(scale(other).array, scale(noisy).array, atol=0.02 * (1 + abs(offset) / gain / 50))


def test_white_stripe_puts_the_tissue_at_zero_whatever_else_is_in_it():
    image, _, spleen = abdomen()
    rng = np.random.default_rng(4)
    array = image.array + rng.normal(0, 4, image.array.shape)
    vessels = spleen & (rng.random(spleen.shape) < 0.1)
    array[vessels] = 400
    result = white_stripe(image.with_array(array), image.with_array(spleen)).array
    clean = spleen & ~vessels
    # mean of the tissue within a third of its own SD of 0, though a tenth of it is vessels
    assert abs(result[clean].mean()) < 0.34 * result[clean].std()


def test_the_reference_tissue_is_the_scale_and_vessels_in_it_do_not_count():
    image, liver, spleen = abdomen()
    rng = np.random.default_rng(3)
    array = image.array.astype(float)
    array[liver] = rng.normal(300.0, 15.0, int(liver.sum()))
    array[spleen] = 345.0
    array[liver & (rng.random(liver.shape) < 0.02)] = 900.0  # vessels
    result = reference_tissue(image.with_array(array), image.with_array(liver)).array
    assert np.median(result[liver]) == pytest.approx(0.0, abs=1e-6)
    # 3 SD of the liver above it, by a spread that hardly knows of the vessels.
    assert result[spleen].mean() == pytest.approx(3.0, abs=0.25)


def test_nyul_brings_two_scanners_together_and_is_learned_from_training_patients_only():
    rng = np.random.default_rng(5)

    def patient(gain, gamma):
        values = np.concatenate([rng.normal(60, 8, 3000), rng.normal(100, 10, 5000), rng.normal(160, 12, 1000)])
        return gain * np.clip(values, 1, None) ** gamma

    first, second = [patient(1.0, 1.0) for _ in range(6)], [patient(4.0, 1.1) for _ in range(6)]
    model = NyulStandardizer().fit(first[:4])
    before = abs(np.median(first[5]) - np.median(second[5]))
    mapped = model.transform([first[5], second[5]])
    after = abs(np.median(mapped[0]) - np.median(mapped[1]))
    assert before > 100
    assert after < 1.0
    landmarks = model.landmarks_.copy()
    model.transform(second)
    np.testing.assert_array_equal(model.landmarks_, landmarks)
    assert model.n_patients_ == 4
    again = NyulStandardizer.from_dict(model.to_dict())
    np.testing.assert_array_equal(again.transform([second[0]])[0], model.transform([second[0]])[0])


def test_nyul_maps_landmarks_onto_landmarks_and_never_turns_the_order():
    rng = np.random.default_rng(6)
    model = NyulStandardizer().fit([rng.gamma(3, 20, 4000) for _ in range(5)])
    values = rng.gamma(2, 35, 5000)
    mapped = model.transform([values])[0]
    np.testing.assert_allclose(np.percentile(mapped, model.percentiles), model.landmarks_, atol=0.5)
    order = np.argsort(values)
    assert (np.diff(mapped[order]) >= 0).all()


@pytest.mark.parametrize(
    "work",
    [
        lambda v: zscore(v, v.with_array(v.array < -1)),
        lambda v: zscore(v.with_array(np.ones_like(v.array))),
        lambda v: NyulStandardizer().fit([]),
        lambda v: NyulStandardizer().fit([np.full(100, 7.0)]),
        lambda v: NyulStandardizer(percentiles=(50, 10)).fit([np.arange(100.0)]),
        lambda v: NyulStandardizer(low=5, high=5).fit([np.arange(100.0)]),
        lambda v: body_mask(v.with_array(np.ones_like(v.array))),
    ],
)
def test_scales_that_do_not_exist_are_refused(work):
    with pytest.raises(ImageError):
        work(abdomen()[0])


# --- the liver between two breaths -----------------------------------------------------------------------------------


def breathing(shift, *, smooth=0.0):
    """Reference, moved phase of another contrast, liver, and the known motion."""
    reference, liver, _ = abdomen(phase=0)
    other, *_ = abdomen(phase=1)
    mask = reference.with_array(liver)
    motion = deformation(reference.geometry, smooth, seed=3) if smooth else breath(mask, shift)
    return reference, motion.move(other), mask, motion


def liver_error(found, mask, motion):
    """Mean distance (mm) of the liver's points from where they are, before and after."""
    places = np.argwhere(mask.array)[::37][:, ::-1]
    points = places * np.array(mask.spacing) + np.array(mask.geometry.origin)
    truth = motion.moved(points)
    return np.linalg.norm(truth - points, axis=1).mean(), np.linalg.norm(found.moved(points) - truth, axis=1).mean()


@pytest.mark.parametrize("shift", [(1.0, -3.0, 12.0), (0.0, -5.0, -17.0)])
def test_the_liver_is_found_where_the_spine_has_stayed(shift):
    reference, moving, liver, motion = breathing(shift)
    by_body = register(moving, reference, mask=body_mask(reference))
    by_liver = register(moving, reference, mask=dilate(liver, 10.0))
    before, after = liver_error(by_liver, liver, motion)
    assert before > 11.5
    assert after < 2.5
    assert after < 0.5 * liver_error(by_body, liver, motion)[1]
    moved = motion.move(liver.with_array(liver.array.astype(np.uint8)), order=0)
    back = by_liver.resampled_mask(moved, reference).array
    assert 2 * (back & liver.array).sum() / (back.sum() + liver.array.sum()) > 0.95


def test_b_splines_follow_a_deformation_do_not_fold_and_do_not_depend_on_threads():
    reference, moving, liver, motion = breathing(None, smooth=6.0)
    region = dilate(liver, 10.0)
    rigid = register(moving, reference, mask=region)
    found = register(moving, reference, kind="bspline", mask=region)
    assert found.used == "bspline"
    assert liver_error(found, liver, motion)[1] < 0.8 * liver_error(rigid, liver, motion)[1]
    assert 0.2 < found.jacobian[0] < 1 < found.jacobian[1] < 4
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1 if threads > 1 else 4)
    try:
        again = register(moving, reference, kind="bspline", mask=region)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    np.testing.assert_array_equal(again.image.array, found.image.array)


def test_a_registration_that_makes_it_worse_is_not_taken_and_told(monkeypatch):
    reference, moving, liver, _ = breathing((0.0, 0.0, 0.0))

    def astray(self):
        return sitk.TranslationTransform(3, (0.0, 0.0, 30.0))

    monkeypatch.setattr(transform.Fit, "rigid", astray)
    kept = register(moving, reference, mask=dilate(liver, 10.0))
    assert (kept.used, kept.status, kept.shift_mm) == ("none", "kept", 0.0)
    assert "not better than the position by the headers" in kept.doubts[0]
    np.testing.assert_array_equal(kept.image.array, kept.before.array)


def test_a_transform_that_folds_is_not_taken_and_told(monkeypatch):
    reference, moving, liver, _ = breathing((0.0, -3.0, 12.0))
    monkeypatch.setattr(
        transform.Fit, "bspline", lambda self, so_far, control_mm, level: sitk.ScaleTransform(3, (-1.0, 1.0, 1.0))
    )
    found = register(moving, reference, kind="bspline", mask=dilate(liver, 10.0))
    assert found.used == "rigid"
    assert found.status == "doubtful"
    assert all("folds the region (Jacobian -1.00)" in text for text in found.doubts)


def test_a_liver_that_leaves_the_image_is_doubtful():
    reference, moving, liver, _ = breathing((0.0, -3.0, 12.0))
    cut = Geometry((84, 72, 12), SPACING, moving.geometry.origin)
    found = register(Volume(moving.array[:12], cut), reference, mask=dilate(liver, 10.0))
    assert found.covered < 0.9
    assert any("of the region lies outside the image" in text for text in found.doubts)


def test_a_far_move_that_hardly_makes_images_more_alike_is_doubtful(monkeypatch):
    reference, moving, liver, _ = breathing((0.0, 0.0, 0.0))
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=moving.array.shape), 1.5)
    unrelated, taken = moving.with_array(noise.astype(np.float32)), []
    for side in (-15.0, 15.0):
        moved = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.0, 0.0, 0.0, (side, 0.0, 0.0))
        monkeypatch.setattr(transform.Fit, "rigid", lambda self, moved=moved: moved)
        found = register(unrelated, reference, mask=dilate(liver, 10.0))
        taken += [found] if found.used == "rigid" else []
    assert taken
    assert all("the similarity hardly rose" in " ".join(found.doubts) for found in taken)
