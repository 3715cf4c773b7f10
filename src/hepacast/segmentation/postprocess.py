"""Is a mask plausible? Checks with a status and a reason for each; and the one clean-up that is offered.

Nothing is corrected silently: a check only says what it sees, and `keep_largest` is applied by who asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hepacast.imaging import Volume

#: Volume of an adult's liver, mL. Normal livers measure about 1000 to 2200 mL; cirrhosis and large tumors reach
#: further (Vauthey et al., Liver Transpl 2002;8:233-240; Mitchell et al., Abdom Radiol 2022). Outside this range
#: a mask is more often wrong than the liver unusual.
LIVER_ML = (500.0, 5000.0)

#: A second piece of the liver larger than this share is worth a look.
_SECOND_PIECE = 0.05

#: Lesions smaller than this (mL) are mostly noise in a 5-mm CT.
_SMALL_LESION_ML = 0.1


@dataclass(frozen=True)
class MaskCheck:
    """What was seen in one structure.

    Parameters
    ----------
    structure
        Name.
    volume_ml
        Volume, mL.
    components
        Connected pieces (26-neighborhood).
    largest_share
        Share of the largest piece.
    status
        ``ok``, ``warning`` (look at it) or ``failed`` (not usable).
    reason
        Why; empty for ``ok``.
    """

    structure: str
    volume_ml: float
    components: int
    largest_share: float
    status: str
    reason: str

    def as_row(self) -> dict[str, Any]:
        """As a dictionary."""
        return asdict(self)


def check_masks(masks: Mapping[str, Volume], *, patient: str | None = None) -> list[dict[str, Any]]:
    """Check the structures of one patient.

    Parameters
    ----------
    masks
        Boolean volumes by name.
    patient
        Put into every row when given.

    Returns
    -------
    list of dict
        One row a structure: ``structure, volume_ml, components, largest_share, status, reason``.
    """
    rows = []
    for name, mask in masks.items():
        row = check_mask(name, mask, masks.get("liver")).as_row()
        rows.append({"patient": patient, **row} if patient is not None else row)
    return rows


def check_mask(name: str, mask: Volume, liver: Volume | None = None) -> MaskCheck:
    """Check one structure.

    Parameters
    ----------
    name
        ``liver``, ``parenchyma`` and ``tumor`` have rules of their own.
    mask
        Boolean volume.
    liver
        For the tumor: the liver that it should lie in.
    """
    array = mask.array.astype(bool)
    volume = float(array.sum()) * mask.geometry.voxel_volume_mm3 / 1000.0
    sizes = _piece_sizes(array)
    share = float(sizes[0] / sizes.sum()) if sizes.size else 0.0
    status, reason = _judge(name, volume, sizes, array, liver, mask.geometry.voxel_volume_mm3)
    return MaskCheck(name, volume, int(sizes.size), share, status, reason)


def _judge(
    name: str, volume: float, sizes: np.ndarray, array: np.ndarray, liver: Volume | None, voxel_mm3: float
) -> tuple[str, str]:
    if not sizes.size:
        if name == "tumor":
            return "warning", "no tumor voxel: either none is visible or the segmentation missed it"
        return "failed", f"no {name} voxel"
    if sizes.sum() == 1:
        return "failed", "a single voxel"
    if name == "liver" and (doubt := _doubt(volume, sizes)):
        return "warning", doubt
    if name == "tumor":
        if liver is not None and (outside := int((array & ~liver.array.astype(bool)).sum())):
            return "warning", f"{100 * outside / sizes.sum():.1f} % of the tumor lies outside the liver"
        small = int((sizes * voxel_mm3 / 1000.0 < _SMALL_LESION_ML).sum())
        if small:
            return "warning", f"{small} of {sizes.size} lesions are smaller than {_SMALL_LESION_ML} mL"
    if _touches_end(array):
        return "warning", "reaches the first or last slice: the scan may not show all of it"
    return "ok", ""


def liver_doubt(liver: Volume) -> str:
    """Why a liver mask is hardly a liver: an implausible volume, or pieces; empty when it is plausible.

    A network outlines something in a scan without a liver too, such as the bladder of a pelvis.
    """
    array = liver.array.astype(bool)
    sizes = _piece_sizes(array)
    return _doubt(float(array.sum()) * liver.geometry.voxel_volume_mm3 / 1000.0, sizes) if sizes.size else ""


def _doubt(volume: float, sizes: np.ndarray) -> str:
    low, high = LIVER_ML
    if not low <= volume <= high:
        return f"a liver of {volume:.0f} mL is not plausible for an adult ({low:.0f} to {high:.0f} mL)"
    if sizes.size > 1 and sizes[1] > _SECOND_PIECE * sizes.sum():
        return f"the liver is in pieces: the second one holds {100 * sizes[1] / sizes.sum():.0f} %"
    return ""


def _touches_end(array: np.ndarray) -> bool:
    return bool(array[0].any() or array[-1].any())


def _piece_sizes(array: np.ndarray) -> np.ndarray:
    """Voxels of each connected piece (26-neighborhood), largest first."""
    from scipy import ndimage

    labels, count = ndimage.label(array, np.ones((3, 3, 3), dtype=int))
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    return np.sort(np.bincount(labels.ravel())[1:])[::-1]


def keep_largest(mask: Volume) -> Volume:
    """The largest connected piece (26-neighborhood) of a mask."""
    from scipy import ndimage

    labels, count = ndimage.label(mask.array, np.ones((3, 3, 3), dtype=int))
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return mask.with_array(labels == int(np.argmax(sizes)))
