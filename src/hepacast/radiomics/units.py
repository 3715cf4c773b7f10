"""The unit of a feature, in UCUM, for formats that ask for one."""

from __future__ import annotations

from hepacast.radiomics.names import split_name

HU = "[hnsf'U]"
#: Of intensities whose scale is that of the scanner or of a filter.
ARBITRARY = "[arb'U]"
NONE = "1"
_SHAPE = {
    "MeshVolume": "mm3", "VoxelVolume": "mm3", "SurfaceArea": "mm2", "MeshSurface": "mm2", "PixelSurface": "mm2",
    "Perimeter": "mm", "SurfaceVolumeRatio": "/mm", "PerimeterSurfaceRatio": "/mm", "MajorAxisLength": "mm",
    "MinorAxisLength": "mm", "LeastAxisLength": "mm", "MaximumDiameter": "mm", "Maximum3DDiameter": "mm",
    "Maximum2DDiameterSlice": "mm", "Maximum2DDiameterColumn": "mm", "Maximum2DDiameterRow": "mm",
}  # fmt: skip
_PURE = frozenset({"Kurtosis", "Skewness", "Uniformity"})
_SQUARED = frozenset({"Energy", "Variance"})


def ucum_unit(name: str, modality: str, *, scaled: bool = False) -> str:
    """Unit of a feature.

    Parameters
    ----------
    name
        Full name (``original_firstorder_Mean``), also with sequence and VOI before it.
    modality
        Of the image: only intensities of a CT are HU.
    scaled
        Whether intensities were brought to another scale before.
    """
    parts = split_name(name.split(":")[-1])
    if parts is None:
        return NONE
    image, feature_class, feature = parts
    if feature_class in ("shape", "shape2D"):
        return _SHAPE.get(feature, NONE)
    if feature_class != "firstorder" or feature in _PURE:
        return NONE
    if feature == "Entropy":
        return "bit"
    intensity = HU if modality == "CT" and image == "original" and not scaled else ARBITRARY
    if feature == "TotalEnergy":
        return f"mm3.{intensity}2"
    return f"{intensity}2" if feature in _SQUARED else intensity
