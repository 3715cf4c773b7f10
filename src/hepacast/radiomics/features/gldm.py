"""Grey-level dependence matrix (GLDM): how many neighbours are like the voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepacast.radiomics.discretise import LevelImage
from hepacast.radiomics.features.base import UndefinedError
from hepacast.radiomics.features.sizes import DEPENDENCE_NAMES, size_formulas
from hepacast.radiomics.kernels.cells import CellCounts
from hepacast.radiomics.kernels.neighbours import Neighbourhoods


def gldm(image: LevelImage, found: Neighbourhoods, names: Sequence[str]) -> dict[str, float | UndefinedError]:
    """GLDM features (PyRadiomics ``gldm``; IBSI 1 section 3.11, family REK0, as NGLDM).

    The voxel itself counts as dependent, so the smallest size is 1.
    """
    table = CellCounts.of_table(found.dependence)
    cells = CellCounts(table.starts, table.code, table.size + np.int64(1), table.count)
    values = size_formulas(cells, image.level_of_code)
    return {name: values[DEPENDENCE_NAMES[name]] for name in names}
