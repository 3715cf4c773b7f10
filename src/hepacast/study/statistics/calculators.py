"""`hepacast score`: staging systems and indexes of one patient, or as columns of a table."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from hepacast.cohort.columns import nearest
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import choose_sheets
from hepacast.cohort.known_columns import id_header, id_names
from hepacast.cohort.one_sheet import refuse_repeated_headers
from hepacast.cohort.scores import SCORES, compute_score, get_score, score_table
from hepacast.cohort.scores.base import Score, ScoreResult, describe_input
from hepacast.cohort.scores.table import usable
from hepacast.cohort.sheets import frame_file, read_sheets
from hepacast.cohort.tables import ClinicalTable, read_table
from hepacast.core import views
from hepacast.core.formatting import short
from hepacast.core.tables import make_table
from hepacast.errors import StudyFileError, TableError
from hepacast.study.statistics.result import StatisticsResult, note_lines


def list_scores() -> str:
    """All scores with their titles and inputs."""
    rows = [(score.name, score.title, ", ".join(item.name for item in score.inputs)) for score in SCORES.values()]
    return make_table("", ("Score", "Title", "Inputs"), rows).to_text()


def explain_score(name: str) -> str:
    """Inputs, formula, grades and source of one score.

    Raises
    ------
    StudyFileError
        There is no such score.
    """
    score = get_score(name)
    inputs = [
        f"  {item.name}: {describe_input(item)}" + ("" if item.default is None else f" [default {item.default}]")
        for item in score.inputs
    ]
    return "\n".join([f"{score.name}: {score.title}", "Inputs:", *inputs, *_about(score)])


def _about(score: Score) -> list[str]:
    lines = [f"Formula: {score.formula}"]
    if score.grades:
        lines.append(f"Grades: {score.grades}")
    lines.append(f"Source: {score.source}")
    return [*lines, f"Note: {score.note}"] if score.note else lines


@dataclass(frozen=True, repr=False)
class PatientScore(ScoreResult, StatisticsResult):
    """A score of one patient, and what was given for it."""

    given: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row."""
        return pd.DataFrame([{"score": self.name, "value": self.value, "grade": self.grade}])


@views.page.register
def _(found: PatientScore) -> Sequence[str]:
    """Value, grade, formula, source, and what entered."""
    score = get_score(found.name)
    lines = [f"{score.name} ({score.title})"]
    if score.ordered:
        lines.append(f"Stage: {found.grade}")
    else:
        lines.append(f"Value: {short(found.value)}")
        if found.grade:
            lines.append(f"Grade: {found.grade}")
    units = {item.name: item.unit for item in score.inputs}
    parts = ", ".join(f"{name} {_part(value)} {units.get(name, '')}".rstrip() for name, value in found.parts.items())
    return ("\n".join([*lines, f"From: {parts}", *_about(score)]),)


