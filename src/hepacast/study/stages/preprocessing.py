"""Stage before segmentation, MR only: bias field, registration to the reference sequence, intensity scale.

Corrected and registered images are kept under a hash of their content and settings; the intensity scale is applied
afterwards, as Nyul's is learned from the training patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.cohort import read_cohort
from hepacast.core.closure import code_hash
from hepacast.core.executor import resolve_workers
from hepacast.core.files import read_json, write_json
from hepacast.core.jobs import Job, try_each
from hepacast.core.kept import is_kept, keep, seal
from hepacast.core.names import file_name
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import HepacastError
from hepacast.imaging.io import read_mask, read_volume, write_volume
from hepacast.imaging.preprocessing import NyulStandardizer, body_mask, registration_png
from hepacast.imaging.preprocessing.normalize import region_values
from hepacast.imaging.preprocessing.register import Registration
from hepacast.imaging.resample import resample_mask
from hepacast.imaging.structures import with_unions
from hepacast.imaging.volume import Volume
from hepacast.study.context import Context
from hepacast.study.further_cohorts import further_inputs, further_patients
from hepacast.study.input_files import image_hashes, imaged_patients, typical_voxels
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.preprocessed_images import on_scale, prepare, scale_region
from hepacast.study.schema.preprocessing import PreprocessingOptions
from hepacast.study.sequences import SequenceImage, preprocessed_file, raw_images
from hepacast.study.stage import Cost, Stage

REPORT, LANDMARKS = "preprocessing.json", "landmarks.json"
#: Intensities of a region kept a patient to learn landmarks from.
_SAMPLE = 20_000


@dataclass(frozen=True)
class Preparation:
    """What is done to one patient's sequences; the numbers are kept, and beside them, under their name, the images."""

    files: tuple[SequenceImage, ...]
    reference: str
    rules: PreprocessingOptions
    mask: MaskFiles | None
    labels: tuple[tuple[str, int], ...]
    picture: Path | None = None


def _made(job: Job[Preparation], sequence: str) -> Path:
    """Where the corrected and registered sequence is kept."""
    return job.kept.with_suffix("") / f"{sequence}.nii.gz"


def _is_kept(job: Job[Preparation]) -> bool:
    """Whether numbers and images are as they were written."""
    return is_kept(job.kept) and all(is_kept(_made(job, item.name)) for item in job.task.files)


def write(context: Context, folder: Path) -> None:
    """Run the stage: images, numbers of every patient, pictures, Methods sentence."""
    cohort = read_cohort(context.out / "cohort")
    patients = list(cohort.patients)
    patients += further_patients(context)
    rules = _rules(context)
    jobs = [_job(context, patient, number < rules.pictures, folder) for number, patient in enumerate(patients)]
    made = try_each(_prepare, jobs, "bias field and registration", reporter=context.reporter, workers=context.workers)
    good = [job for job, found in zip(jobs, made, strict=True) if not isinstance(found, HepacastError)]
    scales = None
    if rules.normalization == "nyul":
        scales = _landmarks(good, set(cohort.members("training")))
        write_json(folder / LANDMARKS, scales)
    tasks = [(job, folder, scales) for job in good]
    finished = try_each(_finish, tasks, "intensity scale", reporter=context.reporter, workers=context.workers)
    problems = {job.patient: found for job, found in zip(jobs, made, strict=True) if isinstance(found, HepacastError)}
    problems |= {job.patient: found for job, found in zip(good, finished, strict=True) if found is not None}
    _refuse_failed({job.patient: problems[job.patient] for job in jobs if job.patient in problems})
    rows = [
        {"patient": job.patient, "status": "ok", "reason": None, **found}
        for job, found in zip(jobs, made, strict=True)
        if not isinstance(found, HepacastError)
    ]
    pictures = [
        {"patient": job.patient, "file": job.task.picture.name}
        for job in jobs
        if job.task.picture and job.task.picture.exists()
    ]
    content = {
        "reference": context.images.reference,
        "settings": rules.model_dump(mode="json"),
        "summary": _summary(rows),
        "pictures": pictures,
        "patients": rows,
    }
    write_json(folder / REPORT, content)
    write_record(folder / "methods.json", [_sentence(rules, content)])


