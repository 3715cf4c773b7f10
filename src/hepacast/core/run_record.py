"""`run.json`: how a run went, and what made its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hepacast.core.records import Record


@dataclass(frozen=True)
class StageRecord(Record):
    """One stage of the run: its content hash, its time, whether it was kept from an earlier run."""

    name: str
    key: str = ""
    seconds: float = float("nan")
    cached: bool = False


@dataclass(frozen=True)
class InputRecord(Record):
    """A file that the run read, and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Check(Record):
    """A check that the run made of itself: name, whether it passed, what was found."""

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True)
class RunInfo(Record):
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
    resolved
        SHA-256 of the study file with every default.
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
    resolved: str = ""
    started: str = ""
