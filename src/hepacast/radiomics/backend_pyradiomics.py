"""The oracle: the same call answered by an installed PyRadiomics (extra ``oracle``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hepacast.core.optional import require
from hepacast.errors import MissingPackageError
from hepacast.imaging import Volume
from hepacast.radiomics.preprocess import UnmeasurableVoiError, mask_on_grid
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.settings import Settings


def extract_with_pyradiomics(volume: Volume, vois: Mapping[str, Volume], settings: Settings) -> ExtractionResult:
    """Features of every VOI, calculated by PyRadiomics.

    Raises
    ------
    MissingPackageError
        PyRadiomics, or what it needs for the image types asked for, is not installed. (It would leave those images
        out with a mere warning.)
    StudyFileError
        The settings ask for IBSI's definitions.
    """
    radiomics = require("radiomics", purpose="the backend pyradiomics", extra="oracle")
    _require_filters(settings)
    expected = settings.feature_names()
    content = settings.to_pyradiomics()
    image = volume.to_sitk()
    results: dict[str, VoiResult] = {}
    with _quiet():
        from radiomics.featureextractor import RadiomicsFeatureExtractor

        for name, voi in vois.items():
            try:
                mask = volume.with_array(mask_on_grid(volume, voi, settings.parameters, name)).to_sitk()
                found = RadiomicsFeatureExtractor(content).execute(image, mask, label=1)
            except (UnmeasurableVoiError, ValueError, RuntimeError, AssertionError) as error:
                results[name] = VoiResult.failed(name, expected, str(error).splitlines()[0])
                continue
            values = {key: float(value) for key, value in found.items() if not key.startswith("diagnostics_")}
            left_out = {key: "PyRadiomics leaves this feature out" for key in expected if key not in values}
            notes = {key: value for key, value in found.items() if key.startswith("diagnostics_")}
            results[name] = VoiResult.of(name, expected, values, left_out, diagnostics=notes)
    return ExtractionResult(results, settings.hash, f"pyradiomics {radiomics.__version__}")


def _require_filters(settings: Settings) -> None:
    if "LBP3D" in settings.image_types:
        require("trimesh", purpose="LBP3D in PyRadiomics", extra="oracle")
        import scipy.special

        if not hasattr(scipy.special, "sph_harm"):
            raise MissingPackageError(
                "LBP3D in PyRadiomics needs SciPy below 1.17.", remedy='pip install "scipy<1.17", or use our own engine'
            )
    if "LBP2D" in settings.image_types:
        require("skimage", purpose="LBP2D in PyRadiomics", extra="oracle")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyRadiomics' log and NumPy's remarks off the terminal; what matters is in the statuses."""
    import warnings

    logger = logging.getLogger("radiomics")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
