"""Features of a table of patients: its rows, each measured in a worker, and their ICC under perturbations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort.findings import name_patients
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import one_header, read_ids
from hepacast.cohort.one_sheet import doubtful_patients, one_row_a_patient, one_sheet
from hepacast.cohort.patient_rows import name_rows
from hepacast.cohort.sheets import is_table
from hepacast.core.executor import Need, map_items
from hepacast.core.files import write_text
from hepacast.core.progress import Reporter
from hepacast.errors import HepacastError, ImageError, StudyFileError, TableError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskSet, read_mask_set, read_volume
from hepacast.radiomics import Case, Settings, extract_perturbed, perturbation_icc
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.table import concat_long
from hepacast.segmentation.doubts import Remark, group_remarks
from hepacast.study.measured_features import MeasuredFeatures, judge_masks
from hepacast.study.plausible_images import noted
from hepacast.study.segment import mask_path

TABLE_COLUMNS = ("patient", "image", "mask")


def jobs_of(
    source: str | Path | Volume | pd.DataFrame, recipe: ImageRecipe, series: str | int | None, accept: bool
) -> tuple[list[_Job], list[str]]:
    """The rows of a table of patients, whose paths start at its folder (of a DataFrame at the working folder)."""
    frame, remarks = _read_patients(source)
    base = Path(source).parent if isinstance(source, str | Path) else Path()
    rows = frame.to_dict("records")
    return [_Job({str(k): v for k, v in row.items()}, base, recipe, series, accept) for row in rows], remarks


def measure_jobs(
    jobs: list[_Job], remarks: list[str], settings: Settings, workers: int, say: Reporter
) -> MeasuredFeatures:
    """Features of all rows, and what a person should know; `remarks` are those on the table."""
    with say.track("features") as progress:
        measured = map_items(_measure, jobs, workers=workers, progress=progress, need=Need(memory=1e9), lost=_lost)
    long = _joined([(job, item) for job, item, *_ in measured], settings)
    failed = long.loc[long["status"] == "failed", ["patient", "voi", "reason"]].drop_duplicates(["patient", "voi"])
    several = failed["patient"].nunique()
    lines = [*remarks, f"{len(jobs)} patients, {several} of them with a VOI that could not be measured"]
    lines += [f"  not measured: {name_patients(patients)}: {why}" for why, patients in _reasons(failed).items()]
    notes = noted({job.patient: notes for job, *_, notes in measured})
    lines += [f"  note: {name_patients(patients)}: {note}" for note, patients in notes]
    lines += _doubts({job.patient: remarks for job, _, remarks, _ in measured})
    return MeasuredFeatures(tuple(lines), settings, patients=long)


def _reasons(failed: pd.DataFrame) -> dict[str, list[str]]:
    """Patients by what could not be measured of them, and why."""
    found: dict[str, list[str]] = {}
    for (patient, why), vois in failed.groupby(["patient", "reason"], sort=False)["voi"]:
        found.setdefault(f"{', '.join(vois)}: {why}", []).append(str(patient))
    return found


def perturbed(jobs: list[_Job], settings: Settings, target: Path, workers: int, say: Reporter) -> list[str]:
    """Each feature's ICC under perturbed images and masks, written; and what is said of it."""
    with say.track("perturbed features") as progress:
        tables = extract_perturbed([_case(job) for job in jobs], settings, workers=workers, progress=progress)
    icc = perturbation_icc(tables)
    write_text(target, icc.to_csv(lineterminator="\n"))
    good = int((icc["icc2"] >= 0.75).sum())
    return [
        f"{good} of {len(icc)} features have an ICC of 0.75 or more under {len(tables)} perturbations",
        f"wrote {target}",
    ]


def _doubts(found: Mapping[str, list[Remark]]) -> list[str]:
    """One line a problem; the patients of a problem of many are named."""
    return [f"  doubtful: {name_patients(patients)}: {item}" for item, patients in group_remarks(found)]


