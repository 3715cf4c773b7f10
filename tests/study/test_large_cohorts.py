"""Large cohorts: `--dry-run` promises what patients will cost, bootstrap samples are drawn until they are enough."""

import json
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from hepacast.core.files import write_text
from hepacast.core.progress import SilentReporter as Reporter
from hepacast.modelling import refit
from hepacast.modelling.refit import Refitter
from hepacast.study.context import make_context
from hepacast.study.demos import early_recurrence
from hepacast.study.run import run_study
from hepacast.study.stages import fusion
from hepacast.study.stages.modelling import STAGE
from hepacast.study.template import render_study

STUDY = """hepacast: 1
name: costs
cohort:
  table: clinical.csv
  id: patient
  columns:
    age: {{column: age, unit: years}}
    event: {{column: event, kind: binary, after_event: true}}
outcome: {{definition: binary-column, column: event}}
features: {{table: {table}, id: patient}}
modelling: {{candidates: [age], validation: {{{validation}}}}}
"""


@pytest.fixture
def cost(tmp_path):
    """Seconds and bytes for n patients and p features."""

    def of(n, p, validation="repeats: 10", table="features.csv"):
        folder = tmp_path / f"{n} {p} {abs(hash((validation, table)))}"
        folder.mkdir(exist_ok=True)
        ids = [f"P{i:05d}" for i in range(n)]
        ages = 40 + np.arange(n) % 41
        pd.DataFrame({"patient": ids, "age": ages, "event": np.arange(n) % 3 == 0}).astype({"event": int}).to_csv(
            folder / "clinical.csv", index=False
        )
        columns = ["patient", *(f"t:f{j}" for j in range(p))]
        if table.endswith("csv"):
            write_text(folder / table, ",".join(columns) + "\n")
        else:
            pd.DataFrame(columns=columns).to_parquet(folder / table)
        write_text(folder / "study.yaml", STUDY.format(table=table, validation=validation))
        return STAGE.cost(make_context(folder, workers=2))

    return of


def test_measured_times_are_promised(cost):
    """CPU seconds of one core that the modelling stage took (`benchmarks/cohort_size.py`), within a factor of two."""
    for n, p, measured in MEASURED:
        promised = 2 * cost(n, p).seconds
        assert measured / 2 <= promised <= measured * 2, (n, p, promised)


def test_trainings_of_competing_networks_are_promised(tmp_path):
    """Of the demo of early recurrence the modelling stage took 780 CPU seconds, nearly all of it for 60 trainings."""
    study = early_recurrence.DEMO.study(early_recurrence.DEMO.choose({}))
    ids = [f"M{i:03d}" for i in range(160)]
    columns = {item["column"]: 1 for item in study["cohort"]["columns"].values()}
    pd.DataFrame({"patient": ids, "set": "training", **columns}).to_csv(tmp_path / "clinical.csv", index=False)

    def promised(networks):
        study["fusion"]["networks"] = networks
        study["fusion"]["models"] = {"R": ["radiomics"], **({"DL": ["network"]} if networks else {})}
        write_text(tmp_path / "study.yaml", render_study(study))
        return 2 * fusion.STAGE.cost(make_context(tmp_path, workers=2)).seconds

    six = study["fusion"]["networks"]
    assert 780 / 2 < promised(six) < 780 * 2
    assert promised(six[:3]) < promised(six) and promised([]) < 100


#: Patients, features, CPU seconds of the modelling stage.
MEASURED = [(2000, 3748, 600)]


def test_it_grows_with_what_is_asked_for(cost):
    base = "repeats: 2, bootstrap: 0, learning_curve: 0, importance: 0, usual_way: false"
    least = cost(150, 1000, base).seconds
    for more in ("repeats: 4, bootstrap: 0", base.replace("bootstrap: 0", "bootstrap: 50")):
        assert cost(150, 1000, more).seconds > least
    for name in ("learning_curve", "importance"):
        assert cost(150, 1000, base.replace(f"{name}: 0", f"{name}: 5")).seconds > least
    assert cost(150, 1000, base + ", permutations: 20").seconds > least
    assert cost(300, 1000, base).seconds > least
    assert cost(150, 2000, base).seconds > least
    assert cost(150, 1000, base, table="features.parquet").seconds == least
    # A large cohort draws its bootstrap samples until they are enough.
    assert (
        cost(1000, 1000, base.replace("bootstrap: 0", "bootstrap: 2000")).seconds
        < cost(999, 1000, base.replace("bootstrap: 0", "bootstrap: 2000")).seconds
    )
    assert cost(4000, 1000, base).memory > cost(2000, 1000, base).memory


