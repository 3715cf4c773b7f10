"""Who is in a study and what is predicted: the study file set up by drop-downs, judged while it is."""

from __future__ import annotations

import hashlib
import re
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from hepacast.cohort import OUTCOME_DEFINITIONS
from hepacast.cohort.proposal import TableProposal, propose_columns
from hepacast.cohort.quantities import known_quantities, known_units
from hepacast.core.files import write_text
from hepacast.core.names import file_name
from hepacast.core.records import plain
from hepacast.errors import HepacastError, StudyFileError
from hepacast.study.check import check_patients
from hepacast.study.context import Context, make_context
from hepacast.study.edit import comments, edit_study, study_values
from hepacast.study.load import parse_study
from hepacast.study.propose import image_values, init_from_table
from hepacast.study.propose_images import propose_images
from hepacast.study.stages.judging import StudyJudgement
from hepacast.study.template import RECIPES
from hepacast.web import whole_checks
from hepacast.web.jobs import is_running, results_of
from hepacast.web.places import STUDY_FILE, PlaceError
from hepacast.web.site import OWNER, AccountOf, Site, SiteOf, StudyFolder
from hepacast.web.uploads import received, unpack

router = APIRouter()
TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".parquet", ".sav", ".dta", ".zsav")
UPLOADS = "uploads"
#: Entries of a folder that are shown.
_SHOWN = 1000


class PlaceGiven(BaseModel):
    """A folder to look into; empty: the folders that may be read."""

    path: str = ""


class NewStudy(BaseModel):
    """A study to set up."""

    name: str = Field(min_length=1, max_length=120)
    table: str
    images: str = ""
    recipe: str = ""


class Edits(BaseModel):
    """Changes of a study file by dotted key, and the file that they were made on."""

    version: str
    changes: dict[str, Any] = {}


