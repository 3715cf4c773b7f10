"""Write files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.errors import StorageError

#: What the system answers when a result cannot be stored (full, too large, read-only, not allowed, broken disk).
STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


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
        temporary.replace(target)
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise storage_error(error, target) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def storage_error(error: OSError, target: Path) -> StorageError:
    """The message for a disk that is full or a folder that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageError(
        "The disk is full." if full else "A result cannot be written.",
        expected="a folder that can be written, with room for the results",
        found=error.strerror or str(error),
        where=str(target),
        remedy="free some space, then run the same command again: finished stages are kept"
        if full
        else "choose another folder with --out, or ask for the right to write there",
    )


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: str | Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


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
