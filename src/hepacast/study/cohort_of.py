"""A cohort from whatever describes it: a study file, a results folder, or a table alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from hepacast.cohort import Cohort, read_cohort
from hepacast.cohort.cohort import FILES
from hepacast.cohort.sheets import frame_file, is_table
from hepacast.study.context import make_context
from hepacast.study.propose import init_from_table
from hepacast.study.stages.judging import build_cohort


def cohort_of(
    source: str | Path | pd.DataFrame, *, recipe: str | None = None, data: str | Path | None = None
) -> Cohort:
    """Table, outcome, sets and patient flow.

    Parameters
    ----------
    source
        A study file (or its folder), a results folder, or a table alone: a file or a DataFrame. What the columns of a
        table mean, which is the outcome, and how it is divided is then proposed, as `hepacast init --table` does;
        write the proposal with ``hepacast init`` and correct it where it is wrong.
    recipe
        With a table: the published study to follow.
    data
        Folder that ``{data}`` stands for in the study file.

    Raises
    ------
    HepacastError
        The table or the study file has errors; all of them are listed.
    """
    if isinstance(source, pd.DataFrame):
        with tempfile.TemporaryDirectory() as scratch:
            return _proposed(frame_file(source, Path(scratch)), recipe)
    for folder in (Path(source), Path(source) / "cohort"):
        if all((folder / name).is_file() for name in FILES):
            return read_cohort(folder)
    if is_table(source):
        return _proposed(Path(source), recipe)
    return build_cohort(make_context(source, data=data))


def _proposed(table: Path, recipe: str | None) -> Cohort:
    with tempfile.TemporaryDirectory() as scratch:
        study, _ = init_from_table(Path(scratch) / "study", table.absolute(), recipe)
        return build_cohort(make_context(study))
