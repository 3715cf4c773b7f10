"""Negative controls: does the network read the tumor, or its surroundings, its size, its place?

After READII (Scott et al., radiomics negative controls): tumor voxels shuffled (the histogram stays, every pattern is
gone), tumor removed (only surroundings are left), surroundings removed (only the tumor is left).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.seeds import rng
from hepacast.deep.crossfit import CrossFit
from hepacast.errors import ModelError

#: Name -> what is done, in the words of the report.
CONTROLS: dict[str, str] = {
    "as it is": "nothing is changed",
    "tumor shuffled": "the tumor's voxels change places at random",
    "tumor removed": "the tumor's voxels take the mean of the tissue around it",
    "surroundings removed": "all but the tumor takes the mean of the tissue around it",
    "surroundings shuffled": "all voxels but the tumor's change places at random",
}


def controlled(crop: npt.NDArray[Any], mask: npt.NDArray[np.bool_], control: str, seed: int) -> npt.NDArray[np.float32]:
    """One patient's crop under a control.

    Parameters
    ----------
    crop
        (channels, z, y, x).
    mask
        Tumor, (z, y, x).
    control
        A name of `CONTROLS`.
    seed
        Of this patient's shuffle.

    Raises
    ------
    ModelError
        There is no such control.
    """
    if control not in CONTROLS:
        raise ModelError("There is no such control.", expected=", ".join(CONTROLS), found=control)
    changed = np.array(crop, dtype=np.float32)
    tumor = np.asarray(mask, dtype=bool)
    if control == "as it is" or not tumor.any() or tumor.all():
        return changed
    generator = rng(seed, "control", control)
    if control.endswith("shuffled"):
        where = tumor if control.startswith("tumor") else ~tumor
        order = generator.permutation(int(where.sum()))
        changed[:, where] = changed[:, where][:, order]
        return changed
    band = _band(tumor)
    tissue = changed[:, band].mean(axis=1, keepdims=True)
    changed[:, tumor if control == "tumor removed" else ~tumor] = tissue
    return changed


def _band(tumor: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Three voxels around the tumor."""
    from scipy import ndimage

    band = ndimage.binary_dilation(tumor, iterations=3) & ~tumor
    return band if band.any() else ~tumor


def control_scores(
    fitted: CrossFit,
    crops: Any,
    masks: Any,
    covariates: Any = None,
    *,
    seed: int,
    controls: Sequence[str] = tuple(CONTROLS),
) -> dict[str, npt.NDArray[np.float64]]:
    """Out-of-fold scores under each control, (n,) each.

    Parameters
    ----------
    fitted
        A cross-fit with a prediction pathway.
    crops, masks
        Of its patients, (n, channels, z, y, x) and (n, z, y, x).
    covariates
        (n, p) where the networks take them.
    seed
        Of the shuffles.
    """
    n = len(fitted.folds)
    found = {name: np.full(n, np.nan) for name in controls}
    for fold, network in enumerate(fitted.networks):
        rows = np.flatnonzero(fitted.folds == fold)
        for name in controls:
            changed = np.stack([controlled(crops[int(row)], masks[int(row)], name, seed + int(row)) for row in rows])
            own = None if covariates is None else np.asarray(covariates, dtype=float)[rows]
            found[name][rows] = network.apply(changed, own).scores
    return found
