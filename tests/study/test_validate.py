"""A frozen model in another hospital: known truth gives the right verdict, and an update repairs calibration."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hepacast.bundle import Bundle, predict
from hepacast.cli.main import app
from hepacast.core.records import read_record
from hepacast.errors import HepacastError, StudyFileError
from hepacast.evaluation.case_mix import read_external
from hepacast.evaluation.evaluate import evaluate_risks
from hepacast.evaluation.results import EvaluationResults
from hepacast.evaluation.scrutiny import PredictionScrutiny
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import write_volume
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.updating import update_model
from hepacast.study.predict import predict_patient
from hepacast.study.predict_table import predict_table
from hepacast.study.validate import compare_models, validate_model

OLD = Path(__file__).resolve().parents[1] / "bundle" / "old" / "2313617"
BINARY, TIMED = OLD / "clinical.hepacast", OLD / "cox.hepacast"
STUDY = """hepacast: 1
name: Hospital two
cohort:
  table: clinical.csv
  id: ID
  columns:
    tumor: {{column: size, unit: cm, label: Tumor size}}
    albumin: {{column: Alb, unit: g/dL}}
    inr: {{column: inr}}
    sex: {{column: sex, kind: binary, levels: {{female: [f], male: [m]}}}}
    {columns}
outcome: {outcome}
modelling: {{models: [clinical], candidates: []}}
evaluation: {{bootstrap: 50, subgroups: [sex]}}
report: {{formats: [html]}}
"""


def patients(n, seed=1):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": rng.uniform(1.5, 9, n).round(1), "albumin": rng.normal(38, 5, n).round(1)})
    frame["inr"] = rng.normal(1.12, 0.12, n).round(2)
    frame["sex"] = rng.choice(["m", "f"], n)
    return frame, rng


def hospital(folder, columns, outcome, frame):
    """A cohort whose albumin is in another unit, and whose tumor size has another name."""
    folder.mkdir(parents=True, exist_ok=True)
    table = frame.assign(Alb=(frame["albumin"] / 10).round(2)).drop(columns="albumin")
    table.index = pd.Index([f"H{i:03d}" for i in range(len(table))], name="ID")
    table.to_csv(folder / "clinical.csv")
    (folder / "study.yaml").write_text(STUDY.format(columns=columns, outcome=outcome), encoding="utf-8")
    return folder


def binary(folder, shift, n=300, seed=1):
    frame, rng = patients(n, seed)
    lp = Bundle.read(BINARY).models.linear_predictor(frame)["clinical"] + shift
    frame["relapse"] = np.where(rng.random(n) < 1 / (1 + np.exp(-lp)), "yes", "no")
    outcome = "{definition: binary-column, name: Relapse, column: relapse, positive: ['yes'], negative: ['no']}"
    columns = "relapse: {column: relapse, kind: binary, levels: {'no': ['no'], 'yes': ['yes']}}"
    return hospital(folder, columns, outcome, frame)


def timed(folder, shift, n=300, seed=2, longest=40.0):
    frame, rng = patients(n, seed)
    model = Bundle.read(TIMED).models.model("combined")
    grid = np.linspace(0.05, 24.0, 4000)
    hazard = model.cumulative_hazard(grid)
    wanted = rng.exponential(size=n) * np.exp(-(model.linear_predictor(frame) + shift))
    place = np.searchsorted(hazard, wanted)
    came = place < grid.size
    censored = rng.uniform(5, longest, n).clip(max=24.5)
    times = np.where(came, grid[np.minimum(place, grid.size - 1)], 99.0)
    frame["months"] = np.minimum(times, censored).round(3)
    frame["died"] = (times <= censored).astype(int)
    outcome = "{definition: survival, columns: {time: months, event: died}, unit: months, horizons: [6]}"
    return hospital(folder, "months: {column: months}\n    died: {column: died}", outcome, frame)


def read(folder):
    out = folder / "validation" / "evaluation"
    (found,) = read_external(out / "external.json")
    return found, read_record(PredictionScrutiny, out / "scrutiny.json")


def test_another_unit_of_most_patients_is_told(tmp_path):
    study = binary(tmp_path / "a", 0.0, n=120)
    table = pd.read_csv(study / "clinical.csv", dtype={"ID": str})
    table["size"] = (10 * table["size"]).round(1)  # mm, and the study file says nothing of it
    table.to_csv(study / "clinical.csv", index=False)
    text = (study / "study.yaml").read_text(encoding="utf-8").replace("column: size, unit: cm", "column: size")
    (study / "study.yaml").write_text(text, encoding="utf-8")
    (warning,) = validate_model(BINARY, study, workers=1).warnings
    assert "120 of 120 patients: Tumor size: outside the training range, 0.6 to 9.4; is it the same quantity" in warning
    listed = predict_table(
        BINARY, table.rename(columns={"Alb": "albumin (g/dL)"}), out=tmp_path / "risks", identifier="ID", workers=1
    )
    assert [item.strip() for item in listed.remarks] == [f"warning: {warning}"]


def test_a_model_that_is_right_here_is_found_right(tmp_path):
    study = binary(tmp_path / "a", 0.0)
    result = validate_model(BINARY, study, update="closed-test", workers=1)
    found, scrutiny = read(study)
    assert scrutiny.recalibration[0].chosen == "none" and "keeps the model as it is" in result.text()
    assert not (study / "validation" / "updated.hepacast").exists()
    assert found.observed.low < found.expected < found.observed.high
    assert len(found.verdict) == 1 and "is what its risks promise" in found.verdict[0]
    assert {row.level for row in scrutiny.subgroups.rows} >= {"female", "male"}
    # Units and names differ, and the numbers are those of `predict`.
    bundle, table = Bundle.read(BINARY), pd.read_csv(study / "clinical.csv", index_col="ID")
    risks = Predictions.read(study / "validation" / "modelling" / "predictions.parquet").table.set_index("patient")
    for patient in ("H000", "H123"):
        row = table.loc[patient]
        alone = predict(bundle, {"size": str(row["size"]), "albumin": f"{row['Alb']} g/dL"})
        assert risks.loc[patient, "risk"] == pytest.approx(alone.risk, rel=1e-12)
    # What it takes to be so precise, and groups with their limits without being asked.
    sizes = {row.measure: row.n for row in found.sizes}
    assert set(sizes) == {"O/E", "slope", "AUC"} and 300 < sizes["AUC"] < sizes["slope"] < 20000
    report = result.report.read_text(encoding="utf-8")
    assert "Sample size for validation" in report and "Minimum sample size for external validation" in report
    assert "external validation" in report and "Case-mix" in report and "nested cross-validation of" in report
    assert "H123" not in (study / "validation" / "evaluation" / "external.json").read_text()


def test_fairness_is_told_of_every_column_with_few_levels_unless_asked_otherwise(tmp_path):
    study = binary(tmp_path / "m", 0.0, n=240)
    table = pd.read_csv(study / "clinical.csv")
    table["Age"], table["site"] = 40 + table.index % 40, np.where(table.index < 12, "small", "large")
    table.to_csv(study / "clinical.csv", index=False)
    path = study / "study.yaml"
    text = path.read_text().replace(", subgroups: [sex]", "")
    more = "age: {column: Age}\n    site: {column: site, kind: categorical, levels: {small: [small], large: [large]}}"
    path.write_text(text.replace("inr: {column: inr}", f"inr: {{column: inr}}\n    {more}"))
    validate_model(BINARY, study, workers=1)
    _, scrutiny = read(study)
    groups = {(row.group, row.level): row for row in scrutiny.subgroups.rows}
    assert {group for group, _ in groups} == {"All", "sex", "Age", "site"}, "the outcome is no group"
    small = groups["site", "small"]
    assert small.n == 12 and not small.discrimination.known and "fewer than 10" in small.reason
    assert groups["sex", "female"].observed_expected.has_limits


def test_who_is_unlike_the_training_and_who_has_a_gap_are_told_apart(tmp_path):
    study = binary(tmp_path / "i", 0.0, n=120)
    table = pd.read_csv(study / "clinical.csv", dtype=str)
    table["size"], table["Alb"] = "5", "3.8"
    table.loc[3, "size"], table.loc[4, "size"], table.loc[5, "Alb"] = "", "29", "5.9"
    table.to_csv(study / "clinical.csv", index=False)
    validate_model(BINARY, study, workers=1)
    found, _ = read(study)
    assert found.unlike == {"Tumor size": 1, "Albumin": 1} and found.n_unlike == 2
    assert next(row for row in found.rows if row.name == "size").n_missing == 1


def test_another_prevalence_is_found_and_an_update_repairs_it(tmp_path):
    study = binary(tmp_path / "b", 1.2)
    result = validate_model(BINARY, study, update="closed-test", workers=1)
    found, scrutiny = read(study)
    assert scrutiny.recalibration[0].chosen == "intercept"
    assert "do not carry over" in found.verdict[0]
    old, new = Bundle.read(BINARY), Bundle.read(study / "validation" / "updated.hepacast")
    (lineage,) = new.card["updates"]
    assert lineage["parent"] == old.identity and lineage["n"] == 300 and "new intercept" in result.text()
    # In patients of this hospital whom it has not seen it is calibrated; the old one is not.
    frame, _ = patients(20000, seed=9)
    truth = 1 / (1 + np.exp(-(old.models.linear_predictor(frame)["clinical"] + 1.2)))
    assert new.models.predict_risk(frame)["clinical"].mean() == pytest.approx(truth.mean(), abs=0.05)
    assert old.models.predict_risk(frame)["clinical"].mean() < truth.mean() - 0.15
    # Everybody stays on the side of the cut-off where he was.
    sides = [
        (item.models.predict_risk(frame)["clinical"] >= item.models.cutoffs["clinical"]).to_numpy()
        for item in (old, new)
    ]
    assert (sides[0] == sides[1]).all()
    told = predict(new, {"size": "5", "albumin": "35"}).text()
    points = [predict(item, {"size": "5", "albumin": "35"}).points for item in (old, new)]
    assert points[1] == pytest.approx(points[0]), "its nomogram has other risks below the same points"
    assert "updated by a new intercept in Hospital two; before:" in told and "after, in the same patients:" in told


def test_of_a_time_to_an_event(tmp_path):
    study = timed(tmp_path / "c", -0.9)
    validate_model(TIMED, study, update="intercept", workers=1)
    found, scrutiny = read(study)
    assert found.observed.low < found.expected < found.observed.high
    assert scrutiny.recalibration[0].chosen == "intercept"
    old, new = Bundle.read(TIMED), Bundle.read(study / "validation" / "updated.hepacast")
    frame, _ = patients(5000, seed=5)
    model = old.models.model("combined")
    truth = model.risk_of(model.linear_predictor(frame) - 0.9, 12.0)
    assert new.models.predict_risk(frame, 12.0)["combined"].mean() == pytest.approx(truth.mean(), abs=0.05)


def test_a_patient_who_cannot_be_predicted_is_counted_with_the_reason(tmp_path):
    study = binary(tmp_path / "d", 0.0, n=120)
    with_an_impossible_size(study)
    bundle = replace(Bundle.read(BINARY), columns=tuple(_narrow(item) for item in Bundle.read(BINARY).columns))
    bundle.write(tmp_path / "narrow.hepacast")
    validate_model(tmp_path / "narrow.hepacast", study, workers=1)
    flow = json.loads((study / "validation" / "modelling" / "flow.json").read_text())
    (lost,) = [item for item in flow["excluded"] if item["after_inclusion"]]
    assert lost["patients"] == ["H005"] and "not possible" in lost["reason"]
    risks = Predictions.read(study / "validation" / "modelling" / "predictions.parquet").table
    assert "H005" not in set(risks["patient"]) and risks["patient"].nunique() == flow["included"] == 119


def with_an_impossible_size(study):
    """Patient H005 has a tumor of 7 m, which this hospital's own study file allows."""
    table = pd.read_csv(study / "clinical.csv", dtype=str)
    table.loc[5, "size"] = "700"
    table.to_csv(study / "clinical.csv", index=False)
    path = study / "study.yaml"
    path.write_text(path.read_text().replace("unit: cm,", "unit: cm, quantity: none, plausible: [0, 900],"))


