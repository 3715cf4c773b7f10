"""Statistics of a dropped table: the functions of `hepacast stats`, their tables and figures."""

from __future__ import annotations

import re
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from hepacast.core.files import write_json, write_text
from hepacast.core.tables import Table
from hepacast.core.views import page
from hepacast.study.statistics.result import StatisticsResult
from hepacast.web import analyses
from hepacast.web.places import PlaceError
from hepacast.web.site import REVIEWER, AccountOf, Site, SiteOf
from hepacast.web.uploads import Limits, UploadError, received

router = APIRouter(prefix="/statistics")
FOLDER, TABLE, RESULT = "tables", "table", "result"
#: A table, not images.
_LIMITS = Limits(files=1, bytes=256 * 2**20)
_TOKEN = re.compile(r"[0-9a-f]{32}")
_TYPES = {
    ".png": "image/png", ".svg": "image/svg+xml", ".pdf": "application/pdf", ".json": "application/json",
    ".csv": "text/csv", ".txt": "text/plain",
}  # fmt: skip


class AnalysisAsked(BaseModel):
    """Which table, how it is read, and the options of the analysis."""

    table: str = ""
    sheet: str | None = None
    decimal: Literal["auto", ".", ","] = "auto"
    categorical: list[str] = Field(default_factory=list)
    levels: dict[str, list[str]] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


@router.get("")
def offered() -> dict[str, Any]:
    """Every analysis with its options."""
    return {name: [asdict(item) for item in options] for name, options in analyses.ANALYSES.items()}


@router.post("/tables", dependencies=REVIEWER)
async def take(request: Request, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Take a table, and say what its columns are."""
    token = secrets.token_hex(16)
    folder = site.state / FOLDER / token
    site.audit.add(account.name, account.role, "take-table")
    try:
        sent = await received(request, folder / TABLE, _LIMITS)
        if len(sent.files) != 1:
            raise UploadError("This is no table.", expected="CSV, Excel, Parquet, SPSS or Stata")
        told = await run_in_threadpool(_described, site, AnalysisAsked(table=token))
    except BaseException:
        await run_in_threadpool(shutil.rmtree, folder, True)
        raise
    return {"table": token, "name": sent.files[0].name, **told}


@router.post("/columns")
def columns(asked: AnalysisAsked, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """What the columns are when the table is read as it is said."""
    site.audit.add(account.name, account.role, "see-table")
    return _described(site, asked)


def _described(site: Site, asked: AnalysisAsked) -> dict[str, Any]:
    table = _asked(site, asked).load()
    return {"rows": len(table), "columns": analyses.described(table), "notes": list(table.notes)}


@router.post("/run/{name}", dependencies=REVIEWER)
def analyze(name: str, asked: AnalysisAsked, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Analyze; the answer's page, and the files to take along."""
    table = None if name in analyses.WITHOUT_TABLE else _asked(site, asked)
    site.audit.add(account.name, account.role, f"analyze-{name}" if name in analyses.ANALYSES else "analyze")
    result = analyses.run(name, table, asked.options)
    token = asked.table if table is not None else secrets.token_hex(16)
    number = secrets.token_hex(4)
    folder = site.state / FOLDER / token / RESULT / number
    _write(result, name, folder)
    files = sorted(path.name for path in folder.iterdir())
    return {"table": token, "result": number, "parts": analyses.shown(result), "files": files}


def _write(result: StatisticsResult, name: str, folder: Path) -> None:
    """Numbers, tables, text and figures."""
    write_json(folder / f"{name}.json", analyses.numbers_of(result))
    write_text(folder / f"{name}.txt", f"{result.text()}\n")
    tables = [part for part in page(result) if isinstance(part, Table)]
    for place, part in enumerate(tables):
        write_text(folder / f"{name}{f'-{place + 1}' if len(tables) > 1 else ''}.csv", f"\ufeff{part.to_csv()}")
    result.save_figures(folder)


@router.get("/files/{token}/{result}/{name}")
def file(token: str, result: str, name: str, site: SiteOf, account: AccountOf) -> FileResponse:
    """A file of a result."""
    path = _folder(site, token) / RESULT / result / name
    good = re.fullmatch(r"[0-9a-f]{8}", result) and re.fullmatch(r"[\w.-]+", name) and not name.startswith(".")
    if not good or path.suffix not in _TYPES or not path.is_file():
        raise PlaceError("There is no such file of this result.")
    site.audit.add(account.name, account.role, "see-statistics")
    return FileResponse(path, media_type=_TYPES[path.suffix], filename=name)


@router.delete("/tables/{token}", dependencies=REVIEWER)
def forget(token: str, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Delete a table and all that was made of it."""
    folder = _folder(site, token)
    site.audit.add(account.name, account.role, "forget-table")
    shutil.rmtree(folder)
    return {"forgotten": True}


def _folder(site: Site, token: str) -> Path:
    folder = site.state / FOLDER / token
    if not _TOKEN.fullmatch(token) or not folder.is_dir():
        raise PlaceError("There is no such table.", remedy="drop it again")
    return folder


def _asked(site: Site, asked: AnalysisAsked) -> analyses.TableAsked:
    found = next((_folder(site, asked.table) / TABLE).iterdir())
    return analyses.TableAsked(
        found, asked.sheet or None, asked.decimal, tuple(asked.categorical), asked.levels or None
    )
