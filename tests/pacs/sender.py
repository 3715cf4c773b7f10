"""A scanner that sends folders until every image is acknowledged: ``sender.py AET@HOST:PORT FOLDER...``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hepacast.errors import HepacastError
from hepacast.pacs.connect import make_peer
from hepacast.pacs.peer import instances_of


def push(address: str, files: list[Path], seconds: float = 60.0) -> None:
    """Send again until every image is acknowledged.

    Raises
    ------
    SystemExit
        Some are not, in that time.
    """
    peer, left, end = make_peer(address, calling="SENDER"), instances_of(files), time.time() + seconds
    while left:
        try:
            failed = peer.store(left)
            left = [item for item in left if item.uid in failed]
        except (HepacastError, RuntimeError, OSError):
            time.sleep(0.1)
        if time.time() > end:
            raise SystemExit(f"{len(left)} images were not acknowledged")


if __name__ == "__main__":
    for folder in sys.argv[2:]:
        push(sys.argv[1], sorted(Path(folder).iterdir()), 400.0)
        time.sleep(3.0)
