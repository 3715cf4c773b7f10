"""All features of one image and one VOI: the step between filtered images and a table of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.radiomics.discretise import LevelImage, Levels, discretise
from hepacast.radiomics.features.base import FeatureSettings, FeatureWarning, FeatureWarnings, UndefinedError
from hepacast.radiomics.features.firstorder import firstorder
from hepacast.radiomics.features.glcm import glcm
from hepacast.radiomics.features.gldm import gldm
from hepacast.radiomics.features.glrlm import glrlm
from hepacast.radiomics.features.glszm import glszm
from hepacast.radiomics.features.ngtdm import ngtdm
from hepacast.radiomics.features.registry import FEATURES, SHAPE_CLASSES, resolve
from hepacast.radiomics.features.shape2d import shape2d
from hepacast.radiomics.features.shape3d import shape3d
from hepacast.radiomics.kernels.neighbours import Neighbourhoods, count_neighbours
from hepacast.radiomics.kernels.offsets import half_offsets
from hepacast.radiomics.kernels.voi import Voi, gather

__all__ = [
    "FEATURES",
    "FeatureSettings",
    "FeatureWarning",
    "FeatureWarnings",
    "Voi",
    "image_features",
    "shape_features",
]

#: Grey levels in one VOI up to which texture is computed: the work grows with pairs of levels, and what is left of
#: texture with so many levels is noise.
MAX_TEXTURE_LEVELS = 1 << 14

Values = dict[str, float | UndefinedError]


def image_features(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any] | Voi,
    spacing_kji: Sequence[float],
    settings: FeatureSettings,
    classes: Mapping[str, Sequence[str] | None],
    warnings: FeatureWarnings | None = None,
    levels: Levels | None = None,
) -> dict[str, float]:
    """Intensity and texture features of one VOI in one image (original or filtered).

    Parameters
    ----------
    image
        Shape (k, j, i), cropped to the VOI or larger (the result is the same). Give the array in the type in which
        PyRadiomics would hold it (integers, float32 or float64): bin edges are computed in that type.
    mask
        Boolean, same shape; or a `Voi` made from it once, which saves time over many images.
    spacing_kji
        Voxel size along the axes of the array, mm.
    settings
        What changes the values.
    classes
        Feature classes in the order wanted, each with its features (None or empty: all but the optional ones).
        Shape classes are left out here, see `shape_features`.
    warnings
        Receives the reason of every feature that is NaN.
    levels
        Grey levels of the VOI's voxels where they are given (feature maps: the levels of a larger VOI) instead of
        computed from the intensities.

    Returns
    -------
    dict
        ``{"firstorder_Mean": ..., "glcm_Idn": ...}`` in PyRadiomics' order; NaN where a feature has no value.

    Raises
    ------
    HepacastError
        Unknown class or feature; image and mask of different shapes.
    """
    chosen = {name: names for name, names in resolve(classes).items() if name not in SHAPE_CLASSES}
    voi = _voi(mask, image.shape)
    work = _Work(image, voi, spacing_kji, settings, levels)
    result: dict[str, float] = {}
    for name, features in chosen.items():
        _store(result, name, features, partial(work.compute, name, features), warnings)
    return result


def shape_features(
    mask: npt.NDArray[Any] | Voi,
    spacing_kji: Sequence[float],
    classes: Mapping[str, Sequence[str] | None],
    settings: FeatureSettings | None = None,
    warnings: FeatureWarnings | None = None,
) -> dict[str, float]:
    """Shape features (``shape``, ``shape2D``) of one VOI; classes of other kinds are left out.

    Parameters are those of `image_features`. ``shape2D`` needs `settings.force2d` and a VOI of one slice along
    `settings.force2d_dimension`; else its features are NaN, with that reason.
    """
    chosen = {name: names for name, names in resolve(classes).items() if name in SHAPE_CLASSES}
    voi = _voi(mask, None)
    steps = tuple(float(step) for step in spacing_kji)
    compute = {
        "shape": lambda features: shape3d(voi, steps, features),
        "shape2D": lambda features: shape2d(voi, steps, settings or FeatureSettings(), features),
    }
    result: dict[str, float] = {}
    for name, features in chosen.items():
        task = partial(compute[name], features) if voi.n_voxels else _empty
        _store(result, name, features, task, warnings)
    return result


def _empty() -> Values:
    raise UndefinedError("the VOI has no voxels")


def _voi(mask: npt.NDArray[Any] | Voi, shape: tuple[int, ...] | None) -> Voi:
    found = mask.shape
    if len(found) != 3 or (shape is not None and tuple(found) != tuple(shape)):
        raise ImageError(
            "The mask does not lie on the image's grid.", expected=f"shape {shape}", found=f"shape {tuple(found)}"
        )
    return mask if isinstance(mask, Voi) else Voi.from_mask(mask)


def _store(
    result: dict[str, float],
    name: str,
    features: Sequence[str],
    compute: Callable[[], Values],
    warnings: FeatureWarnings | None,
) -> None:
    """Add one class's values under their full names; what is undefined becomes NaN and its reason is kept."""
    try:
        values = compute()
        fallback = UndefinedError("not computed")
    except UndefinedError as error:
        values, fallback = {}, error
    for feature in features:
        value = values.get(feature, fallback)
        full = f"{name}_{feature}"
        reason = str(value) if isinstance(value, UndefinedError) else None
        if reason is None and not np.isfinite(value):  # type: ignore[arg-type]
            reason = f"the formula gives {value} here"
        result[full] = float("nan") if reason is not None else float(value)  # type: ignore[arg-type]
        if reason is not None and warnings is not None:
            warnings.add(full, reason)


