"""Columns that are no measured quantity but known by their names: sex, center, Child-Pugh class, patient's number."""

from __future__ import annotations

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
        ``id``, ``center``, ``set``, ``outcome``, ``time``, ``remark``, or empty for a covariate.
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


@cache
def _names() -> dict[str, str]:
    table: dict[str, str] = {}
    for item in known_columns().values():
        for word in (item.name, *item.names):
            table.setdefault(name_key(word), item.name)
    return table
