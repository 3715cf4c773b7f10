"""The built-in networks: their arithmetic, their resampling, where their weights come from, a real CT."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from hepacast.errors import GeometryError, ImageError, MissingPackageError, ModelError, StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_labelmap, read_volume
from hepacast.segmentation.builtin import BuiltinSegmenter, weight_files
from hepacast.segmentation.builtin import liver as liver_module
from hepacast.segmentation.builtin import network as networks
from hepacast.segmentation.builtin import weights as weight_store
from hepacast.segmentation.builtin.abdomen import FIELD_MM, abdomen_box, abdomen_boxes
from hepacast.segmentation.builtin.lesion import _apply, _tiles, find_lesions
from hepacast.segmentation.builtin.median import median_of_27
from hepacast.segmentation.builtin.resample import axis_matrix, onto_grid, rescale
from hepacast.segmentation.metrics import segmentation_metrics

torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")

SMALL = {
    "liver": replace(networks.LIVER, input_size=(54, 54, 54), output_size=(28, 28, 28)),
    "lesion": replace(networks.LESION, input_size=(108, 108, 46), output_size=(20, 20, 2)),
}


def random_weights(architecture, seed=0):
    generator = np.random.default_rng(seed)
    return [
        (
            generator.normal(0, (2 / (np.prod(kernel) * before)) ** 0.5, (after, before, *kernel)).astype(np.float32),
            generator.normal(0, 0.1, after).astype(np.float32),
        )
        for kernel, before, after in networks.layer_shapes(architecture)
    ]


def plain_forward(architecture, weights, image):
    """The same network written straight down, layer by layer, on whole arrays."""
    functional = torch.nn.functional
    layers = iter([(torch.from_numpy(k), torch.from_numpy(b)) for k, b in weights])

    def normalize(t):
        deviation = t.std((2, 3, 4), keepdim=True, unbiased=False)
        return (t - t.mean((2, 3, 4), keepdim=True)) / (deviation + 1e-7)

    def conv(t, kernel, bias):
        pad = tuple(side // 2 for side in kernel.shape[2:]) if architecture.padded else 0
        return functional.conv3d(t, kernel, bias, padding=pad)

    def crop(t, like):
        cuts = [(a - b) // 2 for a, b in zip(t.shape[2:], like.shape[2:])]
        return t[(slice(None), slice(None), *[slice(c, c + n) for c, n in zip(cuts, like.shape[2:])])]

    def block(t, plain):
        start = t
        t = conv(t if plain else functional.leaky_relu(normalize(t), 0.01), *next(layers))
        t = conv(functional.leaky_relu(normalize(t), 0.01), *next(layers))
        if architecture.residual:
            start = crop(start, t)
            t = t + (start if start.shape[1] == t.shape[1] else functional.conv3d(start, *next(layers)))
        return t

    path, skips = torch.from_numpy(image)[None, None], []
    for level in range(4):
        if level:
            path = functional.max_pool3d(path, architecture.factor)
        path = block(path, level == 0)
        skips.append(path)
    skips.pop()
    while skips:
        for axis in (2, 3, 4):
            path = path.repeat_interleave(architecture.factor, axis)
        if architecture.linear:
            path = functional.avg_pool3d(path, architecture.factor, stride=1)
        path = block(torch.cat([crop(skips.pop(), path), path], 1), False)
    return torch.sigmoid(functional.conv3d(functional.leaky_relu(normalize(path), 0.01), *next(layers)))[0, 0].numpy()


@pytest.mark.parametrize("name", ["liver", "lesion"])
def test_working_in_slabs_changes_nothing(name, monkeypatch):
    smallest = replace(networks.LESION, input_size=(92, 92, 46), output_size=(4, 4, 2))
    architecture = {"liver": SMALL["liver"], "lesion": smallest}[name]
    weights = random_weights(architecture)
    image = np.random.default_rng(1).uniform(-0.5, 0.5, architecture.input_size).astype(np.float32)
    monkeypatch.setattr(networks, "_SLAB", 7)
    result = networks.PretrainedUNet(architecture, weights)(image)
    assert result.shape == architecture.output_size
    with torch.no_grad():
        np.testing.assert_allclose(result, plain_forward(architecture, weights, image), atol=2e-5)


@pytest.mark.parametrize("name", ["liver", "lesion"])
@pytest.mark.parametrize(("precision", "apart"), [("f32", 1e-3), ("bf16", 0.15)])
def test_openvino_computes_the_same_network(name, precision, apart):
    pytest.importorskip("openvino")
    from hepacast.segmentation.builtin.openvino import OpenvinoUNet

    weights = random_weights(SMALL[name])
    image = np.random.default_rng(1).uniform(-0.5, 0.5, SMALL[name].input_size).astype(np.float32)
    expected = networks.PretrainedUNet(SMALL[name], weights)(image)
    try:
        found = OpenvinoUNet(SMALL[name], weights, precision)(image)
    except ModelError as error:
        assert "bfloat16" in str(error)
        pytest.skip("this processor has no bfloat16")
    assert np.abs(found - expected).max() < apart


@pytest.mark.parametrize("name", ["liver", "lesion"])
def test_torch_in_bfloat16_computes_the_same_network(name):
    weights = random_weights(SMALL[name])
    image = np.random.default_rng(1).uniform(-0.5, 0.5, SMALL[name].input_size).astype(np.float32)
    expected = networks.PretrainedUNet(SMALL[name], weights)(image)
    found = networks.PretrainedUNet(SMALL[name], weights, precision="bf16")(image)
    assert found.dtype == np.float32 and 0 < np.abs(found - expected).max() < 0.15


def test_a_computer_without_the_engine_refuses_with_a_remedy(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    with pytest.raises(ModelError, match="bfloat16") as refused:
        BuiltinSegmenter(engine="torch-bf16").prepare()
    assert "builtin:openvino" in str(refused.value)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingPackageError, match="hepacast\\[speed\\]"):
        BuiltinSegmenter(engine="openvino").prepare()


def test_openvino_gives_the_same_numbers_side_by_side():
    pytest.importorskip("openvino")
    from hepacast.segmentation.builtin.openvino import OpenvinoUNet

    weights = random_weights(SMALL["lesion"])
    generator = np.random.default_rng(2)
    images = [generator.uniform(-0.5, 0.5, SMALL["lesion"].input_size).astype(np.float32) for _ in range(3)]
    alone = OpenvinoUNet(SMALL["lesion"], weights, "f32")
    with ThreadPoolExecutor(3) as pool:
        for own, other in zip(map(alone, images), pool.map(OpenvinoUNet(SMALL["lesion"], weights, "f32", 3), images)):
            np.testing.assert_array_equal(own, other)


def test_tiles_side_by_side_are_put_where_they_belong():
    def echo(field):
        return 0.5 + field[tuple(slice(m, -m) for m in networks.LESION.margin)]

    array = np.random.default_rng(0).normal(0, 60, (150, 130, 60))
    liver = np.zeros(array.shape, dtype=bool)
    liver[10:140, 10:120, 5:55] = True
    one, two = (find_lesions(echo, array, liver, (1.0, 1.0, 3.0), lambda *_: None, side_by_side=n) for n in (1, 3))
    assert one.any()
    np.testing.assert_array_equal(one, two)


def test_openvino_calls_nobody(tmp_path):
    """Without CI in the environment: no name is looked up, nothing is written to the home folder."""
    pytest.importorskip("openvino")
    code = """
