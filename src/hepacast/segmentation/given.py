"""Masks that somebody has drawn already: read, checked against the image's grid, named."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hepacast.imaging import Volume, place_mask
from hepacast.imaging.io import MaskPath, MaskRules, MaskSet, read_mask_set
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import available_structures, structure_names
from hepacast.segmentation.base import LabelMapResult, Progress, SegmentationCost, parenchyma_tumor_map


class GivenSegmenter:
    """Gives back the masks of one patient that are at hand.

    Parameters
    ----------
    masks
        One file with several labels, or one file (or boolean volume) a structure by name.
    labels
        For one file: label value of each structure, e.g. ``{"parenchyma": 1, "tumor": 2}`` or
        ``{"liver": 1, "tumor": 2}``.
    rules
        What a PyRadiomics parameter file says of mask files.
    overlay_path
        PNG to write where a mask does not lie on the image's grid.

    Notes
    -----
    ``liver`` given together with ``tumor`` is stored as parenchyma and tumor, whose union is the liver again. Masks
    are never moved: another grid is refused with the offset in mm (see `hepacast.imaging.place_mask`).
    """

    name = "given"

    def __init__(
        self,
        masks: str | Path | Mapping[str, str | Path | Volume],
        labels: Mapping[str, int] | None = None,
        *,
        rules: MaskRules = MaskRules(),
        overlay_path: Path | None = None,
    ) -> None:
        self._masks = masks
        self._labels = dict(labels) if labels else None
        self._rules = rules
        self._overlay_path = overlay_path
        names = tuple(masks) if isinstance(masks, Mapping) else tuple(self._labels or ())
        self.structures = structure_names(names)

    def describe(self) -> dict[str, Any]:
        """Facts for the report."""
        return {
            "source": self.name,
            "version": None,
            "identity": None,
            "structures": list(self.structures),
            "sentence": "Masks were drawn beforehand and used as given.",
            "citations": [],
            "network": None,
        }

    def estimate(self, volume: Volume) -> SegmentationCost:
        """Reading time and one byte a voxel for each structure."""
        return SegmentationCost(2e-8 * volume.array.size, volume.array.size * (2 + len(self.structures)))

    def segment(
        self, volume: Volume, *, liver: Volume | None = None, progress: Progress | None = None
    ) -> LabelMapResult:
        """Read the masks and check that they lie on the image's grid.

        Raises
        ------
        GeometryError
            A mask lies on another grid; the message says by how many mm.
        ImageError
            A file cannot be read or holds none of the named labels.
        """
        start = time.perf_counter()
        found = self._read(volume)
        named = found.masks
        if liver is not None and "liver" not in named and "parenchyma" not in named:
            named = {"liver": liver, **named}
        labelmap = replace(_as_labelmap(named, volume), notes=found.notes)
        if progress is not None:
            progress(1.0, "masks read")
        empty = [name for name in available_structures(labelmap) if not _any(labelmap, name)]
        notes = (f"empty in the given masks: {', '.join(empty)}",) if empty else ()
        return LabelMapResult(labelmap, self.name, time.perf_counter() - start, (*found.notes, *notes))

    def _read(self, volume: Volume) -> MaskSet:
        if not isinstance(self._masks, Mapping):
            return self._read_files(self._masks, volume)
        files = {name: item for name, item in self._masks.items() if not isinstance(item, Volume)}
        found = self._read_files(files, volume) if files else MaskSet({})
        for name, item in self._masks.items():
            if isinstance(item, Volume):
                placed = place_mask(volume, item, what=f"the mask {name!r}")
                found.masks[name] = placed.with_array(placed.array != 0)
        return MaskSet({name: found.masks[name] for name in self._masks}, found.notes)

    def _read_files(self, files: MaskPath, volume: Volume) -> MaskSet:
        return read_mask_set(files, self._labels, reference=volume, rules=self._rules, overlay_path=self._overlay_path)


def _any(labelmap: LabelMap, name: str) -> bool:
    from hepacast.imaging.structures import structure_mask

    return bool(structure_mask(labelmap, name).array.any())


def _as_labelmap(named: dict[str, Volume], volume: Volume) -> LabelMap:
    """One label map; liver and tumor become parenchyma and tumor."""
    for name, mask in named.items():
        volume.geometry.require_same(mask.geometry, what=f"the mask {name!r}")
    if {"liver", "tumor"} <= set(named) and "parenchyma" not in named:
        # A label file in which liver and tumor are separate values calls the rest of the liver "liver".
        whole = named["liver"].array | named["tumor"].array
        labelmap = parenchyma_tumor_map(volume.with_array(whole), named["tumor"])
        others = {k: v for k, v in named.items() if k not in ("liver", "tumor")}
        if not others:
            return labelmap
        return LabelMap.from_masks({**labelmap.masks(), **others})
    return LabelMap.from_masks(named)