class _Work:
    """The intermediate results that several classes share, each made when first needed."""

    def __init__(
        self,
        image: npt.NDArray[Any],
        voi: Voi,
        spacing_kji: Sequence[float],
        settings: FeatureSettings,
        levels: Levels | None = None,
    ) -> None:
        self.voi = voi
        self.spacing = tuple(float(step) for step in spacing_kji)
        self.settings = settings
        self._image = image
        self._values: npt.NDArray[Any] | None = None
        self._ends: tuple[Any, Any] = (np.nan, np.nan)
        self._levels: Levels | UndefinedError | None = levels
        self._level_image: LevelImage | None = None
        self._neighbours: Neighbourhoods | None = None

    def compute(self, name: str, features: Sequence[str]) -> Values:
        """The values of one class."""
        return _CLASSES[name](self, features)

    def values(self) -> npt.NDArray[Any]:
        """The voxels' intensities, all finite."""
        if not self.voi.n_voxels:
            _empty()
        if self._values is None:
            self._values = gather(self._image, self.voi)
            self._ends = self._values.min(), self._values.max()
        if not (np.isfinite(self._ends[0]) and np.isfinite(self._ends[1])):
            bad = int(np.count_nonzero(~np.isfinite(self._values)))
            raise UndefinedError(f"{bad} of {self.voi.n_voxels} voxels of the VOI have no finite value")
        return self._values

    def ends(self) -> tuple[Any, Any]:
        """Smallest and largest intensity, in the image's number type."""
        self.values()
        return self._ends

    def levels(self) -> Levels:
        """The voxels' grey levels."""
        if self._levels is None:
            values = self.values()
            try:
                self._levels = discretise(values, self.settings, self._ends)
            except UndefinedError as error:
                self._levels = error
        if isinstance(self._levels, UndefinedError):
            raise self._levels
        return self._levels

    def level_image(self) -> LevelImage:
        """The grey levels on the padded bounding box."""
        if self._level_image is None:
            levels = self.levels()
            if len(levels.present) > MAX_TEXTURE_LEVELS:
                raise UndefinedError(
                    f"{len(levels.present)} grey levels occur in the VOI; texture is for {MAX_TEXTURE_LEVELS} at most: "
                    "choose wider bins"
                )
            self._level_image = levels.padded(self.voi, max(self.settings.distances))
        return self._level_image

    def neighbours(self) -> Neighbourhoods:
        """The counts that GLDM and NGTDM share."""
        if self._neighbours is None:
            offsets = half_offsets(self.settings.distances, self.settings.flat_axis)
            self._neighbours = count_neighbours(self.level_image(), offsets, self.settings.gldm_a)
        return self._neighbours


def _firstorder(work: _Work, features: Sequence[str]) -> Values:
    values = work.values()
    needs_levels = {"Entropy", "Uniformity"} & set(features)
    undefined: Values = {}
    levels = None
    if needs_levels:
        try:
            levels = work.levels()
        except UndefinedError as error:
            undefined = dict.fromkeys(needs_levels, error)
    volume = float(np.prod(work.spacing))
    doubles = values.astype(np.float64, copy=False)
    return {**undefined, **firstorder(doubles, work.ends(), levels, volume, work.settings, features)}


def _glcm(work: _Work, features: Sequence[str]) -> Values:
    return glcm(work.level_image(), work.spacing, work.settings, features)


def _glrlm(work: _Work, features: Sequence[str]) -> Values:
    return glrlm(work.level_image(), work.voi, work.spacing, work.settings, features)


def _glszm(work: _Work, features: Sequence[str]) -> Values:
    return glszm(work.level_image(), work.settings, features)


def _gldm(work: _Work, features: Sequence[str]) -> Values:
    return gldm(work.level_image(), work.neighbours(), features)


def _ngtdm(work: _Work, features: Sequence[str]) -> Values:
    return ngtdm(work.level_image(), work.neighbours(), features)


_CLASSES: dict[str, Callable[[_Work, Sequence[str]], Values]] = {
    "firstorder": _firstorder,
    "glcm": _glcm,
    "glrlm": _glrlm,
    "glszm": _glszm,
    "gldm": _gldm,
    "ngtdm": _ngtdm,
}
