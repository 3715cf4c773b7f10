"""What a cluster's scheduler costs: tasks that do nothing.

    python benchmarks/cluster_overhead.py --tasks 100000 --workers 2

Workers are processes of this machine, by TLS, as `--cluster FILE` with ``kind: local`` starts them. Wall seconds, and
CPU seconds of this process (scheduler and client) and of the workers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

from hepacast.core.cluster import on_cluster
from hepacast.core.executor import map_items


def nothing(number: int) -> int:
    """A task that does nothing."""
    return number


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cluster.yaml")
        file.write_text(f"kind: local\nworkers: {options.workers}\nmemory: 2 GB\nfolder: {folder}\n")
        with on_cluster(file, say=print) as cluster:
            assert cluster is not None
            map_items(nothing, range(4 * options.workers), workers=0)
            before = sum(cluster.client.run(time.process_time).values())
            own, wall = time.process_time(), time.monotonic()
            assert map_items(nothing, range(options.tasks), workers=0) == list(range(options.tasks))
            found = {
                "tasks": options.tasks,
                "workers": options.workers,
                "wall_s": round(time.monotonic() - wall, 1),
                "scheduler_and_client_cpu_s": round(time.process_time() - own, 1),
                "workers_cpu_s": round(sum(cluster.client.run(time.process_time).values()) - before, 1),
                "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
                "load": round(os.getloadavg()[0], 1),
            }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
