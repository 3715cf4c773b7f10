"""All of `hepacast check`, images and masks too, in a process of its own: reading every image takes minutes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json, write_json
from hepacast.core.hashing import hash_file
from hepacast.core.lock import hold_folder, is_held
from hepacast.core.records import plain
from hepacast.errors import HepacastError
from hepacast.study.check import CheckResult, check_study
from hepacast.web.places import STUDY_FILE
from hepacast.web.processes import start_module
from hepacast.web.site import Site

FOLDER, FOUND, SO_FAR, LOG = "checks", "found.json", "so-far.json", "log.txt"
#: Seconds between two words about how far it is.
_EVERY = 0.5
_SEVERITIES = ("error", "warning", "note")


class CheckRunning(HepacastError):
    """A study is being checked already."""


def _folder(site: Site, study: Path) -> Path:
    return site.state / FOLDER / site.places.code(study)


def start(site: Site, study: Path) -> None:
    """Begin to check a study.

    Raises
    ------
    CheckRunning
        It is being checked.
    """
    folder = _folder(site, study)
    if _is_running(site, study):
        raise CheckRunning("This study is being checked already.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FOUND, SO_FAR):
        (folder / name).unlink(missing_ok=True)
    words = [str(study), str(folder)]
    site.children[f"check {folder.name}"] = start_module("hepacast.web.whole_checks", words, folder / LOG)


def _is_running(site: Site, study: Path) -> bool:
    folder = _folder(site, study)
    child = site.children.get(f"check {folder.name}")
    return child.poll() is None if child is not None else is_held(folder)


def status(site: Site, study: Path) -> dict[str, Any]:
    """Whether a study is being checked (and how far), or what was found of the file as it stands now."""
    folder = _folder(site, study)
    if _is_running(site, study):
        far = read_json(folder / SO_FAR) if (folder / SO_FAR).is_file() else {"done": 0, "total": 0}
        return {"state": "running", **far}
    if not (folder / FOUND).is_file():
        return {"state": "failed" if (folder / LOG).is_file() else "none"}
    found: dict[str, Any] = read_json(folder / FOUND)
    same = found.pop("version") == hash_file(study / STUDY_FILE)
    return {"state": "done", **found} if same else {"state": "none"}


def findings_of(result: CheckResult) -> list[dict[str, Any]]:
    """What was found, errors first, each with its part and the key of the study file where it is put right."""
    return [
        {"part": part, **plain(item), "key": result.key_of(item)}
        for part, item in sorted(result.findings, key=lambda pair: _SEVERITIES.index(pair[1].severity))
    ]


@dataclass
class _FileReporter:
    """Writes how far it is into a file."""

    path: Path
    last: float = 0.0

    def say(self, text: str) -> None:
        """Nobody reads along."""

    @contextmanager
    def track(self, label: str, *, counted: bool = True) -> Iterator[Callable[[int, int], None]]:
        """A callback that writes, twice a second at most."""

        def update(done: int, total: int) -> None:
            now = time.monotonic()
            if now - self.last >= _EVERY or done == total:
                self.last = now
                write_json(self.path, {"done": done, "total": total})

        yield update


def check_into(study: Path, folder: Path) -> None:
    """What the process does: check, and write what was found."""
    with hold_folder(folder):
        version = hash_file(study / STUDY_FILE)
        try:
            result = check_study(study, reporter=_FileReporter(folder / SO_FAR))
            found = {"findings": findings_of(result), "facts": result.facts, "text": result.text()}
        except HepacastError as error:
            told = {"part": "study file", "severity": "error", "code": "cannot-run", "message": str(error), "key": ""}
            found = {"findings": [told], "facts": [], "text": str(error)}
        write_json(folder / FOUND, {"version": version, **found})


if __name__ == "__main__":
    check_into(Path(sys.argv[1]), Path(sys.argv[2]))
