"""Write files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import StorageError

#: What the system answers when a result cannot be stored (full, too large, read-only, not allowed, broken disk).
STORAGE_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
        # A folder stands where a file is to be written, or a file where a folder is needed.
        *(errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG),
    }
)
#: Seconds for which a file is tried again that another program has open (Windows lets nobody replace such a file):
#: indexers and virus scanners let go of it within moments.
_PATIENCE = 2.0
#: Longest path of programs that do not ask Windows for more.
_LONGEST_PATH = 259
_WINDOWS = os.name == "nt"


def move(source: str | Path, target: str | Path) -> None:
    """Rename a file or folder, in the place of a file that is there; tried again while another program has it open.

    Raises
    ------
    OSError
        As the system says.
    """
    patient_until = time.monotonic() + _PATIENCE
    pause = 0.01
    while True:
        try:
            Path(source).replace(target)
            return
        except PermissionError:
            # Elsewhere a refusal is one for good.
            if not _WINDOWS or time.monotonic() > patient_until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.25)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it to `target` when the block ends without an error.

    The temporary name keeps the target's suffixes, since many writers choose the format by them.

    Raises
    ------
    StorageError
        The folder cannot be written, or the disk is full. Nothing is left behind.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-", suffix="".join(target.suffixes[-2:]))
        os.close(handle)
    except OSError as error:
        raise storage_error(error, target) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        move(temporary, target)
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise storage_error(error, target) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: str | Path) -> Iterator[Path]:
    """Give a scratch folder beside `target`; move its files into `target` when the block ends without an error.

    So several files that belong together appear together, or none does. Other files of `target` stay.

    Raises
    ------
    StorageError
        The folder cannot be written, or the disk is full. Nothing is left behind.
    """
    target = Path(target)
    created = [folder for folder in (target, *target.parents) if not os.path.lexists(folder)]
    try:
        target.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target, prefix=".tmp-"))
    except OSError as error:
        _remove_empty(created)
        raise storage_error(error, target) from error
    try:
        yield scratch
        for item in sorted(scratch.iterdir()):
            move(item, target / item.name)
    except StorageError as error:
        # The scratch folder is gone when the user looks for it.
        raise _elsewhere(error, str(scratch), str(target)) from error
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise storage_error(error, target) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_empty(created)


def require_writable_file(path: str | Path) -> None:
    """Before long work: make sure that a file can be written at `path`. Nothing is left behind.

    Raises
    ------
    StorageError
        Its folder cannot be written, or a folder stands there.
    """
    path = Path(path)
    if path.is_dir():
        raise StorageError("A folder stands where a file is to be written.", where=str(path), remedy="name a file")
    require_writable(path.parent)


def _remove_empty(folders: list[Path]) -> None:
    """Take away folders, the innermost first, as far as they are there and empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _elsewhere(error: StorageError, scratch: str, target: str) -> StorageError:
    return StorageError(
        error.message,
        expected=error.expected,
        found=error.found,
        where=(error.where or target).replace(scratch, target),
        remedy=error.remedy,
    )


def require_writable(folder: str | Path) -> None:
    """Before long work: make sure that files can be written into a folder. Nothing is left behind.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    with atomic_folder(folder) as scratch:
        probe = scratch / "probe"
        probe.write_bytes(b"x")
        probe.unlink()


def storage_error(error: OSError, target: Path) -> StorageError:
    """The message for a disk that is full, a folder that cannot be written, or a file that another program holds."""
    message = "A result cannot be written."
    remedy = "choose another folder with --out, or ask for the right to write there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = "The disk is full."
        remedy = "free some space, then run the same command again: finished stages are kept"
    elif error.errno == errno.ENAMETOOLONG or (_WINDOWS and len(str(target.absolute())) > _LONGEST_PATH):
        message = "The path is too long for this system."
        remedy = "choose a folder nearer to the root of the disk, or ask for long paths (Windows: LongPathsEnabled)"
    elif _WINDOWS and isinstance(error, PermissionError):
        message = "A result cannot be written: another program has the file open, or the folder may not be written."
        remedy = "close the file where it is open (Word, Excel, a viewer) and run again, or choose another folder"
    return StorageError(
        message,
        expected="a folder that can be written, with room for the results",
        found=error.strerror or str(error),
        where=str(target),
        remedy=remedy,
    )


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 text atomically, with the same line ends on every system (hashes are taken of the bytes)."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(target: str | Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_durably(target: str | Path, content: bytes) -> None:
    """Write bytes atomically; they are on the disk, and so are the folders that lead there, when this returns.

    Raises
    ------
    OSError
        As the system says; nothing is left behind.
    """
    target = Path(target)
    created = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in created:
        sync(folder.parent)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        move(name, target)
    finally:
        Path(name).unlink(missing_ok=True)
    sync(target.parent)


def sync(path: Path) -> None:
    """Put a file, or the entries of a folder, on the disk. Windows does so with folders by itself."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(target: str | Path, value: Any) -> None:
    """Write `value` as JSON, atomically; NaN and infinities become null, as JSON knows neither."""
    write_text(target, json.dumps(to_jsonable(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(source: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(source).read_text(encoding="utf-8"))


def to_jsonable(value: Any) -> Any:
    """Turn numpy scalars and arrays, paths, tuples and non-finite floats into plain JSON values."""
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return to_jsonable(value.tolist())
    if isinstance(value, np.generic):
        return to_jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value
