"""What a network is given, what it is, and how it is trained: everything that decides its numbers.

The classes are parts of the study file (key ``deep``) and of a bundle; each field has its help text and unit.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


def _field(default: Any, help: str, unit: str | None = None, **rules: Any) -> Any:
    extra: dict[str, Any] | None = {"unit": unit} if unit else None
    if callable(default):
        return Field(default_factory=default, description=help, json_schema_extra=extra, **rules)
    return Field(default, description=help, json_schema_extra=extra, **rules)


class _SpecSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


Normalization = Literal["window", "zscore", "voi-zscore", "reference-tissue", "percentile", "none"]
Triple = tuple[int, int, int]


class CropSpec(_SpecSection):
    """The part of the images that a network sees."""

    voi: str = _field("tumor", "structure that the crop is centered on")
    size: Triple = _field((32, 96, 96), "voxels of the crop (z, y, x)")
    size_mm: tuple[float, float, float] | None = _field(
        (96.0, 144.0, 144.0),
        "length of the box around the VOI's center (z, y, x): lesions keep their size; none: the VOI's own box with "
        "`margin_mm` around it, stretched to the crop",
        unit="mm",
    )
    margin_mm: float = _field(10.0, "margin around the VOI's box where `size_mm` is none", unit="mm", ge=0)
    channels: list[str] = _field(list, "sequences or phases, one a channel, in this order; all of the study if empty")
    normalize: dict[str, Normalization] = _field(
        dict,
        "intensities by sequence: window (`window`, for CT), zscore (of the crop without zeros), voi-zscore (of the "
        "VOI), reference-tissue (from the median of the patient's liver without tumor, in its robust SD: recommended "
        "for MR), percentile (1st to 99th to 0..1) or none; left out: window for CT, zscore for MR",
    )
    window: tuple[float, float] = _field((50.0, 350.0), "level and width of the window", unit="HU")
    mask: bool = _field(
        False, "one more channel, the VOI's mask: frozen networks pool over its core, rim and surroundings"
    )
    missing: Literal["error", "zeros", "mean", "flag"] = _field(
        "error",
        "a patient without one of the sequences: an error, a channel of zeros, the mean of the other channels, or "
        "zeros with one more channel a sequence that says whether it is there",
    )

    @model_validator(mode="after")
    def _possible(self) -> CropSpec:
        if min(self.size) < 8 or max(self.size) > 512:
            raise ValueError("a crop has 8 to 512 voxels along each axis")
        if self.size_mm is not None and min(self.size_mm) <= 0:
            raise ValueError("the crop's lengths must be above 0 mm")
        if self.window[1] <= 0:
            raise ValueError("the window's width must be above 0 HU")
        if self.mask and self.missing == "flag":
            raise ValueError("a frozen network has no use for flags: set missing to zeros or mean")
        return self


class NetworkSpec(_SpecSection):
    """The network: one encoder pathway, and a prediction pathway, a segmentation pathway, or both."""

    tasks: Literal["multi-task", "classifier", "segmenter"] = _field(
        "multi-task", "multi-task: outcome and mask together; classifier: outcome alone; segmenter: mask alone"
    )
    encoder: Literal["resnet10", "resnet18", "resnet34", "resnet50", "liver-cnn"] = _field(
        "resnet18",
        "residual encoder; or that of the built-in liver CNN (3-mm voxels, one channel, its own width; give its file "
        "as `pretrained`)",
    )
    dimensions: Literal["3d", "2.5d"] = _field(
        "3d", "3d; or 2.5d: each slice with its two neighbors goes through a flat network, then slices are pooled"
    )
    width: int = _field(32, "channels of the first stage; doubled at each of the next", ge=4, le=256)
    stages: int = _field(4, "stages of the encoder, each of half the resolution", ge=2, le=5)
    stem: Literal["small", "resnet"] = _field(
        "small",
        "first layer: small (3 x 3 x 3, step `stem_stride`) or as published (7 x 7 x 7 by 2, then max pooling by 2), "
        "which published weights need",
    )
    stem_stride: Literal[1, 2] = _field(2, "step of the small stem; 1 keeps full resolution, and costs 8 times")
    shortcut: Literal["projection", "padding"] = _field(
        "projection",
        "where a block changes the size: a 1 x 1 x 1 convolution (type B of He et al.), or every other voxel with "
        "channels of zeros (type A, as MedicalNet's ResNet-18 and -34)",
    )
    expansion: Literal[1, 4] = _field(
        4, "channels out of a block of ResNet-50, in widths of its stage; 1 only for networks made before version 0.2"
    )
    norm: Literal["batch", "instance", "group"] = _field(
        "batch", "normalization layers; instance removes differences of contrast between patients"
    )
    outcome: Literal["binary", "cox", "hazard"] = _field(
        "binary", "what is predicted: an event; a time by Cox's partial likelihood; a time by discrete hazards"
    )
    hazard_bins: int = _field(6, "intervals of follow-up for discrete hazards (quantiles of event times)", ge=2, le=40)
    features: int = _field(64, "length of the penultimate layer", ge=2, le=2048)
    dropout: float = _field(0.3, "share of pooled features dropped in training", ge=0, lt=1)
    deep_supervision: bool = _field(True, "the mask is also asked for at the decoder's coarser levels")
    mask_pooling: bool = _field(
        True,
        "with a segmentation pathway: features are pooled over the predicted tumor's core, its rim and the tissue "
        "around it, and not over the whole crop",
    )
    rim_voxels: int = _field(2, "width of that rim, and of the tissue around, in voxels of the crop", ge=1, le=10)
    pooled_levels: int | None = _field(
        None, "levels that are pooled, the input being the first; all if left out (few patients: few levels)", ge=1
    )
    covariates: list[str] = _field(list, "clinical columns that join the pooled features")
    frozen: bool = _field(
        False,
        "the encoder stays as `pretrained` has it: its activations in the core, the rim and the surroundings of the "
        "VOI (`crop.mask`) are the features, the same of every fold, and a ridge regression on them is fitted; no "
        "network is trained",
    )
    pretrained: str | None = _field(None, "file with weights to start from (safetensors, or the built-in liver CNN's)")
    pretrained_sha256: str | None = _field(None, "its SHA-256; required, so that a changed file is refused")

    @model_validator(mode="after")
    def _possible(self) -> NetworkSpec:
        if self.pretrained is not None and self.pretrained_sha256 is None:
            raise ValueError("weights to start from need their checksum: give pretrained_sha256 (sha256sum FILE)")
        if self.stem == "resnet" and self.stem_stride != 2:
            raise ValueError(
                "the published stem halves the resolution twice: leave out stem_stride, or take stem: small"
            )
        if self.tasks == "segmenter" and self.covariates:
            raise ValueError("a segmenter alone has no use for covariates")
        if self.frozen and self.tasks != "classifier":
            raise ValueError("a frozen encoder predicts alone: set tasks to classifier")
        if self.frozen and (self.outcome == "hazard" or self.covariates):
            raise ValueError("a ridge regression on a frozen encoder is of outcome binary or cox, without covariates")
        return self

    @property
    def reduction(self) -> int:
        """Voxels of the crop along each axis (in the plane, where the network is flat) for one of the finest maps."""
        return 1 if self.encoder == "liver-cnn" else 4 if self.stem == "resnet" else self.stem_stride

    @property
    def predicts(self) -> bool:
        """Whether there is a prediction pathway."""
        return self.tasks != "segmenter"

    @property
    def segments(self) -> bool:
        """Whether there is a segmentation pathway."""
        return self.tasks != "classifier"


class Augmentation(_SpecSection):
    """Random changes of a training crop; each is drawn anew for each patient and epoch."""

    flip: bool = _field(True, "mirror left-right and front-back, each with probability one half")
    rotate_deg: float = _field(15.0, "largest rotation about each axis", unit="degrees", ge=0, le=180)
    scale: float = _field(0.1, "largest change of size, as a share", ge=0, lt=0.5)
    shift: float = _field(0.08, "largest shift, as a share of the crop's length", ge=0, lt=0.5)
    elastic: float = _field(0.02, "SD of smooth displacements, as a share of the crop's length", ge=0, lt=0.2)
    intensity: float = _field(0.1, "SD of a random gain and offset of each channel", ge=0, lt=1)
    noise: float = _field(0.03, "largest SD of added noise", ge=0, lt=1)
    low_resolution: float = _field(0.1, "probability of a coarser copy", ge=0, le=1)
    geometric: float = _field(0.7, "probability of rotation, scale, shift and elastic together", ge=0, le=1)


class TrainingSpec(_SpecSection):
    """One training loop for all networks."""

    epochs: int = _field(100, "passes over the training patients", ge=1)
    batch: int = _field(8, "patients a step", ge=2)
    learning_rate: float = _field(1e-3, "highest step size (AdamW)", gt=0)
    weight_decay: float = _field(1e-2, "decay of weights", ge=0)
    warmup_epochs: float = _field(3.0, "epochs of linear warm-up before the cosine schedule", ge=0)
    clip: float = _field(1.0, "largest norm of a gradient", gt=0)
    ema: float = _field(0.99, "decay of the moving average of weights that is kept; 0: the last weights", ge=0, lt=1)
    inner_fraction: float = _field(
        0.15, "share of the training patients set aside to stop early; 0: all epochs are run", ge=0, lt=0.5
    )
    patience: int = _field(20, "epochs without a better inner loss before training stops", ge=1)
    class_weights: Literal["balanced", "none"] = _field(
        "balanced", "weights of events and others in the loss; predicted risks are corrected for them"
    )
    task_weights: Literal["fixed", "uncertainty"] = _field(
        "fixed", "weights of outcome and mask: fixed, or learned from each task's uncertainty (Kendall 2018)"
    )
    outcome_weight: float = _field(1.0, "fixed weight of the outcome's loss", ge=0)
    mask_weight: float = _field(1.0, "fixed weight of the mask's loss", ge=0)
    label_smoothing: float = _field(0.0, "share of certainty taken from the labels", ge=0, lt=0.5)
    mixed_precision: bool = _field(True, "half precision on a GPU; a CPU always computes in single precision")
    device: Literal["auto", "cpu", "cuda"] = _field("auto", "where to compute; auto: a GPU where there is one")
    checkpoint_every: int = _field(5, "epochs between files from which a stopped training goes on", ge=1)
    augment: Augmentation = _field(Augmentation, "random changes of the training crops")


class DeepSpec(_SpecSection):
    """Crop, network and training."""

    crop: CropSpec = _field(CropSpec, "the part of the images that the network sees")
    network: NetworkSpec = _field(NetworkSpec, "the network")
    training: TrainingSpec = _field(TrainingSpec, "how it is trained")

    @model_validator(mode="after")
    def _fit_together(self) -> DeepSpec:
        if self.network.frozen != self.crop.mask:
            raise ValueError("network.frozen and crop.mask belong together: set both or none")
        if self.network.frozen and self.network.pretrained is None:
            raise ValueError("a frozen encoder needs weights: give network.pretrained")
        return self

    @property
    def inner_fraction(self) -> float:
        """Share of the training patients set aside to stop by; nothing stops where nothing is trained."""
        return 0.0 if self.network.frozen else self.training.inner_fraction

    def with_tasks(self, tasks: str) -> DeepSpec:
        """The same network for other tasks (single-task variants)."""
        own: dict[str, Any] = self.network.model_dump() | {"tasks": tasks}
        if tasks == "segmenter":
            own["covariates"] = []
        return self.model_copy(update={"network": NetworkSpec.model_validate(own)})
