"""What makes a stage of a study to be done again: its code, whatever it imports, its settings, its inputs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hepacast.core import closure as closure_module
from hepacast.core.closure import ROOT, closure, code_hash
from hepacast.errors import HepacastError
from hepacast.study.run import plan_study, rebuild_report, run_study
from hepacast.study.stages.kinds import STAGE_KINDS


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


@pytest.mark.parametrize("kind", STAGE_KINDS, ids=lambda kind: kind.name)
def test_the_key_of_a_stage_changes_with_every_module_of_its_closure(kind, monkeypatch):
    files = sorted({*closure(*kind.modules).values(), *closure_module._data(ROOT / "radiomics")})
    before = code_hash(*kind.modules)
    step = 1 if kind.name == "report" else 17
    wanted = [file for file in files if file in set(closure(*kind.modules).values())][::step]
    real = closure_module._hash_once
    for changed in wanted:
        closure_module._hash_of.cache_clear()
        monkeypatch.setattr(
            closure_module, "_hash_once", lambda file, other=changed: real(file) + "x" * (file == other)
        )
        assert code_hash(*kind.modules) != before, changed
    monkeypatch.setattr(closure_module, "_hash_once", real)
    closure_module._hash_of.cache_clear()
    assert code_hash(*kind.modules) == before


def test_what_decides_numbers_far_below_is_in_the_keys():
    named = {kind.name: set(closure(*kind.modules)) for kind in STAGE_KINDS}
    for module in ("core.seeds", "evaluation.roc", "evaluation.survival_subgroups", "stats.smoothing"):
        assert f"hepacast.{module}" in named["modelling"], module
    assert "hepacast.study.mr_images" in named["preprocessing"]
    assert "hepacast.radiomics.kernels.zones" in named["radiomics"]
    assert "hepacast.evaluation.delong" in named["evaluation"]


RUN = """
import json, sys
from pathlib import Path
import hepacast.study.run as run
from hepacast.core.closure import closure
from dataclasses import replace
found = {}
def watched(kind):
    def work(context, folder):
        before = set(sys.modules)
        kind.work(context, folder)
        found[kind.name] = sorted(n for n in set(sys.modules) - before if n.split(".")[0] == "hepacast")
    return replace(kind, work=work)
run.STAGE_KINDS = tuple(watched(kind) for kind in run.STAGE_KINDS)
run.run_study(sys.argv[1], workers=1)
Path(sys.argv[2]).write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The study, run in a process of its own that tells which modules each stage loaded."""
    folder = tmp_path_factory.mktemp("keys")
    words = [sys.executable, "-c", RUN, str(write_study(folder)), str(folder / "told.json")]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    return folder


def test_every_module_that_a_stage_imports_while_it_runs_is_in_its_closure(finished):
    found = json.loads((finished / "told.json").read_text())
    assert {"cohort", "modelling", "evaluation", "bundle", "report"} <= set(found)
    assert found["modelling"] and found["report"]
    for kind in STAGE_KINDS:
        missing = set(found.get(kind.name, ())) - set(closure(*kind.modules))
        assert not missing, kind.name


def test_a_second_run_does_nothing_and_a_changed_file_of_a_stage_is_made_again(finished):
    assert run_study(finished, workers=1).ran == ()
    models = finished / "results" / "modelling" / "frozen.json"
    right = models.read_bytes()
    models.write_bytes(right.replace(b"1", b"2", 1))
    assert {item.kind.name for item in plan_study(finished).stages if not item.cached} == {"modelling"}
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
    assert not {item.kind.name: item.cached for item in plan_study(finished).stages}[stage]
    mark.write_bytes(right)


def test_an_input_that_changes_during_the_run_stops_it(tmp_path, monkeypatch):
    study = write_study(tmp_path)
    from hepacast.study.stages import modelling

    real = modelling.write

    def disturbed(context, folder):
        real(context, folder)
        table = (tmp_path / "table.csv").read_text()
        (tmp_path / "table.csv").write_text(table.replace("K001,", "K001,9", 1))

    monkeypatch.setattr(modelling, "write", disturbed)
    with pytest.raises(HepacastError, match="clinical table"):
        run_study(study, workers=1)
    assert not (tmp_path / "results" / "modelling").exists()
