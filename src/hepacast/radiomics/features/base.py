"""What every feature class shares: the settings, the list of reasons, and how an undefined value is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hepacast.errors import HepacastError

#: NumPy's spacing(1): PyRadiomics adds it inside logarithms and denominators, so the values depend on it.
EPS = 2.220446049250313e-16

WEIGHTING_NORMS = ("manhattan", "euclidean", "infinity", "no_weighting")


@dataclass(frozen=True)
class FeatureSettings:
    """The settings that change the value of a feature of a given image and mask.

    Names and defaults follow PyRadiomics; its parameter-file name stands in brackets.

    Parameters
    ----------
    bin_width
        [binWidth] Width of a grey-level bin, in the image's unit (HU). Ignored where `bin_count` is given.
    bin_count
        [binCount] Number of equal bins between the VOI's minimum and maximum.
    voxel_array_shift
        [voxelArrayShift] Added to every voxel in Energy, TotalEnergy and RootMeanSquared.
    distances
        [distances] Chebyshev distances in voxels between neighbours: GLCM, GLDM, NGTDM. (Runs and zones have none.)
    force2d, force2d_dimension
        [force2D, force2Ddimension] Take no neighbours along this axis of the array (0 = k, slices).
    weighting_norm
        [weightingNorm] Merge the angles' GLCM and GLRLM, weighted by the neighbour's distance in this norm;
        None keeps one matrix an angle and averages the features.
    symmetrical_glcm
        [symmetricalGLCM] Count each pair of neighbours in both orders.
    gldm_a
        [gldm_a] Largest grey-level difference of dependent neighbours.
    """

    bin_width: float = 25.0
    bin_count: int | None = None
    voxel_array_shift: float = 0.0
    distances: tuple[int, ...] = (1,)
    force2d: bool = False
    force2d_dimension: int = 0
    weighting_norm: str | None = None
    symmetrical_glcm: bool = True
    gldm_a: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "distances", tuple(int(d) for d in self.distances))
        _require(self.bin_width > 0, "binWidth", "a number above 0", self.bin_width)
        _require(self.bin_count is None or self.bin_count >= 1, "binCount", "1 or more", self.bin_count)
        valid = bool(self.distances) and min(self.distances) >= 1
        _require(valid, "distances", "whole numbers of voxels, 1 or more", self.distances)
        _require(self.force2d_dimension in (0, 1, 2), "force2Ddimension", "0, 1 or 2", self.force2d_dimension)
        known = self.weighting_norm is None or self.weighting_norm in WEIGHTING_NORMS
        _require(known, "weightingNorm", f"one of {', '.join(WEIGHTING_NORMS)}", self.weighting_norm)
        _require(self.gldm_a >= 0, "gldm_a", "0 or more", self.gldm_a)

    @property
    def flat_axis(self) -> int | None:
        """The array axis along which no neighbours are taken, or None."""
        return self.force2d_dimension if self.force2d else None


def _require(valid: bool, name: str, expected: str, found: object) -> None:
    if not valid:
        raise HepacastError(f"The setting {name} cannot be used.", expected=expected, found=str(found))


class FeatureWarning(NamedTuple):
    """Why one feature has no value."""

    feature: str
    reason: str


class FeatureWarnings:
    """Collects the reasons of features that are NaN; the first reason of a feature is kept."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def add(self, feature: str, reason: str) -> None:
        """Note why `feature` (such as ``glcm_Idn``) has no value."""
        self._reasons.setdefault(feature, reason)

    def reason(self, feature: str) -> str | None:
        """The reason noted for `feature`, if any."""
        return self._reasons.get(feature)

    def as_dict(self) -> dict[str, str]:
        """All reasons by feature name."""
        return dict(self._reasons)

    def __iter__(self) -> Iterator[FeatureWarning]:
        return (FeatureWarning(name, reason) for name, reason in self._reasons.items())

    def __len__(self) -> int:
        return len(self._reasons)


class UndefinedError(Exception):
    """A feature (or a whole class) has no value here; the text says why. Never leaves this package."""
