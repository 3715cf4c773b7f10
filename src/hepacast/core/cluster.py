"""A cluster behind the executor: inside `on_cluster` the maps of `hepacast.core.executor` go to workers of Dask.

One item a worker at a time, so that a worker that dies says which item it died of; an item that has ended three workers
stops the map, or becomes what the caller puts in its place. A worker is given work only when it computes as this
process does: the same code, the same packages, the same kind of processor, the same files. What is sent is pickled, as
between any two processes: a scheduler and whoever can reach it may run code here and on the workers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import pickle
import queue
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from hepacast._version import __version__
from hepacast.core.cluster_file import ClusterFile, Gigabytes, read_cluster, started
from hepacast.core.executor import MapOfItems, Need, Shared, available_cores, remote_maps, sent, single_threaded
from hepacast.core.hashing import hash_file
from hepacast.core.optional import require
from hepacast.errors import HepacastError

#: Packages whose versions decide numbers.
PACKAGES = (
    "numpy", "scipy", "pandas", "scikit-learn", "SimpleITK", "PyWavelets", "numba", "torch", "nnunetv2",
)  # fmt: skip
#: Those that are looked at on a worker besides.
_FURTHER = ("llvmlite", "nibabel", "openvino", "pyarrow", "pydicom", "xgboost")
#: How often an item is tried that ends its worker, whose answer does not come, or that a file system fails.
TRIES = 3
#: Seconds between looks at who is there.
_LOOK = 1.0
#: Seconds until it is said that nobody is there yet, and between such lines.
_WAITING = (10.0, 300.0)
#: Arrays of so many bytes go through a file in the shared folder instead of by every task.
_LARGE = 2**14


# -- what a worker must be -----------------------------------------------------------------------------------------


@cache
def passport() -> dict[str, str]:
    """What decides numbers in this process: code, packages, processor, whether there is a GPU."""
    found = {"hepacast": f"{__version__}, code {_code()[:12]}", "python": _python()}
    for name in (*PACKAGES, *_FURTHER):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return {**found, **_processor()}


def _python() -> str:
    import platform

    return ".".join(platform.python_version_tuple()[:2])


def _code() -> str:
    root = Path(__file__).parents[1]
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix in (".py", ".yaml", ".yml", ".json", ".csv"))
    told = hashlib.sha256()
    for file in files:
        told.update(f"{file.relative_to(root).as_posix()} {hash_file(file)}\n".encode())
    return told.hexdigest()


def _processor() -> dict[str, str]:
    """Linear algebra and NumPy choose their instructions by the processor, and round otherwise on another one."""
    import numpy as np
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    core = getattr(np, "_core", None) or np.core
    features = sorted(name for name, there in core._multiarray_umath.__cpu_features__.items() if there)
    kernels = sorted({str(item.get("architecture")) for item in threadpool_info() if item["user_api"] == "blas"})
    told = hashlib.sha256(" ".join(features).encode()).hexdigest()[:8]
    gpus = Path("/proc/driver/nvidia/gpus")
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    there = shown and gpus.is_dir() and any(gpus.iterdir())
    return {"processor": f"{', '.join(kernels)} ({told})", "GPU": "yes" if there else "no"}


def _introduce(probe: str, folder: str) -> dict[str, str]:
    """On a worker: its passport, and whether it sees the shared folder."""
    with suppress(OSError):
        os.chdir(folder)
    seen = Path(probe).is_file() and Path.cwd() == Path(folder)
    return {**passport(), "files": "shared" if seen else f"not shared: {folder} or {Path(probe).parent} is not seen"}


def refusal(own: dict[str, str], other: Any, *, processors: str = "same") -> str:
    """Why a worker is given no work; empty where it may have some.

    Parameters
    ----------
    own, other
        Passports of this process and of the worker; or the error in the latter's place.
    processors
        ``any``: another processor, or a GPU more or less, is accepted.
    """
    if not isinstance(other, dict):
        return f"hepacast {__version__} cannot be imported there ({type(other).__name__}: {other})"
    if other["files"] != "shared":
        return other["files"]
    passed = ("processor", "GPU") if processors == "any" else ()
    differing = [
        f"{name} {other.get(name, 'none')} instead of {value}"
        for name, value in own.items()
        if other.get(name) != value and name not in passed
    ]
    return "; ".join(differing)


# -- on a worker ---------------------------------------------------------------------------------------------------

#: The map whose function is loaded, and the function.
_loaded: tuple[str, Callable[[Any], Any] | None] = ("", None)
_settled = ExitStack()


def _work(token: str, message: bytes, item: bytes) -> bytes:
    """One item, pickled as between the processes of one machine; an error is what comes back."""
    global _loaded
    try:
        if _loaded[0] != token:
            # These bytes come from the run itself by its connection, as every task of Dask does.
            told = pickle.loads(message)
            _loaded = (token, told.load() if isinstance(told, Shared) else told)
            # For good: the process works for maps alone, and asking all libraries takes milliseconds.
            _settled.enter_context(single_threaded())
        function = _loaded[1]
        assert function is not None
        answer: tuple[bool, Any] = (True, function(pickle.loads(item)))
    except Exception as error:
        answer = (False, error)
    return pickle.dumps(answer, protocol=5)


# -- here ----------------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    """A worker that may be given work.

    Attributes
    ----------
    memory
        Bytes; infinite where it has no limit.
    declared
        Resources of Dask that it was started with; what it has none of is not asked for.
    """

    cores: float
    memory: float
    declared: dict[str, float]

    def suits(self, need: Need) -> bool:
        return self.cores >= need.cores and self.memory >= need.memory

    def asked(self, need: Need) -> dict[str, float]:
        wanted = {"cores": need.cores or self.cores, "memory": need.memory}
        return {name: min(value, self.declared[name]) for name, value in wanted.items() if name in self.declared}


@dataclass
class Cluster:
    """Workers of a scheduler, and maps over them.

    Parameters
    ----------
    client
        `distributed.Client`.
    folder
        Seen by this process and by the workers.
    processors
        As in `refusal`.
    say
        Takes a line for the user.
    """

    client: Any
    folder: Path
    processors: str = "same"
    say: Callable[[str], None] = print
    workers: dict[str, _Worker] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """Who is there: new workers are asked what they are, lost ones forgotten."""
        try:
            there = set(self.client.nthreads())
            self.workers = {name: found for name, found in self.workers.items() if name in there}
            self.refused = {name: why for name, why in self.refused.items() if name in there}
            new = there - self.workers.keys() - self.refused.keys()
            if new:
                self._meet(sorted(new))
        except (OSError, TimeoutError) as error:
            raise HepacastError(
                "The scheduler of the cluster does not answer.", found=str(error),
                remedy="see that it runs, and run the same command again: finished parts are kept",
            ) from error  # fmt: skip

    def _meet(self, new: list[str]) -> None:
        facts = self.client.scheduler_info(n_workers=-1)["workers"]
        with tempfile.NamedTemporaryFile(prefix="hepacast-", dir=self.folder) as probe:
            told = self.client.run(_introduce, probe.name, str(Path.cwd()), workers=new, on_error="return")
        for name in new:
            if name not in facts or name not in told:
                continue  # gone in the meantime
            own = facts[name]
            why = refusal(passport(), told[name], processors=self.processors)
            if own["nthreads"] != 1:
                why = f"{own['nthreads']} threads: start it with --nthreads 1, once a core"
            if why:
                self.refused[name] = why
                self.say(f"cluster: worker {name} is given no work: {why}")
                continue
            declared = {key: float(value) for key, value in (own.get("resources") or {}).items()}
            limit = declared.get("memory", float(own.get("memory_limit") or 0) or float("inf"))
            self.workers[name] = _Worker(declared.get("cores", 1.0), limit, declared)

    def slots(self) -> int:
        """How many items are worked on at once."""
        return max(1, len(self.workers))

    def map(self, asked: MapOfItems) -> list[Any]:
        """As `hepacast.core.executor.map_items`."""
        with sent(asked.function, folder=self.folder, large=_LARGE) as message:
            run = _Map(self, pickle.dumps(message, protocol=5), asked)
            try:
                return run.all()
            finally:
                run.stop()


@dataclass
class _Map:
    cluster: Cluster
    message: bytes
    asked: MapOfItems
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.waiting = deque(range(len(self.asked.todo)))
        self.running: dict[Any, tuple[int, str]] = {}
        self.results: dict[int, Any] = {}
        self.tries: Counter[int] = Counter()
        self.ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def all(self) -> list[Any]:
        """Results in the items' order."""
        looked = -_LOOK
        began = said = time.monotonic()
        while len(self.results) < len(self.asked.todo):
            now = time.monotonic()
            if now - looked >= _LOOK:
                looked = now
                self.cluster.look()
                self._recover()
            if self.cluster.workers:
                said = now
            elif now - said > (_WAITING[0] if said == began else _WAITING[1]):
                self.cluster.say("cluster: waiting for workers")
                began, said = 0.0, now
            self._give()
            self._take(_LOOK)
        return [self.results[index] for index in range(len(self.asked.todo))]

    def stop(self) -> None:
        """Nothing that is still running is wanted any more."""
        if self.running:
            with suppress(Exception):  # also where the scheduler is gone
                self.cluster.client.cancel(list(self.running), force=True)
        self.running.clear()

    def _give(self) -> None:
        self._require_workers()
        busy = {address for _, address in self.running.values()}
        for address, worker in self.cluster.workers.items():
            if not self.waiting or len(self.running) >= (self.asked.most or len(self.asked.todo)):
                return
            if address in busy or not worker.suits(self.asked.need):
                continue
            index = self.waiting.popleft()
            future = self.cluster.client.submit(
                _work, self.token, self.message, pickle.dumps(self.asked.todo[index], protocol=5),
                key=f"hepacast-{uuid.uuid4().hex}", pure=False, workers=[address],
                resources=worker.asked(self.asked.need),
            )  # fmt: skip
            self.running[future] = (index, address)
            future.add_done_callback(self.ended.put)

    def _require_workers(self) -> None:
        known = self.cluster.workers.values()
        if self.cluster.refused and not known:
            raise HepacastError(
                "No worker of the cluster computes as this process does, so that none is given work.",
                expected="the same hepacast, packages, kind of processor and files as here",
                found="; ".join(dict.fromkeys(self.cluster.refused.values())),
                remedy="install the same on the workers, and start hepacast on a machine of their kind; "
                "processors: any in the cluster file accepts other processors (last digits may differ)",
            )
        if known and not any(worker.suits(self.asked.need) for worker in known):
            raise HepacastError(
                "No worker of the cluster is large enough for one item of this work.",
                expected=f"{self.asked.need.cores:g} cores, {Gigabytes.told(self.asked.need.memory)}",
                found=f"at most {max(w.cores for w in known):g} cores, {Gigabytes.told(max(w.memory for w in known))}",
                remedy="ask for more memory a worker (memory in the cluster file)",
            )

    def _take(self, seconds: float) -> None:
        """Wait for the first that has ended, and take all that have."""
        ended = []
        with suppress(queue.Empty):
            ended.append(self.ended.get(timeout=seconds))
            while True:
                ended.append(self.ended.get_nowait())
        good = [future for future in ended if future in self.running and future.status == "finished"]
        answers = self._gathered(good)
        for future in ended:
            if future not in self.running:
                continue
            index, _ = self.running.pop(future)
            if future in answers:
                self._note(index, *answers[future])
            elif future.status == "error":  # Dask itself has given it up: no worker survived it
                self._count(index, f"{future.exception()}, most often for lack of memory")
            else:  # finished, and its worker gone before it was fetched, or its answer cannot come over the network
                self._count(index, "its answer could not be fetched from the worker")

    def _gathered(self, futures: list[Any]) -> dict[Any, tuple[bool, Any]]:
        if not futures:
            return {}
        texts = self.cluster.client.sync(self._fetch, futures)
        # Bytes that this run's own tasks have made.
        return {future: pickle.loads(text) for future, text in zip(futures, texts) if text is not None}

    async def _fetch(self, futures: list[Any]) -> list[bytes | None]:
        """Answers; None of a worker that ended before its answer was here (Dask would wait for it to come back)."""
        whole = asyncio.ensure_future(self._each(futures))
        while not (await asyncio.wait({whole}, timeout=_LOOK))[0]:
            if any(future.status != "finished" for future in futures):
                whole.cancel()
                left = [future if future.status == "finished" else None for future in futures]
                kept = [future for future in left if future is not None]
                answers = iter(await self._fetch(kept) if kept else ())
                return [None if future is None else next(answers) for future in left]
        return whole.result()

    async def _each(self, futures: list[Any]) -> list[bytes | None]:
        try:
            return list(await self.cluster.client.gather(futures, asynchronous=True))
        except Exception:  # of one that is lost: each by itself
            one = await asyncio.gather(*(future._result() for future in futures), return_exceptions=True)
            return [text if isinstance(text, bytes) else None for text in one]

    def _note(self, index: int, good: bool, answer: Any) -> None:
        if not good:
            # A file system of many machines may fail for a moment.
            if not isinstance(answer, OSError) or self.tries[index] + 1 >= TRIES:
                raise answer
            self.tries[index] += 1
            self.waiting.append(index)
            return
        self._finish(index, answer)

    def _finish(self, index: int, answer: Any) -> None:
        self.results[index] = answer
        if self.asked.progress:
            self.asked.progress(len(self.results), len(self.asked.todo))

    def _recover(self) -> None:
        """Items whose worker is gone are given to another."""
        gone = [future for future, (_, address) in self.running.items() if address not in self.cluster.workers]
        for future in gone:
            if future.status == "finished":
                continue  # it waits to be taken
            index, address = self.running.pop(future)
            with suppress(Exception):
                self.cluster.client.cancel([future], force=True)
            self._count(index, f"worker {address} ended, most often for lack of memory")

    def _count(self, index: int, found: str) -> None:
        self.tries[index] += 1
        if self.tries[index] < TRIES:
            # Last, so that chance (a machine that is switched off) has the least to say the next time.
            self.waiting.append(index)
            return
        error = HepacastError(
            f"Work on this has ended {TRIES} times without a result.",
            expected="work that a worker finishes",
            found=found,
            remedy="ask for more memory a worker (memory in the cluster file)",
        )
        if self.asked.lost is None:
            raise error
        self._finish(index, self.asked.lost(self.asked.todo[index], error))


