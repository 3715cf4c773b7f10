"""What is done to MR images before they are segmented and measured."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from hepacast.study.schema.base import Part, option


class PreprocessingOptions(Part):
    """MR images before anything is measured on them: bias field, registration, grid, intensity scale.

    Masks are those of the reference sequence: the others are brought to it.
    """

    bias_correction: Literal["n4", "none"] = option("n4", "N4 correction of the coil's bias field")
    bias_voxel_mm: float = option(6.0, "voxel size on which the bias field is estimated", unit="mm", gt=0)
    registration: Literal["rigid", "affine", "none"] = option(
        "rigid", "how the other sequences are brought to the reference (Mattes' mutual information)"
    )
    reference: str | None = option(None, "sequence that masks are drawn on; the first if left out", example="portal")
    spacing: tuple[float, float, float] | None = option(
        None, "voxel size (x, y, z) of all images and masks; the reference's own if left out", unit="mm"
    )
    normalization: Literal["none", "zscore", "nyul", "white-stripe"] = option(
        "zscore",
        "intensity scale: zscore (of `region`); nyul (standard scale learned from the training patients only); "
        "white-stripe (of `tissue`)",
    )
    region: str = option("body", "where mean and SD, or landmarks, are taken: body, or a structure of the masks")
    tissue: str = option("parenchyma", "reference tissue of white-stripe: a structure that the disease leaves alone")
    scale: float = option(
        100.0, "factor after zscore and white-stripe, so that bin widths of 5 to 25 suit; nyul ends at this", gt=0
    )
    pictures: int = option(3, "patients of whom a check picture of the registration is drawn", ge=0)

    @model_validator(mode="after")
    def _possible(self) -> PreprocessingOptions:
        if self.spacing is not None and min(self.spacing) <= 0:
            raise ValueError("the spacing must be above 0 mm")
        return self

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures of the masks that the normalization needs."""
        if self.normalization == "white-stripe":
            return (self.tissue,)
        return (self.region,) if self.normalization in ("zscore", "nyul") and self.region != "body" else ()
