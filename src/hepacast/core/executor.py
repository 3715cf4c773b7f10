"""Run one function over many items, on one process, several, or a cluster, with the same results either way.

Worker processes are started with ``spawn`` (the same on every system, no inherited threads or random state) and
with one thread of linear algebra each, so that neither their number nor the machine's core count changes a number.
A process takes seconds to start; inside `keep_workers`, those that one map started serve the next.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from hepacast.errors import HepacastError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Called as ``progress(done, total)`` after every finished item.
Progress = Callable[[int, int], None]

#: Arrays of so many bytes go to the workers in a file that all of them map; each begins at a multiple of the latter.
_LARGE, _ALIGNED = 2**20, 64

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Need:
    """What the work on one item takes.

    Parameters
    ----------
    cores
        0: all that there are; here such items are worked on one after the other.
    memory
        Bytes; of a worker on a cluster.
    """

    cores: int = 1
    memory: float = 5e8


@dataclass(frozen=True)
class MapOfItems:
    """What `map_items` was asked for; `most` items at once (0: as many as there are workers)."""

    function: Callable[[Any], Any]
    todo: Sequence[Any]
    most: int
    need: Need
    progress: Progress | None
    lost: Callable[[Any, HepacastError], Any] | None


class Remote(Protocol):
    """Workers elsewhere, which take the maps over (`hepacast.core.cluster`)."""

    def slots(self) -> int:
        """How many items are worked on at once."""

    def map(self, asked: MapOfItems) -> list[Any]:
        """Results in the items' order."""


_remote: ContextVar[Remote | None] = ContextVar("workers elsewhere", default=None)


@contextmanager
def remote_maps(remote: Remote) -> Iterator[None]:
    """Inside the block maps of more than one process go there."""
    token = _remote.set(remote)
    try:
        yield
    finally:
        _remote.reset(token)


def available_cores() -> int:
    """Cores that this process may use (a container's or a cluster job's share, not the whole machine)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1


def resolve_workers(workers: int | None) -> int:
    """Number of processes: as asked, or one a core (on a cluster: all workers) when `workers` is None or 0."""
    remote = _remote.get()
    # At least two: what others are to open lies in files then, whoever comes later.
    return max(1, workers or (available_cores() if remote is None else max(2, remote.slots())))


def works_elsewhere(workers: int | None) -> bool:
    """Whether maps of so many processes (None or 0: as many as there are) go to a cluster."""
    return _remote.get() is not None and workers != 1


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread of linear algebra inside the block, whatever the machine offers."""
    # The limit reaches the libraries that are loaded already, and SciPy's own OpenBLAS is loaded only when needed.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


@contextmanager
def children_single_threaded() -> Iterator[None]:
    """Processes that are started inside the block have one thread of linear algebra."""
    # Libraries read these once, when a fresh process loads them; the parent's own values come back afterwards.
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item] | Iterable[Item],
    *,
    workers: int | None = 1,
    progress: Progress | None = None,
    need: Need = Need(),
    lost: Callable[[Item, HepacastError], Result] | None = None,
) -> list[Result]:
    """Apply `function` to every item and return the results in the items' order.

    Parameters
    ----------
    function
        A module-level function (it must be picklable when ``workers > 1``). It should catch what may go wrong with
        one item and return it as a status: an exception stops the whole map.
    items
        The inputs.
    workers
        Processes; 1 runs in this process, None or 0 takes one a core.
    progress
        Called with (done, total) after each item.
    need
        What one item takes.
    lost
        What stands for an item that has ended three workers of a cluster, with the reason; an error by default.

    Raises
    ------
    Exception
        Whatever `function` raised first; items not yet started are cancelled.
    HepacastError
        A worker process was stopped from outside, as a system does that runs out of memory.
    """
    todo = list(items)
    remote = _remote.get()
    if remote is not None and works_elsewhere(workers) and todo:
        return remote.map(MapOfItems(function, todo, workers or 0, need, progress, lost))
    asked = resolve_workers(workers) if need.cores else 1
    if min(asked, len(todo)) <= 1:
        results = []
        with single_threaded():
            for done, item in enumerate(todo, start=1):
                results.append(function(item))
                if progress:
                    progress(done, len(todo))
        return results
    return _map_processes(function, todo, asked, progress)


@dataclass
class _Pool:
    """Worker processes, as many as were asked for or as there were items."""

    asked: int
    size: int

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        # Who waits here has been told what to do: no worker is told twice, and none is left out.
        told = context.Barrier(self.size)
        self.processes = ProcessPoolExecutor(self.size, context, initializer=_start_worker, initargs=(told,))

    def tell(self, function: Callable[[Any], Any] | None) -> None:
        """Send what is applied to the items (it may carry a table of features) once to every worker."""
        with sent(function) as message:
            for done in [self.processes.submit(_learn, message) for _ in range(self.size)]:
                done.result()

    def stop(self) -> None:
        """What a worker is at may take minutes; finished items are on disk already where that matters."""
        for process in list((getattr(self.processes, "_processes", None) or {}).values()):
            process.terminate()
        self.processes.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Shared:
    """An object whose large arrays lie in a file, which all workers map: one copy in memory, however many they are."""

    pickled: bytes
    path: str
    places: tuple[tuple[int, int], ...]

    def load(self) -> Any:
        """The object; a worker that writes into an array of it changes its own copy."""
        with Path(self.path).open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        # These bytes came from this run's own process by its pipe, as every task does; the file holds numbers alone.
        return pickle.loads(self.pickled, buffers=[mapped[start:end] for start, end in self.places])