def _narrow(column):
    return replace(column, plausible=(0.1, 40.0)) if column.name == "size" else column


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(StudyFileError, match="another kind of outcome"):
        validate_model(TIMED, binary(tmp_path / "e", 0.0, n=60), workers=1)
    study = binary(tmp_path / "f", 0.0, n=60)
    path = study / "study.yaml"
    path.write_text(path.read_text().replace("albumin: {column: Alb", "alt: {column: Alb, quantity: none"))
    with pytest.raises(StudyFileError, match="lacks columns") as told:
        validate_model(BINARY, study, workers=1)
    assert "albumin" in str(told.value.expected) and not (study / "validation").exists()
    with pytest.raises(HepacastError, match="no such update"):
        validate_model(BINARY, study, update="magic", workers=1)
    days = timed(tmp_path / "g", 0.0, n=60)
    (days / "study.yaml").write_text((days / "study.yaml").read_text().replace("unit: months", "unit: days"))
    with pytest.raises(StudyFileError, match="another unit"):
        validate_model(TIMED, days, workers=1)


def test_the_command(tmp_path):
    study = binary(tmp_path / "h", 0.0, n=80)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["validate", str(BINARY), str(study), "--out", str(out), "-w", "1"])
    assert done.exit_code == 0, done.output
    assert (out / "report" / "report.html").is_file() and "Report:" in done.output


