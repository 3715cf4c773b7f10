"""Time-to-event studies from the study file to the finished report: the examples on real data, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.bundle import Bundle, predict
from hepacast.errors import OutcomeError, StudyFileError, TableError
from hepacast.report import build_report
from hepacast.study.load import parse_study
from hepacast.study.run import run_study
from hepacast.study.validate import validate_model

pytestmark = pytest.mark.usefixtures("figures_as_words")

EXAMPLES = Path(__file__).parents[2] / "examples"


def shortened(source: Path, folder: Path, **validation: int) -> Path:
    """A copy of a study file with fewer refits and the HTML report only."""
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    content["modelling"]["validation"] = {"folds": 3, "repeats": 1, "bootstrap": 3, **validation}
    content.setdefault("evaluation", {})["bootstrap"] = 5
    content["report"]["formats"] = ["html"]
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def results(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def words(folder: Path) -> str:
    """The report's text."""
    html = "".join(page.read_text(encoding="utf-8") for page in sorted((folder / "report").glob("*.html")))
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.fixture(scope="module")
def mi12(request, tmp_path_factory):
    data = request.getfixturevalue("data_root")
    folder = tmp_path_factory.mktemp("mi12")
    study = shortened(EXAMPLES / "mi12-tace" / "study.yaml", folder)
    run_study(study, out=folder / "results", data=data, workers=1)
    return folder / "results"