@router.post("/browse", dependencies=OWNER)
def browse(given: PlaceGiven, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Folders and tables of a folder that may be read."""
    site.audit.add(account.name, account.role, "browse")
    if not given.path:
        return {"path": "", "up": None, "folders": [str(root) for root in site.places.roots], "tables": []}
    folder = site.places.within(given.path)
    if not folder.is_dir():
        raise PlaceError("This is no folder.")
    inner = sorted(item for item in folder.iterdir() if not item.name.startswith("."))[:_SHOWN]
    return {
        "path": str(folder),
        "up": "" if folder in site.places.roots else str(folder.parent),
        "folders": [str(item) for item in inner if item.is_dir()],
        "tables": [str(item) for item in inner if item.suffix.lower() in TABLES and item.is_file()],
    }


@router.post("/uploads", dependencies=OWNER)
async def upload(request: Request, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Take a dropped table, or a folder or zip archive of images; says where it lies now."""
    site.audit.add(account.name, account.role, "upload")
    base = site.places.roots[0] / UPLOADS
    folder = base / hashlib.sha256(str(request.headers.get("x-upload", "")).encode()).hexdigest()[:16]
    got = await received(request, folder)
    places = []
    for file in got.files:
        if file.suffix.lower() == ".zip":
            await run_in_threadpool(unpack, file, file.with_suffix(""))
            file.unlink()
            places.append(file.with_suffix(""))
        else:
            places.append(file)
    return {"folder": str(folder), "files": [str(place) for place in places]}


@router.get("/recipes")
def recipes() -> dict[str, str]:
    """Published studies that a new one may follow."""
    return RECIPES


@router.post("/studies", dependencies=OWNER)
def new_study(given: NewStudy, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Write a study file as `hepacast init --table` does."""
    root = site.places.roots[0]
    folder = root / file_name(re.sub(r"\s+", "-", given.name.strip()).upper())
    if (folder / STUDY_FILE).exists():
        raise StudyFileError("There is a study of this name already.", remedy="choose another name")
    code = site.places.code(folder)
    site.audit.add(account.name, account.role, "new-study", code)
    table = _into(site, site.places.within(given.table), folder)
    images = _into(site, site.places.within(given.images), folder) if given.images else None
    _, proposed = init_from_table(folder, table, given.recipe or None, images=images)
    path = folder / STUDY_FILE
    write_text(path, edit_study(path.read_text(encoding="utf-8"), {"name": given.name.strip()}))
    return {"code": code, "mapped": proposed.mapped, "unsure": proposed.unsure, "unmapped": proposed.unmapped}


def _into(site: Site, source: Path, folder: Path) -> Path:
    """What was dropped belongs to the study and moves into its folder; what lies elsewhere stays there."""
    if site.places.roots[0] / UPLOADS not in source.parents:
        if not source.exists():
            raise PlaceError("There is no such file.")
        return source
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / ("images" if source.is_dir() else source.name)
    shutil.move(source, target)
    return target


@router.get("/studies/{code}/cohort")
def cohort(code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """The study file, what its table probably holds, and what may be chosen."""
    site.audit.add(account.name, account.role, "see-cohort", code)
    text = (study / STUDY_FILE).read_text(encoding="utf-8-sig")
    values = study_values(text, where=STUDY_FILE)
    context = make_context(study, out=results_of(study))
    proposal, unread = _proposal_of(context)
    return {
        "version": version_of(text),
        "values": plain(values),
        "notes": comments(text, values),
        "headers": [] if proposal is None else _headers(proposal),
        "unread": unread,
        "quantities": {
            name: {"label": item.label, "units": known_units(item)} for name, item in known_quantities().items()
        },
        "definitions": [
            {
                "name": item.name,
                "title": item.title,
                "source": item.source,
                "parts": [{"name": part.name, "help": part.help} for part in item.parts],
            }
            for item in OUTCOME_DEFINITIONS.values()
        ],
    }


@router.get("/studies/{code}/judge")
def judge_saved(code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """What is found in the study as it is saved."""
    site.audit.add_once(account.name, account.role, "see-cohort", code)
    text = (study / STUDY_FILE).read_text(encoding="utf-8-sig")
    return _judged(make_context(study, out=results_of(study)), text)


@router.post("/studies/{code}/judge", dependencies=OWNER)
def judge(given: Edits, code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """What would be found after changes that are not saved."""
    site.audit.add_once(account.name, account.role, "see-cohort", code)
    text = _edited(site, study, given)
    context = make_context(study, out=results_of(study))
    return _judged(Context(parse_study(text), context.base, context.out, context.data), text)


@router.put("/studies/{code}/cohort", dependencies=OWNER)
def save(given: Edits, code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Save the study file."""
    text = _edited(site, study, given)
    if is_running(site, study):
        raise StudyFileError("The study is running.", remedy="stop it, or wait until it has ended")
    site.audit.add(account.name, account.role, "save-study", code)
    write_text(study / STUDY_FILE, text)
    return {"version": version_of(text)}


@router.get("/studies/{code}/file")
def study_file(code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, str]:
    """The study file as it stands."""
    site.audit.add(account.name, account.role, "see-study-file", code)
    return {"text": (study / STUDY_FILE).read_text(encoding="utf-8-sig")}


@router.post("/studies/{code}/images", dependencies=OWNER)
def find_images(given: PlaceGiven, code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """What a folder of images would add to the study file."""
    site.audit.add(account.name, account.role, "find-images", code)
    folder = site.places.within(given.path)
    context = make_context(study, out=results_of(study))
    proposal, unread = _proposal_of(context)
    if proposal is None:
        raise HepacastError(unread)
    found = propose_images(folder, proposal.raw.patients)
    return {"values": image_values(found, folder.as_posix()), "found": plain(found)}


@router.post("/studies/{code}/check", dependencies=OWNER)
def check(code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Begin all of `hepacast check`, images and masks too."""
    site.audit.add(account.name, account.role, "check", code)
    whole_checks.start(site, study)
    return whole_checks.status(site, study)


@router.get("/studies/{code}/check")
def checked(code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """How far the check is, or what it has found."""
    told = whole_checks.status(site, study)
    if told["state"] == "done":
        site.audit.add(account.name, account.role, "see-cohort", code)
    return told


def version_of(text: str) -> str:
    """By what a study file is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


def _edited(site: Site, study: Path, given: Edits) -> str:
    _require_inside(site, study, given.changes)
    text = (study / STUDY_FILE).read_text(encoding="utf-8-sig")
    if version_of(text) != given.version:
        raise StudyFileError(
            "The study file was changed meanwhile, by hand or in another window.", remedy="load the page again"
        )
    return edit_study(text, given.changes, where=STUDY_FILE)


def _require_inside(site: Site, study: Path, value: Any) -> None:
    """Refuse a text that, read as a path from the study's folder, leads out of the folders that may be read.

    Raises
    ------
    PlaceError
        There is one; the study file that a person has put into the served folder may name any.
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _require_inside(site, study, item)
    elif isinstance(value, str):
        filled = re.sub(r"\{[^}]*\}", "x", value)
        if filled != value and ".." in re.split(r"[/\\]", filled):
            raise PlaceError("A path with a placeholder leads out of its folder.", found=value)
        # ``nnunet:FOLDER`` holds a path too.
        for part in (filled, *filled.split(":")):
            site.places.within(study / Path(part).expanduser())


def _judged(context: Context, text: str) -> dict[str, Any]:
    result, seen = check_patients(context)
    return {
        "findings": whole_checks.findings_of(result),
        "facts": result.facts,
        "errors": sum(item.severity == "error" for _, item in result.findings),
        "flow": _flow(seen),
        "text": text,
    }


def _flow(seen: StudyJudgement) -> dict[str, Any] | None:
    """Numbers of the flow chart, as far as the cohort could be made."""
    if seen.cohort is not None:
        counts = plain(seen.cohort.flow.counts())
        for item in counts["excluded"]:
            item.pop("patients")
        return dict(counts)
    if seen.table is None:
        return None
    reasons: dict[str, int] = {}
    for reason in seen.left_out.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    excluded = [{"reason": reason, "n": n} for reason, n in reasons.items()]
    return {
        "reviewed": len(seen.table.patients),
        "excluded": excluded,
        "included": len(seen.patients),
        "sets": {},
    }


def _proposal_of(context: Context) -> tuple[TableProposal | None, str]:
    """What the study's table probably holds; or why it cannot be read as one that nobody has described."""
    try:
        path = context.path(context.study.cohort.table)
        facts = path.stat()
        return _read_once(path, facts.st_size, facts.st_mtime_ns), ""
    except (HepacastError, OSError) as error:
        return None, str(error)


@lru_cache(maxsize=8)
def _read_once(path: Path, size: int, changed: int) -> TableProposal:
    return propose_columns(path)


def _headers(proposal: TableProposal) -> list[dict[str, Any]]:
    return [
        {"header": proposal.id_header, "role": "id", "doubts": [], "words": []},
        *(
            {
                "header": item.header,
                "role": item.role,
                "doubts": list(item.doubts),
                "words": [word for word, _ in item.words][:50],
                "name": item.spec.name if item.spec else "",
            }
            for item in proposal.columns
        ),
    ]
