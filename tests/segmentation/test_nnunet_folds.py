"""Which folds of which configurations are trained where, kept, and chosen among; nnU-Net itself is a stand-in."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from hepacast.core.executor import remote_maps
from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.labels import LabelMap

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from tiny_model import dataset_json, plans

from hepacast.segmentation import devices
from hepacast.segmentation.nnunet import TrainingCase, nnunet_plan, train, training
from hepacast.segmentation.nnunet.dataset import DATASET

GRID = Geometry((10, 9, 8), (3.0, 3.0, 5.0))
PLAN = nnunet_plan("fast", folds=3, postprocessing=False)


def case(number):
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[2:6, 2:7, 2:8] = 1
    labels[3:5, 3:5, 3:5] = 2
    image = np.random.default_rng(number).normal(100, 10, GRID.shape).astype(np.int16)
    masks = LabelMap(Volume(labels, GRID), {"parenchyma": 1, "tumor": 2})
    return TrainingCase(f"P{number}", Volume(image, GRID), masks)


CASES = [case(number) for number in range(6)]


class StandIn:
    """Does what nnU-Net's child processes leave behind: masks of a fold are the reader's without some voxels."""

    def __init__(self, planned=("2d", "3d_fullres")):
        self.planned, self.calls, self.kept = planned, [], []

    def __call__(self, task, job, work_dir, *, threads, gpu=None, on_message=None):
        self.calls.append((task, job.get("configuration"), tuple(job.get("folds", ())), gpu))
        getattr(self, task)(job, Path(work_dir), on_message)

    def plan(self, job, work, tell):
        folder = work / "preprocessed" / DATASET
        plan = plans()
        one = plan["configurations"]["3d_fullres"]
        plan["configurations"] = {name: {**one, "data_identifier": name} for name in self.planned}
        for name in self.planned:
            for path in (work / "raw" / DATASET / "labelsTr").iterdir():
                for ending in (".b2nd", "_seg.b2nd", ".pkl"):
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    (folder / name / f"{path.name.removesuffix('.nii.gz')}{ending}").write_bytes(b"x")
        (folder / "nnUNetPlans.json").write_text(json.dumps(plan))
        (folder / "splits_final.json").write_text(json.dumps(job["splits"]))

    def folds(self, job, work, tell):
        name = job["configuration"]
        root = work / "results" / DATASET / f"nnUNetTrainer_100epochs__nnUNetPlans__{name}"
        for fold in job["folds"]:
            validation = root / f"fold_{fold}" / "validation"
            validation.mkdir(parents=True, exist_ok=True)
            final = root / f"fold_{fold}" / "checkpoint_final.pth"
            self.kept.append((name, final.exists()))
            final.write_bytes(b"x")
            for patient in job["splits"][fold]["val"]:
                mask = read_volume(work / "raw" / DATASET / "labelsTr" / f"{patient}.nii.gz")
                array = mask.array.copy()
                array[2, 2, :4] = 0
                write_volume(mask.with_array(array), validation / f"{patient}.nii.gz")
                for ending in (".npz", ".pkl") if job["probabilities"] else ():
                    (validation / f"{patient}{ending}").write_bytes(b"x")
                if name == "3d_lowres":
                    following = root / "predicted_next_stage" / "3d_cascade_fullres"
                    following.mkdir(parents=True, exist_ok=True)
                    (following / f"{patient}.b2nd").write_bytes(b"x")
            tell({"fold": fold, "done": True, "seconds": 1.0, "cpu_seconds": 1.0})

    def choose(self, job, work, tell):
        """The mean of two wins, with masks that are the reader's own."""
        root = work / "results" / DATASET
        masks = root / "ensembles" / "ensemble___t__p__2d___t__p__3d_fullres___0_1_2"
        shutil.copytree(work / "raw" / DATASET / "labelsTr", masks)
        named = [
            {"trainer": "nnUNetTrainer_100epochs", "plans_identifier": "nnUNetPlans", "configuration": name}
            for name in job["configurations"]
        ]
        best = {"selected_model_or_models": named, "postprocessing_file": None}
        (root / "inference_information.json").write_text(json.dumps({"best_model_or_ensemble": best}))
        for name in job["configurations"]:
            target = root / f"nnUNetTrainer_100epochs__nnUNetPlans__{name}"
            plan = plans()
            plan["configurations"] = {name: plan["configurations"]["3d_fullres"]}
            (target / "dataset.json").write_text(json.dumps(dataset_json()))
            (target / "plans.json").write_text(json.dumps(plan))
        dice = {f"t__p__{name}": 0.8 for name in job["configurations"]} | {masks.name: 0.9}
        tell({"masks": masks.relative_to(root).as_posix(), "dice": dice, "chosen": job["configurations"]})


@pytest.fixture
def stand_in(monkeypatch):
    made = StandIn()
    monkeypatch.setattr(training, "run_child", made)
    monkeypatch.setattr(training, "visible_gpus", lambda: [])
    return made


def folds(stand_in):
    return sorted(call[1:] for call in stand_in.calls if call[0] == "folds")


def test_one_fold_a_gpu(tmp_path, stand_in, monkeypatch):
    monkeypatch.setattr(training, "visible_gpus", lambda: ["2", "5"])
    train(PLAN, CASES, [], tmp_path / "two", 3)
    assert folds(stand_in) == [("3d_fullres", (0, 2), "2"), ("3d_fullres", (1,), "5")]
    stand_in.calls.clear()
    monkeypatch.setattr(training, "visible_gpus", lambda: ["0"])
    train(PLAN, CASES, [], tmp_path / "one", 3)
    assert folds(stand_in) == [("3d_fullres", (0, 1, 2), None)], "a single GPU is left to the child to find"


