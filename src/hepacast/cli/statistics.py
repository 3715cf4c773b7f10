"""Commands about anybody's table: stats (describe, logistic, evaluate, ...) and score."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from hepacast.cli.common import CommandGroup
from hepacast.cli.completion import column as one_column
from hepacast.cli.completion import columns as several_columns
from hepacast.cli.completion import one_of
from hepacast.cli.json_option import JsonCommand
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

stats = typer.Typer(
    name="stats",
    cls=CommandGroup,
    help="Statistics of any table: CSV, Excel or Parquet in; text, JSON and figures out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    from hepacast.cli import scores, statistics_models

    for command in (statistics_models.nomogram, statistics_models.survival):
        stats.command(cls=JsonCommand)(command)
    app.add_typer(stats)
    scores.register(app)


def _describe(
    table: Table,
    by: Annotated[
        str | None, typer.Option(help="Grouping column, such as the outcome.", autocompletion=one_column)
    ] = None,
    columns: Annotated[
        str, typer.Option(help="What to describe, separated by commas [default: all].", autocompletion=several_columns)
    ] = "",
    equal_var: Annotated[bool, typer.Option("--equal-var", help="Student's t and ANOVA instead of Welch's.")] = False,
    yates: Annotated[bool, typer.Option("--yates", help="Continuity correction of 2 x 2 tests.")] = False,
    quartiles: Annotated[int, typer.Option(help="7 (as R) or 6 (as SPSS).")] = 7,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Table 1: every column overall and by group, with the test chosen and named, P, SMD, missing values."""
    from hepacast.study.statistics.describing import describe

    loaded = load_table(table, sheet, categorical, levels, decimal, dictionary)
    result = describe(
        loaded, by=by, columns=columns or None, equal_var=equal_var, yates=yates, quartiles=quartiles
    )  # fmt: skip
    show(result, as_json, figures)


stats.command("describe", cls=JsonCommand)(_describe)
stats.command("tableone", cls=JsonCommand, help="The same as describe.")(_describe)


