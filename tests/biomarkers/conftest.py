"""Biomarkers: the phantom of balls."""

from __future__ import annotations

import sys
from pathlib import Path

# `ball_phantom` lies beside the tests; importlib mode puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
