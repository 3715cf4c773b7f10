"""Names of the files of final models, and the arrays of their classifiers on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hepacast.core.files import atomic_path, read_json
from hepacast.modelling.frozen_logistic import FrozenLinear
from hepacast.modelling.frozen_models import FrozenModels

MODELS, CLASSIFIERS, NETWORKS = "frozen.json", "frozen.safetensors", "networks"
#: Scores that the models of a fusion join, of every patient; of training patients by fits without them.
SCORES = "scores.parquet"
#: Rule of the conformal sets of a model of another study, or why it has none.
CONFORMAL = "conformal.json"


def model_folder(modelling: Path, place: int) -> Path:
    """Where what belongs to one of several bundles is, by its place: of the first one the stage's folder itself."""
    return modelling if place == 0 else modelling / f"model-{place + 1}"


def read_regressions(modelling: Path) -> dict[str, FrozenLinear]:
    """The final models by name, of all bundles where several are applied; none of networks."""
    folders = (modelling, *sorted(modelling.glob("model-*")))
    frozen = [read_frozen(folder) for folder in folders if (folder / MODELS).is_file()]
    return {name: model for item in frozen for name, model in item.models.items()}


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
