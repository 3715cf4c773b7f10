"""What workers do in these tests; a module that other machines' processes import."""

import os
import time

import numpy as np


def slow_draw(seed):
    """Half a second of linear algebra and of waiting, the same for everyone."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(150, 150))
    time.sleep(0.3)
    return float((matrix @ matrix.T)[7, 11]), seed


def place_of(item):
    time.sleep(0.2)
    return os.environ.get("SLURM_JOB_ID"), item


def nothing(item):
    return item
