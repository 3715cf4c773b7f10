"""A trained nnU-Net folder: what it holds, its identity, and the facts for the architecture figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json
from hepacast.core.hashing import hash_file, hash_value
from hepacast.errors import ModelError, StudyFileError

#: Readers that hand nnU-Net the array as it is stored, and the one that turns it first.
_AS_STORED = ("SimpleITKIO", "NibabelIO")
_TURNED = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


@dataclass(frozen=True)
class NnunetModel:
    """Folder with ``plans.json``, ``dataset.json`` and ``fold_*``, trained here or by stock nnU-Net v2.

    Parameters
    ----------
    folder
        The folder.
    folds
        Folds to use together.
    checkpoint
        File name in each fold.
    """

    folder: Path
    folds: tuple[int | str, ...]
    checkpoint: str = "checkpoint_final.pth"

    @cached_property
    def plans(self) -> dict[str, Any]:
        """nnU-Net's plans."""
        return read_json(self.folder / "plans.json")

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """nnU-Net's dataset description."""
        return read_json(self.folder / "dataset.json")

    @cached_property
    def configuration_name(self) -> str:
        """From the folder's name (``Trainer__Plans__3d_fullres``), else the only configuration there is."""
        name = self.folder.name.split("__")[-1]
        known = list(self.plans["configurations"])
        if name in known:
            return name
        from hepacast.segmentation.nnunet.checkpoints import load_checkpoint

        found = load_checkpoint(self.files[0]).get("init_args", {}).get("configuration")
        if found in known:
            return str(found)
        raise ModelError(
            "It is not clear which of nnU-Net's configurations this folder holds.",
            expected=f"a folder name that ends in __{' or __'.join(known)}",
            where=str(self.folder),
        )

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The plan of the configuration, inheritance resolved."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        manager = PlansManager(self.plans).get_configuration(self.configuration_name)
        return dict(manager.configuration)

    @property
    def files(self) -> list[Path]:
        """The checkpoints."""
        return [self.folder / f"fold_{fold}" / self.checkpoint for fold in self.folds]

    @cached_property
    def labels(self) -> dict[str, int]:
        """Value of each structure in the label map; regions are named by the label that they end up with."""
        order = self.dataset.get("regions_class_order")
        values: dict[str, int] = {}
        position = 0
        for name, value in self.dataset["labels"].items():
            if name in ("background", "ignore"):
                continue
            values[name] = int(order[position]) if order else int(value)
            position += 1
        return values

    @property
    def regions(self) -> list[int] | None:
        """Labels of the outputs of a model that was trained on overlapping regions."""
        order = self.dataset.get("regions_class_order")
        return [int(value) for value in order] if order else None

    @property
    def turned(self) -> bool:
        """Whether the images are to be turned to RAS first."""
        return self.plans.get("image_reader_writer", "SimpleITKIO") in _TURNED

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the checkpoints, plans and labels: two equal identities give equal masks."""
        weights = [hash_file(path) for path in self.files]
        return hash_value([weights, self.plans, self.dataset["labels"], self.configuration_name])

    def network(self) -> dict[str, Any]:
        """Facts of the network for the architecture figure."""
        configuration = self.configuration
        architecture = configuration["architecture"]["arch_kwargs"]
        return {
            "class": configuration["architecture"]["network_class_name"].split(".")[-1],
            "configuration": self.configuration_name,
            "features_per_stage": list(architecture["features_per_stage"]),
            "strides": [list(stride) for stride in architecture["strides"]],
            "kernels": [list(kernel) for kernel in architecture["kernel_sizes"]],
            "convs_per_stage": architecture.get("n_conv_per_stage") or architecture.get("n_blocks_per_stage"),
            "convs_per_stage_decoder": architecture["n_conv_per_stage_decoder"],
            "patch_size": list(configuration["patch_size"]),
            "batch_size": configuration["batch_size"],
            "spacing_mm": [float(value) for value in configuration["spacing"]],
            "normalization": list(configuration["normalization_schemes"]),
            "classes": self.labels,
            "folds": list(self.folds),
        }


def open_model(
    folder: str | Path, folds: Sequence[int | str] | None = None, checkpoint: str = "checkpoint_final.pth"
) -> NnunetModel:
    """Find a trained nnU-Net in a folder.

    Parameters
    ----------
    folder
        The folder with ``plans.json``, or one above it that holds exactly one such folder.
    folds
        Which folds to use; by default every ``fold_N`` that has the checkpoint, else ``fold_all``.

    Raises
    ------
    ModelError
        It is not such a folder, a checkpoint is missing, or the model needs something that is not supported here
        (several input channels, a cascade, an unknown reader).
    """
    root = _locate(Path(folder))
    chosen = tuple(folds) if folds is not None else _find_folds(root, checkpoint)
    model = NnunetModel(root, chosen, checkpoint)
    missing = [str(path.relative_to(root)) for path in model.files if not path.is_file()]
    if missing or not chosen:
        raise ModelError(
            "The segmentation model is not complete.",
            expected=f"{checkpoint} in each fold",
            found=f"missing: {', '.join(missing)}" if missing else "no fold",
            where=str(root),
            remedy="let the training finish, or choose the folds that are there",
        )
    _require_supported(model)
    return model


def _locate(folder: Path) -> Path:
    if (folder / "plans.json").is_file():
        return folder
    found = sorted(path.parent for path in folder.rglob("plans.json")) if folder.is_dir() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise StudyFileError(
            "The folder holds several nnU-Net models.",
            expected="the folder of one model",
            found=", ".join(str(path.relative_to(folder)) for path in found),
            where=str(folder),
        )
    raise ModelError(
        "This is not the folder of a trained nnU-Net v2.",
        expected="a folder with plans.json, dataset.json, fold_0 ...",
        where=str(folder),
    )


def _find_folds(root: Path, checkpoint: str) -> tuple[int | str, ...]:
    numbers = sorted(
        int(path.parent.name[5:]) for path in root.glob(f"fold_*/{checkpoint}") if path.parent.name[5:].isdigit()
    )
    if numbers:
        return tuple(numbers)
    return ("all",) if (root / "fold_all" / checkpoint).is_file() else ()


def _require_supported(model: NnunetModel) -> None:
    def refuse(what: str, remedy: str) -> ModelError:
        return ModelError(f"This nnU-Net model {what}.", where=str(model.folder), remedy=remedy)

    channels = model.dataset.get("channel_names") or model.dataset.get("modality") or {}
    if len(channels) > 1:
        raise refuse(
            f"needs {len(channels)} images at once ({', '.join(channels.values())})",
            "give a model that was trained on one image",
        )
    reader = model.plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in (*_AS_STORED, *_TURNED):
        raise refuse(f"was trained with the reader {reader}", f"known readers: {', '.join((*_AS_STORED, *_TURNED))}")
    plan = model.plans["configurations"].get(model.configuration_name, {})
    if plan.get("previous_stage"):
        raise refuse("is the second stage of a cascade", "give the folder of its 3d_fullres or 3d_lowres configuration")
