"""Files that are kept for a later run: one counts when its content is what was written, not because it is there.

A piece of long work (features of one patient, a fold's network) lies beside its seal, the SHA-256 of its content; a
JSON record carries the hash of what it says. What a bad disk, a power cut or a hand has changed is made again.
An input's hash is taken with the state of its file, and a piece is sealed only when the input was still in that state
after the piece was made: what was read is what the piece's key says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json, to_jsonable, write_json, write_text
from hepacast.core.hashing import hash_file, hash_path, hash_value
from hepacast.errors import HepacastError

SEAL = ".sha256"
_OWN = "sha256"
#: How often a piece is made anew when its input changes under way.
_TRIES = 2

#: Size, times of change of content and of the entry, and number of every file: what the system knows without reading.
State = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True)
class InputFile:
    """An input (a file, or a folder of a series) as it was when it was hashed."""

    path: Path
    sha256: str
    state: State


def state_of(path: Path) -> State:
    """What the system knows of a file, or of the files of a folder, without reading them."""
    files = [path] if not path.is_dir() else sorted(item for item in path.rglob("*") if item.is_file())
    found = []
    for item in files:
        known = item.stat()
        name = item.relative_to(path).as_posix() if item != path else ""
        found.append((name, known.st_size, known.st_mtime_ns, known.st_ctime_ns, known.st_ino))
    return tuple(found)


def seal(path: Path) -> None:
    """Say of a finished file that it is whole."""
    write_text(_seal_of(path), f"{hash_file(path)}\n")


def is_kept(path: Path) -> bool:
    """Whether a file is there and is the one that was sealed."""
    try:
        return path.is_file() and _seal_of(path).read_text(encoding="ascii").strip() == hash_file(path)
    except (OSError, ValueError):
        return False


def discard(path: Path) -> None:
    """Take away a piece and its seal."""
    _seal_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + SEAL)


def keep(path: Path, make: Callable[[], Any], inputs: Iterable[InputFile] = ()) -> None:
    """Make a piece and seal it, if its inputs stayed what its key says.

    Parameters
    ----------
    path
        Where `make` writes it.
    inputs
        Everything that is read.

    Raises
    ------
    HepacastError
        An input has another content than when its hash was taken, or does not come to rest.
    """
    files = list(inputs)
    for _ in range(_TRIES):
        before = [state_of(item.path) for item in files]
        require_as_hashed(files, before)
        discard(path)
        make()
        if [state_of(item.path) for item in files] == before:
            seal(path)
            return
        discard(path)
        require_as_hashed(files, [()] * len(files))
    raise _changed(files[0].path)


def require_as_hashed(files: list[InputFile], states: list[State]) -> None:
    """Files whose state is another one than when they were hashed are hashed again, and have to be the same.

    Raises
    ------
    HepacastError
        One has another content.
    """
    for item, state in zip(files, states, strict=True):
        if state != item.state and hash_path(item.path) != item.sha256:
            raise _changed(item.path)


def _changed(path: Path) -> HepacastError:
    return input_changed(str(path))


def input_changed(found: str) -> HepacastError:
    """An input of a run is no longer what it was when the run began."""
    return HepacastError(
        "An input was changed while the run was reading it.",
        expected="files that stay as they are until the run has ended",
        found=found,
        remedy="run the same command again: what was finished before is kept",
    )


def write_record(path: str | Path, value: dict[str, Any]) -> None:
    """Write a JSON record that carries its own hash."""
    content = to_jsonable(value)
    write_json(path, content | {_OWN: hash_value(content)})


def read_record(path: str | Path) -> dict[str, Any] | None:
    """A record of `write_record` without its hash; None where there is none or it was changed."""
    try:
        record = read_json(path)
        own = record.pop(_OWN)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if hash_value(record) == own else None


def same_folder(folder: Path, hashes: dict[str, str]) -> str | None:
    """The first file of a folder that is missing or has not the content of its hash; None where all are right."""
    for name, digest in hashes.items():
        path = folder / name
        if not (path.is_file() and hash_file(path) == digest):
            return name
    return None


def hash_folder(folder: Path, *, without: str = "") -> dict[str, str]:
    """Hashes of all files of a folder by relative name, but one."""
    files = (item for item in folder.rglob("*") if item.is_file())
    named = {item.relative_to(folder).as_posix(): item for item in files}
    return {name: hash_file(named[name]) for name in sorted(named) if name != without}
