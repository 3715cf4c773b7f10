"""A trained nnU-Net as a folder of its own: what is applied to a new patient, and how."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hepacast.core.files import atomic_folder, write_json
from hepacast.errors import ModelError
from hepacast.segmentation.nnunet.model import CHOICE, HOW, LARGEST_PIECE, NnunetModel
from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter

_STEPS = Path("ensembles", "chosen", "postprocessing.json")


def export_segmenter(segmenter: NnunetSegmenter, folder: str | Path) -> None:
    """Write what a segmenter applies, so that ``nnunet:FOLDER`` gives its masks on another computer.

    Parameters
    ----------
    segmenter
        Of a training here, or of any model folder.
    folder
        Becomes a folder as nnU-Net's results of a dataset: a model, or the two of a mean, with the folds that are used,
        the postprocessing, mirroring and channels.

    Raises
    ------
    ModelError
        A model's folder is not named as nnU-Net names it.
    """
    with atomic_folder(Path(folder)) as target:
        for model in segmenter.stages():
            _copy(model, target / model.folder.name)
        chosen = []
        for model in segmenter.applied.models:
            parts = model.folder.name.split("__")
            if len(parts) != 3:
                raise ModelError(
                    "The folder of this model is not named as nnU-Net names it.",
                    expected="TRAINER__PLANS__CONFIGURATION",
                    found=model.folder.name,
                )
            trainer, plans, configuration = parts
            chosen.append({"trainer": trainer, "plans_identifier": plans, "configuration": configuration})
        groups = [list(group) for group in segmenter.applied.largest]
        steps = {
            "postprocessing_fns": [LARGEST_PIECE] * len(groups),
            "postprocessing_kwargs": [{"labels_or_regions": group} for group in groups],
        }
        write_json(target / _STEPS, steps)
        best = {"selected_model_or_models": chosen, "postprocessing_file": str(_STEPS.with_suffix(".pkl"))}
        write_json(target / CHOICE, {"best_model_or_ensemble": best, HOW: segmenter.how()})


def _copy(model: NnunetModel, target: Path) -> None:
    """Plans and networks; networks, which are large, as links where the file system has them."""
    target.mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        # nnU-Net writes these again in place, and would change what is linked.
        shutil.copyfile(model.folder / name, target / name)
    for file in model.files:
        copy = target / file.relative_to(model.folder)
        copy.parent.mkdir()
        try:
            os.link(file, copy)
        except OSError:
            shutil.copyfile(file, copy)
