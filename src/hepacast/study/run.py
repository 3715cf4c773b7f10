"""Run a study: the stages in order, each kept by content hash, with `run.json` telling what happened."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from hepacast._version import __version__
from hepacast.cohort.findings import name_patients
from hepacast.core import views
from hepacast.core.cluster import PACKAGES
from hepacast.core.executor import keep_workers, single_threaded
from hepacast.core.files import atomic_path, read_json, write_bytes, write_text
from hepacast.core.hashing import hash_file
from hepacast.core.kept import is_kept, read_record, same_folder, write_record
from hepacast.core.lock import discard_empty, hold_folder, sweep
from hepacast.core.progress import Reporter, SilentReporter, format_seconds
from hepacast.core.records import read_record as read_typed
from hepacast.core.remote_files import results_folder
from hepacast.core.run_progress import ProgressRecorder, StageProgress
from hepacast.core.run_record import Check, InputRecord, RunInfo, StageRecord
from hepacast.core.stages import MARK, is_cached, read_mark, run_stage
from hepacast.core.tables import Table
from hepacast.errors import HepacastError, StudyFileError
from hepacast.report.formats import FORMATS
from hepacast.study.context import Context, make_context
from hepacast.study.plan import STAGES, PlannedStage, StudyPlan, make_plan
from hepacast.study.plausible_images import noted
from hepacast.study.preflight import preflight
from hepacast.study.stage import Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hepacast.report.model import Report

BUNDLE = "model.hepacast"
RUN = "run.json"
RESOLVED = "study.resolved.yaml"


@dataclass(frozen=True, repr=False)
class RunResult(views.Shown):
    """What a run did, or what lies in a results folder; tables and figures are those of the report."""

    out: Path
    ran: tuple[str, ...]
    cached: tuple[str, ...]
    seconds: float
    #: What the readers of images and masks have to tell, with the patients.
    warnings: tuple[str, ...] = ()
    #: What else was made.
    notes: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The finished report."""
        return self.out / "report" / "report.html"

    @cached_property
    def _composed(self) -> Report:
        from hepacast.report.build import composed

        return composed(self.out)

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Tables of the report by their numbers: ``Table 1``, ``Table S3``."""
        from hepacast.report.model import TableBlock, filled_table, number_blocks

        places = number_blocks(self._composed)
        return {
            places[block.key].number: filled_table(block.table, places)
            for block in self._composed.blocks()
            if isinstance(block, TableBlock)
        }

    def to_frame(self) -> pd.DataFrame:
        """Every prediction of every model: one row a patient, model and horizon."""
        return pd.read_parquet(self.out / "modelling" / "predictions.parquet")

    @property
    def bundle(self) -> Path:
        """The frozen model."""
        return self.out / BUNDLE

    def text(self) -> str:
        """Summary for the terminal."""
        lines = [f"Done in {format_seconds(self.seconds)}."] if math.isfinite(self.seconds) else []
        if self.cached:
            lines.append(f"Kept from an earlier run: {', '.join(self.cached)}.")
        lines += [f"Warning: {text}" for text in self.warnings]
        lines += [f"Report: {self.report}"] if self.report.is_file() else []
        lines += [f"Model:  {self.bundle}"] if self.bundle.is_file() else []
        return "\n".join([*lines, *self.notes, "Research use only: not a medical device."])


@views.page.register
def _(record: RunResult) -> list[str | Table]:
    """What was done, and the table of performance."""
    from hepacast.report.model import TableBlock

    told = record.text()
    if not (record.out / "evaluation" / MARK).is_file():
        return [told]
    chosen = [
        block.table
        for block in record._composed.blocks()
        if isinstance(block, TableBlock) and block.key == "discrimination"
    ]
    return [
        told,
        *chosen,
        f"Tables: {', '.join(record.tables)} (.tables); figures: {', '.join(views.drawings(record))}.",
    ]


@views.drawings.register
def _(record: RunResult) -> views.Drawings:
    """The figures of the report by their keys, panels with a letter."""
    from hepacast.report.model import FigureBlock

    found: dict[str, Callable[[], Figure]] = {}
    for block in record._composed.blocks():
        if isinstance(block, FigureBlock):
            several = len(block.panels) > 1
            for letter, panel in zip("abcdefghijklmnopqrstuvwxyz", block.panels, strict=False):
                found[f"{block.key}-{letter}" if several else block.key] = panel.draw
    order = sorted(found, key=lambda name: not name.startswith("performance"))
    return {name: found[name] for name in order}


def read_results(folder: str | Path) -> RunResult:
    """Results of an earlier run.

    Raises
    ------
    HepacastError
        The folder holds none, or a file in it is not as the run wrote it.
    """
    out = Path(folder)
    if not (out / RUN).is_file():
        raise HepacastError(
            "There are no results here.", expected="the results folder of a finished run", where=str(out),
            remedy="run the study first: hepacast run STUDY",
        )  # fmt: skip
    _require_sound(out)
    done = tuple(stage.name for stage in STAGES if (out / stage.name).is_dir())
    return RunResult(out, (), tuple(dict.fromkeys(done)), math.nan)


def plan_study(
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: int = 0,
    without_rows: bool = False,
) -> StudyPlan:
    """The plan of a study: stages, what is cached, time and memory. Nothing is run or written."""
    context = make_context(study_file, out=out, data=data, workers=workers)
    return make_plan(replace(context, without_rows=without_rows), STAGES)


@keep_workers()
def run_study(
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: int = 0,
    until: str | None = None,
    without_rows: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Run a study to the finished report.

    Parameters
    ----------
    study_file
        YAML file, or the folder that holds ``study.yaml``.
    out
        Results folder; default ``results`` beside the study file. An address (``s3://``, ``gs://``): they are made in
        ``hepacast-results`` of the working folder, and sent when the run is finished.
    data
        Folder that ``{data}`` stands for.
    workers
        Processes; 0 = one a core. The numbers do not depend on it.
    until
        Last stage to run.
    without_rows
        Write no model file that holds values of single training patients (``bundle/no-bundle.txt`` then says so).
    reporter
        Where progress goes.

    Raises
    ------
    HepacastError
        Anything that the user can put right; finished stages are kept.
    """
    stages = _stages_until(until)
    with results_folder(out, reporter or SilentReporter()) as where:
        context = make_context(study_file, out=where, data=data, workers=workers, reporter=reporter)
        return run_stages(replace(context, without_rows=without_rows), stages, preflight)