@stats.command(cls=JsonCommand)
def logistic(
    table: Table,
    outcome: Annotated[str, typer.Option(help="Column of the outcome.", autocompletion=one_column)],
    predictors: Predictors,
    positive: Positive = None,
    univariate: Annotated[bool, typer.Option("--univariate", help="Only each predictor on its own.")] = False,
    multivariate: Annotated[bool, typer.Option("--multivariate", help="Only the model with all predictors.")] = False,
    keep_p: Annotated[float | None, typer.Option(help="Univariate P below which a predictor enters.")] = None,
    firth: Annotated[bool, typer.Option("--firth", help="Firth's penalty always, not only when separated.")] = False,
    interval: Annotated[str, typer.Option(help="wald or profile.", autocompletion=one_of("wald", "profile"))] = "wald",
    level: Level = 0.95,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Univariate and multivariate logistic regression; separated data are answered by Firth's penalty."""
    from hepacast.study.statistics.regression import logistic as fit

    if interval not in ("wald", "profile"):
        raise HepacastError("Unknown interval.", expected="wald or profile", found=interval)
    both = univariate == multivariate
    result = fit(
        load_table(table, sheet, categorical, levels, decimal, dictionary),
        outcome=outcome,
        predictors=predictors,
        positive=positive,
        univariate=both or univariate,
        multivariate=both or multivariate,
        keep_p=keep_p,
        firth=firth,
        interval=cast(Literal["wald", "profile"], interval),
        level=level,
    )
    show(result, as_json, figures)


@stats.command(cls=JsonCommand)
def evaluate(
    table: Table,
    outcome: Annotated[str, typer.Option(help="Column of the outcome.", autocompletion=one_column)],
    models: Annotated[
        str,
        typer.Option(help="Columns of predicted risks or scores, separated by commas.", autocompletion=several_columns),
    ],
    time: Annotated[
        str | None,
        typer.Option(help="Follow-up: then the outcome is its event (1, 0).", autocompletion=one_column),
    ] = None,
    at: Annotated[float | None, typer.Option(help="Follow-up: time by which the risks are predicted.")] = None,
    positive: Positive = None,
    cutoff: Annotated[
        list[str] | None, typer.Option(metavar="MODEL=CUT", help="Cut-off from training: MODEL=0.3; repeat.")
    ] = None,
    nri_cuts: Annotated[str, typer.Option(help="Limits of risk categories for the NRI, as 0.1,0.3.")] = "",
    external: Annotated[bool, typer.Option("--external", help="The models were fitted to other patients.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Samples for the limits of Brier, ICI and net benefit.", min=0)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    level: Level = 0.95,
    sheet: Sheet = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Evaluate predictions of any tool: ROC, calibration, net benefit, and DeLong, NRI, IDI of every pair."""
    from hepacast.cli.common import parse_pairs
    from hepacast.study.statistics.evaluating import evaluate as judge

    cutoffs = {
        name: parse_numbers(value, what="A cut-off")[0]
        for name, value in parse_pairs(cutoff or [], what="A cut-off").items()
    }
    result = judge(
        load_table(table, sheet, "", None, decimal, dictionary),
        outcome=outcome,
        models=models,
        time=time,
        at=at,
        positive=positive,
        cutoffs=cutoffs,
        nri_cuts=parse_numbers(nri_cuts, what="Limits"),
        external=external,
        n_boot=bootstrap,
        seed=seed,
        level=level,
    )
    show(result, as_json, figures)


@stats.command(cls=JsonCommand)
def agreement(
    table: Table,
    subject: Annotated[str, typer.Option(help="Column of the subject.", autocompletion=one_column)],
    rater: Annotated[
        str | None, typer.Option(help="Column of the rater (one row a rating).", autocompletion=one_column)
    ] = None,
    value: Annotated[str | None, typer.Option(help="Column of the rating.", autocompletion=one_column)] = None,
    raters: Annotated[
        str, typer.Option(help="Or: one column a rater, separated by commas.", autocompletion=several_columns)
    ] = "",
    level: Level = 0.95,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    decimal: Decimal = "auto",
    dictionary: Dictionary = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Agreement of raters: all forms of the ICC, kappas, Kendall's W, limits of agreement."""
    from hepacast.study.statistics.raters import agreement as judge

    loaded = load_table(table, sheet, categorical, levels, decimal, dictionary)
    show(judge(loaded, subject=subject, rater=rater, value=value, raters=raters, level=level), as_json, figures)


@stats.command(cls=JsonCommand)
def samplesize(
    parameters: Annotated[int, typer.Option(help="Candidate parameters.", min=1)],
    prevalence: Annotated[float | None, typer.Option(help="Binary outcome: share with the event.")] = None,
    rate: Annotated[float | None, typer.Option(help="Survival: events per person and unit of time.")] = None,
    time_point: Annotated[float | None, typer.Option(help="Survival: time of the prediction.")] = None,
    follow_up: Annotated[float | None, typer.Option(help="Survival: mean follow-up.")] = None,
    r2: Annotated[float | None, typer.Option("--r2", help="Expected Cox-Snell R2.")] = None,
    nagelkerke: Annotated[float | None, typer.Option(help="Or expected Nagelkerke R2 [default: 0.15].")] = None,
    shrinkage: Annotated[float, typer.Option(help="Expected shrinkage.")] = 0.9,
    as_json: Json = None,
) -> None:
    """Patients needed to develop a prediction model (Riley's criteria)."""
    from hepacast.study.statistics.sizes import samplesize as needed

    result = needed(
        parameters=parameters,
        prevalence=prevalence,
        rate=rate,
        time_point=time_point,
        follow_up=follow_up,
        r2=r2,
        nagelkerke_r2=nagelkerke,
        shrinkage=shrinkage,
    )
    show(result, as_json, None)
