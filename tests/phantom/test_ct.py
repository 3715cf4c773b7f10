"""The virtual CT: organs and volumes as in people, the texture as strong as it was planted, the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hepacast.errors import ImageError
from hepacast.imaging.lesions import describe_voi
from hepacast.imaging.morphology import components
from hepacast.phantom import PatientSpec, TumorSpec, make_ct
from hepacast.phantom.labs import draw_patient
from hepacast.phantom.readers import second_reader
from hepacast.phantom.shapes import ellipsoid, make_grid, random_field
from hepacast.phantom.spec import texture_amplitude
from hepacast.phantom.truth import PLANTED

SPEC = PatientSpec("P1", 5, tumors=(TumorSpec("right", 50.0), TumorSpec("left", 26.0)))


@pytest.fixture(scope="module")
def scans():
    return [make_ct(draw_patient(f"P{n:03d}", 1, 77, PLANTED).spec) for n in range(1, 9)]


def test_size_type_and_labels() -> None:
    scan = make_ct(SPEC)
    assert scan.image.array.dtype == np.int16 and scan.image.array.shape == (31, 96, 96)
    assert scan.image.spacing == (3.6, 3.6, 5.0)
    scan.image.geometry.require_same(scan.labels.volume.geometry)
    assert set(np.unique(scan.labels.volume.array)) == {0, 1, 2}
    assert scan.labels.labels == {"parenchyma": 1, "tumor": 2}


def test_livers_are_plausible(scans) -> None:
    volumes = []
    for scan in scans:
        report = describe_voi(scan.labels.volume.with_array(scan.labels.volume.array > 0))
        assert report.status == "ok", report.reason
        assert 900 < report.volume_ml < 2000
        _, sizes = components(scan.labels.volume.with_array(scan.labels.volume.array > 0))
        assert sizes.max() / sizes.sum() > 0.999
        assert 110 < report.extent_mm[2] < 145 and 140 < report.extent_mm[0] < 250
        volumes.append(report.volume_ml)
    assert 1250 < np.mean(volumes) < 1650 and np.std(volumes) > 80


def test_tissue_values(scans) -> None:
    for scan in scans:
        array = scan.image.array.astype(float)
        masks = scan.labels.masks()
        parenchyma = array[masks["parenchyma"].array]
        assert 90 < np.median(parenchyma) < 130
        inner = ndimage.binary_erosion(masks["tumor"].array)
        if inner.sum() > 20:
            assert np.median(parenchyma) - np.median(array[inner]) > 12
        assert array[0, 0, 0] < -900  # air
        assert (array > 250).sum() > 500  # bone
        assert ((array > -125) & (array < -80)).mean() > 0.05  # fat
        assert (array < -700).mean() > 0.25  # air around, lung, gas


def test_the_liver_is_on_the_patients_right_and_the_spine_behind(scans) -> None:
    for scan in scans:
        liver = np.argwhere(scan.labels.volume.array > 0).mean(axis=0)
        bone = np.argwhere(scan.image.array[:, :, 44:52] > 250).mean(axis=0)
        assert liver[2] < 45  # low i = right
        assert liver[1] < bone[1]  # low j = front


def test_texture_is_as_strong_as_planted() -> None:
    measured, planted = [], []
    for score in (-2.0, -1.0, 0.0, 1.0, 2.0):
        scan = make_ct(replace(SPEC, texture=score))
        inner = ndimage.binary_erosion(scan.labels.mask("parenchyma").array, iterations=1)
        values = scan.image.array[inner].astype(float)
        low, high = np.percentile(values, [25, 75])
        measured.append((high - low) / 1.349)
        planted.append(texture_amplitude(score))
    assert (np.diff(measured) > 0.8).all()
    assert np.corrcoef(measured, planted)[0, 1] > 0.98
    # What is seen is texture, blurred a little by the scanner, and noise.
    assert measured[0] < 11 and measured[-1] > 13


def test_the_same_spec_gives_the_same_voxels() -> None:
    first, second = make_ct(SPEC, "tiny"), make_ct(SPEC, "tiny")
    np.testing.assert_array_equal(first.image.array, second.image.array)
    np.testing.assert_array_equal(first.labels.volume.array, second.labels.volume.array)
    other = make_ct(replace(SPEC, patient="P2"), "tiny")
    assert (other.labels.volume.array != first.labels.volume.array).mean() > 0.01


def test_texture_alone_changes_no_contour() -> None:
    low, high = make_ct(replace(SPEC, texture=-2.0)), make_ct(replace(SPEC, texture=2.0))
    np.testing.assert_array_equal(low.labels.volume.array, high.labels.volume.array)


def test_tumors_have_about_their_size_and_lobe() -> None:
    scan = make_ct(PatientSpec("P9", 1, tumors=(TumorSpec("right", 60.0),)))
    tumor = scan.labels.mask("tumor")
    nominal = np.pi / 6 * 6.0**3
    assert describe_voi(tumor).volume_ml == pytest.approx(nominal, rel=0.3)
    x = np.argwhere(tumor.array)[:, 2].mean() * 3.6 - 47.5 * 3.6
    assert x < 0
    left = make_ct(PatientSpec("P9", 1, tumors=(TumorSpec("left", 30.0),)))
    assert np.argwhere(left.labels.mask("tumor").array)[:, 2].mean() * 3.6 - 47.5 * 3.6 > x


def test_ascites_and_embolus_are_seen() -> None:
    dry, wet = make_ct(SPEC), make_ct(replace(SPEC, ascites=True))
    outside = dry.labels.volume.array == 0
    fluid = lambda scan: int(((scan.image.array > -15) & (scan.image.array < 30) & outside).sum())  # noqa: E731
    assert fluid(wet) > fluid(dry) + 500
    open_vein, closed = make_ct(SPEC), make_ct(replace(SPEC, embolus=True))
    changed = open_vein.image.array.astype(int) - closed.image.array
    assert changed.max() > 40


def test_second_reader_is_alike_but_not_the_same(scans) -> None:
    for order, scan in enumerate(scans[:4]):
        again = second_reader(scan.labels, f"P{order}", 3)
        scan.image.geometry.require_same(again.volume.geometry)
        for name, lowest in (("parenchyma", 0.90), ("tumor", 0.60)):
            first, second = scan.labels.mask(name).array, again.mask(name).array
            dice = 2 * (first & second).sum() / (first.sum() + second.sum())
            assert lowest < dice < 1.0, (order, name, dice)
        np.testing.assert_array_equal(again.volume.array, second_reader(scan.labels, f"P{order}", 3).volume.array)


def test_sizes() -> None:
    assert make_grid("full").geometry.size == (512, 512, 40)
    with pytest.raises(ImageError, match="tiny, demo, full"):
        make_ct(SPEC, "huge")


@pytest.mark.slow
def test_full_size_shows_the_same_patient() -> None:
    small, full = make_ct(SPEC), make_ct(SPEC, "full")
    volumes = [describe_voi(s.labels.volume.with_array(s.labels.volume.array > 0)).volume_ml for s in (small, full)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.12)


def test_ellipsoid_field_is_a_distance_near_the_surface() -> None:
    grid = make_grid("demo")
    x, y, z = (np.broadcast_to(axis, grid.geometry.shape) for axis in (grid.x, grid.y, grid.z))
    for boxy in (False, True):
        ball = ellipsoid(x, y, z, (0, 0, 75), (50, 50, 50), boxy=boxy)
        on_axis = ball[15, 48, :]
        distance = 50 - np.hypot(x[15, 48], y[15, 48])
        near = np.abs(distance) < 8
        np.testing.assert_allclose(on_axis[near], distance[near], atol=0.8)


def test_random_fields_are_standardised_and_smooth() -> None:
    field = random_field((30, 60, 60), (5.0, 3.6, 3.6), 8.0, np.random.default_rng(0))
    assert abs(float(field.mean())) < 1e-4 and float(field.std()) == pytest.approx(1.0, abs=1e-3)
    lag = float((field[:, :, 1:] * field[:, :, :-1]).mean())
    # Two points d apart in white noise blurred with sigma correlate with exp(-d^2 / (4 sigma^2)).
    assert lag == pytest.approx(np.exp(-(3.6**2) / (4 * 8.0**2)), abs=0.03)


def test_an_organ_that_is_drawn_in_its_box_is_whole():
    from hepacast.phantom.anatomy import _reach, _spans
    from hepacast.phantom.shapes import warped

    grid = make_grid("tiny")
    where = warped(grid, np.random.default_rng(4), amplitude=6.0)
    for centre, radii in (((20.0, -30.0, 40.0), (30.0, 15.0, 22.0)), ((-170.0, 120.0, 75.0), (12.0, 40.0, 9.0))):
        box = _reach(_spans(where), centre, radii)
        inside = ellipsoid(*where, centre, radii) > 0
        assert inside.any() and inside[box].sum() == inside.sum() and inside[box].size < 0.2 * inside.size
