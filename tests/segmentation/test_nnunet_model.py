"""A trained folder applied here gives what nnU-Net's own predictor gives; unsafe checkpoints are refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from hepacast.errors import HepacastError, ModelError
from hepacast.imaging import Geometry, Volume

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from tiny_model import plans, write_model  # noqa: E402

from hepacast.segmentation.nnunet import NnunetSegmenter, open_model  # noqa: E402
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint  # noqa: E402
from hepacast.segmentation.nnunet.inference import (  # noqa: E402
    count_tiles,
    gaussian_weights,
    labels_on_grid,
    sliding_logits,
)


def image(shape=(14, 30, 26), spacing=(1.7, 1.5, 5.0), direction=None):
    from scipy.ndimage import gaussian_filter

    array = gaussian_filter(np.random.default_rng(3).normal(100, 300, shape), 2.0)
    array = (array - array.mean()) / array.std() * 80 + 100
    settings = {"direction": direction} if direction else {}
    return Volume(array.astype(np.int16), Geometry(shape[::-1], spacing, **settings))


def stock_labels(root, volume, mirror):
    """The same through nnU-Net's own predictor."""
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(root), None)
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        volume.array[None].astype(np.float32),
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
    two = write_model(tmp_path / "two", channel_names={"0": "T1", "1": "T2"})
    with pytest.raises(ModelError, match="2 images at once"):
        open_model(two)
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
