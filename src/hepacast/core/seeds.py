"""One seed in the study file; every random choice takes its own stream from it.

A stream is named by what it is for (`"nested-cv", repeat, fold`), not by the order in which it is asked for,
so the numbers do not depend on the number of workers or on which stages were cached.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: object) -> int:
    """A 32-bit seed for one purpose (SHA-256 of the study's seed and the purpose's words)."""
    text = "\x1f".join([str(int(seed)), *(str(word) for word in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:4], "big")


def rng(seed: int, *purpose: object) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))
