"""Structures of masks and label maps, those that follow from them, and VOIs: one way for every command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from hepacast.errors import ImageError
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.lesions import lesions as find_lesions
from hepacast.imaging.segment_names import role_of
from hepacast.imaging.voi import VoiExpression
from hepacast.imaging.volume import Volume

#: Structures that are the union of others. A label map holds each voxel once, so it stores the parts.
COMPOSITES: dict[str, tuple[str, ...]] = {"liver": ("parenchyma", "tumor")}


def structure_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names, and those of the structures that follow from them."""
    stored = tuple(names)
    return (*stored, *(name for name in _parts(stored) if name not in stored))


def _parts(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Of which stored structures each structure consists; ``liver`` is the whole liver also where a label map calls
    the rest of it so (`with_unions` has the same rule for single masks)."""
    parts: dict[str, tuple[str, ...]] = {name: (name,) for name in names}
    spelt = {name.casefold(): name for name in parts}
    if {"liver", "tumor"} <= set(spelt) and "parenchyma" not in spelt:
        liver = spelt["liver"]
        parts |= {liver: (liver, spelt["tumor"]), "parenchyma": (liver,)}
    for union, needed in COMPOSITES.items():
        if union not in spelt and all(name in spelt for name in needed):
            parts[union] = tuple(spelt[name] for name in needed)
    return parts


def available_structures(labelmap: LabelMap) -> tuple[str, ...]:
    """Names of the label map and of the structures that follow from them."""
    return structure_names(labelmap.names)


def structure_mask(labelmap: LabelMap, structure: str) -> Volume:
    """A stored structure, or one that follows from those, as a boolean volume.

    Raises
    ------
    ImageError
        The label map has neither the structure nor all its parts.
    """
    parts = _parts(labelmap.names).get(structure)
    if parts is None:
        raise ImageError(
            f"The segmentation has no structure {structure!r}.",
            expected=", ".join(available_structures(labelmap)) or "a named structure",
            remedy="choose one of these, or another segmenter",
        )
    array = labelmap.volume.array
    union = array == labelmap.labels[parts[0]]
    for part in parts[1:]:
        union |= array == labelmap.labels[part]
    return labelmap.volume.with_array(union)


def structures_of(labelmap: LabelMap) -> dict[str, Volume]:
    """Every structure of a label map by name, the unions included."""
    return {name: structure_mask(labelmap, name) for name in available_structures(labelmap)}


def with_unions(masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The masks, and those that follow from them: ``liver`` is always the whole liver, parenchyma and tumor.

    Where liver and tumor are given and no parenchyma, a label file has the tumor's voxels under the tumor's number
    alone, and a file of its own may hold them twice: ``liver`` becomes the union of both, ``parenchyma`` what of it is
    not tumor. `structure_mask` has the same rule for label maps. Case is ignored ("Liver").
    """
    named = dict(masks)
    spelt = {name.casefold(): name for name in masks}
    if {"liver", "tumor"} <= set(spelt) and "parenchyma" not in spelt:
        liver, tumor = masks[spelt["liver"]], masks[spelt["tumor"]].array.astype(bool)
        whole = liver.array.astype(bool) | tumor
        named["parenchyma"] = liver.with_array(whole & ~tumor)
        named[spelt["liver"]] = liver.with_array(whole)
    for union, parts in COMPOSITES.items():
        if union not in spelt and set(parts) <= set(spelt):
            merged = [masks[spelt[part]].array.astype(bool) for part in parts]
            named[union] = masks[spelt[parts[0]]].with_array(np.logical_or.reduce(merged))
    return named


def known_structures(masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The masks of `with_unions` under the names that have rules of their own, however the files spell them."""
    return with_unions(by_role(masks))


def by_role(masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The masks as they are, under the names that have rules of their own, however the files spell them.

    "Leber" becomes ``liver``, "HCC" ``tumor`` (see `role_of`). Several lesions ("tumor 1", "tumor 2") stay, and their
    union is ``tumor``; of several livers none is known to be the one.
    """
    known: dict[str, Volume] = dict(masks)
    for role in ("liver", "parenchyma", "tumor"):
        spelt = [name for name in masks if role_of(name) == role]
        if role in masks or not spelt or (len(spelt) > 1 and role != "tumor"):
            continue
        parts = [masks[name] for name in spelt]
        if len(spelt) == 1:
            del known[spelt[0]]
        known[role] = parts[0].with_array(np.logical_or.reduce([part.array.astype(bool) for part in parts]))
    return known


def evaluate_vois(
    vois: Mapping[str, str],
    masks: Mapping[str, Volume],
    *,
    lesions: Literal["union", "largest"] = "union",
    min_lesion_ml: float = 0.0,
) -> dict[str, Volume]:
    """VOIs of one patient's structures.

    Parameters
    ----------
    vois
        Expressions by name.
    masks
        Structures by name (see `with_unions`).
    lesions, min_lesion_ml
        Which tumors count: all or the largest, and from which volume (ml) on. ``liver`` and ``parenchyma`` do not
        change with it.

    Raises
    ------
    VoiError
        An expression cannot be read, or needs a structure that is not there.
    GeometryError
        The structures lie on different grids.
    """
    named = with_unions(masks)
    if "tumor" in named and (lesions != "union" or min_lesion_ml > 0):
        found = find_lesions(named["tumor"], lesions, min_volume_ml=min_lesion_ml)
        named["tumor"] = found.masks[0] if found.masks else named["tumor"].with_array(named["tumor"].array & False)
    return {name: VoiExpression.parse(text).evaluate(named) for name, text in vois.items()}
