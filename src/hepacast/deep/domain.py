"""What a crop looks like in a few numbers, so that a new patient unlike those of the training is told from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.deep.crops import normalization
from hepacast.deep.spec import CropSpec
from hepacast.stats.coarse import coarse_range

#: Lower and upper limit of the training patients.
Range = tuple[float, float]


def crop_facts(
    crop: npt.NDArray[np.floating],
    voi: npt.NDArray[np.bool_],
    spacing: Sequence[float],
    spec: CropSpec,
    structure: str,
    modalities: Mapping[str, str],
) -> dict[str, float]:
    """Volume of the VOI, and intensities inside and around it, by what they are.

    Parameters
    ----------
    crop
        (channels, z, y, x), as `crop_patient` makes it.
    voi
        Mask of the structure on the crop's grid, (z, y, x).
    spacing
        Voxel size (x, y, z), mm.
    spec
        With its channels named.
    structure
        Name of the VOI, for the words.
    modalities
        ``CT`` or ``MR`` by sequence.

    Returns
    -------
    dict
        Windowed CT in HU and windowed MR on its own scale (limited by the window), others on the scale of the crop.
        Nothing of a sequence for which zeros stand in, or of an empty mask.
    """
    if not voi.any():
        return {}
    found = {f"volume of {structure} in the crop (ml)": float(voi.sum() * math.prod(spacing) / 1000.0)}
    level, width = spec.window
    for name, channel in zip(spec.channels, crop, strict=False):
        if not channel.any():  # all zeros stand in for a sequence that is missing
            continue
        windowed = normalization(spec, name, modalities) == "window"
        half, middle = (width / 2.0, level) if windowed else (1.0, 0.0)
        unit = "of the crop's scale" if not windowed else "of its scale" if modalities.get(name) == "MR" else "HU"
        found[f"{name}, mean of {structure} ({unit})"] = middle + half * float(channel[voi].mean())
        found[f"{name}, SD within {structure} ({unit})"] = half * float(channel[voi].std())
        if not voi.all():
            found[f"{name}, mean around {structure} ({unit})"] = middle + half * float(channel[~voi].mean())
    return found


def ranges_of(patients: Iterable[Mapping[str, float]]) -> dict[str, Range]:
    """About the smallest and largest value of each fact (`coarse_range`)."""
    values: dict[str, list[float]] = {}
    for facts in patients:
        for name, value in facts.items():
            if math.isfinite(value):
                values.setdefault(name, []).append(float(value))
    return {name: coarse_range(found) for name, found in values.items()}


def outside(facts: Mapping[str, float], ranges: Mapping[str, Any]) -> list[str]:
    """A sentence for each fact that lies outside the training range."""
    found = []
    for name, value in facts.items():
        if name in ranges and math.isfinite(value):
            low, high = (float(limit) for limit in ranges[name])
            if not low <= value <= high:
                found.append(f"{name} {value:.3g}: outside the training range, {low:.3g} to {high:.3g}")
    return found
