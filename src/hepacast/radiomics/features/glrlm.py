"""Grey-level run-length matrix (GLRLM): how long levels stay the same along each direction."""

from __future__ import annotations

from collections.abc import Sequence

from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.features.base import FeatureSettings, UndefinedError
from hepacast.radiomics.features.sizes import RUN_NAMES, size_formulas
from hepacast.radiomics.kernels.offsets import half_offsets, weights
from hepacast.radiomics.kernels.runs import count_runs
from hepacast.radiomics.kernels.voi import Voi


def glrlm(
    image: LevelImage, voi: Voi, spacing_kji: Sequence[float], settings: FeatureSettings, names: Sequence[str]
) -> dict[str, float | UndefinedError]:
    """GLRLM features (PyRadiomics ``glrlm``; IBSI 1 section 3.7, family TP0I): the mean over directions.

    Directions in which no line holds two voxels of the VOI are left out; `settings.weighting_norm` merges the
    matrices first.

    Raises
    ------
    UndefinedError
        No line holds two voxels of the VOI.
    """
    offsets = half_offsets((1,), settings.flat_axis)
    runs = count_runs(image, voi, offsets)
    if settings.weighting_norm is not None:
        runs = runs.merged(weights(offsets, spacing_kji, settings.weighting_norm, decay=False))
    matrices = [matrix for matrix in runs.matrices() if matrix.count.sum() > 0]
    if not matrices:
        raise UndefinedError("no line through the VOI holds two of its voxels")
    values = [size_formulas(matrix, image.level_of_code) for matrix in matrices]
    return {name: sum(value[RUN_NAMES[name]] for value in values) / len(values) for name in names}
