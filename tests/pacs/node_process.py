"""A node as a process of its own, which tests kill: ``node_process.py CONFIG quick|slow|real``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from clinic import quick, real, slow

from hepacast.pacs.config import read_config
from hepacast.pacs.node import Node

if __name__ == "__main__":
    Node(read_config(sys.argv[1]), make={"quick": quick, "real": real, "slow": slow}[sys.argv[2]]).serve()
