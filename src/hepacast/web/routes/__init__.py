"""The routes of the application: one module a screen, each with its `router`."""

from __future__ import annotations

from fastapi import APIRouter

from hepacast.web.routes import cohort, masks, pacs, patient, report, runs, session, settings, statistics, studies

#: Every router; paths begin with ``/api``.
ROUTERS: tuple[APIRouter, ...] = (
    session.router,
    studies.router,
    patient.router,
    cohort.router,
    runs.router,
    masks.router,
    report.router,
    settings.router,
    pacs.router,
    statistics.router,
)
