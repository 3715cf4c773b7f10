"""Predictions of one patient: each a folder with what was asked, a process that predicts, and the files that it wrote.

The process is its own: a reload, a closed tab or the end of the server loses nothing. What a browser has sent of the
patient is deleted as soon as the process is done with it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hepacast.bundle.applying import open_bundle
from hepacast.bundle.calculator import calculator_of, field_of_column
from hepacast.bundle.labs import read_labs
from hepacast.bundle.measure import biomarkers_read
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.core.files import read_json, write_json
from hepacast.core.lock import hold_folder, is_held
from hepacast.core.progress import LineReporter
from hepacast.core.records import Record, read_record, write_record
from hepacast.errors import BundleError, HepacastError, ImageError
from hepacast.pacs.peer import FoundSeries
from hepacast.study.predict import dicom_source, predict_patient
from hepacast.web.connections import PacsConnection, fetch_series
from hepacast.web.places import PlaceError
from hepacast.web.processes import start_module
from hepacast.web.site import Site

#: How far below the served folder bundles are looked for, and in which folder of the state predictions lie.
DEPTH, FOLDER = 5, "predictions"
ASKED, ERROR, RESULT, SENT, LOG = "asked.json", "error.json", "result", "sent", "progress.log"
#: Results as DICOM, why there are none, and to whom they were sent.
DICOM, NO_DICOM, SENDINGS = "dicom", "no-dicom.json", "sendings.json"
#: After so many hours a prediction and everything of its patient is deleted.
KEPT_HOURS = 24
#: Files of a result that a browser may read, by name.
FILES = {"prediction.pdf": "application/pdf", "overlay.png": "image/png", "prediction.json": "application/json"}
_TOKEN = re.compile(r"[0-9a-f]{32}")
_PARTS = ("message", "expected", "found", "where", "remedy")


@dataclass(frozen=True)
class AskedPrediction(Record):
    """What was asked: bundle, clinical values as they were typed, images by sequence and mask as they lie, code.

    `model` is what the bundle is called in addresses; `dicom`: whether results are made that a PACS can be sent; `pacs`
    and `series`: from where series are fetched first, by sequence.
    """

    bundle: str
    labs: dict[str, str]
    images: dict[str, str] = field(default_factory=dict)
    mask: str = ""
    patient: str = ""
    accept_doubtful: bool = False
    model: str = ""
    dicom: bool = False
    pacs: PacsConnection | None = None
    series: dict[str, FoundSeries] = field(default_factory=dict)


def bundles(site: Site) -> dict[str, Path]:
    """Model bundles of the served folder, by a code that says nothing of their names."""
    root = site.places.roots[0]
    inside = {path.relative_to(root).as_posix(): path for path in sorted(_bundles(root, DEPTH))}
    return {hashlib.sha256(place.encode()).hexdigest()[:12]: path for place, path in inside.items()}


def _bundles(folder: Path, depth: int) -> Iterator[Path]:
    """Links are not followed; a run's stage keeps the bundle a second time, and hidden folders are nobody's."""
    try:
        with os.scandir(folder) as entries:
            items = [item for item in entries if not item.name.startswith(".")]
    except PermissionError:
        return
    for item in items:
        if item.is_dir(follow_symlinks=False) and depth > 1 and item.name != "bundle":
            yield from _bundles(Path(item.path), depth - 1)
        elif item.name.endswith(".hepacast") and item.is_file(follow_symlinks=False):
            yield Path(item.path)


def bundle_path(site: Site, code: str) -> Path:
    """The bundle of a code.

    Raises
    ------
    PlaceError
        There is none.
    """
    found = bundles(site).get(code)
    if found is None:
        raise PlaceError("There is no such model in the served folder.", remedy="go back to the list of models")
    return found


def form_of(opened: Bundle | NetworkBundle) -> dict[str, Any]:
    """What a page asks for one patient: clinical values, images, and the nomogram where there is one."""
    try:
        description, reason = calculator_of(opened), ""
    except BundleError as error:
        description, reason = None, error.found or error.message
    main = opened.names[-1]
    measured = biomarkers_read(opened, main) if isinstance(opened, Bundle) else []
    needs = isinstance(opened, NetworkBundle) or opened.needs_features(main) or bool(measured)
    specs = {item.name: item for item in opened.columns}
    return {
        "study": opened.card["name"],
        "outcome": opened.card["outcome"]["name"],
        "intended_use": opened.card["intended_use"],
        "identity": opened.identity,
        "signed": asdict(opened.signed),
        "held": opened.held_text(),
        "model": main,
        "description": description,
        "reason": reason,
        "fields": [] if description else [field_of_column(specs[name]) for name in opened.clinical_names(main)],
        "image": {
            "needed": needs,
            "sequences": dict(opened.recipe.sequences),
            "possible": opened.recipe.source == "images",
        },
    }


def start(site: Site, token: str, asked: AskedPrediction) -> None:
    """Predict in a process of its own; values that `predict` would refuse are refused at once.

    Raises
    ------
    HepacastError
        A clinical value is unknown, impossible or missing.
    """
    folder = folder_of(site, token)
    try:
        opened = open_bundle(asked.bundle)
        measured = biomarkers_read(opened) if isinstance(opened, Bundle) and (asked.images or asked.series) else []
        needed = [name for name in opened.clinical_names(opened.names[-1]) if name not in measured]
        read_labs(asked.labs, opened.columns, needed)
        write_record(folder / ASKED, asked)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    site.children[token] = start_module("hepacast.web.predictions", [str(folder)], folder / LOG)


def new_folder(site: Site) -> tuple[str, Path]:
    """Token and folder of a new prediction."""
    token = secrets.token_hex(16)
    folder = site.state / FOLDER / token
    folder.mkdir(parents=True, mode=0o700)
    return token, folder


def folder_of(site: Site, token: str) -> Path:
    """Folder of a prediction.

    Raises
    ------
    PlaceError
        There is none of this token.
    """
    folder = site.state / FOLDER / token
    if not _TOKEN.fullmatch(token) or not folder.is_dir():
        raise PlaceError("There is no such prediction.", remedy="predict again")
    return folder


def status(site: Site, token: str) -> dict[str, Any]:
    """Whether a prediction runs, has failed (and why) or is made (and what it says)."""
    folder = folder_of(site, token)
    if is_alive(site, token):
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip() if (folder / LOG).is_file() else ""
        return {"state": "running", "message": log.splitlines()[-1] if log else ""}
    if (folder / RESULT / "prediction.json").is_file():
        asked = read_record(AskedPrediction, folder / ASKED)
        told = read_json(folder / RESULT / "prediction.json")
        files = [name for name in FILES if (folder / RESULT / name).is_file()]
        return {
            "state": "made",
            "prediction": told,
            "values": _values(asked, told),
            "files": files,
            "kept_until": kept_until(folder).isoformat(timespec="minutes"),
            "dicom": (folder / DICOM).is_dir(),
            "no_dicom": read_json(folder / NO_DICOM)["message"] if (folder / NO_DICOM).is_file() else "",
            "sendings": read_json(folder / SENDINGS) if (folder / SENDINGS).is_file() else [],
        }
    if (folder / ERROR).is_file():
        return {"state": "failed", "error": read_json(folder / ERROR)}
    return {"state": "failed", "error": {"message": "The prediction was stopped.", "remedy": "predict again"}}


def is_alive(site: Site, token: str) -> bool:
    """Whether the process of a prediction is there, whichever server has started it."""
    child = site.children.get(token)
    return child.poll() is None if child is not None else is_held(site.state / FOLDER / token)


def kept_until(folder: Path) -> datetime:
    """When a prediction is deleted (UTC)."""
    asked = folder / ASKED
    began = (asked if asked.is_file() else folder).stat().st_mtime
    return datetime.fromtimestamp(began, UTC) + timedelta(hours=KEPT_HOURS)


def sendable(site: Site, token: str) -> Path:
    """Folder with the results that a PACS can be sent.

    Raises
    ------
    PlaceError
        There are none.
    """
    folder = folder_of(site, token)
    if is_alive(site, token) or not (folder / DICOM).is_dir():
        raise PlaceError(
            "This prediction has no results that a PACS could be sent.",
            found=read_json(folder / NO_DICOM)["message"] if (folder / NO_DICOM).is_file() else None,
            remedy="predict from the DICOM series of the PACS or scanner",
        )
    return folder / DICOM


def trail_codes(site: Site, token: str) -> tuple[str, str]:
    """Model and patient as the audit trail calls them; of a patient's code only what the keyed hash makes of it."""
    asked = read_record(AskedPrediction, folder_of(site, token) / ASKED)
    return asked.model, site.audit.code(asked.model, asked.patient) if asked.patient else ""


