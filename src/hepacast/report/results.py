"""Open a results folder: every file there is, as the record of the room that computed it.

What lives here: reading. What may not: formatting, drawing, computing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hepacast._version import __version__
from hepacast.biomarkers.summary import BiomarkerSummary
from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.comparisons import Comparisons
from hepacast.cohort.findings import Finding
from hepacast.cohort.flow import FlowCounts
from hepacast.cohort.outcome import OutcomeFacts
from hepacast.core.files import read_json
from hepacast.core.records import ResultsError, read_record
from hepacast.core.run_record import RunInfo
from hepacast.core.sentences import Sentence
from hepacast.core.texts import plain_cell, visible, visible_document
from hepacast.deep.results import DeepResults
from hepacast.errors import HepacastError
from hepacast.evaluation.case_mix import ExternalValidation, read_external
from hepacast.evaluation.further_cohorts import FurtherResult
from hepacast.evaluation.indexes import IndexResults
from hepacast.evaluation.negative_controls import Noise
from hepacast.evaluation.results import EvaluationResults
from hepacast.evaluation.scrutiny import ModelScrutiny, PredictionScrutiny
from hepacast.imaging.preprocessing.summary import Preprocessing
from hepacast.modelling.competition import FusionResult
from hepacast.modelling.described import DescribedModels, Validation
from hepacast.phantom.planted import PlantedTruth
from hepacast.radiomics.summary import RadiomicsSummary
from hepacast.segmentation.results import PlausibilityInfo, Segmentation

T = TypeVar("T")

#: The stages that a report shows, in the order of its Methods; the stage `report` needs these.
STAGES = (
    "cohort",
    "preprocessing",
    "segmentation",
    "radiomics",
    "biomarkers",
    "deep",
    "modelling",
    "evaluation",
    "further",
    "indexes",
)


@dataclass(frozen=True)
class StudyInfo:
    """The parts of `study.resolved.yaml` that the report prints; `settings` is the whole file."""

    name: str
    recipe: str = ""
    seed: int = 0
    intended_use: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Everything that a report shows. A part whose file does not exist is None (or empty).

    Parameters
    ----------
    folder
        The results folder.
    study, run
        What was asked, and how it ran.
    flow, outcome, columns, findings, comparisons, truth
        From `cohort/`.
    segmentation, plausibility, radiomics
        None where features came as a table.
    models, validation, evaluation
        The models and how good they are.
    preprocessing, fusion, deep, further, indexes
        Of studies with MR, competing networks and classifiers, cohorts with follow-up only, staging systems.
    sentences
        For the Methods, in the order of the stages.
    external
        Of the validation of frozen models of other studies, the main one first.
    centers
        Patients by set and center; empty where the study has no column of the center.
    biomarkers
        What was measured of liver and tumor; None where the study measures none.
    model_scrutiny, prediction_scrutiny, noise
        Other centers, learning curve, importance; subgroups, recalibration, conformal sets; negative controls.
    """

    folder: Path
    study: StudyInfo
    run: RunInfo | None = None
    flow: FlowCounts | None = None
    outcome: OutcomeFacts | None = None
    columns: list[ColumnSpec] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    comparisons: Comparisons | None = None
    truth: PlantedTruth | None = None
    segmentation: Segmentation | None = None
    plausibility: PlausibilityInfo | None = None
    radiomics: RadiomicsSummary | None = None
    models: DescribedModels | None = None
    validation: Validation | None = None
    evaluation: EvaluationResults | None = None
    preprocessing: Preprocessing | None = None
    fusion: FusionResult | None = None
    deep: DeepResults | None = None
    further: list[FurtherResult] = field(default_factory=list)
    indexes: IndexResults | None = None
    sentences: list[Sentence] = field(default_factory=list)
    centers: dict[str, dict[str, int]] = field(default_factory=dict)
    biomarkers: BiomarkerSummary | None = None
    model_scrutiny: ModelScrutiny | None = None
    prediction_scrutiny: PredictionScrutiny | None = None
    noise: Noise | None = None
    external: list[ExternalValidation] = field(default_factory=list)

    @property
    def timed(self) -> DescribedModels | None:
        """The models, where they predict the time to an event."""
        return self.models if self.models is not None and self.models.horizons else None


def load_results(folder: str | Path) -> Results:
    """Read a results folder, of an earlier version too where its files still mean the same.

    Raises
    ------
    ResultsError
        The folder holds no results, a file in it is damaged, or another version made it and reads it; the error names
        that version.
    """
    try:
        return _load(Path(folder))
    except ResultsError as error:
        raise named_version(Path(folder), error) from error


def named_version(folder: Path, error: HepacastError) -> HepacastError:
    """What was wrong with a results folder, with the version that made it where that is not this one."""
    try:
        found = read_json(folder / "run.json")
    except (OSError, ValueError, HepacastError):
        return error
    version = visible(str(found.get("version", ""))) if isinstance(found, dict) else ""
    if version in ("", __version__):
        return error
    return ResultsError(
        f"These results were made by hepacast {version}; hepacast {__version__} does not read them.",
        expected=f"results of hepacast {__version__}, or of a version that writes them alike",
        found=str(error).splitlines()[0],
        where=str(folder),
        remedy=f"read them with the version that made them (pip install hepacast=={version}; hepacast report "
        f"{folder}), or make them anew with this one (hepacast run STUDY)",
    )


