"""Files are whole or not there; errors of the disk are told in words."""

import errno
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hepacast.core import files
from hepacast.core.files import (
    atomic_folder,
    atomic_path,
    read_json,
    to_jsonable,
    write_bytes,
    write_json,
    write_text,
)
from hepacast.core.fingerprint import Fingerprints
from hepacast.core.hashing import hash_file, hash_path, hash_value
from hepacast.core.lock import hold_folder, sweep
from hepacast.errors import StorageError

#: SHA-256 of "abc", FIPS 180-2, appendix B.1.
SHA_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_written_whole_into_a_new_folder(tmp_path):
    target = tmp_path / "a" / "b" / "table.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(target.parent.iterdir()) == [target]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "result.json"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half a resu")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EROFS, "cannot be written")],
)
@pytest.mark.parametrize("moment", ["writing", "renaming", "opening"])
def test_errors_of_the_disk_are_told_in_words(tmp_path, monkeypatch, code, words, moment):
    target = tmp_path / "result.bin"
    write_bytes(target, b"old")

    def refuse(*_args, **_named):
        raise OSError(code, "no")

    if moment == "writing":
        monkeypatch.setattr(Path, "write_bytes", refuse)
    elif moment == "renaming":
        monkeypatch.setattr(Path, "replace", refuse)
    else:
        monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    with pytest.raises(StorageError, match=words) as caught:
        write_bytes(target, b"new")
    monkeypatch.undo()
    assert caught.value.exit_code == 2
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_real_limit_of_size_leaves_nothing(tmp_path):
    """The system itself cuts the file off, as a full disk does."""
    pytest.importorskip("resource", reason="limits of a process are POSIX")
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from hepacast.core.files import write_bytes
try:
    write_bytes({str(tmp_path / "big.bin")!r}, bytes(100_000))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "StorageError" in done.stdout
    assert "big.bin" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "file" / "result.txt", "x")


def test_json_has_no_nan_and_keeps_names(tmp_path):
    value = {"a": np.float32(0.5), 3: (np.int64(2), math.inf, float("nan")), "路": [Path("x/y"), np.array([[1, 2]])]}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert read_json(tmp_path / "x.json") == {"a": 0.5, "3": [2, None, None], "路": ["x/y", [[1, 2]]]}
    assert json.loads(text) == to_jsonable(value)


def test_hashes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert hash_file(tmp_path / "abc") == SHA_ABC
    assert hash_value({"a": 1, "b": [2.0, None]}) == hash_value({"b": [2.0, None], "a": 1})
    assert len({hash_value(v) for v in (1, "1", 1.5, [1], {"1": 1}, None, True)}) == 7