def run_stages(context: Context, stages: tuple[Stage, ...], judge: Callable[[Context], None]) -> RunResult:
    """Run what of these stages is not there.

    Parameters
    ----------
    judge
        Refuses a study in which something is wrong, before any long work.
    """
    recorder = ProgressRecorder(context.reporter)
    context = replace(context, reporter=recorder)
    start = time.monotonic()
    context.bring_data()
    if not _is_finished(context, stages):
        judge(context)
    new = not context.out.exists()
    prepare_output(context)
    try:
        ran, plan = _run_whole(context, stages, recorder)
    except HepacastError:
        if new:
            discard_empty(context.out)
        raise
    kept = tuple(item.name for item in plan.stages if item.name not in ran)
    return RunResult(context.out, ran, kept, time.monotonic() - start, _image_warnings(context))


def _is_finished(context: Context, stages: tuple[Stage, ...]) -> bool:
    """Whether all stages are there as their keys say: then the study was judged when they were made."""
    if not (context.out / RUN).is_file():
        return False
    try:
        return all(item.cached for item in make_plan(context, stages).stages)
    except HepacastError:  # the judgement says this and all else that is wrong
        return False


def _image_warnings(context: Context) -> tuple[str, ...]:
    """What was noted about image and mask files, one line a note."""
    file = context.out / "segmentation" / "segmentation.json"
    if not file.is_file():
        return ()
    found = {item["patient"]: item["notes"] for item in read_json(file).get("notes", [])}
    return tuple(f"{name_patients(patients)}: {note}" for note, patients in noted(found))


