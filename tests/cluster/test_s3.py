"""A study whose images lie in a bucket (moto's server): the results are those of the folder."""

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
