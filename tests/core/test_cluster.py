"""A cluster of processes behind the executor: the same results, lost workers, and who is refused."""

import os
import signal
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest

pytest.importorskip("distributed")

from hepacast.core.cluster import _Map, on_cluster, passport, planned_cluster, refusal
from hepacast.core.cluster_file import Gigabytes, queue_of, read_cluster
from hepacast.core.executor import MapOfItems, Need, map_items, resolve_workers
from hepacast.core.jobs import Job, make_missing
from hepacast.core.kept import is_kept
from hepacast.errors import HepacastError, ImageError, StudyFileError


def draw(seed):
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(120, 120))
    return float((matrix @ matrix.T)[7, 11]), seed


class TableSum:
    """Carries a table, as a refit does."""

    def __init__(self, table):
        self.table = table

    def __call__(self, number):
        before = float(self.table[number].sum())
        self.table[number] = 0.0
        return before, os.getpid()


def refuse(item):
    if item == 2:
        raise ImageError("Item 2 is damaged.", where="patient 2")
    return item


def deadly_job(job):
    if job.task == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    job.kept.write_text(f"made {job.task}")


def refuse_job(job, why):
    job.kept.write_text(f"failed: {why}")


def once_blocked(item):
    """The disk fails for a moment, the first time."""
    number, folder = item
    mark = folder / f"{number}"
    if number == 3 and not mark.exists():
        mark.touch()
        raise OSError(116, "Stale file handle")
    return number


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "cluster.yaml"
    file.write_text(f"kind: local\nworkers: 2\nmemory: 4 GB\nfolder: {folder}\n")
    with on_cluster(file) as made:
        yield made
    assert sorted(item.name for item in folder.iterdir()) == ["cluster.yaml"]


def test_results_are_those_of_one_process_in_order_with_progress(cluster):
    seen = []
    alone = [draw(seed) for seed in range(9)]
    assert map_items(draw, range(9), workers=0, progress=lambda *far: seen.append(far)) == alone
    assert seen == [(n, 9) for n in range(1, 10)]
    assert resolve_workers(0) == 2 and map_items(draw, [], workers=0) == []


def test_a_large_table_goes_by_one_file_and_stays_as_it_is(cluster):
    table = np.random.default_rng(0).normal(size=(8, 40_000))
    before = table.copy()
    found = map_items(TableSum(table), range(8), workers=0)
    assert [value for value, _ in found] == [float(row.sum()) for row in before]
    assert os.getpid() not in {process for _, process in found}
    np.testing.assert_array_equal(table, before)


def test_an_error_comes_back_whole_and_the_workers_go_on(cluster):
    with pytest.raises(ImageError) as caught:
        map_items(refuse, range(6), workers=0)
    assert (caught.value.message, caught.value.where) == ("Item 2 is damaged.", "patient 2")
    assert map_items(draw, [5], workers=0) == [draw(5)]


def test_a_file_system_that_fails_for_a_moment_is_asked_again(cluster, tmp_path):
    assert map_items(once_blocked, [(n, tmp_path) for n in range(5)], workers=0) == list(range(5))


@pytest.mark.cluster
def test_a_patient_who_ends_three_workers_is_a_row_with_its_reason(cluster, tmp_path):
    jobs = [Job(f"P{n}", n, tmp_path / f"{n}.txt") for n in range(3)]
    made = make_missing(deadly_job, jobs, workers=0, refuse=refuse_job)
    assert [path.read_text()[:6] for path in made] == ["made 0", "failed", "made 2"]
    assert "ended 3 times" in made[1].read_text()
    # The next run tries again.
    assert [is_kept(path) for path in made] == [True, False, True]


def test_the_third_worker_that_ends_is_the_last(cluster):
    told = []
    asked = MapOfItems(draw, ["P1", "P2"], 2, Need(), None, lambda item, error: told.append(item) or str(error))
    run = _Map(cluster, b"", asked)
    run.waiting.clear()
    for _ in range(2):
        run._count(1, "worker 7 ended, most often for lack of memory")
        assert run.waiting.pop() == 1 and not run.results
    run._count(1, "worker 7 ended")
    assert told == ["P2"] and "ended 3 times" in run.results[1] and not run.waiting
    run.asked = replace(asked, lost=None)
    with pytest.raises(HepacastError, match=r"(?s)ended 3 times.*memory"):
        for _ in range(3):
            run._count(0, "worker 8 ended")


def test_an_answer_that_never_comes_ends_the_work_on_it(cluster, monkeypatch):
    async def nothing(self, futures):
        return [None] * len(futures)

    monkeypatch.setattr(_Map, "_each", nothing)
    with pytest.raises(HepacastError, match=r"(?s)ended 3 times.*could not be fetched"):
        map_items(draw, range(2), workers=0)
    monkeypatch.undo()
    assert map_items(draw, range(2), workers=0) == [draw(0), draw(1)]


