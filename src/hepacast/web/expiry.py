"""What browsers have sent of patients is deleted when its time has come, whether or not somebody looks at it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool

from hepacast.web import predictions
from hepacast.web.places import STUDY_FILE
from hepacast.web.routes import cohort, statistics
from hepacast.web.site import Site

log = logging.getLogger("hepacast.web")
#: Seconds between two looks.
_PAUSE = 600.0


def expire(site: Site, now: float | None = None) -> int:
    """Delete predictions, tables of statistics and uploads that no study took, once they are old: how many.

    Parameters
    ----------
    now
        Seconds since 1970; default the clock's.
    """
    before = (time.time() if now is None else now) - 3600 * predictions.KEPT_HOURS
    old = [*_predictions(site, before), *_older(site.state / statistics.FOLDER, before), *_uploads(site, before)]
    if old:
        site.audit.add("hepacast", "server", "expire")
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)


def _older(folder: Path, before: float) -> Iterator[Path]:
    if folder.is_dir():
        yield from (item for item in sorted(folder.iterdir()) if item.is_dir() and item.stat().st_mtime < before)


def _predictions(site: Site, before: float) -> Iterator[Path]:
    folder = site.state / predictions.FOLDER
    for item in sorted(folder.iterdir()) if folder.is_dir() else ():
        due = predictions.kept_until(item).timestamp() - 3600 * predictions.KEPT_HOURS
        if due < before and not predictions.is_alive(site, item.name):
            yield item


def _uploads(site: Site, before: float) -> Iterator[Path]:
    """A study may have been pointed at a folder of uploads by hand."""
    old = list(_older(site.places.roots[0] / cohort.UPLOADS, before))
    if old:
        told = [(study / STUDY_FILE).read_text(encoding="utf-8", errors="replace") for study in site.places.studies()]
        yield from (item for item in old if not any(item.name in text for text in told))


@asynccontextmanager
async def expiring(site: Site) -> AsyncIterator[None]:
    """Look again and again while the server runs, first when it starts."""
    task: asyncio.Task[Any] = asyncio.create_task(_look(site))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _look(site: Site) -> None:
    while True:
        try:
            await run_in_threadpool(expire, site)
        except Exception as error:
            log.error("%s while old files were deleted", type(error).__name__)
        await asyncio.sleep(_PAUSE)
