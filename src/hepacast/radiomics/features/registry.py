"""Names of all features, in PyRadiomics' order, and the choice of those that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hepacast.errors import HepacastError

#: Features computed when a class is asked for as a whole. PyRadiomics orders them by name, digits first.
FEATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "firstorder": (
            "10Percentile", "90Percentile", "Energy", "Entropy", "InterquartileRange", "Kurtosis", "Maximum",
            "MeanAbsoluteDeviation", "Mean", "Median", "Minimum", "Range", "RobustMeanAbsoluteDeviation",
            "RootMeanSquared", "Skewness", "TotalEnergy", "Uniformity", "Variance",
        ),
        "glcm": (
            "Autocorrelation", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast", "Correlation",
            "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "Id", "Idm", "Idmn", "Idn", "Imc1",
            "Imc2", "InverseVariance", "JointAverage", "JointEnergy", "JointEntropy", "MCC", "MaximumProbability",
            "SumAverage", "SumEntropy", "SumSquares",
        ),
        "gldm": (
            "DependenceEntropy", "DependenceNonUniformity", "DependenceNonUniformityNormalized",
            "DependenceVariance", "GrayLevelNonUniformity", "GrayLevelVariance", "HighGrayLevelEmphasis",
            "LargeDependenceEmphasis", "LargeDependenceHighGrayLevelEmphasis",
            "LargeDependenceLowGrayLevelEmphasis", "LowGrayLevelEmphasis", "SmallDependenceEmphasis",
            "SmallDependenceHighGrayLevelEmphasis", "SmallDependenceLowGrayLevelEmphasis",
        ),
        "glrlm": (
            "GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized", "GrayLevelVariance",
            "HighGrayLevelRunEmphasis", "LongRunEmphasis", "LongRunHighGrayLevelEmphasis",
            "LongRunLowGrayLevelEmphasis", "LowGrayLevelRunEmphasis", "RunEntropy", "RunLengthNonUniformity",
            "RunLengthNonUniformityNormalized", "RunPercentage", "RunVariance", "ShortRunEmphasis",
            "ShortRunHighGrayLevelEmphasis", "ShortRunLowGrayLevelEmphasis",
        ),
        "glszm": (
            "GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized", "GrayLevelVariance",
            "HighGrayLevelZoneEmphasis", "LargeAreaEmphasis", "LargeAreaHighGrayLevelEmphasis",
            "LargeAreaLowGrayLevelEmphasis", "LowGrayLevelZoneEmphasis", "SizeZoneNonUniformity",
            "SizeZoneNonUniformityNormalized", "SmallAreaEmphasis", "SmallAreaHighGrayLevelEmphasis",
            "SmallAreaLowGrayLevelEmphasis", "ZoneEntropy", "ZonePercentage", "ZoneVariance",
        ),
        "ngtdm": ("Busyness", "Coarseness", "Complexity", "Contrast", "Strength"),
        "shape": (
            "Elongation", "Flatness", "LeastAxisLength", "MajorAxisLength", "Maximum2DDiameterColumn",
            "Maximum2DDiameterRow", "Maximum2DDiameterSlice", "Maximum3DDiameter", "MeshVolume",
            "MinorAxisLength", "Sphericity", "SurfaceArea", "SurfaceVolumeRatio", "VoxelVolume",
        ),
        "shape2D": (
            "Elongation", "MajorAxisLength", "MaximumDiameter", "MeshSurface", "MinorAxisLength", "Perimeter",
            "PerimeterSurfaceRatio", "PixelSurface", "Sphericity",
        ),
    }
)  # fmt: skip

#: Features that PyRadiomics computes only when they are named one by one.
OPTIONAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "firstorder": ("StandardDeviation",),
        "shape": ("Compactness1", "Compactness2", "SphericalDisproportion"),
        "shape2D": ("SphericalDisproportion",),
    }
)

#: Names that PyRadiomics knows but no longer computes, with the feature that has the same value.
REMOVED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "glcm": {
            "Dissimilarity": "glcm_DifferenceAverage",
            "Homogeneity1": "glcm_Id",
            "Homogeneity2": "glcm_Idm",
            "SumVariance": "glcm_ClusterTendency",
        },
        "gldm": {
            "DependencePercentage": "none: it is always 1",
            "GrayLevelNonUniformityNormalized": "firstorder_Uniformity",
        },
    }
)

SHAPE_CLASSES = ("shape", "shape2D")


def resolve(classes: Mapping[str, Sequence[str] | None]) -> dict[str, tuple[str, ...]]:
    """The features of each class: all but the optional ones where none is named (None or empty).

    Raises
    ------
    HepacastError
        A class or a feature is unknown, or is one that is no longer computed.
    """
    return {name: _features_of(name, chosen) for name, chosen in classes.items()}


def _features_of(name: str, chosen: Sequence[str] | None) -> tuple[str, ...]:
    if name not in FEATURES:
        raise HepacastError(
            f"There is no feature class {name!r}.", expected=f"one of {', '.join(FEATURES)}", found=name
        )
    if not chosen:
        return FEATURES[name]
    known = (*FEATURES[name], *OPTIONAL.get(name, ()))
    for feature in chosen:
        same = REMOVED.get(name, {}).get(feature)
        if same is not None:
            raise HepacastError(
                f"The feature {name}_{feature} is no longer computed (nor by PyRadiomics).",
                remedy=f"use the feature of the same value: {same}",
            )
        if feature not in known:
            raise HepacastError(
                f"The class {name} has no feature {feature!r}.", expected=f"one of {', '.join(known)}", found=feature
            )
    return tuple(dict.fromkeys(chosen))
