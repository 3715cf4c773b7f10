"""Compare a feature table made elsewhere with our values: what agrees, and which setting or version explains the rest.

The other table may be PyRadiomics' own CSV (one row a patient, ``diagnostics_*`` columns), or one of ours.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hepacast.errors import TableError
from hepacast.radiomics.names import SHAPE_CLASSES, split_name
from hepacast.radiomics.parameters import NOT_HASHED, VOXEL_SETTINGS, Parameters
from hepacast.radiomics.settings import Settings

#: Values nearer than this are the same; PyRadiomics' releases differ by less from each other.
TOLERANCE = 1e-6

#: Differences below this are rounding errors of a value that should be 0.
ZERO = 1e-12

_SETTINGS_KEY = "diagnostics_Configuration_Settings"
_TYPES_KEY = "diagnostics_Configuration_EnabledImageTypes"
_VERSION_KEY = "diagnostics_Versions_PyRadiomics"


@dataclass(frozen=True)
class FeatureComparison:
    """What two sets of values have in common.

    Parameters
    ----------
    features
        Index feature: ours, other, relative difference, agrees.
    only_ours, only_other
        Features that stand in one of them.
    explanations
        What may explain the differences, the most likely first.
    """

    features: pd.DataFrame
    only_ours: list[str]
    only_other: list[str]
    explanations: list[str] = field(default_factory=list)

    @property
    def agreement(self) -> float:
        """Share of the common features whose values agree."""
        return float(self.features["agrees"].mean()) if len(self.features) else float("nan")

    def by_group(self) -> pd.DataFrame:
        """Share that agrees for each image and class."""
        parts = [split_name(str(name)) or ("", "", "") for name in self.features.index]
        frame = self.features.assign(image=[part[0] for part in parts], feature_class=[part[1] for part in parts])
        return frame.groupby(["image", "feature_class"], sort=False)["agrees"].agg(["mean", "size"])


def relative_difference(ours: Any, other: Any) -> Any:
    """|a - b| / max(|a|, |b|); 0 for equal values, two NaN, and differences below `ZERO`."""
    first, second = np.asarray(ours, dtype=float), np.asarray(other, dtype=float)
    gap = np.abs(first - second)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = gap / np.maximum(np.abs(first), np.abs(second))
    result = np.where((gap <= ZERO) | (first == second) | (np.isnan(first) & np.isnan(second)), 0.0, result)
    return np.where(np.isnan(result), np.inf, result)


def compare_features(
    ours: Mapping[str, float],
    other: Mapping[str, Any],
    settings: Settings,
    *,
    tolerance: float = TOLERANCE,
) -> FeatureComparison:
    """Compare one VOI's features.

    Parameters
    ----------
    ours
        Our values by feature name.
    other
        The other values, with PyRadiomics' ``diagnostics_*`` entries where the table has them.
    settings
        The settings of our values.
    """
    theirs = {
        name: float(value) for name, value in other.items() if not name.startswith("diagnostics_") and split_name(name)
    }
    common = [name for name in ours if name in theirs]
    a = np.array([ours[name] for name in common], dtype=float)
    b = np.array([theirs[name] for name in common], dtype=float)
    difference = relative_difference(a, b)
    frame = pd.DataFrame(
        {"ours": a, "other": b, "relative_difference": difference, "agrees": difference <= tolerance},
        index=pd.Index(common, name="feature"),
    )
    only_ours = [name for name in ours if name not in theirs]
    only_other = [name for name in theirs if name not in ours]
    result = FeatureComparison(frame, only_ours, only_other)
    result.explanations.extend(_explain(result, other, settings))
    return result


def read_other_table(frame: pd.DataFrame, patient: str | None = None, voi: str | None = None) -> dict[str, Any]:
    """One VOI's features from a table made elsewhere.

    Long tables (columns ``feature`` and ``value``) and PyRadiomics' wide or transposed CSV are understood.

    Raises
    ------
    TableError
        No features are found, or several rows fit.
    """
    if {"feature", "value"} <= set(frame.columns):
        for column, wanted in (("patient", patient), ("voi", voi)):
            if wanted is not None and column in frame.columns:
                frame = frame[frame[column].astype(str) == wanted]
        if frame["feature"].duplicated().any():
            raise TableError("Several VOIs fit.", remedy="name the patient and the VOI")
        return dict(zip(frame["feature"].astype(str), frame["value"]))
    names = [column for column in frame.columns if split_name(str(column).split(":")[-1])]
    if names:
        rows = frame
        if patient is not None and len(rows) > 1:
            fits = (rows.astype(str) == str(patient)).any(axis=1) | (rows.index.astype(str) == patient)
            rows = rows[fits]
        if len(rows) != 1:
            raise TableError(
                "One row must be compared.", found=f"{len(rows)} rows", remedy="name the patient of the row"
            )
        row = rows.iloc[0]
        prefix = f"{voi}:" if voi is not None else ""
        return {
            str(column).removeprefix(prefix): value
            for column, value in row.items()
            if str(column).startswith((prefix, "diagnostics_"))
        }
    first = frame.iloc[:, 0].astype(str) if frame.shape[1] else pd.Series(dtype=str)
    if frame.shape[1] >= 2 and any(split_name(name) for name in first):
        return dict(zip(first, frame.iloc[:, 1]))
    raise TableError("No features under PyRadiomics' names are found in the other table.")


def _explain(result: FeatureComparison, other: Mapping[str, Any], settings: Settings) -> list[str]:
    found = []
    theirs = _literal(other.get(_SETTINGS_KEY))
    if theirs is not None:
        found += _setting_differences(theirs, settings.parameters)
    types = _literal(other.get(_TYPES_KEY))
    if types is not None and list(types) != list(settings.image_types):
        found.append(f"image types differ: ours {', '.join(settings.image_types)}; other {', '.join(types)}")
    if not len(result.features) or result.features["agrees"].all():
        return found
    version = str(other.get(_VERSION_KEY, ""))
    if version:
        found.append(f"the other values were made by version {version}")
    return found + _patterns(result.features)


def _setting_differences(theirs: Mapping[str, Any], ours: Parameters) -> list[str]:
    mine = ours.model_dump()
    defaults = Parameters.model_validate({}).model_dump()
    found = []
    for key, own in mine.items():
        if key in NOT_HASHED or key in VOXEL_SETTINGS:
            continue
        value = theirs.get(key, defaults[key])
        value = tuple(value) if isinstance(value, list) else value
        if value != own:
            found.append(f"{key} differs: ours {own}, other {value}")
    unknown = [key for key in theirs if key not in mine and key not in ("voxelBased",)]
    return found + [f"the other settings have {key}, which PyRadiomics 3 does not know" for key in unknown]


def _patterns(frame: pd.DataFrame) -> list[str]:
    """What the pattern of disagreement says when the settings do not."""
    parts = [split_name(str(name)) or ("", "", "") for name in frame.index]
    classes = np.array([part[1] for part in parts])
    images = np.array([part[0] for part in parts])
    features = np.array([part[2] for part in parts])
    bad = ~frame["agrees"].to_numpy()
    found = []

    def all_bad(chosen: Any) -> bool:
        return bool(chosen.any() and bad[chosen].mean() > 0.9)

    def all_good(chosen: Any) -> bool:
        return bool(chosen.any() and not bad[chosen].any())

    shape = classes == "shape"
    leveled = np.isin(features, ("Entropy", "Uniformity")) & (classes == "firstorder")
    plain = (classes == "firstorder") & ~leveled
    texture = ~np.isin(classes, ("firstorder", *SHAPE_CLASSES))
    original = images == "original"
    shifted = plain & np.isin(features, ("Energy", "TotalEnergy", "RootMeanSquared"))
    if all_bad(shape):
        found.append("shape differs: another mask, another label, or resampling")
    if all_good(plain & original) and all_bad((leveled | texture) & original):
        found.append("intensities agree but gray levels do not: another binWidth or binCount")
    if all_bad(shifted) and all_good(plain & ~shifted):
        found.append("only Energy, TotalEnergy and RootMeanSquared differ: another voxelArrayShift")
    points = np.isin(images, ("square", "squareroot", "logarithm", "exponential"))
    if all_good(original) and all_bad(points):
        found.append("point filters differ: they scale by the image's maximum, so the image was cropped (preCrop)")
    for prefix, text in (("wavelet", "another wavelet or border"), ("log-sigma", "another sigma or image border")):
        chosen = np.array([str(image).startswith(prefix) for image in images])
        if all_good(original) and all_bad(chosen):
            found.append(f"{prefix} images differ: {text}")
    if all_bad(plain & original) and not all_bad(shape):
        found.append("intensities differ inside the same mask: normalization, resampling, resegmentation or rescaling")
    return found


def _literal(value: Any) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str):
        return None
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return None
    return parsed if isinstance(parsed, dict) else None
