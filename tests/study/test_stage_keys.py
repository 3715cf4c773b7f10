"""What makes a stage of a study to be done again: its code, whatever it imports, its settings, its inputs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.core import closure as closure_module
from hepacast.core.closure import closure, code_hash
from hepacast.errors import HepacastError
from hepacast.study import run as running
from hepacast.study.plan import STAGES
from hepacast.study.run import plan_study, rebuild_report, run_study

pytestmark = pytest.mark.usefixtures("figures_as_words")


def write_study(folder: Path, patients: list[str] | None = None, seed: int = 3) -> Path:
    """A study of a clinical table and a table of features."""
    r = np.random.default_rng(seed)
    names = patients or [f"K{number:03d}" for number in range(70)]
    n = len(names)
    table = pd.DataFrame({"code": names, "size": r.normal(4, 1, n).round(1), "inr": r.normal(1.1, 0.1, n).round(2)})
    table["relapse"] = r.binomial(1, 1 / (1 + np.exp(-(table["size"] - 4))))
    table.to_csv(folder / "table.csv", index=False)
    values = pd.DataFrame(r.normal(size=(n, 4)).round(3), columns=[f"tumor_x{j}" for j in range(4)])
    values.assign(code=names).to_csv(folder / "features.csv", index=False)
    study = {
        "name": "keys",
        "seed": 3,
        "cohort": {
            "table": "table.csv",
            "id": "code",
            "columns": {
                "size": {"column": "size", "unit": "cm", "quantity": "none"},
                "inr": {"column": "inr"},
                "relapse": {"column": "relapse", "kind": "binary", "after_event": True},
            },
            "split": {"by": "random", "validation_fraction": 0.3},
        },
        "outcome": {"definition": "binary-column", "name": "Relapse", "column": "relapse"},
        "features": {"table": "features.csv", "id": "code", "vois": {"tumor": "tumor_"}},
        "modelling": {
            "candidates": ["size", "inr"],
            "models": ["clinical", "radiomics", "combined"],
            "validation": {"folds": 3, "repeats": 1, "bootstrap": 0, "importance": 1},
        },
        "evaluation": {"bootstrap": 5},
        "report": {"formats": ["html"]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return folder / "study.yaml"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.module.rpartition(".")[2])
def test_the_key_of_a_stage_changes_with_every_module_of_its_closure(stage, monkeypatch):
    files = sorted(set(closure(stage.module).values()))
    before = code_hash(stage.module)
    step = 1 if stage.name == "report" else 17
    wanted = files[::step]
    real = closure_module._hash_once
    for changed in wanted:
        closure_module._hash_of.cache_clear()
        monkeypatch.setattr(
            closure_module, "_hash_once", lambda file, other=changed: real(file) + "x" * (file == other)
        )
        assert code_hash(stage.module) != before, changed
    monkeypatch.setattr(closure_module, "_hash_once", real)
    closure_module._hash_of.cache_clear()
    assert code_hash(stage.module) == before


def test_what_decides_numbers_far_below_is_in_the_keys():
    named = {stage.module.rpartition(".")[2]: set(closure(stage.module)) for stage in STAGES}
    for module in ("core.seeds", "evaluation.roc", "evaluation.subgroups", "stats.smoothing"):
        assert f"hepacast.{module}" in named["modelling"], module
    assert "hepacast.study.preprocessed_images" in named["preprocessing"]
    assert "hepacast.radiomics.kernels.zones" in named["radiomics"]
    assert "hepacast.evaluation.delong" in named["evaluation"]


#: Of `deep/` and `report/` every stage reads what the study file may say.
SPEC = {"hepacast.deep", "hepacast.deep.spec", "hepacast.report", "hepacast.report.formats"}
STRANGERS = {
    "cohort": ("deep", "segmentation", "radiomics", "biomarkers", "modelling", "evaluation", "bundle", "report"),
    "preprocessing": ("deep", "radiomics.filters", "radiomics.kernels", "modelling", "evaluation", "bundle", "report"),
    "segmentation": ("deep", "modelling", "evaluation", "bundle", "report"),
    "radiomics": ("deep", "modelling", "evaluation", "bundle", "report"),
    "biomarkers": ("deep", "modelling", "evaluation", "bundle", "report"),
    "deep": ("radiomics.filters", "radiomics.kernels", "bundle", "report"),
    "modelling": ("deep", "segmentation.nnunet", "bundle", "report"),
    "evaluation": ("deep", "segmentation.nnunet", "bundle", "report"),
    "further": ("deep", "segmentation", "radiomics", "bundle", "report"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stage_is_not_made_again_for_a_change_in_a_room_that_it_does_not_use(name):
    """Hours of networks and of features are kept when the report or a model changes."""
    (stage,) = [stage for stage in STAGES if stage.module == f"hepacast.study.stages.{name}"]
    rooms = tuple(f"hepacast.{room}" for room in STRANGERS[name])
    strange = {module for module in closure(stage.module) if f"{module}.".startswith(tuple(f"{r}." for r in rooms))}
    assert strange <= SPEC


#: Told how far a stage is: given from outside, like a terminal, and no number depends on it.
REPORTERS = {"hepacast.core.run_progress"}

RUN = """
import json, sys
from pathlib import Path
import hepacast.study.run as run
from hepacast.core.closure import closure
from dataclasses import replace
found = {}
def watched(stage):
    def work(context, folder):
        seen, importing = set(), 0
        def note(frame, event, arg):
            # Calls alone are told, but for the return of a module that is imported.
            nonlocal importing
            if frame.f_code.co_name == "<module>":
                importing += 1
                frame.f_trace_lines = False
                return left
            if not importing:
                seen.add(frame.f_globals.get("__name__", ""))
        def left(frame, event, arg):
            nonlocal importing
            importing -= event == "return"
            return left
        sys.settrace(note)
        try:
            stage.run(context, folder)
        finally:
            sys.settrace(None)
        found[stage.name] = sorted(name for name in seen if name.split(".")[0] == "hepacast")
    return replace(stage, run=work)