@contextmanager
def on_cluster(
    cluster: str | Path | None, *, folder: str | Path | None = None, say: Callable[[str], None] = lambda text: None
) -> Iterator[Cluster | None]:
    """Inside the block the work of every map goes to a cluster; None leaves it on this machine.

    Parameters
    ----------
    cluster
        Address of a scheduler of Dask (``tcp://host:8786``, ``tls://...``), or a YAML file that describes a cluster.
    folder
        That of the cluster file, if it names none: on a file system that the workers share; by default the working
        folder.
    say
        Takes a line for the user.

    Raises
    ------
    HepacastError
        The file says nothing that can be started, or nobody answers at the address.
    """
    if cluster is None:
        yield None
        return
    distributed = require("distributed", purpose="Work on a cluster", extra="cluster")
    described = read_cluster(str(cluster))
    place = described.folder or Path(folder or Path.cwd())
    place.mkdir(parents=True, exist_ok=True)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        own = stack.enter_context(started(described, place))
        try:
            credentials = described.credentials() if isinstance(own, str) else None
            client = stack.enter_context(distributed.Client(own, security=credentials))
        except (OSError, TimeoutError, ValueError) as error:
            raise HepacastError(
                "There is no scheduler of a cluster here.", expected="the address of a running scheduler of Dask",
                found=str(error), where=str(cluster), remedy="start it with: dask scheduler",
            ) from error  # fmt: skip
        made = Cluster(client, place.absolute(), described.processors, say)
        stack.enter_context(remote_maps(made))
        _wait(made, described)
        yield made