def weaker(folder, source, **coefficients):
    """A model file whose main model has other coefficients, and another identity."""
    bundle = Bundle.read(source)
    own = bundle.models.model(bundle.main)
    values = np.array(own.coefficients)
    for place, term in enumerate(own.terms, start=1):
        values[place] = coefficients.get(term.name, values[place])
    models = {**bundle.models.models, bundle.main: replace(own, coefficients=tuple(values))}
    path = folder / "weaker.hepacast"
    replace(bundle, models=replace(bundle.models, models=models), nomogram=None, identity="").write(path)
    return path


def test_several_models_are_compared_on_the_patients_whom_all_can_score(tmp_path):
    study = binary(tmp_path / "j", 0.0, n=300)
    with_an_impossible_size(study)
    other = weaker(tmp_path, BINARY, size=0.0)
    bundle = Bundle.read(other)
    replace(bundle, columns=tuple(_narrow(item) for item in bundle.columns), identity="").write(other)
    result = compare_models([BINARY, other], study, workers=1)
    found = read_record(EvaluationResults, study / "comparison" / "evaluation" / "evaluation.json")
    (item,) = found.sets.values()
    assert found.main == "clinical" and list(item.models) == ["clinical", "weaker"] and item.n == 299
    flow = json.loads((study / "comparison" / "modelling" / "flow.json").read_text())
    (lost,) = [step for step in flow["excluded"] if step["after_inclusion"]]
    assert lost["patients"] == ["H005"] and lost["reason"].startswith("weaker: ")
    # The same numbers as of the risks themselves, and as of each model alone.
    risks = Predictions.read(study / "comparison" / "modelling" / "predictions.parquet").table
    wide = risks.pivot(index="patient", columns="model", values="risk")
    y = risks.groupby("patient")["outcome"].first().reindex(wide.index)
    alone = evaluate_risks(y, {name: wide[name] for name in ("clinical", "weaker")}, n_boot=0, external=True)
    (pair,), (expected,) = item.comparisons, alone.comparisons
    assert (pair.first, pair.second) == ("weaker", "clinical") and pair.p == pytest.approx(expected.p)
    assert pair.difference.high < 0 and pair.p < 0.001 and pair.nri.nri.value == pytest.approx(expected.nri.nri.value)
    assert item.models["weaker"].main.decision is not None
    # Each has its own case-mix and its own verdict.
    first, second = read_external(study / "comparison" / "evaluation" / "external.json")
    assert [first.name, second.name] == ["clinical", "weaker"] and first.identity != second.identity
    assert "is what its risks promise" in " ".join(first.verdict) and first.expected > second.expected
    text = result.report.read_text(encoding="utf-8")
    assert "several models" in text and "weaker:" in text and "Case-mix of weaker" in text and "DeLong" in text
    assert "Models: Clinical, Weaker" in text, "the steps of the study name them"