def _refuse_failed(problems: dict[str, HepacastError]) -> None:
    """Later stages would stop at the missing file with a worse message."""
    if problems:
        raise HepacastError(
            f"MR images of {len(problems)} patients cannot be preprocessed.",
            found="; ".join(f"{patient}: {problem.message}" for patient, problem in list(problems.items())[:5]),
            remedy="look at these images, or exclude the patients with a reason in the study file",
        )


def _rules(context: Context) -> PreprocessingOptions:
    rules = context.images.preprocessing
    assert rules is not None
    return rules


def _job(context: Context, patient: str, with_picture: bool, folder: Path) -> Job[Preparation]:
    images, rules = context.images, _rules(context)
    files = raw_images(context, patient)
    options = images.segmentation
    given = options.source == "given" and options.masks is not None
    mask = mask_files(context, options.masks, patient) if given and options.masks is not None else None
    geometric = rules.model_dump(include={"bias_correction", "bias_voxel_mm", "registration", "spacing"})
    picture = folder / f"registration-{file_name(patient)}.png" if with_picture else None
    task = Preparation(files, images.reference, rules, mask, tuple(options.labels.items()), picture)
    there = [item for item in files if item.exists()]
    content = [images.reference, geometric, code_hash("hepacast.study.preprocessed_images", alone=(__name__,))]
    return Job.of(patient, task, context.cache / "mr", ".json", there, context.fingerprints, content)


def _prepare(job: Job[Preparation]) -> dict[str, Any]:
    """In a worker: numbers of bias field and registration of one patient."""
    task, made = job.task, list[tuple[Volume, dict[str, Registration]]]()
    if not _is_kept(job) or task.picture is not None:
        keep(job.kept, lambda: made.append(_work(job)), job.inputs)
        pair = made[-1]
        if task.picture is not None and pair[1]:
            tumor = _structure(task, pair[0], "tumor")
            title = f"Patient {job.patient}"
            registration_png(pair[0], pair[1], task.picture, mask=tumor, name=task.reference, title=title)
    known: dict[str, Any] = read_json(job.kept)
    return known


def _work(job: Job[Preparation]) -> tuple[Volume, dict[str, Registration]]:
    """Writes images and numbers; returns the reference, and how the others were moved to it."""
    task = job.task
    prepared = prepare({item.name: item.read() for item in task.files}, task.reference, task.rules)
    for name, volume in prepared.images.items():
        write_volume(volume, _made(job, name))
        seal(_made(job, name))
    registration = {name: item.to_json() for name, item in prepared.moved.items()}
    write_json(job.kept, {"bias": prepared.bias, "registration": registration})
    return prepared.reference, prepared.moved


def _structure(task: Preparation, reference: Volume, name: str) -> Volume | None:
    """A structure of the given masks on the reference's grid; None where there is none."""
    labels = dict(task.labels)
    if task.mask is None or not task.mask.exists():
        return None
    drawn_on = next(item for item in task.files if item.name == task.reference)
    mask = with_unions(read_mask(task.mask.given, labels, reference=drawn_on.read())).get(name)
    if mask is None:
        return None
    if mask.geometry.size == reference.geometry.size and mask.geometry.corner_offset_mm(reference.geometry) < 0.01:
        return mask
    return resample_mask(mask, reference=reference, threshold=0.5)


def _region(task: Preparation, image: Volume) -> Volume | None:
    """Where the intensity scale is taken, on the finished grid."""
    name = scale_region(task.rules)
    return body_mask(image) if name == "body" else _structure(task, image, name)


