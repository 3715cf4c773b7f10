"""Processes that outlive the server: each in a group of its own, out of reach of Ctrl-C in the server's terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def start_module(module: str, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``python -m MODULE WORDS``; what it prints goes into a file, as UTF-8 whatever the system's own
    encoding is."""
    own_group: dict[str, Any] = (
        {"start_new_session": True}
        if os.name == "posix"
        else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    )
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"}, **own_group,
        )  # fmt: skip
