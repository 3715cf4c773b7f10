"""Regions of one patient's liver and tumor, cut from the masks once and read in every phase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.biomarkers.definitions import Missing
from hepacast.errors import ImageError
from hepacast.imaging import morphology
from hepacast.imaging.lesions import lesions as find_lesions
from hepacast.imaging.structures import known_structures
from hepacast.imaging.volume import Volume

#: Outer layer of the tumor, and how far the liver around it reaches, mm.
RIM_MM, AROUND_MM = 4.0, 8.0

Bool = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]

#: Structures beside liver and tumor, by words that their names begin with.
_OTHERS: dict[str, tuple[str, ...]] = {
    "spleen": ("spleen", "milz", "rate", "bazo", "脾"),
    "aorta": ("aorta", "aorte", "主动脉"),
    "hilum": ("hilum", "hilus", "porta hepatis", "肝门"),
    "vessels": ("vessel", "portal", "hepatic vein", "liver vessel", "venous", "vein", "gefass", "血管", "门静脉"),
}


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels that are measured together.

    Parameters
    ----------
    mask
        Boolean volume on the patient's crop (see `Regions`), or on the whole image for structures outside it.
    """

    mask: Volume

    @cached_property
    def index(self) -> npt.NDArray[np.int64]:
        """Places in the flattened array."""
        return np.flatnonzero(self.mask.array)

    @property
    def volume_ml(self) -> float:
        return len(self.index) * self.mask.geometry.voxel_volume_mm3 / 1000.0

    @cached_property
    def box(self) -> Box:
        """The box (k, j, i) that holds all voxels."""
        found = morphology.bounding_box(self.mask.array)
        assert found is not None  # regions are never empty
        return found

    @cached_property
    def points(self) -> npt.NDArray[np.float64]:
        """Centers of the voxels in mm along (k, j, i) of the mask's grid, shape (n, 3)."""
        at = np.stack(np.unravel_index(self.index, self.mask.array.shape), axis=1)
        return np.asarray(at * np.array(self.mask.spacing[::-1]), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class TumorRegions:
    """A tumor and its parts: rim (outer 4 mm), core (the rest), liver around it (within 8 mm).

    A part that does not exist is the reason why.
    """

    tumor: Region
    rim: Region | Missing
    core: Region | Missing
    around: Region | Missing

    @cached_property
    def core_depth(self) -> npt.NDArray[np.float64] | Missing:
        """Distance of each voxel of the core to the nearest one outside the tumor, mm, in the order of its index.

        As of the rim, voxels beyond the image's edge are unknown: a tumor that the scan cuts has no margin there.
        """
        from scipy import ndimage

        if isinstance(self.core, Missing):
            return self.core
        mask = self.tumor.mask
        wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in self.tumor.box)
        inside = mask.array[wide]
        if inside.all():
            return Missing("the image shows nothing but the tumor")
        depth = ndimage.distance_transform_edt(inside, sampling=mask.spacing[::-1])
        return np.asarray(depth[self.core.mask.array[wide]], dtype=np.float64)

    @classmethod
    def of(cls, tumor: Volume, parenchyma: Volume | None) -> TumorRegions:
        rim = morphology.rim(tumor, RIM_MM)
        core = tumor.array & ~rim.array
        around = Missing("there is no mask of the liver")
        if parenchyma is not None:
            around = _region(
                morphology.ring(tumor, AROUND_MM).array & parenchyma.array,
                parenchyma,
                f"no liver lies within {AROUND_MM:g} mm of the tumor",
            )
        return cls(
            Region(tumor),
            _region(
                rim.array, rim, f"no voxel lies within {RIM_MM:g} mm of the tumor's edge: the voxels are too large"
            ),
            _region(core, tumor, f"the tumor is nowhere deeper than {RIM_MM:g} mm"),
            around,
        )


def _region(array: Bool, like: Volume, why_not: str) -> Any:
    return Region(like.with_array(array)) if array.any() else Missing(why_not)


