"""Files by address (``s3://``, ``gs://``, ``https://``), brought once to a folder of this machine or of a cluster.

What has not changed since (by size and the server's mark of the content) is not brought again, so a stopped run
goes on. On a cluster the workers bring the files; the folder is on their shared file system.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from hepacast.core.executor import map_items
from hepacast.core.files import atomic_path
from hepacast.core.hashing import hash_value
from hepacast.core.kept import read_record, write_record
from hepacast.core.optional import require
from hepacast.core.progress import Reporter
from hepacast.errors import HepacastError, MissingPackageError, StorageError

_ADDRESS = re.compile(r"^[a-z][a-z0-9+]+://", re.IGNORECASE)
#: By which a server tells another content.
_MARKS = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
_RECORD = "brought.json"
#: What the disk here answers, and no server.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def is_address(text: object) -> bool:
    """Whether a folder is named by the address of a server."""
    return isinstance(text, str) and _ADDRESS.match(text) is not None


def place_of(address: str, folder: Path) -> Path:
    """Where the files of an address are brought to."""
    return folder / "remote" / hash_value(address)[:16]


@dataclass(frozen=True)
class _Bring:
    """Brings one file; on a worker of a cluster too."""

    address: str
    folder: Path

    def __call__(self, name: str) -> None:
        system, root = _system(self.address)
        with atomic_path(self.folder / name) as temporary:
            try:
                system.get_file(f"{root.rstrip('/')}/{name}", str(temporary))
            except Exception as error:  # each kind of server has its own, some as the disk's
                if isinstance(error, OSError) and error.errno in _NO_ROOM:
                    raise
                raise StorageError(
                    "A file by address cannot be brought.",
                    found=str(error) or type(error).__name__,
                    where=f"{self.address.rstrip('/')}/{name}",
                    remedy="look whether it may be read and the network holds, then run the same command again: "
                    "it goes on",
                ) from error


@cache
def _system(address: str) -> tuple[Any, str]:
    fsspec = require("fsspec", purpose="Reading files by address", extra="cluster")
    try:
        found: tuple[Any, str] = fsspec.url_to_fs(address)
    except (ImportError, ValueError) as error:
        package = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}.get(
            address.split(":")[0].lower()
        )
        raise MissingPackageError(
            f"Files at {address} cannot be read here.", found=str(error),
            remedy=f"pip install {package}" if package else "an address as s3://, gs:// or https://",
        ) from error  # fmt: skip
    return found


def bring(address: str, folder: Path, *, workers: int = 0, reporter: Reporter) -> None:
    """Bring all files under an address that are not in the folder as they are there, and take away what is there no
    more: who was taken out of the cohort is no longer in it here either.

    Raises
    ------
    HepacastError
        The server does not answer, has nothing there, or names a file outside of the folder.
    """
    system, root = _system(address)
    try:
        found = system.find(root, detail=True)
    except Exception as error:  # each kind of server has its own
        raise StorageError("Files by address cannot be listed.", found=f"{error}", where=address) from error
    # An object that stands for a folder is no file.
    there = {_inside(path, root, address): info for path, info in found.items() if not path.endswith("/")}
    if not there:
        raise HepacastError("There are no files at this address.", where=address)
    marks = {
        name: [info.get("size"), *(str(info[key]) for key in _MARKS if key in info)] for name, info in there.items()
    }
    record = read_record(folder / _RECORD) or {}
    known = record.get("files", {})
    for name in known.keys() - marks.keys():
        (folder / name).unlink(missing_ok=True)
    todo = [name for name in sorted(marks) if known.get(name) != marks[name] or not (folder / name).is_file()]
    kept = {name: mark for name, mark in marks.items() if name not in set(todo)}
    if kept != known:
        write_record(folder / _RECORD, {"files": kept})
    # In parts, so that a stopped run goes on where it was.
    part = 1000
    with reporter.track("files by address") as progress:
        for start in range(0, len(todo), part):
            names = todo[start : start + part]
            map_items(
                _Bring(address, folder), names, workers=workers,
                progress=lambda done, _, start=start: progress(start + done, len(todo)),  # type: ignore[misc]
            )  # fmt: skip
            kept |= {name: marks[name] for name in names}
            write_record(folder / _RECORD, {"files": kept})


def _inside(path: str, root: str, address: str) -> str:
    name = path.removeprefix(root.rstrip("/")).lstrip("/")
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or any(letter in name for letter in "\\:\0") or name == _RECORD:
        raise StorageError("A server names a file that has no place in a folder.", found=repr(path), where=address)
    return name