@contextmanager
def sent(function: Callable[[Any], Any] | None, *, folder: Path | None = None, large: int = _LARGE) -> Iterator[Any]:
    """What is sent to the workers: the function, or a `Shared` of it and of the file of its large arrays.

    The file goes with the block; by then every worker must have it open.

    Parameters
    ----------
    folder
        For the file; that of temporary files if left out.
    large
        Bytes from which on an array goes into the file.
    """
    apart: list[pickle.PickleBuffer] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        small = buffer.raw().nbytes < large
        if not small:
            apart.append(buffer)
        return small

    pickled = pickle.dumps(function, protocol=5, buffer_callback=is_small)
    if not apart:
        yield function
        return
    handle, path = tempfile.mkstemp(prefix="hepacast-", dir=folder)
    message: Any = function
    try:
        # Without room for the file each worker gets a copy of its own.
        with suppress(OSError):
            with os.fdopen(handle, "wb") as file:
                places = tuple(_appended(file, buffer) for buffer in apart)
            message = Shared(pickled, path, places)
        yield message
    finally:
        # Where a mapped file cannot go (Windows), it goes with the folder of temporary files.
        with suppress(PermissionError):
            Path(path).unlink()


def _appended(file: IO[bytes], buffer: pickle.PickleBuffer) -> tuple[int, int]:
    """Where a buffer begins and ends in the file that it is written to."""
    file.write(bytes(-file.tell() % _ALIGNED))
    start = file.tell()
    file.write(buffer.raw())
    return start, file.tell()


#: Pools that are kept: none or one in the list; None outside of `keep_workers`.
_kept: ContextVar[list[_Pool] | None] = ContextVar("kept workers", default=None)


@contextmanager
def keep_workers() -> Iterator[None]:
    """Worker processes that are started inside the block serve its later maps too, and end with it."""
    if _kept.get() is not None:
        yield
        return
    pools: list[_Pool] = []
    token = _kept.set(pools)
    try:
        yield
    finally:
        _kept.reset(token)
        for pool in pools:
            pool.processes.shutdown()


def _pool_for(asked: int, size: int) -> _Pool:
    kept = _kept.get()
    if kept and (kept[0].asked != asked or kept[0].size < size):
        kept.pop().processes.shutdown()
    if kept:
        return kept[0]
    pool = _Pool(asked, size)
    if kept is not None:
        kept.append(pool)
    return pool


def _map_processes(
    function: Callable[[Item], Result], todo: list[Item], asked: int, progress: Progress | None
) -> list[Result]:
    kept = _kept.get()
    with children_single_threaded():
        pool = _pool_for(asked, min(asked, len(todo)))
        try:
            pool.tell(function)
            results: list[Result] = _collect(pool.processes, todo, min(asked, len(todo)), progress)
            if kept is None:
                pool.processes.shutdown()
            else:
                pool.tell(None)
            return results
        except BaseException as error:
            if kept:
                kept.clear()
            if isinstance(error, KeyboardInterrupt):
                pool.stop()
            pool.processes.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
            if not isinstance(error, BrokenProcessPool):
                raise
            raise HepacastError(
                "A worker process was stopped by the system.",
                expected=f"{pool.size} processes that work to the end",
                found="one that ended in the middle, most often for lack of memory",
                remedy="run the same command again with fewer processes (--workers 1): finished parts are kept",
            ) from error


def _collect(pool: ProcessPoolExecutor, todo: list[Any], count: int, progress: Progress | None) -> list[Any]:
    """Feed the pool and gather results; only a few items wait in it, so that images are not all in memory at once."""
    results: dict[int, Any] = {}
    pending: dict[Future[Any], int] = {}
    queue = iter(enumerate(todo))
    for index, item in queue:
        pending[pool.submit(_call, item)] = index
        if len(pending) >= 2 * count:
            break
    while pending:
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            results[pending.pop(future)] = future.result()
            if progress:
                progress(len(results), len(todo))
            for index, item in queue:
                pending[pool.submit(_call, item)] = index
                break
    return [results[index] for index in range(len(todo))]


#: In a worker: what it applies to every item, and where it waits until all have been told.
_function: Callable[[Any], Any] | None = None
_told: Any = None


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)


def _learn(message: Any) -> None:
    global _function
    try:
        _function = message.load() if isinstance(message, Shared) else message
    finally:
        _told.wait()


def _start_worker(told: Any) -> None:
    """In a fresh worker: leave Ctrl-C to the parent, and end when the parent is gone.

    A worker waits for its next item on a pipe that it holds open itself, so without this it would outlive a killed
    parent for ever, with its memory.
    """
    global _told
    _told = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
