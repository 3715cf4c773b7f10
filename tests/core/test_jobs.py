"""What is done for every patient: kept by content, made again when something changes, failures in their place."""

from dataclasses import dataclass

import pytest

from hepacast.core.fingerprint import Fingerprints
from hepacast.core.jobs import Job, make_missing, try_each
from hepacast.core.kept import is_kept
from hepacast.errors import HepacastError, ImageError


@dataclass(frozen=True)
class Text:
    """A patient's file."""

    path: object

    def key(self, prints):
        return prints.of(self.path)

    def inputs(self, prints):
        return (prints.read(self.path),)


class Told:
    """A reporter that remembers."""

    def __init__(self):
        self.labels, self.counts = [], []

    def say(self, text):
        raise AssertionError

    def track(self, label):
        from contextlib import nullcontext

        self.labels.append(label)
        return nullcontext(lambda done, total: self.counts.append((done, total)))


@pytest.fixture
def patients(tmp_path):
    for name in ("P1", "P2", "../P3"):
        (tmp_path / f"{name.strip('./')}.txt").write_text(name)
    return ["P1", "P2", "../P3"]


def jobs_of(tmp_path, patients, *more):
    prints = Fingerprints(tmp_path / "memory.json")
    return [
        Job.of(name, "upper", tmp_path / "kept", ".txt", [Text(tmp_path / f"{name.strip('./')}.txt")], prints, *more)
        for name in patients
    ]


def write(job):
    (source,) = job.inputs
    job.kept.parent.mkdir(exist_ok=True)
    job.kept.write_text(getattr(source.path.read_text(), job.task)())


def test_the_files_of_all_patients_are_made_once(tmp_path, patients):
    told = Told()
    jobs = jobs_of(tmp_path, patients, 1)
    made = make_missing(write, jobs, "letters", reporter=told)
    assert [path.read_text() for path in made] == ["P1", "P2", "../P3"]
    assert all(is_kept(path) and path.parent == tmp_path / "kept" for path in made)
    assert told.labels == ["letters"] and told.counts == [(1, 3), (2, 3), (3, 3)]
    again = []
    assert make_missing(lambda job: (again.append(job), write(job)), jobs_of(tmp_path, patients, 1)) == made
    assert again == []
    made[1].write_text("damaged")
    assert make_missing(write, jobs) == made and made[1].read_text() == "P2"


def test_a_changed_file_or_setting_makes_that_patient_again(tmp_path, patients):
    first = [job.kept for job in jobs_of(tmp_path, patients, {"width": 25})]
    assert [job.kept for job in jobs_of(tmp_path, patients, {"width": 10})] != first
    (tmp_path / "P2.txt").write_text("other")
    second = [job.kept for job in jobs_of(tmp_path, patients, {"width": 25})]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_what_cannot_be_done_for_one_patient_is_the_error_in_its_place():
    def work(number):
        if number == 2:
            raise ImageError("no image")
        return 10 * number

    told = Told()
    first, second, third = try_each(work, [1, 2, 3], "numbers", reporter=told)
    assert (first, third) == (10, 30)
    assert isinstance(second, HepacastError) and second.message == "no image"
    assert told.counts[-1] == (3, 3)
    with pytest.raises(ZeroDivisionError):
        try_each(lambda number: 1 / number, [0])
