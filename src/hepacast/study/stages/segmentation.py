"""Stage 2, segmentation: one label map a patient, from given masks, a trained nnU-Net, or a ready segmenter."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.cohort import Cohort, read_cohort
from hepacast.core.closure import code_hash
from hepacast.core.executor import Need, resolve_workers
from hepacast.core.files import read_json, write_json
from hepacast.core.jobs import Job, make_missing
from hepacast.core.kept import discard, is_kept, seal
from hepacast.core.names import file_name
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import ImageError
from hepacast.imaging.io import write_labelmap
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.lesions import describe_voi
from hepacast.imaging.remarks import ImageRemark
from hepacast.imaging.structures import available_structures, structure_mask, structures_of
from hepacast.imaging.volume import Volume
from hepacast.segmentation.base import ChannelSegmenter, segment_patient
from hepacast.segmentation.doubts import Remark
from hepacast.segmentation.far_from_cohort import outliers
from hepacast.segmentation.results import FarFromCohort, PlausibilityInfo, VoiSize
from hepacast.study.context import Context
from hepacast.study.feature_settings import mask_rules
from hepacast.study.image_recipe import study_vois
from hepacast.study.input_files import image_hashes, imaged_patients, present_files, typical_voxels
from hepacast.study.mask_files import labelled_patients, mask_files, test_patients
from hepacast.study.nnunet import (
    model_hashes,
    network_inputs,
    nnunet_plan_of,
    ready_options,
    ready_source,
    require_enough,
    train_nnunet,
)
from hepacast.study.patient_masks import MASKS, PLAUSIBILITY, mask_file, read_expert, read_given
from hepacast.study.plausible_images import SWITCH, JudgedPatient, judge_patient, require_possible_cohort, write_volumes
from hepacast.study.preprocessed_images import roughly_on_scale
from hepacast.study.reviews import CORRECTED, corrected_masks, read_corrected, reviewed_sentence
from hepacast.study.sequences import SequenceImage, measured_image, volumes_of
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.same_files import require_own_files

if TYPE_CHECKING:
    from hepacast.segmentation.nnunet import TrainedNnunet

VOLUMES = "volumes.csv"
#: The nnU-Net that was trained: what `hepacast predict --segmenter nnunet:...` is given.
MODEL = "nnunet"
N_EXAMPLES = 2
#: Of a process in which the built-in networks work.
READY_BYTES = 4e9
#: Pictures of patients whose image or mask is not plausible; the table names all.
MAX_DOUBTFUL = 12
#: Of an expert's contours beside the network's blue and orange ones.
EXPERT_COLORS = ("#FFFFFF", "#F0E442")
_EXPERT = "expert"


@dataclass(frozen=True)
class MaskOutcome:
    """What became of one patient's mask; `source` says where it comes from, `judged` what is not plausible about it."""

    patient: str
    source: str
    status: str = "ok"
    reason: str | None = None
    judged: JudgedPatient | None = None


def write(context: Context, folder: Path) -> None:
    """Run the stage: masks, `segmentation.json`, overlays, Methods sentences."""
    cohort = read_cohort(context.out / "cohort")
    require_own_files(context, cohort.patients)
    (folder / MASKS).mkdir()
    source = context.images.segmentation.source
    if source == "given":
        content, outcomes = _given(context, cohort, folder)
    elif source == "nnunet":
        content, outcomes = _trained(context, cohort, folder)
    else:
        content, outcomes = _ready(context, cohort, folder, source)
    content["description"] += _series_sentence(context) + reviewed_sentence(context)
    content["overlays"] = content.get("overlays") or _overlays(context, folder, outcomes)
    content["overlays"] += _doubtful_pictures(context, folder, outcomes)
    _write_plausibility(folder, outcomes)
    content["notes"] = [
        {"patient": item.patient, "notes": list(item.judged.notes)}
        for item in outcomes
        if item.judged is not None and item.judged.notes
    ]
    content["masks"] = {item.patient: item.source for item in outcomes if item.status != "failed"}
    content["status"] = [
        {"patient": item.patient, "status": item.status, "reason": item.reason}
        for item in outcomes
        if item.status != "ok"
    ]
    content["metrics"] = [*content.get("metrics", []), *_second_reader(context, cohort)]
    write_json(folder / "segmentation.json", content)
    sentence = Sentence("segmentation", content["description"], content.pop("citations", []))
    write_record(folder / "methods.json", [sentence])


