"""Stage before segmentation: registration to the reference; of MR also bias field and intensity scale.

Corrected and registered images are kept under a hash of their content and settings; the intensity scale is applied
afterwards, as Nyul's is learned from the training patients.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.cohort import read_cohort
from hepacast.core.closure import code_hash
from hepacast.core.executor import Need, resolve_workers
from hepacast.core.files import read_json, write_json, write_text
from hepacast.core.jobs import Job, JobFiles, try_each
from hepacast.core.kept import is_kept, keep, seal
from hepacast.core.names import file_name
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.core.texts import cells
from hepacast.errors import HepacastError
from hepacast.imaging.io import read_mask, read_volume, write_volume
from hepacast.imaging.preprocessing import NyulStandardizer, body_mask, registration_png
from hepacast.imaging.preprocessing.normalize import region_values
from hepacast.imaging.preprocessing.summary import CheckPicture, RegisteredImage
from hepacast.imaging.resample import resample_mask
from hepacast.imaging.structures import with_unions
from hepacast.imaging.volume import Volume
from hepacast.segmentation import make_segmenter
from hepacast.study.context import Context
from hepacast.study.further_cohorts import further_inputs, further_patients
from hepacast.study.input_files import image_hashes, imaged_patients, typical_voxels
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.preprocessed_images import on_scale, prepare, scale_region, segmented_liver
from hepacast.study.schema.preprocessing import PreprocessingOptions
from hepacast.study.sequences import SequenceImage, preprocessed_file, raw_images
from hepacast.study.stage import Cost, Stage

REPORT, LANDMARKS = "preprocessing.json", "landmarks.json"
#: Intensities of a region kept a patient to learn landmarks from.
_SAMPLE = 20_000
#: Two volumes of a patient, registered.
NEED = Need(memory=2e9)


@dataclass(frozen=True)
class Preparation:
    """What is done to one patient's sequences; the numbers are kept, and beside them, under their name, the images."""

    files: tuple[SequenceImage, ...]
    reference: str
    rules: PreprocessingOptions
    mask: MaskFiles | None
    labels: tuple[tuple[str, int], ...]
    segmenter: tuple[str, str | None]
    picture: bool = False

    @property
    def modalities(self) -> dict[str, str]:
        """``CT`` or ``MR`` by sequence."""
        return {item.name: item.modality for item in self.files}


def _made(job: Job[Preparation], sequence: str) -> Path:
    """Where the corrected and registered sequence is kept."""
    return job.kept.with_suffix("") / f"{sequence}.nii.gz"


def _picture(job: Job[Preparation]) -> Path:
    """Where the check picture of the registration is kept, if one is drawn."""
    return job.kept.with_suffix("") / "registration.png"


def _is_kept(job: Job[Preparation]) -> bool:
    """Whether numbers and images are as they were written, and the picture that is asked for is drawn."""
    drawn = job.task.picture and len(job.task.files) > 1 and job.task.rules.registration != "none"
    kept = [job.kept, *(_made(job, item.name) for item in job.task.files), *([_picture(job)] if drawn else [])]
    return all(is_kept(path) for path in kept)


def write(context: Context, folder: Path) -> None:
    """Run the stage: images, numbers of every patient, pictures, Methods sentence."""
    cohort = read_cohort(context.out / "cohort")
    patients = list(cohort.patients)
    patients += further_patients(context)
    rules = _rules(context)
    jobs = [_job(context, patient, number < rules.pictures) for number, patient in enumerate(patients)]
    made = try_each(
        _prepare,
        jobs,
        rules.steps(images.modality for images in context.images.sequences.values()),
        reporter=context.reporter,
        workers=context.workers,
        need=NEED,
    )
    good = [job for job, found in zip(jobs, made, strict=True) if not isinstance(found, HepacastError)]
    scales = None
    if rules.normalization == "nyul":
        scales = _landmarks(good, set(cohort.members("training")))
        write_json(folder / LANDMARKS, scales)
    tasks = [(job, folder, scales) for job in good]
    finished = try_each(
        _finish, tasks, "finished images", reporter=context.reporter, workers=context.workers, need=NEED
    )
    problems = {job.patient: found for job, found in zip(jobs, made, strict=True) if isinstance(found, HepacastError)}
    problems |= {job.patient: found for job, found in zip(good, finished, strict=True) if found is not None}
    _refuse_failed({job.patient: problems[job.patient] for job in jobs if job.patient in problems})
    rows = [
        {"patient": job.patient, "status": "ok", "reason": None, **found}
        for job, found in zip(jobs, made, strict=True)
        if not isinstance(found, HepacastError)
    ]
    pictures = []
    for job in good:
        if is_kept(_picture(job)):
            picture = CheckPicture(job.patient, f"registration-{file_name(job.patient)}.png")
            shutil.copyfile(_picture(job), folder / picture.file)
            pictures.append(picture)
    registered = _registered(rows)
    if registered:
        _write_rows(folder / "registration.csv", registered)
    content = {
        "reference": context.images.reference,
        "settings": rules.model_dump(mode="json"),
        "summary": _summary(rows),
        "pictures": [item.to_json() for item in pictures],
        "registered": [item.to_json() for item in registered],
        "patients": rows,
    }
    write_json(folder / REPORT, content)
    write_record(
        folder / "methods.json",
        [_sentence(rules, content, {image.modality for image in context.images.sequences.values()})],
    )


