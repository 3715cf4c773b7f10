"""Stages whose output is kept by content hash: a second run does nothing, a killed run goes on where it stopped.

A stage writes into a scratch folder, which is renamed to its place when the stage is complete; so a folder that
has a ``stage.json`` is whole. The key in it is the hash of the stage's settings, of the content of its inputs
(other stages' keys, files of the user) and of the code that made it; beside it stand the hashes of all its files.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast._version import __version__
from hepacast.core.closure import code_hash
from hepacast.core.files import STORAGE_ERRNOS, move, storage_error
from hepacast.core.hashing import hash_value
from hepacast.core.kept import hash_folder, input_changed, read_record, same_folder, write_record

MARK = "stage.json"
#: Modules that call the stages; what else they import is no part of a stage.
_CALLERS = ("hepacast.study.plan", "hepacast.core.stages")


@dataclass(frozen=True)
class StageRun:
    """One step of a study with everything that its key is made of.

    Parameters
    ----------
    name
        Folder name in the results.
    work
        Called with the folder to write into.
    settings
        JSON-like; what of the study file this stage depends on.
    inputs
        Hashes of what it reads: keys of earlier stages, content hashes of the user's files.
    modules
        Modules of hepacast that make the output; their code is that of all they import.
    changed
        Called when the output is there: what has changed of settings and inputs since the key was made, or None.
    """

    name: str
    work: Callable[[Path], None]
    settings: Any
    inputs: dict[str, str]
    modules: tuple[str, ...]
    changed: Callable[[], str | None] = lambda: None

    @property
    def key(self) -> str:
        """Content hash of everything the output depends on."""
        return hash_value([self.name, self.settings, self.inputs, code_hash(*self.modules, alone=_CALLERS)])


def read_mark(folder: Path) -> dict[str, Any] | None:
    """The record of a finished stage; None where there is none, or a damaged one (power cut, bad disk)."""
    record = read_record(folder / MARK)
    whole = record is not None and isinstance(record.get("files"), dict) and isinstance(record.get("inputs"), dict)
    return record if whole else None


def is_cached(out: Path, name: str, key: str) -> bool:
    """Whether the stage's folder is complete, made with this key, and every file has the content that was written."""
    record = read_mark(out / name)
    return record is not None and record["key"] == key and same_folder(out / name, record["files"]) is None


def run_stage(out: Path, stage: StageRun) -> bool:
    """Run the stage unless its output is there already. Returns True when it had to run.

    Raises
    ------
    StorageError
        The disk is full or the folder cannot be written; earlier results stay as they were.
    HepacastError
        An input was changed while the stage was at work; earlier results stay as they were.
    """
    if is_cached(out, stage.name, stage.key):
        return False
    scratch = out / f".{stage.name}.partial"
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        start = time.monotonic()
        stage.work(scratch)
        changed = stage.changed()
        if changed is not None:
            raise input_changed(changed)
        write_record(scratch / MARK, _record(stage, scratch, time.monotonic() - start))
        _replace(out / stage.name, scratch)
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise storage_error(error, out / stage.name) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


def _record(stage: StageRun, folder: Path, seconds: float) -> dict[str, Any]:
    return {
        "key": stage.key,
        "version": __version__,
        "settings": stage.settings,
        "inputs": stage.inputs,
        "seconds": round(seconds, 3),
        "files": hash_folder(folder, without=MARK),
    }


def _replace(target: Path, scratch: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        move(target, old)
    move(scratch, target)
    shutil.rmtree(old, ignore_errors=True)
