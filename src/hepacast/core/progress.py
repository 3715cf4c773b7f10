"""Progress with time left, on a terminal; plain lines in a log file; nothing when nobody asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from hepacast.core.executor import Progress
from hepacast.core.texts import visible


class Reporter(Protocol):
    """What a long job tells: a line, or how far it is."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def track(self, label: str, *, counted: bool = True) -> AbstractContextManager[Progress]:
        """A bar for one job; use as a context manager that gives a `Progress` callback.

        Parameters
        ----------
        label
            What is done.
        counted
            Whether what is done and the total are things that can be counted (patients); else they are shown as
            percent.
        """


class SilentReporter:
    """Says nothing (Python API, tests)."""

    def say(self, text: str) -> None:
        """Drop the line."""

    @contextmanager
    def track(self, label: str, *, counted: bool = True) -> Iterator[Progress]:
        """A callback that does nothing."""
        yield lambda done, total: None


class LineReporter:
    """Plain lines, at most one every few seconds for each job: for logs and pipes."""

    def __init__(self, stream: TextIO, every_seconds: float = 10.0) -> None:
        self._stream = stream
        self._every = every_seconds

    def say(self, text: str) -> None:
        """Write one line."""
        self._stream.write(visible(text) + "\n")
        self._stream.flush()

    @contextmanager
    def track(self, label: str, *, counted: bool = True) -> Iterator[Progress]:
        """Lines such as ``features: 40 of 210, about 2 min left``."""
        start = last = time.monotonic()

        def update(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= self._every:
                last = now
                left = (now - start) / max(done, 1) * (total - done)
                how_far = f"{done} of {total}" if counted else f"{done / total:.0%}"
                self.say(f"  {label}: {how_far}, about {format_seconds(left)} left")

        yield update


class RichReporter:
    """Live bars on a terminal."""

    def __init__(self, console: object | None = None) -> None:
        from rich.console import Console

        self._console = console if isinstance(console, Console) else Console(stderr=True)

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self._console.print(visible(text), highlight=False, markup=False)

    @contextmanager
    def track(self, label: str, *, counted: bool = True) -> Iterator[Progress]:
        """A bar with count or percent, time used and time left."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import TimeRemainingColumn as Left

        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn() if counted else TaskProgressColumn(),
            TimeElapsedColumn(),
            Left(),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(label, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)


def format_seconds(seconds: float) -> str:
    """``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_bytes(size: float) -> str:
    """``512 MB``, ``1.4 GB``."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
