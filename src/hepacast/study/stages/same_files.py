"""Images or masks that two patients share: one of them was copied to the wrong patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hepacast.core.hashing import hash_value
from hepacast.errors import ImageError
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskFiles, MaskPattern, mask_files
from hepacast.study.sequences import raw_images


def shared_files(context: Context, patients: Sequence[str]) -> dict[str, ImageError]:
    """Images and masks with the very same content as an earlier patient's, by patient.

    A mask of another patient on the same grid cannot be told from its geometry, but a copied file can. Sequences are
    compared with each other too: a portal image that is also called the arterial one is a mistake of the same kind.
    """
    images = context.study.images
    if images is None:
        return {}
    groups: dict[str, list[MaskPattern]] = {"image": [item.path for item in images.sequences.values()]}
    if images.segmentation.masks is not None:
        groups["mask"] = [images.segmentation.masks]
    if images.segmentation.second_reader is not None:
        groups["mask of the second reader"] = [images.segmentation.second_reader]
    found: dict[str, ImageError] = {}
    for what, patterns in groups.items():
        seen: dict[str, tuple[str, MaskFiles]] = {}
        for patient in sorted(patients):
            # Of a file a structure all together: two patients without a tumor may have the same empty mask of it.
            for files in dict.fromkeys(mask_files(context, pattern, patient) for pattern in patterns):
                if not files.exists():
                    continue
                first = seen.setdefault(hash_value(files.key(context.fingerprints)), (patient, files))
                if first != (patient, files) and patient not in found:
                    found[patient] = _error(what, first, (patient, files))
    for patient in sorted(patients):
        twins = _one_series_twice(context, patient)
        if twins and patient not in found:
            found[patient] = ImageError(
                f"Two sequences of patient {patient} are the same series.",
                expected="a series of its own for each sequence",
                found=f"{twins[0]} and {twins[1]} read the same file or series",
                where=f"patient {patient}: images.sequences",
                remedy="name the series of each (images.sequences.NAME.series), or give each its own path",
            )
    return found


def _one_series_twice(context: Context, patient: str) -> tuple[str, str] | None:
    """Two sequences whose rules choose the same series of one place ("venous" and "portal" of "portal venous")."""
    seen: dict[tuple[Path, ...], str] = {}
    images = [item for item in raw_images(context, patient) if item.exists()]
    for item in images:
        if [other.path for other in images].count(item.path) < 2:
            continue
        try:
            slices = item.slices()
        except ImageError:  # whoever reads the image says what is wrong with it
            continue
        if slices in seen:
            return seen[slices], item.name
        seen[slices] = item.name
    return None


def require_own_files(context: Context, patients: Sequence[str]) -> None:
    """Refuse a file that stands for two patients.

    Raises
    ------
    ImageError
    """
    for error in shared_files(context, patients).values():
        raise error


def _error(what: str, first: tuple[str, MaskFiles], second: tuple[str, MaskFiles]) -> ImageError:
    return ImageError(
        f"The {what} of patient {second[0]} is the same file as that of patient {first[0]}."
        if first[0] != second[0]
        else f"Two sequences of patient {second[0]} are the same file.",
        expected=f"an {what} of one's own" if what == "image" else f"a {what} of one's own",
        found=f"equal content: {first[1]}, {second[1]}",
        where=f"patient {second[0]}",
        remedy="put the right file in the place of the copy, or exclude the patient with a reason in the study file",
    )
