"""A trained folder applied here gives what nnU-Net's own predictor gives; unsafe checkpoints are refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from scipy import ndimage

from hepacast.errors import GeometryError, HepacastError, ImageError, ModelError
from hepacast.imaging import Geometry, Volume

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from tiny_model import plans, write_model  # noqa: E402

from hepacast.imaging.io import write_volume  # noqa: E402
from hepacast.segmentation.base import segment_patient  # noqa: E402
from hepacast.segmentation.nnunet import NnunetSegmenter, export_segmenter, loaded, open_model  # noqa: E402
from hepacast.segmentation.nnunet.air import tiles_with_body  # noqa: E402
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint  # noqa: E402
from hepacast.segmentation.nnunet.inference import (  # noqa: E402
    count_tiles,
    gaussian_weights,
    labels_on_grid,
    sliding_logits,
)
from hepacast.study.segment import named_images, segment  # noqa: E402


def image(shape=(14, 30, 26), spacing=(1.7, 1.5, 5.0), direction=None):
    from scipy.ndimage import gaussian_filter

    array = gaussian_filter(np.random.default_rng(3).normal(100, 300, shape), 2.0)
    array = (array - array.mean()) / array.std() * 80 + 100
    settings = {"direction": direction} if direction else {}
    return Volume(array.astype(np.int16), Geometry(shape[::-1], spacing, **settings))


def stock_labels(root, volume, mirror, *others):
    """The same through nnU-Net's own predictor."""
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(root), None)
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        np.stack([item.array for item in (volume, *others)]).astype(np.float32),
        None,
        {"spacing": list(volume.spacing[::-1])},
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.dataset_json,
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.float().numpy(),
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        num_threads_torch=1,
    )


@pytest.mark.parametrize(
    ("spacing", "mirror"),
    [((1.7, 1.5, 5.0), False), ((1.7, 1.5, 5.0), True), ((0.9, 0.9, 7.5), False), ((2.0, 2.0, 4.0), False)],
    ids=["linear", "mirrored", "thick slices", "same grid"],
)
def test_equal_to_the_stock_predictor(tmp_path, spacing, mirror):
    root = write_model(tmp_path)
    volume = image(spacing=spacing)
    ours = NnunetSegmenter(root, mirror=mirror, threads=1).segment(volume)
    theirs = stock_labels(root, volume, mirror)
    shares = np.bincount(theirs.ravel(), minlength=3) / theirs.size
    assert np.sort(shares)[1] > 0.02  # at least two classes to tell apart
    # nnU-Net adds tiles in half precision; a voxel between two classes may fall to the other side.
    assert (ours.volume.array != theirs).mean() < 2e-3


def test_a_turning_reader_sees_the_patient_from_the_same_side(tmp_path):
    plan = {**plans(), "image_reader_writer": "NibabelIOWithReorient"}
    root = write_model(tmp_path, folds=(0,), plan=plan)
    segmenter = NnunetSegmenter(root, threads=1)
    upright = image(direction=((-1.0, 0, 0), (0, -1.0, 0), (0, 0, 1.0)))
    flipped = Volume(
        upright.array[:, ::-1, ::-1].copy(),
        Geometry(
            upright.geometry.size,
            upright.spacing,
            origin=tuple(
                float(v)
                for v in upright.geometry.affine_lps
                @ [upright.geometry.size[0] - 1, upright.geometry.size[1] - 1, 0, 1]
            )[:3],
        ),
    )
    first, second = segmenter.segment(upright), segmenter.segment(flipped)
    np.testing.assert_array_equal(first.volume.array[:, ::-1, ::-1], second.volume.array)


def test_description_estimate_and_identity(tmp_path):
    root = write_model(tmp_path / "a")
    segmenter = NnunetSegmenter(root)
    facts = segmenter.describe()
    assert facts["network"]["features_per_stage"] == [4, 8]
    assert facts["network"]["patch_size"] == [8, 16, 16]
    assert facts["network"]["classes"] == {"parenchyma": 1, "tumor": 2}
    assert segmenter.structures == ("parenchyma", "tumor", "liver")
    json.dumps(facts)
    estimate = segmenter.estimate(image())
    assert estimate.seconds > 0 and estimate.bytes > 0
    assert NnunetSegmenter(root, folds=[0]).model.identity != segmenter.model.identity
    assert open_model(tmp_path / "a").identity == segmenter.model.identity


def test_the_thread_number_is_put_back(tmp_path):
    root = write_model(tmp_path, folds=(0,))
    before = torch.get_num_threads()
    NnunetSegmenter(root, threads=before + 1).segment(image())
    assert torch.get_num_threads() == before


