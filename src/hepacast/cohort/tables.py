"""`read_table`: a hospital's table, as it is, becomes a typed `ClinicalTable` with everything said that was assumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hepacast.cohort.columns import ColumnSpec, nearest
from hepacast.cohort.findings import Finding, accept, condense, raise_on_errors, sort_findings
from hepacast.cohort.headers import find_header, split_header
from hepacast.cohort.infer import infer_columns
from hepacast.cohort.joining import RawTable, join_sheets
from hepacast.cohort.known_columns import find_known
from hepacast.cohort.layout import CellProblem, CodedCell
from hepacast.cohort.matching import match_headers, nearest_headers
from hepacast.cohort.numbers import CensoredPolicy, FileDecimal
from hepacast.cohort.parsing import file_decimal_of, parse_column
from hepacast.cohort.quantities import unit_key
from hepacast.cohort.redcap import read_dictionary, with_dictionary
from hepacast.cohort.sheets import Sheet, read_sheets
from hepacast.core.hashing import hash_file
from hepacast.errors import StudyFileError, TableError

#: Longer labels are questions of a form rather than names for tables and figures.
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class TableProvenance:
    """Where a table came from, without any path of the machine."""

    file: str = ""
    sha256: str = ""
    sheets: tuple[str, ...] = ()
    encoding: str = ""
    delimiter: str = ""
    decimal: str = ""
    rows: int = 0
    id_header: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClinicalTable:
    """Typed clinical columns of a cohort.

    Parameters
    ----------
    frame
        One row per patient (index: identifier as text), one column per `specs` entry: float64 for numeric and binary
        columns (0 and 1), level names for categorical ones, datetime64 for dates; missing is NaN, None or NaT.
    specs
        The columns, completed with unit, plausible range and levels.
    findings
        Everything that reading had to say.
    provenance
        The file and how it was read.
    raw
        All columns of the file as text or numbers, under their headers (for exclusions and splits).
    rows
        Row of each patient as Excel counts.
    absent
        Columns of the study that the file does not have (`read_table` with ``absent="report"``).
    """

    frame: pd.DataFrame
    specs: tuple[ColumnSpec, ...]
    findings: tuple[Finding, ...] = ()
    provenance: TableProvenance = TableProvenance()
    raw: pd.DataFrame | None = None
    rows: pd.Series | None = None
    absent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.frame.index.is_unique:
            raise TableError("A patient stands twice in the clinical table.", remedy="keep one row per patient")
        if list(self.frame.columns) != [spec.name for spec in self.specs]:
            raise TableError("The clinical table's columns do not match their descriptions.")

    @property
    def patients(self) -> list[str]:
        """Identifiers in the table's order."""
        return list(self.frame.index)

    def spec(self, name: str) -> ColumnSpec:
        """The description of one column.

        Raises
        ------
        TableError
            There is no such column; the message names the nearest.
        """
        for item in self.specs:
            if item.name == name:
                return item
        names = [item.name for item in self.specs]
        raise TableError(
            f"The study has no column {name!r}.", expected=", ".join(names), remedy=nearest(name, names) or None
        )

    def values(self, name: str) -> pd.Series:
        """A column by the study's name, else the raw cells under that header of the file (the identifiers too)."""
        if name in self.frame.columns:
            return self.frame[name]
        if self.raw is not None:
            found = find_header(list(self.raw.columns), [name])
            if len(found) == 1:
                return self.raw[found[0]]
            if self.names_patients(name):
                return pd.Series(self.patients, index=self.frame.index, dtype=object)
            raise self._no_such_column(name)
        return self.frame[self.spec(name).name]

    def names_patients(self, name: str) -> bool:
        """Whether a header is that of the identifiers, and of no other column."""
        others = [*self.frame.columns, *(() if self.raw is None else map(str, self.raw.columns))]
        return not find_header(others, [name]) and bool(find_header([self.provenance.id_header], [name]))

    def _no_such_column(self, name: str) -> TableError:
        headers = [] if self.raw is None else [str(head) for head in self.raw.columns]
        same = [head for head in headers if find_known(name) and find_known(head) == find_known(name)]
        near = same or nearest_headers([name], [*self.frame.columns, *headers])
        return TableError(
            f"The table has no column {name!r}.",
            expected="a column of the study (" + ", ".join(self.frame.columns) + ") or a header of the file",
            found=", ".join(headers[:12]) + (", ..." if len(headers) > 12 else ""),
            remedy=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
        )

    def row_of(self, patient: str) -> int | None:
        """The patient's row as Excel counts, when known."""
        if self.rows is None or patient not in self.rows.index:
            return None
        return int(self.rows[patient])

    @property
    def candidates(self) -> list[str]:
        """Names of the candidate predictors."""
        return [item.name for item in self.specs if item.role == "candidate"]

    def predictors(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """The candidates as models use them: `ColumnSpec.log` applied, categorical columns as ordered categories."""
        chosen = self.candidates if names is None else list(names)
        columns = {name: model_values(self.frame[self.spec(name).name], self.spec(name)) for name in chosen}
        return pd.DataFrame(columns, index=self.frame.index)

    def select(self, patients: Iterable[str]) -> ClinicalTable:
        """The table of some patients, in the order given."""
        order = list(patients)
        raw = self.raw.loc[order] if self.raw is not None else None
        rows = self.rows.loc[order] if self.rows is not None else None
        return replace(self, frame=self.frame.loc[order], raw=raw, rows=rows)

    def with_findings(self, findings: Iterable[Finding]) -> ClinicalTable:
        """The table with further findings, those that the author accepted turned into notes."""
        accepted = {item.name: item.accept for item in self.specs}
        return replace(self, findings=sort_findings((*self.findings, *accept(findings, accepted))))

    def to_columns_json(self) -> list[dict[str, Any]]:
        """The content of ``columns.json``."""
        return [item.to_json() for item in self.specs]


def model_values(values: pd.Series, spec: ColumnSpec) -> pd.Series:
    """One column as a model uses it: logarithm applied, categories in order.

    Raises
    ------
    TableError
        A logarithm is asked of zero or of negative values.
    """
    if spec.kind == "categorical":
        return pd.Series(pd.Categorical(values, categories=list(spec.level_names)), index=values.index, name=spec.name)
    if not spec.log:
        return values
    shifted = values + 1 if spec.log == "log10p1" else values
    bad = shifted.index[shifted <= 0]
    if len(bad):
        raise TableError(
            f"The logarithm of {spec.name!r} does not exist for {len(bad)} patients.",
            found=f"values of 0 or less, first patient {bad[0]}",
            remedy="use `log: log10p1`, or correct the values",
        )
    function = {"ln": np.log, "log2": np.log2, "log10": np.log10, "log10p1": np.log10}[spec.log]
    return pd.Series(function(shifted), index=values.index, name=spec.name)


def read_table(
    path: str | Path,
    *,
    id_column: str,
    columns: Sequence[ColumnSpec] | None = None,
    sheet: str | Sequence[str] | None = None,
    header_row: int | Literal["auto"] = "auto",
    decimal: Literal["auto", ".", ","] = "auto",
    censored: CensoredPolicy = "half",
    absent: Literal["raise", "report"] = "raise",
    dictionary: str | Path | None = None,
) -> ClinicalTable:
    """Read a clinical table from CSV, Excel, Parquet, SPSS or Stata.

    It has findings for every cell that is no value, was censored, converted or assumed. Errors among them do not raise
    here: `hepacast.cohort.raise_on_errors` does.

    Parameters
    ----------
    path, id_column, dictionary
        The file, the header of its patient identifier, and for an export of REDCap its data dictionary.
    columns
        The columns of the study; None recognizes them by name and content (roles ``covariate``, so that nothing
        becomes a predictor unasked).
    sheet
        One or several Excel sheets; None joins all that have the ID column.
    header_row
        Row of the headers as Excel counts; ``auto`` looks for the ID column beneath title rows.
    decimal
        Decimal mark of numbers kept as text; ``auto`` takes the one that the cells prove, and refuses cells that
        can be read in two ways.
    censored
        What ``<0.8`` and ``>1000`` become: ``half`` (0.4; 1000), ``limit`` (0.8; 1000) or ``missing``.
    absent
        A column without a clear header: ``raise`` one error that lists all of them, or ``report`` each as an error
        finding and read the others; then remarks on cells are not put together either.

    Raises
    ------
    TableError
        The file, a sheet, the ID column or a column is missing, or a header is not clear or stands twice.
    """
    path = Path(path)
    sheets = _sheets(path, id_column, None if header_row == "auto" else header_row, dictionary)
    raw, findings = join_sheets(sheets, id_column=id_column, sheet=sheet)
    specs = list(columns) if columns is not None else infer_columns(raw)
    _check_names(specs)
    headers, unmatched = match_headers(specs, raw)
    if absent == "raise":
        raise_on_errors(unmatched, where=path.name)
    file_decimal = file_decimal_of(raw.sheets, leave_out=raw.id_headers)
    parsed = [
        _parse(raw, spec, headers[spec.name], decimal, file_decimal, censored) for spec in specs if spec.name in headers
    ]
    provenance = _provenance(path, raw, headers, decimal if decimal != "auto" else file_decimal)
    lacking = tuple(spec.name for spec in specs if spec.name not in headers)
    findings += [*unmatched, *(remark for _, _, remarks in parsed for remark in remarks)]
    # Equal remarks on many cells are put together for a reader; who judges goes on patient by patient.
    findings = condense(findings) if absent == "raise" else findings
    return _typed(raw, parsed, headers, provenance, lacking).with_findings(findings)


def _sheets(path: Path, id_column: str, header_row: int | None, dictionary: str | Path | None) -> list[Sheet]:
    sheets = read_sheets(path, id_column=id_column, header_row=header_row)
    if dictionary is None:
        return sheets
    fields = read_dictionary(dictionary)
    return [with_dictionary(item, fields) for item in sheets]


def _typed(
    raw: RawTable,
    parsed: Sequence[tuple[pd.Series, ColumnSpec, list[Finding]]],
    headers: Mapping[str, str],
    provenance: TableProvenance,
    lacking: tuple[str, ...],
) -> ClinicalTable:
    """The table of columns that were read, with the cells that they were read from."""
    patients = list(raw.patients)
    frame = pd.DataFrame(
        {spec.name: series.reindex(patients) for series, spec, _ in parsed},
        index=pd.Index(patients, name="patient", dtype=object),
    )
    specs = tuple(_labelled(spec, raw.label_of(headers[spec.name])) for _, spec, _ in parsed)
    rows = pd.Series({patient: raw.row_of(patient) for patient in patients}, dtype="Int64", name="row")
    return ClinicalTable(frame, specs, (), provenance, _raw_frame(raw), rows, lacking)


def _provenance(path: Path, raw: RawTable, headers: Mapping[str, str], decimal: str) -> TableProvenance:
    used = set(headers.values())
    return TableProvenance(
        file=path.name,
        sha256=hash_file(path),
        sheets=tuple(item.name for item in raw.sheets),
        encoding=raw.sheets[0].encoding,
        delimiter=raw.sheets[0].delimiter,
        decimal=decimal,
        rows=len(raw.patients),
        id_header=raw.id_headers[0],
        headers=tuple(headers.items()),
        unused=tuple(head for head in raw.headers if head not in used),
    )


def _parse(
    raw: RawTable,
    spec: ColumnSpec,
    header: str,
    decimal: Literal["auto", ".", ","],
    file_decimal: FileDecimal,
    censored: CensoredPolicy,
) -> tuple[pd.Series, ColumnSpec, list[Finding]]:
    cells, findings = raw.collect(header, spec.sheet)
    below = raw.units_below(header, spec.sheet)
    unit = raw.unit_below(header, spec.sheet) or split_header(header)[1]
    if len({unit_key(text) for text in below.values()}) > 1:
        given = ", ".join(f"{text or 'none'} in {name}" for name, text in below.items())
        message = f"the sheets do not give one unit beneath {header!r}: {given}; write the same unit into all of them"
        findings.append(Finding("error", "unit-conflict", message, column=spec.name))
    series, spec, more = parse_column(
        spec,
        cells,
        header_unit=unit,
        decimal=decimal,
        file_decimal=file_decimal,
        date1904=raw.date1904,
        censored=censored,
    )
    return series, spec, findings + more


def _labelled(spec: ColumnSpec, label: str) -> ColumnSpec:
    """A column that the study file gives no label takes that of SPSS or REDCap."""
    unnamed = spec.label == spec.name.replace("_", " ")
    bare = split_header(label)[0]
    return replace(spec, label=bare) if unnamed and 0 < len(bare) <= _LONGEST_LABEL else spec


def _check_names(specs: Sequence[ColumnSpec]) -> None:
    names = [spec.name for spec in specs]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise StudyFileError(f"The column {double[0]!r} is described twice.", remedy="give each column its own name")


def _raw_frame(raw: RawTable) -> pd.DataFrame:
    columns = {}
    for header in raw.headers:
        if any(sheet.headers.count(header) > 1 for sheet in raw.sheets):
            continue
        columns[header] = [_raw_value(value) for value in raw.values(header)]
    return pd.DataFrame(columns, index=pd.Index(list(raw.patients), name="patient", dtype=object), dtype=object)


def _raw_value(value: Any) -> Any:
    if isinstance(value, CellProblem) or (isinstance(value, str) and not value.strip()):
        return None
    return value.strip() if isinstance(value, str) and not isinstance(value, CodedCell) else value