def _series_sentence(context: Context) -> str:
    """Which images were measured, where the masks say so."""
    asking = [name for name in context.images.sequences if context.images.of_mask(name)]
    if not asking:
        return ""
    return (
        " Of the DICOM series and phases of an examination the one that the mask was drawn on, by the references of "
        f"the DICOM SEG, was measured ({', '.join(asking)})."
    )


def _given(context: Context, cohort: Cohort, folder: Path) -> tuple[dict[str, Any], list[MaskOutcome]]:
    from hepacast.segmentation.given import GivenSegmenter

    outcomes, corrected = [], corrected_masks(context)
    with context.reporter.track("masks") as progress:
        for done, patient in enumerate(cohort.patients, start=1):
            labelmap = read_given(context, patient, overlay=context.out / f"mismatch-{file_name(patient)}.png")
            _save(folder, patient, labelmap)
            source = CORRECTED if patient in corrected else "given"
            outcomes.append(judge(context, patient, labelmap, source, strict=True))
            progress(done, len(cohort.patients))
    _require_possible(context, folder, outcomes)
    description = GivenSegmenter({}, context.images.segmentation.labels).describe()
    return {"source": "given", "description": description["sentence"], "network": None}, outcomes


def _require_possible(context: Context, folder: Path, outcomes: list[MaskOutcome]) -> None:
    """Stop at what is impossible, with pictures beside the results."""
    judged = [item.judged for item in outcomes if item.judged is not None]
    wrong = [item.patient for item in judged if item.impossible][:N_EXAMPLES]
    for patient in wrong:
        _draw(context, patient, mask_file(folder / MASKS, patient), _labels(folder), _implausible(context, patient))
    require_possible_cohort(judged, pictures=", ".join(str(_implausible(context, p)) for p in wrong))


def _implausible(context: Context, patient: str) -> Path:
    return context.out / f"implausible-{file_name(patient)}.png"


def _save(folder: Path, patient: str, labelmap: LabelMap) -> None:
    write_labelmap(labelmap, mask_file(folder / MASKS, patient))
    names = folder / MASKS / "labels.json"
    if not names.exists():
        write_json(names, dict(labelmap.labels))
    elif read_json(names) != dict(labelmap.labels):
        raise ImageError(
            "The patients' masks do not hold the same structures.",
            expected=", ".join(read_json(names)),
            found=", ".join(labelmap.labels),
            where=f"patient {patient}",
            remedy="draw the missing structure (its file may be empty), or exclude the patient with a reason",
        )


def judge(context: Context, patient: str, labelmap: LabelMap, source: str, *, strict: bool) -> MaskOutcome:
    """Whether every VOI can be measured, and what is not plausible about image and mask.

    An expert's empty mask is a mistake; a network's is a result, and so is a mask of its that is impossible.
    """
    remarks: list[str] = []
    structures = structures_of(labelmap)
    vois = study_vois(context, structures)
    for name, mask in vois.items():
        report = describe_voi(mask, name, ignore_border=("k",))
        if report.status == "failed":
            if strict:
                raise ImageError(
                    f"The VOI {name!r} cannot be measured: {report.reason}.",
                    expected="a mask with voxels in it",
                    where=f"patient {patient}",
                    remedy="correct the mask, or exclude the patient with a reason in the study file",
                )
            return MaskOutcome(patient, source, "failed", f"{name}: {report.reason}")
        if report.status == "warning":
            remarks.append(f"{name}: {report.reason}")
    volumes, made = volumes_of(context, patient), source not in ("given", CORRECTED, _EXPERT)
    scaled = _rough_scale(context, patient, volumes, structures)
    judged = judge_patient(context.study, patient, volumes, labelmap, vois, made=made, scaled=scaled)
    if judged.impossible and not strict:
        reason = "; ".join(str(item) for item in judged.impossible)
        return MaskOutcome(patient, source, "failed", f"{reason}; if it is right as it is: {SWITCH}", judged)
    remarks = [*judged.notes, *remarks]
    doubtful = bool(remarks or judged.remarks)
    return MaskOutcome(patient, source, "warning" if doubtful else "ok", "; ".join(remarks) or None, judged)