def test_what_was_measured_counts_more_than_the_table(tmp_path):
    r = np.random.default_rng(1)
    ids = [f"P{i:03d}" for i in range(40)]
    table = pd.DataFrame({"patient": ids, "age": r.integers(40, 80, 40), "event": np.arange(40) % 2})
    table.to_csv(tmp_path / "clinical.csv", index=False)
    features = pd.DataFrame(r.normal(size=(40, 30)), columns=[f"t:f{j}" for j in range(30)])
    features.assign(patient=ids, **{"t:empty": np.nan}).to_csv(tmp_path / "features.csv", index=False)
    write_text(tmp_path / "study.yaml", STUDY.format(table="features.csv", validation="repeats: 1"))
    before = STAGE.cost(make_context(tmp_path, workers=1)).seconds
    run_study(tmp_path, workers=1, until="radiomics")
    after = STAGE.cost(make_context(tmp_path, workers=1)).seconds
    assert 0.9 * before < after < before


@pytest.mark.parametrize("of_time", [False, True])
def test_methods_and_record_say_how_many_samples_were_enough(tmp_path, of_time):
    r = np.random.default_rng(2)
    n = 1050
    age = r.normal(60, 9, n).round(1)
    strength = (age - 60) / 6
    event = (strength + r.logistic(size=n) > 0).astype(int)
    weeks = r.exponential(50 * np.exp(-strength)).round(1) + 0.1
    table = pd.DataFrame({"patient": [f"P{i:04d}" for i in range(n)], "age": age, "event": event, "weeks": weeks})
    table.to_csv(tmp_path / "clinical.csv", index=False)
    study = STUDY.replace("features: {{table: {table}, id: patient}}\n", "").format(
        validation="repeats: 1, folds: 3, bootstrap: 90, learning_curve: 0, importance: 0"
    )
    study = study.replace("candidates: [age]", "candidates: [age], models: [clinical]")
    if of_time:
        study = study.replace(
            "    event: {", "    weeks: {column: weeks, unit: weeks, after_event: true}\n    event: {", 1
        ).replace(
            "{definition: binary-column, column: event}",
            "{definition: survival, columns: {time: weeks, event: event}, unit: weeks, horizons: [20]}",
        )
    write_text(tmp_path / "study.yaml", study)
    out = run_study(tmp_path, workers=1, until="modelling").out / "modelling"
    found = json.loads((out / "validation.json").read_text(encoding="utf-8"))["models"]["clinical"]["bootstrap"]
    assert found["resamples"] in (40, 60, 80) and 0 < found["monte_carlo_se"] < 0.003
    methods = " ".join(item["text"] for item in json.loads((out / "methods.json").read_text(encoding="utf-8")))
    assert f"the chain in {found['resamples']} bootstrap samples" in methods
    assert f"Of at most 90 samples, as the cohort is large, {found['resamples']} were drawn" in methods


class _Stopped(Reporter):
    """A run that is interrupted at the third refit of the bootstrap."""

    @contextmanager
    def track(self, label, *, counted=True):
        def told(done, total):
            if label.startswith("bootstrap") and done == 3:
                raise KeyboardInterrupt

        yield told


@pytest.fixture
def of_features(tmp_path):
    """A small study with a signature and a clinical predictor with categories."""
    r = np.random.default_rng(4)
    ids = [f"P{i:03d}" for i in range(60)]
    values = r.normal(size=(60, 12))
    event = (values[:, 0] + r.logistic(size=60) > 0).astype(int)
    table = pd.DataFrame({"patient": ids, "age": r.integers(40, 80, 60), "event": event, "grade": r.integers(1, 4, 60)})
    table.astype({"grade": str}).assign(grade=lambda own: "G" + own["grade"]).to_csv(
        tmp_path / "clinical.csv", index=False
    )
    features = pd.DataFrame(values, columns=[f"t:f{j}" for j in range(12)])
    features.assign(patient=ids).to_csv(tmp_path / "features.csv", index=False)
    study = STUDY.format(table="features.csv", validation="repeats: 2, bootstrap: 5, learning_curve: 2, importance: 2")
    study = study.replace("    event: {", "    grade: {column: grade, kind: categorical}\n    event: {", 1)
    write_text(tmp_path / "study.yaml", study.replace("candidates: [age]", "candidates: [age, grade]"))
    return tmp_path


def test_refits_of_a_run_that_was_stopped_are_not_made_again(of_features, monkeypatch):
    made = []
    plain = Refitter._made
    monkeypatch.setattr(Refitter, "_made", lambda self, split: made.append(split.label) or plain(self, split))
    whole = run_study(of_features, out=of_features / "whole", workers=1, until="modelling").out
    monkeypatch.setattr(refit, "WORTH_KEEPING", 0.0)
    all_of_it, out = len(made), of_features / "results"
    with pytest.raises(KeyboardInterrupt):
        run_study(of_features, workers=1, until="modelling", reporter=_Stopped())
    before = len(made) - all_of_it
    assert before == 2 * 10 + 3 and len(list(out.glob(".cache/refits/*/*/*.npz"))) == before
    damaged = next(iter(out.glob(".cache/refits/*/*/*.npz")))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    run_study(of_features, workers=1, until="modelling")
    assert len(made) == 2 * all_of_it + 1
    for name in ("validation.json", "frozen.json", "scrutiny.json"):
        assert (out / "modelling" / name).read_bytes() == (whole / "modelling" / name).read_bytes()
    assert not (out / ".cache" / "refits").exists()
