"""Files by address (``s3://``, ``gs://``, ``https://``), brought once to a folder of this machine or of a cluster.

What has not changed since (by size and the server's mark of the content) is not brought again, so a stopped run
goes on. On a cluster the workers bring the files; the folder is on their shared file system.

Results for an address are made in a folder of the working folder and sent when they are finished, the list of them
(`SENT`, with their hashes) last: what it lists is whole. A run on another machine takes them back and goes on.
"""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from hepacast.core.executor import map_items
from hepacast.core.files import atomic_folder, atomic_path
from hepacast.core.hashing import hash_file, hash_value
from hepacast.core.kept import read_record, write_record
from hepacast.core.lock import LOCK
from hepacast.core.optional import require
from hepacast.core.progress import Reporter
from hepacast.errors import HepacastError, MissingPackageError, StorageError

_ADDRESS = re.compile(r"^[a-z][a-z0-9+]+://", re.IGNORECASE)
#: By which a server tells another content.
_MARKS = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
_RECORD = "brought.json"
#: The list of results that were sent, by name with SHA-256.
SENT = "sent.json"
#: Folders of results that are to be sent, in the working folder.
_RESULTS = "hepacast-results"
#: Files that are sent in one request of a server that takes several at once.
_PART = 50
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


# -- results -----------------------------------------------------------------------------------------------------------


def place_of_results(address: str) -> Path:
    """Where results for an address are made."""
    plain = address.rstrip("/")
    return Path.cwd() / _RESULTS / f"{PurePosixPath(plain).name}-{hash_value(plain)[:12]}"


@contextmanager
def results_folder(out: str | Path | None, reporter: Reporter) -> Iterator[str | Path | None]:
    """A folder for results, whose files are sent when the block ends without an error if `out` is an address.

    Where the folder is new and the address holds results of an earlier run, these are taken back first.

    Raises
    ------
    StorageError
        The address cannot be written or read; what was made is in the folder.
    """
    if not is_address(out):
        yield out
        return
    address = str(out).rstrip("/")
    folder = place_of_results(address)
    require_writable_address(address)
    if not folder.exists() or not any(folder.iterdir()):
        _take_back(address, folder, reporter)
    yield folder
    _send(address, folder, reporter)
    reporter.say(f"sent to {address}; a copy is in {folder}")


@contextmanager
def result_file(target: str | Path) -> Iterator[Path]:
    """A file for a table, which is sent when the block ends without an error if `target` is an address."""
    if not is_address(target):
        yield Path(target)
        return
    system, root = _system(str(target))
    with tempfile.TemporaryDirectory(prefix="hepacast-") as scratch:
        file = Path(scratch) / PurePosixPath(root).name
        yield file
        try:
            system.put_file(str(file), root)
        except Exception as error:  # each kind of server has its own
            raise StorageError("A result cannot be sent.", found=f"{error}", where=str(target)) from error


def require_writable_address(address: str) -> None:
    """Hours of work are not begun for an address that takes nothing.

    Raises
    ------
    StorageError
    """
    system, root = _system(address)
    probe = f"{root}/.hepacast-probe"
    try:
        system.pipe_file(probe, b"")
        system.rm_file(probe)
    except Exception as error:  # each kind of server has its own
        raise StorageError(
            "Results cannot be written to this address.", found=f"{type(error).__name__}: {error}", where=address,
            remedy="look at the address and the credentials of the environment, or choose a folder with --out",
        ) from error  # fmt: skip


def _sent_before(address: str) -> dict[str, str]:
    """Hashes by name of what is there; empty where nothing was sent, or not to the end."""
    system, root = _system(address)
    with tempfile.TemporaryDirectory(prefix="hepacast-") as scratch:
        with suppress(FileNotFoundError):
            system.get_file(f"{root}/{SENT}", str(Path(scratch) / SENT))
        return dict((read_record(Path(scratch) / SENT) or {}).get("files", {}))


def _take_back(address: str, folder: Path, reporter: Reporter) -> None:
    """Earlier results from their address; a file that is not the listed one is left out, and made again."""
    system, root = _system(address)
    try:
        listed = _sent_before(address)
        if not listed:
            return
        with atomic_folder(folder) as scratch, reporter.track("earlier results") as progress:
            for done, (name, digest) in enumerate(sorted(listed.items()), start=1):
                file = scratch / _inside(f"{root}/{name}", root, address)
                file.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    system.get_file(f"{root}/{name}", str(file))
                if file.is_file() and hash_file(file) != digest:
                    file.unlink()
                progress(done, len(listed))
    except StorageError:
        raise
    except Exception as error:  # each kind of server has its own
        raise StorageError("Earlier results cannot be taken back.", found=f"{error}", where=address) from error


def _is_result(name: str) -> bool:
    """Files of a run that is under way, and images that were brought, are none."""
    last = PurePosixPath(name).name
    return not name.startswith(".cache/remote/") and last not in (LOCK, ".progress.json", ".stop")


def _send(address: str, folder: Path, reporter: Reporter) -> None:
    system, root = _system(address)
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in found}
    own = {name: hash_file(path) for name, path in named.items() if _is_result(name)}
    try:
        before = _sent_before(address)
        there = {
            _inside(path, root, address): info.get("size") for path, info in system.find(root, detail=True).items()
        }
        todo = [n for n, digest in own.items() if before.get(n) != digest or there.get(n) != named[n].stat().st_size]
        with reporter.track("sending results") as progress:
            for start in range(0, len(todo), _PART):
                part = todo[start : start + _PART]
                system.put([str(named[name]) for name in part], [f"{root}/{name}" for name in part])
                progress(start + len(part), len(todo))
        with tempfile.TemporaryDirectory(prefix="hepacast-") as scratch:
            write_record(Path(scratch) / SENT, {"files": own})
            system.put_file(str(Path(scratch) / SENT), f"{root}/{SENT}")
        for name in before.keys() - own.keys():
            with suppress(FileNotFoundError):
                system.rm_file(f"{root}/{_inside(f'{root}/{name}', root, address)}")
    except StorageError:
        raise
    except Exception as error:  # each kind of server has its own
        raise StorageError(
            "The results cannot be sent.", found=f"{type(error).__name__}: {error}", where=address,
            remedy=f"run the same command again, which sends what is missing; all of it is in {folder}",
        ) from error  # fmt: skip
