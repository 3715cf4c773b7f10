"""A real SLURM of one node (Debian's slurm-wlm and munge): jobs are workers, and a cancelled one loses nothing."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue")
sys.path.insert(0, str(Path(__file__).parent))

from work import place_of, slow_draw

from hepacast.core import cluster_file
from hepacast.core.cluster import on_cluster
from hepacast.core.executor import map_items
from hepacast.errors import HepacastError

pytestmark = pytest.mark.cluster
CONFIG = """
ClusterName=one
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmctldPort={port}
SlurmdPort={port1}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def until(ready, seconds=120.0):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.3)


def told(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if shutil.which("slurmctld") is None or os.geteuid() != 0:
        pytest.skip("needs slurm-wlm and munge, and root to start them (make test-cluster)")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    config = folder / "slurm.conf"
    ports = {"port": free_port(), "port1": free_port()}
    config.write_text(CONFIG.format(host=socket.gethostname().split(".")[0], folder=folder, **ports))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(config)
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    servers = []
    try:
        for command in (
            ["runuser", "-u", "munge", "--", "munged", "--foreground"], ["slurmctld", "-D"], ["slurmd", "-D"]
        ):  # fmt: skip
            servers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(1.0)
        until(lambda: "idle" in told("sinfo", "-h", "-o", "%t"))
        yield folder
    finally:
        for server in reversed(servers):
            server.terminate()
            server.wait(20)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def test_a_queue_that_refuses_the_job_is_told(slurm, monkeypatch):
    monkeypatch.setattr(cluster_file, "_SUBMITTED", 5.0)
    file = slurm / "refused.yaml"
    file.write_text(f"kind: slurm\nworkers: 1\nmemory: 900 GB\ninterface: lo\nfolder: {slurm}\n")
    with pytest.raises(HepacastError, match=r"(?s)taken no job.*#SBATCH --mem"), on_cluster(file):
        pass


def test_a_cancelled_job_loses_nothing(slurm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    file = slurm / "cluster.yaml"
    file.write_text(
        f"kind: slurm\nworkers: 2\nmemory: 2 GB\nqueue: work\nwalltime: '00:30:00'\ninterface: lo\nfolder: {slurm}\n"
    )
    cancelled = []

    def cancel(done, total):
        if done in (5, 15):
            job = told("squeue", "-h", "-t", "R", "-o", "%i")[0]
            subprocess.run(["scancel", job], check=True)
            cancelled.append(job)

    said = []
    with on_cluster(file, say=said.append) as made:
        until(lambda: made.look() or len(made.workers) == 2)
        jobs = {job for job, _ in map_items(place_of, range(6), workers=0)}
        assert len(jobs) == 2 and None not in jobs
        assert map_items(slow_draw, range(40), workers=0, progress=cancel) == [slow_draw(n) for n in range(40)]
        # Jobs that end are asked for again.
        until(lambda: made.look() or (len(made.workers) == 2 and len(told("squeue", "-h", "-t", "R", "-o", "%i")) == 2))
    assert len(set(cancelled)) == 2
    until(lambda: told("squeue", "-h", "-o", "%i") == [])
    assert not list(slurm.glob("hepacast-*"))
