"""One patient after the other, or several at once: with progress and time left, kept by content, failures in place.

A long stage does the same for every patient. What is made of one is a file under a name that holds the hash of all it
depends on (`Job`), beside its seal, so that a killed run goes on, a changed input is made anew, and nothing else is;
or it is returned, and what cannot be done for one patient is the error in that patient's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from hepacast.core.executor import Need, map_items
from hepacast.core.fingerprint import Fingerprints
from hepacast.core.hashing import hash_value
from hepacast.core.kept import InputFile, is_kept, keep
from hepacast.core.names import file_name
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import HepacastError

Task = TypeVar("Task")
Item = TypeVar("Item")
Result = TypeVar("Result")


class JobFiles(Protocol):
    """Files of one patient that a job reads."""

    def key(self, prints: Fingerprints) -> Any:
        """What decides what is read of them, JSON-like."""

    def inputs(self, prints: Fingerprints) -> tuple[InputFile, ...]:
        """The files as they are now."""


@dataclass(frozen=True)
class Job(Generic[Task]):
    """What is made of one patient.

    Parameters
    ----------
    patient
        Identifier.
    task
        What the work needs to know; it goes to another process.
    kept
        The file that the work writes; its name holds the key.
    inputs
        Everything that is read.
    """

    patient: str
    task: Task
    kept: Path
    inputs: tuple[InputFile, ...] = ()

    @classmethod
    def of(
        cls,
        patient: str,
        task: Task,
        place: Path,
        suffix: str,
        sources: Iterable[JobFiles],
        prints: Fingerprints,
        *more: Any,
    ) -> Job[Task]:
        """The job whose result lies in a folder under the hash of what it reads, and of `more`: settings, code."""
        read = list(sources)
        key = hash_value([[item.key(prints) for item in read], *more])
        inputs = tuple(file for item in read for file in item.inputs(prints))
        return cls(patient, task, place / f"{file_name(patient)}-{key[:24]}{suffix}", inputs)


@dataclass(frozen=True)
class _Keeping:
    make: Callable[[Any], None]

    def __call__(self, job: Any) -> None:
        keep(job.kept, lambda: self.make(job), job.inputs)


@dataclass(frozen=True)
class _Refusing:
    """Writes what stands for a job that no worker survives; it has no seal, so that the next run tries again."""

    refuse: Callable[[Any, str], None]

    def __call__(self, job: Any, error: HepacastError) -> None:
        self.refuse(job, f"{error.message} Found: {error.found}.")


def _in_its_place(item: Any, error: HepacastError) -> Any:
    return error


@dataclass(frozen=True)
class _Catching:
    work: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        try:
            return self.work(item)
        except HepacastError as error:
            return error


def make_missing(
    make: Callable[[Job[Task]], None],
    jobs: Sequence[Job[Task]],
    label: str = "",
    *,
    reporter: Reporter | None = None,
    workers: int | None = 1,
    need: Need = Need(),
    refuse: Callable[[Job[Task], str], None] | None = None,
) -> list[Path]:
    """Make the files that are not there, or not as they were sealed, and return those of all jobs.

    Parameters
    ----------
    make
        A module-level function that writes `Job.kept`.
    jobs
        One a patient.
    label, reporter
        What the progress is called, and where it goes.
    workers, need
        As in `map_items`.
    refuse
        Writes the file of a job that has ended three workers of a cluster, with the reason; an error by default.

    Raises
    ------
    HepacastError
        An input changed under way; or what `make` raised.
    """
    todo = [job for job in jobs if not is_kept(job.kept)]
    with (reporter or SilentReporter()).track(label) as progress:
        lost = None if refuse is None else _Refusing(refuse)
        map_items(_Keeping(make), todo, workers=workers, progress=progress, need=need, lost=lost)
    return [job.kept for job in jobs]


def try_each(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    label: str = "",
    *,
    reporter: Reporter | None = None,
    workers: int | None = 1,
    need: Need = Need(),
) -> list[Result | HepacastError]:
    """What a module-level function returns for every patient, in their order; of whom it cannot be done, the error."""
    with (reporter or SilentReporter()).track(label) as progress:
        return map_items(
            _Catching(work), list(items), workers=workers, progress=progress, need=need, lost=_in_its_place
        )
