"""The start: studies of the served folder."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hepacast.errors import StudyFileError
from hepacast.study.load import load_study
from hepacast.web.site import SiteOf

router = APIRouter()


@router.get("/studies")
def studies(site: SiteOf) -> list[dict[str, Any]]:
    """Every study: code, folder, name, whether it has been checked and run."""
    found = []
    for folder in site.places.studies():
        try:
            name, error = load_study(folder).name, ""
        except StudyFileError as problem:
            name, error = folder.name, problem.message
        results = folder / "results"
        found.append(
            {
                "code": site.places.code(folder),
                "folder": str(folder.relative_to(site.places.roots[0])),
                "name": name,
                "error": error,
                "report": (results / "report" / "report.html").is_file(),
                "model": (results / "model.hepacast").is_file(),
            }
        )
    return found
