"""What the report reads about the run itself: study file, versions, stages, sentences for the Methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StageRecord:
    """One stage of the run: its content hash, its time, whether it was kept from an earlier run."""

    name: str
    key: str = ""
    seconds: float = float("nan")
    cached: bool = False


@dataclass(frozen=True)
class InputRecord:
    """A file that the run read, and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Check:
    """A check that the run made of itself: name, whether it passed, what was found."""

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True)
class RunInfo:
    """`run.json`.

    Parameters
    ----------
    version
        Of hepacast.
    seed
        The study's seed.
    python, platform
        Interpreter and operating system.
    packages
        Versions of the packages that computed numbers.
    stages, inputs, checks
        In the order of the run.
    started
        ISO 8601; printed in the provenance only.
    """

    version: str
    seed: int
    python: str = ""
    platform: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    stages: list[StageRecord] = field(default_factory=list)
    inputs: list[InputRecord] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    started: str = ""


@dataclass(frozen=True)
class StudyInfo:
    """The parts of `study.resolved.yaml` that the report prints; `settings` is the whole file."""

    name: str
    recipe: str = ""
    seed: int = 0
    intended_use: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sentence:
    """One sentence (or a few) for the Methods, written by the stage that ran.

    Every `<stage>/methods.json` is a list of these.

    Parameters
    ----------
    stage
        ``cohort``, ``segmentation``, ``radiomics``, ``modelling`` or ``evaluation``.
    text
        True of this run: settings and versions as used. ``[@key]`` marks where a reference goes; without a mark the
        references go to the end.
    citations
        Keys of the report's bibliography (`hepacast.report.methods.BIBLIOGRAPHY`), or full references as text.
    detail
        A journal would print it in the supplement only.
    """

    stage: str
    text: str
    citations: list[str] = field(default_factory=list)
    detail: bool = False
