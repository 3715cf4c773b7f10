"""Features made elsewhere, given as a table with one row a patient."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hepacast.cohort import Finding
from hepacast.cohort.joining import clean_id
from hepacast.errors import TableError
from hepacast.study.context import Context


def table_path(context: Context) -> Path:
    """The feature table of the study file.

    Raises
    ------
    TableError
        The file does not exist.
    """
    assert context.study.features.table is not None
    path = context.path(context.study.features.table)
    if not path.is_file():
        raise TableError("The feature table does not exist.", where=str(path), remedy="check features.table")
    return path


def read_feature_table(context: Context) -> tuple[pd.DataFrame, list[Finding]]:
    """Read the table as wide features, columns ``voi:feature``, and say what was left out.

    Raises
    ------
    TableError
        The identifier is missing or not unique, or no column is a feature.
    """
    features = context.study.features
    path = table_path(context)
    frame = _read(path)
    name = features.id or context.study.cohort.id
    if name not in frame.columns:
        raise TableError(
            "The feature table has no identifier column.",
            expected=f"a column {name!r} (features.id)",
            found=", ".join(map(str, frame.columns[:6])) + ", ...",
            where=str(path),
        )
    index = pd.Index([clean_id(value) for value in frame[name]], name="patient", dtype=object)
    double = index[index.duplicated()].unique().tolist()
    if double:
        raise TableError(
            "A patient stands twice in the feature table.",
            found=", ".join(double[:10]),
            where=str(path),
            remedy="keep one row a patient (for several lesions, choose one or measure their union)",
        )
    wide, findings = {}, []
    ignored = {name, *features.ignore}
    for header in frame.columns:
        if header in ignored:
            continue
        column = _feature_name(str(header), features.vois)
        values = pd.to_numeric(frame[header], errors="coerce")
        if column is None or values.notna().sum() == 0:
            why = "its name begins with no VOI prefix" if column is None else "it holds no numbers"
            findings.append(Finding("note", "not-a-feature", f"column {header!r} is no feature: {why}"))
            continue
        if _counts_rows(values):
            why = "it numbers the patients (where they are sorted by outcome, the number gives it away)"
            findings.append(Finding("warning", "not-a-feature", f"column {header!r} is left out: {why}"))
            continue
        text = int((values.isna() & frame[header].notna()).sum())
        if text:
            findings.append(Finding("warning", "not-a-number", f"{text} cells of {header!r} are no numbers: missing"))
        wide[column] = values.to_numpy(float)
    if not wide:
        raise TableError("The feature table has no feature columns.", where=str(path), remedy="check features.vois")
    return pd.DataFrame(wide, index=index), findings


def _counts_rows(values: pd.Series) -> bool:
    """Whether a column of at least ten rows goes up by one from row to row."""
    return len(values) >= 10 and bool((values.diff().iloc[1:] == 1).all())


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if path.suffix.lower() in (".xlsx", ".xls"):
            return pd.read_excel(path)
        return pd.read_csv(path, low_memory=False)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise TableError("The feature table cannot be read.", found=str(error), where=str(path)) from error


def _feature_name(header: str, prefixes: dict[str, str]) -> str | None:
    if not prefixes:
        return header if ":" in header else f"voi:{header}"
    for voi, prefix in prefixes.items():
        if header.startswith(prefix):
            return f"{voi}:{header[len(prefix) :]}"
    return None
