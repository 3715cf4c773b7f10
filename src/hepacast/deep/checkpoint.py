"""Where a stopped training goes on: one safetensors file with weights, averages and moments, and JSON in its header.

No state of a random generator is kept: every draw comes from a stream named by epoch and patient.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hepacast.core.files import atomic_path
from hepacast.core.kept import is_kept, seal

State = dict[str, Tensor]


def save_checkpoint(
    path: Path, network: nn.Module, average: State, best: State | None, optimizer: torch.optim.Optimizer, facts: Any
) -> None:
    """Write everything that the next epoch needs, atomically."""
    tensors: State = {f"model.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    tensors |= {f"best.{name}": value for name, value in (best or {}).items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in moments.items()}
    kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(kept, temporary, {"hepacast": json.dumps(facts)})
    seal(path)


def load_checkpoint(
    path: Path, key: str, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[State, State | None, Any] | None:
    """Average, best weights and facts, with network and optimizer set; None where there is nothing to go on from.

    A damaged file, or one of another training (`key`), counts as nothing: the training starts anew.
    """
    if not is_kept(path):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["hepacast"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    if facts.get("key") != key:
        return None
    network.load_state_dict(_part(tensors, "model."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "adam.").items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    device = next(network.parameters()).device
    average = {name: value.to(device) for name, value in _part(tensors, "average.").items()}
    best = {name: value.to(device) for name, value in _part(tensors, "best.").items()}
    return average, best or None, facts


def _part(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
