"""The template of a study's clinical table: an Excel file with an example row, meanings of the columns, drop-downs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepacast.cohort import ColumnSpec
from hepacast.cohort.patient_rows import EXAMPLE_ROW
from hepacast.cohort.quantities import convert, get_quantity
from hepacast.study.schema import CohortOptions, Column
from hepacast.study.stages.clinical import column_spec

_ROWS = 2000
_HEADINGS = ("column", "meaning", "kind", "unit", "allowed words", "possible values", "used as", "in the study file")
_GRAY, _PALE = "FF808080", "FFF2F2F2"
#: Excel's limit for a list of words inside a validation.
_LIST_LIMIT = 250


@dataclass(frozen=True)
class TemplateColumn:
    """One column of the template: header, what it means, an example, and one word for each level."""

    header: str
    meaning: str
    kind: str
    example: Any
    unit: str = ""
    words: tuple[str, ...] = ()
    spellings: str = ""
    limits: tuple[float, float] | None = None
    used: str = ""
    key: str = ""


def write_table_template(path: Path, values: dict[str, Any]) -> None:
    """Write the template of the table that a study file describes.

    Parameters
    ----------
    path
        An ``.xlsx`` file.
    values
        The study file's values (see `hepacast.study.template.recipe_values`).
    """
    from openpyxl import Workbook

    columns = template_columns(values)
    book = Workbook()
    book.properties.creator = "hepacast"
    _fill_patients(book.active, columns)
    _fill_meanings(book.create_sheet("columns"), columns)
    for sheet in book:
        for cell in (cell for row in sheet.iter_rows() for cell in row if cell.data_type == "f"):
            cell.data_type = "s"  # a header that begins with = is a text
    book.save(path)


def template_columns(values: dict[str, Any]) -> list[TemplateColumn]:
    """The columns that a study needs, each header once: identifier, center, sets, the study's columns, exclusions."""
    cohort = CohortOptions.model_validate(values["cohort"])
    what = "study number of the patient: no name, no hospital number"
    columns = [TemplateColumn(cohort.id, what, "text", EXAMPLE_ROW, used="identifier", key="cohort.id")]
    split = cohort.split
    sets = tuple(map(str, [*split.training, *split.validation, *split.external])) if split.by == "column" else ()
    if cohort.center:
        words = sets if split.by == "column" and split.column == cohort.center else ()
        example = words[0] if words else "A"
        what = "center that treated the patient"
        columns.append(
            TemplateColumn(cohort.center, what, "text", example, words=words, used="center", key="cohort.center")
        )
    if split.by == "column":
        columns.append(
            TemplateColumn(
                split.column, "set of the patient", "word", sets[0], words=sets, used="sets", key="cohort.split"
            )
        )
    columns += [_described(name, column, values) for name, column in cohort.columns.items()]
    for rule in cohort.exclude:
        what = f"leaves the patient out: {rule.reason}"
        columns.append(TemplateColumn(rule.column, what, "text", "", used="exclusion", key="cohort.exclude"))
    by_header = {column.header: column for column in reversed(columns)}
    return [by_header[header] for header in dict.fromkeys(column.header for column in columns)]


def _described(name: str, column: Column, values: dict[str, Any]) -> TemplateColumn:
    outcome, candidates = values["outcome"], values["modelling"]["candidates"]
    parts = [part for part, own in (outcome.get("columns") or {}).items() if own == name]
    if outcome.get("column") == name:
        parts.append("outcome")
    spec = column_spec(name, column, name in candidates, bool(parts))
    used = f"outcome: {', '.join(parts)}" if parts else "candidate predictor" if name in candidates else "described"
    words = tuple(str((spellings or (level,))[0]) for level, spellings in spec.levels.items())
    listed = "; ".join(f"{level}: {', '.join(spellings) or level}" for level, spellings in spec.levels.items())
    limits = _limits(spec)
    kinds = {"numeric": "number", "binary": "one of two words", "categorical": "one of these words"}
    return TemplateColumn(
        header=spec.source[0],
        meaning=spec.label + (" (known only after the event)" if spec.after_event else ""),
        kind=kinds.get(spec.kind, "date"),
        example=_example(spec, words, limits),
        unit=spec.unit or (get_quantity(spec.quantity).unit if spec.quantity else ""),
        words=words,
        spellings=listed,
        limits=limits,
        used=used,
        key=f"cohort.columns.{name}",
    )