def _refuse_failed(problems: dict[str, HepacastError]) -> None:
    """Later stages would stop at the missing file with a worse message."""
    if problems:
        raise HepacastError(
            f"Images of {len(problems)} patients cannot be preprocessed.",
            found="; ".join(f"{patient}: {problem.message}" for patient, problem in list(problems.items())[:5]),
            remedy="look at these images, or exclude the patients with a reason in the study file",
        )


def _rules(context: Context) -> PreprocessingOptions:
    rules = context.images.preprocessing
    assert rules is not None
    return rules


def _job(context: Context, patient: str, with_picture: bool) -> Job[Preparation]:
    images, rules = context.images, _rules(context)
    files = raw_images(context, patient)
    options = images.segmentation
    given = options.source == "given" and options.masks is not None
    mask = mask_files(context, options.masks, patient) if given and options.masks is not None else None
    geometric = rules.model_dump(
        include={"bias_correction", "bias_voxel_mm", "spacing"}
        | {name for name in type(rules).model_fields if name.startswith("registration")}
    )
    # A network of the study's own comes later, and learns from the images that are made here.
    model = "builtin" if options.source in ("given", "nnunet") else options.source
    weights = None if options.weights is None else str(context.path(options.weights))
    task = Preparation(
        files, images.reference, rules, mask, tuple(options.labels.items()), (model, weights), with_picture
    )
    there: list[JobFiles] = [item for item in files if item.exists()]
    content: list[Any] = [
        images.reference,
        geometric,
        code_hash("hepacast.study.preprocessed_images", alone=(__name__,)),
    ]
    if rules.needs_liver:
        content += [dict(task.labels)] if given else [model, code_hash("hepacast.segmentation")]
        there += [mask] if mask is not None else []
    return Job.of(patient, task, context.cache / "preprocessing", ".json", there, context.fingerprints, content)


def _prepare(job: Job[Preparation]) -> dict[str, Any]:
    """In a worker: numbers of bias field and registration of one patient."""
    if not _is_kept(job):
        keep(job.kept, lambda: _work(job), job.inputs)
    known: dict[str, Any] = read_json(job.kept)
    return known


