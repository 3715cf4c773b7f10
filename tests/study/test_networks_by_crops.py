"""Networks of a study by their crops: Dice where these are centered on predicted masks and on the expert's; frozen
encoders that read the mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import save_file

from hepacast.core.files import read_json
from hepacast.core.hashing import hash_file
from hepacast.deep import NetworkSpec, TrainedNetwork, apply_frozen, gather
from hepacast.deep.networks import MultiTaskNet
from hepacast.imaging.io import write_labelmap, write_volume
from hepacast.imaging.labels import LabelMap
from hepacast.phantom.ct import make_ct
from hepacast.phantom.spec import PatientSpec, TumorSpec
from hepacast.report.content import deep as section
from hepacast.report.results import load_results
from hepacast.study.context import make_context
from hepacast.study.crops import DrawnMask, crop_patients
from hepacast.study.mask_files import mask_files
from hepacast.study.predict import predict_patient
from hepacast.study.run import run_study
from hepacast.study.stages.deep import deep_of, fold_numbers, load_data
from hepacast.study.stages.network_results import explained

pytestmark = pytest.mark.usefixtures("figures_as_words")

torch = pytest.importorskip("torch")

PATIENTS = [f"P{n:02d}" for n in range(1, 13)]
#: No expert has outlined these.
WITHOUT = ["P04", "P12"]
#: Voxels by which the masks of the study lie beside the expert's.
SHIFT = 2
DEEP = {
    "models": ["segmenter", "multi-task"],
    "masks": "expert/{patient}.nii.gz",
    "crop": {"voi": "tumor", "size": [8, 16, 16], "size_mm": [80.0, 80.0, 80.0]},
    "network": {"encoder": "resnet10", "width": 4, "stages": 2, "stem_stride": 1, "features": 4},
    "training": {"epochs": 2, "batch": 8, "warmup_epochs": 0.5, "device": "cpu"},
    "folds": 2,
    "explained": 2,
    "controls": False,
}

#: The other models are not what is tested here.
VALIDATION = {"folds": 2, "repeats": 1, "bootstrap": 0, "usual_way": False, "learning_curve": 0, "importance": 0}


def _study(folder: Path, shift: int, deep: dict[str, Any] = DEEP) -> Path:
    for n, patient in enumerate(PATIENTS):
        made = make_ct(PatientSpec(patient, 5, tumors=(TumorSpec("right", 50.0 + n),)), "tiny")
        write_volume(made.image, folder / "images" / f"{patient}.nii.gz")
        if patient not in WITHOUT:
            write_labelmap(made.labels, folder / "expert" / f"{patient}.nii.gz")
        beside = np.roll(made.labels.volume.array, shift, axis=2)
        write_labelmap(
            LabelMap(made.labels.volume.with_array(beside), made.labels.labels), folder / "masks" / f"{patient}.nii.gz"
        )
    table = {"id": PATIENTS, "alb": [30 + (7 * n) % 11 for n in range(12)], "bad": ["yes", "no"] * 6}
    pd.DataFrame(table | {"center": ["a"] * 8 + ["b"] * 4}).to_csv(folder / "clinical.csv", index=False)
    study = {
        "name": "Centers of crops",
        "cohort": {
            "table": "clinical.csv",
            "id": "id",
            "columns": {"alb": {"unit": "g/L", "quantity": "albumin"}},
            "split": {"by": "column", "column": "center", "training": ["a"], "validation": ["b"]},
        },
        "outcome": {"column": "bad", "positive": ["yes"], "negative": ["no"], "name": "event"},
        "images": {
            "sequences": {"portal": {"path": "images/{patient}.nii.gz"}},
            "segmentation": {"source": "given", "masks": "masks/{patient}.nii.gz", "accept_doubtful": PATIENTS},
            "vois": {"tumor": "tumor"},
        },
        "features": {"settings": "features.yaml"},
        "modelling": {"candidates": ["alb"], "models": ["clinical"], "validation": VALIDATION},
        "evaluation": {"bootstrap": 5},
        "report": {"formats": ["html"]},
        "deep": deep,
    }
    (folder / "features.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean]}\n")
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    return run_study(_study(tmp_path_factory.mktemp("beside"), SHIFT), workers=1, until="deep")


def test_both_centers_are_reported_for_every_patient_with_an_expert_mask(beside):
    rows = pd.DataFrame(read_json(beside.out / "deep" / "deep.json")["dice"])
    drawn = [patient for patient in PATIENTS if patient not in WITHOUT]
    for on_expert in (False, True):
        assert sorted(rows[rows["on_expert"] == on_expert]["patient"]) == sorted(2 * drawn)
    assert set(rows["model"]) == {"single-task segmenter", "multi-task network"}


def test_the_crop_is_put_where_it_is_said(beside):
    context = make_context(beside.out.parent, out=beside.out, workers=1)
    rules = deep_of(context)
    learned = {
        "P01": DrawnMask(mask_files(context, "expert/{patient}.nii.gz", "P01"), (("parenchyma", 1), ("tumor", 2)))
    }
    for on_learned in (False, True):
        made = crop_patients(context, ["P01"], rules.crop, "tumor", learned, on_learned=on_learned)
        middle = {name: np.argwhere(getattr(made, name)[0]).mean(axis=0)[2] for name in ("drawn", "learned")}
        assert abs(middle["learned" if on_learned else "drawn"] - 7.5) < 0.8
        # The other mask lies beside it, by as many mm as it was moved.
        assert abs(middle["drawn"] - middle["learned"]) * made.spacing[0][0] == pytest.approx(SHIFT * 7.2, abs=2.0)


def test_the_table_names_both_and_says_what_they_are_worth(beside):
    item = load_results(beside.out).deep
    table = section._dice_table(load_results(beside.out), item)
    names = [row.cells[0] for row in table.rows]
    assert "Single-task segmenter" in names and "Single-task segmenter, centered on the expert's mask" in names
    assert any("leaves out the misses" in note for note in table.notes)


def test_maps_are_the_same_whatever_the_threads(beside):
    context = make_context(beside.out.parent, out=beside.out, workers=2)
    data = load_data(context)
    folds = fold_numbers(context, data)
    own = [TrainedNetwork.load(beside.out / "deep" / "networks" / f"multi-task-{fold}.safetensors") for fold in (0, 1)]
    others, fit = np.flatnonzero(folds < 0), gather(data.crops, data.targets, folds, own)
    fit.scores[others] = apply_frozen(own, data.crops, rows=others).scores
    kept = read_json(beside.out / "deep" / "deep.json")["explained"]
    again = explained(context, data, fit, fit.scores, 2)
    assert [item["patient"] for item in again] == [item["patient"] for item in kept]
    for one, two in zip(kept, again, strict=True):
        assert two["n_networks"] == 2
        for name in ("grad_cam", "occlusion"):
            np.testing.assert_array_equal(one[name], two[name])


def test_where_study_and_expert_have_the_same_masks_there_is_one_row(tmp_path):
    done = run_study(_study(tmp_path, 0), workers=1, until="deep")
    assert not any(row["on_expert"] for row in read_json(done.out / "deep" / "deep.json")["dice"])


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A study with somebody's encoder, whose file lies beside the study file."""
    folder = tmp_path_factory.mktemp("frozen")
    shape = NetworkSpec(tasks="classifier", encoder="resnet10", width=4, stages=2, stem_stride=1)
    torch.manual_seed(2)
    encoder = MultiTaskNet(shape, 1).encoder.state_dict()
    save_file({name: value.contiguous() for name, value in encoder.items()}, folder / "encoder.safetensors")
    network = {
        "tasks": "classifier", "encoder": "resnet10", "width": 4, "stages": 2, "stem_stride": 1, "frozen": True,
        "pretrained": "encoder.safetensors", "pretrained_sha256": hash_file(folder / "encoder.safetensors"),
    }  # fmt: skip
    deep = {
        "models": ["classifier"], "crop": DEEP["crop"] | {"mask": True}, "network": network, "folds": 2, "explained": 2,
    }  # fmt: skip
    return run_study(_study(folder, 0, deep), workers=1)


