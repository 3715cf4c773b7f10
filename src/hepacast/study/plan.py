"""The plan of a study: its stages in order, what each depends on, what is cached, what the rest will cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hepacast.core.hashing import hash_value
from hepacast.core.progress import format_seconds
from hepacast.core.stages import StageRun, is_cached
from hepacast.study.context import Context
from hepacast.study.stage import Stage
from hepacast.study.stages import (
    biomarkers,
    bundle,
    cohort,
    deep,
    evaluation,
    further,
    fusion,
    indexes,
    modelling,
    preprocessing,
    radiomics,
    report,
    segmentation,
)

#: Every stage in order. Where a study has one of two, both have one name.
STAGES: tuple[Stage, ...] = (
    cohort.STAGE,
    preprocessing.STAGE,
    segmentation.STAGE,
    radiomics.STAGE,
    biomarkers.STAGE,
    deep.STAGE,
    modelling.STAGE,
    fusion.STAGE,
    evaluation.STAGE,
    further.STAGE,
    indexes.STAGE,
    bundle.STAGE,
    report.STAGE,
)


@dataclass(frozen=True)
class PlannedStage:
    """A stage, how it is run with these settings and inputs, and whether its files are there."""

    stage: Stage
    run: StageRun
    cached: bool

    @property
    def name(self) -> str:
        """Folder in the results."""
        return self.stage.name


@dataclass(frozen=True)
class StudyPlan:
    """All stages of a study, in order."""

    context: Context
    stages: tuple[PlannedStage, ...]

    def text(self) -> str:
        """The plan as `hepacast run --dry-run` prints it."""
        lines = [f"Study: {self.context.study.name}", f"Results: {self.context.out}", ""]
        total = 0.0
        width = max(len(item.stage.title) for item in self.stages)
        for item in self.stages:
            if item.cached:
                state = "cached"
            else:
                cost = item.stage.cost(self.context)
                total += cost.seconds
                state = f"to run, {cost}"
            lines.append(f"  {item.stage.name:14} {item.stage.title:{width}}  {state}")
        lines += ["", f"In all about {format_seconds(total)}." if total else "Nothing to do."]
        return "\n".join(lines)


def make_plan(context: Context, stages: tuple[Stage, ...]) -> StudyPlan:
    """Work out keys from the study file and the content of its inputs; nothing is run."""
    with context.fingerprints.once():
        return StudyPlan(context, tuple(_planned(context, stages)))


def _planned(context: Context, stages: tuple[Stage, ...]) -> list[PlannedStage]:
    keys: dict[str, str] = {}
    planned: list[PlannedStage] = []
    for stage in (item for item in stages if item.wanted(context)):
        inputs = {f"stage:{name}": keys[name] for name in stage.needs if name in keys} | stage.inputs(context)

        def work(folder: Path, stage: Stage = stage) -> None:
            stage.run(context, folder)

        def changed(upto: int = len(planned) + 1) -> str | None:
            return _changed(context, planned[:upto])

        run = StageRun(stage.name, work, stage.settings(context), inputs, (stage.module,), changed)
        keys[stage.name] = run.key
        planned.append(PlannedStage(stage, run, is_cached(context.out, run.name, run.key)))
    return planned


def _changed(context: Context, planned: list[PlannedStage]) -> str | None:
    """What is no longer as it was when these stages were planned: an input, or settings that are read from a file."""
    with context.fingerprints.once():
        return _first_change(context, planned)


def _first_change(context: Context, planned: list[PlannedStage]) -> str | None:
    for item in planned:
        own = {name: digest for name, digest in item.run.inputs.items() if not name.startswith("stage:")}
        now = item.stage.inputs(context)
        for name in {**own, **now}:
            if own.get(name) != now.get(name):
                return f"{name} ({item.name})"
        if hash_value(item.stage.settings(context)) != hash_value(item.run.settings):
            return f"settings of the stage {item.name}"
    return None