def _load(folder: Path) -> Results:
    if not (folder / "cohort").is_dir():
        raise ResultsError(
            "This is not a results folder.",
            expected="a folder with cohort/, modelling/ and evaluation/, as `hepacast run` writes it",
            where=str(folder),
        )
    sentences: list[Sentence] = []
    for stage in STAGES:
        sentences += _read(list[Sentence], folder / stage / "methods.json") or []
    flow = _read(FlowCounts, folder / "modelling" / "flow.json") or _read(FlowCounts, folder / "cohort" / "flow.json")
    return Results(
        folder=folder,
        study=_study(folder / "study.resolved.yaml"),
        run=_read(RunInfo, folder / "run.json"),
        # The modelling stage writes these again: patients without features leave after the cohort stage.
        flow=flow,
        outcome=_read(OutcomeFacts, folder / "modelling" / "outcome.json")
        or _read(OutcomeFacts, folder / "cohort" / "outcome.json"),
        columns=_columns(folder / "cohort" / "columns.json"),
        findings=_read(list[Finding], folder / "modelling" / "findings.json")
        or _read(list[Finding], folder / "cohort" / "findings.json")
        or [],
        comparisons=_comparisons(folder),
        truth=_read(PlantedTruth, folder / "cohort" / "truth.json"),
        segmentation=_read(Segmentation, folder / "segmentation" / "segmentation.json"),
        plausibility=_read(PlausibilityInfo, folder / "segmentation" / "plausibility.json"),
        radiomics=_read(RadiomicsSummary, folder / "radiomics" / "summary.json"),
        biomarkers=_read(BiomarkerSummary, folder / "biomarkers" / "summary.json"),
        models=_read(DescribedModels, folder / "modelling" / "models.json"),
        validation=_read(Validation, folder / "modelling" / "validation.json"),
        evaluation=_read(EvaluationResults, folder / "evaluation" / "evaluation.json"),
        preprocessing=_read(Preprocessing, folder / "preprocessing" / "preprocessing.json"),
        deep=_read(DeepResults, folder / "deep" / "deep.json"),
        fusion=_read(FusionResult, folder / "modelling" / "fusion.json"),
        further=_read(list[FurtherResult], folder / "further" / "further.json") or [],
        indexes=_read(IndexResults, folder / "indexes" / "indexes.json"),
        sentences=sentences,
        centers=_centers(folder / "cohort" / "sets.csv", flow),
        model_scrutiny=_read(ModelScrutiny, folder / "modelling" / "scrutiny.json"),
        prediction_scrutiny=_read(PredictionScrutiny, folder / "evaluation" / "scrutiny.json"),
        noise=_read(Noise, folder / "noise" / "noise.json"),
        external=read_external(folder / "evaluation" / "external.json"),
    )


def _comparisons(folder: Path) -> Comparisons | None:
    """Of the patients who were analyzed, as soon as they are known; the segmentation's are those of the cohort."""
    first = _read(Comparisons, folder / "cohort" / "comparisons.json")
    later = _read(Comparisons, folder / "modelling" / "comparisons.json")
    if first is None or later is None:
        return first if later is None else later
    return replace(later, segmentation=first.segmentation)


def _columns(path: Path) -> list[ColumnSpec]:
    entries = _read(list[dict[str, Any]], path) or []
    try:
        return [ColumnSpec.from_json(entry) for entry in entries]
    except KeyError as error:
        raise ResultsError("A column is not described.", expected=f"the field {error}", where=str(path)) from error


def _centers(path: Path, flow: FlowCounts | None) -> dict[str, dict[str, int]]:
    """Analyzed patients by set and center."""
    lost = {patient for item in (flow.lost if flow is not None else []) for patient in item.patients}
    found: dict[str, dict[str, int]] = {}
    if not path.is_file():
        return found
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            row = {name: visible(plain_cell(text or "")) for name, text in line.items()}
            if row.get("center") and row.get("patient") not in lost:
                counts = found.setdefault(row.get("set") or "", {})
                counts[row["center"]] = counts.get(row["center"], 0) + 1
    return found


def _read(kind: type[T], path: Path) -> T | None:
    return read_record(kind, path) if path.is_file() else None


def _study(path: Path) -> StudyInfo:
    if not path.is_file():
        return StudyInfo(name="Study")
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ResultsError("The resolved study file is not YAML.", found=str(error), where=str(path)) from error
    content = visible_document(content) if isinstance(content, dict) else {}
    return StudyInfo(
        name=str(content.get("name") or "Study"),
        recipe=str(content.get("recipe") or ""),
        seed=int(content.get("seed") or 0),
        intended_use=str(content.get("intended_use") or "").strip(),
        settings=content,
    )
