"""Biomarkers: numbers of named structures and phases of every patient, measured as a new patient's are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.biomarkers.agreement import compare_recorded
from hepacast.biomarkers.definitions import FAMILY, Biomarker
from hepacast.biomarkers.measure import (
    SETS,
    PatientBiomarkers,
    definitions_of_recipe,
    measure_by_recipe,
    modality_of_recipe,
)
from hepacast.biomarkers.staging import PatientFacts
from hepacast.biomarkers.summary import BiomarkerSummary, MeasuredBiomarker, RecordedAgreement
from hepacast.cohort import Cohort, ColumnSpec, read_cohort
from hepacast.core.closure import code_hash
from hepacast.core.estimates import Estimate
from hepacast.core.executor import Need, resolve_workers
from hepacast.core.files import atomic_path, write_json
from hepacast.core.jobs import Job, make_missing
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import HepacastError, ImageError, StudyFileError, TableError
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.analysis_set import BIOMARKERS
from hepacast.study.context import Context
from hepacast.study.image_recipe import biomarker_recipe
from hepacast.study.input_files import imaged_patients, typical_voxels, voi_settings
from hepacast.study.patient_masks import MaskedImages, masked_images, refused_masks
from hepacast.study.stage import Cost, Stage, study_parts

#: A biomarker that more of the training patients lack is no candidate.
MOST_MISSING = 0.5
#: Of a phase of a small image, and a voxel: 512 x 512 x 119 voxels take 0.85 s and 0.9 GB (one core).
_SECONDS_PER_PHASE, _SECONDS_PER_VOXEL = 0.03, 2.7e-8
_PROCESS_BYTES, _BYTES_PER_VOXEL = 3.5e8, 20.0
_MM = {"mm": 1.0, "cm": 10.0}


@dataclass(frozen=True)
class BiomarkerTask:
    """What is measured of one patient, with what images do not tell; `refused`: why it is not, where the mask is
    impossible."""

    files: MaskedImages
    recipe: ImageRecipe
    facts: PatientFacts
    refused: str | None = None


def _measure(job: Job[BiomarkerTask]) -> None:
    """In a worker: measure one patient. Where it cannot be done, every number is missing with the reason."""
    task = job.task
    try:
        if task.refused is not None:
            raise ImageError(task.refused)
        images = {image.name: image.read() for image in task.files.images}
        masks = task.files.structures(next(iter(images.values())))
        found = measure_by_recipe(task.recipe, images, masks, task.facts)
        failed = False
    except HepacastError as error:
        found, failed = PatientBiomarkers.failed(definitions_of_recipe(task.recipe), error.message), True
    frame = found.to_frame()[["biomarker", "value", "grade", "status", "reason"]]
    frame.insert(0, "patient", job.patient)
    with atomic_path(job.kept) as temporary:
        (frame.assign(status="failed") if failed else frame).to_parquet(temporary)


def measured(context: Context, table: pd.DataFrame, label: str = "biomarkers") -> pd.DataFrame:
    """The long table of patients, of the study or of a further cohort; what was measured before is read.

    Parameters
    ----------
    table
        Clinical values, index patient.
    """
    recipe, prints, refused = biomarker_recipe(context), context.fingerprints, refused_masks(context)
    jobs = []
    for patient in map(str, table.index):
        files, why, facts = masked_images(context, patient), refused.get(patient), _facts(context, table, patient)
        more = [recipe.to_json(), asdict(facts), why, code_hash(__name__)]
        task = BiomarkerTask(files, recipe, facts, why)
        jobs.append(Job.of(patient, task, context.cache / BIOMARKERS, ".parquet", [files], prints, more))
    say, many = context.reporter, context.workers
    made = make_missing(_measure, jobs, label, need=Need(memory=1e9), refuse=_refuse, reporter=say, workers=many)
    return pd.concat([pd.read_parquet(path) for path in made], ignore_index=True)


def _refuse(job: Job[BiomarkerTask], why: str) -> None:
    _measure(replace(job, task=replace(job.task, refused=why)))


def _facts(context: Context, table: pd.DataFrame, patient: str) -> PatientFacts:
    """What the table tells of a patient and images do not.

    Raises
    ------
    TableError
        A hematocrit that is none.
    """
    options = context.study.biomarkers
    assert options is not None
    row: Mapping[Any, Any] = table.loc[patient].to_dict()
    hematocrit = None if options.hematocrit is None else float(row[options.hematocrit])
    answer = None if options.vascular_invasion is None else row[options.vascular_invasion]
    try:
        return PatientFacts.of(hematocrit, None if answer is None or pd.isna(answer) else bool(answer))
    except HepacastError as error:
        raise TableError(
            error.message, expected=error.expected, found=error.found, where=f"{options.hematocrit}, patient {patient}"
        ) from error


def _agreement(context: Context, cohort: Cohort, long: pd.DataFrame) -> list[RecordedAgreement]:
    """Measured beside recorded, as far as the study file names columns of what was recorded."""
    options, frame = context.study.biomarkers, cohort.table.frame
    assert options is not None
    recorded = pd.DataFrame(index=frame.index)
    for key, name in options.recorded.items():
        if key == "tumor_diameter":
            recorded["tumor_diameter_mm"] = pd.to_numeric(frame[name], errors="coerce") * _millimeters(cohort, name)
        else:
            recorded[key] = frame[name]
    level = context.study.evaluation.confidence
    rows = compare_recorded(long, recorded, level).to_dict("records")
    return [
        RecordedAgreement(
            row["recorded"],
            row["measure"],
            Estimate(row["value"], row["lower"], row["upper"], level, reason=row["reason"]),
            row["n"],
            row["difference"],
        )
        for row in rows
    ]


def _millimeters(cohort: Cohort, name: str) -> float:
    """How many millimeters the unit of a column of lengths has.

    Raises
    ------
    StudyFileError
        It is no unit of length.
    """
    unit = cohort.table.spec(name).unit
    if unit not in _MM:
        raise StudyFileError(
            f"The unit of the recorded diameter {name!r} is not known.", expected=" or ".join(_MM),
            found=repr(unit), where=f"cohort.columns.{name}.unit",
        )  # fmt: skip
    return _MM[unit]


def wide(long: pd.DataFrame, patients: list[str]) -> pd.DataFrame:
    """One row a patient, one column a biomarker."""
    return long.pivot(index="patient", columns="biomarker", values="value").rename_axis(columns=None).loc[patients]


def with_biomarkers(context: Context, frame: pd.DataFrame) -> pd.DataFrame:
    """The clinical values of a further cohort, and its biomarkers where the study has some."""
    if context.study.biomarkers is None:
        return frame
    patients = [str(patient) for patient in frame.index]
    return frame.join(wide(measured(context, frame, "biomarkers of further cohorts"), patients))


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    cohort = read_cohort(context.out / "cohort")
    recipe = biomarker_recipe(context)
    definitions = definitions_of_recipe(recipe)
    wanted = chosen_names(context, definitions)
    long = measured(context, cohort.table.frame.loc[cohort.patients])
    values = wide(long, cohort.patients)
    kept, left_out = _usable(values.loc[cohort.members("training"), wanted])
    if not kept:
        why = next(iter(left_out.items()), ("", "no patient was measured"))
        raise StudyFileError(
            "No biomarker can be a candidate.",
            expected="masks of liver and tumor, and images of the phases that are asked for",
            found=f"{why[0].removeprefix(f'{FAMILY}/')} {why[1]}".strip(),
            where="biomarkers",
            remedy="see biomarkers.use, and names and phases of the sequences",
        )
    with atomic_path(folder / "biomarkers.parquet") as temporary:
        long.to_parquet(temporary)
    with atomic_path(folder / "values.parquet") as temporary:
        values[kept].to_parquet(temporary)
    write_json(folder / "columns.json", [_column(name, definitions[name]).to_json() for name in kept])
    write_json(folder / "left_out.json", left_out)
    told = [_told(definitions[name], name, values[name]) for name in kept]
    recorded = _agreement(context, cohort, long)
    write_record(folder / "summary.json", BiomarkerSummary(told, left_out, recorded))
    write_record(folder / "methods.json", [_sentence(cohort, recipe, long, kept, left_out)])


def require_names(context: Context) -> None:
    """Look at phases and names before anything is measured.

    Raises
    ------
    HepacastError
        Two sequences are of one phase, or no biomarker has a name that is asked for.
    """
    images = context.images
    recipe = ImageRecipe(
        "images",
        sequences={name: item.modality for name, item in images.sequences.items()},
        phases=context.study.biomarkers.phases if context.study.biomarkers is not None else None,
    )
    chosen_names(context, definitions_of_recipe(recipe))


def chosen_names(context: Context, definitions: Mapping[str, Biomarker]) -> list[str]:
    """The biomarkers that the study file asks for.

    Raises
    ------
    StudyFileError
        A name or pattern that fits none of these images.
    """
    options = context.study.biomarkers
    assert options is not None
    chosen: set[str] = set()
    for text in options.use:
        patterns = SETS.get(text, (text.removeprefix(f"{FAMILY}/"),))
        found = {
            name for name in definitions for item in patterns if fnmatchcase(name.removeprefix(f"{FAMILY}/"), item)
        }
        if not found:
            raise StudyFileError(
                f"No biomarker of these images is called {text!r}.",
                expected=f"{', '.join(SETS)}, or a name such as portal/tumor_minus_liver; * stands for anything",
                found=", ".join(name.removeprefix(f"{FAMILY}/") for name in list(definitions)[:5]) + ", ...",
                where="biomarkers.use",
            )
        chosen |= found
    return [name for name in definitions if name in chosen]


def _usable(training: pd.DataFrame) -> tuple[list[str], dict[str, str]]:
    """The biomarkers that most training patients have and that differ between them, and why the others are none."""
    kept, left_out = [], {}
    for name, column in training.items():
        known = column.dropna()
        if len(known) < (1.0 - MOST_MISSING) * len(column):
            left_out[str(name)] = f"missing in {len(column) - len(known)} of {len(column)} training patients"
        elif np.ptp(known.to_numpy()) == 0:
            left_out[str(name)] = "the same in all training patients"
        else:
            kept.append(str(name))
    return kept, left_out


def _told(item: Biomarker, name: str, values: pd.Series[Any]) -> MeasuredBiomarker:
    known = values.dropna().to_numpy(dtype=float)
    q1, median, q3 = (float(value) for value in np.percentile(known, [25, 50, 75]))
    return MeasuredBiomarker(name, item.label, item.unit, len(known), len(values) - len(known), median, q1, q3)


def _column(name: str, item: Biomarker) -> ColumnSpec:
    """A biomarker as a column of the cohort."""
    return ColumnSpec(name, (name,), label=item.label, unit=item.unit, quantity="none", role="candidate")


def _sentence(
    cohort: Cohort, recipe: ImageRecipe, long: pd.DataFrame, kept: list[str], left_out: Mapping[str, str]
) -> Sentence:
    failed = long.loc[long["status"] == "failed", "patient"].nunique()
    scale = (
        "in robust standard deviations of the liver of the same patient and image, from its median"
        if modality_of_recipe(recipe) == "MR"
        else "in HU"
    )
    text = (
        f"{len(kept)} biomarkers of liver and tumor (enhancement of tumor, rim and core relative to the liver of the "
        f"same patient, fine and coarse structure, geometry; intensities {scale}) were candidates of the models"
    )
    if left_out:
        text += f"; {len(left_out)} others could not be (missing in most training patients, or the same in all)"
    if failed:
        text += f"; {failed} of {len(cohort.patients)} patients could not be measured"
    return Sentence(BIOMARKERS, f"{text}.")


def _cost(context: Context) -> Cost:
    voxels, workers = typical_voxels(context), resolve_workers(context.workers)
    each = (_SECONDS_PER_PHASE + voxels * _SECONDS_PER_VOXEL) * len(context.images.sequences)
    return Cost(each * imaged_patients(context) / workers, (_PROCESS_BYTES + voxels * _BYTES_PER_VOXEL) * workers)


STAGE = Stage(
    name="biomarkers",
    title="numbers of liver and tumor by phase",
    module=__name__,
    run=write,
    settings=lambda context: (
        study_parts(context, "biomarkers")
        | {"images": voi_settings(context), "confidence": context.study.evaluation.confidence}
    ),
    cost=_cost,
    needs=("cohort", "preprocessing", "segmentation"),
    wanted=lambda context: context.study.biomarkers is not None,
)
