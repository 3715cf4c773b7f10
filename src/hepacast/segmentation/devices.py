"""Which device to compute on, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def default_device() -> str:
    """``cuda`` if there is such a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


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
