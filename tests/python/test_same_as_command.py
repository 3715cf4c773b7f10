"""A function gives the numbers of the command of its name: the defaults are the same, and so are the results."""

import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.main

import hepacast as hc
from hepacast.cli.main import app
from hepacast.phantom.ct import make_ct
from hepacast.phantom.spec import PatientSpec

#: Function -> words of its command, and options whose parameter has another name.
COMMANDS = {
    "run": ("run", {}),
    "noise": ("noise", {"control": "controls"}),
    "segment": ("segment", {}),
    "extract": ("extract", {}),
    "predict": ("predict", {}),
    "describe": ("stats describe", {}),
    "logistic": ("stats logistic", {}),
    "survival": ("stats survival", {}),
    "nomogram": ("stats nomogram", {"bootstrap": "n_boot"}),
    "evaluate": ("stats evaluate", {"bootstrap": "n_boot"}),
    "agreement": ("stats agreement", {}),
    "sample_size": ("stats samplesize", {}),
}
#: Neither of `--univariate` and `--multivariate` means both.
WORDED = {"logistic.univariate", "logistic.multivariate"}
OLD = Path(__file__).resolve().parents[1] / "bundle" / "old" / "2313617"


def command_of(words):
    command = typer.main.get_command(app)
    for word in words.split():
        command = command.commands[word]
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_the_defaults_of_the_parameters(name):
    words, other = COMMANDS[name]
    known = inspect.signature(hc._load(name)).parameters
    compared = 0
    for option in command_of(words).params:
        place = other.get(option.name, option.name)
        if (
            place not in known
            or option.required
            or known[place].default is inspect.Parameter.empty
            or f"{name}.{place}" in WORDED
        ):
            continue
        compared += 1
        assert (option.default or None) == (known[place].default or None), place
    assert compared


