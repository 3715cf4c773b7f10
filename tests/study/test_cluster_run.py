"""A study on a cluster of processes: every file as one process writes it."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("distributed")

from typer.testing import CliRunner

from hepacast.cli.main import app
from hepacast.core.files import read_json
from hepacast.imaging import Geometry, Volume, write_volume
from hepacast.study.run import run_study

STUDY = """
name: Spread
cohort:
  table: patients.csv
  id: patient
  columns:
    age: {kind: numeric, label: Age, unit: years, quantity: none}
  split: {by: random, validation_fraction: 0.3}
outcome: {column: event, positive: [1], negative: [0]}
images:
  sequences: {pv: {path: "{data}/{patient}.nii.gz", modality: CT}}
  segmentation: {source: given, masks: "{data}/{patient}_mask.nii.gz", labels: {tumor: 1}, accept_doubtful: [PATIENTS]}
  vois: {tumor: tumor}
features: {settings: s.yaml}
modelling:
  candidates: [age]
  models: [clinical, radiomics, combined]
  validation: {folds: 3, repeats: 1, bootstrap: 4, usual_way: false, centers: false, learning_curve: 0, importance: 1}
evaluation: {bootstrap: 0}
report: {formats: [html]}
"""
N = 30


def make_study(folder):
    """Tumors whose spread of gray levels goes with the event."""
    generator, rows = np.random.default_rng(3), []
    z, y, x = np.ogrid[:12, :20, :20]
    for number in range(N):
        name, spread = f"P{number:02d}", float(generator.uniform(5, 30))
        middle = np.array([6, 10, 10]) + generator.uniform(-2.0, 2.0, 3)
        tumor = sum((axis - at) ** 2 for axis, at in zip((z, y, x), middle)) < generator.uniform(12, 25)
        voxels = np.rint(np.where(tumor, generator.normal(60, spread, tumor.shape), 100)).astype(np.int16)
        image = Volume(voxels, Geometry(voxels.shape[::-1], (2.0, 2.0, 2.0)))
        write_volume(image, folder / f"{name}.nii.gz")
        write_volume(image.with_array(tumor.astype(np.uint8)), folder / f"{name}_mask.nii.gz")
        event = int(generator.random() < 1 / (1 + np.exp((17 - spread) / 4)))
        rows.append({"patient": name, "age": round(float(generator.normal(60, 9))), "event": event})
    pd.DataFrame(rows).to_csv(folder / "patients.csv", index=False)
    (folder / "s.yaml").write_text("imageType: {Original: {}}\nfeatureClass: {firstorder: [], glcm: [Contrast, Id]}\n")
    names = ", ".join(row["patient"] for row in rows)
    (folder / "study.yaml").write_text(STUDY.replace("PATIENTS", names))


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
    run_study(folder / "study.yaml", data=folder, out=folder / "one", workers=1)
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


def test_what_cannot_be_a_cluster_is_refused_before_anything_is_done(alone):
    done = CliRunner().invoke(app, ["run", str(alone), "--out", str(alone / "none"), "--cluster", "nowhere.yaml"])
    assert "no such cluster" in str(done.exception) and not (alone / "none").exists()
    done = CliRunner().invoke(app, ["predict", "model.hepacast", "--cluster", "tcp://host:1"])
    assert "--cluster" in str(done.exception)