def _part(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return short(value, 6) if isinstance(value, float) else str(value)


def score(
    name: str, source: Mapping[str, Any] | str | Path | pd.DataFrame | None = None, **more: Any
) -> PatientScore | TableScores:
    """A score of one patient, or scores as columns of a table.

    Parameters
    ----------
    name
        The score, as ``ALBI``; of a table several, separated by commas, or ``all``.
    source
        Inputs by name, or a table (then `more` are the options of `score_columns`).
    more
        Inputs by name: ``bilirubin="20 umol/L", albumin="38 g/L"``.

    Raises
    ------
    StudyFileError, TableError
        An unknown score or input; an input that is missing, has no unit, or is not possible.
    """
    if isinstance(source, pd.DataFrame):
        with tempfile.TemporaryDirectory() as scratch:
            return score_columns(name, frame_file(source, Path(scratch)), **more)
    if isinstance(source, str | Path):
        return score_columns(name, source, **more)
    values = {**(source or {}), **more}
    chosen = get_score(name)
    known = {item.name for item in chosen.inputs}
    tidy = {key if key in known else key.replace("-", "_").casefold(): value for key, value in values.items()}
    return PatientScore(**vars(compute_score(chosen.name, tidy)), given=tidy)


@dataclass(frozen=True, repr=False)
class TableScores(StatisticsResult):
    """Scores of every patient, beside the table's own columns.

    Attributes
    ----------
    scores
        Names.
    patients
        One row a patient: identifier, then value, grade and reason of each score.
    original
        The table's own columns.
    """

    scores: tuple[str, ...]
    patients: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    columns: pd.DataFrame = field(default_factory=pd.DataFrame, metadata={"stored": False})
    original: pd.DataFrame = field(default_factory=pd.DataFrame, metadata={"stored": False})

    def to_frame(self) -> pd.DataFrame:
        """The table's own columns, then those of the scores."""
        return self.original.join(self.columns.set_axis(self.original.index, axis=0))

    def write(self, path: str | Path) -> Path:
        """Write the table with the new columns (.csv, .xlsx or .parquet).

        Raises
        ------
        TableError
            The suffix is none of these.
        """
        from hepacast.core.files import atomic_path
        from hepacast.core.texts import cells

        target, frame = Path(path), self.to_frame()
        if target.suffix.casefold() != ".csv":
            # A CSV keeps every cell as it was; the other kinds need one type a column.
            frame = frame.apply(_one_type)
        if target.suffix.casefold() != ".parquet":
            frame = cells(frame)
        writers: dict[str, Any] = {".csv": frame.to_csv, ".xlsx": frame.to_excel, ".parquet": frame.to_parquet}
        writer = writers.get(target.suffix.casefold())
        if writer is None:
            raise TableError("Unknown kind of table.", expected=", ".join(writers), found=target.name)
        with atomic_path(target) as temporary:
            writer(temporary, index=False)
        return target


@views.page.register
def _(found: TableScores) -> Sequence[str]:
    """How many could be computed, grades, reasons of the others."""
    parts = []
    for name in found.scores:
        values, grades = found.columns[name], found.columns[f"{name}_grade"]
        known = values.notna() | (grades != "")
        lines = [f"{name}: {int(known.sum())} of {len(values)} patients."]
        counts = grades[grades != ""].value_counts().sort_index()
        if len(counts) and len(counts) <= 12:
            lines.append("  grades: " + ", ".join(f"{grade} {count}" for grade, count in counts.items()))
        if values.notna().any() and not get_score(name).ordered:
            lines.append(f"  median {short(values.median())} ({short(values.min())} to {short(values.max())})")
        reasons = found.columns.loc[~known, f"{name}_reason"].value_counts()
        lines.extend(f"  not computed, {count}: {reason}" for reason, count in reasons.items())
        parts.append("\n".join(lines))
    return [*parts, note_lines(found.notes)]


def score_columns(
    names: str | Sequence[str],
    source: str | Path,
    *,
    id_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    sheet: str | None = None,
    decimal: Literal["auto", ".", ","] = "auto",
    dictionary: str | Path | None = None,
) -> TableScores:
    """Scores as columns of a table.

    Parameters
    ----------
    names
        Scores, separated by commas; ``all`` for those whose inputs all have a column.
    id_column
        Header of the patient identifier; a usual one is recognized.
    columns
        Input -> column, where the names differ.
    sheet, decimal, dictionary
        As in `hepacast.cohort.read_table`.

    Raises
    ------
    StudyFileError, TableError
        An unknown score or input, no identifier, or a table that cannot be read.
    """
    headers = _headers(source, id_column, sheet)
    header = _only(headers, id_column) if id_column else _identifier(headers)
    clinical = read_table(source, id_column=header, sheet=sheet, decimal=decimal, dictionary=dictionary)
    mapping = {
        key.replace("-", "_"): _spec_name(clinical, _only(headers, name)) for key, name in (columns or {}).items()
    }
    if names == "all":
        chosen = usable(clinical, mapping)
        if not chosen:
            raise TableError("The table has the columns of no score.", found=", ".join(headers[:20]))
    else:
        parts = names.split(",") if isinstance(names, str) else list(names)
        chosen = [get_score(part.strip()).name for part in parts]
    scores = score_table(clinical, chosen, mapping)
    assert clinical.raw is not None
    original = clinical.raw.reset_index(drop=True)
    original.insert(min(headers.index(header), original.shape[1]), header, clinical.patients)
    used = sorted({item.name for name in chosen for item in get_score(name).inputs})
    notes = [
        f"{finding.message}" for finding in clinical.findings if finding.column is None or finding.column in
        {spec.name for spec in clinical.specs if spec.name in used or spec.quantity in used}
    ]  # fmt: skip
    table = scores.reset_index(names=header)
    patients = tuple(dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None))
    return TableScores(tuple(chosen), patients, tuple(dict.fromkeys(notes)), scores, original)


def _one_type(column: pd.Series) -> pd.Series:
    if column.dtype != object:
        return column
    numbers = pd.to_numeric(column, errors="coerce")
    leading_zero = column.map(lambda cell: isinstance(cell, str) and cell[:1] == "0" and cell[1:2].isdigit()).any()
    if numbers.notna().equals(column.notna()) and not leading_zero:
        return numbers
    return column.map(lambda cell: None if cell is None else str(cell))


def _identifier(headers: Sequence[str]) -> str:
    usual = id_header(headers)
    if usual:
        return usual
    # `TCIA_ID`, `Study ID`: taken where only one header ends like this.
    ending = [header for header in headers if header.strip().casefold().replace(" ", "_").endswith("_id")]
    if len(ending) == 1:
        return ending[0]
    raise TableError(
        "The table has no column that is known to be the patient's identifier.",
        expected=", ".join(id_names()[:5]),
        found=", ".join(headers[:20]),
        remedy="name it with --id",
    )


def _headers(source: str | Path, id_column: str | None, sheet: str | None) -> list[str]:
    """All headers of the sheets that are read, each once; one that stands twice in a sheet is refused."""
    sheets, _ = choose_sheets(read_sheets(source, id_column=id_column or ""), sheet)
    for item in sheets:
        refuse_repeated_headers(item, item.name)
    return list(dict.fromkeys(name for item in sheets for name in item.headers))


def _only(headers: Sequence[str], name: str) -> str:
    """The one header that a name means."""
    found = find_header(headers, [name])
    if len(found) != 1:
        raise TableError(
            f"The table has no column {name!r}." if not found else f"Several columns may be meant by {name!r}.",
            expected=", ".join(found or headers[:20]),
            found=name,
            remedy=nearest(name, headers) or None,
        )
    return found[0]


def _spec_name(clinical: ClinicalTable, header: str) -> str:
    for spec in clinical.specs:
        if header in spec.source or header == spec.name:
            return spec.name
    raise StudyFileError(f"The column {header!r} was not understood.", expected="a column of the table", found=header)
