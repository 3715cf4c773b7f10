"""Are the images of one patient the phases that their names say?

Contrast only adds to the density of the liver: unenhanced it is the darkest. Most of it comes by the portal vein, so
that the arterial phase is darker than the portal one.

References
----------
Heiken JP et al., Radiology 1995;195:353-357 (enhancement of the liver by 50 HU and more in the portal phase).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from hepacast.imaging import Volume
from hepacast.imaging.phases import ARTERIAL, PORTAL, UNENHANCED, phase_of
from hepacast.segmentation.doubts import Remark

#: A liver that is brighter in the earlier phase by more than this (HU) is no matter of timing and noise.
TURNED_HU = 15.0


def judge_phases(
    volumes: Mapping[str, Volume], masks: Mapping[str, Volume], modalities: Mapping[str, str | None]
) -> list[Remark]:
    """What speaks against the names of several images of one patient.

    Parameters
    ----------
    volumes
        By sequence, whose names may speak of phases ("portal", "动脉期").
    masks
        With ``parenchyma`` or ``liver``: of CT its median tells phases apart.
    modalities
        By sequence; of MR intensities are not compared.
    """
    found = [
        Remark("doubtful", "same-image", f"{first}, {second}", "two sequences hold one and the same image")
        for first, second in combinations(volumes, 2)
        if _same(volumes[first], volumes[second])
    ]
    organ = next((masks[name] for name in ("parenchyma", "liver") if name in masks and masks[name].array.any()), None)
    seen: dict[str, tuple[str, float]] = {}
    for name, volume in volumes.items():
        phase = phase_of(name)
        if (
            organ is None
            or phase is None
            or modalities.get(name) != "CT"
            or not volume.geometry.is_same(organ.geometry)
        ):
            continue
        seen[phase] = (name, float(np.nanmedian(volume.array[organ.array.astype(bool)].astype(float))))
    pairs = [(UNENHANCED, phase) for phase in seen if phase != UNENHANCED] + [(ARTERIAL, PORTAL)]
    for early, late in pairs:
        if early in seen and late in seen and seen[early][1] > seen[late][1] + TURNED_HU:
            (first, brighter), (second, darker) = seen[early], seen[late]
            problem = f"the liver is brighter in {first} than in {second}: are the two images exchanged?"
            found.append(
                Remark("doubtful", "phases", f"{first}, {second}", problem, f"{brighter:.4g}, {darker:.4g} HU")
            )
    return found


def _same(first: Volume, second: Volume) -> bool:
    if not first.geometry.is_same(second.geometry) or first.array.dtype != second.array.dtype:
        return False
    return bool(np.array_equal(first.array, second.array, equal_nan=first.array.dtype.kind == "f"))
