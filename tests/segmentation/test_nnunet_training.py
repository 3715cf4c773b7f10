"""nnU-Net is really trained: it learns, resumes to the same numbers, and the number of workers changes nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from hepacast.imaging import Geometry, Volume, read_volume
from hepacast.imaging.labels import LabelMap

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from hepacast.core.hashing import hash_file  # noqa: E402
from hepacast.segmentation.nnunet import NnunetSegmenter, SmallNetwork, TrainingCase, nnunet_plan, train  # noqa: E402
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint  # noqa: E402
from hepacast.segmentation.nnunet.start import read_start  # noqa: E402
from hepacast.segmentation.nnunet.trainers import one_cycle  # noqa: E402

GRID = Geometry((40, 36, 16), (4.0, 4.0, 5.0))


def patient(number):
    """A bright "liver" with a dark "tumor" in a gray body."""
    generator = np.random.default_rng(number)
    k, j, i = np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij")
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    center = np.array([8, 18, 16]) + generator.uniform(-1.5, 1.5, 3)
    distance = ((k - center[0]) / 5) ** 2 + ((j - center[1]) / 10) ** 2 + ((i - center[2]) / 11) ** 2
    labels[distance < 1] = 1
    tumor = center + generator.uniform(-3, 3, 3) * (0.5, 1, 1)
    labels[((k - tumor[0]) * 1.25) ** 2 + (j - tumor[1]) ** 2 + (i - tumor[2]) ** 2 < 20] = 2
    image = np.select([labels == 1, labels == 2], [120, 20], 60) + generator.normal(0, 8, GRID.shape)
    image[:, :3] = image[:, -3:] = -1000
    volume = Volume(image.astype(np.int16), GRID)
    labelmap = LabelMap(volume.with_array(labels), {"parenchyma": 1, "tumor": 2})
    return TrainingCase(f"p{number:02d}", volume, labelmap)


def small_plan(**changes):
    network = SmallNetwork(
        features=(8, 16),
        strides=((1, 1, 1), (1, 2, 2)),
        kernels=((3, 3, 3), (3, 3, 3)),
        patch=(16, 32, 32),
        spacing=None,
    )
    return nnunet_plan("demo", **{"folds": 2, "epochs": 4, "iterations": 25, "network": network, **changes})


def test_the_demo_presets_learning_rate_rises_and_falls_once():
    rates = np.array([one_cycle(step, 300, 6e-3) for step in range(300)])
    assert rates.argmax() == 75 and rates[75] == pytest.approx(6e-3)
    assert rates[0] == pytest.approx(6e-4) and rates[-1] < 1e-6
    assert (np.diff(rates[:76]) > 0).all() and (np.diff(rates[75:]) < 0).all()


class Stopped(Exception):
    """Stands for the power cut."""


def contents(trained):
    """Weights and validation masks of every fold."""
    result = {}
    for fold, split in enumerate(trained.splits):
        folder = trained.folder / f"fold_{fold}"
        for key, tensor in load_checkpoint(folder / "checkpoint_final.pth")["network_weights"].items():
            result[fold, key] = tensor.numpy()
        for name in split["val"]:
            result[fold, name] = read_volume(trained.out_of_fold(name)).array
    return result


@pytest.mark.slow
def test_it_learns_resumes_exactly_and_does_not_depend_on_workers(tmp_path):
    cases, test = [patient(n) for n in range(6)], [patient(10), patient(11)]
    plan = small_plan()
    whole = train(plan, cases, test, tmp_path / "whole", 3, workers=2)
    dice = {
        name: np.mean([row["dice"] for row in whole.rows if row["set"] == "test" and row["structure"] == name])
        for name in ("liver", "tumor")
    }
    assert dice["liver"] > 0.9 and dice["tumor"] > 0.6
    assert {row["set"] for row in whole.rows} == {"fold 0", "fold 1", "test"}

    def stop_in_the_second_fold(share, message):
        if message.startswith("fold 2") and "epoch 3" in message:
            raise Stopped

    with pytest.raises(Stopped):
        train(plan, cases[::-1], test, tmp_path / "cut", 3, workers=1, progress=stop_in_the_second_fold)
    resumed = train(plan, cases[::-1], test, tmp_path / "cut", 3, workers=1)
    assert resumed.folds_kept == (0,)
    first, second = contents(whole), contents(resumed)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=str(key))
    assert json.dumps(whole.rows) == json.dumps(resumed.rows)

    again = train(plan, cases, test, tmp_path / "whole", 3)
    assert again.folds_kept == (0, 1) and json.dumps(again.rows) == json.dumps(whole.rows)
    # A damaged checkpoint is not taken over.
    (again.folder / "fold_1" / "checkpoint_final.pth").write_bytes(b"x")
    repaired = train(plan, cases, test, tmp_path / "whole", 3)
    assert repaired.folds_kept == (0,) and json.dumps(repaired.rows) == json.dumps(whole.rows)


@pytest.mark.cluster
def test_workers_of_a_cluster_train_the_same_networks(tmp_path):
    pytest.importorskip("distributed")
    from hepacast.core.cluster import on_cluster

    cases, plan = [patient(n) for n in range(4)], small_plan(epochs=1, iterations=3)
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: local\nworkers: 2\nmemory: 4 GB\n")
    here = train(plan, cases, [], tmp_path / "here", 3, workers=1)
    with on_cluster(file, folder=tmp_path):
        there = train(plan, cases, [], tmp_path / "there", 3)
    first, second = contents(here), contents(there)
    assert first.keys() == second.keys() and json.dumps(here.rows) == json.dumps(there.rows)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=str(key))


@pytest.mark.slow
def test_stock_nnunet_can_apply_what_was_trained_here(tmp_path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    cases = [patient(n) for n in range(4)]
    trained = train(small_plan(epochs=1, iterations=2), cases, [], tmp_path, 3)
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(trained.folder), None)
    image = cases[0].image
    properties = {"spacing": list(image.spacing[::-1])}
    data, _, properties = predictor.configuration_manager.preprocessor_class(verbose=False).run_case_npy(
        image.array[None].astype(np.float32),
        None,
        properties,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.dataset_json,
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    ours = trained.segmenter().segment(image).volume.array
    assert (logits.argmax(0).numpy() != ours).mean() < 1e-2  # it adds tiles in half precision


def two_phases(number):
    case = patient(number)
    return replace(case, image={"portal": case.image, "late": case.image.with_array(case.image.array * 2)})


def briefly(*configurations, **changes):
    """nnU-Net as it plans itself, for one step."""
    brief = {"epochs": 1, "iterations": 1, "validation_iterations": 1, "folds": 2, "mirror_at_test": False}
    return nnunet_plan("fast", **brief, threads=1, configurations=configurations, **changes)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nnunet_itself_chooses_configuration_and_postprocessing(tmp_path):
    plan = briefly("2d", "3d_fullres", channels={"portal": "CT", "late": "MR"}, gpu_memory_gb=1)
    cases = [two_phases(n) for n in range(4)]
    trained = train(plan, cases, [], tmp_path, 3, workers=2)
    choice = trained.choice
    assert list(choice.dice) == ["2d", "3d_fullres", "mean of 2d and 3d_fullres"]
    best = max(choice.dice, key=lambda name: choice.dice[name])
    assert " and ".join(choice.configurations) == best.removeprefix("mean of ")
    # What a folder that is carried to another computer gives is the choice, and what a fold said of its patients.
    segmenter = NnunetSegmenter(trained.applied_folder, threads=1, folds=[0])
    first = trained.splits[0]["val"][0]
    case = next(item for item in cases if item.patient == first)
    again = segmenter.segment(case.image).volume.array
    assert (again != read_volume(trained.out_of_fold(first)).array).mean() < 2e-3


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cascade_learns_from_the_first_stages_masks(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "GRID", Geometry((72, 64, 32), (4.0, 4.0, 5.0)))
    plan = briefly("3d_cascade_fullres", postprocessing=False, gpu_memory_gb=0.02)
    cases = [patient(n) for n in range(4)]
    trained = train(plan, cases, [], tmp_path, 3, workers=2)
    segmenter = NnunetSegmenter(trained.folder, threads=1, folds=[0])
    assert segmenter.model.previous.configuration_name == "3d_lowres"
    first = trained.splits[0]["val"][0]
    case = next(item for item in cases if item.patient == first)
    again = segmenter.segment(case.image).volume.array
    np.testing.assert_array_equal(again, read_volume(trained.out_of_fold(first)).array)


@pytest.mark.slow
def test_a_training_begins_with_the_weights_of_another(tmp_path):
    cases = [patient(n) for n in range(4)]
    source = train(small_plan(epochs=1, iterations=8), cases, [], tmp_path / "source", 3)
    file = source.folder / "fold_0" / "checkpoint_final.pth"
    plan = small_plan(epochs=1, iterations=1, learning_rate=1e-9, channels={"portal": "CT", "late": "MR"})
    plan = replace(plan, start=read_start(file, hash_file(file), plan))
    trained = train(plan, [two_phases(n) for n in range(4)], [], tmp_path / "own", 3)
    theirs, ours = (
        load_checkpoint(folder / "fold_0" / "checkpoint_final.pth")["network_weights"]
        for folder in (source.folder, trained.folder)
    )
    changed = [key for key in theirs if theirs[key].shape != ours[key].shape]
    assert changed and all(ours[key].shape[1] == 2 for key in changed)
    for key in set(theirs) - set(changed):
        torch.testing.assert_close(ours[key], theirs[key], atol=1e-6, rtol=1e-5)
    assert "began with the weights" in trained.segmenter().describe()["sentence"]
