"""Time and memory of networks for one patient at real size: crop, prediction, Grad-CAM, one training step.

    python benchmarks/deep.py [--json FILE]

A CT of 512 x 512 x 120 voxels (0.75 x 0.75 x 2.5 mm) and an MR of three phases (320 x 260 x 80, 1.2 x 1.2 x 3 mm) of
random values with a ball for a tumor: time and memory do not depend on what is in them. Each case runs in a process of
its own, on one thread; memory is the process's peak, PyTorch itself included.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

CASES = {
    "CT, resnet18 width 32, 32 x 96 x 96": (1, {"size": (32, 96, 96)}, {"encoder": "resnet18", "width": 32}),
    "CT, resnet34 width 32, 32 x 96 x 96": (1, {"size": (32, 96, 96)}, {"encoder": "resnet34", "width": 32}),
    "CT, resnet18 2.5D, 32 x 96 x 96": (
        1, {"size": (32, 96, 96)}, {"encoder": "resnet18", "width": 32, "dimensions": "2.5d"}
    ),
    "CT, demo (resnet10 width 8), 32 x 32 x 32": (
        1, {"size": (32, 32, 32)}, {"encoder": "resnet10", "width": 8, "stages": 3}
    ),
    "MR, 3 phases, resnet18 width 32, 32 x 96 x 96": (3, {"size": (32, 96, 96)}, {"encoder": "resnet18", "width": 32}),
}  # fmt: skip


def _measure(name: str, queue: Any) -> None:
    import numpy as np
    import torch

    from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, Targets, TrainedNetwork, TrainingSpec, crop_patient
    from hepacast.deep.batches import Learner
    from hepacast.deep.explain import grad_cam
    from hepacast.deep.training import new_network
    from hepacast.imaging import Geometry, Volume

    torch.set_num_threads(1)
    phases, crop_rules, network_rules = CASES[name]
    if phases == 1:
        grid = Geometry((512, 512, 120), (0.75, 0.75, 2.5))
    else:
        grid = Geometry((320, 260, 80), (1.2, 1.2, 3.0))
    generator = np.random.default_rng(1)
    images = {
        f"phase {number}": Volume(generator.integers(-100, 250, grid.shape, dtype=np.int16), grid)
        for number in range(phases)
    }
    mask = np.zeros(grid.shape, dtype=bool)
    k, j, i = (side // 2 for side in grid.shape)
    mask[k - 8 : k + 8, j - 30 : j + 30, i - 30 : i + 30] = True
    spec = DeepSpec(
        crop=CropSpec(**crop_rules), network=NetworkSpec(**network_rules), training=TrainingSpec(batch=2, device="cpu")
    )
    times: dict[str, float] = {}

    def clock(label: str, work: Any) -> Any:
        begin = time.process_time()
        value = work()
        times[label] = time.process_time() - begin
        return value

    crop = clock("crop", lambda: crop_patient(images, {"tumor": Volume(mask, grid)}, spec))
    network = new_network(spec, crop.shape[0], 0, 1)
    trained = TrainedNetwork(
        spec.network, crop.shape[0], {key: value.numpy() for key, value in network.state_dict().items()}
    )
    clock("predict", lambda: trained.apply(crop[None]))
    predicting = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    clock("grad-cam", lambda: grad_cam(trained, crop))
    crops = np.stack([crop, crop])
    targets = Targets(np.array([0.0, 1.0]), masks=np.zeros((2, *crop.shape[1:]), dtype=bool))
    learner = Learner(crops, targets, np.array([0, 1]), spec, "cpu")
    rows = np.array([0, 1])

    def step() -> None:
        loss, _ = learner.loss(network.train(), torch.from_numpy(crops), learner.masks(rows), rows)
        loss.backward()

    clock("train", step)
    times["train"] /= 2
    training = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    queue.put({"case": name, **times, "predict_bytes": predicting, "train_bytes": training})


def main() -> None:
    """Measure every case and print the table of the guide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    print("| patient | crop (s) | predict (s) | Grad-CAM (s) | training step (s) | memory | memory in training |")
    print("|---|---|---|---|---|---|---|")
    for name in CASES:
        queue = context.Queue()
        process = context.Process(target=_measure, args=(name, queue))
        process.start()
        row = queue.get()
        process.join()
        rows.append(row)
        times = " | ".join(f"{row[key]:.2f}" for key in ("crop", "predict", "grad-cam", "train"))
        print(
            f"| {name} | {times} | {row['predict_bytes'] / 1e9:.2f} GB | {row['train_bytes'] / 1e9:.2f} GB |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
