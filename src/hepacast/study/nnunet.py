"""What a study asks of nnU-Net: how it is trained, on whom, what it sees of a patient, and a ready model's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.core.hashing import hash_value
from hepacast.errors import StudyFileError
from hepacast.study.context import Context
from hepacast.study.feature_settings import mask_rules
from hepacast.study.mask_files import mask_files
from hepacast.study.sequences import SequenceImage, measured_image

if TYPE_CHECKING:
    from hepacast.segmentation.nnunet import NnunetPlan, TrainedNnunet


def nnunet_plan_of(context: Context) -> NnunetPlan:
    """What the study file asks of nnU-Net, but for the weights that it begins with."""
    from hepacast.segmentation.nnunet import nnunet_plan

    images, options = context.images, context.images.segmentation.nnunet
    changes: dict[str, Any] = {}
    if options.postprocessing is not None:
        changes["postprocessing"] = options.postprocessing == "cross-validation"
    return nnunet_plan(
        options.preset,
        folds=options.folds,
        planner=options.planner,
        gpu_memory_gb=options.gpu_memory_gb,
        configurations=tuple(options.configurations),
        channels={name: images.sequences[name].modality for name in images.channels},
        precision=options.precision,
        **changes,
    )


def require_enough(context: Context, labelled: int, held_out: int) -> None:
    """Refuse to train on too few patients.

    Raises
    ------
    StudyFileError
    """
    options = context.images.segmentation
    if labelled - held_out < options.nnunet.folds * 2:
        raise StudyFileError(
            "Too few patients of the training set have an expert mask to train a network.",
            expected=f"at least {options.nnunet.folds * 2}, without the test patients",
            found=f"{labelled - held_out} of {labelled} masks at {options.masks}",
            remedy="outline more patients, or use another source of masks",
        )


def train_nnunet(context: Context, labelled: list[str], held_out: set[str]) -> TrainedNnunet:
    """nnU-Net trained in cross-validation on the labelled patients, and judged on those held out."""
    from hepacast.segmentation.nnunet import TrainingCase, train

    images, rules = context.images, mask_rules(context)
    options = images.segmentation
    assert options.masks is not None
    cases = {
        p: TrainingCase(
            p,
            {item.name: item for item in network_inputs(context, p, images.channels)},
            mask_files(context, options.masks, p).given,
            options.labels,
            rules,
        )
        for p in labelled
    }
    plan = nnunet_plan_of(context)
    if options.nnunet.start is not None:
        from hepacast.segmentation.nnunet.start import read_start

        begun = options.nnunet.start
        plan = replace(plan, start=read_start(context.path(begun.file), begun.sha256, plan))
    with context.reporter.track("training nnU-Net", counted=False) as bar:
        return train(
            plan,
            [cases[p] for p in labelled if p not in held_out],
            [cases[p] for p in labelled if p in held_out],
            context.cache / "nnunet",
            context.study.seed,
            workers=context.workers or None,
            progress=lambda share, message: bar(round(1000 * share), 1000),
        )


def network_inputs(context: Context, patient: str, channels: Sequence[str]) -> list[SequenceImage]:
    """A patient's images that a network sees, that of the masks first."""
    names = dict.fromkeys([context.images.reference, *channels])
    return [measured_image(context, patient, name) for name in names if name in context.images.sequences]


def ready_source(context: Context) -> str:
    """The segmenter's name; the folder of a trained nnU-Net as every path of the study file."""
    kind, sign, folder = context.images.segmentation.source.partition(":")
    return f"{kind}:{context.path(folder)}" if kind == "nnunet" and sign else context.images.segmentation.source


def ready_options(context: Context) -> dict[str, Any]:
    """Options of a segmenter that is not trained here."""
    options = context.images.segmentation
    found: dict[str, Any] = {} if options.weights is None else {"weights": str(context.path(options.weights))}
    if options.source.startswith("nnunet:"):
        if options.nnunet.channels:
            found["channels"] = tuple(options.nnunet.channels)
        if options.nnunet.precision is not None:
            found["precision"] = options.nnunet.precision
    return found


def model_hashes(context: Context) -> dict[str, str]:
    """The files of a trained nnU-Net that is applied; nothing for another source of masks."""
    kind, _, folder = ready_source(context).partition(":")
    if kind != "nnunet" or not folder:
        return {}
    files = sorted(file for name in ("*.json", "*.pth") for file in Path(folder).rglob(name))
    content = [[file.relative_to(folder).as_posix(), context.fingerprints.of(file)] for file in files]
    return {"nnU-Net": hash_value(content)}


def require_network_files(context: Context) -> None:
    """Before anything is started: the folder of a trained nnU-Net, the checkpoint to begin with.

    Raises
    ------
    StudyFileError
        It is not there.
    """
    options = context.images.segmentation
    kind, _, folder = ready_source(context).partition(":")
    wanted: dict[str, Path] = {}
    if kind == "nnunet" and folder:
        wanted["segmentation.source"] = Path(folder)
    if options.source == "nnunet" and options.nnunet.start is not None:
        wanted["segmentation.nnunet.start.file"] = context.path(options.nnunet.start.file)
    for where, path in wanted.items():
        if not path.exists():
            raise StudyFileError("A trained nnU-Net is not where the study file says.", found=str(path), where=where)