def _read_patients(path: str | Path | Volume | pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Patients with their image and mask, all as text, and what was said about the table."""
    if not isinstance(path, pd.DataFrame) and not (isinstance(path, str | Path) and is_table(path)):
        raise StudyFileError("A mask is needed.", expected="IMAGE MASK, or a table with columns patient, image, mask")
    where = "table" if isinstance(path, pd.DataFrame) else str(path)
    sheet, findings = one_sheet(path, *TABLE_COLUMNS, what="table of patients", several="first")
    patients = one_row_a_patient(sheet, "patient", what="table of patients", where=where)
    frame = pd.DataFrame({"patient": list(patients)}, dtype=object)
    for name in TABLE_COLUMNS[1:]:
        frame[name] = read_ids(sheet.column(one_header(sheet, name)))
    gaps = [row for row, lacks in zip(sheet.rows, frame.isna().any(axis=1)) if lacks]
    if gaps:
        raise TableError(
            "The table of patients has empty cells.",
            expected="patient, image and mask in every row",
            found=f"a gap in {name_rows(gaps)}",
            where=where,
        )
    own = find_header(sheet.headers, ["series"])
    frame["series"] = read_ids(sheet.column(own[0])) if own else None
    findings += doubtful_patients(list(frame["patient"]), frame.drop(columns="patient").to_numpy().tolist())
    return frame, [f"  {item.severity}: {item.message}" for item in findings]


@dataclass(frozen=True)
class _Job:
    """One row of the table of patients; its files are read in the worker, one patient at a time."""

    row: dict[str, Any]
    base: Path
    recipe: ImageRecipe
    series: str | int | None = None
    accept: bool = False

    @property
    def patient(self) -> str:
        return str(self.row["patient"])

    def path(self, column: str) -> Path:
        return self.base / str(self.row[column])

    def read_image(self) -> Volume:
        own = self.row.get("series")
        return read_volume(self.path("image"), series=own if isinstance(own, str) and own.strip() else self.series)

    def structures(self, reference: Volume) -> MaskSet:
        """The masks of the row: a file, a folder, or ``NAME=PATH; NAME=PATH``."""
        given = mask_path([part.strip() for part in str(self.row["mask"]).split(";") if part.strip()])
        files = (
            {n: self.base / str(f) for n, f in given.items()} if isinstance(given, Mapping) else self.base / str(given)
        )
        rules = self.recipe.loaded_settings.mask_rules
        return read_mask_set(files, dict(self.recipe.labels) or None, reference=reference, rules=rules)

    def names(self) -> list[str]:
        """The VOIs that are expected, as far as they are named."""
        return list(self.recipe.vois or self.recipe.labels)


def _measure(job: _Job) -> tuple[_Job, ExtractionResult | str, list[Remark], tuple[str, ...]]:
    """In a worker: one patient's features, or why there are none; what is doubtful about the patient; notes."""
    try:
        volume = job.read_image()
        found = job.structures(volume)
        vois = job.recipe.vois_of(found.masks)
        settings, where = job.recipe.loaded_settings, f"patient {job.patient}"
        doubts = judge_masks(volume, found.masks, vois, settings, job.accept, where)
        result = job.recipe.measure(volume, vois)
        return job, result, doubts, (*volume.notes, *found.notes)
    except HepacastError as error:
        return job, str(error).replace("\n ", ";"), [], ()


def _lost(job: _Job, error: HepacastError) -> tuple[_Job, ExtractionResult | str, list[Remark], tuple[str, ...]]:
    return job, str(error).replace("\n ", ";"), [], ()


def _case(job: _Job) -> Case:
    """The row for perturbations, with its VOIs or with the reason why there are none."""
    try:
        volume = job.read_image()
        structures = job.structures(volume).masks
        masks: dict[str, Any] = dict(job.recipe.vois_of(structures))
        judge_masks(volume, structures, masks, job.recipe.loaded_settings, job.accept, f"patient {job.patient}")
    except HepacastError as error:
        masks = {name: partial(_refuse, error.message) for name in job.names() or ["mask"]}
    return Case(job.patient, {"": job.read_image}, masks)


def _refuse(message: str) -> Volume:
    raise ImageError(message)


def _joined(results: list[tuple[_Job, ExtractionResult | str]], settings: Settings) -> pd.DataFrame:
    """One table; a patient who could not be read has a row a feature, without a value and with the reason."""
    measured = [item for _, item in results if isinstance(item, ExtractionResult)]
    usual = list(measured[0].vois) if measured else ["mask"]
    engine = measured[0].engine if measured else ""
    parts = []
    for job, item in results:
        if isinstance(item, str):
            failed = {n: VoiResult.failed(n, settings.feature_names(), item) for n in job.names() or usual}
            item = ExtractionResult(failed, settings.hash, engine)
        parts.append(item.to_long(job.patient))
    return concat_long(parts, settings_hash=settings.hash, engine=engine)
