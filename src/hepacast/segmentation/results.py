"""What the segmentation of a study gave: metrics, masks, pictures; sizes of VOIs and what is not plausible."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.records import Record
from hepacast.imaging.remarks import ImageRemark


@dataclass(frozen=True)
class Network(Record):
    """The network as configured (Figure 2).

    Parameters
    ----------
    features_per_stage
        Channels of each encoder stage, from the full resolution down.
    strides, kernels
        Of each stage, ``[z, y, x]``.
    patch_size
        Voxels ``[z, y, x]``.
    spacing_mm
        Of the resampled image, mm ``[z, y, x]``.
    classes
        Names of the classes without the background.
    blocks_per_stage
        Convolution blocks of each encoder stage.
    name
        For example ``nnU-Net v2, 3d_fullres``.
    input_channels
        Images of a patient that it sees together.
    """

    features_per_stage: list[int]
    strides: list[list[int]]
    kernels: list[list[int]]
    patch_size: list[int]
    classes: list[str]
    spacing_mm: list[float] | None = None
    blocks_per_stage: list[int] | None = None
    name: str = "U-Net"
    input_channels: int = 1


@dataclass(frozen=True)
class CaseMetrics(Record):
    """One patient, set (``fold 0`` ..., ``test``) and structure; shares between 0 and 1, distances in mm."""

    patient: str
    set: str
    structure: str
    dice: float
    jaccard: float
    precision: float
    recall: float
    hd95_mm: float = float("nan")
    assd_mm: float = float("nan")
    volume_difference_pct: float = float("nan")
    status: str = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class Overlay(Record):
    """A picture: `file` is relative to `segmentation/`."""

    patient: str
    file: str
    caption: str = ""


@dataclass(frozen=True)
class CaseStatus(Record):
    """What became of one patient's mask."""

    patient: str
    status: str
    reason: str | None = None


@dataclass(frozen=True)
class Segmentation(Record):
    """`segmentation/segmentation.json`.

    Parameters
    ----------
    source
        ``nnunet``, ``given``, ``builtin``, ``totalsegmentator``.
    description
        One sentence on where the masks come from.
    network
        None where no network was trained.
    metrics
        One row a patient, set and structure; empty where there is no reference.
    overlays
        Pictures, best first.
    masks
        Patient to the source of the mask that features were computed from.
    status
        Patients whose mask is not plainly ok.
    """

    source: str
    description: str = ""
    preset: str | None = None
    network: Network | None = None
    metrics: list[CaseMetrics] = field(default_factory=list)
    overlays: list[Overlay] = field(default_factory=list)
    masks: dict[str, str] = field(default_factory=dict)
    status: list[CaseStatus] = field(default_factory=list)


@dataclass(frozen=True)
class VoiSize(Record):
    """Volume (mL) and intensities of one VOI of one patient in one sequence."""

    patient: str
    sequence: str
    voi: str
    modality: str | None = None
    volume_ml: float = float("nan")
    median: float = float("nan")
    p5: float = float("nan")
    p95: float = float("nan")
    minimum: float = float("nan")
    maximum: float = float("nan")


@dataclass(frozen=True)
class FarFromCohort(Record):
    """A volume or a median that lies far from the cohort's."""

    patient: str
    sequence: str
    voi: str
    quantity: str
    value: float
    typical: float


@dataclass(frozen=True)
class PlausibilityInfo(Record):
    """`segmentation/plausibility.json`; `refused`: patients whose mask, made by a network, is impossible."""

    rows: list[VoiSize] = field(default_factory=list)
    remarks: list[ImageRemark] = field(default_factory=list)
    outliers: list[FarFromCohort] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
