"""`hepacast check`: everything that is wrong with a study, before any long work, and never only the first mistake."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepacast.cohort import Finding
from hepacast.cohort.findings import condense, findings_frame, findings_table, name_patients
from hepacast.core import views
from hepacast.core.executor import map_items
from hepacast.core.progress import Reporter
from hepacast.core.tables import Table
from hepacast.errors import HepacastError
from hepacast.study.context import Context, make_context
from hepacast.study.load import key_lines
from hepacast.study.mask_files import mask_files
from hepacast.study.preflight import find_problems
from hepacast.study.schema import Study
from hepacast.study.stages.judging import StudyJudgement, judge_cohort
from hepacast.study.stages.selection import has_its_files

if TYPE_CHECKING:
    import pandas as pd

    from hepacast.study.plausible_images import JudgedPatient

_MARKS = {"error": "ERROR", "warning": "warning", "note": "note"}


@dataclass(repr=False)
class CheckResult(views.Shown):
    """What the check found, part by part; `volumes`: size and intensities of each VOI, a row a patient and sequence."""

    study: Study
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        """Whether the study cannot run as it is."""
        return any(item.severity == "error" for _, item in self.findings)

    def to_frame(self) -> pd.DataFrame:
        """One row a finding, with the part of the study that it is about."""
        frame = findings_frame([item for _, item in self.findings])
        frame.insert(0, "part", [part for part, _ in self.findings])
        return frame

    def add_error(self, part: str, error: HepacastError) -> None:
        """Take an exception as a finding."""
        self.findings.append((part, Finding("error", "cannot-run", str(error).replace("\n", "\n      "))))

    def text(self) -> str:
        """For the terminal: errors first, part by part, then what the study is."""
        lines = [f"Study: {self.study.name}", *[f"  {fact}" for fact in self.facts], ""]
        order = {name: rank for rank, name in enumerate(_MARKS)}
        for part, item in sorted(self.findings, key=lambda pair: order[pair[1].severity]):
            place = [f"row {item.row}" if item.row else "", item.patient or "", item.column or ""]
            where = ", ".join(word for word in place if word)
            code = "" if item.code in ("cannot-run", "image") else f" [{item.code}]"
            text = f"  {_MARKS[item.severity]:8} {part}{code}{': ' + where if where else ''}: {item.message}"
            lines.append(text + self._place_in_study(item))
        errors = sum(item.severity == "error" for _, item in self.findings)
        lines.append("")
        lines.append(
            f"{errors} error{'s' if errors != 1 else ''}: correct them, then check again."
            if errors
            else "Ready to run."
        )
        return "\n".join(lines)

    def key_of(self, item: Finding) -> str:
        """The key of the study file where a finding is put right; empty where it is none of one key."""
        key = _KEYS.get(item.code, "")
        if item.column in self.study.cohort.columns and not key.startswith(("cohort.", "modelling.")):
            return f"cohort.columns.{item.column}" + (f".{key}" if key else "")
        return key if "." in key else ""

    def _place_in_study(self, item: Finding) -> str:
        """The key of the study file to change, with its line."""
        key = "" if item.severity == "note" else self.key_of(item)
        if not key:
            return ""
        known = key
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        line = f", line {self.lines[known]}" if known else ""
        return f" [study file{line}]" if key in item.message else f" [study file: {key}{line}]"


@views.page.register
def _(record: CheckResult) -> list[str | Table]:
    errors = sum(item.severity == "error" for _, item in record.findings)
    verdict = f"{errors} error{'s' if errors != 1 else ''}" if errors else "Ready to run"
    return [
        f"{record.study.name}: {verdict}. {'; '.join(record.facts)}.",
        findings_table([item for _, item in record.findings]),
    ]


#: Where in the study file a finding is put right: a key of the column, or a whole path.
_KEYS = {
    "missing-column": "column",
    "unclear-column": "column",
    "all-missing": "column",
    "unit-conflict": "unit",
    "wrong-unit": "unit",
    "unit-mix-up": "unit",
    "unit-not-stated": "unit",
    "impossible-value": "plausible",
    "coded-values": "kind",
    "not-a-number": "kind",
    "date-in-number": "kind",
    "not-a-date": "date_format",
    "unknown-level": "levels",
    "level-not-in-training": "levels",
    "sheets-disagree": "sheet",
    "ambiguous-number": "cohort.decimal",
    "mixed-decimal": "cohort.decimal",
    "dates-out-of-order": "cohort.date_order",
    "duplicate-id": "cohort.id",
    "missing-id": "cohort.id",
    "similar-id": "cohort.id",
    "other-identifier": "cohort.id",
    "id-digits-lost": "cohort.id",
    "id-spelled-otherwise": "cohort.id",
    "hidden-sheets": "cohort.sheet",
    "identifier": "modelling.candidates",
    "identifier-like": "modelling.candidates",
    "date-as-predictor": "modelling.candidates",
    "outcome-as-predictor": "modelling.candidates",
    "after-event": "modelling.candidates",
    "after-event-name": "after_event",
    "perfect-predictor": "modelling.candidates",
    "leak-suspected": "modelling.candidates",
    "same-as-other": "modelling.candidates",
    "fewer-events-than-variables": "modelling.candidates",
    "events-per-variable": "modelling.candidates",
    "empty-set": "cohort.split",
}


def check_study(
    study_file: str | Path, *, data: str | Path | None = None, reporter: Reporter | None = None
) -> CheckResult:
    """Check study file, table, outcome, sets, settings, images and masks.

    Raises
    ------
    StudyFileError
        The study file itself cannot be read (all its mistakes are listed).
    """
    context = make_context(study_file, data=data, reporter=reporter)
    context.bring_data()
    result, seen = check_patients(context)
    result.lines = key_lines(study_file)
    if seen.patients and context.study.images is not None:
        _check_images(context, seen.cohort.patients if seen.cohort is not None else seen.patients, result)
    return result


def check_patients(context: Context) -> tuple[CheckResult, StudyJudgement]:
    """Check all but images and masks: what is seen while a study is being set up."""
    result, seen = CheckResult(context.study), judge_cohort(context)
    _tell(seen, result)
    _check_settings(context, result)
    return result, seen


def _tell(seen: StudyJudgement, result: CheckResult) -> None:
    result.findings += [("table", item) for item in condense(dict.fromkeys(seen.findings))]
    for part, error in seen.errors:
        result.add_error(part, error)
    if seen.cohort is None:
        if seen.table is not None:
            result.facts.append(f"{len(seen.table.patients)} patients in the table")
            result.facts += [f"left out: {n} ({reason})" for reason, n in Counter(seen.left_out.values()).items()]
        return
    flow = seen.cohort.flow
    result.facts.append(f"{len(flow.reviewed)} patients in the table, {len(flow.included)} in the study")
    result.facts += [f"left out: {len(step.patients)} ({step.reason})" for step in flow.excluded if step.patients]
    counts = dict(flow.events)
    result.facts += [f"{name} set: {len(patients)} patients, {counts[name]} events" for name, patients in flow.sets]


def _check_settings(context: Context, result: CheckResult) -> None:
    problems = find_problems(context)
    for problem in problems:
        result.add_error("settings", problem)
    images = context.study.images
    if images is not None and not problems:
        from hepacast.study.feature_settings import load_settings

        n = len(load_settings(context).feature_names()) * len(images.vois) * len(images.sequences)
        result.facts.append(f"{n} radiomics features a patient")


def _check_images(context: Context, patients: list[str], result: CheckResult) -> None:
    from hepacast.study.stages.same_files import shared_files

    with contextlib.suppress(HepacastError):  # who has no files is told by the judgement, once
        patients = [patient for patient in patients if has_its_files(context, patient)]
    patients = [*patients, *(patient for patient in _further(context) if patient not in patients)]
    jobs = [(context, patient) for patient in patients]
    judged: list[JudgedPatient] = []
    with context.reporter.track("images") as progress:
        for patient, problem, found in map_items(_check_patient, jobs, workers=1, progress=progress):
            if problem is not None:
                result.findings.append(("images", Finding("error", "image", problem, patient)))
            if found is not None:
                judged.append(found)
    for patient, error in shared_files(context, patients).items():
        result.findings.append(("images", Finding("error", "image", str(error).replace("\n", "\n      "), patient)))
    _add_plausibility(context, judged, result)


def _further(context: Context) -> list[str]:
    """Patients of further cohorts, whose images are measured too."""
    from hepacast.study.further_cohorts import further_patients

    if not context.study.further:
        return []
    try:
        return further_patients(context)
    except HepacastError:  # the judgement of the cohort has told it
        return []


def _add_plausibility(context: Context, judged: list[JudgedPatient], result: CheckResult) -> None:
    """What is not plausible about images and masks, and who is far from the cohort."""
    from hepacast.segmentation.far_from_cohort import outlier_text, outliers
    from hepacast.study.feature_settings import load_settings
    from hepacast.study.plausible_images import (
        SWITCH,
        gray_level_facts,
        gray_level_remarks,
        mixed_minima,
        noted,
        summed_up,
    )

    result.volumes = [row for item in judged for row in item.rows]
    for note, patients in noted({item.patient: item.notes for item in judged}):
        alone = patients[0] if len(patients) == 1 else None
        text = note if alone else f"{note} ({len(patients)} patients: {name_patients(patients)})"
        result.findings.append(("images", Finding("warning", "image-note", text, alone)))
    told = summed_up({item.patient: item.remarks for item in judged})
    with contextlib.suppress(HepacastError):  # settings that cannot be read are told among the settings
        width = load_settings(context).bin_width
        told += summed_up(gray_level_remarks(result.volumes, width))
        result.facts += gray_level_facts(result.volumes, width)
    for severity, text, patient in told:
        way = f"; if it is right as it is: {SWITCH}" if severity == "error" else ""
        finding = Finding("error" if severity == "error" else "warning", "implausible", text + way, patient)
        result.findings.append(("images", finding))
    result.findings += [("images", Finding("warning", "mixed-minima", text)) for text in mixed_minima(judged)]
    for entry in outliers(result.volumes):
        finding = Finding("warning", "outlier", f"far from the cohort: {outlier_text(entry)}", entry["patient"])
        result.findings.append(("images", finding))
    images = context.study.images
    strangers = sorted(set(images.segmentation.accept_doubtful if images else ()) - {item.patient for item in judged})
    if strangers:
        text = f"images.segmentation.accept_doubtful names patients without a mask here: {', '.join(strangers[:10])}"
        result.findings.append(("images", Finding("warning", "unknown-patient", text)))


def _check_patient(job: tuple[Context, str]) -> tuple[str, str | None, JudgedPatient | None]:
    """Read one patient's images and expert masks as the stages will, and judge them."""
    from hepacast.study.mask_files import labelled_patients
    from hepacast.study.patient_masks import read_expert, read_given
    from hepacast.study.plausible_images import judge_patient, with_second_reader
    from hepacast.study.sequences import volumes_of
    from hepacast.study.stages.segmentation import judge

    context, patient = job
    options = context.images.segmentation
    judged = None
    try:
        if labelled_patients(context, [patient]):
            given = options.source == "given"
            labelmap = read_given(context, patient) if given else read_expert(context, patient)
            judged = judge(context, patient, labelmap, "given", strict=given).judged
            if options.second_reader is not None and mask_files(context, options.second_reader, patient).exists():
                second = judge_patient(
                    context.study, patient, volumes_of(context, patient), read_expert(context, patient, second=True)
                )
                judged = with_second_reader(judged, second)
        if judged is None:
            judged = judge_patient(context.study, patient, volumes_of(context, patient))
    except HepacastError as error:
        return patient, "\n      and: ".join(_every_problem(context, patient, error)), judged
    return patient, None, judged


def _every_problem(context: Context, patient: str, first: HepacastError) -> list[str]:
    """What is wrong with each image and mask of a patient of whom the first problem is known."""
    from hepacast.study.mask_files import labelled_patients
    from hepacast.study.patient_masks import read_expert
    from hepacast.study.sequences import raw_image

    images = context.images
    steps: list[Callable[[], object]] = [raw_image(context, patient, name).read for name in images.sequences]
    problems = [str(first), *(text for step in steps for text in _problem_of(step))]
    if len(set(problems)) == 1 and labelled_patients(context, [patient]):
        problems += _problem_of(partial(read_expert, context, patient))
        second = images.segmentation.second_reader
        if second is not None and mask_files(context, second, patient).exists():
            problems += _problem_of(partial(read_expert, context, patient, second=True))
    return [text.replace("\n", "\n      ") for text in dict.fromkeys(problems)]


def _problem_of(step: Callable[[], object]) -> list[str]:
    try:
        step()
    except HepacastError as error:
        return [str(error)]
    return []
