"""Columns that are no measured quantity but known by their names: sex, center, Child-Pugh class, patient's number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hepacast.cohort.quantities import name_key


@dataclass(frozen=True)
class KnownColumn:
    """One known column.

    Parameters
    ----------
    name
        The study's name for it.
    role
        ``id``, ``hospital number``, ``center``, ``set``, ``outcome``, ``time``, ``remark``, or empty for a covariate.
    label
        How tables and figures print it.
    names
        Names in English, German and Chinese.
    """

    name: str
    role: str
    label: str
    names: tuple[str, ...]


@cache
def known_columns() -> dict[str, KnownColumn]:
    """Every known column by name."""
    import yaml

    text = files("hepacast.cohort").joinpath("known_columns.yaml").read_text(encoding="utf-8")
    return {
        name: KnownColumn(
            name,
            entry.get("role", ""),
            entry.get("label") or name.replace("_", " ").capitalize(),
            tuple(str(word) for word in entry["names"]),
        )
        for name, entry in yaml.safe_load(text).items()
    }


def find_known(header: str) -> str:
    """The known column that a table calls `header`, or an empty text."""
    return _names().get(name_key(header), "")


def role_of(header: str) -> str:
    """The role that a header names (`KnownColumn.role`), or an empty text."""
    name = find_known(header)
    return known_columns()[name].role if name else ""


def id_header(headers: Sequence[str]) -> str:
    """The header that usually means the patient's identifier, the most telling first; empty when there is none."""
    present: dict[str, str] = {}
    for head in headers:
        present.setdefault(name_key(head), head)
    return next((present[name_key(name)] for name in id_names() if name_key(name) in present), "")


def id_names() -> tuple[str, ...]:
    """Names of the identifier, the most telling first; a running number is none."""
    return known_columns()["patient"].names + known_columns()["hospital_number"].names


@cache
def _names() -> dict[str, str]:
    table: dict[str, str] = {}
    for item in known_columns().values():
        for word in (item.name, *item.names):
            table.setdefault(name_key(word), item.name)
    return table
