"""Images and masks of all patients, as far as they are there: what they say to the key and to the cost of a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hepacast.core.hashing import hash_value
from hepacast.imaging.io import image_files
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskPattern, mask_files
from hepacast.study.sequences import raw_image
from hepacast.study.stages.clinical import load_table


def present_files(context: Context) -> list[tuple[str, str, Path]]:
    """Kind (``images NAME``, ``expert masks``, ``second reader``), patient and path of every file that is there."""
    images = context.images
    patterns: dict[str, MaskPattern] = {f"images {name}": item.path for name, item in images.sequences.items()}
    if images.segmentation.masks:
        patterns["expert masks"] = images.segmentation.masks
    if images.segmentation.second_reader:
        patterns["second reader"] = images.segmentation.second_reader
    patients = load_table(context).patients
    files = [
        (kind, patient, path)
        for kind, pattern in patterns.items()
        for patient in patients
        for _, path in mask_files(context, pattern, patient).files
    ]
    return [item for item in files if item[2].exists()]


def image_hashes(context: Context) -> dict[str, str]:
    """Content hash of all files of each kind."""
    prints = context.fingerprints
    groups: dict[str, list[tuple[str, str]]] = {}
    for kind, patient, path in present_files(context):
        groups.setdefault(kind, []).append((patient, hash_value([prints.of(item) for item in image_files(path)])))
    return {kind: hash_value(sorted(items)) for kind, items in groups.items()}


def imaged_patients(context: Context) -> int:
    """Patients with an image."""
    return len({patient for kind, patient, _ in present_files(context) if kind.startswith("images")})


def typical_voxels(context: Context) -> float:
    """Voxels of the first image; headers of the others are not read."""
    for kind, patient, _ in present_files(context):
        if kind.startswith("images "):
            return float(raw_image(context, patient, kind.removeprefix("images ")).read().array.size)
    return 1e6


def voi_settings(context: Context) -> Any:
    """What of the study's images decides the features, given the masks; None without images."""
    if context.study.images is None:
        return None
    images = context.study.images.model_dump(mode="json")
    return {name: images[name] for name in ("sequences", "vois", "lesions", "min_lesion_ml")} | {
        "second_reader": images["segmentation"]["second_reader"]
    }
