"""Files of SPSS (`.sav`, `.zsav`) and Stata (`.dta`) as sheets: labels for codes, and codes that mean "missing".

pyreadstat (ReadStat) reads the bytes in a process of its own: on some damaged files the C library does not raise but
dies, and this process should not die with it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hepacast.cohort import spss_process
from hepacast.cohort.findings import Finding
from hepacast.cohort.headers import split_header
from hepacast.cohort.layout import CodedCell, Sheet
from hepacast.core.hashing import hash_file
from hepacast.errors import TableError

LABELLED_SUFFIXES = (".sav", ".zsav", ".dta")
_SECONDS = 600
#: How `spss_process` marks a date in JSON.
_DATE = "\0date:"


def read_labelled(path: Path) -> Sheet:
    """Read a file of SPSS or Stata.

    A column whose values all have labels holds the labels, each with its code (`CodedCell`); one of which only some
    values have (6 = "six or more") stays numbers, with a note. User-missing codes are missing, and counted.

    Raises
    ------
    TableError
        The file is damaged, or no file of this kind.
    """
    return _read(path, hash_file(path))


@lru_cache(maxsize=4)
def _read(path: Path, content_hash: str) -> Sheet:
    """Read once what several stages of a run ask for."""
    # -P: the folder of the script holds modules that are called like some of Python's own.
    command = [sys.executable, "-P", str(spss_process.__file__), str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(item for item in sys.path if item)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, env=environment, check=False)
        content = json.loads(done.stdout) if done.returncode == 0 else {}
    except (subprocess.TimeoutExpired, ValueError):
        content = {}
    if "columns" not in content:
        raise TableError(
            "The file of SPSS or Stata cannot be read; it may be damaged.",
            found=f"{path.name}: {content.get('problem') or 'the reader broke off'}",
            remedy="open it in its program and save it again, or export it as CSV UTF-8 or .xlsx",
        )
    return labelled_sheet(path.name, content)


def labelled_sheet(name: str, content: Mapping[str, Any]) -> Sheet:
    """A sheet from columns of codes and what the file says about them."""
    headers = list(content["columns"])
    columns, findings, units = [], [], {}
    for header in headers:
        values = [_value(item) for item in content["columns"][header]]
        labels = {_key(code): label for code, label in content["labels"].get(header, [])}
        values, missing = _without_missing(values, content["missing"].get(header, []))
        if missing:
            shown = ", ".join(f"{code} ({labels[code]})" if code in labels else code for code in map(_key, missing))
            message = f"{missing.total()} cells hold a code that the file declares missing: {shown}"
            findings.append(Finding("note", "user-missing", message, column=header))
        values, remark = coded(header, values, labels)
        findings += remark
        columns.append([_padded(value, content["formats"].get(header, "")) for value in values])
        unit = split_header(str(content["titles"].get(header) or ""))[1]
        if unit and not split_header(header)[1]:
            units[header] = unit
    titles = tuple((header, str(title)) for header, title in content["titles"].items() if title)
    cells = tuple(zip(*columns)) if columns else ()
    rows = tuple(range(2, len(cells) + 2))
    return Sheet(name, tuple(headers), rows, cells, units, findings=tuple(findings), labels=titles)


def coded(header: str, values: Sequence[Any], labels: Mapping[str, str]) -> tuple[list[Any], list[Finding]]:
    """Values with their labels, where all of them have one.

    Parameters
    ----------
    labels
        Code as text (``1``, never ``1.0``) -> label.
    """
    used = {_key(value) for value in values if value is not None}
    known = used & set(labels)
    if not known:
        return list(values), []
    if used - known:
        message = f"only some values have a label ({', '.join(f'{code} = {labels[code]}' for code in sorted(known))}): "
        message += "the codes were read"
        return list(values), [Finding("note", "labels-not-used", message, column=header)]
    return [None if value is None else CodedCell(labels[_key(value)], value) for value in values], []


def _key(code: Any) -> str:
    return str(int(code)) if isinstance(code, float) and code.is_integer() else str(code).strip()


def _value(item: Any) -> Any:
    if isinstance(item, str):
        if item.startswith(_DATE):
            return dt.datetime.fromisoformat(item.removeprefix(_DATE))
        return item.rstrip() or None
    return item


def _without_missing(values: Sequence[Any], ranges: Sequence[Sequence[Any]]) -> tuple[list[Any], Counter[Any]]:
    """Values with None for those in a range of codes that mean "missing", and how often each code stood there."""
    counts: Counter[Any] = Counter()
    kept = []
    for value in values:
        if any(type(low) is type(value) and low <= value <= high for low, high in ranges):
            counts[value] += 1
            value = None
        kept.append(value)
    return kept, counts


def _padded(value: Any, style: str) -> Any:
    """A number as SPSS's format N shows it: with leading zeros."""
    match = re.fullmatch(r"N(\d+)(?:\.0)?", style)
    if match and isinstance(value, float) and value.is_integer() and value >= 0:
        return str(int(value)).zfill(int(match.group(1)))
    return value