def _values(asked: AskedPrediction, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the nomogram's fields hold: clinical values in the model's units, levels as it reads them, scores."""
    opened = open_bundle(asked.bundle)
    found: dict[str, Any] = dict(told["scores"])
    for name, item in read_labs(asked.labs, opened.columns, []).items():
        value = item.value
        if isinstance(value, float):
            spec = next(spec for spec in opened.columns if spec.name == name)
            known = math.isfinite(value)
            found[name] = None if not known else value if spec.kind == "numeric" else str(int(value))
        else:
            found[name] = value
    return found


def forget(site: Site, token: str) -> None:
    """Delete a prediction and everything of the patient; a process that still runs is ended."""
    folder = folder_of(site, token)
    child = site.children.pop(token, None)
    if child is not None and child.poll() is None:
        child.terminate()
        child.wait(10)
    shutil.rmtree(folder)


def predict_asked(folder: Path) -> None:
    """What the process does: predict what was asked in a folder, write the files or the error, delete what was sent."""
    with hold_folder(folder):
        asked, reporter = read_record(AskedPrediction, folder / ASKED), LineReporter(sys.stderr)
        try:
            opened = open_bundle(asked.bundle)
            if asked.pacs is not None:
                reporter.say("fetching the scan from the PACS")
                fetched = fetch_series(asked.pacs, asked.series, folder / SENT)
                asked = replace(asked, images={**asked.images, **fetched})
            predict_patient(
                opened,
                image=asked.images or None,
                mask=asked.mask or None,
                labs=asked.labs,
                accept_doubtful=asked.accept_doubtful,
                out=folder / RESULT,
                dicom_out=folder / DICOM if asked.dicom and _has_source(opened, asked, folder) else None,
                patient=asked.patient,
                reporter=reporter,
            )
        except HepacastError as error:
            where = str(error.where or "").replace(f"{folder / SENT}/", "")
            told = {part: getattr(error, part) for part in _PARTS if getattr(error, part)}
            write_json(folder / ERROR, told | ({"where": where} if where else {}))
        except Exception as error:
            write_json(folder / ERROR, {"message": f"Something went wrong ({type(error).__name__})."})
        finally:
            shutil.rmtree(folder / SENT, ignore_errors=True)


def _has_source(opened: Bundle | NetworkBundle, asked: AskedPrediction, folder: Path) -> bool:
    """Whether results can belong to a study of a PACS; if not, why is kept."""
    if not asked.images:
        return False
    try:
        dicom_source(opened, asked.images)
    except ImageError as error:
        write_json(folder / NO_DICOM, {"message": error.message})
        return False
    return True


if __name__ == "__main__":
    predict_asked(Path(sys.argv[1]))
