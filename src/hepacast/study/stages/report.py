"""Stage 7, report: tables, figures and texts of the results."""

from __future__ import annotations

from pathlib import Path

from hepacast.report import build_report
from hepacast.report.results import STAGES as READ
from hepacast.study.context import Context
from hepacast.study.stage import Cost, Stage, study_parts


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    build_report(context.out, formats=tuple(context.study.report.formats), out=folder)


STAGE = Stage(
    name="report",
    title="tables, figures, Methods text",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(context, "name", "report", "intended_use"),
    cost=lambda context: Cost(40.0, 6e8),
    needs=READ,
)
