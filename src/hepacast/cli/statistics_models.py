"""Commands about models of a table: stats nomogram, stats survival."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hepacast.cli.completion import column as one_column
from hepacast.cli.completion import columns as several_columns
from hepacast.cli.completion import one_of
from hepacast.cli.table_options import (
    Categorical,
    Decimal,
    Dictionary,
    Figures,
    Json,
    Level,
    Levels,
    Positive,
    Predictors,
    Sheet,
    Table,
    load_table,
    parse_numbers,
    show,
)
from hepacast.errors import HepacastError


def nomogram(
    table: Table,
    predictors: Predictors,
    outcome: Annotated[
        str | None, typer.Option(help="Binary outcome: a logistic model.", autocompletion=one_column)
    ] = None,
    time: Annotated[str | None, typer.Option(help="Follow-up: a Cox model.", autocompletion=one_column)] = None,
    event: Annotated[str | None, typer.Option(help="Event of the follow-up (1, 0).", autocompletion=one_column)] = None,
    positive: Positive = None,
    spline: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN:KNOTS", help="Restricted cubic spline: age:4 (knots); repeat.")
    ] = None,
    interaction: Annotated[
        list[str] | None, typer.Option(metavar="A:B", help="Product of two predictors: A:B; repeat.")
    ] = None,
    log: Annotated[str, typer.Option(help="Predictors whose logarithm enters, separated by commas.")] = "",
    ticks: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN:TICKS", help="Ticks of an axis: bili:1,2,5,10; repeat.")
    ] = None,
    at: Annotated[str, typer.Option(help="Times of the survival axes, as 365,730.")] = "",
    unit: Annotated[str, typer.Option(help="Unit of time, for labels.")] = "",
    patient: Annotated[str | None, typer.Option(help="Patient to read off: identifier, or number of the row.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column of the identifier.")] = None,
    firth: Annotated[bool, typer.Option("--firth", help="Firth's penalty always, not only when separated.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Samples of the optimism correction; 0: none.", min=0)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    level: Level = 0.95,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Fit a logistic or Cox model, draw its nomogram, read one patient off it."""
    from hepacast.study.statistics.nomograms import nomogram as draw
    from hepacast.study.statistics.options import split_pairs, split_splines, split_ticks

    result = draw(
        load_table(table, sheet, categorical, levels, decimal, dictionary),
        predictors=predictors,
        outcome=outcome,
        time=time,
        event=event,
        positive=positive,
        splines=split_splines(spline or []),
        logs=log,
        ticks=split_ticks(ticks or []),
        interactions=split_pairs(interaction or []),
        at=parse_numbers(at, what="Times"),
        unit=unit,
        patient=patient,
        id_column=id_column,
        firth=firth,
        n_boot=bootstrap,
        seed=seed,
        level=level,
    )
    show(result, as_json, figures)


def survival(
    table: Table,
    time: Annotated[str, typer.Option(help="Column of the follow-up.", autocompletion=one_column)],
    event: Annotated[str, typer.Option(help="Column of the event (1, 0).", autocompletion=one_column)],
    positive: Positive = None,
    group: Annotated[str | None, typer.Option(help="Column of groups to compare.", autocompletion=one_column)] = None,
    score: Annotated[
        str | None, typer.Option(help="Column of a score (higher: earlier event).", autocompletion=one_column)
    ] = None,
    cut: Annotated[
        str,
        typer.Option(
            help="median, youden, maxstat, or a value chosen elsewhere.",
            autocompletion=one_of("median", "youden", "maxstat"),
        ),
    ] = "median",
    predictors: Annotated[
        str, typer.Option(help="Columns of the Cox models, separated by commas.", autocompletion=several_columns)
    ] = "",
    at: Annotated[str, typer.Option(help="Times for survival and AUC(t), as 365,730.")] = "",
    unit: Annotated[str, typer.Option(help="Unit of time, for labels.")] = "",
    confidence: Annotated[
        str,
        typer.Option(
            help="Kaplan-Meier limits: log (as R), log-log, plain.", autocompletion=one_of("log", "log-log", "plain")
        ),
    ] = "log",
    level: Level = 0.95,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Kaplan-Meier with numbers at risk, log-rank, Cox with its checks, C-index and AUC(t) of a score."""
    from hepacast.study.statistics.follow_up import survival as follow

    if confidence not in ("log", "log-log", "plain"):
        raise HepacastError("Unknown kind of limits.", expected="log, log-log or plain", found=confidence)
    options: dict[str, Any] = {"group": group, "score": score, "cut": cut, "unit": unit, "confidence": confidence}
    result = follow(
        load_table(table, sheet, categorical, levels, decimal, dictionary),
        time=time,
        event=event,
        positive=positive,
        predictors=predictors,
        at=parse_numbers(at, what="Times"),
        level=level,
        **options,
    )
    show(result, as_json, figures)
