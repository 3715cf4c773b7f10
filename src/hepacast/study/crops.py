"""What networks see of every patient: the crop of the images, its mask, and the mask to learn from, on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.closure import code_hash
from hepacast.core.files import atomic_path
from hepacast.core.hashing import hash_value
from hepacast.core.jobs import Job, JobFiles, make_missing
from hepacast.deep import CropSpec, CropStore, crop_geometry, crop_mask, crop_patient
from hepacast.errors import HepacastError
from hepacast.imaging.structures import structure_mask, structures_of
from hepacast.imaging.voi import VoiExpression
from hepacast.segmentation.given import GivenSegmenter
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskFiles
from hepacast.study.patient_masks import MaskedImages, masked_images


@dataclass(frozen=True)
class DrawnMask:
    """A mask to learn from, where it is, and the values of its structures."""

    files: MaskFiles
    labels: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CropTask:
    """One patient to crop; `on_learned`: around the mask to learn from, not the study's."""

    files: MaskedImages
    crop: CropSpec
    structure: str
    learned: DrawnMask | None
    on_learned: bool = False


@dataclass(frozen=True, eq=False)
class CroppedPatients:
    """Crops of patients, in their order.

    Parameters
    ----------
    crops
        (n, channels, z, y, x).
    drawn, learned
        The structure by the study's masks, and by the masks to learn from (empty without one), (n, z, y, x).
    has_mask
        Who has a mask to learn from, (n,).
    spacing
        Voxel size of each crop (x, y, z), mm, (n, 3).
    """

    crops: CropStore
    drawn: CropStore
    learned: CropStore
    has_mask: npt.NDArray[np.bool_]
    spacing: npt.NDArray[np.float64]


def with_channels(context: Context, crop: CropSpec) -> CropSpec:
    """The crop with its channels named: all sequences of the study where none is."""
    return crop if crop.channels else crop.model_copy(update={"channels": list(context.images.sequences)})


def crop_patients(
    context: Context,
    patients: Sequence[str],
    crop: CropSpec,
    structure: str,
    learned: Mapping[str, DrawnMask | None] | None = None,
    *,
    on_learned: bool = False,
) -> CroppedPatients:
    """Make or find the crops of patients.

    Parameters
    ----------
    structure
        What the masks are of.
    learned
        Masks to learn from, by patient.
    on_learned
        Center the crops on those, not on the study's masks; every patient has one then.

    Raises
    ------
    HepacastError
        A patient's image or mask cannot be cropped.
    """
    crop, folder = with_channels(context, crop), context.cache / "crops"
    content = [crop.model_dump(mode="json"), structure, code_hash(__name__), on_learned]
    jobs = []
    for patient in patients:
        files, mask = masked_images(context, patient), (learned or {}).get(patient)
        sources: list[JobFiles] = [files, *([] if mask is None else [mask.files])]
        own = [content, None if mask is None else dict(mask.labels)]
        task = CropTask(files, crop, structure, mask, on_learned)
        jobs.append(Job.of(patient, task, folder, ".npz", sources, context.fingerprints, own))
    make_missing(_crop, jobs, "crops", reporter=context.reporter, workers=context.workers)
    name = hash_value([job.kept.name for job in jobs])[:24]
    stores = {
        part: CropStore.build(folder / f"{part}-{name}.npy", jobs, lambda job, part=part: _kept(job, part), dtype)  # type: ignore[misc]
        for part, dtype in (("crop", np.float32), ("drawn", np.bool_), ("learned", np.bool_))
    }
    has_mask = np.array([job.task.learned is not None for job in jobs])
    spacing = np.stack([_kept(job, "spacing") for job in jobs])
    return CroppedPatients(stores["crop"], stores["drawn"], stores["learned"], has_mask, spacing)


def _crop(job: Job[CropTask]) -> None:
    """In a worker: one patient's arrays, written together."""
    task = job.task
    try:
        volumes = {item.name: item.read() for item in task.files.images}
        first = next(iter(volumes.values()))
        structures = task.files.structures(first)
        given = None
        if task.learned is not None:
            given = GivenSegmenter(task.learned.files.given, dict(task.learned.labels)).segment(first).labelmap
        centers = structures_of(given) if task.on_learned and given is not None else structures
        masks = {**structures, task.crop.voi: VoiExpression.parse(task.crop.voi).evaluate(centers)}
        modalities = {item.name: item.modality for item in task.files.images}
        grid = crop_geometry(masks[task.crop.voi], task.crop)
        crop = crop_patient(volumes, masks, task.crop, modalities=modalities, patient=job.patient)
        drawn = crop_mask(structures[task.structure], grid)
        learned = np.zeros_like(drawn) if given is None else crop_mask(structure_mask(given, task.structure), grid)
    except HepacastError as error:
        if error.where is None:
            error.where = f"patient {job.patient}"
            error.args = (str(error),)
        raise
    with atomic_path(job.kept) as temporary:
        np.savez(temporary, crop=crop, drawn=drawn, learned=learned, spacing=np.array(grid.spacing))


def _kept(job: Job[CropTask], name: str) -> Any:
    with np.load(job.kept, allow_pickle=False) as file:
        return file[name]
