"""What is to be seen in one virtual patient's CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Lobe = Literal["right", "left"]


@dataclass(frozen=True)
class TumorSpec:
    """One tumor.

    Parameters
    ----------
    lobe
        Where it lies.
    diameter_mm
        Nominal diameter; the liver's edge may cut it.
    lobulation
        SD of the surface's bumps as a share of the radius: 0 is an ellipsoid, 0.25 lobulated.
    """

    lobe: Lobe
    diameter_mm: float
    lobulation: float = 0.09


@dataclass(frozen=True)
class PatientSpec:
    """One virtual patient as the scanner sees him or her.

    Parameters
    ----------
    patient
        Study identifier; with `seed` it fixes every random choice.
    seed
        The cohort's seed.
    sex
        ``M`` or ``F`` (body and liver size).
    tumors
        Tumors, largest first.
    texture
        Hidden degree of nodularity, a standard normal score; it sets the amplitude of the parenchyma's texture.
    cirrhosis
        Larger spleen and an uneven liver edge.
    ascites
        Fluid around the liver.
    embolus
        A dark portal vein branch.
    """

    patient: str
    seed: int
    sex: Literal["M", "F"] = "M"
    tumors: tuple[TumorSpec, ...] = (TumorSpec("right", 60.0),)
    texture: float = 0.0
    cirrhosis: bool = True
    ascites: bool = False
    embolus: bool = False


#: Standard deviation of the parenchyma's texture, HU, at a texture score of 0, and its growth a unit of the score.
TEXTURE_HU = 12.0
TEXTURE_GROWTH_HU = 3.2


def texture_amplitude(score: float) -> float:
    """Standard deviation of the nodular texture, HU: ``12 + 3.2 score``, 4 to 20 HU for scores of -2.5 to 2.5."""
    return max(TEXTURE_HU + TEXTURE_GROWTH_HU * score, 0.0)
