"""Stages whose output is kept by content hash: a second run does nothing, a killed run goes on where it stopped.

A stage writes into a scratch folder, which is renamed to its place when the stage is complete; so a folder that
has a ``stage.json`` is whole. The key in it is the hash of the stage's settings, of the content of its inputs
(other stages' keys, files of the user) and of the code that made it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hepacast
from hepacast.compute.files import STORAGE_ERRNOS, read_json, storage_error, write_json
from hepacast.compute.hashing import hash_file, hash_value

MARK = "stage.json"


@cache
def code_hash(rooms: tuple[str, ...]) -> str:
    """Hash of the named rooms of hepacast (``("cohort", "imaging")``): their source, and the data beside it."""
    root = Path(hepacast.__file__).parent
    files: list[Path] = []
    for room in rooms:
        path = root / room
        files += sorted(_sources(path)) if path.is_dir() else [path.with_suffix(".py")]
    return hash_value([(item.relative_to(root).as_posix(), hash_file(item)) for item in files])


def _sources(folder: Path) -> Iterable[Path]:
    return (item for item in folder.rglob("*") if item.is_file() and "__pycache__" not in item.parts)


@dataclass(frozen=True)
class Stage:
    """One step of a study.

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
    rooms
        Rooms of hepacast whose code makes the output.
    """

    name: str
    work: Callable[[Path], None]
    settings: Any
    inputs: dict[str, str]
    rooms: tuple[str, ...]
    after: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        """Content hash of everything the output depends on."""
        return hash_value([self.name, self.settings, self.inputs, code_hash(self.rooms)])


def is_cached(out: Path, name: str, key: str) -> bool:
    """Whether the stage's folder is complete, made with this key, and its files are as they were written."""
    folder = out / name
    mark = folder / MARK
    if not mark.is_file():
        return False
    try:
        record = read_json(mark)
        if record["key"] != key:
            return False
        sizes = dict(record["files"])
    except (ValueError, TypeError, KeyError):
        # A damaged mark (power cut, bad disk): the stage is made again.
        return False
    return all((folder / item).is_file() and (folder / item).stat().st_size == size for item, size in sizes.items())


def run_stage(out: Path, stage: Stage) -> bool:
    """Run the stage unless its output is there already. Returns True when it had to run.

    Raises
    ------
    StorageError
        The disk is full or the folder cannot be written; earlier results stay as they were.
    """
    if is_cached(out, stage.name, stage.key):
        return False
    scratch = out / f".{stage.name}.partial"
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        start = time.monotonic()
        stage.work(scratch)
        write_json(scratch / MARK, _record(stage, scratch, time.monotonic() - start))
        _replace(out / stage.name, scratch)
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise storage_error(error, out / stage.name) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


def _record(stage: Stage, folder: Path, seconds: float) -> dict[str, Any]:
    return {
        "key": stage.key,
        "version": hepacast.__version__,
        "settings": stage.settings,
        "inputs": stage.inputs,
        "seconds": round(seconds, 3),
        "files": {item.relative_to(folder).as_posix(): item.stat().st_size for item in _files(folder)},
    }


def _files(folder: Path) -> Iterable[Path]:
    return sorted(item for item in folder.rglob("*") if item.is_file() and item.name != MARK)


def _replace(target: Path, scratch: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    scratch.rename(target)
    shutil.rmtree(old, ignore_errors=True)
