"""Grey-level size-zone matrix (GLSZM): how large the connected regions of one level are."""

from __future__ import annotations

from collections.abc import Sequence

from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.features.base import FeatureSettings, UndefinedError
from hepacast.radiomics.features.sizes import ZONE_NAMES, size_formulas
from hepacast.radiomics.kernels.zones import count_zones


def glszm(image: LevelImage, settings: FeatureSettings, names: Sequence[str]) -> dict[str, float | UndefinedError]:
    """GLSZM features (PyRadiomics ``glszm``; IBSI 1 section 3.8, family 9SAK)."""
    values = size_formulas(count_zones(image, settings.flat_axis), image.level_of_code)
    return {name: values[ZONE_NAMES[name]] for name in names}