def _rough_scale(
    context: Context, patient: str, volumes: Mapping[str, Volume], masks: Mapping[str, Volume]
) -> dict[str, Volume]:
    """Images that preprocessing has not reached yet on their intensity scale (see `roughly_on_scale`)."""
    rules = context.images.preprocessing
    raw = {} if rules is None else {
        name: volume for name, volume in volumes.items() if not measured_image(context, patient, name).exists()
    }  # fmt: skip
    kinds = {name: item.modality for name, item in context.images.sequences.items()}
    return {} if rules is None else roughly_on_scale(raw, kinds, masks, rules)


def _doubts(item: MaskOutcome) -> list[Remark]:
    return [remark for remark in item.judged.remarks if remark.casts_doubt] if item.judged is not None else []


def _doubtful_pictures(context: Context, folder: Path, outcomes: list[MaskOutcome]) -> list[dict[str, Any]]:
    """Pictures of the first patients whose image or mask is not plausible."""
    doubtful = [item for item in outcomes if _doubts(item)]
    # What many patients share (a field of view, small livers) is seen in one picture: rare doubts come first.
    often = Counter(remark.problem for item in doubtful for remark in _doubts(item))
    doubtful.sort(key=lambda item: min(often[remark.problem] for remark in _doubts(item)))
    pictures = []
    for item in doubtful[:MAX_DOUBTFUL]:
        told = "; ".join(str(remark) for remark in _doubts(item))
        file = f"doubtful-{file_name(item.patient)}.png"
        _draw(context, item.patient, mask_file(folder / MASKS, item.patient), _labels(folder), folder / file)
        pictures.append({"patient": item.patient, "file": file, "caption": f"Patient {item.patient}: {told}."})
    return pictures


def _draw(context: Context, patient: str, mask: Path, labels: dict[str, int], target: Path) -> None:
    from hepacast.imaging.io import read_labelmap
    from hepacast.imaging.overlay import overlay_png

    labelmap = read_labelmap(mask, labels)
    masks = {name: structure_mask(labelmap, name) for name in labelmap.labels}
    overlay_png(measured_image(context, patient).read(), masks, target, slices=3, dpi=150)


def _write_plausibility(folder: Path, outcomes: list[MaskOutcome]) -> None:
    """`plausibility.json`: size and intensities of all VOIs, what is not plausible, who is far from the cohort."""
    judged = [item.judged for item in outcomes if item.judged is not None]
    rows = [row for item in judged for row in item.rows]
    found = PlausibilityInfo(
        rows=[VoiSize(**row) for row in rows],
        remarks=[ImageRemark(item.patient, **asdict(remark)) for item in judged for remark in item.remarks],
        outliers=[FarFromCohort(**row) for row in outliers(rows)],
        refused={i.patient: i.reason or "" for i in outcomes if i.status == "failed" and i.judged is not None},
    )
    write_record(folder / PLAUSIBILITY, found)
    write_volumes(folder / VOLUMES, rows)


def _judge_inputs(context: Context, cohort: Cohort, labelled: list[str]) -> None:
    """Before the hours of a network: whether the images, and the masks that it learns from, are possible."""
    judged = []
    for patient in cohort.patients:
        labelmap = read_expert(context, patient) if patient in labelled else None
        vois = study_vois(context, structures_of(labelmap)) if labelmap is not None else None
        judged.append(judge_patient(context.study, patient, volumes_of(context, patient), labelmap, vois))
    require_possible_cohort(judged)