import socket, sys
def refuse(*_):
    raise SystemExit("a name was looked up")
socket.getaddrinfo = socket.create_connection = refuse
socket.socket.connect = refuse
from hepacast.segmentation.builtin.openvino import require_openvino
require_openvino().Core()
import openvino_telemetry
openvino_telemetry.Telemetry(app_name="x").send_event("a", "b", "c")
"""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_engine_is_a_part_of_the_identity_and_a_wrong_one_is_refused():
    from hepacast.segmentation import make_segmenter

    names = ("builtin", "builtin:torch-bf16", "builtin:openvino", "builtin:openvino-bf16")
    told = {name: make_segmenter(name).describe() for name in names}
    assert len({item["identity"] for item in told.values()}) == 4
    assert "bfloat16" in told["builtin:openvino-bf16"]["sentence"]
    with pytest.raises(StudyFileError, match="no engine"):
        make_segmenter("builtin:tensorrt")


def write_hdf5(path, architecture, weights):
    with h5py.File(path, "w") as file:
        file["header/voxel_size"] = np.array(architecture.voxel_mm)
        for number, (kernel, bias) in enumerate(weights, start=1):
            group = f"conv3d_{number}/conv3d_{number}"
            file[f"{group}/kernel:0"] = kernel.transpose(2, 3, 4, 1, 0)
            file[f"{group}/bias:0"] = bias


def test_weights_are_read_and_every_shape_is_checked(tmp_path):
    weights = random_weights(networks.LIVER)
    path = tmp_path / "liver.hdf5"
    write_hdf5(path, networks.LIVER, weights)
    for (kernel, bias), (stored, stored_bias) in zip(weights, networks.read_weights(path, networks.LIVER)):
        np.testing.assert_array_equal(kernel, stored)
        np.testing.assert_array_equal(bias, stored_bias)
    with pytest.raises(ModelError, match="not the expected one"):
        networks.read_weights(path, networks.LESION)
    path.write_bytes(b"text")
    with pytest.raises(ModelError, match="not the expected one"):
        networks.read_weights(path, networks.LIVER)


def test_parameter_counts_are_those_of_the_published_networks():
    counts = {
        a.name: sum(int(np.prod(k)) * i * o + o for k, i, o in networks.layer_shapes(a))
        for a in (networks.LIVER, networks.LESION)
    }
    assert counts == {"liver": 3_874_961, "lesion": 3_464_221}


def test_resampling_by_hand():
    # From 1 mm to 2 mm: means of pairs.
    np.testing.assert_allclose(axis_matrix(4, 0.5).toarray(), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    # From 2 mm to 1 mm: quarter and three quarters; beyond the edge is 0.
    np.testing.assert_allclose(axis_matrix(2, 2.0).toarray(), [[0.75, 0], [0.75, 0.25], [0.25, 0.75], [0, 0.75]])
    # From 2 mm to 3 mm, three voxels (6 mm) to two.
    np.testing.assert_allclose(axis_matrix(3, 2 / 3).toarray(), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], atol=1e-6)


def test_coarser_resampling_keeps_the_total():
    array = np.random.default_rng(0).random((13, 17, 11))
    result = rescale(array, (0.7, 0.9, 1.1), (1.5, 1.5, 3.0))
    assert result.shape == (7, 11, 5)
    assert result.sum() * 1.5 * 1.5 * 3.0 == pytest.approx(array.sum() * 0.7 * 0.9 * 1.1, rel=1e-5)


def test_a_mask_comes_back_to_its_place():
    mask = np.zeros((60, 50, 40), dtype=bool)
    mask[20:41, 15:33, 12:29] = True
    coarse = rescale(mask.astype(float), (1.0, 1.0, 1.5), (3.0, 3.0, 3.0)) > 0.5
    back = onto_grid(coarse, (3.0, 3.0, 3.0), mask.shape, (1.0, 1.0, 1.5))
    overlap = 2 * (back & mask).sum() / (back.sum() + mask.sum())
    assert overlap > 0.88
    centers = [np.argwhere(m).mean(0) for m in (back, mask)]
    np.testing.assert_allclose(centers[0], centers[1], atol=1.0)


def test_tiles_of_the_lesion_network_fit_together():
    class Echo:
        def __call__(self, field):
            a, b, c = networks.LESION.margin
            return field[a:-a, b:-b, c:-c]

    for shape in ((200, 100, 50), (60, 90, 20), (92, 84, 42)):
        image = np.random.default_rng(0).random(shape).astype(np.float32)
        result = np.full(shape, np.nan, dtype=np.float32)
        for tile in _tiles(shape):
            result[tile] = _apply(Echo(), image, tile)
        np.testing.assert_array_equal(result, image)


def test_the_abdomen_is_found_without_arms_and_air():
    array = np.full((150, 120, 200), -1000.0)
    x, y = np.ogrid[:150, :120]
    body = ((x - 75) / 55.0) ** 2 + ((y - 60) / 40.0) ** 2 < 1
    array[body] = 40
    lungs = (((np.abs(x - 75) - 25) / 18.0) ** 2 + ((y - 55) / 25.0) ** 2 < 1) & body
    array[lungs, 120:] = -850
    array[2:8, 50:60] = 40  # an arm
    box = abdomen_box(array, (3.0, 3.0, 3.0))
    assert box[0].start > 15 and box[0].stop < 135
    # 70 mm above the lowest level of the lungs, that is slice 120.
    assert abs(box[2].stop - (120 + 70 / 3)) <= 6
    assert (box[2].stop - box[2].start) * 3.0 <= FIELD_MM[2]
    with pytest.raises(ImageError, match="No body"):
        abdomen_box(np.full((30, 30, 30), -1000.0), (3.0, 3.0, 3.0))


def _ellipsoid(shape, spacing, center, axes):
    points = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((p * mm - c) / a) ** 2 for p, mm, c, a in zip(points, spacing, center, axes)) <= 1


def _trunk(height, spacing, *, gas_hu=-1000.0, lung_hu=-840.0, prone=False, arms=False):
    """HU and liver of a trunk `height` mm high: liver from 250 to 430 mm, lungs from 400 to 640 mm, a gassy colon."""
    shape = tuple(round(mm / step) for mm, step in zip((420.0, 320.0, height), spacing))
    x, y, _ = np.ogrid[tuple(slice(0, n) for n in shape)]
    x, y = x * spacing[0], y * spacing[1]
    body = np.broadcast_to(((x - 210) / 170) ** 2 + ((y - 160) / 120) ** 2 <= 1, shape)
    array = np.where(body, 10.0, -1000.0)
    array[body & ~np.broadcast_to(((x - 210) / 150) ** 2 + ((y - 160) / 100) ** 2 <= 1, shape)] = -100.0
    generator = np.random.default_rng(3)
    for side in (130.0, 290.0):
        lung = _ellipsoid(shape, spacing, (side, 165, 520), (55, 80, 120)) & body
        array[lung] = lung_hu + 60 * generator.standard_normal(int(lung.sum()))
    liver = _ellipsoid(shape, spacing, (140, 150, 340), (70, 75, 90)) & body
    array[liver] = 95.0
    # Transverse colon and stomach lie where the patient's front is.
    front = 235.0 if prone else 85.0
    for center, axes in (((210, front, 230), (110, 32, 35)), ((290, front, 330), (45, 40, 75))):
        gas = _ellipsoid(shape, spacing, center, axes) & body & ~liver
        array[gas] = gas_hu
    if arms:
        array[(np.abs(x - 210) > 185) & (np.abs(y - 160) < 30) & np.ones(shape, bool)] = 20.0
    return array + 12 * generator.standard_normal(shape), liver


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 0.9), (3.0, 3.0, 3.0), (3.5, 3.5, 10.0)])
@pytest.mark.parametrize(
    ("height", "options"),
    [
        (445.0, {}),  # ends at the lungs' bases
        (420.0, {"gas_hu": -960.0}),
        (340.0, {}),  # cut through the liver
        (700.0, {}),  # the whole chest
        (700.0, {"prone": True}),
        (700.0, {"arms": True}),
        (470.0, {"lung_hu": -900.0}),  # emphysema
    ],
)
def test_the_liver_is_in_the_likeliest_box_wherever_a_scan_ends(height, options, spacing):
    array, liver = _trunk(height, spacing, **options)
    box = abdomen_box(array, spacing)
    assert liver[box].sum() > 0.999 * liver.sum()
    assert (box[2].stop - box[2].start) * spacing[2] <= FIELD_MM[2] + spacing[2]
    if height == 700.0:
        assert box[2].stop * spacing[2] < 560.0


@pytest.mark.parametrize("low", [0.0, 100.0, 200.0])
def test_a_scan_that_begins_above_the_pelvis(low):
    array, liver = _trunk(640.0, (3.0, 3.0, 3.0))
    part = slice(round(low / 3), None)
    box = abdomen_box(array[:, :, part], (3.0, 3.0, 3.0))
    assert liver[:, :, part][box].sum() > 0.999 * liver.sum()


def _bright(seen, *, least_hu=60.0, only_right=False):
    """A network that takes what is bright for liver, brighter for surer; `only_right`: on the patient's right alone."""

    def network(field):
        seen.append(int((field != 0).any(axis=(0, 1)).sum()))
        probability = np.clip(0.5 + (400.0 * field - least_hu) / 30.0, 0.0, 0.95)
        if only_right:
            probability[: field.shape[0] // 2] = 0.0
        return probability[tuple(slice(m, -m) for m in networks.LIVER.margin)]

    return network


def _found(array, liver, **options):
    """Dice of what is found in a trunk whose liver alone is bright, the notes, and how high each look was (slices)."""
    seen = []
    found, notes = liver_module.find_liver(_bright(seen, **options), array, (3.0, 3.0, 3.0), lambda *_: None)
    return 2 * (found & liver).sum() / (found.sum() + liver.sum()), notes, seen


def test_other_boxes_are_looked_at_where_the_first_shows_no_whole_liver():
    """Lungs that are white (pneumonia) in a tall scan: the first guess is its top, the liver lies lower."""
    array, liver = _trunk(900.0, (3.0, 3.0, 3.0), lung_hu=20.0)
    boxes = abdomen_boxes(array, (3.0, 3.0, 3.0))
    assert liver[boxes[0]].sum() < 0.5 * liver.sum()
    dice, notes, seen = _found(np.where(liver, 110.0, np.minimum(array, 40.0)), liver)
    assert dice > 0.97 and notes == () and len(seen) > 2


@pytest.mark.parametrize("thick", [3.0, 5.0])
def test_a_box_that_ends_within_the_liver_is_not_taken_for_all_of_it(thick):
    """Slices in the wrong order: the lungs lie below, and the first box ends a little above them."""
    spacing = (5.0, 5.0, thick)
    array, liver = _trunk(445.0, spacing)
    array, liver = np.where(liver, 110.0, np.minimum(array, 40.0))[:, :, ::-1], liver[:, :, ::-1]
    assert liver[abdomen_box(array, spacing)].sum() < 0.6 * liver.sum()
    found, _ = liver_module.find_liver(_bright([]), array, spacing, lambda *_: None)
    assert 2 * (found & liver).sum() / (found.sum() + liver.sum()) > 0.95


def test_what_is_far_below_the_sure_part_is_looked_at_again_from_nearby():
    """Bowel that touches the liver and is half sure: with a pelvis in view the network takes it for liver."""
    array, liver = _trunk(445.0, (3.0, 3.0, 3.0))
    array = np.where(liver, 110.0, np.minimum(array, 40.0))
    bowel = _ellipsoid(array.shape, (3.0, 3.0, 3.0), (120, 150, 140), (30, 30, 130)) & ~liver
    dice, _, seen = _found(np.where(bowel, 66.0, array), liver)
    assert dice > 0.9 and seen[1] < seen[0] - 20


def test_of_a_liver_that_the_scan_cuts_only_what_is_steady_over_looks_and_levels_is_taken():
    """Scan from the pelvis to the liver's tip, and bowel beside it of which the network is half sure."""
    array, liver = _trunk(310.0, (3.0, 3.0, 3.0))
    array = np.where(liver, 110.0, np.minimum(array, 40.0))
    bowel = _ellipsoid(array.shape, (3.0, 3.0, 3.0), (170, 150, 240), (60, 50, 60)) & ~liver
    array = np.where(bowel, 67.0, array)
    dice, _, seen = _found(array, liver)
    assert dice > 0.9 and len(seen) >= 3
    prepared = liver_module._prepared(array, (3.0, 3.0, 3.0))
    plain = liver_module._look(_bright([]), prepared, (False, False))
    assert plain.mask.sum() > 1.5 * liver.sum() and plain.at_top
    lower = liver_module._prepared(np.where(liver, 40.0, array), (3.0, 3.0, 3.0))
    assert liver_module._from_above(_bright([]), np.where(lower > 0.2, 0.0, lower), False) is None


def test_the_end_of_a_scan_takes_nothing_of_an_organ_that_it_cuts():
    """A cone that widens upward: what remains of it is what the same cone has there without a cut."""
    x, y, z = np.ogrid[:40, :40, :30]
    cone = np.hypot(x - 20, y - 20) < 4 + z / 2
    whole = liver_module._one_piece(np.pad(cone, ((0, 0), (0, 0), (0, 1)), mode="edge"))[:, :, :-1]
    np.testing.assert_array_equal(liver_module._one_piece(cone), whole)
    assert liver_module._one_piece(cone)[:, :, -1].sum() > 0.98 * cone[:, :, -1].sum()


@pytest.mark.parametrize(
    ("hu", "noise", "reaches", "kept"),
    [(102.0, 8, True, True), (108.0, 2, True, True), (10.0, 8, True, False), (102.0, 8, False, False)],
)
def test_a_lobe_that_hangs_on_the_liver_above_the_scan_is_kept(hu, noise, reaches, kept):
    """Two pieces at the scan's upper end: the smaller one is liver if its HU are, not if it ends below or is bowel.

    What is alike is the same in a scan of little noise.
    """
    x, y, z = np.ogrid[:60, :40, :30]
    right = (np.hypot(x - 40, y - 20) < 12) & (z > 5)
    left = (np.hypot(x - 12, y - 20) < 6) & (z > 15) & (z < (30 if reaches else 28))
    grain = noise * np.random.default_rng(4).standard_normal((60, 40, 30))
    image = liver_module.normalized(np.where(right, 100.0, np.where(left, hu, -80.0)) + grain)
    found = liver_module._one_piece(right | left, image)
    assert found[right].mean() > 0.98
    assert (found[left].mean() > 0.9) if kept else not found[left].any()
    assert not liver_module._one_piece(right | left)[left].any()


def test_a_cut_liver_is_parted_by_hu_from_what_the_network_takes_for_it_too():
    """A lobe that is as unsure as the bowel around it is liver; a gallbladder that is as sure as the liver is not.

    A tumor at the liver's surface has other HU as well, and stays: it does not go on in the bowel.
    """
    x, y, z = np.ogrid[:60, :50, :30]
    right = (np.hypot(x - 42, y - 25) < 14) & (z > 2)
    bowel = (np.hypot(x - 16, y - 25) < 13) & (z > 8)
    lobe = (np.hypot(x - 16, y - 41) < 7) & (z > 12)
    gallbladder = (np.hypot(x - 31, y - 25) < 5) & (z > 10)
    tumor = (np.hypot(x - 52, y - 25) < 5) & (z > 10) & (z < 22) & right
    noise = 8 * np.random.default_rng(4).standard_normal((60, 50, 30))
    hu = np.select([lobe, tumor, gallbladder, bowel, right], [100.0, 50.0, 10.0, 10.0, 100.0], -80.0)
    image = liver_module.normalized(hu + noise)
    # Bowel is the less sure, the further it is from the liver: it leaves step by step.
    sure = np.select([gallbladder | right, bowel | lobe], [0.97, 0.5 + 0.35 * (x - 3.0) / 26.0 + 0 * (y + z)], 0.05)
    probability = sure.astype(np.float32)
    found = liver_module._steadiest(probability, probability > 0.5, image)
    assert found[right & ~gallbladder].mean() > 0.97 and found[tumor].mean() > 0.95
    assert found[lobe].mean() > 0.75
    assert found[gallbladder].mean() < 0.3 and found[bowel & ~lobe & ~gallbladder].mean() < 0.1
    # The same scan without bowel beside it: nothing says that the gallbladder is no tumor.
    beside = np.where(bowel & ~gallbladder, np.float32(0.05), probability)
    alone = liver_module._steadiest(beside, beside > 0.5, image)
    assert alone[gallbladder].mean() > 0.9
    # Looks that do not agree: what one of them took for liver is a lobe where its HU are, and else is not.
    doubted = np.where(lobe | (bowel & ~gallbladder), np.float32(0.35), probability)
    assert liver_module._steadiest(doubted, lobe | bowel | right, image)[lobe].mean() > 0.75
    for once in (doubted > 0.5, bowel | right):
        assert not liver_module._steadiest(doubted, once, image)[lobe & ~bowel].any()


@pytest.mark.parametrize("width", [8, 20])
def test_a_kidney_that_is_larger_than_the_tip_of_a_liver_is_left_out(width):
    """All that the network takes for liver hangs together: the kidney leaves step by step, the tip does not."""
    x, y, z = np.ogrid[:70, :60, :24]
    tip = (np.hypot(x - 54, y - 30) < 4 + z / 4.0) & (z > 3)
    kidney = (np.hypot((x - 50 + width) / width, (y - 30) / 14) < 1) & (z >= 0) & ~tip
    noise = 8 * np.random.default_rng(4).standard_normal(tip.shape)
    image = liver_module.normalized(np.select([tip, kidney], [45.0, 12.0], -80.0) + noise)
    sure = np.select([tip, kidney], [0.985, 0.6 + 0.012 * z + 0 * (x + y)], 0.05).astype(np.float32)
    probability = ndimage.gaussian_filter(sure, 1.0, mode="nearest")
    found = liver_module._steadiest(probability, probability > 0.5, image)
    assert not found[kidney].any() and found[tip].mean() > 0.5


@pytest.mark.parametrize(
    ("axes", "told"), [((), None), ((0,), "left and right"), ((0, 1), "left and right|turned over")]
)
def test_a_mirrored_or_turned_patient_is_found_and_told(axes, told):
    array, liver = _trunk(445.0, (3.0, 3.0, 3.0))
    array = np.flip(np.where(liver, 110.0, np.minimum(array, 40.0)), axes)
    dice, notes, _ = _found(array, np.flip(liver, axes), only_right=True)
    assert dice > 0.97
    assert notes == () if told is None else re.search(told, notes[0])


@pytest.mark.parametrize(("thick", "least"), [(0.6, 11), (1.0, 7), (3.0, 3), (10.0, 3)])
def test_a_scan_of_too_few_slices_is_refused_for_that_reason(thick, least):
    """One or two slices hold a body, too: the error names what is lacking, and with one more slice there is a liver."""
    spacing = (5.0, 5.0, thick)
    array, liver = _trunk(445.0, spacing)
    array = np.where(liver, 110.0, np.minimum(array, 40.0))
    first = round(330.0 / thick)
    for n in (1, least - 1):
        with pytest.raises(ImageError, match="too few slices") as caught:
            liver_module.find_liver(_bright([]), array[:, :, first : first + n], spacing, lambda *_: None)
        assert caught.value.found == f"{n} slices of {thick:g} mm along z"
        assert caught.value.expected == f"at least {least} slices of {thick:g} mm"
    found, _ = liver_module.find_liver(_bright([]), array[:, :, first : first + least], spacing, lambda *_: None)
    part = liver[:, :, first : first + least]
    assert 2 * (found & part).sum() / (found.sum() + part.sum()) > 0.9
    with pytest.raises(ImageError, match="too few slices") as caught:
        abdomen_box(array[:, 30:32], spacing)
    assert caught.value.found == "2 slices of 5 mm along y"


def test_an_mr_is_refused():
    generator = np.random.default_rng(2)
    image = np.abs(generator.normal(200, 80, (40, 40, 30)))
    for values in (image, (image - image.mean()) / image.std()):
        with pytest.raises(ImageError, match="no MR"):
            abdomen_box(values, (3.0, 3.0, 3.0))


def test_weights_from_a_file_and_what_is_refused(tmp_path):
    with pytest.raises(ModelError, match="on a computer with internet"):
        weight_files(tmp_path / "nowhere.whl", cache=tmp_path)
    wrong = tmp_path / weight_store.WHEEL
    with zipfile.ZipFile(wrong, "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(ModelError, match="SHA-256"):
        weight_files(tmp_path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_failed_fetch_says_how_to_do_without_internet(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match="carry the file"):
        weight_files(cache=tmp_path)


def test_the_cache_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("HEPACAST_CACHE", str(tmp_path))
    assert weight_store.cache_folder() == tmp_path
    assert not weight_store.weights_present()


def test_a_given_liver_is_checked():
    grid = Geometry((6, 6, 6), (1.0, 1.0, 1.0))
    image = Volume(np.zeros(grid.shape, np.int16), grid)
    with pytest.raises(ImageError, match="empty"):
        BuiltinSegmenter().segment(image, liver=Volume(np.zeros(grid.shape, bool), grid))
    moved = Geometry((6, 6, 6), (1.0, 1.0, 1.0), origin=(5.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match=r"5\.00 mm"):
        BuiltinSegmenter().segment(image, liver=Volume(np.ones(grid.shape, bool), moved))


@pytest.fixture
def weights():
    """The real weights; skipped where they can be had neither from the cache nor by pip."""
    try:
        return weight_files()
    except ModelError as error:
        if os.environ.get("HEPACAST_REQUIRE_DATA") == "1":
            pytest.fail(str(error))
        pytest.skip("the weights of the built-in networks cannot be fetched")


# Computed by the original code (create_unet_like_model of pyliverlesionseg 0.3, run by Keras 3.15) with the
# original weights on the input of `test_equal_to_the_original_networks`.
ORIGINAL = {
    "liver": (
        0.08935052156448364,
        0.14454211294651031,
        [0.0263256, 0.00144352, 0.013435, 0.00107914, 0.00112544, 0.150532, 0.036895, 0.018593, 0.000945944, 0.131997,
         0.0024149, 0.00259084],
    ),
    "lesion": (
        0.0344843752682209,
        0.16424185037612915,
        [0.0146286, 9.75111e-07, 6.25254e-10, 2.2973e-07, 1.60687e-08, 1.99593e-09, 2.12708e-11, 9.50004e-14,
         2.23603e-09, 1.68413e-12, 8.28282e-11, 3.41946e-06],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["liver", "lesion"])
def test_equal_to_the_original_networks(name, weights):
    architecture = SMALL[name]
    image = np.random.default_rng(0).uniform(-0.5, 0.5, architecture.input_size).astype(np.float32)
    image[:20] = 0
    network = networks.PretrainedUNet(architecture, networks.read_weights(weights[name], architecture))
    result = network(image)
    mean, deviation, values = ORIGINAL[name]
    assert result.mean() == pytest.approx(mean, abs=1e-5) and result.std() == pytest.approx(deviation, abs=1e-5)
    picked = np.random.default_rng(1).choice(result.size, 12, replace=False)
    np.testing.assert_allclose(result.ravel()[picked], values, atol=5e-5)


def read_ircadb(folder):
    image = read_volume(folder / "ircadb17_ct.nii.gz")
    names = {"parenchyma": 1, "tumor": 2}
    labels = read_labelmap(folder / "ircadb17_seg_1liver_2tumour.nii.gz", names, reference=image)
    return image, image.with_array(labels.volume.array > 0), labels.mask("tumor")


@pytest.mark.slow
@pytest.mark.data
def test_the_liver_of_a_real_ct(data_dir, weights):
    image, liver, _ = read_ircadb(data_dir("ct/ircadb17"))
    result = BuiltinSegmenter(lesions=False).segment(image)
    assert segmentation_metrics(liver, result.mask("liver")).dice >= 0.95


@pytest.mark.slow
@pytest.mark.data
def test_the_lesions_of_a_real_ct(data_dir, weights):
    image, liver, tumor = read_ircadb(data_dir("ct/ircadb17"))
    result = BuiltinSegmenter().segment(image, liver=liver)
    np.testing.assert_array_equal(result.mask("liver").array, liver.array)
    assert segmentation_metrics(tumor, result.mask("tumor")).dice >= 0.60


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 2), (7, 5, 9), (9, 40, 33), (3, 4, 700)])
def test_the_median_is_that_of_itk(shape):
    values = np.random.default_rng(1).normal(scale=100, size=shape).round(-1).astype(np.float32)
    expected = sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(values), [1, 1, 1]))
    np.testing.assert_array_equal(median_of_27(values), expected)
