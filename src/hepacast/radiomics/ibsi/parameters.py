"""Settings of the IBSI mode that PyRadiomics does not have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hepacast.radiomics.ibsi.filters import FilterParameters

Aggregation = Literal["2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb", "3D_avg", "3D_comb"]

#: How texture matrices of slices and directions become one value (IBSI 1, section 3.6).
AGGREGATIONS: tuple[Aggregation, ...] = ("2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb", "3D_avg", "3D_comb")

#: PyRadiomics' settings that the IBSI mode understands.
UNDERSTOOD = (
    "label",
    "label_channel",
    "additionalInfo",
    "geometryTolerance",
    "correctMask",
    "minimumROIDimensions",
    "minimumROISize",
    "resampledPixelSpacing",
    "interpolator",
    "resegmentRange",
    "binWidth",
    "binCount",
    "gldm_a",
)

#: Interpolators of IBSI's configurations.
INTERPOLATORS = ("sitkNearestNeighbor", "sitkLinear", "sitkBSpline")


class IbsiParameters(BaseModel):
    """The ``ibsi`` section of a settings file with ``mode: ibsi``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    aggregation: tuple[Aggregation, ...] = Field(
        ("3D_avg", "3D_comb"), min_length=1, description="aggregations of the texture matrices"
    )
    outlierSigma: Annotated[float, Field(gt=0)] | None = Field(
        None, description="leave out voxels farther than this many standard deviations from the VOI's mean"
    )
    roundIntensities: bool = Field(True, description="round to whole numbers after interpolation (CT)")
    ivhBinWidth: Annotated[float, Field(gt=0)] | None = Field(
        None, description="intensity-volume histogram: bin width; without it intensities count as they are"
    )
    ivhBinCount: Annotated[int, Field(gt=0)] | None = Field(
        None, description="intensity-volume histogram: number of bins, for intensities without a unit"
    )
    filter: FilterParameters | None = Field(
        None, description="measure a filter's response map instead of intensities (IBSI 2: statistics only)"
    )
    discretize: bool = Field(True, description="false: the image already holds gray levels from 1 on")