@pytest.fixture(scope="module")
def data_root():
    """The folder of real data; skip where a table is absent, fail if it is required."""
    import os

    root = Path(os.environ.get("HEPACAST_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
    for name in ("tables/mi12_tace", "tables/asaur_resection"):
        if not (root / name).exists():
            message = f"real data not found: {name} (set HEPACAST_DATA to the folder that holds it)"
            if os.environ.get("HEPACAST_REQUIRE_DATA") == "1":
                pytest.fail(message)
            pytest.skip(message)
    return root


@pytest.mark.slow
def test_three_cohorts_give_the_known_concordances(mi12):
    found = results(mi12, "evaluation/evaluation.json")
    sizes = {name: item["n"] for name, item in found["sets"].items() if name != "nested"}
    assert sizes == {"training": 205, "validation": 192, "external": 181}
    c = {name: item["models"]["clinical"]["c"]["value"] for name, item in found["sets"].items()}
    assert round(c["training"], 3) == 0.706
    assert round(c["external"], 3) == 0.658
    assert round(c["validation"], 3) == 0.667
    for name in ("training", "validation", "external"):
        rows = found["sets"][name]["models"]["clinical"]["horizons"]
        assert [row["time"] for row in rows] == [180, 365]
        assert all(0 < row["calibration"]["brier"]["value"] < 0.5 for row in rows)
        assert all(row["calibration"]["curve"] for row in rows)


@pytest.mark.slow
def test_the_external_cohort_as_another_hospital(mi12, data_root, tmp_path):
    """The bundle, applied to the other center's table as if it came from elsewhere, says what the study itself said."""
    content = yaml.safe_load((EXAMPLES / "mi12-tace" / "study.yaml").read_text(encoding="utf-8"))
    content["cohort"] |= {"table": "{data}/tables/mi12_tace/external.csv"}
    del content["cohort"]["stacked"], content["cohort"]["split"]
    content["evaluation"]["bootstrap"], content["report"] = 5, {"formats": ["html"]}
    content["modelling"] |= {"validation": {"folds": 3, "repeats": 1, "bootstrap": 3}}
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(content), encoding="utf-8")
    validate_model(mi12 / "model.hepacast", study, data=data_root, workers=1)
    own = results(mi12, "evaluation/evaluation.json")["sets"]["external"]["models"]["clinical"]
    found = results(tmp_path / "validation", "evaluation/evaluation.json")
    here = found["sets"]["external"]["models"]["clinical"]
    assert found["sets"]["external"]["n"] == 181 and round(here["c"]["value"], 3) == 0.658
    for place, row in enumerate(here["horizons"]):
        before = own["horizons"][place]["calibration"]
        for measure in ("observed_expected", "slope"):
            assert row["calibration"][measure]["value"] == pytest.approx(before[measure]["value"], rel=1e-9)
    (external,) = results(tmp_path / "validation", "evaluation/external.json")
    calibration, slope, discrimination = external["verdict"]
    assert "0.44 times the predicted one (95% CI 0.35 to 0.55)" in calibration
    assert "is 0.44 (95% CI 0.23 to 0.66), not 1" in slope
    assert discrimination.startswith("C 0.658 (0.604 to 0.713) is lower than the 0.717")
    scrutiny = results(tmp_path / "validation", "evaluation/scrutiny.json")
    assert scrutiny["recalibration"][0]["chosen"] == "refit"


@pytest.mark.slow
def test_impossible_values_are_reported_and_nobody_is_lost(mi12):
    flow = results(mi12, "modelling/flow.json")
    assert flow["included"] == flow["reviewed"] == 578
    findings = results(mi12, "cohort/findings.json")
    impossible = [item for item in findings if "not possible" in item["message"]]
    assert {item["patient"] for item in impossible} == {"82", "E-46"}


@pytest.mark.slow
def test_the_report_speaks_of_survival_only(mi12):
    text = words(mi12)
    for wanted in ("Harrell", "log-rank", "proportional", "TRIPOD+AI", "External set, 365 days"):
        assert wanted in text or wanted.lower() in text.lower(), wanted
    assert "No progression by 365 days" in (mi12 / "report" / "report.html").read_text(encoding="utf-8")
    for wrong in ("DeLong", "Hosmer", "odds ratio per", "Sensitivity is", "binary outcome", "[@"):
        assert wrong not in text, wrong
    assert not re.search(r"\b(nan|None|inf)\b", text)
    assert not re.search(r"\{[\w-]+\}", text), "a reference was not filled"
    assert (mi12 / "report" / "figures").is_dir()


@pytest.mark.slow
def test_the_bundle_predicts_what_the_run_predicted(mi12):
    bundle = Bundle.read(mi12 / "model.hepacast")
    patient = pd.read_parquet(mi12 / "cohort" / "clinical.parquet").loc["E-15"]
    labs = {
        "size": f"{patient['size']:g}",
        "metastasis": f"{patient['metastasis']:g}",
        "capsule": "present" if patient["capsule"] else "absent",
    }
    found = predict(bundle, labs)
    rows = pd.read_parquet(mi12 / "modelling" / "predictions.parquet")
    known = rows[(rows["patient"] == "E-15") & (rows["kind"] == "frozen")].set_index("horizon")["risk"]
    assert [item.time for item in found.horizons] == [180, 365]
    for item in found.horizons:
        np.testing.assert_allclose(item.risk, known[item.time], rtol=1e-10)
        assert item.low < item.risk < item.high
    assert "by 365 days" in found.text()
    assert sum(found.points.values()) == pytest.approx(found.total_points)


@pytest.mark.slow
def test_early_recurrence_counts_the_censored(data_root, tmp_path):
    study = shortened(EXAMPLES / "asaur-resection" / "study.yaml", tmp_path)
    run_study(study, out=tmp_path / "results", data=data_root, workers=1)
    out = tmp_path / "results"
    models = results(out, "modelling/models.json")
    # Recurrence before 24 months in 123, known to be free of it 96, censored before 8: of 227, nobody is dropped.
    states = models["binary"]
    assert (states["events"], states["free"], states["censored"]) == (123, 96, 8)
    assert states["sum_of_weights"] == pytest.approx(227)
    assert results(out, "modelling/flow.json")["included"] == 227
    found = results(out, "evaluation/evaluation.json")
    assert set(found["sets"]) == {"training", "nested"}
    state = found["sets"]["training"]["states"][1]
    assert (state["events"], state["free"], state["censored"]) == (123, 96, 8)
    measures = {(c["measure"], c["time"]) for c in found["sets"]["nested"]["comparisons"]}
    assert measures == {("C", "inf"), ("AUC", 24)}
    text = words(out)
    assert "8 patients were censored before that time" in text
    assert "No recurrence before 24 months" in (out / "report" / "report.html").read_text(encoding="utf-8")
    assert build_report(out, formats=("html",), out=tmp_path / "again").is_file()


SMALL = """
hepacast: 1
name: Small
cohort:
  table: table.csv
  id: id
  columns:
    age: {column: age}
    time: {column: time, quantity: none, after_event: true}
    event: {column: event, quantity: none, after_event: true}
outcome: {definition: survival, columns: {time: time, event: event}, horizons: [HORIZON]}
modelling:
  candidates: [age]
  models: [clinical]
  selection: given
  validation: {folds: 3, repeats: 1, bootstrap: 0}
report: {formats: [html]}
"""


def small(folder: Path, *, events=None, horizon: str = "20", extra: str = "") -> Path:
    """A study of 40 patients."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"P{i:02d}" for i in range(40)],
            "age": rng.normal(60, 8, 40).round(1),
            "time": np.arange(1, 41),
            "event": rng.integers(0, 2, 40) if events is None else events,
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    path = folder / "study.yaml"
    path.write_text(
        SMALL.replace("HORIZON", horizon).replace("}\nmodelling", f"{extra}}}\nmodelling"), encoding="utf-8"
    )
    return path


def test_a_study_without_events_is_refused(tmp_path):
    with pytest.raises(OutcomeError, match="no event"):
        run_study(small(tmp_path, events=np.zeros(40, dtype=int)), workers=1)


def test_a_horizon_outside_follow_up_is_refused_before_any_fit(tmp_path):
    with pytest.raises(OutcomeError, match="Nothing can be predicted at the horizon 400"):
        run_study(small(tmp_path, horizon="400"), workers=1)


def test_an_event_code_without_a_meaning_is_refused(tmp_path):
    events = np.tile([0, 1, 2, 1], 10)
    with pytest.raises((OutcomeError, TableError), match="values other than 0 and 1"):
        run_study(small(tmp_path, events=events), workers=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizons": "[]"}, "needs `horizons`"),
        ({"horizons": "[30, 20]"}, "above 0 and rising"),
        ({"definition": "binary-column"}, "belong to `definition: survival`"),
    ],
)
def test_a_wrong_outcome_is_explained(change, message):
    text = SMALL.replace("HORIZON", "20")
    if "horizons" in change:
        text = text.replace("horizons: [20]", f"horizons: {change['horizons']}")
    if "definition" in change:
        text = text.replace("definition: survival", f"definition: {change['definition']}")
    with pytest.raises(StudyFileError, match=re.escape(message)):
        parse_study(text)


@pytest.mark.slow
def test_competing_events_go_through_the_whole_run(tmp_path):
    rng = np.random.default_rng(3)
    events = rng.choice([0, 1, 2], 40, p=[0.2, 0.5, 0.3])
    study = small(tmp_path, events=events, extra=", event_values: [1], competing_values: [2]")
    run_study(study, out=tmp_path / "results", workers=1)
    out = tmp_path / "results"
    models = results(out, "modelling/models.json")
    assert models["competing"] is True
    assert models["models"]["clinical"]["method"] == "fine-gray"
    assert models["cause_specific"]["method"] == "cox"
    groups = results(out, "evaluation/evaluation.json")["groups"]
    assert all(item["kind"] == "incidence" for item in groups)
    text = words(out)
    assert "competing" in text
    assert "Fine and Gray" in text
    assert (out / "model.hepacast").is_file()


def test_a_bundle_that_says_something_else_than_the_study_is_refused(mi12, data_root, tmp_path):
    from hepacast.errors import BundleError
    from hepacast.study.context import make_context
    from hepacast.study.stages.bundle import require_same_predictions

    shutil.copytree(mi12, tmp_path / "results")
    context = make_context(mi12.parent / "study.yaml", out=tmp_path / "results", data=data_root)
    bundle = context.out / "bundle" / "model.hepacast"
    require_same_predictions(context, bundle)
    path = context.out / "modelling" / "predictions.parquet"
    table = pd.read_parquet(path)
    row = table.index[table["kind"] == "frozen"][0] if (table["kind"] == "frozen").any() else 0
    table.loc[row, "risk"] += 1e-4
    table.to_parquet(path)
    with pytest.raises(BundleError, match=r"up to 0\.0001 apart in 1 patients"):
        require_same_predictions(context, bundle)


@pytest.mark.slow
def test_a_further_cohort_is_divided_by_the_frozen_cox_model(tmp_path):
    rng = np.random.default_rng(1)
    study = small(tmp_path)
    others = {"id": [f"R{i:02d}" for i in range(30)], "age": rng.normal(60, 8, 30).round(1)}
    others |= {"months": rng.exponential(20, 30).round(1) + 0.1, "relapse": rng.integers(0, 2, 30)}
    pd.DataFrame(others).to_csv(tmp_path / "rfa.csv", index=False)
    text = study.read_text(encoding="utf-8").replace(
        "report:", "further: {RFA: {table: rfa.csv, time: months, event: relapse, horizons: [12]}}\nreport:"
    )
    study.write_text(text, encoding="utf-8")
    out = tmp_path / "results"
    run_study(study, out=out, workers=1)
    (found,) = results(out, "further/further.json")
    assert (found["cohort"], found["n"], found["model"]) == ("RFA", 30, "clinical")
    assert list(found["auc"]) == ["12.0"]
    rows = pd.read_parquet(out / "modelling" / "further.parquet")
    model = Bundle.read(out / "model.hepacast").models
    table = pd.DataFrame({"age": others["age"]}, index=others["id"])
    np.testing.assert_allclose(rows.set_index("patient")["risk"], model.predict_risk(table)["clinical"], rtol=1e-10)
    assert "RFA" in words(out)
