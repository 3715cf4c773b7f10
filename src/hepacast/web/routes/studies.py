"""The start: studies of the served folder, and demos."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from hepacast.errors import StudyFileError
from hepacast.study.demos import DEMOS, MINUTES
from hepacast.study.load import load_study
from hepacast.web import jobs
from hepacast.web.site import OWNER, AccountOf, SiteOf

router = APIRouter()


class DemoGiven(BaseModel):
    """A demo, and how many virtual patients it gets (its own number if left out)."""

    recipe: str
    training: int | None = Field(None, ge=40, le=2000)
    validation: int | None = Field(None, ge=20, le=2000)


@router.get("/studies")
def studies(site: SiteOf) -> dict[str, Any]:
    """Every study (code, folder, name, how far it is), demos that are being made, demos that may be."""
    found = []
    for folder in site.places.studies():
        try:
            name, error = load_study(folder).name, ""
        except StudyFileError as problem:
            name, error = folder.name, problem.message
        told = jobs.status(site, folder)
        found.append(
            {
                "code": site.places.code(folder),
                "folder": folder.relative_to(site.places.roots[0]).as_posix(),
                "name": name,
                "error": error,
                "state": told["state"],
                "report": told["report"],
            }
        )
    return {
        "studies": found,
        "preparing": jobs.preparing(site),
        "demos": [{"recipe": name, "minutes": MINUTES[name]} for name in DEMOS],
    }


@router.post("/demo", dependencies=OWNER)
def demo(given: DemoGiven, site: SiteOf, account: AccountOf) -> dict[str, str]:
    """Make virtual patients and run their study."""
    site.audit.add(account.name, account.role, "demo")
    return {"code": site.places.code(jobs.start_demo(site, given.recipe, given.training, given.validation))}
