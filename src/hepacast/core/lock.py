"""One run at a time in one folder; and what a killed run left behind is swept away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hepacast.core.files import storage_error
from hepacast.core.run_progress import PROGRESS
from hepacast.errors import StorageError

LOCK = ".lock"


@contextmanager
def hold_folder(folder: str | Path) -> Iterator[None]:
    """Hold a folder while the block runs. The system lets go of it when the process ends, however it ends.

    On a disk that knows no locks (some network disks) the block runs unguarded.

    Raises
    ------
    StorageError
        Another process holds the folder, or it cannot be written.
    """
    path = Path(folder) / LOCK
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise StorageError(
            "Another run is writing into this folder.",
            where=str(folder),
            remedy="wait until it has ended, stop it, or choose another folder with --out",
        ) from error
    except NotImplementedError:
        yield
        return
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        yield
    finally:
        lock.release()


def is_held(folder: str | Path) -> bool:
    """Whether another process holds a folder now; one that is not there is not held, and is not made."""
    if not (Path(folder) / LOCK).is_file():
        return False
    try:
        with hold_folder(folder):
            return False
    except StorageError:
        return True


def sweep(folder: str | Path) -> None:
    """Remove the half-written files and scratch folders of a run that was killed. Hold the folder first."""
    folder = Path(folder)
    for left in [*folder.glob(".*.partial"), *folder.glob(".*.old")]:
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.rglob(".tmp-*"):
        if left.is_file():
            left.unlink(missing_ok=True)


def discard_empty(folder: str | Path) -> None:
    """Take away a folder in which a run has left nothing but its lock and how far it came."""
    folder = Path(folder)
    if {item.name for item in folder.iterdir()} <= {LOCK, PROGRESS}:
        shutil.rmtree(folder, ignore_errors=True)
