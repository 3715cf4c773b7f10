"""The file that describes a cluster, and how one is started by it.

A cluster file is the user's own: its `setup` is shell that runs in every job.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hepacast.core.executor import available_cores, children_single_threaded
from hepacast.core.optional import require
from hepacast.core.yaml_text import read_yaml
from hepacast.errors import StudyFileError

#: Queues of jobs: the class of dask-jobqueue.
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
#: Seconds in which a queue takes a job.
_SUBMITTED = 60.0
_SCHEMES = re.compile(r"^(tcp|tls|ucx|ws|wss)://", re.IGNORECASE)


_UNITS = {"MB": 1e6, "GB": 1e9, "TB": 1e12, "MIB": 2.0**20, "GIB": 2.0**30, "TIB": 2.0**40}


class Gigabytes:
    """Sizes of memory: ``8 GB``, ``16 GiB``, ``500 MB``."""

    @staticmethod
    def read(text: str) -> float:
        """Bytes.

        Raises
        ------
        ValueError
            It is no size.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B)\s*", text, re.IGNORECASE)
        if not found or found[2].upper() not in _UNITS:
            raise ValueError("a size with its unit, as 8 GB")
        return float(found[1]) * _UNITS[found[2].upper()]

    @staticmethod
    def told(size: float) -> str:
        """In words."""
        return f"{size / 1e9:.1f} GB of memory"


class _ClusterPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterSecurity(_ClusterPart):
    """TLS: PEM files that this process shows to the scheduler, and by which it knows it."""

    ca: Path
    certificate: Path
    key: Path


class ClusterFile(_ClusterPart):
    """What `--cluster FILE` says; see docs/guide/clusters.md."""

    kind: Literal["local", "slurm", "pbs", "lsf", "address"]
    address: str = ""
    workers: int = Field(default=0, ge=0, description="Processes; 0: one a core of this machine (kind local).")
    memory: str = Field(default="", description="Of a worker, as 8 GB.")
    cores: int = Field(default=1, ge=1, description="Of a worker; several help networks alone.")
    queue: str = ""
    account: str = ""
    walltime: str = "24:00:00"
    directives: list[str] = Field(default_factory=list, description="Further lines for the queue, as --gres=gpu:1.")
    setup: list[str] = Field(default_factory=list, description="Shell lines that run first in every job.")
    interface: str = Field(default="", description="Network interface that jobs reach this machine by, as ib0.")
    folder: Path | None = Field(default=None, description="On a file system that all share; for arrays of the models.")
    processors: Literal["same", "any"] = "same"
    security: ClusterSecurity | None = None

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str) -> str:
        if value:
            Gigabytes.read(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> ClusterFile:
        if (self.kind == "address") != bool(self.address):
            raise ValueError("kind: address has an address, and no other kind has one")
        if self.kind in QUEUES and not (self.memory and self.workers):
            raise ValueError("jobs of a queue need workers (how many) and memory (of each)")
        return self

    def credentials(self) -> Any:
        """`distributed.Security` of the file; None without."""
        if self.security is None:
            return None
        from distributed import Security

        files = {name: str(path) for name, path in self.security}
        return Security(
            require_encryption=True, tls_ca_file=files["ca"],
            tls_client_cert=files["certificate"], tls_client_key=files["key"],
        )  # fmt: skip


def read_cluster(given: str) -> ClusterFile:
    """The description behind `--cluster`.

    Raises
    ------
    StudyFileError
        Neither an address nor a file that can be read.
    """
    if _SCHEMES.match(given):
        return ClusterFile(kind="address", address=given)
    path = Path(given)
    if not path.is_file():
        raise StudyFileError(
            "There is no such cluster.", expected="the address of a scheduler (tcp://HOST:8786) or a YAML file",
            found=given,
        )  # fmt: skip
    content, _ = read_yaml(path.read_text(encoding="utf-8"), what="cluster file", where=str(path))
    try:
        found = ClusterFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise StudyFileError(
            "The cluster file says something that is not known.", expected=first["msg"],
            found=repr(first.get("input"))[:200], where=f"{path}, {'.'.join(map(str, first['loc'])) or 'as a whole'}",
        ) from error  # fmt: skip
    return found


def _own_keys() -> Any:
    """TLS by keys of this run alone."""
    require("cryptography", purpose="A cluster that others on the network cannot enter", extra="cluster")
    from distributed import Security

    return Security.temporary()


def queue_of(described: ClusterFile, folder: Path) -> Any:
    """The cluster of a queue, with no job yet."""
    jobqueue = require("dask_jobqueue", purpose="A cluster behind a queue of jobs", extra="cluster")

    size = int(Gigabytes.read(described.memory))
    options: dict[str, Any] = {
        "cores": 1, "processes": 1, "memory": f"{size}B", "walltime": described.walltime, "python": sys.executable,
        "queue": described.queue or None,
        "project" if described.kind == "lsf" else "account": described.account or None,
        "job_script_prologue": described.setup, "job_extra_directives": described.directives,
        "worker_extra_args": ["--resources", f"memory={size},cores={described.cores}"],
        "interface": described.interface or None, "local_directory": None, "log_directory": str(folder),
        "scheduler_options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        # The scheduler listens on a network: nobody but the run's own jobs may speak to it.
        "security": _own_keys(), "protocol": "tls://", "shared_temp_directory": str(folder),
    }  # fmt: skip
    if described.kind == "slurm":
        options["job_cpu"] = described.cores
    elif described.kind == "pbs":
        options["resource_spec"] = f"select=1:ncpus={described.cores}:mem={size // 2**20}MB"
    else:
        options["ncpus"], options["mem"] = described.cores, size
    return getattr(jobqueue, QUEUES[described.kind])(**options)


def _require_taken(cluster: Any) -> None:
    """Dask waits without a word for jobs that a queue refuses."""
    end = time.monotonic() + _SUBMITTED
    while not any(getattr(job, "job_id", None) for job in list(cluster.workers.values())):
        if time.monotonic() > end:
            raise StudyFileError(
                "The queue has taken no job.", expected="a number for the job within a minute",
                found=cluster.job_script(), remedy="submit this script by hand to see what is wrong with it",
            )  # fmt: skip
        time.sleep(0.2)


@contextmanager
def started(described: ClusterFile, folder: Path) -> Iterator[Any]:
    """What a client of Dask connects to: an address, or a cluster that ends with the block."""
    if described.kind == "address":
        yield described.address
        return
    if described.kind in QUEUES:
        cluster = queue_of(described, folder)
        try:
            # Jobs that end before their time are asked for again.
            cluster.adapt(minimum_jobs=described.workers, maximum_jobs=described.workers)
            _require_taken(cluster)
            yield cluster
        finally:
            with suppress(AssertionError):  # jobs that the queue never took
                cluster.close()
        return
    from distributed import LocalCluster

    # Whoever may log in to this machine could speak to an open port: TLS with keys of its own.
    keys, count = _own_keys(), described.workers or available_cores()
    size = Gigabytes.read(described.memory) if described.memory else None
    resources = {"cores": described.cores, **({} if size is None else {"memory": size})}
    with (
        children_single_threaded(),
        LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", security=keys,
            memory_limit="auto" if size is None else int(size), silence_logs=logging.CRITICAL,
            scheduler_kwargs={"dashboard": False}, resources=resources,
        ) as cluster,
    ):  # fmt: skip
        yield cluster
