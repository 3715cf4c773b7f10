"""What is trained: presets, the small network of the demo preset, and what a training will cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from hepacast.errors import StudyFileError
from hepacast.segmentation.base import SegmentationCost

#: Version of nnU-Net that the presets were measured with.
NNUNET_VERSION = "2.8.1"

Planner = Literal["default", "resenc-m", "resenc-l", "resenc-xl"]
Configuration = Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]

#: nnU-Net's experiment planner of each name; the residual encoders are planned for 9 to 11, 24 and 40 GB of GPU memory.
PLANNERS: dict[str, str] = {
    "default": "ExperimentPlanner",
    "resenc-m": "nnUNetPlannerResEncM",
    "resenc-l": "nnUNetPlannerResEncL",
    "resenc-xl": "nnUNetPlannerResEncXL",
}

#: A cascade's second stage, and the first one, whose masks it is given.
CASCADE, FIRST_STAGE = "3d_cascade_fullres", "3d_lowres"

#: Seconds per conv operation (multiply-add) and per activation value on one core of the machine that the presets
#: were measured on (AMD EPYC 7003, AVX2, float32), for one forward pass; a training step costs three.
_SECONDS_PER_MAC = 1.0 / 2.6e10
_SECONDS_PER_VALUE = 1.6e-9
_TRAINING_FACTOR = 3.0


@dataclass(frozen=True)
class SmallNetwork:
    """A U-Net small enough for a CPU, put in the place of the one that nnU-Net plans.

    Parameters
    ----------
    features
        Channels a stage.
    strides, kernels
        For each stage, along (slice, row, column).
    convs_per_stage
        Convolutions a stage, in the encoder and in the decoder.
    patch
        Largest patch, voxels along (slice, row, column); cut down to the images' median size.
    spacing
        Voxel size after resampling, mm, along (slice, row, column); None keeps nnU-Net's choice.
    batch_size
        Patches a step. PyTorch takes its slow convolution for small inputs of batch size 1, so use at least 2.
    """

    features: tuple[int, ...] = (8, 16, 32, 64)
    strides: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    kernels: tuple[tuple[int, int, int], ...] = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    convs_per_stage: int = 1
    patch: tuple[int, int, int] = (24, 48, 48)
    spacing: tuple[float, float, float] | None = (5.0, 5.0, 5.0)
    batch_size: int = 2

    @property
    def divisor(self) -> tuple[int, int, int]:
        """What each side of the patch must be a multiple of."""
        sides = [math.prod(stride[axis] for stride in self.strides) for axis in range(3)]
        return (sides[0], sides[1], sides[2])


@dataclass(frozen=True)
class Start:
    """Weights of another nnU-Net that a training begins with (`hepacast.segmentation.nnunet.start.read_start`).

    Parameters
    ----------
    sha256
        Of the checkpoint.
    dataset
        What it was trained on, in nnU-Net's words.
    configuration
        Which of nnU-Net's configurations it is.
    same_classes
        Whether it knows the same structures; else the segmentation heads begin anew.
    same_inputs
        Whether its inputs are of the same kinds (and names); else intensities are scaled as ours.
    source_channels
        Its number of input channels where ours is another; else None.
    file
        Where it lies on this machine; no part of what decides a result.
    """

    sha256: str
    dataset: str
    configuration: str
    same_classes: bool
    same_inputs: bool
    source_channels: int | None
    file: str

    def sentence(self) -> str:
        """For the Methods text."""
        text = (
            f" Training began with the weights of an nnU-Net of {self.dataset} (checkpoint with SHA-256 "
            f"{self.sha256[:12]}), whose plan (voxel size, patch, architecture) was kept"
        )
        if not self.same_classes:
            text += "; its segmentation heads, which know other structures, were initialized anew"
        if not self.same_inputs:
            text += "; its inputs were other images, and the intensity scale is our own"
        if self.source_channels is not None:
            plural = "s" if self.source_channels > 1 else ""
            text += (
                f"; every input channel began with the mean of the first kernels over its {self.source_channels} "
                f"channel{plural}"
            )
        return text + "."


@dataclass(frozen=True)
class NnunetPlan:
    """How nnU-Net is trained.

    Parameters
    ----------
    preset
        ``standard``: nnU-Net unmodified (1000 epochs of 250 iterations; for a GPU). ``fast``: the same with 100
        epochs. ``demo``: a small network with its own short recipe, for demos and tests; reports say so.
    configurations
        nnU-Net's configurations, of which cross-validation chooses; those that nnU-Net does not plan for images of
        this size (``3d_lowres`` and the cascade) are left out. A cascade trains its first stage, too.
    folds
        Cross-validation folds (at least 2).
    epochs, iterations, validation_iterations
        Length of the training of each fold; an epoch has `iterations` steps.
    network
        None: as nnU-Net plans it.
    learning_rate, foreground
        Of the demo recipe (AdamW; share of patches centered on a structure). Ignored by the other presets.
    threads
        PyTorch's threads in each fold's process. It is part of the recipe, because the order of additions, and so
        the last digits, depend on it; several folds run side by side instead. None leaves the choice to PyTorch.
    planner
        One of `PLANNERS`.
    gpu_memory_gb
        Target of the planner; None keeps its default.
    mirror_at_test
        Average over mirrored copies when predicting (nnU-Net's default; eight times the cost).
    labels
        Structures and their values.
    channels
        Modality (``CT``, ``MR``) of each input by its name: nnU-Net scales CT by the cohort's HU, other images by
        their own mean and SD.
    postprocessing
        Keep only the largest piece of structures where that raises the Dice in cross-validation.
    start
        Weights to begin with.
    precision
        Of the arithmetic when predicting (`NnunetSegmenter`).
    """

    preset: str = "standard"
    configurations: tuple[str, ...] = ("3d_fullres",)
    folds: int = 5
    epochs: int = 1000
    iterations: int = 250
    validation_iterations: int = 50
    network: SmallNetwork | None = None
    learning_rate: float | None = None
    foreground: float | None = None
    threads: int | None = None
    planner: str = "default"
    gpu_memory_gb: float | None = None
    mirror_at_test: bool = True
    labels: dict[str, int] = field(default_factory=lambda: {"parenchyma": 1, "tumor": 2})
    channels: dict[str, str] = field(default_factory=lambda: {"image": "CT"})
    postprocessing: bool = True
    start: Start | None = None
    precision: str | None = None

    @property
    def trained(self) -> tuple[str, ...]:
        """Configurations to train, in order: the first stage of a cascade comes before it."""
        if CASCADE not in self.configurations:
            return self.configurations
        others = [name for name in self.configurations if name not in (CASCADE, FIRST_STAGE)]
        return (*others, FIRST_STAGE, CASCADE)

    @property
    def trainer_name(self) -> str:
        """Name of the trainer, which is also the first part of the model folder's name."""
        return {"standard": "nnUNetTrainer", "fast": "nnUNetTrainer_100epochs"}.get(self.preset, "HepacastDemoTrainer")

    def as_dict(self) -> dict[str, Any]:
        """All settings as JSON, for hashes and reports."""
        return asdict(self)

    def deciding(self) -> dict[str, Any]:
        """All that decides a result, as JSON."""
        values = self.as_dict()
        if values["start"] is not None:
            del values["start"]["file"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NnunetPlan:
        """The plan that `as_dict` wrote."""
        network, start = values.get("network"), values.get("start")
        if network is not None:
            tuples = {k: _tuples(v) if isinstance(v, list) else v for k, v in network.items()}
            network = SmallNetwork(**tuples)
        changed = {"network": network, "start": Start(**start) if start else None}
        return cls(**{**values, **changed, "configurations": tuple(values["configurations"])})

    def sentence(self) -> str:
        """For the Methods text."""
        plural = "s" if len(self.configurations) > 1 else ""
        details = [NNUNET_VERSION, f"configuration{plural} {', '.join(self.configurations)}"]
        if self.planner != "default":
            details.append(f"residual encoder preset {self.planner.rpartition('-')[2].upper()} [@resenc]")
        if len(self.channels) > 1:
            details.append(f"input channels {', '.join(self.channels)}")
        if "MR" in self.channels.values():
            details.append(f"each {'MR ' if 'CT' in self.channels.values() else ''}image scaled by its own mean and SD")
        base = f"nnU-Net v2 ({', '.join(details)})"
        begun = "" if self.start is None else self.start.sentence()
        length = f"{self.epochs} epochs of {self.iterations} iterations"
        if self.preset == "demo":
            return (
                f"Parenchyma and tumor were segmented with {base} in hepacast's demo preset: a small U-Net "
                f"({'/'.join(str(n) for n in (self.network or SmallNetwork()).features)} features), AdamW with one "
                f"cycle of the learning rate, no augmentation, {length} in each of {self.folds} cross-validation "
                f"folds. It is meant for demonstrations, not for patients.{begun}"
            )
        manner = "without modification" if self.preset == "standard" else f"with the training cut to {length}"
        return (
            f"Parenchyma and tumor were segmented with {base} {manner}, trained in {self.folds}-fold "
            f"cross-validation; unseen cases were segmented by the ensemble of the folds.{begun}"
        )


PRESETS: dict[str, NnunetPlan] = {
    "standard": NnunetPlan("standard"),
    "fast": NnunetPlan("fast", epochs=100),
    "demo": NnunetPlan(
        "demo",
        epochs=10,
        iterations=30,
        validation_iterations=1,
        network=SmallNetwork(),
        learning_rate=6e-3,
        foreground=0.9,
        threads=1,
        mirror_at_test=False,
        postprocessing=False,
    ),
}


def nnunet_plan(preset: str = "standard", **changes: Any) -> NnunetPlan:
    """A preset, with some settings changed.

    Raises
    ------
    StudyFileError
        No preset has this name, or a setting is out of range.
    """
    if preset not in PRESETS:
        raise StudyFileError(
            f"There is no nnU-Net preset {preset!r}.", expected=", ".join(PRESETS), where="segmentation preset"
        )
    plan = replace(PRESETS[preset], **changes)
    _require_known("planner", (plan.planner,), tuple(PLANNERS))
    _require_known("configurations", plan.configurations, get_args(Configuration))
    if plan.network is not None and (plan.planner, plan.configurations) != ("default", ("3d_fullres",)):
        raise StudyFileError(
            "The demo preset has a network of its own.",
            expected="planner default, configurations [3d_fullres]",
            found=f"planner {plan.planner}, configurations {list(plan.configurations)}",
            remedy="leave them out, or take the preset fast or standard",
        )
    for name in ("folds", "epochs", "iterations", "validation_iterations"):
        least = 2 if name == "folds" else 1
        if getattr(plan, name) < least:
            raise StudyFileError(
                f"nnU-Net setting {name!r} is too small.", expected=f"at least {least}", found=str(getattr(plan, name))
            )
    return plan


def _require_known(name: str, values: Sequence[str], known: Sequence[str]) -> None:
    if not values or not set(values) <= set(known):
        raise StudyFileError(
            f"nnU-Net setting {name!r} is not known.", expected=", ".join(known), found=", ".join(values) or "nothing"
        )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def network_cost(architecture: dict[str, Any], patch: Sequence[int], classes: int) -> tuple[float, float]:
    """Multiply-adds and activation values of one forward pass over one patch.

    Parameters
    ----------
    architecture
        ``arch_kwargs`` of nnU-Net's plans (PlainConvUNet or ResidualEncoderUNet).
    patch
        Voxels a side.
    classes
        Outputs.
    """
    features = architecture["features_per_stage"]
    kernels, strides = architecture["kernel_sizes"], architecture["strides"]
    down = architecture.get("n_conv_per_stage") or [2 * n for n in architecture["n_blocks_per_stage"]]
    up = architecture["n_conv_per_stage_decoder"]
    size = [float(side) for side in patch]
    voxels: list[float] = []
    macs = values = 0.0
    previous = 1
    for stage, count in enumerate(features):
        size = [side / step for side, step in zip(size, _sides(strides[stage], len(size)), strict=True)]
        voxels.append(math.prod(size))
        taps = math.prod(_sides(kernels[stage], len(size)))
        repeats = _at(down, stage)
        macs += voxels[-1] * taps * count * (previous + (repeats - 1) * count)
        values += voxels[-1] * count * repeats
        previous = count
    for stage in range(len(features) - 2, -1, -1):
        taps = math.prod(_sides(kernels[stage], len(size)))
        count, repeats = features[stage], _at(up, stage)
        macs += voxels[stage] * count * (features[stage + 1] + taps * count * (1 + repeats))
        values += voxels[stage] * count * (2 + repeats)
    return macs + voxels[0] * features[0] * classes, values + voxels[0] * classes


def _sides(value: Any, dimensions: int) -> list[int]:
    return [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)] * dimensions


def _at(counts: Any, stage: int) -> int:
    return int(counts[stage]) if isinstance(counts, list | tuple) else int(counts)


def forward_seconds(architecture: dict[str, Any], patch: Sequence[int], classes: int, cores: int) -> float:
    """Rough time of one forward pass on CPU cores like those measured."""
    macs, values = network_cost(architecture, patch, classes)
    return (macs * _SECONDS_PER_MAC + values * _SECONDS_PER_VALUE) / max(1, cores)


def estimate_training(
    plan: NnunetPlan, *, cases: int, voxels_per_case: float, cores: int | None = None
) -> SegmentationCost:
    """Time and memory of planning, training all folds and predicting validation cases, on CPU cores alone.

    Parameters
    ----------
    plan
        The preset with its changes.
    cases
        Labelled patients used for cross-validation.
    voxels_per_case
        Typical image size.
    cores
        CPU cores; by default those of this machine.

    Notes
    -----
    From step times measured on two cores of an AMD EPYC 7003. For ``standard`` and ``fast`` the network that
    nnU-Net plans for an 8-GB GPU (patch 128 x 128 x 128, 32 to 320 features) is assumed: a warning that a GPU is
    needed rather than a forecast.
    """
    import os

    cores = cores or os.cpu_count() or 1
    times = len(plan.trained)
    architecture, patch, batch = _assumed_network(plan)
    forward = forward_seconds(architecture, patch, len(plan.labels) + 1, 1)
    steps = plan.folds * plan.epochs * (_TRAINING_FACTOR * plan.iterations + plan.validation_iterations)
    side_by_side = min(cores, plan.folds) if plan.threads == 1 else 1
    share = math.ceil(plan.folds / side_by_side) / plan.folds if plan.threads == 1 else 1 / cores
    training = steps * batch * forward * share
    tiles = cases * max(1.0, voxels_per_case / math.prod(patch)) * (8 if plan.mirror_at_test else 1)
    preparing = 25.0 + cases * voxels_per_case * 2e-7 / cores
    _, values = network_cost(architecture, patch, len(plan.labels) + 1)
    memory = 4.0 * values * batch * 2.5 + 6e8
    return SegmentationCost(times * (preparing + training + tiles * forward / cores), int(memory * side_by_side))


#: Patch and batch that the residual encoders are planned with for abdominal CT.
_RESIDUAL = {"resenc-m": ((128, 128, 128), 2), "resenc-l": ((160, 192, 160), 2), "resenc-xl": ((192, 256, 224), 3)}


def _assumed_network(plan: NnunetPlan) -> tuple[dict[str, Any], Sequence[int], int]:
    """Architecture, patch and batch size: the small network's, or about those that nnU-Net plans for its GPU."""
    if plan.network is not None:
        return small_architecture(plan.network), plan.network.patch, plan.network.batch_size
    architecture: dict[str, Any] = {
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "n_conv_per_stage": 2,
        "n_conv_per_stage_decoder": 2,
    }
    if plan.planner in _RESIDUAL:
        del architecture["n_conv_per_stage"]
        architecture |= {"n_blocks_per_stage": [1, 3, 4, 6, 6, 6], "n_conv_per_stage_decoder": 1}
        return architecture, *_RESIDUAL[plan.planner]
    return architecture, (128, 128, 128), 2


def apply_seconds(plan: NnunetPlan, voxels: float) -> float:
    """Time on one core to segment one image of so many voxels with one fold's network (tiles overlap by a half)."""
    architecture, patch, _ = _assumed_network(plan)
    tiles = max(1.0, 4.0 * voxels / math.prod(patch)) * (8 if plan.mirror_at_test else 1)
    return tiles * forward_seconds(architecture, patch, len(plan.labels) + 1, 1)


def small_architecture(network: SmallNetwork) -> dict[str, Any]:
    """``arch_kwargs`` that replace those of nnU-Net's plan."""
    stages = len(network.features)
    return {
        "n_stages": stages,
        "features_per_stage": list(network.features),
        "kernel_sizes": [list(kernel) for kernel in network.kernels],
        "strides": [list(stride) for stride in network.strides],
        "n_conv_per_stage": [network.convs_per_stage] * stages,
        "n_conv_per_stage_decoder": [network.convs_per_stage] * (stages - 1),
    }