def test_work_that_no_worker_has_the_memory_for_is_not_begun(cluster):
    with pytest.raises(HepacastError, match=r"(?s)large enough.*64.0 GB.*at most 1 cores, 4.0 GB"):
        map_items(draw, range(2), workers=0, need=Need(memory=64e9))


@pytest.mark.cluster
def test_a_worker_killed_from_outside_loses_nothing(cluster):
    def strike(done, total):
        if done in (3, 9):
            process = next(one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline()))
            process.kill()

    assert map_items(draw, range(20), workers=0, progress=strike) == [draw(seed) for seed in range(20)]


def test_who_computes_otherwise_is_refused_with_the_reason(cluster, monkeypatch):
    own = passport() | {"files": "shared"}
    assert refusal(passport(), own) == ""
    assert refusal(passport(), own | {"numpy": "1.0"}) == f"numpy 1.0 instead of {passport()['numpy']}"
    assert "cannot be imported" in refusal(passport(), ModuleNotFoundError("hepacast"))
    assert "not shared" in refusal(passport(), own | {"files": "not shared: /scratch is not seen"})
    old = own | {"processor": "Haswell (0)", "GPU": "other"}
    assert "processor Haswell" in refusal(passport(), old) and refusal(passport(), old, processors="any") == ""
    cluster.workers.clear()
    monkeypatch.setattr("hepacast.core.cluster.passport", lambda: {**passport(), "SimpleITK": "99"})
    with pytest.raises(HepacastError, match=r"(?s)No worker.*SimpleITK .* instead of 99"):
        map_items(draw, range(2), workers=0)
    cluster.refused.clear()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: slurm\nworkers: 2\n", "workers .how many. and memory"),
        ("kind: address\n", "has an address"),
        ("kind: local\nmemory: much\n", "8 GB"),
        ("kind: cloud\n", "slurm"),
        ("kind: local\nhosts: 3\n", "hosts"),
        ("kind: [local\n", "YAML"),
    ],
)
def test_a_cluster_file_that_says_nothing_usable_is_refused(tmp_path, text, told):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(StudyFileError, match=f"(?s).*{told}"):
        read_cluster(str(file))


def test_addresses_and_sizes():
    assert read_cluster("tls://head:8786").address == "tls://head:8786"
    with pytest.raises(StudyFileError, match="no such cluster"):
        read_cluster("head:8786")
    assert (Gigabytes.read("8 GB"), Gigabytes.read("500MB"), Gigabytes.read("1 GiB")) == (8e9, 5e8, 2**30)


def test_without_an_answer_from_the_scheduler_it_is_said(monkeypatch):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(HepacastError, match=r"(?s)no scheduler.*tcp://127.0.0.1:9"),
        on_cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_plan_asks_a_scheduler_who_is_there(monkeypatch):
    from distributed import LocalCluster

    with LocalCluster(1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None,
                      memory_limit="3 GB") as there:  # fmt: skip
        with planned_cluster(there.scheduler_address) as told:
            assert told == f"Cluster {there.scheduler_address}: 1 workers, 3.0 GB of memory each"
        monkeypatch.setattr("hepacast.core.cluster.refusal", lambda *_, **__: "SimpleITK 99")
        with planned_cluster(there.scheduler_address) as told:
            assert "0 workers; given no work: SimpleITK 99" in told


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("slurm", ["#SBATCH -p long", "#SBATCH -A liver", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G",
                   "#SBATCH -t 02:00:00", "#SBATCH --gres=gpu:1"]),
        ("pbs", ["#PBS -q long", "#PBS -A liver", "#PBS -l select=1:ncpus=4:mem=7629MB", "#PBS -l walltime=02:00:00"]),
        ("lsf", ["#BSUB -q long", '#BSUB -P "liver"', "#BSUB -n 4", "#BSUB -W 02:00"]),
    ],
)  # fmt: skip
def test_the_job_of_a_queue(tmp_path, kind, lines):
    pytest.importorskip("dask_jobqueue")
    file = tmp_path / "cluster.yaml"
    file.write_text(
        f"kind: {kind}\nworkers: 3\nmemory: 8 GB\ncores: 4\nqueue: long\naccount: liver\nwalltime: '02:00:00'\n"
        "directives: [--gres=gpu:1]\nsetup: [module load python]\n"
    )
    with queue_of(read_cluster(str(file)), tmp_path) as made:
        script = made.job_script()
    for line in [*lines, "module load python"]:
        assert line in script
    assert sys.executable in script and "tls://" in script
    assert "--nthreads 1" in script and "--resources" in script and "--resources memory=8000000000,cores=4" in script
    assert "--tls-ca-file" in script and "PRIVATE KEY" not in script
