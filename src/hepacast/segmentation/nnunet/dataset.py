"""nnU-Net's dataset folder, built from the cohort: names, label map, splits. The user sets no environment variable.

Files are named by patient, cases are sorted by patient, and folds are drawn per patient, so the order of the rows
in the cohort's table changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from hepacast.core.files import write_json
from hepacast.core.hashing import hash_file, hash_value
from hepacast.core.kept import read_record, same_folder, write_record
from hepacast.core.names import file_name
from hepacast.core.seeds import derive_seed
from hepacast.errors import ImageError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskRules
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import COMPOSITES, structure_mask
from hepacast.segmentation.base import PARENCHYMA_TUMOR, require_one_grid
from hepacast.segmentation.given import GivenSegmenter
from hepacast.segmentation.nnunet.model import SEQUENCES

DATASET = "Dataset001_hepacast"
FILE_ENDING = ".nii.gz"


class Readable(Protocol):
    """An image that knows how it is read."""

    def read(self) -> Volume:
        """The image."""


Image = str | Path | Volume | Readable


@dataclass(frozen=True)
class TrainingCase:
    """One labelled patient.

    Parameters
    ----------
    patient
        Study identifier.
    image
        CT file or volume (HU), or an object that reads it; of several channels each by its name, on one grid, the
        first being the one that the masks are drawn on.
    masks
        Label map, one mask file, or files or boolean volumes by structure (``parenchyma`` and ``tumor``, or
        ``liver`` and ``tumor``).
    labels
        For one mask file: label value of each structure.
    rules
        What a PyRadiomics parameter file says of mask files.
    """

    patient: str
    image: Image | Mapping[str, Image]
    masks: LabelMap | str | Path | Mapping[str, str | Path | Volume]
    labels: Mapping[str, int] | None = None
    rules: MaskRules | None = None

    def read_images(self, names: Sequence[str] = ("image",)) -> dict[str, Volume]:
        """The image of each channel, the one that masks are drawn on first.

        Raises
        ------
        ImageError
            One is missing.
        GeometryError
            They do not lie on one grid.
        """
        given = self.image if isinstance(self.image, Mapping) else dict.fromkeys(names[:1], self.image)
        missing = [name for name in names if name not in given]
        if missing:
            raise ImageError(
                "A labelled patient lacks an image that the network learns from.",
                expected=", ".join(names),
                found=", ".join(given),
                where=f"patient {self.patient}",
                remedy="give it, name fewer channels, or leave this patient out of the labelled ones",
            )
        images = {name: _read(given[name]) for name in dict.fromkeys([next(iter(given)), *names])}
        require_one_grid(images, where=f"patient {self.patient}")
        return images

    def read_labels(self, image: Volume) -> LabelMap:
        """The label map on the image's grid."""
        if isinstance(self.masks, LabelMap):
            image.geometry.require_same(self.masks.volume.geometry, where=f"patient {self.patient}")
            return self.masks
        return GivenSegmenter(self.masks, self.labels, rules=self.rules or MaskRules()).segment(image).labelmap


def _read(image: Image) -> Volume:
    if isinstance(image, Volume):
        return image
    if not isinstance(image, str | Path):
        return image.read()
    from hepacast.imaging.io import read_volume

    return read_volume(image)


def check_cases(cases: Sequence[TrainingCase], test_cases: Sequence[TrainingCase], folds: int) -> list[TrainingCase]:
    """The training cases sorted by patient, after checks that need no image.

    Raises
    ------
    StudyFileError
        Fewer patients than folds, a patient twice, or a patient in both training and test.
    """
    patients = [case.patient for case in cases]
    twice = sorted({p for p in patients if patients.count(p) > 1})
    shared = sorted(set(patients) & {case.patient for case in test_cases})
    if twice or shared:
        raise StudyFileError(
            "A patient may be labelled once, either for training or for the test set.",
            found=f"twice: {', '.join(twice)}" if twice else f"in both: {', '.join(shared)}",
            remedy="otherwise the test set would not be independent",
        )
    if len(patients) < folds:
        raise StudyFileError(
            "There are fewer labelled patients than cross-validation folds.",
            expected=f"at least {folds} patients",
            found=str(len(patients)),
            remedy="label more patients, or lower the number of folds",
        )
    return sorted(cases, key=lambda case: case.patient)


