"""About what a network costs, for the plan of a study: multiplications of one pass, and memory of a step."""

from __future__ import annotations

from hepacast.deep.spec import DeepSpec

#: Floating-point multiplications a second of one core in training of small networks (measured, benchmarks/deep.py).
_RATE = 1.5e10


def step_seconds(spec: DeepSpec) -> float:
    """Seconds that one patient's training step takes on one core."""
    return 3.0 * multiplications(spec) / _RATE


def multiplications(spec: DeepSpec) -> float:
    """Of one forward pass, about: the residual stages, and the decoder's two convolutions a level."""
    network = spec.network
    depth = {"resnet10": 1, "resnet18": 2, "resnet34": 3.5, "resnet50": 3.5, "liver-cnn": 1}[network.encoder]
    wide = network.encoder == "resnet50" and network.expansion == 4
    axes = 2 if network.dimensions == "2.5d" else 3
    taps = 3**axes
    voxels = _voxels(spec) / network.reduction**axes
    total = _voxels(spec) * taps * network.width * (15 if network.stem == "resnet" else 1) / 2**axes
    for stage in range(network.stages):
        width = network.width * 2**stage
        total += depth * voxels * width * width * (taps + 8 if wide else 2 * taps)
        if network.segments and stage + 1 < network.stages:
            total += 4 * voxels * taps * (width * (4 if wide else 1)) ** 2
        voxels /= 2**axes
    return total + 5e6


def training_bytes(spec: DeepSpec) -> float:
    """Peak memory of one training process, about: PyTorch itself, and the maps kept for the backward pass."""
    network = spec.network
    wide = 2 if network.encoder == "resnet50" and network.expansion == 4 else 1
    maps = _voxels(spec) * 4 * network.width * 6 * wide / network.reduction**2
    return 5e8 + maps * spec.training.batch


def _voxels(spec: DeepSpec) -> float:
    z, y, x = spec.crop.size
    return float(z * y * x)
