"""What a stage of a study is; the module of each stage in `study/stages` ends with its `STAGE`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.core.progress import format_bytes, format_seconds
from hepacast.study.context import Context


@dataclass(frozen=True)
class Cost:
    """What a stage will need on this machine, about: seconds, and bytes of memory."""

    seconds: float
    memory: float = 0.0

    def __str__(self) -> str:
        memory = f", {format_bytes(self.memory)} of memory" if self.memory else ""
        return f"about {format_seconds(self.seconds)}{memory}"


def _no_files(context: Context) -> dict[str, str]:
    return {}


def _always(context: Context) -> bool:
    return True


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Parameters
    ----------
    name
        Folder in the results. Two stages may have one name where a study has either of them.
    title
        For people.
    module
        The stage's module (``__name__``): the code that its key holds is that of all it imports.
    run
        Writes its files into a folder; those of earlier stages are found in `Context.out`.
    settings
        The parts of the study file that it depends on, JSON-like.
    cost
        Estimate before the start.
    needs
        Earlier stages whose files it reads.
    inputs
        Content hashes of the user's files that it reads, by name.
    wanted
        Whether this study has the stage.
    """

    name: str
    title: str
    module: str
    run: Callable[[Context, Path], None]
    settings: Callable[[Context], Any]
    cost: Callable[[Context], Cost]
    needs: tuple[str, ...] = ()
    inputs: Callable[[Context], dict[str, str]] = _no_files
    wanted: Callable[[Context], bool] = _always


def study_parts(context: Context, *names: str) -> dict[str, Any]:
    """Parts of the study file as a stage's settings."""
    study = context.study.model_dump(mode="json")
    return {name: study[name] for name in names}
