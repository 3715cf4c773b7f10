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
from hepacast.core.executor import map_items, resolve_workers
from hepacast.core.files import read_json, write_json
from hepacast.core.hashing import hash_value
from hepacast.core.kept import InputFile, is_kept, keep, seal
from hepacast.core.names import file_name
from hepacast.errors import HepacastError
from hepacast.imaging.io import read_mask, read_volume, write_volume
from hepacast.imaging.mr import NyulStandardizer, body_mask, registration_png
from hepacast.imaging.mr.normalize import region_values
from hepacast.imaging.mr.register import Registration
from hepacast.imaging.resample import resample_mask
from hepacast.imaging.structures import with_unions
from hepacast.imaging.volume import Volume
from hepacast.study.context import Context
from hepacast.study.further_cohorts import further_inputs, further_patients
from hepacast.study.input_files import image_hashes, imaged_patients, typical_voxels
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.mr_images import on_scale, prepare, scale_region
from hepacast.study.schema.preprocessing import Preprocessing
from hepacast.study.sequences import SequenceImage, preprocessed_file, raw_images
from hepacast.study.stage import Cost, Stage

REPORT, LANDMARKS = "preprocessing.json", "landmarks.json"
#: Intensities of a region kept a patient to learn landmarks from.
_SAMPLE = 20_000


@dataclass(frozen=True)
class _Job:
    """One patient's sequences; results go to `folder` under a name that is a hash of all of this."""

    patient: str
    files: tuple[SequenceImage, ...]
    reference: str
    rules: Preprocessing
    mask: MaskFiles | None
    labels: tuple[tuple[str, int], ...]
    folder: Path
    inputs: tuple[InputFile, ...]
    picture: Path | None = None

    @property
    def kept(self) -> Path:
        """Numbers of bias field and registration; there when the images are."""
        return self.folder / "record.json"

    def is_kept(self) -> bool:
        """Whether numbers and images are as they were written."""
        return is_kept(self.kept) and all(is_kept(self.made(item.name)) for item in self.files)

    def made(self, sequence: str) -> Path:
        """Where the corrected and registered sequence is kept."""
        return self.folder / f"{sequence}.nii.gz"


def write(context: Context, folder: Path) -> None:
    """Run the stage: images, numbers of every patient, pictures, Methods sentence."""
    cohort = read_cohort(context.out / "cohort")
    patients = list(cohort.patients)
    patients += further_patients(context)
    rules = _rules(context)
    jobs = [_job(context, patient, number < rules.pictures, folder) for number, patient in enumerate(patients)]
    with context.reporter.track("bias field and registration") as progress:
        rows = map_items(_prepare, jobs, workers=context.workers, progress=progress)
    good = [job for job, row in zip(jobs, rows, strict=True) if row["status"] != "failed"]
    scales = None
    if rules.normalization == "nyul":
        scales = _landmarks(good, set(cohort.members("training")))
        write_json(folder / LANDMARKS, scales)
    with context.reporter.track("intensity scale") as progress:
        tasks = [(job, folder, scales) for job in good]
        problems = map_items(_finish, tasks, workers=context.workers, progress=progress)
    found = {job.patient: problem for job, problem in zip(good, problems, strict=True) if problem}
    rows = [
        row | {"status": "failed", "reason": found[row["patient"]]} if row["patient"] in found else row for row in rows
    ]
    _refuse_failed(rows)
    pictures = [
        {"patient": job.patient, "file": job.picture.name} for job in jobs if job.picture and job.picture.exists()
    ]
    content = {
        "reference": context.images.reference,
        "settings": rules.model_dump(mode="json"),
        "summary": _summary(rows),
        "pictures": pictures,
        "patients": rows,
    }
    write_json(folder / REPORT, content)
    write_json(folder / "methods.json", [_sentence(rules, content)])


def _refuse_failed(rows: list[dict[str, Any]]) -> None:
    """Later stages would stop at the missing file with a worse message."""
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        raise HepacastError(
            f"MR images of {len(failed)} patients cannot be preprocessed.",
            found="; ".join(f"{row['patient']}: {row['reason']}" for row in failed[:5]),
            remedy="look at these images, or exclude the patients with a reason in the study file",
        )


def _rules(context: Context) -> Preprocessing:
    rules = context.images.preprocessing
    assert rules is not None
    return rules


