"""Readable names: of features, of numbers on axes and in legends."""

from __future__ import annotations

import math
import re

#: Classes of features that are words; the others are abbreviations, and stand in capitals.
_CLASSES = {"firstorder": "first order", "shape": "shape", "shape2D": "2D shape"}
_FEATURE_OF = re.compile(
    r"(.+:)?(original|wavelet|log-sigma|square|logarithm|exponential|gradient|lbp-[23]D)\S*_[A-Za-z0-9]+_[A-Z0-9]\w*"
)
_IMAGES = {"original": "", "squareroot": "square root", "lbp-3D": "LBP 3D"}


def feature_label(name: str) -> str:
    """A radiomics feature as a person reads it.

    Examples
    --------
    >>> feature_label("parenchyma:wavelet-LLH_glcm_Idn")
    'Parenchyma, GLCM Idn (wavelet LLH)'
    >>> feature_label("tumor:original_shape_Sphericity")
    'Tumor, shape sphericity'
    """
    *place, feature = name.split(":")
    parts = feature.split("_")
    if not _FEATURE_OF.fullmatch(name):
        text = feature.replace("_", " ")
        return ", ".join([*(_title(item) for item in place), text]) if place else text
    image = "_".join(parts[:-2])
    text = f"{_CLASSES.get(parts[-2], parts[-2].upper())} {_words(parts[-1])}"
    shown = _image(image)
    if shown:
        text += f" ({shown})"
    return ", ".join([*(_title(item) for item in place), text]) if place else text[0].upper() + text[1:]


def _title(text: str) -> str:
    return (text[:1].upper() + text[1:]).replace("_", " ")


def _words(camel: str) -> str:
    """`LargeDependenceEmphasis` -> `large dependence emphasis`; short names (`Idn`, `Imc1`, `MCC`) stay as they are."""
    if re.fullmatch(r"\d*[A-Z][a-z]{0,2}\d?|[A-Z0-9]+|\d+Percentile|I[a-z]+\d?", camel):
        return camel.replace("Percentile", "th percentile")
    words = re.findall(r"[23]D|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", camel)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)


def _image(image: str) -> str:
    if image in _IMAGES:
        return _IMAGES[image]
    if image.startswith("wavelet-"):
        return f"wavelet {image[8:]}"
    match = re.fullmatch(r"log-sigma-([\d.-]+?)-mm-3D", image)
    if match:
        number = match.group(1).replace("-", ".")
        return f"LoG {number.rstrip('0').rstrip('.') if '.' in number else number} mm"
    match = re.fullmatch(r"lbp-3D-(.+)", image)
    if match:
        return f"LBP 3D {match.group(1)}"
    return image.replace("_", " ")


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """`0.878 (0.761–0.994)`; an undefined limit leaves the brackets out."""
    if not math.isfinite(value):
        return "not estimable"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f}\N{EN DASH}{high:.{digits}f})"
