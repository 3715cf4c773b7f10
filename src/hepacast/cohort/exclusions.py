"""Exclusion rules on columns: equal to, above, below, missing."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hepacast.cohort.columns import BINARY_WORDS, key_among, levels_meant, word_key
from hepacast.cohort.numbers import is_missing_word, parse_number
from hepacast.cohort.tables import ClinicalTable
from hepacast.errors import StudyFileError


def find_excluded(
    table: ClinicalTable,
    column: str,
    *,
    equals: object | Sequence[object] | None = None,
    above: float | None = None,
    below: float | None = None,
    missing: bool = False,
    filled: bool = False,
) -> list[str]:
    """Patients whom a rule leaves out; a missing value is left out by ``missing=True`` only.

    Parameters
    ----------
    table
        The clinical table.
    column
        Column of the study, or header of the file.
    equals
        Leave out this value, or these (words are compared as in the table, a level's words included).
    above, below
        Leave out values above or below, in the column's unit.
    missing
        Leave out patients without a value.
    filled
        Leave out patients with any value: in a column of remarks, whoever has one. A blank, and a word for "no value"
        (``-``, ``n/a``), is none.

    Raises
    ------
    StudyFileError
        No rule is given, or a limit is asked of a column that holds no numbers.
    """
    if equals is None and above is None and below is None and not (missing or filled):
        raise StudyFileError(
            f"The exclusion by {column!r} has no rule.", expected="equals, above, below, missing or filled"
        )
    values = table.values(column)
    out = pd.Series(False, index=values.index)
    raw = column not in table.frame.columns
    empty = values.map(lambda value: pd.isna(value) or (raw and is_missing_word(value))).astype(bool)
    if missing:
        out |= empty
    if filled:
        out |= ~empty
    if equals is not None:
        listed = list(equals) if isinstance(equals, list | tuple | set) else [equals]
        words, keys = _as_words(table, column, values), _keys(table, column, listed)
        if table.names_patients(column):
            _require_patients(words, listed, column)
        out |= words.map(lambda value: not pd.isna(value) and key_among(value, keys) in keys).astype(bool)
    if above is not None or below is not None:
        numbers = _numbers(values, column)
        if above is not None:
            out |= numbers > above
        if below is not None:
            out |= numbers < below
    return [str(patient) for patient in values.index[out.to_numpy(dtype=bool)]]


def _require_patients(patients: pd.Series, listed: Sequence[object], column: str) -> None:
    """A patient who is to be left out by name is in the table: another one would be left out of nothing."""
    known = set(patients.map(word_key))
    strangers = [str(item) for item in listed if word_key(item) not in known]
    if strangers:
        raise StudyFileError(
            f"The exclusion by {column!r} names who is not in the table.",
            expected="identifiers of the table",
            found=", ".join(strangers),
        )


def remarks_that_say_no(table: ClinicalTable, column: str) -> list[str]:
    """Patients whose remark is only a word for no (``none``, ``keine``, ``无``): hardly meant as a remark."""
    if column in table.frame.columns:
        return []
    values = table.values(column)
    return [str(patient) for patient, value in values.items() if not pd.isna(value) and word_key(value) in _NO_REMARK]


#: Words for no of a column of yes and no, and those for "nothing" in a column of remarks.
_NO_REMARK = frozenset(
    {*BINARY_WORDS[0], "none", "nil", "nothing", "keine", "keiner", "keines", "ohne", "o.b.", "无特殊"}
)


def _keys(table: ClinicalTable, column: str, words: Sequence[object]) -> set[str]:
    spec = table.spec(column) if column in table.frame.columns else None
    meant = levels_meant(spec, words) if spec is not None and spec.levels else words
    return {word_key(word) for word in meant}


def _as_words(table: ClinicalTable, column: str, values: pd.Series) -> pd.Series:
    """The values as words: a binary column holds 0 and 1, which may be other words in the table."""
    if column in table.frame.columns and table.spec(column).kind == "binary":
        return values.map(dict(enumerate(table.spec(column).level_names)))
    return values


def _numbers(values: pd.Series, column: str) -> pd.Series:
    parsed = values.map(lambda value: parse_number(None if pd.isna(value) else value))
    wrong = [str(value) for value, item in zip(values, parsed) if item.status in ("text", "ambiguous")]
    if wrong:
        raise StudyFileError(
            f"The exclusion by {column!r} needs numbers.",
            found=repr(wrong[0]),
            remedy="describe the column under `cohort: columns:` and use its name there",
        )
    return parsed.map(lambda item: item.value).astype("float64")