def _job(context: Context, patient: str, with_picture: bool, folder: Path) -> _Job:
    images, rules = context.images, _rules(context)
    files = raw_images(context, patient)
    options = images.segmentation
    given = options.source == "given" and options.masks is not None
    mask = mask_files(context, options.masks, patient) if given and options.masks is not None else None
    geometric = rules.model_dump(include={"bias_correction", "bias_voxel_mm", "registration", "spacing"})
    prints = [item.key(context.fingerprints) for item in files if item.exists()]
    inputs = [file for item in files if item.exists() for file in item.inputs(context.fingerprints)]
    key = hash_value([prints, images.reference, geometric, code_hash("hepacast.study.mr_images", alone=(__name__,))])
    return _Job(
        patient, files, images.reference, rules, mask, tuple(options.labels.items()),
        context.cache / "mr" / key[:32], tuple(inputs),
        folder / f"registration-{file_name(patient)}.png" if with_picture else None,
    )  # fmt: skip


def _prepare(job: _Job) -> dict[str, Any]:
    """In a worker: bias field and registration of one patient; numbers, or why there are none."""
    made: list[tuple[Volume, dict[str, Registration]]] = []
    try:
        if not job.is_kept() or job.picture is not None:
            keep(job.kept, lambda: made.append(_work(job)), job.inputs)
            pair = made[-1]
            if job.picture is not None and pair[1]:
                tumor = _structure(job, pair[0], "tumor")
                title = f"Patient {job.patient}"
                registration_png(pair[0], pair[1], job.picture, mask=tumor, name=job.reference, title=title)
    except HepacastError as error:
        return {"patient": job.patient, "status": "failed", "reason": error.message}
    known: dict[str, Any] = read_json(job.kept)
    return {"patient": job.patient, "status": "ok", "reason": None, **known}


def _work(job: _Job) -> tuple[Volume, dict[str, Registration]]:
    """Writes images and numbers; returns the reference, and how the others were moved to it."""
    prepared = prepare({item.name: item.read() for item in job.files}, job.reference, job.rules)
    for name, volume in prepared.images.items():
        write_volume(volume, job.made(name))
        seal(job.made(name))
    registration = {name: item.to_json() for name, item in prepared.moved.items()}
    write_json(job.kept, {"bias": prepared.bias, "registration": registration})
    return prepared.reference, prepared.moved


def _structure(job: _Job, reference: Volume, name: str) -> Volume | None:
    """A structure of the given masks on the reference's grid; None where there is none."""
    labels = dict(job.labels)
    if job.mask is None or not job.mask.exists():
        return None
    drawn_on = next(item for item in job.files if item.name == job.reference)
    mask = with_unions(read_mask(job.mask.given, labels, reference=drawn_on.read())).get(name)
    if mask is None:
        return None
    if mask.geometry.size == reference.geometry.size and mask.geometry.corner_offset_mm(reference.geometry) < 0.01:
        return mask
    return resample_mask(mask, reference=reference, threshold=0.5)


def _region(job: _Job, image: Volume) -> Volume | None:
    """Where the intensity scale is taken, on the finished grid."""
    name = scale_region(job.rules)
    return body_mask(image) if name == "body" else _structure(job, image, name)


def _landmarks(jobs: list[_Job], training: set[str]) -> dict[str, Any]:
    """Nyul's landmarks by sequence, of the training patients only."""
    scales = {}
    for name in (item.name for item in jobs[0].files):
        samples = []
        for job in (item for item in jobs if item.patient in training):
            region = _region(job, read_volume(job.made(job.reference)))
            values = region_values(read_volume(job.made(name)), region)
            samples.append(values[:: max(1, len(values) // _SAMPLE)])
        scales[name] = NyulStandardizer(high=jobs[0].rules.scale).fit(samples).to_dict()
    return scales


def _finish(task: tuple[_Job, Path, dict[str, Any] | None]) -> str | None:
    """In a worker: put one patient's images on the scale and write them; returns what went wrong."""
    job, folder, scales = task
    try:
        reference = read_volume(job.made(job.reference))
        region = _region(job, reference)
        for name in (item.name for item in job.files):
            landmarks = None if scales is None else scales[name]
            image = on_scale(read_volume(job.made(name)), region, job.rules, landmarks)
            write_volume(image, preprocessed_file(folder, job.patient, name))
    except HepacastError as error:
        return error.message
    return None


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


def _sentence(rules: Preprocessing, content: dict[str, Any]) -> dict[str, Any]:
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
    return {"stage": "preprocessing", "text": text, "citations": keys}


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
