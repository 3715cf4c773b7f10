"""Read nnU-Net's ``.pth`` checkpoints without running what may be pickled in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from hepacast.errors import ModelError


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint with ``weights_only=True``.

    nnU-Net stores NumPy numbers in its training log, so NumPy's scalar types are allowed besides tensors and plain
    Python values; nothing else is. nnU-Net's own loader would unpickle, that is execute, whatever the file holds.

    Raises
    ------
    ModelError
        The file is missing, damaged, or holds something other than tensors and plain values.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise ModelError(
            "A checkpoint of the segmentation model is missing.",
            expected=path.name,
            where=str(path.parent),
            remedy="give the folder that holds plans.json, dataset.json and fold_0, fold_1 ...",
        )
    try:
        with torch.serialization.safe_globals(_allowed()):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ModelError(
            "A checkpoint of the segmentation model cannot be read.",
            expected="a checkpoint of nnU-Net v2 with tensors and plain values only",
            found=str(error).strip().splitlines()[0][:300],
            where=str(path),
            remedy="copy the file again; a checkpoint that holds other objects is refused, since loading it would run "
            "code from the file",
        ) from error
    if not isinstance(checkpoint, dict) or "network_weights" not in checkpoint:
        raise ModelError(
            "This file is not a checkpoint of nnU-Net v2.", expected="key 'network_weights'", where=str(path)
        )
    return checkpoint


def plain_weights(weights: dict[str, Any]) -> dict[str, Any]:
    """The weights under the network's own names, without what parallel training and compiling put before them."""
    return {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()}


def _allowed() -> list[Any]:
    import numpy as np
    from numpy._core import multiarray

    kinds = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
    return [
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (multiarray.scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *kinds,
    ]
