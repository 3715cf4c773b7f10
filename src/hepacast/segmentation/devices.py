"""Which device to compute on, and with how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def default_device() -> str:
    """``cuda`` if there is such a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def visible_gpus() -> list[str]:
    """Each GPU of this process as ``CUDA_VISIBLE_DEVICES`` names it; empty without one."""
    import torch

    count = torch.cuda.device_count()
    named = [item.strip() for item in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if item.strip()]
    return named[:count] if len(named) >= count > 0 else [str(number) for number in range(count)]


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """PyTorch's thread number for a while; None leaves it."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
