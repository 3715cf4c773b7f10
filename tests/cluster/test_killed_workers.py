"""Workers killed hard at random, twenty times: the results are those of one process."""

import random
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed")
sys.path.insert(0, str(Path(__file__).parent))

from work import slow_draw

from hepacast.core.cluster import on_cluster
from hepacast.core.executor import map_items

pytestmark = pytest.mark.cluster
KILLS = 20


def workers():
    """Processes of the workers, also of those that are just beginning."""
    return [process for process in psutil.Process().children() if "spawn_main" in " ".join(process.cmdline())]


def test_twenty_workers_killed_at_random(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(f"kind: local\nworkers: 2\nmemory: 2 GB\nfolder: {tmp_path}\n")
    chance, killed, ended = random.Random(7), [], threading.Event()
    with on_cluster(file):

        def kill():
            while len(killed) < KILLS and not ended.wait(chance.uniform(1.0, 8.0)):
                with suppress(Exception):
                    process = chance.choice(workers())
                    process.kill()
                    killed.append(process.pid)

        striker = threading.Thread(target=kill)
        striker.start()
        expected = [slow_draw(seed) for seed in range(40)]
        began = time.monotonic()
        while len(killed) < KILLS and time.monotonic() - began < 800:
            assert map_items(slow_draw, range(40), workers=0) == expected
        ended.set()
        striker.join()
    assert len(killed) == KILLS
    assert len(set(killed)) == KILLS, "every one was another process"
