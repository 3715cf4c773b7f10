"""A model over calendar time: false alarms are as rare as stated, planted drift is found as fast as stated."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hepacast.bundle import Bundle
from hepacast.cli.main import app
from hepacast.core.records import read_record
from hepacast.errors import HepacastError, ModelError, TableError
from hepacast.evaluation.monitoring import (
    ChartSettings,
    Monitoring,
    SeenPatients,
    alarm_limit,
    cusum,
    needed_to_find,
)
from hepacast.study.monitor import monitor_model
from hepacast.study.predict_table import predict_table

OLD = Path(__file__).resolve().parents[1] / "bundle" / "old" / "2313617"
BINARY, TIMED = OLD / "clinical.hepacast", OLD / "cox.hepacast"


def plain_chart(observed, risk, ratio):
    """The chart of odds, one patient after the other, by its definition."""
    value, found = 0.0, []
    for y, p in zip(observed, risk, strict=True):
        odds = p / (1 - p)
        after = ratio * odds / (1 + ratio * odds)
        value = max(0.0, value + np.log((after if y else 1 - after) / (p if y else 1 - p)))
        found.append(value)
    return np.array(found)


def calls(risk, limit, ratio, change, n, repeats, seed):
    """When independent series of patients call, by the definition; infinite where they do not."""
    rng, first = np.random.default_rng(seed), []
    for _ in range(repeats):
        p = risk[rng.integers(0, risk.size, n)]
        y = rng.random(n) < change * p / (1 - p + change * p)
        over = np.maximum(plain_chart(y, p, ratio), plain_chart(y, p, 1 / ratio)) > limit
        first.append(over.argmax() + 1 if over.any() else np.inf)
    return np.array(first)


def test_false_alarms_are_as_rare_as_stated_and_drift_is_found_as_fast():
    rng = np.random.default_rng(4)
    risk = rng.beta(2, 4, 300)
    seen = SeenPatients((rng.random(300) < risk).astype(float), risk, risk)
    settings = ChartSettings(ratio=2.0, false_alarm=0.1, within=300)
    limit = alarm_limit(seen, settings)
    false = calls(risk, limit, 2.0, 1.0, 300, 600, seed=5)
    # 600 series: the share has a standard error of 0.012.
    assert np.isfinite(false).mean() == pytest.approx(0.1, abs=0.037)
    for change in (2.0, 0.5):
        median, most = needed_to_find(seen, settings, limit, change)
        found = calls(risk, limit, 2.0, change, 300, 300, seed=6)
        assert most < 200 and (found <= most).mean() == pytest.approx(0.9, abs=0.055)
        assert (found <= median).mean() == pytest.approx(0.5, abs=0.09)


def test_charts_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    scores = rng.normal(-0.1, 1, (3, 50))
    running = np.zeros(3)
    for place in range(50):
        running = np.maximum(0, running + scores[:, place])
        assert cusum(scores)[:, place] == pytest.approx(running, abs=1e-12)


def test_a_limit_of_hazards_holds_too():
    rng = np.random.default_rng(8)
    possible = rng.gamma(2, 0.25, 400)
    wait = rng.exponential(size=400)
    seen = SeenPatients((wait < possible).astype(float), np.minimum(wait, possible), possible, timed=True)
    settings = ChartSettings(ratio=1.5, false_alarm=0.2, within=400)
    limit, called = alarm_limit(seen, settings), []
    for _ in range(400):
        own = possible[rng.integers(0, 400, 400)]
        wait = rng.exponential(size=400)
        o, e = wait < own, np.minimum(wait, own)
        charts = [cusum(o * np.log(r) - (r - 1) * e) for r in (1.5, 1 / 1.5)]
        called.append(max(chart.max() for chart in charts) > limit)
    assert np.mean(called) == pytest.approx(0.2, abs=0.06)


def log_of(n=600, change_at=300, change=1.0, seed=3):
    """A log of the clinical model; from a patient on the odds are others."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": rng.uniform(1.5, 9, n), "albumin": rng.normal(38, 5, n)})
    lp = Bundle.read(BINARY).models.linear_predictor(frame)["clinical"].to_numpy()
    true = lp + np.where(np.arange(n) >= change_at, np.log(change), 0.0)
    return pd.DataFrame(
        {
            "patient": [f"P{place:04d}" for place in range(n)],
            "date": [f"{day:%Y-%m-%d}" for day in pd.date_range("2023-01-02", periods=n, freq="2D")],
            "risk": 1 / (1 + np.exp(-lp)),
            "linear_predictor": lp,
            "outcome": np.where(rng.random(n) < 1 / (1 + np.exp(-true)), "yes", "no"),
        }
    )


def test_a_log_of_right_risks_says_nothing_against_the_model(tmp_path):
    found = monitor_model(BINARY, [log_of()], out=tmp_path, formats=["html"])
    record = read_record(Monitoring, tmp_path / "monitoring.json")
    assert record.alarms == () and record.n == 600 and record.left_out == {}
    assert "No chart called" in found.text() and sum(w.performance.n for w in record.windows) == 600
    report = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Steiner" in report and "the limit" in report and "P0003" not in report


def test_who_is_predicted_twice_counts_once_and_what_contradicts_is_told(tmp_path):
    log = log_of()
    again = log.iloc[:3].assign(outcome=["yes", "no", "no"])
    found = monitor_model(BINARY, [pd.concat([log, again])], out=tmp_path, formats=["html"])
    assert found.found.n == 600 and found.found.left_out == {"predicted before: the first prediction counts": 3}
    assert "each row counts" not in found.text() and "rows of the log have different outcomes" in found.text()