def _work(job: Job[Preparation]) -> None:
    """Writes images and numbers, and a check picture where it is asked for or the registration is doubtful."""
    task = job.task
    volumes = {item.name: item.read() for item in task.files}
    masks: dict[str, Volume] = {}
    if task.rules.needs_liver and len(volumes) > 1:
        liver = _structure(task, volumes[task.reference], "liver")
        if liver is None and task.mask is None:
            name, weights = task.segmenter
            # The lesions are of no use here.
            options: dict[str, Any] = {"lesions": False} if name.startswith("builtin") else {}
            made = make_segmenter(name, **options, **({} if weights is None else {"weights": weights}))
            liver = segmented_liver(volumes[task.reference], made)
        masks = {} if liver is None else {"liver": liver}
    prepared = prepare(volumes, task.modalities, task.reference, task.rules, masks)
    for name, volume in prepared.images.items():
        write_volume(volume, _made(job, name))
        seal(_made(job, name))
    if prepared.moved and (task.picture or any(item.doubts for item in prepared.moved.values())):
        outline = masks.get("liver") or _structure(task, prepared.reference, "tumor")
        title = f"Patient {job.patient}"
        registration_png(
            prepared.reference, prepared.moved, _picture(job), mask=outline, name=task.reference, title=title
        )
        seal(_picture(job))
    registration = {name: item.to_json() for name, item in prepared.moved.items()}
    write_json(job.kept, {"bias": prepared.bias, "registration": registration})


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
    names = {item.name: item.modality for job in jobs for item in job.task.files}
    for name in (name for name, modality in names.items() if modality == "MR"):
        samples = []
        for job in (item for item in jobs if item.patient in training and name in item.task.modalities):
            region = _region(job.task, read_volume(_made(job, job.task.reference)))
            values = region_values(read_volume(_made(job, name)), region)
            samples.append(values[:: max(1, len(values) // _SAMPLE)])
        scales[name] = NyulStandardizer(high=jobs[0].task.rules.scale).fit(samples).to_dict()
    return scales


def _finish(part: tuple[Job[Preparation], Path, dict[str, Any] | None]) -> None:
    """In a worker: put one patient's images on the scale and write them."""
    job, folder, scales = part
    region = None
    if "MR" in job.task.modalities.values():
        region = _region(job.task, read_volume(_made(job, job.task.reference)))
    for name, modality in job.task.modalities.items():
        image = read_volume(_made(job, name))
        if modality == "MR":
            image = on_scale(image, region, job.task.rules, None if scales is None else scales[name])
        write_volume(image, preprocessed_file(folder, job.patient, name))


def _registered(rows: list[dict[str, Any]]) -> list[RegisteredImage]:
    """One row a patient and sequence that was registered."""
    return [
        RegisteredImage(
            patient=row["patient"],
            sequence=name,
            used=item["used"],
            shift_mm=item["shift_mm"],
            displacement_mm=item["displacement_mm"],
            mutual_information_before=item["mutual_information_before"],
            mutual_information_after=item["mutual_information_after"],
            covered=item["covered"],
            doubt="; ".join(item["doubts"]),
        )
        for row in rows
        for name, item in row["registration"].items()
    ]


def _write_rows(path: Path, rows: list[RegisteredImage]) -> None:
    import pandas as pd

    table = pd.DataFrame([asdict(item) for item in rows])
    write_text(path, cells(table).to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and extremes over the patients, by sequence."""
    found: dict[str, list[RegisteredImage]] = {}
    for item in _registered(rows):
        found.setdefault(item.sequence, []).append(item)
    bias: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.get("bias", {}).items():
            bias.setdefault(name, []).append(value)
    return {
        "bias_spread": {name: float(np.median(values)) for name, values in bias.items()},
        "registration": {
            name: {
                "mutual_information_before": float(np.median([item.mutual_information_before for item in items])),
                "mutual_information_after": float(np.median([item.mutual_information_after for item in items])),
                "shift_mm": float(np.median([item.shift_mm for item in items])),
                "displacement_mm": float(np.median([item.displacement_mm for item in items])),
                "largest_displacement_mm": max(item.displacement_mm for item in items),
                "n": len(items),
                "n_kept": sum(item.used == "none" for item in items),
                "n_doubtful": sum(bool(item.doubt) and item.used != "none" for item in items),
                "used": dict(Counter(item.used for item in items)),
            }
            for name, items in found.items()
        },
    }


_SCALES = {
    "zscore": "scaled to mean 0 and standard deviation {scale:g} of the {region}",
    "nyul": "brought to Nyul's standard scale [@nyul], whose landmarks were learned from the training patients",
    "reference-tissue": "expressed as distance from the median of the {tissue} of the same image in its robust "
    "standard deviation (1.4826 times the median absolute deviation), times {scale:g}",
    "white-stripe": "scaled by the peak of the {tissue} and the spread around it (after WhiteStripe [@whitestripe])",
}


def _sentence(rules: PreprocessingOptions, content: dict[str, Any], kinds: set[str]) -> Sentence:
    """The Methods sentence."""
    parts, keys = [], []
    if rules.bias_correction == "n4" and "MR" in kinds:
        parts.append("the bias field was corrected with N4 [@n4]")
        keys.append("n4")
    if rules.registration != "none" and content["summary"]["registration"]:
        step = {"bspline": f"rigid, then B-splines with control points {rules.registration_control_mm:g} mm apart"}
        where = f"the liver and {rules.registration_margin_mm:g} mm around it" if rules.needs_liver else "the body"
        parts.append(
            f"the other images were registered to the {content['reference']} one "
            f"({step.get(rules.registration, rules.registration)}; Mattes' mutual information [@mattes] in {where}; "
            "a step that did not raise the similarity, or that folded, was not taken)"
        )
        keys.append("mattes")
    if rules.spacing is not None:
        parts.append(f"images were resampled to {' x '.join(f'{v:g}' for v in rules.spacing)} mm")
    if rules.normalization != "none" and "MR" in kinds:
        parts.append("intensities were " + _SCALES[rules.normalization].format(**rules.model_dump()))
        keys += {"nyul": ["nyul"], "white-stripe": ["whitestripe"]}.get(rules.normalization, [])
    if kinds == {"MR", "CT"}:
        parts.append("CT stayed in HU")
    name = "Images" if len(kinds) > 1 else f"{next(iter(kinds))} images"
    text = f"{name}: " + "; ".join(parts) + "." if parts else f"{name} were used as they were."
    return Sentence("preprocessing", text, keys)


def _settings(context: Context) -> Any:
    images = context.images.model_dump(mode="json")
    return {"images": [images["sequences"], images["preprocessing"], images["segmentation"]["labels"]]}


def _cost(context: Context) -> Cost:
    each = len(context.images.sequences) * (1.0 + typical_voxels(context) * 4e-6)
    if _rules(context).registration == "bspline":
        each *= 3.0
    return Cost(each * imaged_patients(context) / resolve_workers(context.workers), NEED.memory)


STAGE = Stage(
    name="preprocessing",
    title="registration of the images; of MR also bias field and intensity scale",
    module=__name__,
    run=write,
    settings=_settings,
    cost=_cost,
    needs=("cohort",),
    inputs=lambda context: image_hashes(context) | further_inputs(context),
    wanted=lambda context: context.study.images is not None and context.study.images.preprocessing is not None,
)