def test_models_of_time_are_compared_at_the_horizons_that_they_share(tmp_path):
    study = timed(tmp_path / "k", 0.0, n=200)
    other = weaker(tmp_path, TIMED, size=-0.18, inr=2.2)
    bundle = Bundle.read(other)
    replace(bundle, models=replace(bundle.models, horizons=(12.0, 20.0)), identity="").write(other)
    compare_models([TIMED, other], study, workers=1)
    found = read_record(EvaluationResults, study / "comparison" / "evaluation" / "evaluation.json")
    (item,) = found.sets.values()
    assert found.horizons == (12.0,) and {pair.measure for pair in item.comparisons} == {"C", "AUC"}
    difference = next(pair for pair in item.comparisons if pair.measure == "C")
    assert difference.difference.high < 0 and difference.p < 0.01
    assert all(model.integrated_brier is not None for model in item.models.values())
    replace(bundle, models=replace(bundle.models, horizons=(13.0,)), identity="").write(other)
    with pytest.raises(HepacastError, match="different times"):
        compare_models([TIMED, other], study, workers=1)


def test_the_same_model_twice_is_no_comparison(tmp_path):
    study = binary(tmp_path / "l", 0.0, n=60)
    done = CliRunner().invoke(app, ["compare", str(BINARY), str(BINARY), str(study)])
    assert isinstance(done.exception, HepacastError) and "nothing to compare" in str(done.exception)
    assert not (study / "comparison").exists()
    done = CliRunner().invoke(app, ["compare", str(BINARY), str(TIMED)])
    assert "and after them the study file" in str(done.exception)


