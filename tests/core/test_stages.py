"""Stages: run once, kept by content hash, whole or not there."""

import errno
import hashlib
import json

import pytest

from hepacast.core.stages import MARK, StageRun, is_cached, run_stage
from hepacast.errors import HepacastError, ImageError, StorageError


def make_stage(work, settings=None, inputs=None, modules=("hepacast.errors",)):
    return StageRun("numbers", work, settings or {"alpha": 0.05}, inputs or {"table": "abc"}, modules)


class Work:
    """Writes two files and counts its calls."""

    def __init__(self, text="1.5"):
        self.calls = 0
        self.text = text

    def __call__(self, folder):
        self.calls += 1
        (folder / "value.txt").write_text(self.text)
        (folder / "deep").mkdir()
        (folder / "deep" / "more.txt").write_text("more")


def test_runs_once_and_says_what_it_was_made_of(tmp_path):
    work = Work()
    assert run_stage(tmp_path, make_stage(work)) is True
    assert run_stage(tmp_path, make_stage(work)) is False
    assert work.calls == 1
    record = json.loads((tmp_path / "numbers" / MARK).read_text())
    assert record["key"] == make_stage(work).key
    assert record["settings"] == {"alpha": 0.05}
    assert record["inputs"] == {"table": "abc"}
    assert record["files"] == {
        "value.txt": hashlib.sha256(b"1.5").hexdigest(),
        "deep/more.txt": hashlib.sha256(b"more").hexdigest(),
    }
    assert [item.name for item in tmp_path.iterdir()] == ["numbers"]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"alpha": 0.1}},
        {"inputs": {"table": "abd"}},
        {"modules": ("hepacast.errors", "hepacast.core.seeds")},
    ],
)
def test_another_key_runs_again(tmp_path, change):
    run_stage(tmp_path, make_stage(Work("old")))
    assert run_stage(tmp_path, make_stage(Work("new"), **change)) is True
    assert (tmp_path / "numbers" / "value.txt").read_text() == "new"


def test_order_of_keys_does_not_matter():
    assert make_stage(None, settings={"a": 1, "b": 2}).key == make_stage(None, settings={"b": 2, "a": 1}).key


@pytest.mark.parametrize(
    "harm", ["cut", "one digit", "removed", "no mark", "damaged mark", "foreign mark", "edited mark"]
)
def test_a_folder_that_is_not_whole_is_made_again(tmp_path, harm):
    run_stage(tmp_path, make_stage(Work()))
    folder = tmp_path / "numbers"
    if harm == "cut":
        (folder / "value.txt").write_text("1")
    elif harm == "one digit":
        (folder / "value.txt").write_text("1.6")
    elif harm == "edited mark":
        mark = json.loads((folder / MARK).read_text())
        (folder / MARK).write_text(json.dumps({**mark, "seconds": 7.0}))
    elif harm == "removed":
        (folder / "deep" / "more.txt").unlink()
    elif harm == "no mark":
        (folder / MARK).unlink()
    elif harm == "damaged mark":
        (folder / MARK).write_text('{"key": "')
    else:
        (folder / MARK).write_text("[]")
    assert not is_cached(tmp_path, "numbers", make_stage(None).key)
    work = Work()
    assert run_stage(tmp_path, make_stage(work)) is True
    assert (folder / "value.txt").read_text() == "1.5"


def test_what_a_killed_run_left_is_ignored_and_removed(tmp_path):
    scratch = tmp_path / ".numbers.partial"
    scratch.mkdir()
    (scratch / "value.txt").write_text("half")
    (scratch / "leftover.txt").write_text("of another time")
    assert run_stage(tmp_path, make_stage(Work())) is True
    assert sorted(item.name for item in (tmp_path / "numbers").iterdir()) == ["deep", MARK, "value.txt"]
    assert not scratch.exists()


def test_killed_between_the_two_renames(tmp_path):
    """The old folder is aside, the new one not yet in its place."""
    run_stage(tmp_path, make_stage(Work()))
    (tmp_path / "numbers").rename(tmp_path / ".numbers.old")
    assert run_stage(tmp_path, make_stage(Work())) is True
    assert [item.name for item in tmp_path.iterdir()] == ["numbers"]


def test_a_stage_that_fails_leaves_the_earlier_result(tmp_path):
    run_stage(tmp_path, make_stage(Work("old")))

    def fail(folder):
        (folder / "value.txt").write_text("half")
        raise ImageError("damaged")

    with pytest.raises(ImageError):
        run_stage(tmp_path, make_stage(fail, settings={"alpha": 0.2}))
    assert (tmp_path / "numbers" / "value.txt").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["numbers"]
    assert is_cached(tmp_path, "numbers", make_stage(None).key)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written")])
def test_errors_of_the_disk(tmp_path, code, words):
    def fill(folder):
        (folder / "value.txt").write_text("half")
        raise OSError(code, "no")

    with pytest.raises(StorageError, match=words):
        run_stage(tmp_path, make_stage(fill))
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_system_are_not_disguised(tmp_path):
    def fail(folder):
        raise OSError(errno.EBADF, "a programming error")

    with pytest.raises(OSError, match="programming") as caught:
        run_stage(tmp_path, make_stage(fail))
    assert not isinstance(caught.value, StorageError)


def test_a_stage_whose_input_changed_meanwhile_leaves_the_earlier_result(tmp_path):
    run_stage(tmp_path, make_stage(Work("old")))
    later = StageRun("numbers", Work("new"), {"alpha": 0.2}, {}, ("hepacast.errors",), lambda: "clinical table")
    with pytest.raises(HepacastError, match="clinical table"):
        run_stage(tmp_path, later)
    assert (tmp_path / "numbers" / "value.txt").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["numbers"]