def test_a_frozen_encoder_predicts_from_the_bundle_as_in_the_study(frozen):
    table = pd.read_parquet(frozen.out / "deep" / "predictions.parquet").query("kind == 'frozen'")
    folder = frozen.out.parent
    for patient in ("P09", "P12"):
        found = predict_patient(
            frozen.out / "bundle" / "networks.hepacast",
            image=folder / "images" / f"{patient}.nii.gz",
            mask=folder / "masks" / f"{patient}.nii.gz",
            accept_doubtful=True,
        )
        assert found.risk == pytest.approx(table[table["patient"] == patient]["risk"].item(), abs=1e-6)
    features = pd.read_parquet(frozen.out / "deep" / "features.parquet")
    assert features.shape == (12, 1 + (1 + 4 + 4 + 8) * 6) and features.notna().all(axis=None)


def test_methods_and_report_say_that_nothing_was_trained(frozen):
    text = " ".join(item["text"] for item in read_json(frozen.out / "deep" / "methods.json"))
    assert "frozen encoder" in text and "ridge regression" in text and "AdamW" not in text
    page = (frozen.out / "report" / "report.html").read_text(encoding="utf-8")
    assert "Deep networks" in page and "{training" not in page
    assert "Training: mean loss" not in (frozen.out / "report" / "supplement.html").read_text(encoding="utf-8")