def make_splits(patients: Sequence[str], folds: int, seed: int) -> list[dict[str, list[str]]]:
    """Cross-validation splits: each patient is validated in one fold.

    The fold follows from the patient's rank in an order drawn by the seed, so that the sizes differ by one at
    most, and neither the rows' order nor the number of workers matters.
    """
    ranked = sorted(patients, key=lambda patient: (derive_seed(seed, "nnunet-fold", patient), patient))
    splits = []
    for fold in range(folds):
        held_out = set(ranked[fold::folds])
        splits.append(
            {
                "train": sorted(p for p in patients if p not in held_out),
                "val": sorted(held_out),
            }
        )
    return splits


def prepare_dataset(
    cases: Sequence[TrainingCase],
    folder: str | Path,
    labels: Mapping[str, int] = PARENCHYMA_TUMOR,
    channels: Mapping[str, str] = MappingProxyType({"image": "CT"}),
) -> dict[str, Any]:
    """Write nnU-Net's raw dataset folder.

    Parameters
    ----------
    cases
        Labelled patients.
    folder
        Parent of ``Dataset001_hepacast`` (nnU-Net's ``nnUNet_raw``).
    labels
        Structures to learn and their values, 1, 2, ... without a gap.
    channels
        Modality (``CT``, ``MR``) of each channel by its name: nnU-Net scales CT by the cohort's HU, other images by
        their own mean and SD.

    Returns
    -------
    dict
        ``cases`` {patient: {id, hash, voxels, counts, files}} and ``hash`` of the whole content. A case whose content
        has not changed is not written again.

    Raises
    ------
    ImageError
        A structure is missing from a mask file, or no case has a voxel of a structure.
    GeometryError
        A mask does not lie on its image's grid.
    StudyFileError
        The label values are not 1, 2, ...
    """
    if sorted(labels.values()) != list(range(1, len(labels) + 1)):
        raise StudyFileError(
            "nnU-Net needs label values without a gap.",
            expected=", ".join(str(i + 1) for i in range(len(labels))),
            found=", ".join(f"{name}: {value}" for name, value in labels.items()),
        )
    root = Path(folder) / DATASET
    index_file = root / "hepacast.json"
    known = (read_record(index_file) or {}).get("cases", {})
    entries: dict[str, dict[str, Any]] = {}
    for case in sorted(cases, key=lambda item: item.patient):
        entries[case.patient] = _write_case(case, root, labels, list(channels), known.get(case.patient))
    _require_every_structure(entries, labels)
    _drop_strangers(root, {file for entry in entries.values() for file in entry["files"]})
    write_json(root / "dataset.json", _dataset_json([entry["id"] for entry in entries.values()], labels, channels))
    content = {patient: entry["hash"] for patient, entry in entries.items()}
    index = {"cases": entries, "labels": dict(labels), "hash": hash_value([content, dict(labels), *channels.items()])}
    write_record(index_file, index)
    return index


#: Names of channels: nnU-Net knows CT, whose HU it scales by the cohort's; every other is scaled image by image.
_CHANNELS = {"CT": "CT", "MR": "MRI"}


def _image_name(identifier: str, channel: int) -> str:
    return f"{identifier}_{channel:04d}{FILE_ENDING}"