def test_hash_of_a_folder_knows_names_and_content(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.dcm").write_bytes(b"abc")
        (tmp_path / name / "b.dcm").write_bytes(b"xyz")
    same = hash_path(tmp_path / "one")
    assert hash_path(tmp_path / "two") == same
    prints = Fingerprints(tmp_path / "memory.json")
    assert prints.of(tmp_path / "one") == same
    assert prints.of(tmp_path / "one" / "b.dcm") == hash_file(tmp_path / "one" / "b.dcm")
    (tmp_path / "two" / "b.dcm").rename(tmp_path / "two" / "c.dcm")
    assert hash_path(tmp_path / "two") != same


def test_fingerprints_are_remembered_by_size_and_time(tmp_path, monkeypatch):
    image, memory = tmp_path / "image.nii", tmp_path / "cache" / "fingerprints.json"
    image.write_bytes(b"abc")
    monkeypatch.setattr("hepacast.core.fingerprint._RESTED_NS", 0)
    first = Fingerprints(memory)
    assert first.of(image) == SHA_ABC
    assert not memory.exists(), "nothing is written before it is asked for"
    first.save()
    written = memory.stat().st_mtime_ns

    again = Fingerprints(memory)
    with monkeypatch.context() as patch:
        patch.setattr("hepacast.core.fingerprint.hash_file", lambda path: pytest.fail("hashed again"))
        assert again.of(image) == SHA_ABC
    again.save()
    assert memory.stat().st_mtime_ns == written

    image.write_bytes(b"abcd")
    assert Fingerprints(memory).of(image) == hash_file(image) != SHA_ABC


def test_a_damaged_memory_of_fingerprints_is_made_again(tmp_path):
    image, memory = tmp_path / "image.nii", tmp_path / "fingerprints.json"
    image.write_bytes(b"abc")
    for damaged in ("", "{not json", "[]", f'{{"{image}": [3, 0]}}'):
        memory.write_text(damaged)
        assert Fingerprints(memory).of(image) == SHA_ABC


def test_one_run_at_a_time(tmp_path):
    code = f"""
from hepacast.core.lock import hold_folder
with hold_folder({str(tmp_path)!r}):
    print("held", flush=True)
    input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="Another run"), hold_folder(tmp_path):
            pytest.fail("both hold it")
    finally:
        other.kill()
        other.communicate()
    with hold_folder(tmp_path):
        pass


def test_sweeping_takes_leftovers_only(tmp_path):
    (tmp_path / ".radiomics.partial").mkdir()
    (tmp_path / ".radiomics.partial" / "x").write_text("half")
    (tmp_path / ".cohort.old").mkdir()
    (tmp_path / ".cache" / "features").mkdir(parents=True)
    (tmp_path / ".cache" / "features" / ".tmp-abc.parquet").write_text("half")
    kept = [tmp_path / ".cache" / "features" / "P1.parquet", tmp_path / "cohort" / "stage.json"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("whole")
    sweep(tmp_path)
    assert sorted(item for item in tmp_path.rglob("*") if item.is_file()) == sorted(kept)
    assert not (tmp_path / ".radiomics.partial").exists()


# -- several files that belong together --------------------------------------------------------------------------------


def test_files_of_a_folder_appear_together(tmp_path):
    target = tmp_path / "a" / "patient"
    with atomic_folder(target) as scratch:
        write_json(scratch / "one.json", 1)
        write_text(scratch / "two.txt", "2")
        assert [item.name for item in target.iterdir()] == [scratch.name]
    assert sorted(item.name for item in target.iterdir()) == ["one.json", "two.txt"]
    with atomic_folder(target) as scratch:
        write_json(scratch / "one.json", 3)
    assert read_json(target / "one.json") == 3
    assert (target / "two.txt").read_text() == "2"


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_no_folder_and_no_file(tmp_path, there):
    target = tmp_path / "a" / "patient"
    if there:
        target.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as scratch:
        write_text(scratch / "one.txt", "1")
        raise ZeroDivisionError
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == []
    assert target.exists() == there
    assert (tmp_path / "a").exists() == there


def test_a_full_disk_in_a_folder_is_told_where_the_user_looks(tmp_path):
    target = tmp_path / "patient"
    with pytest.raises(StorageError, match="disk is full") as caught, atomic_folder(target) as scratch:
        raise files.storage_error(OSError(errno.ENOSPC, "no space"), scratch / "page.pdf")
    assert caught.value.where == str(target / "page.pdf")
    assert not target.exists()


def test_whether_it_can_be_written_is_known_before_the_work(tmp_path):
    files.require_writable_file(tmp_path / "new" / "mask.nii.gz")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError, match="cannot be written"):
        files.require_writable_file(tmp_path / "file" / "mask.nii.gz")
    with pytest.raises(StorageError, match="A folder stands"):
        files.require_writable_file(tmp_path)
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path, "a folder's name")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_file_that_another_program_has_open_is_replaced_when_it_is_closed(tmp_path, monkeypatch):
    """Windows lets nobody replace an open file; virus scanners and indexers have new files open for moments."""
    refused = iter([True, True, False])
    replace = Path.replace

    def busy(source, target):
        if next(refused):
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        return replace(source, target)

    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(Path, "replace", busy)
    write_text(tmp_path / "report.docx", "new")
    assert (tmp_path / "report.docx").read_text(encoding="utf-8") == "new"


def test_a_file_that_stays_open_is_named_and_left_as_it_was(tmp_path, monkeypatch):
    target = tmp_path / "report.docx"
    target.write_text("old", encoding="utf-8")

    def open_in_word(source, target):
        raise PermissionError(errno.EACCES, "Access is denied", str(target))

    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    monkeypatch.setattr(Path, "replace", open_in_word)
    with pytest.raises(StorageError, match="another program has the file open") as caught:
        write_text(target, "new")
    assert str(target) in str(caught.value)
    assert target.read_text(encoding="utf-8") == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["report.docx"]


def test_a_path_beyond_what_the_system_takes_is_told_as_that(tmp_path):
    with pytest.raises(StorageError, match="too long"):
        write_text(tmp_path / ("x" * 300), "text")
