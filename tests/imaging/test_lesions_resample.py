"""Lesion policies, VOI reports, resampling, axes, windows and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging import Geometry, Volume, read_labelmap, read_volume
from hepacast.imaging.lesions import describe_voi, lesions
from hepacast.imaging.overlay import choose_slices, mask_colors, overlay_figure, overlay_png
from hepacast.imaging.resample import resample_image, resample_mask, resampled_geometry, to_lps_axes
from hepacast.imaging.window import LIVER_CT, Window, window_for

GEOMETRY = Geometry((20, 20, 10), (1.0, 1.0, 5.0))


def three_lesions() -> Volume:
    array = np.zeros(GEOMETRY.shape, bool)
    array[1:3, 1:5, 1:6] = True  # 40 voxels, 0.2 ml
    array[5:9, 8:14, 8:18] = True  # 240 voxels, 1.2 ml
    array[4, 17, 2] = True  # one voxel, 0.005 ml
    return Volume(array, GEOMETRY)


def test_lesion_policies() -> None:
    mask = three_lesions()
    each = lesions(mask, "each")
    assert each.volumes_ml == pytest.approx((1.2, 0.2, 0.005))
    assert sum(int(m.array.sum()) for m in each.masks) == int(mask.array.sum())
    assert lesions(mask, "largest").volumes_ml == pytest.approx((1.2,))
    union = lesions(mask, "union", min_volume_ml=0.1)
    assert union.volumes_ml == pytest.approx((1.4,)) and union.dropped_ml == pytest.approx((0.005,))
    nothing = lesions(mask, "each", min_volume_ml=50.0)
    assert nothing.masks == () and len(nothing.dropped_ml) == 3
    with pytest.raises(ImageError, match="union, largest, each"):
        lesions(mask, "biggest")


def test_real_lesions_have_the_published_volumes(data_dir) -> None:
    path = data_dir("ct/ircadb17") / "ircadb17_seg_1liver_2tumour.nii.gz"
    tumor = read_labelmap(path, {"tumor": 2}).mask("tumor")
    each = lesions(tumor, "each")
    assert [int(mask.array.sum()) for mask in each.masks] == [96_961, 89_029]


def report_of(array: np.ndarray):
    return describe_voi(Volume(array, GEOMETRY), "tumor")


def test_voi_reports() -> None:
    ok = describe_voi(three_lesions())
    assert (ok.status, ok.voxels, ok.components, ok.slices) == ("ok", 281, 3, 7)
    assert ok.volume_ml == pytest.approx(1.405) and ok.extent_mm == (17.0, 17.0, 40.0)
    empty = np.zeros(GEOMETRY.shape, bool)
    assert report_of(empty).status == "failed" and "empty" in report_of(empty).reason
    single = empty.copy()
    single[3, 3, 3] = True
    assert report_of(single).status == "failed" and "single voxel" in report_of(single).reason
    flat = empty.copy()
    flat[4, 5:9, 5:9] = True
    assert report_of(flat).status == "warning" and "one slice" in report_of(flat).reason
    border = empty.copy()
    border[2:5, 0:4, 5:9] = True
    assert report_of(border).touches_border and "edge along j" in report_of(border).reason
    assert describe_voi(Volume(border, GEOMETRY), ignore_border=("j",)).status == "ok"


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(2, 40)] * 3),
    old=st.tuples(*[st.floats(0.5, 6.0)] * 3),
    new=st.tuples(*[st.floats(0.5, 6.0)] * 3),
)
def test_resampled_grids_share_centre_and_cover_the_box(size, old, new) -> None:
    geometry = Geometry(size, old, (10.0, -20.0, 30.0), ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)))
    other = resampled_geometry(geometry, new)

    def centre(g: Geometry) -> np.ndarray:
        return (g.affine_lps @ [*(np.array(g.size) - 1) / 2, 1.0])[:3]

    np.testing.assert_allclose(centre(other), centre(geometry), atol=1e-6)
    assert all(n * s >= m * t - 1e-3 for n, s, m, t in zip(other.size, other.spacing, size, old))
    assert all((n - 1) * s < m * t for n, s, m, t in zip(other.size, other.spacing, size, old))


def test_a_linear_ramp_survives_resampling() -> None:
    k, j, i = np.meshgrid(*[np.arange(n) for n in GEOMETRY.shape], indexing="ij")
    ramp = Volume((1.0 * i + 2.0 * j + 5.0 * k).astype(np.float32), GEOMETRY)
    fine = resample_image(ramp, spacing=(0.5, 1.0, 2.5), interpolator="linear")
    where = np.stack(np.meshgrid(*[np.arange(n) for n in fine.geometry.size], indexing="ij"), 0).reshape(3, -1)
    points = fine.geometry.affine_lps @ np.vstack([where, np.ones(where.shape[1])])
    expected = points[0] + 2 * points[1] + points[2]
    got = fine.array.transpose(2, 1, 0).ravel()
    inside = (points[0] >= 0) & (points[0] <= 19) & (points[2] >= 0) & (points[2] <= 45)
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-3)


def test_masks_keep_type_and_volume() -> None:
    mask = three_lesions()
    fine = resample_mask(mask, spacing=(0.5, 0.5, 2.5))
    assert fine.array.dtype == bool
    assert fine.array.sum() * fine.geometry.voxel_volume_mm3 == pytest.approx(281 * 5.0)
    back = resample_mask(fine, reference=mask, threshold=0.5)
    assert (back.array & mask.array).sum() >= 280
    labels = mask.with_array(mask.array.astype(np.uint8) * 7)
    assert set(np.unique(resample_mask(labels, spacing=(1.5, 1.5, 1.5)).array)) == {0, 7}
    with pytest.raises(ImageError, match="label map"):
        resample_mask(labels, spacing=(1, 1, 1), threshold=0.5)
    with pytest.raises(ImageError, match="either"):
        resample_image(mask)
    with pytest.raises(ImageError, match="above 0"):
        resample_image(mask, spacing=(1, 0, 1))


@settings(max_examples=48, deadline=None)
@given(axes=st.permutations([0, 1, 2]), signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), tilt=st.floats(-0.3, 0.3))
def test_standard_axes_keep_every_voxel_in_its_place(axes, signs, tilt: float) -> None:
    direction = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(axes, signs)):
        direction[axis, column] = sign
    c, s = np.cos(tilt), np.sin(tilt)
    direction = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ direction
    geometry = Geometry((3, 4, 5), (1.0, 2.0, 3.0), (7.0, -8.0, 9.0), tuple(tuple(r) for r in direction.tolist()))
    volume = Volume(np.arange(60).reshape(5, 4, 3), geometry)
    turned = to_lps_axes(volume)
    assert (np.diag(np.array(turned.geometry.direction)) > 0.9).all()

    def places(v: Volume) -> dict[int, np.ndarray]:
        index = np.stack(np.meshgrid(*[np.arange(n) for n in v.geometry.size], indexing="ij"), 0).reshape(3, -1)
        points = (v.geometry.affine_lps @ np.vstack([index, np.ones(index.shape[1])]))[:3].T
        return dict(zip(v.array.transpose(2, 1, 0).ravel().tolist(), points))

    before, after = places(volume), places(turned)
    for value, point in before.items():
        np.testing.assert_allclose(after[value], point, atol=1e-9)


def test_windows() -> None:
    assert Window.parse(" 30/300 ") == LIVER_CT == Window(30.0, 300.0)
    assert (LIVER_CT.low, LIVER_CT.high) == (-120.0, 180.0)
    np.testing.assert_allclose(LIVER_CT.apply(np.array([-500, -120, 30, 180, 900])), [0, 0, 0.5, 1, 1])
    for text in ("30", "30/-5", "a/b", "30/0"):
        with pytest.raises(ImageError):
            Window.parse(text)
    assert window_for(np.array([-1000.0, 50.0])) == LIVER_CT
    assert window_for(np.linspace(1, 1000, 500)).low > 0


def test_slices_are_chosen_through_the_masks() -> None:
    mask = three_lesions().array
    chosen = choose_slices(10, [mask], 3)
    assert chosen == sorted(chosen, reverse=True) and 5 in chosen
    assert choose_slices(10, [], 2) == [6, 3]
    assert choose_slices(10, [mask], [9, 0]) == [9, 0]
    with pytest.raises(ImageError, match="slices 0 to 9"):
        choose_slices(10, [mask], [10])


def test_colors_are_not_given_twice() -> None:
    colors = mask_colors(["liver", "parenchyma", "tumor", "x", "y"])
    assert len(set(colors.values())) == 5
    assert colors["liver"] == "#56B4E9" and colors["tumor"] == "#E69F00"


def read_png(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_overlay_shows_the_patients_right_on_the_left(tmp_path: Path) -> None:
    geometry = Geometry((40, 40, 6), (2.0, 2.0, 5.0))
    array = np.full(geometry.shape, -1000, np.int16)
    array[:, 4:36, 4:36] = 30
    array[:, 18:22, 8:12] = 400  # low i: the patient's right (x grows to the left)
    path = overlay_png(Volume(array, geometry), {}, tmp_path / "a.png", slices=[3], dpi=100)
    picture = read_png(path).sum(axis=2)
    bright = np.argwhere(picture[:, 40:-40] > 700)
    assert np.median(bright[:, 1]) + 40 < picture.shape[1] / 2
    flipped = Geometry((40, 40, 6), (2.0, 2.0, 5.0), (78.0, 0.0, 0.0), ((-1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)))
    same = overlay_png(Volume(array[:, :, ::-1], flipped), {}, tmp_path / "b.png", slices=[3], dpi=100)
    np.testing.assert_array_equal(read_png(same), read_png(path))


def test_overlay_of_a_real_scan(data_dir, tmp_path: Path) -> None:
    folder = data_dir("ct/totalseg_small")
    image = read_volume(folder / "example_ct_sm.nii.gz")
    liver = read_labelmap(folder / "example_seg.nii.gz", {"liver": 5}, reference=image).mask("liver")
    path = overlay_png(image, {"liver": liver}, tmp_path / "o.png", slices=3, dpi=100, fill=True, title="Liver")
    picture = read_png(path)
    blue = (abs(picture - [0x56, 0xB4, 0xE9]).sum(axis=2) < 60).sum()
    assert blue > 300
    again = overlay_png(image, {"liver": liver}, tmp_path / "p.png", slices=3, dpi=100, fill=True, title="Liver")
    assert path.read_bytes() == again.read_bytes()


def test_a_white_contour_is_seen_in_the_legend() -> None:
    """An expert's contour is white; so is the paper."""
    geometry = Geometry((40, 40, 4), (2.0, 2.0, 5.0))
    image = Volume(np.zeros(geometry.shape, np.int16), geometry)
    mask = np.zeros(geometry.shape, bool)
    mask[1:3, 10:30, 10:30] = True
    figure = overlay_figure(image, {"liver": Volume(mask, geometry)}, slices=1, styles={"liver": "#FFFFFF"})
    figure.canvas.draw()
    box = figure.legends[0].legend_handles[0].get_window_extent().padded(2)
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3]
    shown = pixels[int(box.y0) : int(box.y1) + 1, int(box.x0) : int(box.x1) + 1]
    assert shown.min() < 60


def test_overlay_refuses_other_grids_and_formats(tmp_path: Path) -> None:
    mask = three_lesions()
    image = mask.with_array(mask.array.astype(np.int16))
    with pytest.raises(ImageError, match=r"\.png"):
        overlay_png(image, {}, tmp_path / "a.pdf")
    with pytest.raises(GeometryError):
        overlay_png(image, {"m": Volume(mask.array, Geometry((20, 20, 10), (1.0, 1.0, 5.1)))}, tmp_path / "a.png")
