"""How far a run is, as a file in its results folder: for whoever did not start it, or has closed what did.

The file is written every second or two while the run lives, so that one that is old is that of a run that was killed.
A request to stop is a file too: whoever may write in the folder may stop the run, on every system.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hepacast.core.executor import Progress
from hepacast.core.progress import Reporter
from hepacast.core.records import Record, ResultsError, read_record, write_record
from hepacast.errors import HepacastError

PROGRESS, STOP = ".progress.json", ".stop"
#: Seconds between two writings, and after which a file that says "running" is that of a dead run.
_EVERY, DEAD_AFTER = 1.0, 60.0

State = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True)
class StageProgress(Record):
    """One stage of a run; `expected` and `seconds`: what it was thought to take, and took."""

    name: str
    title: str
    state: Literal["waiting", "running", "done", "kept"]
    expected: float
    seconds: float = float("nan")


@dataclass(frozen=True)
class RunProgress(Record):
    """How far a run is.

    Parameters
    ----------
    process
        Its number in the system.
    began, updated
        Seconds since 1970.
    stages
        In order.
    label, done, total, counted
        What the running stage is at; `total` 0: nothing that can be counted.
    left
        Seconds, about; NaN when nothing is known.
    message
        Why it failed.
    """

    process: int
    state: State
    began: float
    updated: float
    stages: list[StageProgress] = field(default_factory=list)
    label: str = ""
    done: int = 0
    total: int = 0
    counted: bool = True
    left: float = float("nan")
    message: str = ""


class ProgressRecorder:
    """A reporter that passes everything on, and inside of `writing` keeps the file."""

    def __init__(self, reporter: Reporter) -> None:
        self._inner, self._path = reporter, Path()
        self._now: RunProgress | None = None
        self._lock = threading.Lock()
        self._stage_began = self._job_began = self._written = 0.0

    # -- what a reporter does ------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Pass the line on."""
        self._inner.say(text)

    @contextmanager
    def track(self, label: str, *, counted: bool = True) -> Iterator[Progress]:
        """Pass the progress on, and note it."""
        with self._inner.track(label, counted=counted) as inner:
            self._job_began = time.monotonic()
            self._change(label=label, done=0, total=0, counted=counted)

            def update(done: int, total: int) -> None:
                inner(done, total)
                self._change(label=label, done=done, total=total, counted=counted)

            yield update
            self._change(label="", done=0, total=0)

    # -- what a run tells ----------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self, folder: Path) -> Iterator[None]:
        """Keep the file of a results folder while the block runs, and obey a request to stop."""
        self._path = folder / PROGRESS
        (folder / STOP).unlink(missing_ok=True)
        self._now = RunProgress(os.getpid(), "running", time.time(), time.time())
        self._write()
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(ended, folder / STOP), daemon=True)
        watch.start()
        state: State = "failed"
        message = ""
        try:
            yield
            state = "done"
        except HepacastError as error:
            message = str(error)
            raise
        except KeyboardInterrupt:
            state = "stopped"
            raise
        except BaseException as error:
            message = type(error).__name__
            raise
        finally:
            ended.set()
            watch.join()
            self._end(state, message)

    def plan(self, stages: Sequence[StageProgress]) -> None:
        """The stages that the run will go through."""
        self._change(stages=list(stages))

    def begin(self, stage: str) -> None:
        """A stage begins that is not kept."""
        self._stage_began = time.monotonic()
        self._mark(stage, "running")

    def end(self, stage: str) -> None:
        """A stage is there."""
        self._mark(stage, "done", time.monotonic() - self._stage_began)

    # -- the file ------------------------------------------------------------------------------------------------------

    def _mark(self, name: str, state: Literal["running", "done"], seconds: float = float("nan")) -> None:
        if self._now is not None:
            stages = [
                replace(item, state=state, seconds=seconds) if item.name == name and item.state != "kept" else item
                for item in self._now.stages
            ]
            self._change(stages=stages, label="", done=0, total=0)

    def _change(self, **values: object) -> None:
        with self._lock:
            if self._now is None:
                return
            self._now = replace(self._now, **values)  # type: ignore[arg-type]
        if time.monotonic() - self._written > _EVERY or "stages" in values:
            self._write()

    def _end(self, state: State, message: str) -> None:
        self._change(state=state, message=message, label="", done=0, total=0)
        self._write()
        self._now = None

    def _left(self, now: RunProgress) -> float:
        """Seconds: of the running job by its pace, of the stages that wait as they were thought to take."""
        waiting = sum(item.expected for item in now.stages if item.state == "waiting")
        running = next((item for item in now.stages if item.state == "running"), None)
        if running is None:
            return waiting
        left = max(running.expected - (time.monotonic() - self._stage_began), 0.0)
        if now.done and now.total:
            left = max(left, (time.monotonic() - self._job_began) / now.done * (now.total - now.done))
        return left + waiting

    def _write(self) -> None:
        with self._lock:
            if self._now is None:
                return
            self._written = time.monotonic()
            now = replace(self._now, updated=time.time())
            if now.state == "running":
                now = replace(now, left=self._left(now))
            with suppress(HepacastError, OSError):  # a full disk is told by who writes results
                write_record(self._path, now)

    def _watch(self, ended: threading.Event, stop: Path) -> None:
        while not ended.wait(_EVERY):
            self._write()
            if stop.exists():
                stop.unlink(missing_ok=True)
                _interrupt()


def _interrupt() -> None:
    """As Ctrl-C would: finished parts are kept."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()


def read_progress(folder: Path) -> RunProgress | None:
    """How far the run in a results folder is, or how it ended; None where none has told, or what it told is unreadable.

    A run that was killed reads as ``stopped``.
    """
    path = folder / PROGRESS
    if not path.is_file():
        return None
    try:
        found = read_record(RunProgress, path)
    except (ResultsError, OSError):
        return None
    return found if found.state != "running" or is_alive(found) else replace(found, state="stopped")


def is_alive(run: RunProgress) -> bool:
    """Whether the process that wrote the file is there and still writes."""
    if time.time() - run.updated > DEAD_AFTER:
        return False
    if os.name != "posix":
        return True
    try:
        os.kill(run.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(run.process)


def _is_zombie(process: int) -> bool:
    """Whether a process has ended and nobody has asked how (Linux)."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def ask_to_stop(folder: Path) -> None:
    """Let the run in a results folder (or the node of a queue) stop; what is finished is kept."""
    (folder / STOP).touch()
