"""The demo on real patients: two public tables that the package holds, each to its own report; nothing is fetched."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from hepacast.core.files import atomic_path
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.study.run import RunResult, run_study

#: Study -> what it is about; its folder holds study file, table, and where the table comes from (SOURCE.txt).
REAL: dict[str, str] = {
    "resection": "early recurrence after resection, 227 patients (Cox and binary models)",
    "tace-response": "objective response to TACE, 96 patients (clinical model)",
}


def run_real(out: str | Path, *, workers: int = 0, reporter: Reporter | None = None) -> dict[str, RunResult]:
    """Run both studies, each in a folder of its own: table, source and licence, study file, ``results``.

    Parameters
    ----------
    out
        Folder; what is there from an earlier run is kept.
    workers, reporter
        As in `run_study`.

    Returns
    -------
    dict
        Results by name of the study.
    """
    say, found = reporter or SilentReporter(), {}
    for name, what in REAL.items():
        folder = Path(out) / name
        say.say(f"{name}: {what}; source and licence: {folder / 'SOURCE.txt'}")
        _copy(name, folder)
        found[name] = run_study(folder / "study.yaml", out=folder / "results", workers=workers, reporter=say)
    return found


def _copy(name: str, folder: Path) -> None:
    """The packaged files of a study, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("hepacast.study").joinpath("real", name)) as source:
        for file in sorted(Path(source).iterdir()):
            target = folder / file.name
            if file.is_file() and not target.exists():
                with atomic_path(target) as temporary:
                    shutil.copyfile(file, temporary)
