"""What is measured: images, masks or a segmenter, VOIs and feature settings."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import StrictInt, model_validator

from hepacast.core.names import fit_beside
from hepacast.study.schema.base import Part, option
from hepacast.study.schema.preprocessing import PreprocessingOptions

#: The series that the mask was drawn on, as the DICOM SEG says; with a number where it says so of several phases.
OF_MASK = re.compile(r"of the mask(?:#([1-9]))?")


class Image(Part):
    """One sequence or phase."""

    path: str = option(
        ..., "file or DICOM folder; `{patient}` stands for the identifier", example="images/{patient}.nii.gz"
    )
    modality: Literal["CT", "MR"] = option("CT", "CT intensities must be in HU")
    series: str | StrictInt | None = option(
        None,
        "where a folder holds several DICOM series: number, SeriesInstanceUID, words of the description, or `of the "
        "mask`: the one that the DICOM SEG of `masks` was drawn on (`of the mask#2`: the second of several phases, "
        "where the SEG refers to all of them)",
        example="portal",
    )


class NnunetStart(Part):
    """Weights of another nnU-Net that the training begins with."""

    file: str = option(
        ..., "checkpoint (.pth) of nnU-Net v2; nothing in it is executed", example="other/checkpoint.pth"
    )
    sha256: str = option(..., "of that file", pattern="^[0-9a-fA-F]{64}$")


class NnunetOptions(Part):
    """Training of nnU-Net v2 on the patients who have an expert mask."""

    preset: Literal["standard", "fast", "demo"] = option(
        "standard",
        "standard: nnU-Net unmodified (needs a GPU); fast: fewer epochs; demo: a small network for CPUs",
    )
    planner: Literal["default", "resenc-m", "resenc-l", "resenc-xl"] = option(
        "default",
        "what plans the network: nnU-Net's default, or its residual encoder presets for about 10, 24 and 40 GB of GPU "
        "memory",
    )
    gpu_memory_gb: float | None = option(None, "memory to plan for; the planner's own if left out", unit="GB", gt=0)
    configurations: list[Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]] = option(
        lambda: ["3d_fullres"],
        "networks to train; of several, and of the means of two, the best by cross-validation is taken",
        min_length=1,
    )
    postprocessing: Literal["none", "cross-validation"] | None = option(
        None,
        "cross-validation: keep only the largest piece of a structure where that raises the Dice of held-out patients, "
        "as nnU-Net does; left out: so for standard and fast, none for demo",
    )
    channels: list[str] = option(
        list,
        "sequences that the network sees together, on one grid; left out: all where `preprocessing` registers them, "
        "else the one that masks are drawn on. For nnunet:DIR: which sequence each channel of the model is",
    )
    start: NnunetStart | None = option(None, "weights of another task or center to begin with, and its plan")
    precision: Literal["float32", "float16", "bfloat16"] | None = option(
        None, "arithmetic when segmenting; left out: float16 on a GPU, as nnU-Net, float32 on a CPU"
    )
    folds: int = option(5, "folds of the cross-validation", ge=2, le=10)
    apply_folds: int | None = option(
        None, "folds averaged for patients who were not in the training; all if left out (fewer are faster)", ge=1
    )
    test_fraction: float = option(0.2, "share of the labelled patients held out as a test set", ge=0.0, lt=0.5)


class SegmentationOptions(Part):
    """Where the masks come from."""

    source: str = option(
        "given",
        "given: every patient has a mask; nnunet: trained on those who have one and applied to the rest; "
        "builtin: pretrained liver and lesion networks (builtin:openvino, builtin:openvino-bf16, builtin:torch-bf16: "
        "faster on CPUs); nnunet:DIR: a trained nnU-Net folder; totalsegmentator",
    )
    masks: str | dict[str, str] | None = option(
        None,
        "expert masks: a file or folder, or a file a structure by name; `{patient}` stands for the identifier",
        example="masks/{patient}.nii.gz",
    )
    labels: dict[str, int] = option(
        lambda: {"parenchyma": 1, "tumor": 2}, "names of the label values in the mask files"
    )
    second_reader: str | dict[str, str] | None = option(
        None, "masks of a second reader, for inter-reader agreement and feature ICC"
    )
    use: Literal["predicted", "expert-first"] = option(
        "predicted",
        "for a trained nnU-Net: measure everybody on predicted masks (out-of-fold for training patients), or on "
        "expert masks where they exist",
    )
    reviews: str | None = option(
        None,
        "decisions on masks (CSV, as `hepacast serve` writes it): who is left out with a reason, and whose corrected "
        "mask, in the folder `corrected` beside it, is measured",
        example="reviews.csv",
    )
    accept_doubtful: list[str] = option(
        list, "patients whose image and mask look impossible (HU, labels, volume) and are right as they are"
    )
    nnunet: NnunetOptions = option(NnunetOptions, "training of nnU-Net")
    weights: str | None = option(None, "file with the built-in networks' weights, for a machine without internet")


class Images(Part):
    """Images, masks and VOIs. Left out when the features are given as a table."""

    sequences: dict[str, Image] = option(..., "one entry a sequence or phase")
    segmentation: SegmentationOptions = option(SegmentationOptions, "masks, or how to make them")
    vois: dict[str, str] = option(
        lambda: {"parenchyma": "parenchyma", "tumor": "tumor"},
        "VOIs by name: a structure, or algebra over structures",
        example={"parenchyma": "liver - tumor", "ring": "dilate(tumor, 10 mm) & liver - tumor"},
    )
    lesions: Literal["union", "largest"] = option("union", "several tumors: measured together, or the largest only")
    min_lesion_ml: float = option(0.0, "smaller lesions are left out", unit="ml", ge=0)
    preprocessing: PreprocessingOptions | None = option(
        None,
        "registration of the sequences or phases; of MR also bias field and intensity scale; nothing is changed if "
        "left out",
    )

    @model_validator(mode="after")
    def _names_fit(self) -> Images:
        """Sequences name files of the results, and both names stand before a colon in the names of features."""
        for name in (*self.sequences, *self.vois):
            if not re.fullmatch(r"\w[\w .+-]{0,63}", name):
                raise ValueError(f"{name!r} cannot name a sequence or VOI: letters, digits, space, . _ + - only")
        if wrong := fit_beside(self.sequences) or fit_beside(self.vois):
            raise ValueError(f"{wrong}: choose another name")
        return self

    @model_validator(mode="after")
    def _masks_tell(self) -> Images:
        asking = [name for name in self.sequences if self.of_mask(name)]
        if asking and self.segmentation.masks is None:
            raise ValueError(f"sequences.{asking[0]}.series: of the mask needs segmentation.masks")
        return self

    @model_validator(mode="after")
    def _channels_fit(self) -> Images:
        named = self.segmentation.nnunet.channels
        strange = [name for name in named if name not in self.sequences]
        if strange or len(set(named)) < len(named):
            raise ValueError(f"segmentation.nnunet.channels: {named} are not different ones of {list(self.sequences)}")
        return self

    @model_validator(mode="after")
    def _preprocessing_fits(self) -> Images:
        rules = self.preprocessing
        if rules is None:
            return self
        if rules.reference is not None and rules.reference not in self.sequences:
            raise ValueError(f"preprocessing.reference {rules.reference!r} is none of {list(self.sequences)}")
        mr = [name for name, item in self.sequences.items() if item.modality == "MR"]
        if rules.needs_liver and self.reference in mr and self.segmentation.source != "given":
            raise ValueError("registration_region: liver needs given masks where the reference is MR; or use body")
        if not mr:
            return self
        if rules.structures and self.segmentation.source != "given":
            raise ValueError("a normalization by a structure needs given masks; use zscore or nyul with region: body")
        for name in rules.structures:
            masks = self.segmentation.masks
            if name not in (masks if isinstance(masks, dict) else self.segmentation.labels):
                raise ValueError(f"the structure {name!r} of the normalization is not among the named masks or labels")
        return self

    def of_mask(self, name: str) -> bool:
        """Whether the series of a sequence is the one that the mask was drawn on."""
        return bool(OF_MASK.fullmatch(str(self.sequences[name].series)))

    @property
    def channels(self) -> list[str]:
        """Sequences that a network trained here sees together."""
        registered = list(self.sequences) if self.preprocessing is not None else [self.reference]
        return self.segmentation.nnunet.channels or registered

    @property
    def reference(self) -> str:
        """Sequence that masks are drawn on."""
        own = self.preprocessing.reference if self.preprocessing is not None else None
        return own or next(iter(self.sequences))


class Features(Part):
    """Radiomics features: measured by hepacast, or given as a table."""

    settings: str = option("ptlf", "ptlf, early-recurrence, ibsi, or a PyRadiomics parameter file (YAML or JSON)")
    options: dict[str, Any] = option(dict, "changes to the settings", example={"binWidth": 25})
    backend: Literal["hepacast", "pyradiomics"] = option("hepacast", "engine that measures")
    table: str | None = option(
        None,
        "a table of features made elsewhere (CSV, Excel, Parquet, SPSS), one row a patient, or as "
        "`hepacast extract -o` writes it",
    )
    id: str | None = option(None, "header of the patient identifier in that table")
    vois: dict[str, str] = option(
        dict, "prefix of the columns of each VOI in that table", example={"tumor": "Mass_", "liver": "Liver_"}
    )
    ignore: list[str] = option(list, "columns of that table that are no features")
    min_icc: float | None = option(None, "keep features at least this reproducible (second reader)", ge=0, le=1)
