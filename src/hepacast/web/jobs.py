"""Jobs are ordinary `hepacast` processes with their files on disk: the server may end, they go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.core.records import Record, ResultsError, plain, read_record, write_record
from hepacast.core.run_progress import PROGRESS, RunProgress, ask_to_stop, is_alive, read_progress
from hepacast.errors import HepacastError
from hepacast.study.demos import DEMOS
from hepacast.study.run import RUN
from hepacast.web.processes import start_module
from hepacast.web.site import Site

_LOG_SHOWN = 4000
DEMO = "demo"


class JobError(HepacastError):
    """A job that cannot be started or stopped as things are."""


@dataclass(frozen=True)
class JobRecord(Record):
    """A process that was started: its number, its words, the study's folder, the folder of its results."""

    process: int
    words: list[str]
    study: str
    out: str


def results_of(study: Path) -> Path:
    """Results of a study: beside its file; a demo's beside the folder of its virtual patients."""
    own, beside = study / "results", study.parent / "results"
    demo = study.name == "cohort" and not (study / RUN).exists() and not own.exists()
    return beside if demo and (beside.is_dir() or (study.parent / ".demo").is_file()) else own


def start_run(site: Site, study: Path, workers: int = 0) -> JobRecord:
    """Start `hepacast run` of a study, or let it go on where it was stopped.

    Raises
    ------
    JobError
        It runs already.
    """
    out = results_of(study)
    if is_running(site, study):
        raise JobError("This study is running already.")
    return _start(site, study, out, ["run", str(study), "--out", str(out), "--workers", str(workers)])


def start_demo(site: Site, recipe: str, training: int | None = None, validation: int | None = None) -> Path:
    """Start `hepacast demo` in a new folder of the served one; the study's folder, which it will make.

    Raises
    ------
    JobError
        There is no such demo, or a study is in its folder.
    """
    if recipe not in DEMOS:
        raise JobError("There is no demo of this study.", expected=", ".join(DEMOS))
    folder = site.places.roots[0] / f"demo-{recipe}"
    study = folder / "cohort"
    if is_running(site, study):
        raise JobError("This demo is running already.")
    folder.mkdir(exist_ok=True)
    (folder / ".demo").touch()
    words = ["demo", "--study", recipe, "--out", str(folder)]
    words += ["--training", str(training)] if training else []
    words += ["--validation", str(validation)] if validation else []
    _start(site, study, folder / "results", words)
    return study


def _start(site: Site, study: Path, out: Path, words: list[str]) -> JobRecord:
    code = site.places.code(study)
    folder = site.state / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run has told is over; its results stay.
    (out / PROGRESS).unlink(missing_ok=True)
    process = start_module("hepacast.cli.main", words, folder / f"{code}.log")
    job = JobRecord(process.pid, words, str(study), str(out))
    write_record(folder / f"{code}.json", job)
    site.children[code] = process
    return job


def job_of(site: Site, study: Path) -> JobRecord | None:
    """The job that was started last for a study."""
    path = site.state / "jobs" / f"{site.places.code(study)}.json"
    try:
        return read_record(JobRecord, path) if path.is_file() else None
    except ResultsError:
        return None


def _lives(site: Site, study: Path) -> bool:
    """Whether the process that was started last is there (before it has told of itself)."""
    child = site.children.get(site.places.code(study))
    if child is not None:
        return child.poll() is None
    job = job_of(site, study)
    log = site.state / "jobs" / f"{site.places.code(study)}.log"
    if job is None or not log.is_file():
        return False
    return is_alive(RunProgress(job.process, "running", 0.0, log.stat().st_mtime))


def is_running(site: Site, study: Path) -> bool:
    """Whether a run of the study lives, whoever started it."""
    progress = read_progress(results_of(study))
    return (progress is not None and progress.state == "running") or (progress is None and _lives(site, study))


def stop(site: Site, study: Path) -> None:
    """Ask the run of a study to stop.

    Raises
    ------
    JobError
        It does not run, or has not begun.
    """
    progress = read_progress(results_of(study))
    if progress is None or progress.state != "running":
        child = site.children.get(site.places.code(study))
        if child is None or child.poll() is not None:
            raise JobError("This study is not running.")
        child.terminate()  # it has made nothing yet
        return
    ask_to_stop(results_of(study))


def status(site: Site, study: Path) -> dict[str, Any]:
    """How far the run of a study is, as the page shows it."""
    out = results_of(study)
    progress = read_progress(out)
    told: dict[str, Any] = {"state": "none"}
    if progress is not None:
        told = plain(progress)
    elif _lives(site, study):
        told = {"state": "starting"}
    elif job_of(site, study) is not None:
        told = {"state": "failed", "message": last_words(site, study)}
    told["report"] = (out / "report" / "report.html").is_file()
    told["model"] = (out / "model.hepacast").is_file()
    if told["state"] in ("starting", "failed") and not told.get("message"):
        told["message"] = last_words(site, study)
    return told


def last_words(site: Site, study: Path) -> str:
    """The end of what the job has printed."""
    log = site.state / "jobs" / f"{site.places.code(study)}.log"
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_SHOWN))
        return file.read().decode("utf-8", "replace").strip()


def preparing(site: Site) -> list[dict[str, str]]:
    """Jobs whose study is not there yet: demos that make their patients."""
    found = []
    for path in sorted((site.state / "jobs").glob("*.json")):
        try:
            job = read_record(JobRecord, path)
        except ResultsError:
            continue
        study = Path(job.study)
        if job.words[0] == DEMO and not (study / "study.yaml").is_file():
            state = "running" if _lives(site, study) else "failed"
            found.append({"code": path.stem, "state": state, "message": last_words(site, study)})
    return found
