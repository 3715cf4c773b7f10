"""The names of PyRadiomics: image types and the images that each gives, in its order.

The names of feature classes and features stand in `features.registry`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hepacast.radiomics.features.registry import FEATURES, OPTIONAL, REMOVED, SHAPE_CLASSES

__all__ = [
    "FEATURES",
    "IMAGE_TYPES",
    "OPTIONAL",
    "REMOVED",
    "SHAPE_CLASSES",
    "image_names",
    "log_image_name",
    "selected_features",
    "split_name",
    "wavelet_image_names",
]

IMAGE_TYPES = (
    "Original",
    "Wavelet",
    "LoG",
    "Square",
    "SquareRoot",
    "Logarithm",
    "Exponential",
    "Gradient",
    "LBP2D",
    "LBP3D",
)


def selected_features(feature_class: str, chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    """The features of a class that a settings file switches on, in the order of PyRadiomics' result.

    `chosen` None or empty means all features that are not deprecated. PyRadiomics calculates features in the
    order in which they are named.
    """
    return chosen or FEATURES[feature_class]


def log_image_name(sigma: float) -> str:
    """PyRadiomics' name of a Laplacian-of-Gaussian image: ``log-sigma-1-0-mm-3D``.

    A whole number without a decimal point in the settings file gives ``log-sigma-1-mm-3D`` there, so the value is
    kept as it was written.
    """
    return f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D"


def wavelet_image_names(level: int, axes: int) -> list[str]:
    """PyRadiomics' names of a wavelet transform's images: details level by level, then the last approximation."""
    decompositions = [""]
    for _ in range(axes):
        decompositions = [name + letter for name in decompositions for letter in "LH"]
    names = []
    for index in range(1, level + 1):
        prefix = "wavelet" if index == 1 else f"wavelet{index}"
        names += [f"{prefix}-{name}" for name in decompositions[1:]]
    last = "wavelet" if level == 1 else f"wavelet{level}"
    return [*names, f"{last}-{'L' * axes}"]


def image_names(image_type: str, parameters: Mapping[str, Any]) -> list[str]:
    """The names of the images that one image type gives, in PyRadiomics' order."""
    if image_type == "Wavelet":
        return wavelet_image_names(int(parameters["level"]), 2 if parameters["force2D"] else 3)
    if image_type == "LoG":
        return [log_image_name(sigma) for sigma in parameters["sigma"]]
    if image_type == "LBP2D":
        return ["lbp-2D"]
    if image_type == "LBP3D":
        return [*(f"lbp-3D-m{level + 1}" for level in range(int(parameters["lbp3DLevels"]))), "lbp-3D-k"]
    return [image_type.lower()]


_FEATURE_NAME = re.compile(r"^(?P<image>.+)_(?P<cls>[A-Za-z0-9]+)_(?P<feature>[A-Za-z0-9]+)$")


def split_name(name: str) -> tuple[str, str, str] | None:
    """``wavelet-LLH_glcm_Idn`` -> image, class, feature; None when it is not a feature's name."""
    match = _FEATURE_NAME.match(name)
    if match is None or match["cls"] not in FEATURES:
        return None
    return match["image"], match["cls"], match["feature"]
