"""Images and results in a bucket (moto's server): the results are those of the folder."""

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
pytest.importorskip("distributed")
sys.path.insert(0, str(Path(__file__).parents[1] / "study"))

from test_cluster_run import N, contents, make_study
from typer.testing import CliRunner

from hepacast.cli.main import app

pytestmark = pytest.mark.cluster


@pytest.fixture
def bucket(monkeypatch):
    """An empty bucket, and a client for it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, ip_address="127.0.0.1")
    server.start()
    host, port = server.get_host_and_port()
    secrets = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**secrets, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket="cohort")
    yield client
    server.stop()


def test_images_from_a_bucket_on_a_cluster(tmp_path, bucket):
    make_study(tmp_path)
    run = ["run", str(tmp_path), "--until", "modelling"]
    done = CliRunner().invoke(app, [*run, "--data", str(tmp_path), "--out", str(tmp_path / "one"), "-w", "1"])
    assert done.exit_code == 0, (done.output, done.exception)
    for path in sorted(tmp_path.glob("*.nii.gz")):
        bucket.upload_file(str(path), "cohort", f"images/{path.name}")
        path.unlink()
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: local\nworkers: 2\nmemory: 4 GB\n")
    there = [*run, "--data", "s3://cohort/images", "--out", str(tmp_path / "many"), "--cluster", str(file)]
    done = CliRunner().invoke(app, there)
    assert done.exit_code == 0, (done.output, done.exception)
    one, many = contents(tmp_path / "one"), contents(tmp_path / "many")
    brought = {name for name in many if name.startswith(".cache/remote/")}
    assert len(brought) == 2 * N + 1
    assert one.keys() == many.keys() - brought
    assert [name for name in one if one[name] != many[name]] == []


def listed(bucket, prefix):
    """Contents of a bucket by name."""
    pages = bucket.get_paginator("list_objects_v2").paginate(Bucket="cohort", Prefix=prefix)
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {n.removeprefix(prefix): bucket.get_object(Bucket="cohort", Key=n)["Body"].read() for n in names}


def test_results_go_to_a_bucket_and_a_run_elsewhere_goes_on(tmp_path, bucket, monkeypatch, hepacast):
    make_study(tmp_path)
    run = ["run", tmp_path, "--data", tmp_path, "-w", "1", "--out"]
    assert hepacast(*run, tmp_path / "here").code == 0
    here = set(contents(tmp_path / "here"))
    for place, until in (("first", "radiomics"), ("second", "report")):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        done = hepacast(*run, "s3://cohort/out", "--until", until)
        assert done.code == 0 and "sent to s3://cohort/out" in done.err, done.err
    assert "Kept from an earlier run: cohort, segmentation, radiomics." in done.out
    there = listed(bucket, "out/")
    assert here <= there.keys() and "report/report.html" in there
    assert [n for n, content in contents(tmp_path / "here").items() if there[n] != content] == []
    # Images and masks of the same patients by the bundle that was sent, as by another hospital's.
    model = tmp_path / "model.hepacast"
    model.write_bytes(there["bundle/model.hepacast"])
    same = ["validate", model, tmp_path, "--data", tmp_path, "-w", "1", "--out"]
    assert hepacast(*same, "s3://cohort/validation").code == 0 and hepacast(*same, tmp_path / "validation").code == 0
    risks = "modelling/predictions.parquet"
    assert listed(bucket, "validation/")[risks] == (tmp_path / "validation" / risks).read_bytes()
    table = ["predict", model, "--table", tmp_path / "patients.csv", "--images", tmp_path / "{patient}.nii.gz"]
    table += ["--masks", tmp_path / "{patient}_mask.nii.gz", "--accept-doubtful", "-w", "1", "--out"]
    for out in ("s3://cohort/risks", tmp_path / "risks"):
        done = hepacast(*table, out)
        assert done.code == 0, done.err
    assert listed(bucket, "risks/")["risks.csv"] == (tmp_path / "risks" / "risks.csv").read_bytes()
    image = ["extract", tmp_path / "P00.nii.gz", tmp_path / "P00_mask.nii.gz", "--settings", tmp_path / "s.yaml"]
    for out in ("s3://cohort/features.csv", tmp_path / "features.csv"):
        done = hepacast(*image, "--accept-doubtful", "-o", out)
        assert done.code == 0, done.err
    assert listed(bucket, "features.csv")[""] == (tmp_path / "features.csv").read_bytes()
