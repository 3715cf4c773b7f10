"""The score command: staging systems and indexes of one patient or of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli.completion import scores as score_names
from hepacast.cli.json_option import JsonCommand
from hepacast.cli.table_options import Decimal, Dictionary, Json, decimal_mark, show
from hepacast.errors import HepacastError


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(cls=JsonCommand, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(score)


def score(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(help="Score, as ALBI; several with commas, or all, for a table.", autocompletion=score_names),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(help="A table, or inputs as albumin='38 g/L'.", metavar="[TABLE | INPUT=VALUE]"),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List all scores and their inputs.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write, with the new columns.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column of the patient's identifier.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="INPUT=COLUMN", help="Input found elsewhere: albumin=ALB; repeat.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Excel sheet.")] = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
) -> None:
    """Staging systems and indexes: `hepacast score ALBI --bilirubin "20 umol/L" --albumin "3.8 g/dL"`.

    Each input is an option of its own (or INPUT=VALUE). With a table the scores become columns of it. With a name
    alone the score's inputs, formula and source are shown.
    """
    from hepacast.cli.common import parse_pairs, say
    from hepacast.cohort.sheets import is_table
    from hepacast.study.statistics import calculators

    if listed:
        say(calculators.list_scores())
        return
    if name is None:
        raise HepacastError("Name a score.", expected="one of `hepacast score --list`")
    words = [*(values or []), *context.args]
    if words and is_table(words[0]) and "=" not in words[0]:
        if len(words) > 1:
            raise HepacastError(
                "A table takes no inputs.", found=" ".join(words[1:]), remedy="use --column INPUT=COLUMN"
            )
        found = calculators.score_columns(
            name,
            words[0],
            id_column=id_column,
            columns=parse_pairs(column or [], what="A column"),
            sheet=sheet,
            decimal=decimal_mark(decimal),
            dictionary=dictionary,
        )
        if output is not None:
            say(f"wrote {found.write(output)}", err=True)
        show(found, as_json, None)
        return
    given = parse_inputs(words)
    if not given:
        say(calculators.explain_score(name))
        return
    show(calculators.score(name, given), as_json, None)


def parse_inputs(words: list[str]) -> dict[str, str]:
    """``["--bilirubin", "20 umol/L", "albumin=38 g/L", "--dialysis"]`` as a dictionary; a bare option means yes.

    Raises
    ------
    HepacastError
        A word that belongs to no input, or an input given twice.
    """
    given: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            if not sign:
                bare = position == len(words) or words[position].startswith("--")
                value = "yes" if bare else words[position]
                position += not bare
        else:
            name, sign, value = word.partition("=")
            if not sign:
                raise HepacastError(
                    "A value belongs to no input.", expected='--input "value unit" or input="value unit"', found=word
                )
        key = name.strip().replace("-", "_")
        if key in given:
            raise HepacastError(f"The input {key!r} is given twice.", found=f"{given[key]} and {value}")
        given[key] = value.strip()
    return given
