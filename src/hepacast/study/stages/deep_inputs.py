"""What the networks of a study get: every patient's crop, mask, outcome and covariates, in the order of identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort import Cohort, SurvivalOutcome
from hepacast.cohort.columns import numeric_columns
from hepacast.core.closure import code_hash
from hepacast.core.files import atomic_path, read_json
from hepacast.core.hashing import hash_value
from hepacast.core.kept import InputFile, make_missing
from hepacast.core.names import file_name
from hepacast.deep import CropStore, DeepSpec, Targets, crop_geometry, crop_mask, crop_patient
from hepacast.deep.spec import CropSpec
from hepacast.errors import HepacastError, StudyFileError
from hepacast.imaging import Geometry, Volume
from hepacast.imaging.io import read_labelmap
from hepacast.imaging.structures import structure_mask, structures_of
from hepacast.imaging.voi import VoiExpression
from hepacast.modelling.targets import event_classes
from hepacast.segmentation.given import GivenSegmenter
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.patient_masks import MASKS, mask_file
from hepacast.study.schema import Deep
from hepacast.study.sequences import SequenceImage, measured_images


@dataclass(frozen=True)
class DeepData:
    """All analysed patients as the networks see them.

    Parameters
    ----------
    cohort
        Who is analysed.
    patients
        Identifiers, sorted; the order of every array.
    crops
        (n, channels, z, y, x).
    targets
        Outcomes, masks, covariates.
    drawn
        Masks of the study's segmentation (a network's, where one was trained) on the crops' grids.
    y
        The study's outcome, (n,) or (n, 2): `Outcome.y`.
    spacing
        Voxel size of each crop (x, y, z), mm, (n, 3).
    """

    cohort: Cohort
    patients: tuple[str, ...]
    crops: CropStore
    targets: Targets
    drawn: CropStore
    y: np.ndarray
    spacing: np.ndarray

    @property
    def event(self) -> np.ndarray:
        """1 for patients with the event, (n,)."""
        return event_classes(self.y)

    def rows(self, name: str) -> np.ndarray:
        """Row numbers of one set."""
        sets = self.cohort.sets
        return np.flatnonzero([sets[patient] == name for patient in self.patients])

    def geometry(self, row: int) -> Geometry:
        """A crop's grid up to its place: enough for distances and volumes."""
        x, y, z = (float(value) for value in self.spacing[row])
        shape = self.drawn[row].shape
        return Geometry((shape[2], shape[1], shape[0]), (x, y, z))


def deep_of(context: Context) -> Deep:
    """The study's networks (the stage is only run where there are some)."""
    assert context.study.deep is not None
    return context.study.deep


def spec_of(context: Context) -> DeepSpec:
    """Crop, network and training, with the file of pretrained weights found beside the study file."""
    spec = deep_of(context).spec
    if spec.network.pretrained is None:
        return spec
    found = str(context.path(spec.network.pretrained))
    return spec.model_copy(update={"network": spec.network.model_copy(update={"pretrained": found})})


def load_data(context: Context) -> DeepData:
    """Make or find all crops.

    Raises
    ------
    HepacastError
        A patient's image or mask cannot be cropped.
    """
    cohort = analysis_cohort(context)
    patients = tuple(sorted(cohort.patients))
    jobs = [_job(context, patient) for patient in patients]
    with context.reporter.track("crops") as progress:
        make_missing(_crop, jobs, workers=context.workers, progress=progress)
    folder = context.cache / "deep"
    key = hash_value([job.kept.name for job in jobs])[:24]
    stores = {
        name: CropStore.build(folder / f"{name}-{key}.npy", jobs, lambda job, name=name: _kept(job, name), dtype)  # type: ignore[misc]
        for name, dtype in (("crop", np.float32), ("target", np.bool_), ("drawn", np.bool_))
    }
    has_mask = np.array([bool(_kept(job, "has_mask")) for job in jobs])
    event, time = _learned(context, cohort, patients)
    covariates = covariate_table(cohort, deep_of(context).network.covariates)
    targets = Targets(
        outcome=event,
        time=time,
        masks=stores["target"],
        has_mask=has_mask,
        covariates=None if covariates is None else covariates.loc[list(patients)].to_numpy(dtype=float),
    )
    y = cohort.outcome.select(patients).y
    spacing = np.stack([_kept(job, "spacing") for job in jobs])
    return DeepData(cohort, patients, stores["crop"], targets, stores["drawn"], y, spacing)


