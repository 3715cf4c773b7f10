"""Workers killed hard at random, twenty times: the results are those of one process."""

import os
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


def processes_of(made):
    """Processes of the workers that may be given work."""
    found = made.client.run(os.getpid, workers=list(made.workers), on_error="ignore")
    return sorted(found.values())


def test_twenty_workers_killed_at_random(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(f"kind: local\nworkers: 2\nmemory: 2 GB\nfolder: {tmp_path}\n")
    chance, killed, ended = random.Random(7), [], threading.Event()
    with on_cluster(file) as made:

        def kill():
            while len(killed) < KILLS and not ended.wait(chance.uniform(0.5, 2.0)):
                with suppress(Exception):
                    process = chance.choice(processes_of(made))
                    psutil.Process(process).kill()
                    killed.append(process)

        striker = threading.Thread(target=kill)
        striker.start()
        rounds, expected = 0, [slow_draw(seed) for seed in range(40)]
        began = time.monotonic()
        while len(killed) < KILLS and time.monotonic() - began < 800:
            assert map_items(slow_draw, range(40), workers=0) == expected
            rounds += 1
        ended.set()
        striker.join()
    assert len(killed) == KILLS
    assert len(set(killed)) == KILLS, "every one was another process"