def test_of_competing_risks(tmp_path):
    """Patients drawn from the subdistribution that the model says: observed is what is expected; it is not updated."""
    bundle = Bundle.read(OLD / "competing.hepacast")
    models = replace(bundle.models, models={"clinical": bundle.models.model("clinical")}, score=None)
    models = replace(models, cutoffs={"clinical": bundle.models.cutoffs["clinical"]})
    file = tmp_path / "competing.hepacast"
    replace(bundle, models=models, nomogram=None, identity="").write(file)
    frame, rng = patients(400, seed=6)
    own, grid = models.model("clinical"), np.linspace(0.1, 24.0, 240)
    lp = own.linear_predictor(frame)
    risks = np.column_stack([own.risk_of(lp, float(t)) for t in grid])
    drawn = rng.random(len(frame))
    place = (risks < drawn[:, None]).sum(axis=1)
    came = place < grid.size
    times = np.where(came, grid[np.minimum(place, grid.size - 1)], rng.uniform(2, 40, len(frame)))
    censored = rng.uniform(10, 40, len(frame))
    frame["months"] = np.minimum(times, censored).round(3)
    frame["died"] = np.where(times <= censored, np.where(came, 1, 2), 0)
    outcome = (
        "{definition: survival, columns: {time: months, event: died}, unit: months, horizons: [12], "
        "event_values: [1], competing_values: [2]}"
    )
    study = hospital(tmp_path / "n", "months: {column: months}\n    died: {column: died}", outcome, frame)
    validate_model(file, study, workers=1)
    found, _ = read(study)
    judged = read_record(EvaluationResults, study / "validation" / "evaluation" / "evaluation.json")
    item = judged.sets["external"]
    ratio = item.models["clinical"].main.calibration.observed_expected
    assert judged.competing and item.competing > 50 and ratio.low < 1 < ratio.high
    assert found.observed.low < found.expected + 0.05 and {row.measure for row in found.sizes} == {"O/E", "slope", "C"}


