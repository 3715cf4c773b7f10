"""Every setting of a PyRadiomics parameter file, under its PyRadiomics name, with meaning, unit and limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

INTERPOLATORS = (
    "sitkNearestNeighbor",
    "sitkLinear",
    "sitkBSpline",
    "sitkGaussian",
    "sitkLabelGaussian",
    "sitkHammingWindowedSinc",
    "sitkCosineWindowedSinc",
    "sitkWelchWindowedSinc",
    "sitkLanczosWindowedSinc",
    "sitkBlackmanWindowedSinc",
)

#: SimpleITK's numbers of the interpolators, which a parameter file may use instead of their names.
_INTERPOLATOR_NUMBERS = dict(enumerate(INTERPOLATORS, start=1))

Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
# Integers stay integers: PyRadiomics writes ``sigma: [1]`` into a name as "1" and ``[1.0]`` as "1-0".
Number = int | float


class Parameters(BaseModel):
    """The ``setting`` and ``voxelSetting`` sections of a PyRadiomics parameter file.

    Defaults are PyRadiomics'. Instances are immutable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    # Region of interest
    label: PositiveInt = Field(1, description="value of the VOI's voxels in an integer mask")
    label_channel: Annotated[int, Field(ge=0)] = Field(0, description="channel of a mask file with several channels")
    minimumROIDimensions: Annotated[int, Field(ge=1, le=3)] = Field(
        2, description="least number of axes along which the VOI is longer than one voxel"
    )
    minimumROISize: PositiveInt | None = Field(None, description="a VOI of this many voxels or fewer is refused")
    geometryTolerance: Positive | None = Field(
        None,
        description="accepted from a file and kept in the record; grids more than 0.01 mm apart are refused anyway",
    )
    correctMask: bool = Field(False, description="resample a mask of another grid onto the image (nearest voxel)")
    additionalInfo: bool = Field(True, description="add the diagnostics_* entries")

    # Preprocessing
    normalize: bool = Field(False, description="center the whole image on its mean and divide by its deviation")
    normalizeScale: Positive = Field(1.0, description="factor after normalization")
    removeOutliers: Positive | None = Field(
        None, description="after normalization, clip at this many standard deviations"
    )
    resampledPixelSpacing: tuple[float, float, float] | None = Field(
        None, description="voxel size (x, y, z) to resample to, mm; 0 keeps an axis as it is"
    )
    interpolator: str | None = Field("sitkBSpline", description="SimpleITK's name or number of the interpolator")
    padDistance: Annotated[int, Field(ge=0)] = Field(5, description="voxels kept around the VOI, after resampling")
    preCrop: bool = Field(False, description="crop to the VOI and padDistance before filtering (changes values)")
    resegmentRange: tuple[float, ...] | None = Field(
        None, description="keep only voxels at or above the first and at or below the second threshold"
    )
    resegmentMode: Literal["absolute", "relative", "sigma"] = Field(
        "absolute",
        description="thresholds as intensities, as shares of the VOI's maximum, or as deviations from the mean",
    )
    resegmentShape: bool = Field(False, description="use the resegmented VOI for shape as well")

    # Discretization and textures
    binWidth: Positive = Field(25.0, description="width of a gray-level bin, in the image's unit")
    binCount: PositiveInt | None = Field(None, description="number of bins over the VOI's range, instead of a width")
    voxelArrayShift: int = Field(0, description="added to every intensity in Energy, TotalEnergy, RootMeanSquared")
    symmetricalGLCM: bool = Field(True, description="count each pair of voxels in both orders")
    weightingNorm: Literal["euclidean", "manhattan", "infinity", "no_weighting"] | None = Field(
        None, description="weight GLCM and GLRLM of each angle by its length, and merge them"
    )
    gldm_a: Annotated[int, Field(ge=0)] = Field(0, description="largest difference of dependent gray levels")
    distances: tuple[PositiveInt, ...] = Field(
        (1,), min_length=1, description="neighbor distances, voxels (infinity norm)"
    )
    force2D: bool = Field(False, description="textures slice by slice")
    force2Ddimension: Annotated[int, Field(ge=0, le=2)] = Field(
        0, description="axis that slices are stacked along: 0 axial, 1 coronal, 2 sagittal"
    )

    # Filters
    sigma: tuple[Number, ...] = Field((), description="LoG: widths of the Gaussian, mm")
    wavelet: str = Field("coif1", description="PyWavelets' name of a discrete wavelet")
    level: PositiveInt = Field(1, description="wavelet: number of levels")
    start_level: Annotated[int, Field(ge=0)] = Field(0, description="wavelet: levels to skip first")
    gradientUseSpacing: bool = Field(True, description="gradient a mm (true) or a voxel (false)")
    lbp2DRadius: Positive = Field(1.0, description="LBP 2D: radius, voxels")
    lbp2DSamples: PositiveInt = Field(8, description="LBP 2D: number of neighbors")
    lbp2DMethod: Literal["default", "ror", "uniform", "var"] = Field("uniform", description="LBP 2D: coding")
    lbp3DLevels: PositiveInt = Field(2, description="LBP 3D: levels of spherical harmonics")
    lbp3DIcosphereRadius: Positive = Field(1.0, description="LBP 3D: radius, voxels")
    lbp3DIcosphereSubdivision: Annotated[int, Field(ge=0, le=4)] = Field(1, description="LBP 3D: subdivisions")

    # Feature maps
    kernelRadius: PositiveInt = Field(1, description="feature maps: radius of the neighborhood, voxels")
    maskedKernel: bool = Field(True, description="feature maps: leave voxels outside the VOI out of neighborhoods")
    initValue: float = Field(0.0, description="feature maps: value outside the VOI")
    voxelBatch: int = Field(-1, description="feature maps: voxels a batch; -1 chooses by memory")

    @field_validator("interpolator", mode="before")
    @classmethod
    def _interpolator(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value not in _INTERPOLATOR_NUMBERS:
                raise ValueError("an interpolator's number lies between 1 and 10")
            return _INTERPOLATOR_NUMBERS[value]
        if value is not None and value not in INTERPOLATORS:
            raise ValueError("one of " + ", ".join(INTERPOLATORS))
        return value

    @field_validator("wavelet")
    @classmethod
    def _wavelet(cls, value: str) -> str:
        import pywt

        if value not in pywt.wavelist(kind="discrete"):
            raise ValueError("a discrete wavelet of PyWavelets, such as coif1, haar, db4, sym8, bior2.2")
        return value

    @field_validator("resampledPixelSpacing")
    @classmethod
    def _spacing(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) < 0:
            raise ValueError("voxel sizes in mm, 0 or more")
        return value

    @field_validator("resegmentRange")
    @classmethod
    def _range(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and len(value) not in (1, 2):
            raise ValueError("one or two thresholds")
        return value

    @field_validator("sigma")
    @classmethod
    def _sigma(cls, value: tuple[Number, ...]) -> tuple[Number, ...]:
        if any(sigma <= 0 for sigma in value):
            raise ValueError("widths above 0 mm")
        return value

    @model_validator(mode="after")
    def _no_contradiction(self) -> Parameters:
        given = self.model_fields_set
        if self.binCount is not None and "binWidth" in given:
            raise ValueError("binWidth and binCount contradict each other: give one of them")
        if not self.normalize and self.removeOutliers is not None:
            raise ValueError("removeOutliers has no effect without normalize: true")
        if not self.normalize and self.normalizeScale != 1:
            raise ValueError("normalizeScale has no effect without normalize: true")
        if self.resegmentRange is None and self.resegmentShape:
            raise ValueError("resegmentShape has no effect without resegmentRange")
        if self.resegmentRange is None and self.resegmentMode != "absolute":
            raise ValueError("resegmentMode has no effect without resegmentRange")
        if self.resampledPixelSpacing is not None and self.interpolator is None:
            raise ValueError("resampledPixelSpacing needs an interpolator")
        return self


#: Settings that do not change a feature's value, so that they are no part of the settings hash.
NOT_HASHED = ("label", "label_channel", "additionalInfo", "geometryTolerance", "correctMask", "voxelBatch")

#: Settings that act before the filters and therefore cannot differ between image types.
GLOBAL_ONLY = (
    "label",
    "label_channel",
    "minimumROIDimensions",
    "minimumROISize",
    "geometryTolerance",
    "correctMask",
    "additionalInfo",
    "normalize",
    "normalizeScale",
    "removeOutliers",
    "resampledPixelSpacing",
    "interpolator",
    "padDistance",
    "preCrop",
    "resegmentRange",
    "resegmentMode",
    "resegmentShape",
)

#: The settings that only matter for one image type.
FILTER_SETTINGS: dict[str, tuple[str, ...]] = {
    "Wavelet": ("wavelet", "level", "start_level"),
    "LoG": ("sigma",),
    "Gradient": ("gradientUseSpacing",),
    "LBP2D": ("lbp2DRadius", "lbp2DSamples", "lbp2DMethod"),
    "LBP3D": ("lbp3DLevels", "lbp3DIcosphereRadius", "lbp3DIcosphereSubdivision"),
}

#: The settings that only matter for feature maps.
VOXEL_SETTINGS = ("kernelRadius", "maskedKernel", "initValue", "voxelBatch")