def test_threads_change_no_label(tmp_path):
    root = write_model(tmp_path, folds=(0,))
    one, two = (NnunetSegmenter(root, threads=n).segment(image()).volume.array for n in (1, 2))
    np.testing.assert_array_equal(one, two)


class _Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {}, "logging": _Evil()}, path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path)
    assert not (tmp_path / "evil").exists()


def test_damaged_and_foreign_checkpoints(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    with pytest.raises(ModelError, match="missing"):
        load_checkpoint(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path)
    torch.save({"weights": {}}, path)
    with pytest.raises(ModelError, match="not a checkpoint of nnU-Net"):
        load_checkpoint(path)


def test_folders_that_cannot_be_used_are_refused_with_a_reason(tmp_path):
    with pytest.raises(ModelError, match="not the folder of a trained nnU-Net"):
        open_model(tmp_path)
    root = write_model(tmp_path / "one")
    with pytest.raises(ModelError, match="fold_7"):
        open_model(root, folds=[7])
    write_model(tmp_path / "two")
    with pytest.raises(HepacastError, match="several nnU-Net models"):
        open_model(tmp_path)
    other = plans()
    other["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 16]
    (root / "plans.json").write_text(json.dumps(other))
    with pytest.raises(ModelError, match="does not fit the network"):
        NnunetSegmenter(root).segment(image())


def test_tiles_cover_an_image_of_any_size():
    def constant(batch):
        return torch.stack([batch[:, 0], -batch[:, 0]], dim=1)

    for size in ((3, 5, 7), (8, 16, 16), (20, 33, 17)):
        data = torch.randn(1, *size)
        logits = sliding_logits(constant, data, (8, 16, 16), 2, device=torch.device("cpu"))
        assert logits.shape == (2, *size)
        torch.testing.assert_close(logits[0], data[0], atol=1e-4, rtol=1e-4)
    flat = sliding_logits(constant, data, (16, 16), 2, device=torch.device("cpu"))
    torch.testing.assert_close(flat[0], data[0], atol=1e-4, rtol=1e-4)
    assert count_tiles((20, 33, 17), (8, 16, 16)) == 4 * 4 * 2
    assert float(gaussian_weights((8, 16, 16)).min()) > 0


def test_regions_end_up_with_the_label_of_the_last_one_that_holds():
    logits = torch.full((2, 2, 3, 3), -1.0)
    logits[0, :, 1] = 1.0
    logits[1, :, 1, 1] = 1.0
    labels = labels_on_grid(logits, (2, 3, 3), separate_slices=False, regions=[1, 2])
    assert labels[0].tolist() == [[0, 0, 0], [1, 2, 1], [0, 0, 0]]


def test_several_channels_are_taken_by_name_and_equal_the_stock_predictor(tmp_path):
    plan = plans()
    plan["configurations"]["3d_fullres"] |= {
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
        "use_mask_for_norm": [False, False],
    }
    scale = plan["foreground_intensity_properties_per_channel"]
    scale["1"] = scale["0"]
    root = write_model(tmp_path, folds=(0,), plan=plan, channel_names={"0": "CT", "1": "MRI"}, sequences=PHASES)
    first = image()
    second = first.with_array(np.ascontiguousarray(first.array[:, ::-1] * 3))
    segmenter = NnunetSegmenter(root, threads=1)
    assert segmenter.channels == ("portal", "hepatobiliary")
    ours = segmenter.segment({"hepatobiliary": second, "portal": first}).volume.array
    theirs = stock_labels(root, first, False, second)
    assert (ours != theirs).mean() < 5e-3
    assert (ours != stock_labels(root, second, False, first)).mean() > 0.02, "the order of the channels is seen"
    renamed = NnunetSegmenter(root, threads=1, channels=["venous", "late"])
    np.testing.assert_array_equal(renamed.segment({"late": second, "venous": first}).volume.array, ours)
    assert renamed.identity != segmenter.identity
    both = {"late phase": first, "portal": first, "hepatobiliary": second}
    np.testing.assert_array_equal(segment_patient(segmenter, both).volume.array, ours)
    for name, volume in both.items():
        write_volume(volume, tmp_path / f"{name}.nii.gz")
    paths = named_images([f"{name}={tmp_path / name}.nii.gz" for name in ("hepatobiliary", "portal")])
    found = segment(paths, segmenter=f"nnunet:{root}", accept_doubtful=True).found.volume
    np.testing.assert_array_equal(found.array, ours)
    with pytest.raises(ImageError, match=r"(?s)not all there.*portal, hepatobiliary"):
        segmenter.segment({"portal": first})
    shifted = Volume(second.array, Geometry(second.geometry.size, second.spacing, origin=(4.0, 0.0, 0.0)))
    with pytest.raises(GeometryError, match=r"(?s)'hepatobiliary' lies up to 4.*register"):
        segmenter.segment({"portal": first, "hepatobiliary": shifted})
    with pytest.raises(ModelError, match="another number of input channels"):
        NnunetSegmenter(root, channels=["portal"])


PHASES = {"0": "portal", "1": "hepatobiliary"}


def in_air(radius=9):
    """A patient with a lung in a wide field of air."""
    inner = image(shape=(6, 90, 92))
    _, j, i = np.indices(inner.array.shape)
    body = (j - 40) ** 2 + (i - 43) ** 2 < radius**2
    lung = (j - 40) ** 2 + (i - 40) ** 2 < (radius / 3) ** 2
    noise = np.random.default_rng(1).normal(-1000, 40, inner.array.shape)
    array = np.where(body & ~lung, inner.array, np.where(lung, noise + 100, noise))
    return inner.with_array(array.astype(np.int16)), body


@pytest.mark.parametrize("mirror", [False, True])
def test_air_is_skipped_and_the_body_keeps_every_label(tmp_path, monkeypatch, mirror):
    root = write_model(tmp_path)
    volume, body = in_air()
    seen = []
    stock = loaded.sliding_logits

    def counted(network, *arguments, **options):
        def watched(batch):
            seen.append(len(batch))
            return network(batch)

        return stock(watched, *arguments, **options)

    monkeypatch.setattr(loaded, "sliding_logits", counted)
    labels, tiles = {}, {}
    for skip in (False, True):
        seen.clear()
        segmenter = NnunetSegmenter(root, threads=1, skip_air=skip, mirror=mirror)
        labels[skip], tiles[skip] = segmenter.segment(volume).volume.array, sum(seen)
    np.testing.assert_array_equal(labels[True][body], labels[False][body])
    assert np.bincount(labels[True][body], minlength=3)[1:].max() > 100
    assert tiles[True] < 0.4 * tiles[False]
    assert labels[False][:, -15:, -15:].any() and not labels[True][:, -15:, -15:].any()


def test_a_gantry_of_air_around_nothing_is_not_skipped():
    empty = np.full((10, 10, 10), -1000.0)
    assert tiles_with_body(empty, (10, 10, 10)) is None, "no body is found: every tile is computed"
    assert tiles_with_body(empty + 1000, (10, 10, 10)) is None
    empty[4:6, 4:6, 4:6] = 0
    touches = tiles_with_body(empty, (20, 20, 20))
    assert touches((0, 0, 0), (12, 12, 12)) and not touches((0, 0, 14), (20, 20, 20))
    assert not touches((-8, -8, -8), (0, 0, 0))


def test_half_precision_is_said_and_part_of_the_identity(tmp_path):
    root = write_model(tmp_path, folds=(0,))
    single, half = (NnunetSegmenter(root, threads=1, precision=name) for name in ("float32", "bfloat16"))
    assert single.identity != half.identity
    assert "bfloat16" in half.describe()["sentence"] and "float" not in single.describe()["sentence"]
    one, two = (item.segment(image()).volume.array for item in (single, half))
    assert 0 < (one != two).mean() < 0.05
    with pytest.raises(ModelError, match="for a GPU"):
        NnunetSegmenter(root, precision="float16")
    with pytest.raises(ModelError, match="not known"):
        NnunetSegmenter(root, precision="int8")
    # What no machine here can run: the choice alone.
    assert NnunetSegmenter(root, device="cuda")._precision == "float16"


def test_plans_that_name_anything_but_layers_are_refused(tmp_path):
    for number, (key, value) in enumerate([("nonlin", "os.system"), ("norm_op", "torch.nn.functional.os")]):
        plan = plans()
        root = write_model(tmp_path / str(number), folds=(0,), plan=plan)
        plan["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][key] = value
        (root / "plans.json").write_text(json.dumps(plan))
        with pytest.raises(ModelError, match=r"(?s)no network and no layer.*" + value.replace(".", r"\.")):
            open_model(root)


def choice(tmp_path, postprocessing=True):
    """Two models of one dataset and nnU-Net's choice of their mean, with its postprocessing."""
    data = tmp_path / "Dataset001_tiny"
    one = write_model(data, folds=(0,))
    two = write_model(tmp_path / "other", folds=(1,))
    (two / "fold_1").rename(two / "fold_0")
    second = plans()
    second["configurations"] = {"3d_lowres": second["configurations"]["3d_fullres"]}
    (two / "plans.json").write_text(json.dumps(second))
    two = two.rename(data / "nnUNetTrainer__nnUNetPlans__3d_lowres")
    ensemble = data / "ensembles" / "ensemble___a___b___0"
    ensemble.mkdir(parents=True)
    steps = {
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"] * 2,
        "postprocessing_kwargs": [{"labels_or_regions": [1, 2]}, {"labels_or_regions": 2}],
    }
    (ensemble / "postprocessing.json").write_text(json.dumps(steps))
    (ensemble / "postprocessing.pkl").write_bytes(b"never opened")
    named = [
        {"trainer": "nnUNetTrainer", "plans_identifier": "nnUNetPlans", "configuration": name}
        for name in ("3d_fullres", "3d_lowres")
    ]
    file = f"/another/computer/Dataset001_tiny/ensembles/{ensemble.name}/postprocessing.pkl"
    best = {"selected_model_or_models": named, "postprocessing_file": file if postprocessing else None}
    (data / "inference_information.json").write_text(json.dumps({"best_model_or_ensemble": best}))
    return data, one, two


def test_nnunets_own_choice_is_applied_mean_and_postprocessing(tmp_path):
    data, one, two = choice(tmp_path)
    volume = image()
    segmenter = NnunetSegmenter(data, threads=1)
    assert segmenter.applied.largest == ((1, 2), (2,))
    assert "mean of 3d_fullres and 3d_lowres" in segmenter.describe()["sentence"]
    assert segmenter.describe()["network"]["averaged_with"] == "3d_lowres"
    found = segmenter.segment(volume).volume.array
    pieces = [ndimage.label(mask, np.ones((3, 3, 3)))[1] for mask in (found > 0, found == 2)]
    assert pieces == [1, 1]
    plain = NnunetSegmenter(choice(tmp_path / "plain", postprocessing=False)[0], threads=1)
    assert plain.identity != segmenter.identity
    mean = plain.segment(volume).volume.array
    assert ndimage.label(mean > 0, np.ones((3, 3, 3)))[1] > 1
    shares = []
    for root in (one, two):
        (part,) = NnunetSegmenter(root, threads=1).loaded()
        logits, properties = part.logits(volume.array[None], volume.spacing[::-1], lambda share, message: None)
        shares.append(torch.stack([torch.softmax(plane, 0) for plane in part.planes(logits, properties)]))
    np.testing.assert_array_equal(mean, (shares[0] + shares[1]).argmax(1).numpy())


def test_models_that_do_not_fit_together_are_not_averaged(tmp_path):
    data, _, two = choice(tmp_path)
    content = json.loads((two / "dataset.json").read_text())
    (two / "dataset.json").write_text(json.dumps({**content, "labels": {"background": 0, "tumor": 1, "liver": 2}}))
    with pytest.raises(ModelError, match="do not fit together"):
        NnunetSegmenter(data)


def test_images_of_several_channels_are_named():
    assert named_images(["a.nii.gz"]) == "a.nii.gz"
    assert named_images(["a=x.nii.gz", "b = y.nii.gz"]) == {"a": "x.nii.gz", "b": "y.nii.gz"}
    for wrong in (["a.nii.gz", "b.nii.gz"], ["a=x", "a=y"], ["=x", "b=y"]):
        with pytest.raises(HepacastError, match="needs the name"):
            named_images(wrong)


def test_what_is_exported_is_applied_in_the_same_way(tmp_path):
    data, one, _ = choice(tmp_path)
    volume = image()
    segmenter = NnunetSegmenter(data, threads=1, mirror=True, precision="bfloat16")
    export_segmenter(segmenter, tmp_path / "own")
    again = NnunetSegmenter(tmp_path / "own", threads=1)
    for name in ("plans.json", "dataset.json"):
        with (one / name).open("a") as file:  # as nnU-Net does when it trains again
            file.write(" ")
        assert (tmp_path / "own" / one.name / name).read_text() != (one / name).read_text()
    assert again.identity == segmenter.identity and again.applied.largest == segmenter.applied.largest
    found = again.segment(volume)
    assert found.identity == segmenter.identity
    np.testing.assert_array_equal(found.volume.array, segmenter.segment(volume).volume.array)
    export_segmenter(NnunetSegmenter(one, channels=["venous"]), tmp_path / "single")
    assert NnunetSegmenter(tmp_path / "single").channels == ("venous",)
    assert NnunetSegmenter(tmp_path / "single", mirror=True).identity != NnunetSegmenter(tmp_path / "single").identity


def test_a_residual_encoder_is_applied_and_described(tmp_path):
    plan = plans()
    architecture = plan["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    architecture["arch_kwargs"]["n_blocks_per_stage"] = [1, 2]
    del architecture["arch_kwargs"]["n_conv_per_stage"]
    segmenter = NnunetSegmenter(write_model(tmp_path, folds=(0,), plan=plan), threads=1)
    assert segmenter.describe()["network"]["convs_per_stage"] == [1, 2]
    assert segmenter.estimate(image()).seconds > 0
    found = segmenter.segment(image()).volume.array
    theirs = stock_labels(segmenter.model.folder, image(), False)
    assert (found != theirs).mean() < 5e-3
