"""PyRadiomics as the oracle of single feature classes on small volumes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

#: Setting of FeatureSettings -> keyword of PyRadiomics.
KEYWORDS = {
    "bin_width": "binWidth",
    "bin_count": "binCount",
    "voxel_array_shift": "voxelArrayShift",
    "distances": "distances",
    "force2d": "force2D",
    "force2d_dimension": "force2Ddimension",
    "weighting_norm": "weightingNorm",
    "symmetrical_glcm": "symmetricalGLCM",
    "gldm_a": "gldm_a",
}


class Oracle:
    """One feature class at a time, straight from PyRadiomics."""

    @staticmethod
    def volume(array: npt.NDArray[Any], spacing_kji: Sequence[float]) -> sitk.Image:
        """A SimpleITK image of `array`."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing([float(step) for step in reversed(spacing_kji)])
        return image

    @classmethod
    def features(
        cls,
        name: str,
        image: npt.NDArray[Any],
        mask: npt.NDArray[np.bool_],
        spacing_kji: Sequence[float],
        settings: Mapping[str, Any] | None = None,
        chosen: Sequence[str] = (),
    ) -> dict[str, float]:
        """`{"glcm_Idn": ...}` as PyRadiomics computes it for the whole array."""
        import radiomics

        radiomics.logger.setLevel(logging.CRITICAL)
        keywords = {KEYWORDS[key]: value for key, value in (settings or {}).items()}
        if "distances" in keywords:
            keywords["distances"] = list(keywords["distances"])
        kind = radiomics.getFeatureClasses()[name]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = kind(cls.volume(image, spacing_kji), cls.volume(mask.astype(np.uint8), spacing_kji), **keywords)
            for feature in chosen:
                made.enableFeatureByName(feature)
            return {f"{name}_{key}": float(np.real(value)) for key, value in made.execute().items()}

    @staticmethod
    def crop(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
        """The mask's bounding box."""
        ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
        k, j, i = (slice(int(low), int(high) + 1) for low, high in ends)
        return k, j, i


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    """PyRadiomics; the test is skipped where it is not installed."""
    pytest.importorskip("radiomics", reason="the oracle is not installed (extra 'oracle')")
    return Oracle
