"""Files kept for a later run count when their content is what was written, and when what was read stayed the same."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from hepacast.core.fingerprint import Fingerprints
from hepacast.core.jobs import make_missing
from hepacast.core.kept import (
    InputFile,
    is_kept,
    keep,
    read_record,
    seal,
    state_of,
    write_record,
)
from hepacast.errors import HepacastError


@pytest.fixture
def prints(tmp_path):
    return Fingerprints(tmp_path / "memory.json")


def test_a_sealed_file_counts_until_a_bit_of_it_or_of_its_seal_changes(tmp_path):
    path = tmp_path / "piece.bin"
    assert not is_kept(path)
    path.write_bytes(b"abc")
    assert not is_kept(path), "being there is not enough"
    seal(path)
    assert is_kept(path)
    path.write_bytes(b"abd")
    assert not is_kept(path)
    path.write_bytes(b"abc")
    (tmp_path / "piece.bin.sha256").write_bytes(b"\xff")
    assert not is_kept(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"key": "a"}', '{"key": "b", "sha256": "x"}', "\ud800"])
def test_a_record_that_is_none(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read_record(path) is None
    assert read_record(tmp_path / "none.json") is None


def test_a_record_carries_its_own_hash(tmp_path):
    path = tmp_path / "r.json"
    write_record(path, {"key": "a", "seconds": 1.25, "none": float("nan"), "deep": [{"b": 1}]})
    assert read_record(path) == {"key": "a", "seconds": 1.25, "none": None, "deep": [{"b": 1}]}
    path.write_text(path.read_text().replace("1.25", "1.35"))
    assert read_record(path) is None


@dataclass(frozen=True)
class Job:
    source: Path
    kept: Path
    inputs: tuple[InputFile, ...]


def copy(job: Job) -> None:
    job.kept.write_text(job.source.read_text().upper())


def test_pieces_that_are_missing_or_damaged_are_made(tmp_path, prints):
    source = tmp_path / "in.txt"
    source.write_text("abc")
    jobs = [Job(source, tmp_path / f"{n}.txt", (prints.read(source),)) for n in range(3)]
    make_missing(copy, jobs)
    assert all(is_kept(job.kept) for job in jobs)
    jobs[1].kept.write_text("ABD")
    made = []
    make_missing(lambda job: (made.append(job), copy(job)), jobs)
    assert made == [jobs[1]] and jobs[1].kept.read_text() == "ABC"


def test_an_input_that_changes_while_it_is_read_leaves_no_piece(tmp_path, prints):
    source, kept = tmp_path / "in.txt", tmp_path / "piece.txt"
    source.write_text("old")
    before = prints.read(source)

    def disturbed():
        kept.write_text(source.read_text())
        source.write_text("new")

    with pytest.raises(HepacastError, match=r"in\.txt"):
        keep(kept, disturbed, [before])
    assert not kept.exists()


def test_an_input_that_changed_before_the_piece_is_made_is_refused(tmp_path, prints):
    source, kept = tmp_path / "in.txt", tmp_path / "piece.txt"
    source.write_text("old")
    before, stat = prints.read(source), source.stat()
    other = tmp_path / "other.txt"
    other.write_text("new")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(source)  # same size, same time of change
    with pytest.raises(HepacastError, match="was changed"):
        keep(kept, lambda: kept.write_text(source.read_text()), [before])


def test_a_file_that_was_only_touched_is_read_again_and_kept(tmp_path, prints):
    source, kept = tmp_path / "in.txt", tmp_path / "piece.txt"
    source.write_text("old")
    before, times = prints.read(source), []

    def touched():
        kept.write_text(source.read_text())
        times.append(1)
        if len(times) == 1:
            source.write_text("old")

    keep(kept, touched, [before])
    assert is_kept(kept) and len(times) == 2


def test_a_file_that_is_changed_for_a_moment_is_noticed(tmp_path, prints):
    source, kept = tmp_path / "in.txt", tmp_path / "piece.txt"
    source.write_text("old")
    before = prints.read(source)

    def swapped():
        source.write_text("new")
        kept.write_text(source.read_text())
        source.write_text("old")

    with pytest.raises(HepacastError, match="was changed"):
        keep(kept, swapped, [before])
    assert not kept.exists()


def test_the_state_of_a_folder_knows_every_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_text("x")
    first = state_of(tmp_path)
    (tmp_path / "a" / "2.dcm").write_text("y")
    assert len(state_of(tmp_path)) == len(first) + 1


def test_the_memory_of_hashes_sees_another_file_of_the_same_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr("hepacast.core.fingerprint._RESTED_NS", 0)
    path = tmp_path / "t.csv"
    path.write_text("a,1\n")
    first = Fingerprints(tmp_path / "memory.json")
    old, stat = first.of(path), path.stat()
    first.save()
    path.write_text("a,2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Fingerprints(tmp_path / "memory.json").of(path) != old


def test_a_memory_with_a_turned_digit_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("hepacast.core.fingerprint._RESTED_NS", 0)
    path, memory = tmp_path / "t.csv", tmp_path / "memory.json"
    path.write_text("a,1\n")
    first = Fingerprints(memory)
    right = first.of(path)
    first.save()
    content = json.loads(memory.read_text())
    (key,) = content["files"]
    content["files"][key][-1] = "0" * 64
    memory.write_text(json.dumps(content))
    assert Fingerprints(memory).of(path) == right
