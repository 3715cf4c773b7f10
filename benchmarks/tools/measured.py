"""A measurement as a process of its own: its line of JSON, its peak memory, and a limit."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from typing import Any

import psutil

MEGA = 1024**2


def run(command: list[str], *, environment: dict[str, str] | None = None, limit: float = 7200) -> dict[str, Any]:
    """Run one measurement; add its peak memory above what it held at READY. A failure is a status, not a time."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    own = {
        **os.environ,
        **dict.fromkeys(names, "1"),
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        **(environment or {}),
    }
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=own)
        watch = _Watch(child.pid, limit)
        lines = [line for line in child.stdout or [] if watch.note(line)]
        child.wait()
        watch.stop()
        errors.seek(0)
        last = (errors.read().strip().splitlines() or [""])[-1]
    if child.returncode:
        return {"status": watch.reason or f"failed: {last[:200]}"}
    return {"status": "ok", **json.loads(lines[-1]), "peak_mb": round(watch.peak / MEGA)}


class _Watch(threading.Thread):
    """Samples the resident memory of a process (and its children), and ends it at a limit."""

    def __init__(self, pid: int, limit: float) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.limit, self.start_time = limit, time.perf_counter()
        self.base = self.highest = 0
        self.reason: str | None = None
        self.done = threading.Event()
        self.start()

    def note(self, line: str) -> bool:
        """Take the memory at READY as the base; true for every other line."""
        if line.strip() != "READY":
            return True
        self.base = self.highest = self._resident()
        return False

    @property
    def peak(self) -> int:
        return self.highest - self.base

    def stop(self) -> None:
        self.done.set()
        self.join()

    def run(self) -> None:
        while not self.done.wait(0.02):
            self.highest = max(self.highest, self._resident())
            if self._resident() > 0.8 * psutil.virtual_memory().total:
                self._end(f"stopped: more than {0.8 * psutil.virtual_memory().total / 1e9:.0f} GB")
            elif time.perf_counter() - self.start_time > self.limit:
                self._end(f"stopped after {self.limit:.0f} s")

    def _resident(self) -> int:
        try:
            family = [self.process, *self.process.children(recursive=True)]
            return sum(member.memory_info().rss for member in family)
        except psutil.Error:
            return 0

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.process.kill()
