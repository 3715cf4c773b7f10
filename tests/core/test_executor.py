"""One function over many items: the same results whatever the number of processes, and no process left behind."""

import os
import subprocess
import sys
import tempfile
import textwrap
import time

import numpy as np
import psutil
import pytest

from hepacast.core import executor
from hepacast.core.executor import available_cores, keep_workers, map_items, resolve_workers
from hepacast.errors import HepacastError, ImageError


def draw(seed):
    """Linear algebra and random numbers, whose last digits depend on threads and inherited state."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(120, 120))
    return float((matrix @ matrix.T)[7, 11]), seed


def slow_first(item):
    """The first item is the last to finish."""
    time.sleep(0.4 if item == 0 else 0.0)
    return item * item


def refuse(item):
    if item == 2:
        raise ImageError("Item 2 is damaged.", where="patient 2", remedy="look at it")
    return item


def threads_of(_item):
    from threadpoolctl import threadpool_info

    np.ones((4, 4)) @ np.ones((4, 4))
    return os.environ["OMP_NUM_THREADS"], {info["num_threads"] for info in threadpool_info()}


def die(item):
    if item == 1:
        os._exit(9)
    return item


def test_one_and_two_processes_give_the_same_to_the_last_digit():
    items = list(range(9))
    alone = map_items(draw, items, workers=1)
    assert map_items(draw, items, workers=2) == alone
    assert [seed for _, seed in alone] == items


def test_results_come_in_the_order_of_the_items_with_progress():
    seen = []
    result = map_items(slow_first, range(5), workers=2, progress=lambda done, total: seen.append((done, total)))
    assert result == [0, 1, 4, 9, 16]
    assert seen == [(n, 5) for n in range(1, 6)]
    seen.clear()
    map_items(slow_first, iter([3, 4]), workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_do(workers):
    assert map_items(draw, [], workers=workers) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_back_whole(workers):
    with pytest.raises(ImageError) as caught:
        map_items(refuse, range(6), workers=workers)
    error = caught.value
    assert (error.message, error.where, error.remedy) == ("Item 2 is damaged.", "patient 2", "look at it")


def test_workers_use_one_thread_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for named, used in map_items(threads_of, range(2), workers=2):
        assert named == "1"
        assert used <= {1}
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_worker_killed_by_the_system_is_told_in_words():
    with pytest.raises(HepacastError, match=r"(?s)stopped by the system.*memory.*--workers 1"):
        map_items(die, range(4), workers=2)


def process_of(item):
    time.sleep(0.01)
    return os.getpid()


class Carrying:
    """What a map sends to its workers."""

    def __init__(self, number):
        self.number = number

    def __call__(self, item):
        return self.number * item


def test_processes_serve_later_maps_where_they_are_kept():
    with keep_workers():
        first = set(map_items(process_of, range(8), workers=2))
        with keep_workers():
            assert map_items(Carrying(3), range(5), workers=2) == [0, 3, 6, 9, 12]
        assert map_items(Carrying(4), range(5), workers=2) == [0, 4, 8, 12, 16]
        assert set(map_items(process_of, range(8), workers=2)) <= first
        with pytest.raises(ImageError):
            map_items(refuse, range(6), workers=2)
        later = set(map_items(process_of, range(8), workers=2))
        with pytest.raises(HepacastError, match="stopped by the system"):
            map_items(die, range(4), workers=2)
        assert map_items(Carrying(5), range(3), workers=3) == [0, 5, 10]
    assert not first & later
    assert not any(psutil.pid_exists(number) for number in later)


def test_number_of_workers():
    assert resolve_workers(3) == 3
    assert resolve_workers(None) == resolve_workers(0) == available_cores() >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "long_map.py"
    script.write_text(
        textwrap.dedent(
            """
            import pathlib, time, sys
            from hepacast.core.executor import map_items

            def work(item):
                pathlib.Path(sys.argv[1], f"started-{item}").touch()
                time.sleep(0.2)

            if __name__ == "__main__":
                map_items(work, range(10_000), workers=2)
            """
        )
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        _until(lambda: len(list(tmp_path.glob("started-*"))) > 2)
        children = psutil.Process(parent.pid).children(recursive=True)
    finally:
        parent.kill()
        parent.wait()
    assert len(children) >= 2
    _until(lambda: not any(_alive(child) for child in children))


def _alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(ready, seconds=60.0):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_libraries_loaded_later_have_one_thread_too():
    code = """
        from hepacast.core.executor import single_threaded
        with single_threaded():
            import numpy, scipy.sparse.linalg, scipy.linalg
            from threadpoolctl import threadpool_info
            print({entry["num_threads"] for entry in threadpool_info()})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"


class TableSum:
    """Carries a table, as a refit does."""

    def __init__(self, table):
        self.table = table

    def __call__(self, number):
        mapped = self.table
        while isinstance(mapped.base, np.ndarray):
            mapped = mapped.base
        before = float(self.table[number].sum())
        self.table[number] = 0.0
        return before, isinstance(mapped.base, memoryview)


def test_a_large_table_is_mapped_by_the_workers_and_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = np.asfortranarray(np.random.default_rng(0).normal(size=(8, 40_000)))
    before = table.copy()
    found = map_items(TableSum(table), range(8), workers=2)
    assert [value for value, _ in found] == [float(row.sum()) for row in before]
    assert all(mapped for _, mapped in found)
    np.testing.assert_array_equal(table, before)
    assert not list(tmp_path.iterdir())


def test_without_room_for_the_file_the_table_is_sent(tmp_path, monkeypatch):
    def full(file, buffer):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(executor, "_appended", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = np.random.default_rng(0).normal(size=(8, 40_000))
    found = map_items(TableSum(table), range(8), workers=2)
    assert [value for value, _ in found] == [float(row.sum()) for row in table]
    assert not any(mapped for _, mapped in found) and not list(tmp_path.iterdir())
