"""Which header of the table each column of the study means, and what to say of those that have none."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from hepacast.cohort.columns import ColumnSpec
from hepacast.cohort.findings import Finding
from hepacast.cohort.headers import find_by_quantity, find_header, split_header
from hepacast.cohort.joining import RawTable
from hepacast.cohort.known_columns import find_known
from hepacast.cohort.numbers import normalize_text
from hepacast.cohort.quantities import find_quantity

_SHOWN = 40


def match_headers(specs: Sequence[ColumnSpec], raw: RawTable) -> tuple[dict[str, str], list[Finding]]:
    """The header of every column, by the column's name; columns without a clear one are left out and told.

    A header is found as it is written in the study file (exactly, then alike, then alike without the unit). Where
    none is, and the study file names a known quantity (`column: AST`), the quantity's other names count (`GOT`), as
    long as no other column has taken that header.

    Returns
    -------
    headers
        Column -> header.
    findings
        Errors ``missing-column`` and ``unclear-column``, one for each column without a header; notes
        ``header-by-synonym``; one note ``unused-headers`` beside the errors.
    """
    headers: dict[str, str] = {}
    findings: list[Finding] = []
    open_specs: list[ColumnSpec] = []
    for spec in specs:
        own = _headers_for(spec, raw)
        found = find_header(own, spec.source or (spec.name, spec.label))
        if twice := _sheet_with_two(found, spec, raw):
            findings.append(_stands_twice(spec, found[0], twice))
        elif len(found) == 1:
            headers[spec.name] = found[0]
        elif found:
            findings.append(_unclear(spec, found))
        else:
            open_specs.append(spec)
    taken = {(headers[spec.name], spec.sheet) for spec in specs if spec.name in headers}
    missing: list[ColumnSpec] = []
    for spec in open_specs:
        rivals = [other for other in open_specs if _meaning(other) == _meaning(spec) and other.sheet == spec.sheet]
        free = [head for head in _headers_for(spec, raw) if (head, spec.sheet) not in taken]
        found = _by_meaning(spec, free) if len(rivals) == 1 else []
        if len(found) == 1:
            headers[spec.name] = found[0]
            message = f"read from the header {found[0]!r}, another name of {_wanted(spec)}"
            findings.append(Finding("note", "header-by-synonym", message, column=spec.name))
        elif found:
            findings.append(_unclear(spec, found))
        else:
            missing.append(spec)
    free = [head for head in raw.headers if head not in set(headers.values())]
    findings += [_missing(spec, raw, [head for head in free if not _is_another(head, spec)]) for spec in missing]
    return headers, findings + _unused(findings, headers, raw)


def _headers_for(spec: ColumnSpec, raw: RawTable) -> list[str]:
    if not spec.sheet:
        return raw.headers
    return [head for sheet in raw.sheets if sheet.name == spec.sheet for head in sheet.headers if head in raw.headers]


def _sheet_with_two(found: Sequence[str], spec: ColumnSpec, raw: RawTable) -> str:
    """A sheet in which the one header that was found stands twice, so that nobody can tell which column is meant."""
    sheets = [sheet for sheet in raw.sheets if spec.sheet in ("", sheet.name)]
    return next((sheet.name for sheet in sheets if len(found) == 1 and sheet.headers.count(found[0]) > 1), "")


def _stands_twice(spec: ColumnSpec, header: str, sheet: str) -> Finding:
    message = f"The header {header!r} stands more than once in the sheet {sheet}; give each column its own header"
    return Finding("error", "unclear-column", message, column=spec.name)


def _meaning(spec: ColumnSpec) -> str:
    """The quantity or the known column that the study file's own words name, or an empty text.

    `tb_after: {column: highest TB, quantity: bilirubin}` names none: a column `TB` is another measurement.
    """
    for text in spec.source or (spec.name, spec.label):
        named = find_quantity(text) or find_quantity(split_header(text)[0])
        if spec.quantity and named is not None and named.name == spec.quantity:
            return spec.quantity
        if (known := find_known(text)) and spec.kind in ("binary", "categorical"):
            return known
    return ""


def _by_meaning(spec: ColumnSpec, headers: Sequence[str]) -> list[str]:
    meaning = _meaning(spec)
    if not meaning:
        return []
    if meaning == spec.quantity:
        return find_by_quantity(headers, meaning)
    return [head for head in headers if find_known(head) == meaning]


def _is_another(header: str, spec: ColumnSpec) -> bool:
    """Whether a header names a quantity that the column is not."""
    named = find_quantity(header) or find_quantity(split_header(header)[0])
    return named is not None and bool(spec.quantity) and named.name != spec.quantity


def _wanted(spec: ColumnSpec) -> str:
    return " or ".join(repr(text) for text in (spec.source or (spec.name,)))


def _key(spec: ColumnSpec) -> str:
    return f"cohort.columns.{spec.name}.column"


def _unclear(spec: ColumnSpec, found: Sequence[str]) -> Finding:
    message = (
        f"Several headers may be the column {spec.name!r}: {', '.join(map(repr, found))}; "
        f"write the exact one as {_key(spec)}"
    )
    return Finding("error", "unclear-column", message, column=spec.name)


def _missing(spec: ColumnSpec, raw: RawTable, free: Sequence[str]) -> Finding:
    names = [sheet.name for sheet in raw.sheets]
    if spec.sheet and spec.sheet not in names:
        message = (
            f"The sheet {spec.sheet!r} of the column {spec.name!r} was not read (sheets: {', '.join(names)}); "
            f"correct cohort.columns.{spec.name}.sheet"
        )
        return Finding("error", "missing-column", message, column=spec.name)
    near = nearest_headers(spec.source or (spec.name, spec.label), free)
    if len(near) == 1:
        hint = f"did you mean {near[0]!r}? "
    else:
        hint = f"the nearest are {', '.join(map(repr, near))}; " if near else "none is like it; "
    message = f"The column {spec.name!r} has no header {_wanted(spec)} in the table; {hint}write it as {_key(spec)}"
    return Finding("error", "missing-column", message, column=spec.name)


def _unused(findings: Sequence[Finding], headers: dict[str, str], raw: RawTable) -> list[Finding]:
    """What to choose from, once, where columns are missing."""
    free = [head for head in raw.headers if head not in set(headers.values())]
    if not free or not any(item.severity == "error" for item in findings):
        return []
    shown = ", ".join(map(repr, free[:_SHOWN])) + (" ..." if len(free) > _SHOWN else "")
    message = f"headers that no column of the study uses: {shown}; `hepacast init --table` proposes which means what"
    return [Finding("note", "unused-headers", message)]


def nearest_headers(words: Sequence[str], headers: Sequence[str], limit: int = 3) -> list[str]:
    """The headers that are most like any of these words, the nearest first; none where nothing is like them."""
    wanted = [_plain(word) for word in words if word]
    scored = []
    for place, head in enumerate(headers):
        plain = _plain(head)
        score = max((_likeness(word, plain) for word in wanted), default=0.0)
        if score >= 0.6:
            scored.append((-score, place, head))
    return [head for _, _, head in sorted(scored)[:limit]]


def _likeness(word: str, header: str) -> float:
    if min(len(word), len(header)) >= 3 and (word in header or header in word):
        return 0.9
    return difflib.SequenceMatcher(None, word, header).ratio()


def _plain(text: str) -> str:
    return normalize_text(split_header(text)[0]).casefold()
