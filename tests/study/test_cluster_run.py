"""A study on a cluster of processes: every file as one process writes it."""

import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("distributed")

from typer.testing import CliRunner

from hepacast.cli.main import app
from hepacast.core.cluster import on_cluster
from hepacast.core.files import read_json
from hepacast.study.extract import extract_image
from hepacast.study.noise import run_noise
from hepacast.study.predict_table import predict_table
from hepacast.study.run import run_study
from hepacast.study.validate import validate_model

sys.path.insert(0, str(Path(__file__).parent))

from image_study import tumors_by_spread, write_image_study

N = 30


def make_study(folder):
    """Thirty small tumors, whose spread of gray levels goes with the event."""
    features = "{firstorder: [], glcm: [Contrast, Id]}"
    write_image_study(folder, tumors_by_spread(N), features=features, bootstrap=4)


def contents(out):
    """Every file but those that tell the time."""
    files = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        timed = (".progress.json", "run.json", "fingerprints", "report/", ".lock", "stage.json")
        if path.is_file() and not any(part in name for part in timed):
            files[name] = path.read_bytes()
    return files


def hashes(out):
    return {path.parent.name: read_json(path)["files"] for path in out.glob("*/stage.json")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    make_study(folder)
    run_study(folder / "study.yaml", data=folder, out=folder / "one", workers=1, until="bundle")
    return folder


def test_every_file_is_the_one_that_one_process_writes(alone, tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: local\nworkers: 2\nmemory: 4 GB\n")
    told = ["run", str(alone), "--data", str(alone), "--out", str(alone / "many"), "--cluster", str(file)]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    assert "cluster: 2 workers" in done.output
    one, many = contents(alone / "one"), contents(alone / "many")
    assert one.keys() == many.keys() and any(name.startswith(".cache/features/") for name in one)
    assert [name for name in one if one[name] != many[name]] == []
    assert "modelling/predictions.parquet" in one and "bundle/model.hepacast" in one


def test_a_plan_counts_on_the_workers_of_the_cluster(alone, tmp_path, hepacast):
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: slurm\nworkers: 1000\nmemory: 8 GB\n")
    plan = ["run", alone, "--data", alone, "--out", tmp_path / "new", "--dry-run"]
    here, there = hepacast(*plan, "-w", "1").out, hepacast(*plan, "--cluster", file).out
    assert there.splitlines()[-1] == "Cluster (slurm): 1000 workers, 8.0 GB of memory each, to be started."
    memory = [re.search(r"radiomics .*, ([\d.]+ \w+) of memory", text)[1] for text in (here, there)]
    assert (memory[0][-2:], memory[1][-2:]) == ("MB", "GB"), "of all workers together"
    assert not (tmp_path / "new").exists() and "Cluster" not in here


def test_what_cannot_be_a_cluster_is_refused_before_anything_is_done(alone):
    done = CliRunner().invoke(app, ["run", str(alone), "--out", str(alone / "none"), "--cluster", "nowhere.yaml"])
    assert "no such cluster" in str(done.exception) and not (alone / "none").exists()
    done = CliRunner().invoke(app, ["predict", "model.hepacast", "--cluster", "tcp://host:1"])
    assert "--cluster" in str(done.exception)


@pytest.mark.cluster
def test_what_is_done_with_a_finished_model_is_the_same_on_a_cluster(alone, tmp_path):
    """Validation, predictions of a table, extraction and negative controls: all as one process finds it."""
    model, study = alone / "one" / "bundle" / "model.hepacast", alone / "study.yaml"
    rows = pd.read_csv(alone / "patients.csv").head(8)
    rows["image"] = [str(alone / f"{name}.nii.gz") for name in rows["patient"]]
    rows["mask"] = [str(alone / f"{name}_mask.nii.gz") for name in rows["patient"]]
    rows.to_csv(tmp_path / "table.csv", index=False)

    def everything(out, workers):
        validate_model(model, study, data=alone, out=out / "validation", workers=workers)
        predict_table(model, tmp_path / "table.csv", out=out / "risks", accept_doubtful=True, workers=workers)
        extract_image(tmp_path / "table.csv", None, out / "features.parquet", labels={"tumor": 1}, workers=workers,
                      settings=str(alone / "s.yaml"), accept_doubtful=True)  # fmt: skip
        shutil.copytree(alone / "one", out / "study")  # rounds are kept beside the results
        found = run_noise(study, data=alone, out=out / "study", permutations=2, repeats=1, controls=("outcome",),
                          workers=workers)  # fmt: skip
        (out / "noise.txt").write_text(found.text())

    everything(tmp_path / "one", 1)
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: local\nworkers: 2\nmemory: 4 GB\n")
    with on_cluster(file, folder=tmp_path):
        everything(tmp_path / "many", 0)
    one, many = contents(tmp_path / "one"), contents(tmp_path / "many")
    assert one.keys() == many.keys() and {"risks/risks.csv", "features.parquet"} < one.keys()
    assert "validation/modelling/predictions.parquet" in one
    assert [name for name in one if one[name] != many[name]] == []
