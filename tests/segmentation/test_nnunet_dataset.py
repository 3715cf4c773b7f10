"""The dataset folder, the splits, the settings, and the child process that fails."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.errors import GeometryError, HepacastError, ImageError, ModelError, StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_volume, write_volume
from hepacast.imaging.labels import LabelMap
from hepacast.segmentation.nnunet.dataset import (
    DATASET,
    TrainingCase,
    check_cases,
    make_splits,
    prepare_dataset,
)
from hepacast.segmentation.nnunet.plan import (
    PLANNERS,
    NnunetPlan,
    estimate_training,
    forward_seconds,
    network_cost,
    nnunet_plan,
    small_architecture,
)
from hepacast.segmentation.nnunet.process import child_environment, run_child

GRID = Geometry((10, 9, 8), (3.0, 3.0, 5.0))


def case(patient, seed=0, tumor=True):
    generator = np.random.default_rng(seed)
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[2:6, 2:7, 2:8] = 1
    if tumor:
        labels[3:5, 3:5, 3:5] = 2
    image = Volume(generator.normal(100, 10, GRID.shape).astype(np.int16), GRID)
    return TrainingCase(patient, image, LabelMap(Volume(labels, GRID), {"parenchyma": 1, "tumor": 2}))


def test_the_folder_is_what_nnunet_expects(tmp_path):
    index = prepare_dataset([case("B", 2), case("A", 1)], tmp_path)
    root = tmp_path / DATASET
    content = json.loads((root / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "parenchyma": 1, "tumor": 2}
    assert content["channel_names"] == {"0": "CT"} and content["numTraining"] == 2
    assert sorted(path.name for path in (root / "imagesTr").iterdir()) == ["A_0000.nii.gz", "B_0000.nii.gz"]
    stored = read_volume(root / "labelsTr" / "B.nii.gz")
    np.testing.assert_array_equal(stored.array, case("B", 2).masks.volume.array)
    assert index["cases"]["A"]["counts"] == {"parenchyma": 112, "tumor": 8}


def test_each_channel_is_scaled_by_its_modality(tmp_path):
    """nnU-Net takes the name CT, and no other, for Hounsfield units; sequences may be called anything."""
    pytest.importorskip("nnunetv2")
    from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

    first = case("A", 1)
    images = {"portal": first.image, "ct": first.image.with_array(first.image.array * 2), "unused": first.image}
    both = TrainingCase("A", images, first.masks)
    index = prepare_dataset([both], tmp_path, channels={"ct": "MR", "portal": "CT"})
    root = tmp_path / DATASET
    content = json.loads((root / "dataset.json").read_text())
    schemes = [get_normalization_scheme(content["channel_names"][str(n)]).__name__ for n in range(2)]
    assert schemes == ["ZScoreNormalization", "CTNormalization"]
    assert content["sequences"] == {"0": "ct", "1": "portal"}
    assert sorted(path.name for path in (root / "imagesTr").iterdir()) == ["A_0000.nii.gz", "A_0001.nii.gz"]
    np.testing.assert_array_equal(read_volume(root / "imagesTr" / "A_0000.nii.gz").array, first.image.array * 2)
    other = prepare_dataset([both], tmp_path, channels={"portal": "CT"})
    assert other["hash"] != index["hash"]
    assert not (root / "imagesTr" / "A_0001.nii.gz").exists()
    assert "own mean and SD" in nnunet_plan("fast", channels={"portal": "MR"}).sentence()
    assert "channels ct, portal" in nnunet_plan("fast", channels={"ct": "MR", "portal": "CT"}).sentence()


def test_a_channel_that_is_missing_or_lies_elsewhere_is_refused_by_name(tmp_path):
    first = case("a", 1)
    with pytest.raises(ImageError, match=r"(?s)lacks an image.*arterial.*patient a"):
        prepare_dataset([TrainingCase("a", {"portal": first.image}, first.masks)], tmp_path, channels=TWO)
    moved = Volume(first.image.array, Geometry(GRID.size, GRID.spacing, origin=(0.0, 3.0, 0.0)))
    with pytest.raises(GeometryError, match=r"(?s)'arterial' lies up to 3\.00 mm.*register the images"):
        prepare_dataset(
            [TrainingCase("a", {"portal": first.image, "arterial": moved}, first.masks)], tmp_path, channels=TWO
        )


TWO = {"portal": "CT", "arterial": "CT"}


def test_content_decides_what_is_written_again(tmp_path):
    first = prepare_dataset([case("A", 1), case("B", 2)], tmp_path)
    image = tmp_path / DATASET / "imagesTr" / "A_0000.nii.gz"
    before = image.stat().st_mtime_ns
    assert prepare_dataset([case("B", 2), case("A", 1)], tmp_path)["hash"] == first["hash"]
    assert image.stat().st_mtime_ns == before
    changed = prepare_dataset([case("A", 7), case("B", 2)], tmp_path)
    assert changed["hash"] != first["hash"] and image.stat().st_mtime_ns > before
    sound = image.read_bytes()
    image.write_bytes(sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])
    prepare_dataset([case("A", 7), case("B", 2)], tmp_path)
    assert image.read_bytes() == sound, "a damaged file is written again"
    prepare_dataset([case("B", 2)], tmp_path)
    assert not image.exists()


def test_liver_and_tumor_files_become_the_two_classes(tmp_path):
    labels = case("A").masks.volume.array
    for name, mask in (("liver", labels > 0), ("tumor", labels == 2)):
        write_volume(Volume(mask.astype(np.uint8), GRID), tmp_path / f"{name}.nii.gz")
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("liver", "tumor")}
    given_case = TrainingCase("A", case("A").image, files)
    prepare_dataset([given_case], tmp_path / "raw")
    stored = read_volume(tmp_path / "raw" / DATASET / "labelsTr" / "A.nii.gz")
    np.testing.assert_array_equal(stored.array, labels)


def test_labels_that_cannot_be_learned_are_refused(tmp_path):
    with pytest.raises(ImageError, match="No labelled patient has a voxel of 'tumor'"):
        prepare_dataset([case("A", tumor=False)], tmp_path)
    only_liver = TrainingCase("A", case("A").image, LabelMap(case("A").masks.volume, {"parenchyma": 1}))
    with pytest.raises(ImageError, match="patient A"):
        prepare_dataset([only_liver], tmp_path)
    empty = LabelMap(Volume(np.zeros(GRID.shape, np.uint8), GRID), {"parenchyma": 1, "tumor": 2})
    with pytest.raises(ImageError, match="no labelled voxel"):
        prepare_dataset([TrainingCase("A", case("A").image, empty)], tmp_path)
    with pytest.raises(StudyFileError, match="without a gap"):
        prepare_dataset([case("A")], tmp_path, {"parenchyma": 1, "tumor": 3})
    moved = Volume(case("A").masks.volume.array, Geometry(GRID.size, GRID.spacing, origin=(0.0, 3.0, 0.0)))
    with pytest.raises(GeometryError, match=r"3\.00 mm"):
        prepare_dataset([TrainingCase("A", case("A").image, LabelMap(moved, {"parenchyma": 1}))], tmp_path)


def test_a_patient_is_labelled_once():
    with pytest.raises(StudyFileError, match="both: A"):
        check_cases([case("A"), case("B")], [case("A")], 2)
    with pytest.raises(StudyFileError, match="twice: A"):
        check_cases([case("A"), case("A")], [], 2)
    with pytest.raises(StudyFileError, match="fewer labelled patients"):
        check_cases([case("A")], [], 5)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=5, max_size=40), st.integers(0, 99))
def test_each_patient_is_validated_in_one_fold_whatever_the_order(patients, seed):
    ordered = sorted(patients)
    splits = make_splits(ordered, 5, seed)
    assert splits == make_splits(ordered[::-1], 5, seed)
    validated = [patient for split in splits for patient in split["val"]]
    assert sorted(validated) == ordered
    sizes = [len(split["val"]) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for split in splits:
        assert not set(split["train"]) & set(split["val"])
        assert sorted(split["train"] + split["val"]) == ordered


def test_presets_and_their_changes():
    standard = nnunet_plan("standard")
    assert (standard.epochs, standard.iterations, standard.network) == (1000, 250, None)
    assert standard.trainer_name == "nnUNetTrainer" and "without modification" in standard.sentence()
    demo = nnunet_plan("demo", folds=3)
    assert demo.folds == 3 and "not for patients" in demo.sentence()
    assert NnunetPlan.from_dict(json.loads(json.dumps(demo.as_dict()))) == demo
    with pytest.raises(StudyFileError, match="no nnU-Net preset 'quick'"):
        nnunet_plan("quick")
    with pytest.raises(StudyFileError, match="too small"):
        nnunet_plan("demo", folds=1)
    for changes in ({"planner": "resenc-l"}, {"configurations": ("2d",)}):
        with pytest.raises(StudyFileError, match="network of its own"):
            nnunet_plan("demo", **changes)
    with pytest.raises(StudyFileError, match="'planner' is not known"):
        nnunet_plan("standard", planner="resenc-s")


def test_the_study_file_reaches_nnunets_planners_and_stages():
    plan = nnunet_plan("standard", planner="resenc-xl", configurations=("3d_cascade_fullres", "2d"))
    assert plan.trained == ("2d", "3d_lowres", "3d_cascade_fullres")
    assert "preset XL" in plan.sentence() and "3d_cascade_fullres, 2d" in plan.sentence()
    assert plan.postprocessing and not nnunet_plan("demo").postprocessing
    assert NnunetPlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan
    small, large = (
        estimate_training(nnunet_plan("standard", planner=name), cases=80, voxels_per_case=3e7, cores=2).seconds
        for name in ("default", "resenc-xl")
    )
    assert large > 2 * small


@pytest.mark.parametrize("name", list(PLANNERS))
def test_planners_are_nnunets_own(name):
    pytest.importorskip("nnunetv2")
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners

    found = getattr(residual_encoder_unet_planners, PLANNERS[name])
    assert issubclass(found, ExperimentPlanner)


def test_costs_count_every_convolution():
    # One stage, one convolution 1 -> 4 with 27 taps, then the 4 -> 3 output.
    one = {
        "features_per_stage": [4],
        "kernel_sizes": [[3, 3, 3]],
        "strides": [[1, 1, 1]],
        "n_conv_per_stage": [1],
        "n_conv_per_stage_decoder": [],
    }
    macs, values = network_cost(one, (4, 4, 4), 3)
    assert macs == 64 * (27 * 4 + 4 * 3) and values == 64 * (4 + 3)
    demo = nnunet_plan("demo")
    small = small_architecture(demo.network)
    assert forward_seconds(small, (24, 48, 48), 3, 2) == pytest.approx(forward_seconds(small, (24, 48, 48), 3, 1) / 2)


def test_estimates_grow_with_the_work():
    demo = estimate_training(nnunet_plan("demo"), cases=24, voxels_per_case=285_000, cores=2)
    alone = estimate_training(nnunet_plan("demo"), cases=24, voxels_per_case=285_000, cores=1)
    standard = estimate_training(nnunet_plan("standard"), cases=80, voxels_per_case=3e7, cores=2)
    assert demo.seconds < alone.seconds < standard.seconds / 1000
    assert 60 < demo.seconds < 400


def test_the_user_sets_no_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    monkeypatch.setenv("nnUNet_extTrainer", "/elsewhere")
    environment = child_environment(tmp_path, 1)
    assert environment["nnUNet_raw"] == str(tmp_path / "raw") and environment["OMP_NUM_THREADS"] == "1"
    assert "nnUNet_extTrainer" not in environment


def test_the_last_words_of_a_child_are_shown(tmp_path):
    with pytest.raises(ModelError) as caught:
        run_child("juggle", {"plan": nnunet_plan("demo").as_dict()}, tmp_path, threads=1)
    assert "stopped during 'juggle' (exit code 1)" in str(caught.value) and "KeyError" in str(caught.value)
    log = tmp_path / "logs" / "juggle-0.log"
    assert "Traceback" in log.read_text()
    assert isinstance(caught.value, HepacastError)