def _run_whole(
    context: Context, stages: tuple[Stage, ...], recorder: ProgressRecorder
) -> tuple[tuple[str, ...], StudyPlan]:
    """Plan and run while nobody else writes into the folder."""
    with hold_folder(context.out), single_threaded():
        sweep(context.out)
        plan = make_plan(context, stages)
        context.fingerprints.save()
        # A run that finds everything writes nothing.
        kept = all(item.cached for item in plan.stages)
        with nullcontext() if kept else recorder.writing(context.out):
            ran = _run_stages(context, plan, recorder)
            _place_bundle(context)
    return ran, plan


def _run_stages(context: Context, plan: StudyPlan, recorder: ProgressRecorder) -> tuple[str, ...]:
    """Run what is not there; returns the names of the stages that ran."""
    recorder.plan([_expected(context, item) for item in plan.stages])
    began = datetime.now(UTC).isoformat(timespec="seconds")
    ran: list[str] = []
    for item in plan.stages:
        _say_cost(context, item)
        if item.name == "report" and not item.cached:
            # The report prints how the run was made.
            _write_run(context, plan, tuple(ran), began)
        if item.cached:
            continue
        recorder.begin(item.name)
        if run_stage(context.out, item.run):
            ran.append(item.name)
        recorder.end(item.name)
    if ran or not _is_told(context):
        _write_run(context, plan, tuple(ran), began)
    return tuple(ran)


def _place_bundle(context: Context) -> None:
    """A copy of the bundle at the top of the results, where people look for it."""
    made, placed = context.out / "bundle" / BUNDLE, context.out / BUNDLE
    if (made.parent / "no-bundle.txt").is_file():
        placed.unlink(missing_ok=True)
    if made.is_file() and not (placed.is_file() and placed.read_bytes() == made.read_bytes()):
        write_bytes(placed, made.read_bytes())


def _stages_until(until: str | None) -> tuple[Stage, ...]:
    if until is None:
        return STAGES
    names = [stage.name for stage in STAGES]
    if until not in names:
        raise StudyFileError(f"There is no stage {until!r}.", expected=", ".join(dict.fromkeys(names)))
    return STAGES[: len(names) - names[::-1].index(until)]