def _trained(context: Context, cohort: Cohort, folder: Path) -> tuple[dict[str, Any], list[MaskOutcome]]:
    """Train nnU-Net on the labelled part, take out-of-fold masks for it, segment the rest with all folds."""
    from hepacast.imaging.io import read_labelmap
    from hepacast.segmentation.nnunet import export_segmenter

    labelled = labelled_patients(context, cohort.patients)
    _judge_inputs(context, cohort, labelled)
    held_out = set(test_patients(context, cohort, labelled))
    require_enough(context, len(labelled), len(held_out))
    trained = train_nnunet(context, labelled, held_out)
    plan = trained.plan
    applied = min(context.images.segmentation.nnunet.apply_folds or plan.folds, plan.folds)
    segmenter = trained.segmenter(range(applied))
    network = segmenter.describe()
    export_segmenter(segmenter, folder / MODEL)
    sources = _mask_sources(context, cohort.patients, labelled, trained, applied)
    for patient, (source, file) in sources.items():
        if file is not None:
            _save(folder, patient, read_labelmap(file, plan.labels))
        elif source == _EXPERT:
            _save(folder, patient, read_expert(context, patient))
    settings = {
        "folder": str(trained.applied_folder),
        "folds": tuple(range(applied)),
        "mirror": plan.mirror_at_test,
        "threads": plan.threads,
        "precision": plan.precision,
    }
    todo = [p for p, (source, file) in sources.items() if file is None and source != _EXPERT]
    _apply(context, folder, todo, {"kind": "nnunet", "identity": network["identity"], **settings}, segmenter.channels)
    corrected = _use_corrected(context, folder, cohort)
    outcomes = [
        judge(
            context,
            p,
            read_labelmap(mask_file(folder / MASKS, p), plan.labels),
            CORRECTED if p in corrected else sources[p][0],
            strict=False,
        )
        for p in cohort.patients
    ]
    content = {
        "source": "nnunet",
        "preset": plan.preset,
        "description": f"{network['sentence']}{_who(cohort, labelled)} Patients of the training had masks of the fold "
        f"that had not seen them; the others had the mean of {applied} of {plan.folds} folds.",
        "citations": network["citations"],
        "segmenter": _made_by(network),
        "network": _network(network["network"], plan.preset),
        "metrics": trained.rows,
        "n_labelled": len(labelled),
        "test_patients": sorted(held_out),
    }
    content["overlays"] = _overlays(context, folder, outcomes, trained.rows)
    return content, outcomes


def _mask_sources(
    context: Context, patients: Sequence[str], labelled: list[str], trained: TrainedNnunet, applied: int
) -> dict[str, tuple[str, Path | None]]:
    """Where each patient's mask comes from, in words, and the file of a fold that had not seen the patient."""
    fold_of = {p: number for number, split in enumerate(trained.splits) for p in split["val"]}
    expert_first = context.images.segmentation.use == "expert-first"
    found: dict[str, tuple[str, Path | None]] = {}
    for patient in patients:
        if patient in labelled and expert_first:
            found[patient] = (_EXPERT, None)
        elif patient in fold_of:
            source = f"nnU-Net, fold {fold_of[patient]} (patient not in its training)"
            found[patient] = (source, trained.out_of_fold(patient))
        else:
            found[patient] = (f"nnU-Net, mean of {applied} of {trained.plan.folds} folds", None)
    return found


def _who(cohort: Cohort, labelled: list[str]) -> str:
    """A sentence where expert masks of other sets were there and not trained on."""
    if all(cohort.sets[patient] == "training" for patient in labelled):
        return ""
    return " Only patients of the training set trained it; expert masks of the others tested it."


def _made_by(facts: dict[str, Any]) -> dict[str, Any]:
    """By what a bundle knows the segmenter again."""
    return {"name": facts["source"], "identity": facts["identity"], "channels": facts.get("channels", [])}


def _network(facts: dict[str, Any], preset: str) -> dict[str, Any]:
    name = f"nnU-Net v2, {facts['configuration']}" + (", demo preset" if preset == "demo" else "")
    if facts.get("averaged_with"):
        name += f"; its mean with {facts['averaged_with']} is applied"
    return {
        "name": name,
        "features_per_stage": facts["features_per_stage"],
        "strides": facts["strides"],
        "kernels": facts["kernels"],
        "patch_size": facts["patch_size"],
        "spacing_mm": facts["spacing_mm"],
        "blocks_per_stage": facts["convs_per_stage"],
        "classes": list(facts["classes"]),
        "input_channels": len(facts.get("channels", [""])),
    }


