"""Extraction: all features of all VOIs of one image, sharing preprocessing and filters between VOIs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hepacast.errors import HepacastError, ImageError
from hepacast.imaging import Volume
from hepacast.radiomics import names
from hepacast.radiomics.backend_pyradiomics import extract_with_pyradiomics
from hepacast.radiomics.core import FeatureSettings, FeatureWarnings, Voi, image_features, shape_features
from hepacast.radiomics.cost import longest_first
from hepacast.radiomics.diagnostics import engine_name, general_entries
from hepacast.radiomics.discretise import Levels, bin_edges
from hepacast.radiomics.filters import OUTSIDE, VoxelBox, filtered_images
from hepacast.radiomics.filters.source import Scratch, SourceImage
from hepacast.radiomics.parameters import Parameters
from hepacast.radiomics.preprocess import PreparedVoi, VoiGroup, outside_reason, prepare
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings

Backend = Literal["hepacast", "pyradiomics"]

#: Name given to the VOI when a single mask is passed.
SINGLE = "voi"


def extract(
    volume: Volume,
    vois: Mapping[str, Volume] | Volume,
    settings: Settings | str | Path | Mapping[str, Any],
    *,
    backend: Backend = "hepacast",
    threads: int = 1,
    diagnostics: bool = True,
) -> ExtractionResult:
    """All features of every VOI of one image.

    Parameters
    ----------
    volume
        The image. Its number type matters: PyRadiomics calculates some filters in it.
    vois
        VOIs by name on the image's grid: boolean masks, or integer masks in which the setting ``label`` is meant.
        A single mask gets the name "voi".
    settings
        A named setting ("ptlf", "early-recurrence", "ibsi"), a PyRadiomics parameter file, its content, or `Settings`.
    backend
        "hepacast" (our engine) or "pyradiomics" (an installed PyRadiomics, for comparison).
    threads
        Image types measured at the same time by our engine; each takes memory of its own. The values do not depend
        on it.
    diagnostics
        Also PyRadiomics' ``diagnostics_*`` entries (hashes, boxes, versions), unless the settings leave them out.

    Returns
    -------
    ExtractionResult
        For each VOI every expected feature, NaN with a reason where it has no value. A VOI that cannot be measured
        (empty, a single voxel) has status "failed".

    Raises
    ------
    GeometryError
        A VOI lies on another grid.
    ImageError
        The image holds values that are not finite inside or around the VOIs, or has no usable number type.
    StudyFileError
        The settings are wrong.
    """
    chosen = Settings.load(settings)
    named = {SINGLE: vois} if isinstance(vois, Volume) else dict(vois)
    if not named:
        raise ImageError("No VOI was given.", expected="at least one mask")
    _check_numbers(volume)
    if backend not in ("hepacast", "pyradiomics"):
        raise HepacastError("Unknown backend.", expected="hepacast or pyradiomics", found=str(backend))
    if backend == "pyradiomics":
        return extract_with_pyradiomics(volume, named, chosen)
    if chosen.mode == "ibsi":
        from hepacast.radiomics.ibsi.extraction import extract_ibsi

        return extract_ibsi(volume, named, chosen)
    noted = diagnostics and chosen.parameters.additionalInfo
    return _extract(volume, named, chosen, threads, noted)


def _extract(volume: Volume, named: dict[str, Volume], chosen: Settings, threads: int, noted: bool) -> ExtractionResult:
    prepared = prepare(volume, named, chosen.parameters, noted)
    expected = chosen.feature_names()
    general = general_entries(chosen) if noted else {}
    results = {name: VoiResult.failed(name, expected, reason) for name, reason in prepared.failures.items()}
    for group in prepared.groups:
        for voi, values, reasons in measure(group, chosen, threads):
            notes = {**general, **voi.diagnostics}
            results[voi.name] = VoiResult.of(voi.name, expected, values, reasons, diagnostics=notes)
    ordered = {name: results[name] for name in named}
    return ExtractionResult(ordered, chosen.hash, engine_name())


def feature_settings(parameters: Parameters) -> FeatureSettings:
    """The part of the settings that the feature classes need."""
    return FeatureSettings(
        bin_width=parameters.binWidth,
        bin_count=parameters.binCount,
        voxel_array_shift=float(parameters.voxelArrayShift),
        distances=parameters.distances,
        force2d=parameters.force2D,
        force2d_dimension=parameters.force2Ddimension,
        weighting_norm=parameters.weightingNorm,
        symmetrical_glcm=parameters.symmetricalGLCM,
        gldm_a=parameters.gldm_a,
    )


#: The one image that may have undefined voxels although the VOI has none: the kurtosis of equal values.
KURTOSIS_IMAGE = "lbp-3D-k"


def features_beside_undefined(
    image: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    voi: Voi,
    spacing_kji: tuple[float, ...],
    settings: FeatureSettings,
    classes: Mapping[str, Any],
    warnings: FeatureWarnings,
) -> dict[str, float]:
    """Features of an image some of whose voxels are NaN, as PyRadiomics has them.

    Gray levels: NaN voxels get a level of their own above all others. First order: they are left out, but count
    as voxels in Entropy and Uniformity.
    """
    defined = mask & np.isfinite(image)
    if not defined.any():
        return image_features(image, voi, spacing_kji, settings, classes, warnings)
    values = image[defined]
    edges = bin_edges(values.min(), values.max(), settings)
    level = np.digitize(image[mask], edges).astype(np.int32)
    levels = Levels(level, np.bincount(level).astype(np.int64))
    filled = np.where(defined, image, values.min())
    result = image_features(filled, voi, spacing_kji, settings, classes, warnings, levels=levels)
    wanted = [name.split("_")[1] for name in result if name.startswith("firstorder_")]
    wanted = [name for name in wanted if name not in ("Entropy", "Uniformity")]
    if wanted:
        inside = Voi.from_mask(defined)
        result.update(image_features(filled, inside, spacing_kji, settings, {"firstorder": wanted}, warnings))
    return result


Measured = tuple[PreparedVoi, dict[str, float], dict[str, str]]


def measure(group: VoiGroup, settings: Settings, threads: int = 1) -> Iterator[Measured]:
    """Values and reasons of every VOI of a group; VOIs near each other share the filtered images."""
    # Beside voxels without a value no filtering is shared: those near one VOI must not spoil another.
    alone = [[voi] for voi in group.vois] if group.source.has_undefined else clusters(group.vois)
    for cluster in alone:
        yield from _measure_cluster(group, cluster, settings, threads)


def clusters(vois: list[PreparedVoi]) -> list[list[PreparedVoi]]:
    """VOIs whose common box is hardly larger than their own boxes together."""
    result: list[tuple[VoxelBox, list[PreparedVoi]]] = []
    for voi in sorted(vois, key=lambda item: -int(np.prod(item.box.shape))):
        for place, (box, members) in enumerate(result):
            union = VoxelBox.union([box, voi.box])
            if np.prod(union.shape) <= np.prod(box.shape) + np.prod(voi.box.shape):
                result[place] = (union, [*members, voi])
                break
        else:
            result.append((voi.box, [voi]))
    return [members for _, members in result]


class _Collected:
    """Values and reasons of one VOI, filled image by image."""

    def __init__(self, voi: PreparedVoi, source: SourceImage, settings: Settings) -> None:
        spacing_kji = source.spacing[::-1]
        self.voi = voi
        self._spoilt = voi.undefined == "outside" and not np.isfinite(source.crop(voi.box)[voi.mask]).all()
        self._before = "the normalization (normalize)" if settings.parameters.normalize else "resampling"
        self.values: dict[str, float] = {}
        self.reasons: dict[str, str] = {}
        self._spacing = spacing_kji
        self._classes = {
            name: chosen for name, chosen in settings.feature_classes.items() if name not in names.SHAPE_CLASSES
        }
        self._mask = Voi.from_mask(voi.mask)
        shapes = {name: chosen for name, chosen in settings.feature_classes.items() if name in names.SHAPE_CLASSES}
        if shapes:
            found = FeatureWarnings()
            own = feature_settings(settings.parameters)
            same = self._mask if voi.shape_mask is voi.mask else Voi.from_mask(voi.shape_mask)
            self._add("original", shape_features(same, spacing_kji, shapes, own, found), found)

    def add_image(self, image_name: str, image: npt.NDArray[Any], settings: FeatureSettings) -> None:
        """Measure one image of the VOI's box."""
        if not self._classes:
            return
        if self.voi.undefined == "outside" and not np.isfinite(image[self.voi.mask]).all():
            self.leave_out(image_name, OUTSIDE)
            return
        found = FeatureWarnings()
        if image_name == KURTOSIS_IMAGE and np.isnan(image[self.voi.mask]).any():
            values = features_beside_undefined(
                image, self.voi.mask, self._mask, self._spacing, settings, self._classes, found
            )
        else:
            values = image_features(image, self._mask, self._spacing, settings, self._classes, found)
        self._add(image_name, values, found)

    def leave_out(self, image_name: str, reason: str) -> None:
        """All features of this image are undefined for one reason."""
        if reason == OUTSIDE:
            reason = outside_reason(self._before if self._spoilt else f"the filter {image_name}")
        for name, chosen in self._classes.items():
            for feature in names.selected_features(name, chosen):
                self.reasons[f"{image_name}_{name}_{feature}"] = reason

    def _add(self, image_name: str, values: dict[str, float], found: FeatureWarnings) -> None:
        for name, value in values.items():
            self.values[f"{image_name}_{name}"] = value
        for name, reason in found.as_dict().items():
            self.reasons[f"{image_name}_{name}"] = reason