def prepare_output(context: Context) -> None:
    """Make the results folder, and make sure that it can be written before any work is done.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    probe = context.out / "probe"
    with atomic_path(probe) as temporary:
        temporary.write_bytes(b"x")
    probe.unlink()


def _expected(context: Context, item: PlannedStage) -> StageProgress:
    seconds = 0.0 if item.cached else item.stage.cost(context).seconds
    return StageProgress(item.name, item.stage.title, "kept" if item.cached else "waiting", seconds)


def _say_cost(context: Context, item: PlannedStage) -> None:
    if item.cached:
        context.reporter.say(f"{item.name}: kept from an earlier run")
    else:
        context.reporter.say(f"{item.name}: {item.stage.title} ({item.stage.cost(context)})")


def _write_run(context: Context, plan: StudyPlan, ran: tuple[str, ...], began: str) -> None:
    """`run.json` and the study file with every default: what the stages in the folder were made by."""
    write_text(context.out / RESOLVED, _resolved(context))
    stages: list[StageRecord] = []
    checks: list[Check] = []
    for item in plan.stages:
        record = read_mark(context.out / item.name)
        if record is None:
            continue
        stages.append(StageRecord(item.name, record["key"], record["seconds"], item.name not in ran))
        checks += _checks_of(context, item.name)
    earlier, older_inputs = _later_stages(context, plan)
    for entry in earlier:
        stages.append(replace(entry, cached=True))
        checks += _checks_of(context, entry.name)
    inputs = older_inputs | {
        name: digest
        for item in plan.stages
        for name, digest in item.run.inputs.items()
        if not name.startswith("stage:")
    }
    run = RunInfo(
        version=__version__,
        seed=context.study.seed,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=_versions(),
        stages=stages,
        inputs=[InputRecord(name, digest) for name, digest in sorted(inputs.items())],
        checks=checks,
        resolved=hash_file(context.out / RESOLVED),
        started=began,
    )
    write_record(context.out / RUN, run.to_json())


def _resolved(context: Context) -> str:
    """The study file with every default."""
    settings = context.study.model_dump(mode="json")
    return str(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100))


def _is_told(context: Context) -> bool:
    """Whether `run.json` and the resolved study file are there and as they were written."""
    record, path = read_record(context.out / RUN), context.out / RESOLVED
    if record is None or not path.is_file() or record.get("resolved") != hash_file(path):
        return False
    return path.read_text(encoding="utf-8") == _resolved(context)


def _checks_of(context: Context, stage: str) -> list[Check]:
    file = context.out / stage / "checks.json"
    return read_typed(list[Check], file) if file.is_file() else []


def _later_stages(context: Context, plan: StudyPlan) -> tuple[list[StageRecord], dict[str, str]]:
    """Stages of an earlier run that this one stops before, and whose results still stand; and its inputs.

    Without them a run that stops early (`--until`, the negative controls) would leave a report without its checks.
    """
    record = read_record(context.out / RUN)
    if record is None:
        return [], {}
    old = RunInfo.from_json(record, RUN)
    planned = {item.name for item in plan.stages}
    kept = [e for e in old.stages if e.name not in planned and is_cached(context.out, e.name, e.key)]
    return kept, {entry.path: entry.sha256 for entry in old.inputs} if kept else {}


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def rebuild_report(results: str | Path, formats: Sequence[str] = FORMATS) -> Path:
    """Write the report again from a results folder; the HTML file, or the first of the formats.

    Raises
    ------
    HepacastError
        The folder holds no results.
    """
    from hepacast.report import build_report
    from hepacast.report.results import named_version

    folder = Path(results)
    if not (folder / "evaluation" / "evaluation.json").is_file():
        raise HepacastError(
            "There are no results to report.",
            expected="the results folder of a finished run",
            where=str(folder),
            remedy="run the study first: hepacast run STUDY",
        )
    try:
        _require_sound(folder)
    except HepacastError as error:
        raise named_version(folder, error) from error
    return build_report(folder, formats=formats)


def _require_sound(folder: Path) -> None:
    """Every file of the results is the one that the run wrote, and all of one run; no report is made of others.

    A run that stopped in the middle leaves new early stages beside old late ones.

    Raises
    ------
    HepacastError
        A file was damaged or changed by hand, or a stage was made from another state of an earlier stage.
    """
    names = dict.fromkeys(stage.name for stage in STAGES if stage.name != "report")
    there = [name for name in names if (folder / name).is_dir()]
    records: dict[str, dict[str, Any]] = {}
    for name in there:
        record = read_mark(folder / name)
        if record is None:
            raise _damaged(folder / name / MARK)
        strange = same_folder(folder / name, record["files"])
        if strange is not None:
            raise _damaged(folder / name / strange)
        records[name] = record
    run = read_record(folder / RUN)
    if run is None:
        raise _damaged(folder / RUN)
    if same_folder(folder, {RESOLVED: str(run.get("resolved"))}) is not None:
        raise _damaged(folder / RESOLVED)
    noise = folder / "noise" / "noise.json"
    if noise.exists() and not is_kept(noise):
        raise _damaged(noise)
    _require_one_run(folder, records)


def _damaged(path: Path) -> HepacastError:
    return HepacastError(
        "A file of the results is missing, damaged, or was changed after the run.",
        expected="the file as the run wrote it",
        where=str(path),
        remedy="run the study again (hepacast run STUDY): what is not as it was written is made anew",
    )


def _require_one_run(folder: Path, records: dict[str, dict[str, Any]]) -> None:
    for name, record in records.items():
        for earlier, other in records.items():
            used = record["inputs"].get(f"stage:{earlier}")
            if used is not None and used != other["key"]:
                raise HepacastError(
                    "The results are of two different runs.",
                    expected="stages that were made from one another",
                    found=f"{name} was made from an earlier state of {earlier}",
                    where=str(folder),
                    remedy="finish the run first: hepacast run STUDY",
                )