run.STAGES = tuple(watched(stage) for stage in run.STAGES)
run.run_study(sys.argv[1], workers=1)
Path(sys.argv[2]).write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The study, run in a process of its own that tells the code of which modules each stage ran."""
    folder = tmp_path_factory.mktemp("keys")
    words = [sys.executable, "-c", RUN, str(write_study(folder)), str(folder / "told.json")]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    return folder


def test_every_module_whose_code_a_stage_runs_is_in_its_closure(finished):
    found = json.loads((finished / "told.json").read_text())
    assert {"cohort", "modelling", "evaluation", "bundle", "report"} <= set(found)
    assert all(len(found[name]) > 10 for name in ("cohort", "modelling", "evaluation", "report"))
    for stage in STAGES:
        if stage.module != "hepacast.study.stages.fusion":
            missing = set(found.get(stage.name, ())) - set(closure(stage.module)) - REPORTERS
            assert not missing, stage.name


def test_a_second_run_does_nothing_and_a_changed_file_of_a_stage_is_made_again(finished):
    assert run_study(finished, workers=1).ran == ()
    models = finished / "results" / "modelling" / "frozen.json"
    right = models.read_bytes()
    models.write_bytes(right.replace(b"1", b"2", 1))
    assert {item.name for item in plan_study(finished).stages if not item.cached} == {"modelling"}
    assert "modelling" in run_study(finished, workers=1).ran
    assert models.read_bytes() == right


@pytest.mark.parametrize("file", ["run.json", "study.resolved.yaml", "model.hepacast", ".cache/fingerprints.json"])
def test_what_lies_beside_the_stages_is_put_right_too(finished, file):
    path = finished / "results" / file
    right = path.read_bytes()
    for damaged in (right[: len(right) // 2], b"", right.replace(b"e", b"f", 1)):
        path.write_bytes(damaged)
        if file in ("run.json", "study.resolved.yaml"):
            with pytest.raises(HepacastError, match="changed after the run"):
                rebuild_report(finished / "results", ("html",))
        run_study(finished, workers=1)
        if file == "run.json":  # the time of the run is in it
            assert {**json.loads(path.read_bytes()), "started": 0, "sha256": 0} == {
                **json.loads(right), "started": 0, "sha256": 0,
            } or json.loads(path.read_bytes())["stages"]  # fmt: skip
        elif not file.startswith(".cache"):
            assert path.read_bytes() == right


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"key": 1}', b'{"key": null, "files": 3}'])
@pytest.mark.parametrize("stage", ["cohort", "evaluation"])
def test_a_damaged_record_is_named_by_the_report_and_made_again_by_a_run(finished, stage, content):
    mark = finished / "results" / stage / "stage.json"
    right = mark.read_bytes()
    mark.write_bytes(content)
    with pytest.raises(HepacastError, match=f"{stage}/stage.json"):
        rebuild_report(finished / "results", ("html",))
    assert not {item.name: item.cached for item in plan_study(finished).stages}[stage]
    mark.write_bytes(right)


def test_an_input_that_changes_during_the_run_stops_it(tmp_path, monkeypatch):
    study = write_study(tmp_path)
    (modelling,) = [stage for stage in STAGES if stage.module == "hepacast.study.stages.modelling"]

    def disturbed(context, folder):
        modelling.run(context, folder)
        table = (tmp_path / "table.csv").read_text()
        (tmp_path / "table.csv").write_text(table.replace("K001,", "K001,9", 1))

    stages = tuple(replace(stage, run=disturbed) if stage is modelling else stage for stage in STAGES)
    monkeypatch.setattr(running, "STAGES", stages)
    with pytest.raises(HepacastError, match="clinical table"):
        run_study(study, workers=1)
    assert not (tmp_path / "results" / "modelling").exists()
