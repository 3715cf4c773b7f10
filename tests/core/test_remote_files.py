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


@pytest.mark.parametrize("fault", [OSError("lost"), PermissionError(13, "lost"), KeyError("lost")])
def test_a_stopped_run_goes_on(system, tmp_path, monkeypatch, fault):
    def cut(source, target):
        raise fault

    monkeypatch.setattr(system, "get_file", cut)
    with pytest.raises(StorageError, match="by address cannot be brought") as caught:
        bring("memory://cohort", tmp_path, workers=1, reporter=SilentReporter())
    assert "lost" in caught.value.found and caught.value.where == "memory://cohort/P1/ct.nii.gz"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert len(brought(tmp_path, monkeypatch)) == 3


def test_a_full_disk_is_told_from_a_server_that_gives_nothing(system, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(system, "get_file", full)
    with pytest.raises(StorageError, match="disk is full"):
        bring("memory://cohort", tmp_path, workers=1, reporter=SilentReporter())


def test_who_was_taken_out_of_the_cohort_is_not_here_either(system, tmp_path, monkeypatch):
    brought(tmp_path, monkeypatch)
    system.rm("/cohort/P1/ct.nii.gz")
    assert brought(tmp_path, monkeypatch) == [] and not (tmp_path / "P1" / "ct.nii.gz").exists()
    assert (tmp_path / "P2" / "ct.nii.gz").read_bytes() == b"two"
    # It comes back with the same content: it is brought again.
    system.pipe_file("/cohort/P1/ct.nii.gz", b"one")
    assert brought(tmp_path, monkeypatch) == ["P1/ct.nii.gz"]


def test_what_is_no_place_or_has_nothing_is_refused(tmp_path):
    for name in ("../../etc/passwd", "a/../../b", "C:\\x", "a\0b", "brought.json"):
        with pytest.raises(StorageError, match="no place"):
            remote_files._inside(f"/cohort/{name}", "/cohort", "s3://cohort")
    with pytest.raises(HepacastError, match="no files"):
        bring("memory://nothing", tmp_path, workers=1, reporter=SilentReporter())
    with pytest.raises(MissingPackageError, match="cannot be read here"):
        bring("nothing-known://x", tmp_path, workers=1, reporter=SilentReporter())
    assert (
        is_address("s3://bucket/x") and not is_address("/data") and not is_address(r"C:\data") and not is_address(None)
    )