def _learned(context: Context, cohort: Cohort, patients: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """What the prediction pathway learns: the event, or the follow-up for Cox and discrete hazards."""
    outcome = cohort.outcome.select(patients)
    if deep_of(context).network.outcome == "binary":
        if outcome.has_time:
            raise StudyFileError(
                "The outcome is a time to an event, and the network would learn the event alone.",
                expected="cox or hazard",
                found="binary",
                where="deep.network.outcome",
            )
        return outcome.events.to_numpy(dtype=float), None
    if isinstance(outcome, SurvivalOutcome):
        # A competing event ends the time in which the event could have come.
        return outcome.event.to_numpy(dtype=float), outcome.time.to_numpy(dtype=float)
    if not cohort.survival:
        raise StudyFileError(
            "A network of times to an event needs the follow-up.",
            expected="survival: {time: ..., event: ...}",
            where="deep.network.outcome",
        )
    follow_up = next(iter(cohort.survival.values()))
    return (
        follow_up.event.astype(float).reindex(list(patients)).to_numpy(),
        follow_up.time.astype(float).reindex(list(patients)).to_numpy(),
    )


def covariate_table(cohort: Cohort, names: list[str]) -> pd.DataFrame | None:
    """Clinical values as numbers: levels of a categorical column become 0/1 columns, without the first.

    Raises
    ------
    StudyFileError
        A name is no candidate column.
    """
    if not names:
        return None
    specs = {spec.name: spec for spec in cohort.table.specs}
    parts = []
    for name in names:
        spec = specs.get(name)
        if spec is None or spec.after_event or spec.kind == "date":
            raise StudyFileError(
                f"The covariate {name!r} of the network cannot be used.",
                expected="a numeric, binary or categorical column that is known before the event",
                where="deep.network.covariates",
            )
        parts.append(numeric_columns(cohort.table.frame[name], spec))
    return pd.concat(parts, axis=1)


@dataclass(frozen=True)
class _Job:
    """One patient to crop; the result is kept under a hash of images, masks, settings and code."""

    patient: str
    images: tuple[SequenceImage, ...]
    mask: Path
    labels: tuple[tuple[str, int], ...]
    target: MaskFiles | None
    target_labels: tuple[tuple[str, int], ...]
    structure: str
    crop: CropSpec
    kept: Path
    inputs: tuple[InputFile, ...]


def _job(context: Context, patient: str) -> _Job:
    images, rules, prints = context.images, deep_of(context), context.fingerprints
    folder = context.out / "segmentation" / MASKS
    mask, labels = mask_file(folder, patient), read_json(folder / "labels.json")
    files = tuple(item for item in measured_images(context, patient) if item.exists())
    target, target_labels = _target(context, patient, mask, labels)
    crop = rules.crop if rules.crop.channels else rules.crop.model_copy(update={"channels": list(images.sequences)})
    outline = prints.read(mask)
    key = hash_value(
        [
            [item.key(prints) for item in files],
            outline.sha256,
            labels,
            target.key(prints) if target is not None else "",
            target_labels,
            rules.structure,
            crop.model_dump(mode="json"),
            code_hash(__name__),
        ]
    )
    kept = context.cache / "deep" / "patients" / f"{file_name(patient)}-{key[:24]}.npz"
    sources: list[SequenceImage | MaskFiles] = [*files, *([target] if target is not None else [])]
    inputs = (outline, *(file for item in sources for file in item.inputs(prints)))
    return _Job(
        patient,
        files,
        mask,
        tuple(labels.items()),
        target,
        tuple(target_labels.items()),
        rules.structure,
        crop,
        kept,
        inputs,
    )


def _target(
    context: Context, patient: str, mask: Path, labels: dict[str, int]
) -> tuple[MaskFiles | None, dict[str, int]]:
    """The mask to learn from: of the pattern given, an expert's where a network made the study's, else the study's."""
    options, rules = context.images.segmentation, deep_of(context)
    pattern = rules.masks or (options.masks if options.source != "given" else None)
    if pattern is None:
        return MaskFiles((("", mask),)), labels
    files = mask_files(context, pattern, patient)
    return (files if files.exists() else None), dict(options.labels)


def _crop(job: _Job) -> None:
    """In a worker: one patient's arrays, written together."""
    try:
        volumes = {item.name: item.read() for item in job.images}
        first = next(iter(volumes.values()))
        structures = _structures(job.mask, dict(job.labels), first)
        masks = {**structures, job.crop.voi: VoiExpression.parse(job.crop.voi).evaluate(structures)}
        modalities = {item.name: item.modality for item in job.images}
        grid = crop_geometry(masks[job.crop.voi], job.crop)
        crop = crop_patient(volumes, masks, job.crop, modalities=modalities, patient=job.patient)
        drawn = crop_mask(structures[job.structure], grid)
        target = np.zeros_like(drawn)
        if job.target is not None:
            drawn_map = GivenSegmenter(job.target.given, dict(job.target_labels)).segment(first).labelmap
            target = crop_mask(structure_mask(drawn_map, job.structure), grid)
    except HepacastError as error:
        if error.where is None:
            error.where = f"patient {job.patient}"
            error.args = (str(error),)
        raise
    with atomic_path(job.kept) as temporary:
        np.savez(
            temporary,
            crop=crop,
            drawn=drawn,
            target=target,
            has_mask=np.array(job.target is not None),
            spacing=np.array(grid.spacing),
        )


def _structures(path: Path, labels: dict[str, int], reference: Volume) -> dict[str, Volume]:
    return structures_of(read_labelmap(path, labels, reference=reference))


def _kept(job: _Job, name: str) -> Any:
    with np.load(job.kept, allow_pickle=False) as file:
        return file[name]
