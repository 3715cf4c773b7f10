"""Dates as people type them: ISO, day.month.year, year/month/day, 年月日, Excel's own."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from hepacast.cohort.numbers import normalize_text

#: Excel counts days from here (its 1900 is a leap year, which is why it is not 1900-01-01).
_EXCEL_EPOCH = dt.datetime(1899, 12, 30)
_EXCEL_DAYS = range(18264, 73051)  # 1950 to 2099
#: Nobody in a table of patients was born, treated or seen outside these years.
_YEARS = range(1900, 2101)
#: Days from Excel's epoch to that of workbooks that count from 1904-01-01 (ECMA-376, workbookPr date1904).
_DAYS_TO_1904 = 1462

_YEAR_FIRST = re.compile(r"^(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T].*)?$")
_DAY_FIRST = re.compile(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})(?: .*)?$")
_SLASHES = re.compile(r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?: .*)?$")
_COMPACT = re.compile(r"^(19|20)(\d{2})(\d{2})(\d{2})$")


class DateProblem(ValueError):
    """A cell that is no date, or one of two dates."""


def parse_date(cell: object, date_format: str = "", *, date1904: bool = False) -> dt.datetime:
    """One cell as a date.

    Parameters
    ----------
    cell
        Text, number (Excel's day count or ``20240131``) or date.
    date_format
        `datetime.strptime` format, for tables whose order of day and month is not clear.
    date1904
        Day counts are those of a workbook that counts from 1904-01-01.

    Raises
    ------
    DateProblem
        The text is no date between 1900 and 2100, or day and month cannot be told apart (``03/04/2024``).
    """
    if isinstance(cell, dt.date):
        return _date(cell.year, cell.month, cell.day, f"{cell:%Y-%m-%d}")
    text = normalize_text(int(cell) if isinstance(cell, float) and cell.is_integer() else cell)
    if date_format:
        try:
            found = dt.datetime.strptime(text, date_format)
        except ValueError as error:
            raise DateProblem(f"{text!r} does not have the format {date_format!r}") from error
        return _date(found.year, found.month, found.day, text)
    days = int(text) + _DAYS_TO_1904 * date1904 if text.isdecimal() else 0
    if days in _EXCEL_DAYS:
        return _EXCEL_EPOCH + dt.timedelta(days=days)
    if match := _COMPACT.match(text):
        return _date(int(match.group(1) + match.group(2)), int(match.group(3)), int(match.group(4)), text)
    if match := _YEAR_FIRST.match(text):
        return _date(int(match.group(1)), int(match.group(2)), int(match.group(3)), text)
    if match := _DAY_FIRST.match(text):
        return _date(int(match.group(3)), int(match.group(2)), int(match.group(1)), text)
    if match := _SLASHES.match(text):
        first, second, year = (int(part) for part in match.groups())
        if first <= 12 and second <= 12 and first != second:
            raise DateProblem(f"{text!r} may be day/month or month/day; say `date_format: '%d/%m/%Y'`")
        day, month = (first, second) if first > 12 else (second, first)
        return _date(year, month, day, text)
    raise DateProblem(f"{text!r} is not a date")


def doubtful_order(cells: Sequence[object]) -> str:
    """What is doubtful about day and month in a column, empty where nothing is.

    Either its texts prove both orders (``13/04/2024`` beside ``04/13/2024``), or Excel read a column of another
    country's dates: it took those that have a month beyond 12 for text, and exchanged day and month of the others.
    """
    slashed = [match for cell in cells if isinstance(cell, str) and (match := _SLASHES.match(normalize_text(cell)))]
    day_first = [match.group() for match in slashed if int(match.group(1)) > 12]
    month_first = [match.group() for match in slashed if int(match.group(2)) > 12]
    if day_first and month_first:
        return f"both day/month ({day_first[0]}) and month/day ({month_first[0]}) stand in the column; write them alike"
    kept = [cell for cell in cells if isinstance(cell, dt.date)]
    if (day_first or month_first) and len(kept) > 2 and all(cell.day <= 12 for cell in kept):
        text = (day_first or month_first)[0]
        return (
            f"Excel has {len(kept)} dates, none after the 12th, and texts such as {text!r} beside them: it probably "
            "exchanged day and month of the dates; compare them with their source, and enter all as 2024-03-09"
        )
    return ""


def _date(year: int, month: int, day: int, text: str) -> dt.datetime:
    if year not in _YEARS:
        raise DateProblem(f"{text!r} is not a date between {_YEARS[0]} and {_YEARS[-1]}")
    try:
        return dt.datetime(year, month, day)
    except ValueError as error:
        raise DateProblem(f"{text!r} is not a day of the calendar") from error
