"""About what a network costs, for the plan of a study: multiplications of one pass, and memory of a step."""

from __future__ import annotations

from hepacast.deep.spec import DeepSpec

#: Floating-point multiplications a second of one core in training of small networks (measured, benchmarks/deep.py).
_RATE = 1.5e10


def step_seconds(spec: DeepSpec) -> float:
    """Seconds that one patient's training step takes on one core."""
    return 3.0 * multiplications(spec) / _RATE


def multiplications(spec: DeepSpec) -> float:
    """Of one forward pass, about: the residual stages, and as much again for a decoder."""
    depth = {"resnet10": 1, "resnet18": 2, "resnet34": 3.5, "resnet50": 3.5, "liver-cnn": 1}[spec.network.encoder]
    taps = 9 if spec.network.dimensions == "2.5d" else 27
    voxels = _voxels(spec) / (1 if spec.network.stem_stride == 1 else 4 if taps == 9 else 8)
    total = 0.0
    for stage in range(spec.network.stages):
        width = spec.network.width * 2**stage
        total += 2 * depth * voxels * taps * width * width
        voxels /= 4 if taps == 9 else 8
    last = _voxels(spec) * 27 * spec.network.width * max(spec.network.width // 2, 4)
    return total + (total + last if spec.network.segments else 0.0) + 5e6


def training_bytes(spec: DeepSpec) -> float:
    """Peak memory of one training process, about: PyTorch itself, and the maps kept for the backward pass."""
    maps = _voxels(spec) * 4 * spec.network.width * 6 / (1 if spec.network.stem_stride == 1 else 4)
    return 5e8 + maps * spec.training.batch


def _voxels(spec: DeepSpec) -> float:
    z, y, x = spec.crop.size
    return float(z * y * x)