def _dataset_json(identifiers: Sequence[str], labels: Mapping[str, int], channels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "channel_names": {str(n): _CHANNELS[modality] for n, modality in enumerate(channels.values())},
        SEQUENCES: {str(n): name for n, name in enumerate(channels)},
        "labels": {"background": 0, **labels},
        "numTraining": len(identifiers),
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        # With the files listed, nnU-Net need not search for them with a pool of forked processes.
        "dataset": {
            name: {
                "images": [f"imagesTr/{_image_name(name, n)}" for n in range(len(channels))],
                "label": f"labelsTr/{name}{FILE_ENDING}",
            }
            for name in identifiers
        },
    }


def _write_case(
    case: TrainingCase,
    root: Path,
    labels: Mapping[str, int],
    channels: Sequence[str],
    known: dict[str, Any] | None,
) -> dict[str, Any]:
    from hepacast.imaging.io import write_volume

    images = case.read_images(channels)
    first = next(iter(images.values()))
    array = _training_labels(case.read_labels(first), labels, case.patient)
    counts = {name: int((array == value).sum()) for name, value in labels.items()}
    identifier = file_name(case.patient)
    chosen = [images[name] for name in channels]
    label_file = root / "labelsTr" / f"{identifier}{FILE_ENDING}"
    entry = {
        "id": identifier,
        "hash": _content_hash(chosen, array),
        "voxels": int(first.array.size),
        "counts": counts,
    }
    same = known is not None and {**known, "files": None} == {**entry, "files": None}
    if same and known is not None and same_folder(root, dict(known["files"])) is None:
        return known
    files = [label_file]
    write_volume(first.with_array(array), label_file)
    for number, image in enumerate(chosen):
        files.append(root / "imagesTr" / _image_name(identifier, number))
        # With one header: nnU-Net compares their digits.
        write_volume(first.with_array(image.array), files[-1])
    hashes = {item.relative_to(root).as_posix(): hash_file(item) for item in files}
    return entry | {"files": hashes}


def _training_labels(labelmap: LabelMap, labels: Mapping[str, int], patient: str) -> np.ndarray:
    """One array with the values to be learned."""
    array = np.zeros(labelmap.volume.geometry.shape, dtype=np.uint8)
    # The whole before its parts, whatever their order.
    for name, value in sorted(labels.items(), key=lambda item: item[0] not in COMPOSITES):
        try:
            mask = structure_mask(labelmap, name)
        except ImageError as error:
            raise ImageError(
                error.message,
                expected=", ".join(labels),
                found=", ".join(labelmap.names) or "no named structure",
                where=f"patient {patient}",
                remedy="name the labels of this mask, or draw the missing structure (it may be empty)",
            ) from error
        array[mask.array] = value
    if not array.any():
        raise ImageError(
            "A labelled patient has no labelled voxel.",
            expected=f"at least one of {', '.join(labels)}",
            where=f"patient {patient}",
            remedy="leave this patient out of the labelled ones",
        )
    return array


def _content_hash(images: Sequence[Volume], labels: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in (*(np.ascontiguousarray(image.array) for image in images), labels):
        digest.update(str(array.dtype).encode("ascii"))
        digest.update(array.tobytes())
    geometry = images[0].geometry
    digest.update(repr((geometry.size, geometry.spacing, geometry.origin, geometry.direction)).encode("ascii"))
    return digest.hexdigest()


def _require_every_structure(entries: Mapping[str, Mapping[str, Any]], labels: Mapping[str, int]) -> None:
    for name in labels:
        if not any(entry["counts"][name] for entry in entries.values()):
            raise ImageError(
                f"No labelled patient has a voxel of {name!r}, so it cannot be learned.",
                expected=f"{name} in some of the {len(entries)} patients",
                remedy="check the label values, or leave this structure out",
            )


def _drop_strangers(root: Path, files: set[str]) -> None:
    """Remove files of cases that no longer belong to the dataset: nnU-Net trains on whatever lies there."""
    for folder in ("imagesTr", "labelsTr"):
        for path in (root / folder).glob(f"*{FILE_ENDING}"):
            if path.relative_to(root).as_posix() not in files:
                path.unlink()
