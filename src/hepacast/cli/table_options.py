"""Options of the commands about tables, and how their results are shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hepacast.cli.common import say
from hepacast.cli.completion import columns, one_of
from hepacast.cli.json_option import STDOUT
from hepacast.errors import HepacastError

if TYPE_CHECKING:
    from hepacast.bundle import Prediction
    from hepacast.study.predict_table import PredictedPatients
    from hepacast.study.statistics.result import StatisticsResult
    from hepacast.study.statistics.table import AnalysisTable

Table = Annotated[Path, typer.Argument(help="CSV, Excel, Parquet, SPSS or Stata file.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="Every number as JSON, printed or into FILE.")
]
Figures = Annotated[Path | None, typer.Option("--figures", help="Folder for the figures (PDF, SVG, PNG).")]
Sheet = Annotated[str | None, typer.Option(help="Excel sheet [default: the first that is not hidden].")]
Decimal = Annotated[
    str,
    typer.Option(
        help="Decimal mark, where the table's numbers do not prove it: auto, . or a comma.",
        autocompletion=one_of("auto", ".", ","),
    ),
]
Dictionary = Annotated[Path | None, typer.Option(help="REDCap's data dictionary (CSV), for an export of it.")]
Positive = Annotated[str | None, typer.Option(help="Value that is the event, where it is not 1 or yes.")]
Categorical = Annotated[
    str, typer.Option(help="Columns of numbers that are codes, separated by commas.", autocompletion=columns)
]
Levels = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=LEVELS", help="Order of levels, the reference first: race=white|black|other; repeat."),
]
Predictors = Annotated[str, typer.Option(help="Columns, separated by commas.", autocompletion=columns)]
Level = Annotated[float, typer.Option(help="Level of the confidence intervals, as 0.9.")]


def load_table(
    table: Path,
    sheet: str | None,
    categorical: str,
    levels: list[str] | None,
    decimal: str = "auto",
    dictionary: Path | None = None,
) -> AnalysisTable:
    """The table of a command with its declared categories.

    Raises
    ------
    HepacastError
        The file cannot be read, or the decimal mark is none.
    """
    from hepacast.cli.common import parse_pairs
    from hepacast.study.statistics.reading import load

    order = {name: text.split("|") for name, text in parse_pairs(levels or [], what="Levels").items()}
    return load(
        table,
        sheet=sheet,
        levels=order,
        categorical=[item for item in categorical.split(",") if item.strip()],
        decimal=decimal_mark(decimal),
        dictionary=dictionary,
    )


def decimal_mark(text: str) -> Literal["auto", ".", ","]:
    """The mark that ``--decimal`` says.

    Raises
    ------
    HepacastError
        It is neither a point nor a comma.
    """
    marks: dict[str, Literal["auto", ".", ","]] = {
        "auto": "auto", ".": ".", "point": ".", ",": ",", "comma": ","
    }  # fmt: skip
    if text.strip().casefold() not in marks:
        raise HepacastError("The decimal mark is a point or a comma.", expected="auto, . or ,", found=text)
    return marks[text.strip().casefold()]


def show(
    result: StatisticsResult | Prediction | PredictedPatients,
    as_json: str | None,
    figures: Path | None,
) -> None:
    """Print a result as text or JSON, write its figures, and say what was written."""
    import json

    from hepacast.core.files import to_jsonable, write_json
    from hepacast.study.statistics.result import reasoned

    if as_json == STDOUT:
        values = reasoned(to_jsonable(result.to_json()))
        # JSON has its own way to write what the stream cannot.
        utf8 = sys.stdout.encoding.casefold().startswith("utf")
        say(json.dumps(values, indent=1, ensure_ascii=not utf8, allow_nan=False))
    else:
        say(result.text())
    if as_json is not None and as_json != STDOUT:
        write_json(as_json, reasoned(to_jsonable(result.to_json())))
        say(f"wrote {as_json}", err=True)
    if figures is not None:
        written = result.save_figures(figures)  # type: ignore[union-attr]
        for path in written:
            say(f"wrote {path}", err=True)
        if not written:
            say("There is no figure for this analysis.", err=True)


def parse_numbers(text: str, *, what: str) -> list[float]:
    """``"365,730"`` as numbers.

    Raises
    ------
    HepacastError
        A part is no number.
    """
    found = []
    for part in [item.strip() for item in text.split(",") if item.strip()]:
        try:
            found.append(float(part))
        except ValueError as error:
            raise HepacastError(f"{what} must be numbers separated by commas.", found=part) from error
    return found
