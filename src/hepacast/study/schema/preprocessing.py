"""What is done to images before they are segmented and measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import model_validator

from hepacast.study.schema.base import Part, option


class PreprocessingOptions(Part):
    """Images before anything is measured on them: registration and grid; of MR also bias field and intensity scale.

    Masks are those of the reference sequence: the others are brought to it. CT stays in HU.
    """

    bias_correction: Literal["n4", "none"] = option("n4", "of MR: N4 correction of the coil's bias field")
    bias_voxel_mm: float = option(6.0, "voxel size on which the bias field is estimated", unit="mm", gt=0)
    registration: Literal["rigid", "affine", "bspline", "none"] = option(
        "rigid",
        "how the other sequences or phases are brought to the reference (Mattes' mutual information); bspline: a "
        "smooth deformation after the rigid step",
    )
    registration_region: Literal["body", "liver"] = option(
        "body",
        "where the images are compared: the body, in which the spine decides; or the liver (of the given masks, else "
        "of the segmenter) with a margin, for livers that a breath has moved",
    )
    registration_margin_mm: float = option(10.0, "margin around the liver", unit="mm", ge=0, le=100)
    registration_control_mm: float = option(50.0, "distance of the control points of bspline", unit="mm", ge=10)
    reference: str | None = option(None, "sequence that masks are drawn on; the first if left out", example="portal")
    spacing: tuple[float, float, float] | None = option(
        None, "voxel size (x, y, z) of all images and masks; the reference's own if left out", unit="mm"
    )
    normalization: Literal["none", "zscore", "nyul", "reference-tissue", "white-stripe"] = option(
        "zscore",
        "intensity scale of MR: zscore (of `region`); nyul (standard scale learned from the training patients only); "
        "reference-tissue (from the median of `tissue` in its robust SD); white-stripe (of the peak of `tissue`)",
    )
    region: str = option("body", "where mean and SD, or landmarks, are taken: body, or a structure of the masks")
    tissue: str = option(
        "parenchyma", "of reference-tissue and white-stripe: a structure that the disease leaves alone"
    )
    scale: float = option(
        100.0,
        "factor after zscore, reference-tissue and white-stripe, to suit the bin width (`hepacast check` says how many "
        "gray levels a VOI has: zscore of the body 100, reference-tissue 20 at a bin width of 5); nyul ends at this",
        gt=0,
    )
    pictures: int = option(
        3,
        "patients of whom a check picture of the registration is drawn, beside those whose registration is doubtful",
        ge=0,
    )

    @model_validator(mode="after")
    def _possible(self) -> PreprocessingOptions:
        if self.spacing is not None and min(self.spacing) <= 0:
            raise ValueError("the spacing must be above 0 mm")
        return self

    def steps(self, modalities: Iterable[str]) -> str:
        """What is done to images of these modalities, in words."""
        mr = "MR" in set(modalities)
        done = ["bias field"] * (mr and self.bias_correction != "none")
        done += ["registration"] * (self.registration != "none")
        return ", ".join([*done, *["intensity scale"] * (mr and self.normalization != "none")]) or "grid"

    @property
    def needs_liver(self) -> bool:
        """Whether the images are registered by the liver."""
        return self.registration != "none" and self.registration_region == "liver"

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures of the masks that the normalization needs."""
        if self.normalization in ("reference-tissue", "white-stripe"):
            return (self.tissue,)
        return (self.region,) if self.normalization in ("zscore", "nyul") and self.region != "body" else ()
