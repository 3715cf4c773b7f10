"""REDCap's data dictionary: choices of radio buttons, drop-down lists and check boxes, labels, units, decimal commas.

A raw export holds codes under variable names, a labelled one words under the same names or under field labels; the
dictionary (Project Setup, "Download Data Dictionary") turns both into words that know their codes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepacast.cohort.columns import word_key
from hepacast.cohort.findings import Finding
from hepacast.cohort.headers import is_unit, split_header
from hepacast.cohort.layout import CodedCell, Sheet
from hepacast.cohort.patient_rows import is_blank
from hepacast.cohort.sheets import read_sheets
from hepacast.errors import TableError

#: Names of the dictionary's columns: as the web page exports them, and as the API does.
_COLUMNS = {
    "name": ("Variable / Field Name", "field_name"),
    "kind": ("Field Type", "field_type"),
    "label": ("Field Label", "field_label"),
    "choices": ("Choices, Calculations, OR Slider Labels", "select_choices_or_calculations"),
    "note": ("Field Note", "field_note"),
    "validation": (
        "Text Validation Type OR Show Slider Number",
        "text_validation_type_or_show_slider_number",
    ),
}
_YES_NO = {"yesno": {"0": "No", "1": "Yes"}, "truefalse": {"0": "False", "1": "True"}}
_CHECKED = {"unchecked": "0", "checked": "1", "no": "0", "yes": "1"}


@dataclass(frozen=True)
class DictionaryField:
    """One field of the project.

    Parameters
    ----------
    choices
        Code -> label.
    unit
        From the label's brackets, or the field note when it is a unit alone.
    comma
        The field is validated as a number with a decimal comma.
    """

    name: str
    kind: str
    label: str
    choices: Mapping[str, str]
    unit: str = ""
    comma: bool = False


def read_dictionary(path: str | Path) -> dict[str, DictionaryField]:
    """Read a data dictionary (CSV).

    Raises
    ------
    TableError
        The file is no data dictionary.
    """
    path = Path(path)
    sheet = read_sheets(path, patients=False)[0]
    found = {key: next((name for name in names if name in sheet.headers), "") for key, names in _COLUMNS.items()}
    lacking = [_COLUMNS[key][0] for key in ("name", "kind", "choices") if not found[key]]
    if lacking:
        raise TableError(
            "The file is no data dictionary of REDCap.",
            expected="a column " + ", ".join(map(repr, lacking)),
            found=", ".join(sheet.headers[:6]),
            where=path.name,
            remedy="download it in REDCap: Project Setup, Download the current Data Dictionary",
        )
    fields = {}
    for position in range(len(sheet.rows)):
        row = {
            key: "" if not name or sheet.column(name)[position] is None else str(sheet.column(name)[position]).strip()
            for key, name in found.items()
        }
        if row["name"]:
            fields[row["name"]] = _field(row)
    return fields


def _field(row: Mapping[str, str]) -> DictionaryField:
    kind = row["kind"].casefold()
    label = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", row["label"])).split())
    choices = dict(_YES_NO.get(kind, {}))
    if kind in ("radio", "dropdown", "checkbox"):
        for part in re.split(r"\s*[|\n]\s*", row["choices"]):
            code, comma, text = part.partition(",")
            if code.strip():
                choices[code.strip()] = " ".join(re.sub(r"<[^>]+>", " ", text if comma else code).split())
    unit = split_header(label)[1] or (row["note"] if is_unit(row["note"]) else "")
    return DictionaryField(row["name"], kind, label, choices, unit, "comma_decimal" in row["validation"].casefold())


def with_dictionary(sheet: Sheet, fields: Mapping[str, DictionaryField]) -> Sheet:
    """A sheet of an export with the words that its codes mean."""
    by_label: dict[str, list[DictionaryField]] = {}
    for item in fields.values():
        by_label.setdefault(item.label, []).append(item)
    columns, findings, labels, units = [], list(sheet.findings), dict(sheet.labels), dict(sheet.units)
    for position, header in enumerate(sheet.headers):
        cells: Sequence[Any] = [row[position] for row in sheet.cells]
        field, label, choices = _meant(header, fields, by_label)
        if field is None:
            columns.append(cells)
            continue
        labels[header] = label
        if field.unit and not split_header(header)[1]:
            units.setdefault(header, field.unit)
        if field.comma:
            cells = [cell.replace(",", ".") if isinstance(cell, str) else cell for cell in cells]
        if choices:
            cells, unknown = _worded(cells, choices)
            if unknown:
                message = f"the data dictionary does not know these codes, left as they are: {', '.join(unknown[:8])}"
                findings.append(Finding("warning", "code-unknown", message, column=header))
        columns.append(cells)
    return replace(
        sheet,
        cells=tuple(zip(*columns)) if columns else (),
        findings=tuple(findings),
        labels=tuple(labels.items()),
        units=units,
    )


def _meant(
    header: str, fields: Mapping[str, DictionaryField], by_label: Mapping[str, Sequence[DictionaryField]]
) -> tuple[DictionaryField | None, str, Mapping[str, str]]:
    """The field of a column, the column's label, and the words of its codes."""
    if header in fields and fields[header].kind != "checkbox":
        return fields[header], fields[header].label, fields[header].choices
    # A check box has a column for each choice; a minus in a code becomes an underscore.
    name, mark, code = header.partition("___")
    if mark and name in fields and fields[name].kind == "checkbox":
        for known, text in fields[name].choices.items():
            if known.casefold().replace("-", "_") == code.casefold():
                return fields[name], f"{fields[name].label}: {text}", {"0": "No", "1": "Yes"}
    labelled = re.fullmatch(r"(.*) \(choice=(.*)\)", header)
    if labelled and any(item.kind == "checkbox" for item in by_label.get(labelled.group(1), ())):
        return by_label[labelled.group(1)][0], f"{labelled.group(1)}: {labelled.group(2)}", {"0": "No", "1": "Yes"}
    same = by_label.get(header, ())
    return (same[0], header, same[0].choices) if len(same) == 1 else (None, "", {})


def _worded(cells: Sequence[Any], choices: Mapping[str, str]) -> tuple[list[Any], list[str]]:
    """Cells as words with their codes, whether codes or words stand in them; and the codes that are none."""
    codes = {word_key(code): code for code in choices} | {
        word: code for word, code in _CHECKED.items() if code in choices and word not in map(word_key, choices)
    }
    words = {word_key(label): code for code, label in choices.items()}
    found: list[Any] = []
    unknown: dict[str, None] = {}
    for cell in cells:
        key = word_key(cell) if not is_blank(cell) else ""
        code = codes.get(key) or words.get(key)
        if code is not None:
            found.append(CodedCell(choices[code], int(code) if re.fullmatch(r"-?\d+", code) else code))
        else:
            found.append(cell)
            if key:
                unknown[key] = None
    return found, list(unknown)
