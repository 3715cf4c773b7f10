"""A time to an event from images and table to report and bundle, with a network that learns the follow-up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.bundle import Bundle
from hepacast.core.files import read_json
from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.modelling.predictions import Predictions
from hepacast.study.predict import predict_patient
from hepacast.study.run import run_study

pytestmark = pytest.mark.usefixtures("figures_as_words")

pytest.importorskip("torch")

GRID = Geometry((24, 24, 12), (6.0, 6.0, 8.0))
NETWORK = "single-task network"


def write_study(folder: Path, n: int = 48) -> Path:
    """Tumors of which the bright ones progress early; every fourth patient is censored."""
    generator = np.random.default_rng(8)
    bright, age = generator.normal(size=n), generator.normal(62, 9, n).round()
    time = generator.exponential(20 * np.exp(-1.2 * bright - 0.03 * (age - 62))).clip(0.3, 70).round(2)
    last = generator.uniform(8, 60, n).round(2)
    names = [f"P{i:02d}" for i in range(n)]
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    z, y, x = np.indices(GRID.shape)
    for name, value in zip(names, bright, strict=True):
        at, size = generator.uniform(-2.5, 2.5, 2), generator.uniform(10, 22)
        tumor = (z - 6) ** 2 * 1.8 + (y - 12 - at[0]) ** 2 + (x - 12 - at[1]) ** 2 < size
        liver = (z - 6) ** 2 * 1.8 + (y - 12) ** 2 + (x - 12) ** 2 < 90
        image = np.where(liver, 105, -60) + tumor * (25 + 30 * value) + generator.normal(0, 8, GRID.shape)
        write_volume(Volume(image.astype(np.int16), GRID), folder / "images" / f"{name}.nii.gz")
        write_volume(
            Volume((liver + tumor.astype(np.uint8)).astype(np.uint8), GRID), folder / "masks" / f"{name}.nii.gz"
        )
    table = {"ID": names, "Age": age, "Months": np.minimum(time, last), "Event": (time <= last).astype(int)}
    table["ALB (g/L)"] = generator.normal(39, 5, n).round(1)
    table["TB (umol/L)"] = generator.normal(18, 6, n).clip(4).round(1)
    pd.DataFrame(table).to_csv(folder / "t.csv", index=False)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content(), sort_keys=False))
    return path


def content() -> dict:
    crop = {"voi": "tumor", "size": [8, 16, 16], "size_mm": [64.0, 96.0, 96.0]}
    network = {"encoder": "resnet10", "width": 4, "stages": 2, "features": 4, "outcome": "cox"}
    after = {"quantity": "none", "after_event": True}
    return {
        "hepacast": 1,
        "name": "Times",
        "seed": 2,
        "cohort": {
            "table": "t.csv",
            "id": "ID",
            "columns": {
                "age": {"column": "Age", "unit": "years"},
                "albumin": {"column": "ALB (g/L)", "unit": "g/L", "quantity": "albumin"},
                "bilirubin": {"column": "TB (umol/L)", "unit": "umol/L", "quantity": "bilirubin"},
                "months": {"column": "Months", **after},
                "event": {"column": "Event", **after},
            },
            "split": {"by": "random", "validation_fraction": 0.3},
        },
        "outcome": {
            "definition": "survival", "columns": {"time": "months", "event": "event"}, "horizons": [6, 12],
            "unit": "months", "name": "progression",
        },
        "images": {
            "sequences": {"arterial": {"path": "images/{patient}.nii.gz", "modality": "CT"}},
            "segmentation": {
                "source": "given", "masks": "masks/{patient}.nii.gz", "labels": {"parenchyma": 1, "tumor": 2},
                "accept_doubtful": [f"P{i:02d}" for i in range(48)],
            },
            "vois": {"tumor": "tumor"},
        },
        "features": {"settings": "few.yaml"},
        "modelling": {
            "candidates": ["age"], "models": ["clinical"],
            "validation": {"folds": 2, "repeats": 1, "bootstrap": 0, "permutations": 0, "usual_way": False},
        },
        "deep": {
            "models": ["classifier"], "crop": crop, "network": network, "explained": 1, "permutations": 1,
            "training": {"epochs": 12, "batch": 8, "inner_fraction": 0.0},
        },
        "evaluation": {"bootstrap": 5},
        "report": {"formats": ["html"]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("times")
    study = write_study(folder)
    (folder / "few.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {firstorder: [Mean]}\nsetting: {}\n")
    run_study(study, out=folder / "results", workers=1)
    return folder


def test_networks_stand_beside_the_other_models(folder: Path) -> None:
    results = folder / "results"
    predictions = Predictions.read(results / "modelling" / "predictions.parquet")
    assert NETWORK in predictions.models and predictions.horizons == (6.0, 12.0)
    own = predictions.table[predictions.table["model"] == NETWORK]
    assert set(own["kind"]) == {"apparent", "nested", "frozen"}
    wide = own.pivot_table(index=["patient", "kind"], columns="horizon", values="risk")
    assert (wide[6.0] < wide[12.0]).all() and wide.to_numpy().min() > 0 and wide.to_numpy().max() < 1
    deep = read_json(results / "deep" / "deep.json")
    assert {row["measure"] for row in deep["controls"]} == {"C"} and deep["permutation"]["measure"] == "C"
    methods = read_json(results / "deep" / "methods.json")[0]["text"]
    assert "(Cox model)" in methods
    report = (results / "report" / "report.html").read_text() + (results / "report" / "supplement.html").read_text()
    assert NETWORK in report and "reaches a C of" in report and "DeLong" not in report


def test_the_bundle_gives_the_risk_of_the_study_by_every_horizon(folder: Path) -> None:
    results = folder / "results"
    table = Predictions.read(results / "modelling" / "predictions.parquet").table
    own = table[(table["model"] == NETWORK) & (table["kind"] == "frozen")]
    patient = own["patient"].iloc[0]
    expected = own[own["patient"] == patient].set_index("horizon")["risk"]
    found = predict_patient(
        results / "bundle" / "networks.hepacast",
        image=folder / "images" / f"{patient}.nii.gz",
        mask=folder / "masks" / f"{patient}.nii.gz",
        accept_doubtful=True,
        out=folder / "one",
    )
    for item in found.horizons:
        assert item.risk == pytest.approx(expected[item.time], abs=1e-5)
        assert item.low < item.risk < item.high
    assert "by 6 months" in found.text() and (folder / "one" / "prediction.pdf").is_file()


def test_an_event_alone_is_not_learned_where_the_outcome_has_times(folder: Path) -> None:
    other = content()
    other["deep"]["network"]["outcome"] = "binary"
    study = folder / "binary.yaml"
    study.write_text(yaml.safe_dump(other))
    with pytest.raises(StudyFileError, match="would learn the event alone"):
        run_study(study, out=folder / "refused", workers=1)


def joined() -> dict:
    """Classifiers, a network and a clinical predictor joined for the same follow-up."""
    study = content()
    crop = {"voi": "tumor", "size": [8, 12, 12], "size_mm": [64.0, 96.0, 96.0]}
    network = {"tasks": "classifier", "width": 4, "stages": 2, "features": 8, "outcome": "cox"}
    training = {"epochs": 6, "batch": 16, "warmup_epochs": 0.5, "patience": 3}
    del study["deep"]
    study["fusion"] = {
        "folds": 3,
        "classifiers": ["logistic", "random_forest"],
        "chain": {"univariate": None, "selector": "none"},
        "networks": [{"encoder": "resnet10", "dimensions": "3d"}],
        "deep": {"crop": crop, "network": network, "training": training},
        "models": {"Clinical": ["clinical"], "R": ["radiomics"], "All": ["network", "radiomics", "clinical"]},
    }
    study["indexes"] = {"scores": ["ALBI"]}
    return study


@pytest.fixture(scope="module")
def fused(folder: Path) -> Path:
    study = folder / "fusion.yaml"
    study.write_text(yaml.safe_dump(joined(), sort_keys=False))
    run_study(study, out=folder / "fused", workers=1)
    return folder / "fused"


def test_a_fusion_is_judged_by_time_and_told_in_the_report(fused: Path) -> None:
    predictions = Predictions.read(fused / "modelling" / "predictions.parquet")
    assert {*predictions.models} == {"Clinical", "R", "All"} and predictions.horizons == (6.0, 12.0)
    content = read_json(fused / "modelling" / "fusion.json")
    assert content["measure"] == "C"
    assert {row["name"] for row in content["competitors"]} >= {"Random forest", "ResNet-10 3D"}
    text = " ".join(item["text"] for item in read_json(fused / "modelling" / "methods.json"))
    assert "joined by Cox models" in text and "of the event by 12 months" in text and "decided by the C" in text
    evaluation = read_json(fused / "evaluation" / "evaluation.json")
    assert evaluation["main"] == "All" and len(evaluation["sets"]["nested"]["models"]["All"]["horizons"]) == 2
    report = (fused / "report" / "report.html").read_text() + (fused / "report" / "supplement.html").read_text()
    assert "Random forest" in report and "ResNet-10 3D" in report
    assert "Cross-validated C" in report and "Cross-validated AUC" not in report
    assert "odds ratio of a logistic model" not in report


def test_the_bundle_of_a_fusion_gives_the_risk_by_every_horizon(folder: Path, fused: Path) -> None:
    table = Predictions.read(fused / "modelling" / "predictions.parquet").table
    own = table[(table["model"] == "All") & (table["kind"] == "frozen")]
    patient = own["patient"].iloc[0]
    expected = own[own["patient"] == patient].set_index("horizon")["risk"]
    age = pd.read_csv(folder / "t.csv").set_index("ID").loc[patient, "Age"]
    opened = Bundle.read(fused / "bundle" / "model.hepacast")
    found = predict_patient(
        fused / "bundle" / "model.hepacast",
        image=folder / "images" / f"{patient}.nii.gz",
        mask=folder / "masks" / f"{patient}.nii.gz",
        labs=[f"{name}={age:g}" for name in opened.clinical_names("All")],
        accept_doubtful=True,
    )
    assert {item.time: item.risk for item in found.horizons} == pytest.approx(dict(expected), abs=1e-5)
