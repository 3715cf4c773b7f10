"""The bundle's container: what is written is read; what was changed is refused."""

import json
import zipfile

import numpy as np
import pytest

from hepacast.bundle.container import MANIFEST, Container, read_container, write_container
from hepacast.errors import BundleError

CONTENT = Container({"model": {"intercept": -1.5, "names": ["inr", "白蛋白"]}}, {"weights": {"a": np.arange(6.0)}})


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "model.hepacast"
    write_container(path, CONTENT)
    return path


def _rewrite(path, change):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_round_trip(bundle):
    content = read_container(bundle)
    assert content.documents == CONTENT.documents
    np.testing.assert_array_equal(content.tensors["weights"]["a"], np.arange(6.0))


def test_same_content_same_bytes(bundle, tmp_path):
    again = tmp_path / "again.hepacast"
    assert write_container(again, CONTENT) == read_container(bundle).identity
    assert again.read_bytes() == bundle.read_bytes()


def test_a_changed_number_is_noticed(bundle):
    _rewrite(bundle, lambda files: files.update({"model.json": files["model.json"].replace(b"1.5", b"2.5")}))
    with pytest.raises(BundleError, match="was changed"):
        read_container(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.pop("model.json"), "missing"),
        (lambda files: files.update({"model.json": b"{}"}), "wrong size"),
        (lambda files: files.update({"evil.pkl": b"x"}), "manifest does not name"),
        (lambda files: files.pop(MANIFEST), "no model bundle"),
        (lambda files: files.update({MANIFEST: b"{"}), "manifest is damaged"),
        (lambda files: files.update({MANIFEST: b'{"format": "other"}'}), "no model bundle"),
    ],
)
def test_damage_is_refused(bundle, change, message):
    _rewrite(bundle, change)
    with pytest.raises(BundleError, match=message):
        read_container(bundle)


def test_a_later_version_is_refused(bundle):
    def later(files):
        manifest = json.loads(files[MANIFEST]) | {"schema_version": 99, "hepacast": "9.0"}
        files[MANIFEST] = json.dumps(manifest).encode()

    _rewrite(bundle, later)
    with pytest.raises(BundleError, match=r"use hepacast 9\.0"):
        read_container(bundle)


def test_a_truncated_file_is_refused(bundle):
    bundle.write_bytes(bundle.read_bytes()[:200])
    with pytest.raises(BundleError, match="damaged"):
        read_container(bundle)
    with pytest.raises(BundleError, match="does not exist"):
        read_container(bundle.with_name("none"))
