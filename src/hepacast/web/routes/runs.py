"""A study's run: plan, start, stop, progress by server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from hepacast.core.records import plain
from hepacast.study.run import plan_study
from hepacast.web import jobs
from hepacast.web.site import OWNER, AccountOf, Site, SiteOf, StudyFolder

router = APIRouter(prefix="/studies/{code}")
#: Seconds between two looks at the progress, and after which a line is sent though nothing has changed.
_LOOK, _ALIVE = 0.5, 15.0


class StartGiven(BaseModel):
    """How a run is started."""

    workers: int = Field(0, ge=0, le=256)


@router.get("/plan")
def plan(study: StudyFolder) -> dict[str, Any]:
    """What `hepacast run --dry-run` says: stages, what is kept, time and memory."""
    made = plan_study(study, out=jobs.results_of(study))
    stages = []
    for item in made.stages:
        cost = None if item.cached else item.stage.cost(made.context)
        stages.append(
            {
                "name": item.name,
                "title": item.stage.title,
                "kept": item.cached,
                "seconds": cost.seconds if cost else 0.0,
                "memory": cost.memory if cost else 0.0,
            }
        )
    return {"stages": plain(stages), "text": made.text()}


@router.post("/run", dependencies=OWNER)
def start(given: StartGiven, code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """Start or go on."""
    site.audit.add(account.name, account.role, "run", code)
    jobs.start_run(site, study, given.workers)
    return jobs.status(site, study)


@router.post("/stop", dependencies=OWNER)
def stop(code: str, study: StudyFolder, site: SiteOf, account: AccountOf) -> dict[str, bool]:
    """Ask the run to stop; what is finished is kept."""
    site.audit.add(account.name, account.role, "stop", code)
    jobs.stop(site, study)
    return {"asked": True}


@router.get("/progress")
def progress(study: StudyFolder, site: SiteOf) -> dict[str, Any]:
    """How far the run is."""
    return jobs.status(site, study)


@router.get("/events")
async def events(request: Request, study: StudyFolder, site: SiteOf) -> StreamingResponse:
    """How far the run is, again whenever it changes."""
    return StreamingResponse(told(site, study, request), media_type="text/event-stream")


async def told(site: Site, study: Path, request: Request) -> AsyncIterator[str]:
    """Server-sent events until the browser goes away."""
    last, silent = "", 0.0
    while not await request.is_disconnected():
        now = json.dumps(await run_in_threadpool(jobs.status, site, study))
        if now != last or silent >= _ALIVE:
            last, silent = now, 0.0
            yield f"data: {now}\n\n"
        silent += _LOOK
        await asyncio.sleep(_LOOK)
