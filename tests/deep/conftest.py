"""A tiny cohort of crops: a cube whose brightness is the outcome, and a network that is trained in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, Targets, TrainingSpec

pytest.importorskip("torch")

SIDE = 16


@pytest.fixture(scope="session")
def cubes() -> tuple[np.ndarray, Targets]:
    """24 crops of 16^3 voxels; the cube is brighter in patients with the event."""
    generator = np.random.default_rng(5)
    n = 24
    outcome = np.arange(n) % 2.0
    crops = 0.2 * generator.standard_normal((n, 1, SIDE, SIDE, SIDE)).astype(np.float32)
    masks = np.zeros((n, SIDE, SIDE, SIDE), dtype=bool)
    for row in range(n):
        z, y, x = generator.integers(2, 7, size=3)
        masks[row, z : z + 7, y : y + 7, x : x + 7] = True
    crops[:, 0] += masks * (0.8 + 0.8 * outcome[:, None, None, None]).astype(np.float32)
    return crops, Targets(outcome=outcome, masks=masks)


@pytest.fixture(scope="session")
def small() -> DeepSpec:
    """Crop, network and training for tests."""
    return DeepSpec(
        crop=CropSpec(size=(SIDE, SIDE, SIDE)),
        network=NetworkSpec(encoder="resnet10", width=4, stages=2, stem_stride=1, features=8, dropout=0.1),
        training=TrainingSpec(epochs=4, batch=6, learning_rate=5e-3, warmup_epochs=1, inner_fraction=0.0, ema=0.8),
    )
