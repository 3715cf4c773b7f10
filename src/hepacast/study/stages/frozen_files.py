"""Names of the files of final models, and the arrays of their classifiers on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hepacast.core.files import atomic_path, read_json
from hepacast.modelling.frozen_models import FrozenModels

MODELS, CLASSIFIERS, NETWORKS = "frozen.json", "frozen.safetensors", "networks"
#: Scores that the models of a fusion join, of every patient; of training patients by fits without them.
SCORES = "scores.parquet"
#: Rule of the conformal sets of a model of another study, or why it has none.
CONFORMAL = "conformal.json"


def write_arrays(folder: Path, models: FrozenModels) -> None:
    """Write the arrays of all classifiers, where the models read any."""
    if not models.parts:
        return
    from safetensors.numpy import save_file

    with atomic_path(folder / CLASSIFIERS) as temporary:
        save_file({name: np.ascontiguousarray(item) for name, item in models.arrays().items()}, temporary)


def read_frozen(folder: Path) -> FrozenModels:
    """The final models as a stage has written them, with the arrays of their classifiers."""
    arrays = folder / CLASSIFIERS
    if not arrays.is_file():
        return FrozenModels.from_dict(read_json(folder / MODELS))
    from safetensors.numpy import load_file

    return FrozenModels.from_dict(read_json(folder / MODELS), load_file(arrays))