@dataclass(frozen=True, eq=False)
class Regions:
    """One patient's regions.

    Parameters
    ----------
    box
        The crop of the images: all of liver and tumor, with a voxel around where the image has one.
    liver, parenchyma
        The whole liver, and the liver without tumor; on the crop.
    measured
        The tumors whose intensities are measured: all, or the largest.
    main
        The largest tumor and its parts.
    lesions
        Every tumor that counts, the largest first.
    others
        Structures outside the liver by name, on the whole image.
    n_dropped
        Tumors that were too small to count.
    """

    box: Box
    liver: Region | Missing
    parenchyma: Region | Missing
    measured: TumorRegions | Missing
    main: TumorRegions | Missing
    lesions: tuple[Region, ...]
    others: Mapping[str, Region]
    n_dropped: int = 0

    def other(self, name: str) -> Region | Missing:
        """A structure outside the liver."""
        return self.others.get(name) or Missing(f"there is no mask of the {name}")

    @classmethod
    def of(cls, masks: Mapping[str, Volume], *, lesions: str = "union", min_lesion_ml: float = 0.0) -> Regions:
        """Cut the regions from masks of one grid.

        Parameters
        ----------
        masks
            Structures by name, as files spell them: liver or parenchyma, tumor (or several), spleen, aorta, vessels.
        lesions, min_lesion_ml
            As in the image recipe: whose intensities are measured, and from which volume (ml) a tumor counts.

        Raises
        ------
        ImageError
            Neither liver nor tumor is outlined.
        GeometryError
            The masks lie on different grids.
        """
        named = {
            name: mask.with_array(mask.array.astype(bool, copy=False)) for name, mask in known_structures(masks).items()
        }
        first = next(iter(named.values()), None)
        for name, mask in named.items():
            assert first is not None
            first.geometry.require_same(mask.geometry, what=f"the mask {name!r}")
        known = {name: named[name] for name in ("liver", "parenchyma", "tumor") if name in named}
        filled = [mask for mask in known.values() if mask.array.any()]
        if not filled:
            raise ImageError(
                "Neither liver nor tumor is outlined.",
                expected="a mask of the liver or of the tumor",
                found=", ".join(masks) or "no mask",
                remedy="name the structures of the mask file (--labels liver=1,tumor=2)",
            )
        box = _common_box(filled)
        crops = {name: _cropped(mask, box) for name, mask in known.items()}
        tumor = crops.get("tumor")
        whole = crops.get("liver", crops.get("parenchyma"))
        parenchyma = crops.get("parenchyma", whole)
        if parenchyma is not None and tumor is not None:
            parenchyma = parenchyma.with_array(parenchyma.array & ~tumor.array)
        kept = find_lesions(tumor, "each", min_volume_ml=min_lesion_ml) if tumor is not None else None
        parts = tuple(Region(mask) for mask in kept.masks) if kept is not None else ()
        measured, main = _tumors(tumor, parts, parenchyma, lesions)
        return cls(
            box=box,
            liver=_structure(whole, "liver"),
            parenchyma=_structure(parenchyma, "liver"),
            measured=measured,
            main=main,
            lesions=parts,
            others=_others(named),
            n_dropped=len(kept.dropped_ml) if kept is not None else 0,
        )


def _structure(mask: Volume | None, name: str) -> Region | Missing:
    if mask is None:
        return Missing(f"there is no mask of the {name}")
    return _region(mask.array, mask, f"the mask of the {name} is empty")  # type: ignore[no-any-return]


def _tumors(
    tumor: Volume | None, parts: tuple[Region, ...], parenchyma: Volume | None, lesions: str
) -> tuple[TumorRegions | Missing, TumorRegions | Missing]:
    """The tumors that are measured, and the largest."""
    if tumor is None or not parts:
        why = Missing("there is no mask of the tumor" if tumor is None else "no tumor is outlined")
        return why, why
    main = TumorRegions.of(parts[0].mask, parenchyma)
    if lesions == "largest" or len(parts) == 1:
        return main, main
    return TumorRegions.of(
        tumor.with_array(np.logical_or.reduce([part.mask.array for part in parts])), parenchyma
    ), main


def _common_box(masks: list[Volume]) -> Box:
    """The box of all masks, a voxel wider where the image has one."""
    boxes = [morphology.bounding_box(mask.array) for mask in masks]
    shape = masks[0].array.shape
    parts = []
    for axis, length in enumerate(shape):
        low = min(box[axis].start for box in boxes if box is not None)
        high = max(box[axis].stop for box in boxes if box is not None)
        parts.append(slice(max(0, low - 1), min(length, high + 1)))
    return (parts[0], parts[1], parts[2])


def _cropped(mask: Volume, box: Box) -> Volume:
    """A part of a volume, its geometry moved along."""
    first = np.array([box[2].start, box[1].start, box[0].start, 1.0])
    array = np.ascontiguousarray(mask.array[box])
    origin = (mask.geometry.affine_lps @ first)[:3]
    size = (array.shape[2], array.shape[1], array.shape[0])
    geometry = replace(mask.geometry, size=size, origin=(float(origin[0]), float(origin[1]), float(origin[2])))
    return Volume(array, geometry)


def _others(masks: Mapping[str, Volume]) -> dict[str, Region]:
    """Structures beside liver and tumor; several vessels are taken together."""
    found: dict[str, list[Volume]] = {}
    for name, mask in masks.items():
        spelt = " ".join(re.split(r"[\W_]+", name.casefold()))
        for structure, words in _OTHERS.items():
            if spelt.startswith(words) and mask.array.any():
                found.setdefault(structure, []).append(mask)
                break
    return {
        name: Region(parts[0].with_array(np.logical_or.reduce([part.array for part in parts])))
        for name, parts in found.items()
    }