def _limits(spec: ColumnSpec) -> tuple[float, float] | None:
    """The lowest and the highest possible value, in the column's unit."""
    if spec.plausible is not None or not spec.quantity:
        return spec.plausible
    quantity = get_quantity(spec.quantity)
    unit = spec.unit or quantity.unit
    low, high = (convert(value, quantity.unit, unit, quantity.name) for value in quantity.plausible)
    return low, high


def _example(spec: ColumnSpec, words: tuple[str, ...], limits: tuple[float, float] | None) -> Any:
    if spec.kind == "date":
        import datetime as dt

        return dt.date(2024, 1, 31)
    if words:
        return words[0]
    if not spec.quantity:
        return 10 if limits is None else limits[0]
    quantity = get_quantity(spec.quantity)
    low, high = quantity.cohort_median or quantity.plausible
    middle = convert((low * high) ** 0.5 if low > 0 and high < 1e4 else low + 1, quantity.unit,
                     spec.unit or quantity.unit, quantity.name)  # fmt: skip
    return float(f"{middle:.3g}")


def _fill_patients(sheet: Any, columns: list[TemplateColumn]) -> None:
    from openpyxl.comments import Comment
    from openpyxl.styles import Font, PatternFill
    from openpyxl.utils import get_column_letter

    sheet.title = "patients"
    sheet.append([column.header for column in columns])
    sheet.append([column.example for column in columns])
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for cell in sheet[2]:
        cell.font = Font(italic=True, color=_GRAY)
        cell.fill = PatternFill("solid", start_color=_PALE)
    sheet["A2"].comment = Comment("An example, which hepacast never reads as a patient. Delete the row.", "hepacast")
    sheet.freeze_panes = "B2"
    for place, column in enumerate(columns, start=1):
        letter = get_column_letter(place)
        sheet.column_dimensions[letter].width = max(12, min(len(column.header) + 2, 40))
        _validate(sheet, f"{letter}3:{letter}{_ROWS}", column)


def _validate(sheet: Any, cells: str, column: TemplateColumn) -> None:
    """A drop-down of the allowed words; a warning for numbers that are not possible."""
    from openpyxl.worksheet.datavalidation import DataValidation

    listed = ",".join(column.words)
    if column.words and len(listed) < _LIST_LIMIT and not any("," in word or '"' in word for word in column.words):
        rule = DataValidation(type="list", formula1=f'"{listed}"', allow_blank=True, showErrorMessage=True)
        rule.error = f"One of: {column.spellings or listed}"[:_LIST_LIMIT]
    elif column.limits is not None:
        low, high = column.limits
        rule = DataValidation(type="decimal", operator="between", formula1=f"{low:g}", formula2=f"{high:g}",
                              allow_blank=True, errorStyle="warning", showErrorMessage=True)  # fmt: skip
        rule.error = f"{column.meaning}: {low:g} to {high:g} {column.unit} are possible."[:_LIST_LIMIT]
    else:
        return
    rule.errorTitle = column.header[:30]
    sheet.add_data_validation(rule)
    rule.add(cells)


def _fill_meanings(sheet: Any, columns: Iterable[TemplateColumn]) -> None:
    from openpyxl.styles import Alignment, Font

    sheet.append(_HEADINGS)
    for column in columns:
        limits = "" if column.limits is None else f"{column.limits[0]:g} to {column.limits[1]:g}"
        # The identifier's own header must not stand here alone: a row with it is the header of a table.
        header = f"{column.header} (identifier)" if column.used == "identifier" else column.header
        sheet.append([header, column.meaning, column.kind, column.unit, column.spellings or ", ".join(column.words),
                      limits, column.used, column.key])  # fmt: skip
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for letter, width in zip("ABCDEFGH", (34, 44, 18, 12, 50, 18, 26, 34)):
        sheet.column_dimensions[letter].width = width
        for cell in sheet[letter]:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A2"