@dataclass(frozen=True)
class _Planned:
    """Workers that a plan counts on."""

    count: int

    def slots(self) -> int:
        return max(1, self.count)

    def map(self, asked: MapOfItems) -> list[Any]:
        raise RuntimeError("a plan does no work")


@contextmanager
def planned_cluster(cluster: str | Path | None) -> Iterator[str]:
    """Inside the block a plan counts on the workers of a cluster, of which none is started.

    Parameters
    ----------
    cluster
        As in `on_cluster`; the scheduler of an address is asked who is there.

    Yields
    ------
    str
        How many workers with which memory there are, or will be; empty without a cluster.

    Raises
    ------
    HepacastError
        As in `on_cluster`.
    """
    described = None if cluster is None else read_cluster(str(cluster))
    if described is None:
        yield ""
    elif described.kind == "address":
        with on_cluster(cluster) as made:
            there = () if made is None else tuple(made.workers.values())
            sizes = sorted({worker.memory for worker in there if worker.memory < float("inf")})
            told = "" if not sizes else f", {Gigabytes.told(sizes[0])} each" + (" or more" if len(sizes) > 1 else "")
            why = [] if made is None else list(dict.fromkeys(made.refused.values()))
            yield f"Cluster {described.address}: {len(there)} workers{told}{'; given no work: ' if why else ''}" + (
                "; ".join(why)
            )
    else:
        count = described.workers or available_cores()
        memory = f", {Gigabytes.told(Gigabytes.read(described.memory))} each" if described.memory else ""
        with remote_maps(_Planned(count)):
            yield f"Cluster ({described.kind}): {count} workers{memory}, to be started."


def _wait(cluster: Cluster, described: ClusterFile) -> None:
    """A machine's own workers are there in seconds; those of a queue come when they come."""
    end = time.monotonic() + 60.0
    wanted = described.workers if described.kind == "local" else 1
    cluster.look()
    while len(cluster.workers) + len(cluster.refused) < max(1, wanted) and time.monotonic() < end:
        time.sleep(0.1)
        cluster.look()
    cluster.say(f"cluster: {len(cluster.workers)} workers")
