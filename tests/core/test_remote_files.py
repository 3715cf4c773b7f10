"""Files by address: brought once, again when they change, and nowhere but into their folder."""

import pytest

pytest.importorskip("fsspec")

from hepacast.core import remote_files
from hepacast.core.progress import SilentReporter
from hepacast.core.remote_files import SENT, bring, is_address, place_of, result_file, results_folder
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


RESULTS = "memory://trial/out"


@pytest.fixture
def away(tmp_path, monkeypatch):
    """Files at the address by name."""
    import fsspec

    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    yield lambda: {name.removeprefix("/trial/out/"): system.cat_file(name) for name in system.find("/trial/out")}
    system.rm("/trial", recursive=True)


def written(files, *gone):
    """A run that writes these files; what the folder held before."""
    with results_folder(RESULTS, SilentReporter()) as folder:
        before = {path.name for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in gone:
            (folder / name).unlink()
    return before


def test_results_are_sent_when_they_are_finished_and_taken_back_elsewhere(away, tmp_path, monkeypatch):
    sent, real = [], remote_files._system(RESULTS)[0].put
    monkeypatch.setattr(
        remote_files._system(RESULTS)[0], "put", lambda files, to: sent.extend(to) or real(files, to), raising=False
    )
    first = {"model/risks.csv": "1", ".cache/piece": "2", ".cache/remote/ct": "3", ".lock": "4", "old.txt": "5"}
    assert written(first) == set()
    assert sorted(away()) == [".cache/piece", "model/risks.csv", "old.txt", SENT]
    sent.clear()
    assert written({"model/risks.csv": "new"}, "old.txt") == {"risks.csv", "piece", "ct", ".lock", "old.txt"}
    assert sent == ["/trial/out/model/risks.csv"], "only what has changed"
    assert sorted(away()) == [".cache/piece", "model/risks.csv", SENT] and away()["model/risks.csv"] == b"new"
    # Another machine: a file that is not what was sent is made again.
    remote_files._system(RESULTS)[0].pipe_file("/trial/out/.cache/piece", b"damaged")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert written({".cache/piece": "2"}) == {"risks.csv"}
    assert away()[".cache/piece"] == b"2"


def test_a_run_that_fails_sends_nothing(away):
    with pytest.raises(HepacastError, match="wrong"), results_folder(RESULTS, SilentReporter()) as folder:
        folder.mkdir(parents=True)
        (folder / "half.csv").write_text("1")
        raise HepacastError("Something is wrong.")
    assert away() == {} and (folder / "half.csv").is_file()
    assert written({}) == {"half.csv"} and "half.csv" in away()


def test_an_address_that_takes_nothing_is_refused_before_any_work(away, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("AccessDenied")

    with pytest.raises(StorageError, match=r"(?s)cannot be written.*AccessDenied"), monkeypatch.context() as broken:
        broken.setattr(remote_files._system(RESULTS)[0], "pipe_file", refuse, raising=False)
        written({"a": "1"})
    assert not (tmp_path / "hepacast-results").exists()
    written({"a": "1"})


def test_a_table_goes_to_an_address(away):
    with result_file(f"{RESULTS}/features.csv") as file:
        file.write_text("patient\n")
    assert away() == {"features.csv": b"patient\n"}