def test_identifiers_of_log_and_outcomes_are_read_alike(tmp_path):
    log = log_of()
    numbers = [float(i + 1) for i in range(len(log))]
    outcomes = log[["date", "outcome"]].assign(patient=[f" {i + 1} " for i in range(len(log))])
    found = monitor_model(
        BINARY,
        [log.drop(columns=["date", "outcome"]).assign(patient=numbers)],
        outcomes=outcomes,
        out=tmp_path,
        formats=["html"],
    )
    assert found.found.n == 600


def test_drift_is_found_soon_after_it_begins_and_the_update_is_named(tmp_path):
    found = monitor_model(BINARY, [log_of(change=3.0)], out=tmp_path, formats=["html"]).found
    (alarm,) = [item for item in found.alarms if item.way == "higher"]
    assert 300 < alarm.place <= 300 + found.needed["2"][1] and abs(alarm.since - 300) < 60
    assert found.update.chosen == "intercept" and found.verdict[1].startswith("Recalibrate: since about 2024-")
    rows = pd.read_csv(tmp_path / "patients.csv")
    assert list(rows["chart_higher"]) == pytest.approx(plain_chart(rows["observed"], rows["risk"], 2.0), abs=1e-9)
    fewer = monitor_model(BINARY, [log_of(change=0.3)], out=tmp_path / "b", formats=["html"]).found
    assert fewer.alarms[0].way == "lower" and "fewer events" in fewer.verdict[1]


def test_what_predict_writes_is_a_log_with_outcomes_beside_it(tmp_path):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"ID": [f"H{i:03d}" for i in range(60)], "size": rng.uniform(2, 8, 60).round(1)})
    table["albumin"] = rng.normal(38, 4, 60).round(1)
    predicted = [
        predict_table(BINARY, part, out=tmp_path / name, workers=1)
        for name, part in (("a", table[:30]), ("b", table[29:]))
    ]
    outcomes = pd.DataFrame({"patient": table["ID"], "date": pd.date_range("2024-01-01", periods=60), "outcome": 0})
    outcomes.loc[::3, "outcome"] = 1
    outcomes["outcome"] = outcomes["outcome"].astype(object)
    outcomes.loc[7, "outcome"] = None
    logs = [item.file for item in predicted]
    found = monitor_model(BINARY, logs, outcomes=outcomes, out=tmp_path / "out", formats=["html"]).found
    assert found.n == 59 and found.left_out == {
        "outcome not known": 1,
        "predicted before: the first prediction counts": 1,
    }
    with pytest.raises(HepacastError, match="too little") as told:
        monitor_model(TIMED, logs, outcomes=outcomes.assign(time=3.0), out=tmp_path / "other")
    assert "another model file: 61" in str(told.value)
    assert not (tmp_path / "other").exists()


def test_of_a_time_to_an_event_hazards_are_compared(tmp_path):
    model = Bundle.read(TIMED).models.model("combined")
    rng = np.random.default_rng(12)
    n = 400
    frame = pd.DataFrame(
        {"size": rng.uniform(1.5, 9, n), "albumin": rng.normal(38, 5, n), "inr": rng.normal(1.1, 0.1, n)}
    )
    lp = model.linear_predictor(frame)
    grid = np.linspace(0.05, 24, 3000)
    true = lp + np.where(np.arange(n) >= 200, np.log(2.0), 0)
    place = np.searchsorted(model.cumulative_hazard(grid), rng.exponential(size=n) * np.exp(-true))
    event, censored = np.where(place < grid.size, grid[np.minimum(place, grid.size - 1)], 99), rng.uniform(5, 40, n)
    log = pd.DataFrame(
        {"patient": [f"P{i}" for i in range(n)], "date": pd.date_range("2015-01-01", periods=n, freq="3D")}
    )
    log["risk"], log["linear_predictor"] = model.risk_of(lp, 24.0), lp
    log["outcome"], log["time"] = (event <= censored).astype(int), np.minimum(event, censored).round(2)
    found = monitor_model(TIMED, [log], out=tmp_path, formats=["html"]).found
    assert found.horizon == 24 and found.windows[0].performance.measure == "C"
    assert found.alarms[0].way == "higher" and 200 < found.alarms[0].place <= 200 + found.needed["2"][1]
    # Before the change as many events came as the model expects of the time that was seen.
    rows = pd.read_csv(tmp_path / "patients.csv")[:200]
    assert rows["observed"].sum() == pytest.approx(rows["expected"].sum(), abs=2.5 * np.sqrt(rows["expected"].sum()))


def test_what_cannot_be_read_is_refused(tmp_path):
    log = log_of(60)
    with pytest.raises(TableError, match="outside 0 to 1"):
        monitor_model(BINARY, [log.assign(risk=log["risk"] + 1)], out=tmp_path / "a")
    with pytest.raises(TableError, match="no date"):
        monitor_model(BINARY, [log.assign(date="soon")], out=tmp_path / "b")
    with pytest.raises(TableError, match="no column 'outcome'"):
        monitor_model(BINARY, [log.drop(columns="outcome")], out=tmp_path / "c")
    with pytest.raises(ModelError, match="false-alarm"):
        monitor_model(BINARY, [log], out=tmp_path / "d", settings=ChartSettings(false_alarm=0.9))
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path):
    log_of(120).to_csv(tmp_path / "log.csv", index=False)
    arguments = [
        "monitor",
        str(BINARY),
        str(tmp_path / "log.csv"),
        "--out",
        str(tmp_path / "out"),
        "--window",
        "quarter",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report" / "report.pdf").is_file() and "Report:" in done.output
    assert read_record(Monitoring, tmp_path / "out" / "monitoring.json").windows[0].label == "2023 Q1"
