"""The tests of segmentation need PyTorch and nnU-Net only where they say so."""

from __future__ import annotations

import sys
from pathlib import Path

# `tiny_model` lies beside the tests; importlib mode puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
