"""What a study file asks of nnU-Net reaches it: channels, planner, weights to begin with; a changed model counts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hepacast.core.hashing import hash_file
from hepacast.core.progress import SilentReporter
from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry, Volume, read_volume, write_volume
from hepacast.study.context import Context, make_context
from hepacast.study.nnunet import model_hashes, nnunet_plan_of, ready_options, ready_source, train_nnunet
from hepacast.study.preflight import find_problems
from hepacast.study.stages import segmentation as stage
from hepacast.study.stages.judging import judge_cohort

sys.path.insert(0, str(Path(__file__).parents[1] / "segmentation"))
from tiny_model import plans, write_model

GRID = Geometry((16, 14, 8), (4.0, 4.0, 6.0))
PATIENTS = ["P1", "P2", "P3", "P4", "P5"]
TWO = {
    "arterial": {"path": "images/{patient}-arterial.nii.gz"},
    "portal": {"path": "images/{patient}-portal.nii.gz"},
}


def context(folder: Path, nnunet: dict[str, Any], source: str = "nnunet", **images: Any) -> Context:
    """A study of five patients with two phases on one grid, and masks."""
    (folder / "table.csv").write_text("id,death\n" + "".join(f"{p},{n % 2}\n" for n, p in enumerate(PATIENTS)))
    for number, patient in enumerate(PATIENTS):
        draw = np.random.default_rng(number).normal(60, 40, (2, *GRID.shape))
        for phase, array in zip(TWO, draw, strict=True):
            write_volume(Volume(array.astype(np.int16), GRID), folder / "images" / f"{patient}-{phase}.nii.gz")
        labels = np.ones(GRID.shape, np.uint8)
        labels[3:5, 4:9, 4 : 7 + number] = 2
        write_volume(Volume(labels, GRID), folder / "masks" / f"{patient}.nii.gz")
    segmentation = {"source": source, "masks": "masks/{patient}.nii.gz", "nnunet": nnunet}
    study = {
        "name": "Two phases",
        "cohort": {"table": "table.csv", "id": "id", "columns": {}},
        "outcome": {"definition": "binary-column", "column": "death", "positive": ["1"]},
        "images": {"sequences": TWO, "segmentation": segmentation, **images},
        "modelling": {"models": ["radiomics"], "candidates": []},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return make_context(folder / "study.yaml", workers=1)


def mr(folder: Path, nnunet: dict[str, Any]) -> Context:
    """The same as MR, whose preprocessing puts both on one grid."""
    sequences = {name: {**item, "modality": "MR"} for name, item in TWO.items()}
    return context(folder, nnunet, sequences=sequences, preprocessing={"reference": "portal"})


def test_registered_sequences_are_the_channels_and_others_only_where_named(tmp_path: Path) -> None:
    assert nnunet_plan_of(context(tmp_path, {})).channels == {"arterial": "CT"}, "unregistered: that of the masks"
    assert nnunet_plan_of(context(tmp_path, {"channels": ["portal", "arterial"]})).channels == {
        "portal": "CT",
        "arterial": "CT",
    }
    assert nnunet_plan_of(mr(tmp_path, {})).channels == {"arterial": "MR", "portal": "MR"}
    assert nnunet_plan_of(mr(tmp_path, {"channels": ["portal"]})).channels == {"portal": "MR"}
    for wrong in (["late"], ["portal", "portal"]):
        with pytest.raises(StudyFileError, match="channels"):
            context(tmp_path, {"channels": wrong})


def test_planner_configurations_and_postprocessing_reach_the_plan(tmp_path: Path) -> None:
    asked = {"planner": "resenc-m", "gpu_memory_gb": 9, "configurations": ["2d", "3d_fullres"], "precision": "float32"}
    plan = nnunet_plan_of(context(tmp_path, asked))
    assert (plan.planner, plan.gpu_memory_gb, plan.configurations) == ("resenc-m", 9.0, ("2d", "3d_fullres"))
    assert plan.postprocessing and plan.precision == "float32"
    assert not nnunet_plan_of(context(tmp_path, {"postprocessing": "none"})).postprocessing
    assert not nnunet_plan_of(context(tmp_path, {"preset": "demo"})).postprocessing
    problems = [str(item) for item in find_problems(context(tmp_path, {"preset": "demo", "planner": "resenc-m"}))]
    assert any("network of its own" in item for item in problems)


def test_cases_carry_every_channel_and_the_start_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nnunetv2")
    import torch

    from hepacast.segmentation import nnunet

    given: list[Any] = []
    monkeypatch.setattr(nnunet, "train", lambda *arguments, **options: given.append(arguments))
    path = write_model(tmp_path / "other", folds=(0,)) / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"] |= {"plans": plans(), "dataset_json": {"channel_names": {"0": "CT"}, "labels": {"a": 1}}}
    torch.save(content, path)
    start = {"file": str(path.relative_to(tmp_path)), "sha256": hash_file(path)}
    study = context(tmp_path, {"channels": ["portal", "arterial"], "start": start})
    train_nnunet(study, PATIENTS[:4], {"P4"})
    plan, cases, tests = given[0][:3]
    assert [case.patient for case in cases] == PATIENTS[:3] and [case.patient for case in tests] == ["P4"]
    images = cases[0].read_images(list(plan.channels))
    assert list(images) == ["arterial", "portal"], "the one that masks are drawn on leads"
    np.testing.assert_array_equal(images["portal"].array, read_volume(tmp_path / "images/P1-portal.nii.gz").array)
    assert not plan.start.same_classes and plan.start.source_channels == 1
    path.unlink()
    assert any("not where the study file says" in str(item) for item in find_problems(study))


def two_channels(folder: Path) -> Path:
    plan = plans()
    plan["configurations"]["3d_fullres"] |= {
        "normalization_schemes": ["CTNormalization"] * 2,
        "use_mask_for_norm": [False, False],
    }
    scale = plan["foreground_intensity_properties_per_channel"]
    scale["1"] = scale["0"]
    return write_model(folder, folds=(0,), plan=plan, channel_names={"0": "CT", "1": "CT"})


def test_a_trained_folder_is_found_beside_the_study_and_sees_its_channels(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    from hepacast.segmentation import make_segmenter
    from hepacast.segmentation.nnunet import NnunetSegmenter

    root = two_channels(tmp_path / "models")
    study = context(tmp_path, {"channels": ["portal", "arterial"]}, source="nnunet:models")
    assert ready_source(study) == f"nnunet:{tmp_path / 'models'}"
    segmenter = make_segmenter(ready_source(study), **ready_options(study))
    assert isinstance(segmenter, NnunetSegmenter) and segmenter.channels == ("portal", "arterial")
    (tmp_path / "out" / "masks").mkdir(parents=True)
    job = {"kind": ready_source(study), "identity": segmenter.identity, **ready_options(study)}
    stage._apply(study, tmp_path / "out", ["P1"], job, segmenter.channels)
    images = {name: read_volume(tmp_path / "images" / f"P1-{name}.nii.gz") for name in TWO}
    found = read_volume(tmp_path / "out" / "masks" / "P1.nii.gz").array
    np.testing.assert_array_equal(found, segmenter.segment(images).volume.array)
    other = NnunetSegmenter(root, channels=["arterial", "portal"]).segment(images).volume.array
    assert (found != other).mean() > 0.02
    before = model_hashes(study)
    (root / "fold_0" / "checkpoint_final.pth").write_bytes(b"retrained")
    assert model_hashes(study) != before, "masks are made anew with another model in the same folder"
    assert model_hashes(context(tmp_path, {})) == {}


def test_a_patient_without_a_channel_leaves_with_that_reason(tmp_path: Path) -> None:
    study = context(tmp_path, {"channels": ["portal", "arterial"]})
    (tmp_path / "images" / "P2-portal.nii.gz").unlink()
    assert judge_cohort(study).left_out == {"P2": "no portal image"}


@pytest.mark.slow
def test_a_new_patient_is_outlined_as_the_study_did_from_the_scanners_mr(tmp_path: Path) -> None:
    """Trained on two registered sequences; `predict` registers a new patient's and gives the study's very mask."""
    pytest.importorskip("nnunetv2")
    from hepacast.core.files import read_json
    from hepacast.radiomics import Settings
    from hepacast.radiomics.recipe import ImageRecipe
    from hepacast.study.patient_images import outlined_images
    from hepacast.study.run import run_study

    study = mr(tmp_path, {"preset": "demo", "folds": 2, "test_fraction": 0.0, "apply_folds": 1})
    for patient in PATIENTS:
        labels = read_volume(tmp_path / "masks" / f"{patient}.nii.gz").array
        for number, phase in enumerate(TWO, start=1):
            path = tmp_path / "images" / f"{patient}-{phase}.nii.gz"
            image = read_volume(path)
            array = 200 + np.abs(image.array) + 300 * number * (labels == 2)
            array[:, [0, -1]] = array[:, :, [0, -1]] = 5
            write_volume(image.with_array(array.astype(np.int16)), path)
    (tmp_path / "masks" / "P5.nii.gz").unlink()
    run_study(tmp_path / "study.yaml", until="segmentation", workers=2)
    found = read_json(study.out / "segmentation" / "segmentation.json")
    assert found["segmenter"]["channels"] == ["arterial", "portal"] and found["network"]["input_channels"] == 2
    rules = study.images.preprocessing
    assert rules is not None
    recipe = ImageRecipe.of_settings(
        Settings.load({"setting": {}}),
        sequences=dict.fromkeys(TWO, "MR"),
        preprocessing={"reference": "portal", "rules": rules.model_dump(mode="json"), "landmarks": None},
    )
    paths = {name: tmp_path / "images" / f"P5-{name}.nii.gz" for name in TWO}
    model = f"nnunet:{study.out / 'segmentation' / 'nnunet'}"
    made = outlined_images(recipe, paths, None, "", model, SilentReporter()).labelmap
    assert made is not None and made.identity == found["segmenter"]["identity"]
    expected = read_volume(study.out / "segmentation" / "masks" / "P5.nii.gz").array
    assert (expected == 2).any()
    np.testing.assert_array_equal(made.volume.array, expected)
