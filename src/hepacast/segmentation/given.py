"""Masks that somebody has drawn already: read, checked against the image's grid, named."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepacast.errors import ImageError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.segmentation.base import (
    COMPOSITES,
    Estimate,
    LabelMapResult,
    Progress,
    available_structures,
    parenchyma_tumor_map,
)


class GivenSegmenter:
    """Gives back the masks of one patient that are at hand.

    Parameters
    ----------
    masks
        One file with several labels, or one file (or boolean volume) a structure by name.
    labels
        For one file: label value of each structure, e.g. ``{"parenchyma": 1, "tumor": 2}`` or
        ``{"liver": 1, "tumor": 2}``.

    Notes
    -----
    ``liver`` given together with an overlapping ``tumor`` is stored as parenchyma and tumor, whose union is the
    liver again. Masks are never moved or resampled: another grid is refused with the offset in mm.
    """

    name = "given"

    def __init__(
        self, masks: str | Path | Mapping[str, str | Path | Volume], labels: Mapping[str, int] | None = None
    ) -> None:
        self._masks = masks
        self._labels = dict(labels) if labels else None
        names = tuple(masks) if isinstance(masks, Mapping) else tuple(self._labels or ())
        self.structures = names + tuple(u for u, parts in COMPOSITES.items() if set(parts) <= set(names))

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

    def estimate(self, volume: Volume) -> Estimate:
        """Reading time and one byte a voxel for each structure."""
        return Estimate(2e-8 * volume.array.size, volume.array.size * (2 + len(self.structures)))

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
        named = self._read(volume)
        if liver is not None and "liver" not in named and "parenchyma" not in named:
            named = {"liver": liver, **named}
        labelmap = _as_labelmap(named, volume)
        if progress is not None:
            progress(1.0, "masks read")
        empty = [name for name in available_structures(labelmap) if not _any(labelmap, name)]
        notes = (f"empty in the given masks: {', '.join(empty)}",) if empty else ()
        return LabelMapResult(labelmap, self.name, time.perf_counter() - start, notes)

    def _read(self, volume: Volume) -> dict[str, Volume]:
        from hepacast.imaging.io import read_mask

        if not isinstance(self._masks, Mapping):
            return dict(read_mask(self._masks, self._labels, reference=volume))
        named: dict[str, Volume] = {}
        for name, item in self._masks.items():
            if isinstance(item, Volume):
                volume.geometry.require_same(item.geometry, what=f"the mask {name!r}")
                named[name] = item.with_array(item.array != 0)
                continue
            found = read_mask(item, None, reference=volume)
            if len(found) != 1:
                raise ImageError(
                    f"The mask file of {name!r} holds several structures.",
                    expected="one structure a file, or one file with labels by name",
                    found=", ".join(found),
                    where=str(item),
                )
            named[name] = next(iter(found.values()))
        return named


def _any(labelmap: LabelMap, name: str) -> bool:
    from hepacast.segmentation.base import structure_mask

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
