"""Files by address: brought once, again when they change, and nowhere but into their folder."""

import pytest

pytest.importorskip("fsspec")

from hepacast.core import remote_files
from hepacast.core.progress import SilentReporter
from hepacast.core.remote_files import bring, is_address, place_of
from hepacast.errors import HepacastError, MissingPackageError, StorageError


def store(files):
    import fsspec

    system = fsspec.filesystem("memory")
    for name, content in files.items():
        system.pipe_file(f"/cohort/{name}", content)
    return system


@pytest.fixture
def system():
    made = store({"P1/ct.nii.gz": b"one", "P2/ct.nii.gz": b"two", "table.csv": b"patient\n"})
    yield made
    made.rm("/cohort", recursive=True)


def brought(folder, monkeypatch):
    """Names of what one call brings."""
    asked, real = [], remote_files._Bring.__call__
    monkeypatch.setattr(remote_files._Bring, "__call__", lambda self, name: asked.append(name) or real(self, name))
    bring("memory://cohort", folder, workers=1, reporter=SilentReporter())
    monkeypatch.undo()
    return asked


def test_files_are_brought_once_and_again_when_they_change(system, tmp_path, monkeypatch):
    folder = place_of("memory://cohort", tmp_path)
    assert brought(folder, monkeypatch) == ["P1/ct.nii.gz", "P2/ct.nii.gz", "table.csv"]
    assert (folder / "P2" / "ct.nii.gz").read_bytes() == b"two"
    assert brought(folder, monkeypatch) == []
    system.pipe_file("/cohort/P2/ct.nii.gz", b"new")
    (folder / "table.csv").unlink()
    assert brought(folder, monkeypatch) == ["P2/ct.nii.gz", "table.csv"]
    assert (folder / "P2" / "ct.nii.gz").read_bytes() == b"new"


def test_a_stopped_run_goes_on(system, tmp_path, monkeypatch):
    def cut(self, name):
        raise OSError("connection lost")

    monkeypatch.setattr(remote_files._Bring, "__call__", cut)
    with pytest.raises(StorageError, match="connection lost"):
        bring("memory://cohort", tmp_path, workers=1, reporter=SilentReporter())
    monkeypatch.undo()
    assert len(brought(tmp_path, monkeypatch)) == 3


def test_what_is_no_place_or_has_nothing_is_refused(tmp_path):
    for name in ("../../etc/passwd", "a/../../b", "C:\\x", "brought.json"):
        with pytest.raises(StorageError, match="no place"):
            remote_files._inside(f"/cohort/{name}", "/cohort", "s3://cohort")
    with pytest.raises(HepacastError, match="no files"):
        bring("memory://nothing", tmp_path, workers=1, reporter=SilentReporter())
    with pytest.raises(MissingPackageError, match="cannot be read here"):
        bring("nothing-known://x", tmp_path, workers=1, reporter=SilentReporter())
    assert (
        is_address("s3://bucket/x") and not is_address("/data") and not is_address(r"C:\data") and not is_address(None)
    )
