"""One patient: models of the served folder, a prediction from values and scan, its page."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, ValidationError

from hepacast.bundle.applying import open_bundle
from hepacast.errors import HepacastError
from hepacast.pacs.choose import propose
from hepacast.pacs.peer import FoundSeries
from hepacast.web import connections, node_queue, predictions
from hepacast.web.places import PlaceError
from hepacast.web.site import REVIEWER, AccountOf, Site, SiteOf
from hepacast.web.uploads import UploadError, received, unpack

router = APIRouter()
#: Longest study code of a patient, as `predict --patient` prints it.
_LONGEST_CODE = 64
_UID = r"^[0-9.]{1,64}$"


class PatientGiven(BaseModel):
    """Name of an allowed PACS, and the number by which it knows the patient."""

    pacs: str
    patient: str = Field(max_length=200)


class SeriesGiven(BaseModel):
    """A series that the PACS has told of."""

    study: str = Field(pattern=_UID)
    series: str = Field(pattern=_UID)
    instances: int | None = Field(default=None, ge=0)


class FetchGiven(BaseModel):
    """From which PACS which series is fetched for each sequence."""

    pacs: str
    series: dict[str, SeriesGiven] = Field(min_length=1)


@router.get("/models")
def models(site: SiteOf) -> list[dict[str, Any]]:
    """Every bundle: code, place, study, outcome; or why it cannot be read."""
    found = []
    for code, path in predictions.bundles(site).items():
        place = path.relative_to(site.places.roots[0]).as_posix()
        try:
            card = open_bundle(path).card
            told = {"study": card["name"], "outcome": card["outcome"]["name"], "error": ""}
        except HepacastError as error:
            told = {"study": path.stem, "outcome": "", "error": error.message}
        found.append({"code": code, "place": place, **told})
    return found


@router.get("/models/{code}")
def model(code: str, site: SiteOf) -> dict[str, Any]:
    """What to ask for, and the nomogram's description."""
    return predictions.form_of(open_bundle(predictions.bundle_path(site, code)))


@router.post("/models/{code}/predict", dependencies=REVIEWER)
async def predict(code: str, request: Request, site: SiteOf, account: AccountOf) -> dict[str, str]:
    """Start a prediction: fields ``labs`` (JSON, text by name), ``patient``, ``accept``, ``fetch`` (JSON, series of an
    allowed PACS); files ``image/N/...`` of the sequence N, and ``mask/...``."""
    path = predictions.bundle_path(site, code)
    token, folder = predictions.new_folder(site)
    try:
        sent = await received(request, folder / predictions.SENT)
        asked = await run_in_threadpool(_asked, path, folder / predictions.SENT, sent.fields)
        asked = _with_fetched(site, asked, sent.fields.get("fetch", ""))
        asked = replace(asked, model=code, dicom=bool(connections.read_settings(site).connections))
        # Of a patient's code only what the keyed hash makes of it goes into the trail.
        whom = site.audit.code(code, asked.patient) if asked.patient else ""
        site.audit.add(account.name, account.role, "predict", code, whom)
        await run_in_threadpool(predictions.start, site, token, asked)
    except BaseException:
        if folder.is_dir():
            await run_in_threadpool(predictions.forget, site, token)
        raise
    return {"prediction": token}


def _asked(bundle: Path, folder: Path, fields: dict[str, str]) -> predictions.AskedPrediction:
    try:
        labs = json.loads(fields.get("labs", "{}"))
    except ValueError as error:
        raise UploadError("The clinical values are not as the page writes them.") from error
    if not isinstance(labs, dict) or not all(isinstance(value, str) for value in labs.values()):
        raise UploadError("The clinical values are not as the page writes them.")
    patient = fields.get("patient", "").strip()
    if len(patient) > _LONGEST_CODE:
        raise UploadError("The patient's code is too long.", expected=f"at most {_LONGEST_CODE} characters")
    sequences = list(open_bundle(bundle).recipe.sequences) or ["image"]
    images = {
        name: str(_one_of(folder / "image" / str(number)))
        for number, name in enumerate(sequences)
        if (folder / "image" / str(number)).is_dir()
    }
    mask = str(_one_of(folder / "mask")) if (folder / "mask").is_dir() else ""
    return predictions.AskedPrediction(
        str(bundle), dict(labs), images, mask, patient, fields.get("accept", "") == "yes"
    )


def _with_fetched(site: Site, asked: predictions.AskedPrediction, given: str) -> predictions.AskedPrediction:
    """With the series that are to be fetched first."""
    if not given:
        return asked
    try:
        fetch = FetchGiven.model_validate_json(given)
    except ValidationError as error:
        raise UploadError("The series are not as the page writes them.") from error
    series = {
        name: FoundSeries(item.study, item.series, instances=item.instances) for name, item in fetch.series.items()
    }
    return replace(asked, pacs=connections.connection(site, fetch.pacs), series=series)


@router.post("/models/{code}/find", dependencies=REVIEWER)
def find(code: str, given: PatientGiven, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Series of one patient in an allowed PACS, and which of them are likely the model's sequences."""
    to = connections.connection(site, given.pacs)
    sequences = open_bundle(predictions.bundle_path(site, code)).recipe.sequences
    site.audit.add(account.name, account.role, "find-in-pacs", code, site.audit.code(code, given.patient.strip()))
    found = connections.series_of_patient(to, given.patient)
    return {
        "series": [asdict(item) for item in found],
        "proposed": propose(sequences, found, node_queue.series_rules(site)),
    }


def _one_of(folder: Path) -> Path:
    """What was sent into a folder: the one image file, the content of the one archive, else the folder (DICOM)."""
    files = [item for item in folder.rglob("*") if item.is_file()]
    if len(files) == 1 and files[0].suffix.casefold() == ".zip":
        unpacked = folder / "unpacked"
        unpack(files[0], unpacked)
        files[0].unlink()
        files = [item for item in unpacked.rglob("*") if item.is_file()]
    return files[0] if len(files) == 1 else folder


@router.get("/predictions/{token}")
def prediction(token: str, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """How far it is, or what it says."""
    told = predictions.status(site, token)
    if told["state"] == "made":
        site.audit.add(account.name, account.role, "see-prediction", *predictions.trail_codes(site, token))
    return told


@router.get("/predictions/{token}/{name}")
def file(token: str, name: str, site: SiteOf, account: AccountOf) -> FileResponse:
    """A file of the answer."""
    path = predictions.folder_of(site, token) / predictions.RESULT / name
    if name not in predictions.FILES or not path.is_file():
        raise PlaceError("There is no such file of this prediction.")
    site.audit.add(account.name, account.role, "download-prediction", *predictions.trail_codes(site, token))
    return FileResponse(path, media_type=predictions.FILES[name], filename=name)


@router.delete("/predictions/{token}", dependencies=REVIEWER)
def forget(token: str, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Delete everything of this patient."""
    site.audit.add(account.name, account.role, "forget-prediction", *predictions.trail_codes(site, token))
    predictions.forget(site, token)
    return {"forgotten": True}
