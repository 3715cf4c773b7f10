"""Validations of several hospitals from their JSON files alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from typer.testing import CliRunner

from hepacast.cli.main import app
from hepacast.core.files import write_json
from hepacast.core.records import plain
from hepacast.errors import HepacastError
from hepacast.evaluation.evaluate import evaluate_risks
from hepacast.evaluation.results import EvaluationResults
from hepacast.stats.meta import pool_estimates
from hepacast.study.pool import pool_validations


def hospital(folder: Path, seed: int, shift: float = 0.0, n: int = 250) -> Path:
    rng = np.random.default_rng(seed)
    lp = rng.normal(-0.5, 1.0, n)
    y = (rng.random(n) < expit(lp + shift)).astype(float)
    found = evaluate_risks(y, {"combined": expit(lp)}, n_boot=0, external=True)
    results = EvaluationResults(
        sets={"external": found}, level=0.95, main="combined", judged="external", outcome="x", event="x", unit="",
        horizons=(), before_horizon=False, competing=False,
    )  # fmt: skip
    write_json(folder / "validation" / "evaluation" / "evaluation.json", plain(results))
    return folder / "validation"


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    base = tmp_path_factory.mktemp("pool")
    return [hospital(base / name, seed, shift) for seed, (name, shift) in enumerate(
        [("north", 0.0), ("south", 0.0), ("east", 0.4), ("west", -0.3)])]  # fmt: skip


def test_numbers_are_those_of_the_meta_analysis(hospitals):
    found = pool_validations(hospitals)
    assert [item.name for item in found.places] == ["north", "south", "east", "west"]
    own = [item.measures["AUC"] for item in found.places]
    by_hand = pool_estimates(
        [logit(item.value) for item in own], [item.se / (item.value * (1 - item.value)) for item in own]
    )
    assert found.pooled["AUC"].value == pytest.approx(expit(by_hand.value), rel=1e-12)
    assert found.pooled["AUC"].prediction[0] == pytest.approx(expit(by_hand.prediction[0]), rel=1e-12)
    ratio = found.pooled["O/E"]
    assert ratio.low < 1.0 < ratio.high and ratio.i2 > 0.3  # prevalence differs between these hospitals
    assert found.pooled["AUC"].low < 0.76 < found.pooled["AUC"].high
    assert "prediction interval" in found.text() and "west" in found.text()


def test_files_alone_do_and_no_patient_is_needed(hospitals, tmp_path):
    files = []
    for folder in hospitals[:3]:
        copy = tmp_path / folder.parent.name / "evaluation.json"
        copy.parent.mkdir()
        copy.write_bytes((folder / "evaluation" / "evaluation.json").read_bytes())
        files.append(copy)
    assert pool_validations(files).pooled["AUC"].value == pool_validations(hospitals[:3]).pooled["AUC"].value


def test_the_command_writes_json_and_a_forest(hospitals, tmp_path):
    done = CliRunner().invoke(
        app, ["pool", *map(str, hospitals), "--json", str(tmp_path / "p.json"), "--figures", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "p.json").read_text())
    assert len(content["places"]) == 4 and math.isfinite(content["pooled"]["AUC"]["value"])
    assert (tmp_path / "forest.png").is_file()


def changed(place: Path, folder: Path, change) -> Path:
    """A copy of a hospital's results with other content."""
    content = json.loads((place / "evaluation" / "evaluation.json").read_text())
    change(content)
    write_json(folder / "evaluation" / "evaluation.json", content)
    return folder


def test_what_is_no_validation_of_one_outcome_is_told_or_refused(hospitals, tmp_path):
    assert pool_validations(hospitals).remarks == ()
    own = changed(
        hospitals[0], tmp_path / "own", lambda c: c.update(judged="training", sets={"training": c["sets"]["external"]})
    )
    death = changed(hospitals[1], tmp_path / "death", lambda c: c.update(outcome="death"))
    first, second = pool_validations([own, death, hospitals[2]]).remarks
    assert "own: the patients are those of the fit" in first and "own: x, death: death, east: x" in second
    late = changed(hospitals[2], tmp_path / "late", lambda c: c.update(unit="months"))
    with pytest.raises(HepacastError, match="different horizons"):
        pool_validations([hospitals[0], late])


def test_an_auc_of_one_has_no_standard_error_and_is_left_out(hospitals, tmp_path):
    def perfect(content):
        models = content["sets"]["external"]["models"]["combined"]
        models["horizons"][0]["auc"] |= {"value": 1.0, "low": 1.0, "high": 1.0, "se": 0.0}

    found = pool_validations([*hospitals[:3], changed(hospitals[3], tmp_path / "perfect", perfect)])
    assert found.pooled["AUC"] == pool_validations(hospitals[:3]).pooled["AUC"]
    assert found.remarks == ("AUC is not known with its limits of perfect, who are left out there.",)


def test_a_damaged_file_is_named_with_its_folder(hospitals, tmp_path):
    wrong = changed(hospitals[0], tmp_path / "north", lambda c: c.pop("judged"))
    with pytest.raises(HepacastError) as told:
        pool_validations([wrong, hospitals[1]])
    assert told.value.where == str(wrong / "evaluation" / "evaluation.json")
    whole = changed(hospitals[0], tmp_path / "south", lambda c: None)
    (whole / "evaluation" / "external.json").write_bytes(b"\xff{")
    with pytest.raises(HepacastError, match="not JSON"):
        pool_validations([whole, hospitals[1]])


def test_what_cannot_be_pooled_is_refused(hospitals, tmp_path):
    for wrong in ([hospitals[0]], [hospitals[0], hospitals[0]], [hospitals[0], tmp_path]):
        with pytest.raises(HepacastError):
            pool_validations(wrong)
    with pytest.raises(HepacastError, match="no such model"):
        pool_validations(hospitals, model="magic")
