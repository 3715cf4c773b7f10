"""Extraction in the IBSI mode: all families of every VOI under IBSI's tags."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hepacast.imaging import Volume
from hepacast.radiomics.diagnostics import engine_name
from hepacast.radiomics.ibsi import intensity
from hepacast.radiomics.ibsi.filters import response
from hepacast.radiomics.ibsi.morphology import morphology
from hepacast.radiomics.ibsi.names import ibsi_feature_names
from hepacast.radiomics.ibsi.parameters import IbsiParameters
from hepacast.radiomics.ibsi.process import process
from hepacast.radiomics.ibsi.texture import textures
from hepacast.radiomics.parameters import Parameters
from hepacast.radiomics.preprocess import UnmeasurableVoiError, check_voi, mask_on_grid, require_finite
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings


def extract_ibsi(volume: Volume, vois: Mapping[str, Volume], settings: Settings) -> ExtractionResult:
    """IBSI's features of every VOI; see `hepacast.radiomics.extract`."""
    expected = ibsi_feature_names(settings.ibsi)
    results: dict[str, VoiResult] = {}
    for name, voi in vois.items():
        try:
            mask = mask_on_grid(volume, voi, settings.parameters, name)
            check_voi(mask, settings.parameters)
            values, notes = measure_ibsi(volume, mask, settings.parameters, settings.ibsi)
        except UnmeasurableVoiError as error:
            results[name] = VoiResult.failed(name, expected, str(error))
            continue
        results[name] = VoiResult.of(name, expected, values, {}, diagnostics=notes)
    return ExtractionResult(results, settings.hash, engine_name())


def measure_ibsi(
    volume: Volume, mask: np.ndarray, parameters: Parameters, ibsi: IbsiParameters
) -> tuple[dict[str, float], dict[str, float]]:
    """Features and diagnostics of one VOI, both under IBSI's tags."""
    voi = process(volume, mask, parameters, ibsi)
    if ibsi.filter is not None:
        inside = response(voi.image, voi.spacing, ibsi.filter)[voi.intensity]
        require_finite(inside, volume, mask, "the filter")
        return {f"stat_{name}": value for name, value in intensity.statistics(inside).items()}, voi.diagnostics
    inside = voi.image[voi.intensity]
    values = {f"morph_{name}": value for name, value in morphology(voi).items()}
    values.update({f"loc_{name}": value for name, value in intensity.local_peaks(voi).items()})
    values.update({f"stat_{name}": value for name, value in intensity.statistics(inside).items()})
    levels = voi.levels[voi.intensity]
    values.update({f"ih_{name}": value for name, value in intensity.histogram(levels, voi.n_levels).items()})
    curve = intensity.volume_histogram(inside, parameters, ibsi)
    values.update({f"ivh_{name}": value for name, value in curve.items()})
    values.update(textures(voi, ibsi.aggregation, parameters.gldm_a))
    return values, voi.diagnostics