class Workers:
    """A cluster whose workers are this process; what goes there and comes back is pickled."""

    def __init__(self):
        self.needs = []

    def slots(self):
        return 2

    def map(self, asked):
        self.needs.append(asked.need)
        function, results = pickle.loads(pickle.dumps(asked.function)), []
        for item in asked.todo:
            results.append(pickle.loads(pickle.dumps(function(item))))
            asked.progress(len(results), len(asked.todo))
        return results


def test_on_a_cluster_each_fold_is_a_task_and_finished_ones_are_kept(tmp_path, stand_in):
    workers, said = Workers(), []
    with remote_maps(workers):
        made = train(PLAN, CASES, [], tmp_path / "x", 3, progress=lambda share, text: said.append((share, text)))
        assert folds(stand_in) == [("3d_fullres", (0,), None), ("3d_fullres", (1,), None), ("3d_fullres", (2,), None)]
        assert workers.needs[0].cores == 0 and workers.needs[0].memory > 1e9, "this preset takes all cores"
        steps = [(share, text) for share, text in said if text.endswith("of 3 folds")]
        assert [text for _, text in steps] == ["1 of 3 folds", "2 of 3 folds", "3 of 3 folds"]
        assert steps == sorted(steps) and steps[-1][0] == pytest.approx(0.92)
        record = json.loads((made.folder / "fold_1" / "finished.json").read_text())
        assert record["seconds"] == 1.0
        (made.folder / "fold_1" / "checkpoint_final.pth").unlink()
        stand_in.calls.clear()
        assert train(PLAN, CASES, [], tmp_path / "x", 3).folds_kept == (0, 2)
        assert folds(stand_in) == [("3d_fullres", (1,), None)]
        stand_in.calls.clear()
        train(PLAN, CASES, [], tmp_path / "own", 3, workers=1)
        assert folds(stand_in) == [("3d_fullres", (0, 1, 2), None)], "one process: here, as always"


def test_gpus_are_named_as_the_environment_names_them(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 7")
    assert devices.visible_gpus() == ["3", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert devices.visible_gpus() == ["0", "1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices.visible_gpus() == []


def test_a_cascade_follows_its_first_stage_and_small_images_have_none(tmp_path, stand_in):
    stand_in.planned = ("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres")
    plan = nnunet_plan("fast", folds=2, postprocessing=False, configurations=("3d_cascade_fullres",))
    trained = train(plan, CASES, [], tmp_path / "large", 3)
    assert [call[1] for call in stand_in.calls if call[0] == "folds"] == ["3d_lowres", "3d_cascade_fullres"]
    assert trained.folder.name.endswith("__3d_cascade_fullres") and trained.choice is None
    stand_in.planned = ("2d", "3d_fullres")
    with pytest.raises(StudyFileError, match=r"(?s)plans none of the configurations.*3d_fullres"):
        train(plan, CASES, [], tmp_path / "small", 3)


def test_the_choice_is_made_by_masks_of_patients_that_were_not_seen(tmp_path, stand_in):
    plan = nnunet_plan("fast", folds=3, postprocessing=False, configurations=("2d", "3d_fullres"))
    one = train(PLAN, CASES[:4], [], tmp_path, 3)
    assert one.choice is None and one.out_of_fold("P0").parent.name == "validation"
    liver = [row["dice"] for row in one.rows if row["structure"] == "liver"]
    assert max(liver) < 1
    stand_in.calls.clear()
    both = train(plan, CASES[:4], [], tmp_path, 3)
    seen = {path.name for path in (tmp_path / "raw" / DATASET / "labelsTr").iterdir()}
    assert seen == {f"P{number}.nii.gz" for number in range(4)}, "test patients do not lie where the choice is made"
    assert both.choice.configurations == ("2d", "3d_fullres")
    assert both.out_of_fold("P0").parts[-3] == "ensembles"
    assert {row["dice"] for row in both.rows if row["structure"] == "liver"} == {1.0}
    text = both.sentence()
    assert "the mean of 2d and 3d_fullres was taken" in text and "mean of 2d and 3d_fullres 0.900" in text
    assert "own Dice includes these choices" in text
    stand_in.calls.clear()
    again = train(plan, CASES[:4], [], tmp_path, 3)
    assert stand_in.calls == [] and again.rows == both.rows and again.folds_kept == (0, 1, 2)
    damaged = both.out_of_fold("P1")
    damaged.write_bytes(b"x")
    shutil.rmtree(damaged.parent)
    repaired = train(plan, CASES[:4], [], tmp_path, 3)
    assert [call[0] for call in stand_in.calls] == ["choose"] and repaired.rows == both.rows


def test_another_configuration_keeps_the_networks_that_are_there(tmp_path, stand_in):
    train(PLAN, CASES, [], tmp_path, 3)
    stand_in.kept.clear()
    both = nnunet_plan("fast", folds=3, postprocessing=False, configurations=("2d", "3d_fullres"))
    train(both, CASES, [], tmp_path, 3)
    assert stand_in.kept == [("2d", False)] * 3 + [("3d_fullres", True)] * 3, "only what they say of patients is new"
    stand_in.kept.clear()
    train(both, CASES, [], tmp_path, 4)
    assert not any(kept for _, kept in stand_in.kept), "another seed gives other networks"