@pytest.fixture
def table(tmp_path):
    generator = np.random.default_rng(3)
    risk = generator.uniform(0.05, 0.9, 80).round(3)
    frame = pd.DataFrame(
        {
            "id": [f"P{number}" for number in range(80)],
            "event": (generator.random(80) < risk).astype(int),
            "a": risk,
            "b": generator.uniform(0.1, 0.9, 80).round(3),
            "albumin (g/L)": generator.normal(38, 4, 80).round(1),
            "bilirubin (umol/L)": generator.gamma(4, 4, 80).round(1) + 1,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv", frame


def test_evaluate(hepacast, table):
    path, frame = table
    words = ("stats", "evaluate", path, "--outcome", "event", "--models", "a,b", "--bootstrap", "50", "--json")
    said = json.loads(hepacast(*words).out)
    arrays = hc.evaluate(frame["event"].to_numpy(), models={"a": frame["a"], "b": frame["b"]}, n_boot=50)
    for found in (hc.evaluate(frame, outcome="event", models=["a", "b"], n_boot=50), arrays):
        values = found.to_frame()
        for name in ("a", "b"):
            assert values.loc[name, "auc"] == said["models"][name]["auc"]
            assert values.loc[name, "brier"] == said["models"][name]["brier"]


def test_predicted_risks_of_a_follow_up(hepacast, golden):
    """AUC(5 years) is that of R's timeROC; file, frame and arrays give the same."""
    truth = golden("f2_timeroc_pbc")[0]["timeROC"]["lp_full"]["AUC"][2]
    frame = golden("f5_dca_surv_pbc")[1]
    path = Path(__file__).resolve().parents[1] / "golden" / "f5_dca_surv_pbc" / "data.csv"
    words = ("--outcome", "dead", "--time", "years", "--at", "5", "--models", "risk5_full,risk5_small")
    said = json.loads(hepacast("stats", "evaluate", path, *words, "--bootstrap", "0", "--json").out)
    assert said["models"]["risk5_full"]["horizons"][0]["auc"]["value"] == pytest.approx(truth, abs=1e-6)
    models = ["risk5_full", "risk5_small"]
    one = hc.evaluate(frame, outcome="dead", time="years", at=5, models=models, n_boot=0)
    other = hc.evaluate(
        frame["dead"], time=frame["years"], at=5, models={name: frame[name] for name in models}, n_boot=0
    )
    for found in (one, other):
        values = found.to_frame()
        for name in models:
            assert values.loc[name, "auc"] == said["models"][name]["horizons"][0]["auc"]["value"]
            assert values.loc[name, "c"] == said["models"][name]["c"]["value"]
    assert "Harrell" in one._repr_html_() and one.plot("calibration-risk5_full")
    with pytest.raises(hc.HepacastError, match="a horizon"):
        hc.evaluate(frame, outcome="dead", time="years", models=models)


def test_scores(hepacast, table):
    path, frame = table
    said = json.loads(hepacast("score", "ALBI", "albumin=38 g/L", "bilirubin=20 umol/L", "--json").out)
    assert hc.score("ALBI", albumin="38 g/L", bilirubin="20 umol/L").to_json()["value"] == said["value"]
    said = json.loads(hepacast("score", "ALBI", path, "--json").out)
    found = hc.score("ALBI", frame).to_frame()["ALBI"]
    assert found.tolist() == [row["ALBI"] for row in said["patients"]]


def test_extract_takes_a_file_a_volume_an_array_and_a_table(hepacast, tmp_path):
    from hepacast.imaging import write_labelmap, write_volume

    patient = make_ct(PatientSpec("V1", seed=1), "tiny")
    image, mask = tmp_path / "ct.nii.gz", tmp_path / "mask.nii.gz"
    write_volume(patient.image, image)
    write_labelmap(patient.labels, mask)
    (tmp_path / "s.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {firstorder: []}\n")
    options = ("--settings", tmp_path / "s.yaml", "--labels", "parenchyma=1,tumor=2", "--accept-doubtful", "-w", "1")
    assert hepacast("extract", image, mask, "-o", tmp_path / "f.csv", *options, "-q").code == 0
    said = pd.read_csv(tmp_path / "f.csv", dtype={"patient": str}).set_index(["patient", "voi"])
    how = {"settings": tmp_path / "s.yaml", "accept_doubtful": True, "workers": 1}
    labels = {"parenchyma": 1, "tumor": 2}
    arrays = {name: item.array for name, item in patient.labels.masks().items()}
    rows = pd.DataFrame({"patient": ["1"], "image": [str(image)], "mask": [str(mask)]})
    for found in (
        hc.extract(image, mask, labels=labels, **how),
        hc.extract(hc.read_image(image), patient.labels.volume, labels=labels, **how),
        hc.extract(patient.image.to_sitk(), arrays, **how),
        hc.extract(rows, labels=labels, **how),
    ):
        pd.testing.assert_frame_equal(found.to_frame()[said.columns].loc[said.index], said, check_names=False)
        assert found.figures()["overlay"] if found.volume is not None else found.plot("original_firstorder_Mean")


def test_predict(hepacast):
    words = ("predict", OLD / "clinical.hepacast", "size=6.1", "albumin=32", "--json", "-q")
    said = json.loads(hepacast(*words).out)
    model = hc.load_model(OLD / "clinical.hepacast")
    for labs in (
        {"size": 6.1, "albumin": "3.2 g/dL"},
        pd.Series({"size": 6.1, "albumin": 32}),
        pd.DataFrame({"size": [6.1], "albumin": [32]}),
        ["size=6.1", "albumin=32"],
    ):
        found = hc.predict(model, labs=labs)
        assert found.risk == pytest.approx(said["risk"], rel=1e-12)
        assert found.to_frame()["high"].item() == pytest.approx(said["high"], rel=1e-12)
    assert found.plot() and model.figures() is not None
    assert hc.predict(model, labs={"size": 6.1, "albumin": None}).values["Albumin"] != "32"


def test_a_cohort_is_read_from_a_table_and_a_frame(table):
    path, frame = table
    one, other = hc.read_cohort(path), hc.read_cohort(frame)
    assert one.patients == other.patients
    assert one.outcome.events.tolist() == other.outcome.events.tolist()
    assert one.to_frame().shape == other.to_frame().shape
    assert "Patient flow" in one._repr_html_() and one.plot()
