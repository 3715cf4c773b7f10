"""A trained nnU-Net folder: what it holds, its identity, and the facts for the architecture figure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json
from hepacast.core.hashing import hash_file, hash_value
from hepacast.errors import ModelError, StudyFileError

#: Readers that hand nnU-Net the array as it is stored, and the one that turns it first.
_AS_STORED = ("SimpleITKIO", "NibabelIO")
_TURNED = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")

#: What nnU-Net writes beside its models when it has chosen among them, and the only postprocessing that it knows.
CHOICE = "inference_information.json"
LARGEST_PIECE = "remove_all_but_largest_component_from_segmentation"

#: Entry of that file: how this package applies the models.
HOW = "hepacast"

#: Entry of dataset.json: the sequence of each channel, as this package's trainings name them.
SEQUENCES = "sequences"

#: Names in plans.json are imported by nnU-Net, whatever they are: networks and layers only.
_NETWORK = re.compile(r"dynamic_network_architectures\.(\w+\.)*\w+")
_LAYER = re.compile(r"torch\.nn\.(modules\.\w+\.)?[A-Z]\w*")


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

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Name of each input: the sequences that this package trained on, else nnU-Net's own names."""
        names = self.dataset.get(SEQUENCES) or self.dataset.get("channel_names") or self.dataset.get("modality") or {}
        return tuple(str(names[key]) for key in sorted(names, key=int)) or ("image",)

    @property
    def in_hounsfield(self) -> tuple[bool, ...]:
        """Which inputs are CT in HU."""
        return tuple(scheme == "CTNormalization" for scheme in self.configuration["normalization_schemes"])

    @cached_property
    def previous(self) -> NnunetModel | None:
        """The first stage of a cascade, in the folder beside this one; None for other configurations.

        Raises
        ------
        ModelError
            It is not there, or lacks a fold.
        """
        stage = self.configuration.get("previous_stage")
        if stage is None:
            return None
        return open_model(self.folder.parent / f"{self.folder.name.rpartition('__')[0]}__{stage}", self.folds)

    @property
    def turned(self) -> bool:
        """Whether the images are to be turned to RAS first."""
        return self.plans.get("image_reader_writer", "SimpleITKIO") in _TURNED

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the checkpoints, plans and labels: two equal identities give equal masks."""
        weights = [hash_file(path) for path in self.files]
        before = None if self.previous is None else self.previous.identity
        return hash_value([weights, self.plans, self.dataset["labels"], self.channels, self.configuration_name, before])

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
            "channels": list(self.channels),
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
        (an unknown reader, a network of another package).
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
    # Folders of results and of ensembles hold a copy of the plans too.
    plans = folder.rglob("plans.json") if folder.is_dir() else ()
    found = sorted(path.parent for path in plans if any(path.parent.glob("fold_*")))
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

    reader = model.plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in (*_AS_STORED, *_TURNED):
        raise refuse(f"was trained with the reader {reader}", f"known readers: {', '.join((*_AS_STORED, *_TURNED))}")
    require_known_parts(model.plans, str(model.folder))


def require_known_parts(plans: Any, where: str) -> None:
    """Refuse plans that name anything but networks and layers: nnU-Net imports, and calls, what they name.

    Raises
    ------
    ModelError
        A name is none of ``dynamic_network_architectures`` or ``torch.nn``.
    """
    for configuration in plans["configurations"].values():
        architecture = configuration.get("architecture")
        if architecture is None:
            continue
        names = [(_NETWORK, architecture["network_class_name"])]
        arguments = architecture["arch_kwargs"]
        names += [(_LAYER, arguments.get(key)) for key in architecture["_kw_requires_import"]]
        for pattern, name in names:
            if name is not None and not pattern.fullmatch(str(name)):
                raise ModelError(
                    "The plans of this nnU-Net model name something that is no network and no layer.",
                    expected="names of dynamic_network_architectures and torch.nn",
                    found=str(name)[:100],
                    where=where,
                    remedy="nothing but networks is imported from a model's files; ask who made it",
                )


@dataclass(frozen=True)
class AppliedModels:
    """What is applied together: one model, or the mean of two, and the postprocessing.

    Parameters
    ----------
    models
        Their probabilities are averaged.
    largest
        Groups of label values of which only the largest piece is kept, one after the other.
    how
        Options of the segmenter that are stored beside the models.
    """

    models: tuple[NnunetModel, ...]
    largest: tuple[tuple[int, ...], ...] = ()
    how: Mapping[str, Any] = field(default_factory=dict)


def open_models(
    folder: str | Path, folds: Sequence[int | str] | None = None, checkpoint: str = "checkpoint_final.pth"
) -> AppliedModels:
    """Find what is to be applied: one model's folder, or a dataset's folder whose choice nnU-Net has made.

    Parameters
    ----------
    folder
        As in `open_model`; or the folder above several models with ``inference_information.json``, which
        ``nnUNetv2_find_best_configuration`` and the trainings of this package write.

    Raises
    ------
    ModelError
        As `open_model`; or the chosen models cannot be averaged.
    """
    root = Path(folder)
    if not (root / CHOICE).is_file():
        return AppliedModels((open_model(root, folds, checkpoint),))
    content = read_json(root / CHOICE)
    best = content["best_model_or_ensemble"]
    chosen = [
        f"{m['trainer']}__{m['plans_identifier']}__{m['configuration']}" for m in best["selected_model_or_models"]
    ]
    models = tuple(open_model(root / name, folds, checkpoint) for name in chosen)
    first = models[0]
    for other in models[1:]:
        same = (first.labels, first.regions, first.channels, first.turned, first.plans["transpose_forward"])
        if same != (other.labels, other.regions, other.channels, other.turned, other.plans["transpose_forward"]):
            raise ModelError(
                "The two models of this ensemble do not fit together.",
                expected="the same structures, channels and orientation",
                found=", ".join(chosen),
                where=str(root),
            )
    return AppliedModels(models, tuple(_largest_pieces(root, best.get("postprocessing_file"))), content.get(HOW, {}))


def _largest_pieces(root: Path, file: str | None) -> Iterator[tuple[int, ...]]:
    """nnU-Net's postprocessing, from the JSON beside its pickle (which is not opened)."""
    if not file:
        return
    parts = file.replace("\\", "/").split("/")
    steps = read_json(root.joinpath(*parts[-3:-1], "postprocessing.json"))
    for name, options in zip(steps["postprocessing_fns"], steps["postprocessing_kwargs"], strict=True):
        if name != LARGEST_PIECE:
            raise ModelError("This postprocessing is not known.", expected=LARGEST_PIECE, found=name, where=str(root))
        values = options["labels_or_regions"]
        nested = values if isinstance(values, list) else [values]
        yield tuple(sorted({int(v) for item in nested for v in (item if isinstance(item, list) else [item])}))
