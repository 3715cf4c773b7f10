"""What a VOI is like (`describe_voi`), and how several lesions are taken (`lesions`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.morphology import bounding_box, components
from hepacast.imaging.volume import Volume

LesionPolicy = Literal["union", "largest", "each"]
LESION_POLICIES: tuple[LesionPolicy, ...] = ("union", "largest", "each")


@dataclass(frozen=True, eq=False)
class Lesions:
    """Masks to be measured, and the lesions that were left out for being too small.

    Parameters
    ----------
    masks
        Boolean volumes; one for ``union`` and ``largest``, one a lesion for ``each``, largest first. Empty when no
        lesion is large enough.
    volumes_ml
        Volume of each of `masks`, ml.
    dropped_ml
        Volumes of the lesions below the minimum, ml.
    """

    masks: tuple[Volume, ...]
    volumes_ml: tuple[float, ...]
    dropped_ml: tuple[float, ...]


def lesions(mask: Volume, policy: LesionPolicy = "union", *, min_volume_ml: float = 0.0) -> Lesions:
    """Split a tumor mask into lesions (26-connected parts) and take them as the policy says.

    Parameters
    ----------
    mask
        Boolean volume of all tumors.
    policy
        ``union``: one VOI of all lesions; ``largest``: the one with the greatest volume; ``each``: all, one by one.
    min_volume_ml
        Smaller parts are left out (and counted in `Lesions.dropped_ml`).

    Raises
    ------
    ImageError
        The policy is not known.
    """
    if policy not in LESION_POLICIES:
        raise ImageError(f"The lesion policy {policy!r} is not known.", expected=", ".join(LESION_POLICIES))
    labels, sizes = components(mask)
    volumes = sizes * mask.geometry.voxel_volume_mm3 / 1000.0
    # Stable: of equal lesions the first in the array comes first.
    order = np.argsort(-volumes, kind="stable")
    kept = [int(index) for index in order if volumes[index] >= min_volume_ml]
    dropped = tuple(float(volumes[index]) for index in order if volumes[index] < min_volume_ml)
    if not kept:
        return Lesions((), (), dropped)
    groups = {"union": [kept], "largest": [kept[:1]], "each": [[index] for index in kept]}[policy]
    masks = tuple(mask.with_array(np.isin(labels, [index + 1 for index in group])) for group in groups)
    return Lesions(masks, tuple(float(volumes[group].sum()) for group in groups), dropped)


@dataclass(frozen=True)
class VoiReport:
    """What a VOI is like, and whether features can be measured in it.

    Parameters
    ----------
    name
        The VOI's name.
    voxels, volume_ml
        Size.
    components
        Number of 26-connected parts.
    slices
        Number of axial (k) slices with voxels.
    extent_mm
        Size of the bounding box along (i, j, k), mm.
    touches_border
        Whether a voxel lies on the image's edge: part of the structure may be outside the image.
    status
        ``ok``, ``warning`` (measured, but look at it) or ``failed`` (nothing can be measured).
    reason
        Why, when not ``ok``.
    """

    name: str
    voxels: int
    volume_ml: float
    components: int
    slices: int
    extent_mm: tuple[float, float, float]
    touches_border: bool
    status: Literal["ok", "warning", "failed"]
    reason: str


def describe_voi(mask: Volume, name: str = "VOI", *, ignore_border: tuple[str, ...] = ()) -> VoiReport:
    """Measure a mask and judge it.

    Parameters
    ----------
    mask
        Boolean volume.
    name
        For the report.
    ignore_border
        Edges on which touching is expected, of ``i``, ``j``, ``k`` (e.g. ``("k",)`` for a liver CT that ends in it).
    """
    array = mask.array.astype(bool)
    box = bounding_box(array)
    if box is None:
        return VoiReport(name, 0, 0.0, 0, 0, (0.0, 0.0, 0.0), False, "failed", "the mask is empty")
    voxels = int(array.sum())
    lengths = [part.stop - part.start for part in box][::-1]
    extent = tuple(float(n * step) for n, step in zip(lengths, mask.spacing))
    edges = [
        axis
        for axis, part, length in zip("kji", box, array.shape)
        if axis not in ignore_border and (part.start == 0 or part.stop == length)
    ]
    status, reason = _judge(voxels, lengths, edges)
    return VoiReport(
        name=name,
        voxels=voxels,
        volume_ml=voxels * mask.geometry.voxel_volume_mm3 / 1000.0,
        components=len(components(mask)[1]),
        slices=int(array.any(axis=(1, 2)).sum()),
        extent_mm=(extent[0], extent[1], extent[2]),
        touches_border=bool(edges),
        status=status,
        reason=reason,
    )


def _judge(voxels: int, lengths: list[int], edges: list[str]) -> tuple[Literal["ok", "warning", "failed"], str]:
    if voxels == 1:
        return "failed", "the mask is a single voxel; texture and shape need more"
    reasons = []
    if min(lengths) == 1:
        plane = "one slice" if lengths[2] == 1 else "one plane"
        reasons.append(f"the mask lies in {plane}; 3-D shape and texture are not defined as usual")
    if edges:
        reasons.append(f"the mask touches the image's edge along {', '.join(edges)}; a part may be cut off")
    return ("warning", "; ".join(reasons)) if reasons else ("ok", "")
