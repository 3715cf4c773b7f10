"""Run one function over many items, on one process or several, with the same results either way.

Worker processes are started with ``spawn`` (the same on every system, no inherited threads or random state) and
with one thread of linear algebra each, so that neither their number nor the machine's core count changes a number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Called as ``progress(done, total)`` after every finished item.
Progress = Callable[[int, int], None]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def available_cores() -> int:
    """Cores that this process may use (a container's or a cluster job's share, not the whole machine)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1


def resolve_workers(workers: int | None) -> int:
    """Number of processes: as asked, or one a core when `workers` is None or 0."""
    return max(1, workers or available_cores())


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread of linear algebra inside the block, whatever the machine offers."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


@contextmanager
def _children_single_threaded() -> Iterator[None]:
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

    Raises
    ------
    Exception
        Whatever `function` raised first; items not yet started are cancelled.
    """
    todo = list(items)
    count = min(resolve_workers(workers), max(1, len(todo)))
    if count == 1:
        results = []
        with single_threaded():
            for done, item in enumerate(todo, start=1):
                results.append(function(item))
                if progress:
                    progress(done, len(todo))
        return results
    return _map_processes(function, todo, count, progress)


def _map_processes(
    function: Callable[[Item], Result], todo: list[Item], count: int, progress: Progress | None
) -> list[Result]:
    results: dict[int, Result] = {}
    with (
        _children_single_threaded(),
        ProcessPoolExecutor(max_workers=count, mp_context=get_context("spawn")) as pool,
    ):
        pending: dict[Future[Result], int] = {}
        queue = iter(enumerate(todo))
        try:
            # Only a few tasks wait in the pool, so that inputs (images) are not all in memory at once.
            for index, item in queue:
                pending[pool.submit(function, item)] = index
                if len(pending) >= 2 * count:
                    break
            while pending:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    results[pending.pop(future)] = future.result()
                    if progress:
                        progress(len(results), len(todo))
                    for index, item in queue:
                        pending[pool.submit(function, item)] = index
                        break
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[index] for index in range(len(todo))]
