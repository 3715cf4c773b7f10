"""The plan of a study: its stages in order, what each depends on, what is cached, what the rest will cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.core.hashing import hash_value
from hepacast.core.progress import format_bytes, format_seconds
from hepacast.core.stages import Stage, is_cached
from hepacast.study.context import Context


@dataclass(frozen=True)
class Cost:
    """What a stage will need on this machine, about."""

    seconds: float
    memory: float = 0.0

    def __str__(self) -> str:
        memory = f", {format_bytes(self.memory)} of memory" if self.memory else ""
        return f"about {format_seconds(self.seconds)}{memory}"


@dataclass(frozen=True)
class StageKind:
    """A kind of stage.

    Parameters
    ----------
    name
        Folder in the results.
    title
        For people.
    needs
        Earlier stages whose files it reads.
    settings
        The parts of the study file that it depends on.
    inputs
        Content hashes of the user's files that it reads.
    work
        Writes its files into a folder; earlier stages are found in `Context.out`.
    modules
        Modules that make its files; the code that its key holds is theirs and all that they import.
    wanted
        Whether this study has the stage.
    cost
        Estimate before the start.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    settings: Callable[[Context], Any]
    inputs: Callable[[Context], dict[str, str]]
    work: Callable[[Context, Path], None]
    modules: tuple[str, ...]
    wanted: Callable[[Context], bool]
    cost: Callable[[Context], Cost]


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its key, and whether its files are there."""

    kind: StageKind
    stage: Stage
    cached: bool


@dataclass(frozen=True)
class StudyPlan:
    """All stages of a study, in order."""

    context: Context
    stages: tuple[PlannedStage, ...]

    def text(self) -> str:
        """The plan as `hepacast run --dry-run` prints it."""
        lines = [f"Study: {self.context.study.name}", f"Results: {self.context.out}", ""]
        total = 0.0
        width = max(len(item.kind.title) for item in self.stages)
        for item in self.stages:
            if item.cached:
                state = "cached"
            else:
                cost = item.kind.cost(self.context)
                total += cost.seconds
                state = f"to run, {cost}"
            lines.append(f"  {item.kind.name:14} {item.kind.title:{width}}  {state}")
        lines += ["", f"In all about {format_seconds(total)}." if total else "Nothing to do."]
        return "\n".join(lines)


def make_plan(context: Context, kinds: tuple[StageKind, ...]) -> StudyPlan:
    """Work out keys from the study file and the content of its inputs; nothing is run."""
    with context.fingerprints.once():
        return StudyPlan(context, tuple(_planned(context, kinds)))


def _planned(context: Context, kinds: tuple[StageKind, ...]) -> list[PlannedStage]:
    keys: dict[str, str] = {}
    planned: list[PlannedStage] = []
    for kind in kinds:
        if not kind.wanted(context):
            continue
        inputs = {f"stage:{name}": keys[name] for name in kind.needs if name in keys} | kind.inputs(context)

        def work(folder: Path, kind: StageKind = kind) -> None:
            kind.work(context, folder)

        def changed(upto: int = len(planned) + 1) -> str | None:
            return _changed(context, planned[:upto])

        stage = Stage(kind.name, work, kind.settings(context), inputs, kind.modules, changed)
        keys[kind.name] = stage.key
        cached = is_cached(context.out, kind.name, stage.key)
        planned.append(PlannedStage(kind, stage, cached))
    return planned


def _changed(context: Context, planned: list[PlannedStage]) -> str | None:
    """What is no longer as it was when these stages were planned: an input, or settings that are read from a file."""
    with context.fingerprints.once():
        return _first_change(context, planned)


def _first_change(context: Context, planned: list[PlannedStage]) -> str | None:
    for item in planned:
        own = {name: digest for name, digest in item.stage.inputs.items() if not name.startswith("stage:")}
        now = item.kind.inputs(context)
        for name in {**own, **now}:
            if own.get(name) != now.get(name):
                return f"{name} ({item.kind.name})"
        if hash_value(item.kind.settings(context)) != hash_value(item.stage.settings):
            return f"settings of the stage {item.kind.name}"
    return None