def _measure_cluster(group: VoiGroup, vois: list[PreparedVoi], settings: Settings, threads: int) -> Iterator[Measured]:
    box = VoxelBox.union([voi.box for voi in vois])
    asked = np.zeros(box.shape, dtype=bool)
    for voi in vois:
        asked[voi.box.within(box)] |= voi.mask
    collected = [_Collected(voi, group.source, settings) for voi in vois]
    own = threading.local()  # filters of two threads must not use the same memory

    def measure_type(image_type: str) -> None:
        if not hasattr(own, "source"):
            own.source = group.source if threads == 1 else replace(group.source, scratch=Scratch())
        parameters = settings.parameters_for(image_type)
        features = feature_settings(parameters)
        for image_name, image in filtered_images(image_type, own.source, box, asked, parameters):
            for item in collected:
                if isinstance(image, str):
                    item.leave_out(image_name, image)
                else:
                    item.add_image(image_name, image[item.voi.box.within(box)], features)

    if threads == 1:
        for image_type in settings.image_types:
            measure_type(image_type)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(measure_type, longest_first(settings)))
    for item in collected:
        yield item.voi, item.values, item.reasons


def _check_numbers(volume: Volume) -> None:
    if volume.array.dtype.kind not in "iuf" or volume.array.dtype.itemsize > 8:
        raise ImageError(
            "The image's number type cannot be measured.",
            expected="integers, float32 or float64",
            found=str(volume.array.dtype),
            remedy="convert the image first (Volume.with_array)",
        )