def _ready(context: Context, cohort: Cohort, folder: Path, source: str) -> tuple[dict[str, Any], list[MaskOutcome]]:
    """Masks by a segmenter that needs no training here."""
    from hepacast.imaging.io import read_labelmap
    from hepacast.segmentation import make_segmenter

    options = ready_options(context)
    segmenter = make_segmenter(ready_source(context), **options)
    facts = segmenter.describe()
    channels = segmenter.channels if isinstance(segmenter, ChannelSegmenter) else ()
    _judge_inputs(context, cohort, [])
    identity = facts.get("identity") or facts.get("version") or source
    job = {"kind": ready_source(context), "identity": identity, **options}
    _apply(context, folder, list(cohort.patients), job, channels, need=Need(cores=0, memory=READY_BYTES))
    labels, corrected = _labels(folder), _use_corrected(context, folder, cohort)
    outcomes = [
        judge(
            context,
            p,
            read_labelmap(mask_file(folder / MASKS, p), labels),
            CORRECTED if p in corrected else facts["source"],
            strict=False,
        )
        for p in cohort.patients
    ]
    network = facts.get("network")
    content = {
        "source": facts["source"],
        "description": facts["sentence"],
        "citations": facts["citations"],
        "segmenter": _made_by(facts),
        "network": _network(network, "") if network else None,
    }
    return content, outcomes


def _use_corrected(context: Context, folder: Path, cohort: Cohort) -> set[str]:
    """Put the masks that people have corrected in the place of the network's; who has one."""
    found = corrected_masks(context).keys() & set(cohort.patients)
    for patient in sorted(found):
        _save(folder, patient, read_corrected(context, patient))
    return found


def _labels(folder: Path) -> dict[str, int]:
    return {str(name): int(value) for name, value in read_json(folder / MASKS / "labels.json").items()}


@dataclass(frozen=True)
class Segmenting:
    """One patient's images to segment, and by what (kind, identity of the model, options)."""

    images: tuple[SequenceImage, ...]
    segmenter: tuple[tuple[str, Any], ...]


def _names_of(kept: Path) -> Path:
    """Names of the values of a label map, beside it."""
    return kept.with_suffix("").with_suffix(".json")


def _apply(
    context: Context,
    folder: Path,
    patients: list[str],
    segmenter: dict[str, Any],
    channels: Sequence[str] = (),
    need: Need = Need(memory=2e9),
) -> None:
    """Segment patients, several at once; masks made before with the same model are kept."""
    jobs = []
    model = {name: value for name, value in segmenter.items() if name != "folder"}
    code = code_hash("hepacast.segmentation", "hepacast.imaging.io", alone=(__name__, "hepacast.study.sequences"))
    for patient in patients:
        images = network_inputs(context, patient, channels)
        task, place = Segmenting(tuple(images), tuple(segmenter.items())), context.cache / "masks"
        job = Job.of(patient, task, place, ".nii.gz", images, context.fingerprints, model, code)
        if not is_kept(_names_of(job.kept)):
            discard(job.kept)
        jobs.append(job)
    made = make_missing(
        _segment,
        jobs,
        "segmenting",
        reporter=context.reporter,
        workers=context.workers,
        need=need,
    )
    for job, kept in zip(jobs, made, strict=True):
        shutil.copyfile(kept, mask_file(folder / MASKS, job.patient))
    if made:
        shutil.copyfile(_names_of(made[0]), folder / MASKS / "labels.json")


_SEGMENTERS: dict[tuple[tuple[str, Any], ...], Any] = {}


def _segment(job: Job[Segmenting]) -> None:
    """In a worker: the model is loaded once a process."""
    wanted = job.task.segmenter
    if wanted not in _SEGMENTERS:
        from hepacast.segmentation import make_segmenter
        from hepacast.segmentation.nnunet import NnunetSegmenter

        options = dict(wanted)
        kind = options.pop("kind")
        options.pop("identity")
        made = (
            NnunetSegmenter(options.pop("folder"), **options) if kind == "nnunet" else make_segmenter(kind, **options)
        )
        _SEGMENTERS[wanted] = made
    images = {image.name: image.read() for image in job.task.images}
    result = segment_patient(_SEGMENTERS[wanted], images)
    write_json(_names_of(job.kept), result.names)
    seal(_names_of(job.kept))
    write_labelmap(result.labelmap, job.kept)