def test_of_networks_from_images(tmp_path):
    """Images and masks go the networks' own way: the risks are those of `predict`, and a small cohort says so."""
    folder, rng = tmp_path / "o", np.random.default_rng(4)
    grid, mask = Geometry((30, 28, 16), (3.0, 3.0, 5.0)), np.zeros((16, 28, 30), dtype=np.uint8)
    mask[6:11, 10:18, 12:20] = 1
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = []
    for place in range(14):
        image = Volume(rng.normal(60 + 6 * place, 30, mask.shape).astype(np.int16), grid)
        write_volume(image, folder / "images" / f"N{place:02d}.nii.gz")
        write_volume(Volume(mask, grid), folder / "masks" / f"N{place:02d}.nii.gz")
        rows.append({"ID": f"N{place:02d}", "alb": 30 + place, "stage": "ABC"[place % 3], "response": place % 2})
    pd.DataFrame(rows).to_csv(folder / "clinical.csv", index=False)
    (folder / "study.yaml").write_text(NETWORKS, encoding="utf-8")
    validate_model(OLD / "networks.hepacast", folder, workers=1)
    found, _ = read(folder)
    risks = Predictions.read(folder / "validation" / "modelling" / "predictions.parquet").table.set_index("patient")
    assert len(risks) == 14 and found.model == "multi-task network" and found.study == "Response"
    alone = predict_patient(
        OLD / "networks.hepacast", image=folder / "images" / "N03.nii.gz", mask=folder / "masks" / "N03.nii.gz",
        labs=["alb=33 g/L", "stage=A"], labels="tumor=1",
    )  # fmt: skip
    assert risks.loc["N03", "risk"] == pytest.approx(alone.risk, rel=1e-9)
    assert {row.name for row in found.rows} >= {"alb", "stage"}
    with pytest.raises(HepacastError, match="not updated"):
        validate_model(OLD / "networks.hepacast", folder, update="intercept", workers=1)


NETWORKS = """hepacast: 1
name: Hospital with images
cohort:
  table: clinical.csv
  id: ID
  columns:
    alb: {column: alb, unit: g/L}
    stage: {column: stage, kind: categorical, levels: {A: [A], B: [B], C: [C]}}
    response: {column: response, kind: binary, levels: {'no': [0], 'yes': [1]}}
images:
  sequences: {scan: {modality: CT, path: "images/{patient}.nii.gz"}}
  segmentation: {source: given, masks: "masks/{patient}.nii.gz", labels: {tumor: 1}}
outcome: {definition: binary-column, name: OR, column: response, positive: [1], negative: [0]}
modelling: {models: [clinical], candidates: []}
evaluation: {bootstrap: 20}
report: {formats: [html]}
"""


def test_too_few_patients_for_new_coefficients_still_get_a_smaller_change():
    """Two columns that say the same have no coefficients of their own; intercept and slope have."""
    bundle = Bundle.read(BINARY)
    own, (frame, rng) = bundle.models.model("clinical"), patients(60, seed=3)
    frame["albumin"] = 50 - 2 * frame["size"]
    y = (rng.random(60) < 1 / (1 + np.exp(-own.linear_predictor(frame) - 2))).astype(int)
    tried = update_model(own, frame, y)
    assert "refit" not in tried.models and tried.chosen in ("intercept", "slope")
    assert list(tried.table["method"]) == ["none", "intercept", "slope"]