def _landmarks(jobs: list[Job[Preparation]], training: set[str]) -> dict[str, Any]:
    """Nyul's landmarks by sequence, of the training patients only."""
    scales = {}
    for name in (item.name for item in jobs[0].task.files):
        samples = []
        for job in (item for item in jobs if item.patient in training):
            region = _region(job.task, read_volume(_made(job, job.task.reference)))
            values = region_values(read_volume(_made(job, name)), region)
            samples.append(values[:: max(1, len(values) // _SAMPLE)])
        scales[name] = NyulStandardizer(high=jobs[0].task.rules.scale).fit(samples).to_dict()
    return scales


def _finish(part: tuple[Job[Preparation], Path, dict[str, Any] | None]) -> None:
    """In a worker: put one patient's images on the scale and write them."""
    job, folder, scales = part
    region = _region(job.task, read_volume(_made(job, job.task.reference)))
    for name in (item.name for item in job.task.files):
        landmarks = None if scales is None else scales[name]
        image = on_scale(read_volume(_made(job, name)), region, job.task.rules, landmarks)
        write_volume(image, preprocessed_file(folder, job.patient, name))


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and extremes over the patients, by sequence."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name, item in row.get("registration", {}).items():
            entry = found.setdefault(name, {"before": [], "after": [], "displacement_mm": [], "kept": []})
            entry["before"].append(item["mutual_information_before"])
            entry["after"].append(item["mutual_information_after"])
            entry["displacement_mm"].append(item["displacement_mm"])
            entry["kept"].append(float(item["status"] == "kept"))
    bias: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.get("bias", {}).items():
            bias.setdefault(name, []).append(value)
    return {
        "bias_spread": {name: float(np.median(values)) for name, values in bias.items()},
        "registration": {
            name: {
                "mutual_information_before": float(np.median(item["before"])),
                "mutual_information_after": float(np.median(item["after"])),
                "displacement_mm": float(np.median(item["displacement_mm"])),
                "largest_displacement_mm": float(np.max(item["displacement_mm"])),
                "n": len(item["kept"]),
                "n_kept": int(np.sum(item["kept"])),
            }
            for name, item in found.items()
        },
    }


_SCALES = {
    "zscore": "scaled to mean 0 and standard deviation {scale:g} of the {region}",
    "nyul": "brought to Nyul's standard scale [@nyul], whose landmarks were learned from the training patients",
    "white-stripe": "scaled by the peak of the {tissue} and the spread around it (after WhiteStripe [@whitestripe])",
}


def _sentence(rules: PreprocessingOptions, content: dict[str, Any]) -> Sentence:
    """The Methods sentence."""
    parts, keys = [], []
    if rules.bias_correction == "n4":
        parts.append("the bias field was corrected with N4 [@n4]")
        keys.append("n4")
    if rules.registration != "none":
        parts.append(
            f"the other sequences were registered to the {content['reference']} one ({rules.registration}, Mattes' "
            "mutual information [@mattes])"
        )
        keys.append("mattes")
    if rules.spacing is not None:
        parts.append(f"images were resampled to {' x '.join(f'{v:g}' for v in rules.spacing)} mm")
    if rules.normalization != "none":
        parts.append("intensities were " + _SCALES[rules.normalization].format(**rules.model_dump()))
        keys += {"nyul": ["nyul"], "white-stripe": ["whitestripe"]}.get(rules.normalization, [])
    text = "MR images: " + "; ".join(parts) + "." if parts else "MR images were used as they were."
    return Sentence("preprocessing", text, keys)


def _settings(context: Context) -> Any:
    images = context.images.model_dump(mode="json")
    return {"images": [images["sequences"], images["preprocessing"], images["segmentation"]["labels"]]}


def _cost(context: Context) -> Cost:
    each = len(context.images.sequences) * (1.0 + typical_voxels(context) * 4e-6)
    return Cost(each * imaged_patients(context) / resolve_workers(context.workers), 2e9)


STAGE = Stage(
    name="preprocessing",
    title="MR: bias field, registration, intensity scale",
    module=__name__,
    run=write,
    settings=_settings,
    cost=_cost,
    needs=("cohort",),
    inputs=lambda context: image_hashes(context) | further_inputs(context),
    wanted=lambda context: context.study.images is not None and context.study.images.preprocessing is not None,
)