def _overlays(
    context: Context, folder: Path, outcomes: list[MaskOutcome], rows: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Pictures of typical cases: with metrics, test patients of middling tumor Dice, expert contours beside ours."""
    from hepacast.imaging.io import read_labelmap
    from hepacast.imaging.overlay import overlay_png

    usable = [item.patient for item in outcomes if item.status != "failed"]
    chosen = _typical(rows or [], usable) or sorted(usable)[:N_EXAMPLES]
    labels = _labels(folder)
    pictures = []
    for patient in chosen:
        labelmap = read_labelmap(mask_file(folder / MASKS, patient), labels)
        masks = {name: structure_mask(labelmap, name) for name in labelmap.labels}
        caption = f"Patient {patient}: masks as used."
        styles: dict[str, str] = {}
        if rows:
            expert = read_expert(context, patient)
            masks |= {f"{name} (expert)": structure_mask(expert, name) for name in expert.labels}
            styles = dict(zip((f"{name} (expert)" for name in expert.labels), EXPERT_COLORS, strict=False))
            dice = {row["structure"]: row["dice"] for row in rows if row["patient"] == patient}
            shown = ", ".join(f"{name} {dice[name]:.3f}" for name in labelmap.labels if name in dice)
            who = "the network (blue, orange) and of the expert (white, yellow)"
            caption = f"Patient {patient}: contours of {who}; Dice {shown}."
        file = f"overlay-{file_name(patient)}.png"
        image = measured_image(context, patient).read()
        overlay_png(image, masks, folder / file, slices=3, styles=styles or None)
        pictures.append({"patient": patient, "file": file, "caption": caption})
    return pictures


def _typical(rows: list[dict[str, Any]], usable: list[str]) -> list[str]:
    sets = {row["set"] for row in rows}
    wanted = "test" if "test" in sets else next(iter(sorted(sets)), None)
    scores = sorted(
        (row["dice"], row["patient"])
        for row in rows
        if row["set"] == wanted
        and row["structure"] == "tumor"
        and row["patient"] in usable
        and np.isfinite(row["dice"])
    )
    middle = len(scores) // 2
    return [patient for _, patient in scores[max(0, middle - 1) : middle - 1 + N_EXAMPLES]][:N_EXAMPLES]


def _second_reader(context: Context, cohort: Cohort) -> list[dict[str, Any]]:
    """Agreement of two readers, where a second one has outlined patients too."""
    from hepacast.segmentation.evaluation import EvaluationCase, evaluate_cases

    options = context.images.segmentation
    if options.second_reader is None:
        return []
    both = [
        p for p in labelled_patients(context, cohort.patients) if mask_files(context, options.second_reader, p).exists()
    ]
    cases = []
    for patient in both:
        first, second = read_expert(context, patient), read_expert(context, patient, second=True)
        names = [name for name in available_structures(first) if name in available_structures(second)]
        cases.append(
            EvaluationCase(
                patient,
                "readers",
                {name: structure_mask(first, name) for name in names},
                {name: structure_mask(second, name) for name in names},
            )
        )
    return evaluate_cases(cases)


def _settings(context: Context) -> dict[str, Any]:
    # A parameter file of the features says something of mask files, too.
    own = study_parts(context, "seed", "images") | {"mask rules": asdict(mask_rules(context))}
    told = reviewed_sentence(context)
    return own | {"reviewed": told} if told else own


def _corrected_hashes(context: Context) -> dict[str, str]:
    files = corrected_masks(context).items()
    return {f"corrected mask {patient}": context.fingerprints.of(path) for patient, path in files if path.is_file()}


def _cost(context: Context) -> Cost:
    options, patients = context.images.segmentation, imaged_patients(context)
    if options.source == "given":
        return Cost(0.1 * patients, 1e9)
    if options.source != "nnunet":
        return Cost(120.0 * patients, READY_BYTES)
    from hepacast.segmentation.nnunet.plan import apply_seconds, estimate_training

    plan, cores = nnunet_plan_of(context), resolve_workers(context.workers)
    masks = sum(kind == "expert masks" for kind, _, _ in present_files(context))
    voxels = typical_voxels(context)
    labelled = max(1, round(masks * (1 - options.nnunet.test_fraction)))
    estimate = estimate_training(plan, cases=labelled, voxels_per_case=voxels, cores=cores)
    applied = options.nnunet.apply_folds or options.nnunet.folds
    each = 0.2 + applied * apply_seconds(plan, voxels)
    return Cost(estimate.seconds + (patients - labelled) * each / cores, float(estimate.bytes))


STAGE = Stage(
    name="segmentation",
    title="a mask of every patient, and how good it is",
    module=__name__,
    run=write,
    settings=_settings,
    cost=_cost,
    needs=("cohort", "preprocessing"),
    inputs=lambda context: image_hashes(context) | model_hashes(context) | _corrected_hashes(context),
    wanted=lambda context: context.study.images is not None,
)
