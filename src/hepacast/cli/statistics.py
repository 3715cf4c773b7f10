"""Commands about anybody's table: stats (describe, logistic, evaluate, ...) and score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepacast.cli.json_option import STDOUT, JsonCommand
from hepacast.errors import HepacastError

if TYPE_CHECKING:
    from hepacast.study.statistics.result import StatisticsResult
    from hepacast.study.statistics.table import AnalysisTable

Table = Annotated[Path, typer.Argument(help="CSV, Excel or Parquet file with headers in the first row.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="Every number as JSON, printed or into FILE.")
]
Figures = Annotated[Path | None, typer.Option("--figures", help="Folder for the figures (PDF, SVG, PNG).")]
Sheet = Annotated[str | None, typer.Option(help="Excel sheet [default: the first].")]
Positive = Annotated[str | None, typer.Option(help="Value that is the event, where it is not 1 or yes.")]
Categorical = Annotated[str, typer.Option(help="Columns of numbers that are codes, separated by commas.")]
Levels = Annotated[
    list[str] | None, typer.Option(help="Order of levels, the reference first: race=white|black|other; repeat.")
]
Predictors = Annotated[str, typer.Option(help="Columns, separated by commas.")]

stats = typer.Typer(
    name="stats",
    help="Statistics of any table: CSV, Excel or Parquet in; text, JSON and figures out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    from hepacast.cli import scores

    app.add_typer(stats)
    scores.register(app)


def _load(table: Path, sheet: str | None, categorical: str, levels: list[str] | None) -> AnalysisTable:
    from hepacast.cli.common import parse_pairs
    from hepacast.study.statistics.reading import load

    order = {name: text.split("|") for name, text in parse_pairs(levels or [], what="Levels").items()}
    return load(table, sheet=sheet, levels=order, categorical=[item for item in categorical.split(",") if item.strip()])


def show(result: StatisticsResult, as_json: str | None, figures: Path | None) -> None:
    """Print a result as text or JSON, write its figures, and say what was written."""
    import json

    from hepacast.compute.files import to_jsonable, write_json

    if as_json == STDOUT:
        typer.echo(json.dumps(to_jsonable(result.to_json()), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(result.text())
    if as_json is not None and as_json != STDOUT:
        write_json(as_json, result.to_json())
        typer.echo(f"wrote {as_json}", err=True)
    if figures is not None:
        written = result.save_figures(figures)
        for path in written:
            typer.echo(f"wrote {path}", err=True)
        if not written:
            typer.echo("There is no figure for this analysis.", err=True)


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


def _describe(
    table: Table,
    by: Annotated[str | None, typer.Option(help="Grouping column, such as the outcome.")] = None,
    columns: Annotated[str, typer.Option(help="What to describe, separated by commas [default: all].")] = "",
    equal_var: Annotated[bool, typer.Option("--equal-var", help="Student's t and ANOVA instead of Welch's.")] = False,
    yates: Annotated[bool, typer.Option("--yates", help="Continuity correction of 2 x 2 tests.")] = False,
    quartiles: Annotated[int, typer.Option(help="7 (as R) or 6 (as SPSS).")] = 7,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Table 1: every column overall and by group, with the test chosen and named, P, SMD, missing values."""
    from hepacast.study.statistics.describing import describe

    loaded = _load(table, sheet, categorical, levels)
    result = describe(
        loaded, by=by, columns=columns or None, equal_var=equal_var, yates=yates, quartiles=quartiles
    )  # fmt: skip
    show(result, as_json, figures)


stats.command("describe", cls=JsonCommand)(_describe)
stats.command("tableone", cls=JsonCommand, help="The same as describe.")(_describe)


@stats.command(cls=JsonCommand)
def logistic(
    table: Table,
    outcome: Annotated[str, typer.Option(help="Column of the outcome.")],
    predictors: Predictors,
    positive: Positive = None,
    univariate: Annotated[bool, typer.Option("--univariate", help="Only each predictor on its own.")] = False,
    multivariate: Annotated[bool, typer.Option("--multivariate", help="Only the model with all predictors.")] = False,
    keep_p: Annotated[float | None, typer.Option(help="Univariate P below which a predictor enters.")] = None,
    firth: Annotated[bool, typer.Option("--firth", help="Firth's penalty always, not only when separated.")] = False,
    interval: Annotated[str, typer.Option(help="wald or profile.")] = "wald",
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Univariate and multivariate logistic regression; separated data are answered by Firth's penalty."""
    from hepacast.study.statistics.regression import logistic as fit

    if interval not in ("wald", "profile"):
        raise HepacastError("Unknown interval.", expected="wald or profile", found=interval)
    both = univariate == multivariate
    result = fit(
        _load(table, sheet, categorical, levels),
        outcome=outcome,
        predictors=predictors,
        positive=positive,
        univariate=both or univariate,
        multivariate=both or multivariate,
        keep_p=keep_p,
        firth=firth,
        interval=interval,
    )
    show(result, as_json, figures)


@stats.command(cls=JsonCommand)
def evaluate(
    table: Table,
    outcome: Annotated[str, typer.Option(help="Column of the outcome.")],
    models: Annotated[str, typer.Option(help="Columns of predicted risks or scores, separated by commas.")],
    positive: Positive = None,
    cutoff: Annotated[list[str] | None, typer.Option(help="Cut-off from training: MODEL=0.3; repeat.")] = None,
    nri_cuts: Annotated[str, typer.Option(help="Limits of risk categories for the NRI, as 0.1,0.3.")] = "",
    external: Annotated[bool, typer.Option("--external", help="The models were fitted to other patients.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Samples for the limits of Brier, ICI and net benefit.", min=0)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    sheet: Sheet = None,
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
        _load(table, sheet, "", None),
        outcome=outcome,
        models=models,
        positive=positive,
        cutoffs=cutoffs,
        nri_cuts=parse_numbers(nri_cuts, what="Limits"),
        external=external,
        n_boot=bootstrap,
        seed=seed,
    )
    show(result, as_json, figures)


@stats.command(cls=JsonCommand)
def nomogram(
    table: Table,
    predictors: Predictors,
    outcome: Annotated[str | None, typer.Option(help="Binary outcome: a logistic model.")] = None,
    time: Annotated[str | None, typer.Option(help="Follow-up: a Cox model.")] = None,
    event: Annotated[str | None, typer.Option(help="Event of the follow-up (1, 0).")] = None,
    positive: Positive = None,
    spline: Annotated[list[str] | None, typer.Option(help="Restricted cubic spline: age:4 (knots); repeat.")] = None,
    interaction: Annotated[list[str] | None, typer.Option(help="Product of two predictors: A:B; repeat.")] = None,
    log: Annotated[str, typer.Option(help="Predictors whose logarithm enters, separated by commas.")] = "",
    ticks: Annotated[list[str] | None, typer.Option(help="Ticks of an axis: bili:1,2,5,10; repeat.")] = None,
    at: Annotated[str, typer.Option(help="Times of the survival axes, as 365,730.")] = "",
    unit: Annotated[str, typer.Option(help="Unit of time, for labels.")] = "",
    patient: Annotated[str | None, typer.Option(help="Patient to read off: identifier, or number of the row.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column of the identifier.")] = None,
    firth: Annotated[bool, typer.Option("--firth", help="Firth's penalty always, not only when separated.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Samples of the optimism correction; 0: none.", min=0)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Fit a logistic or Cox model, draw its nomogram, read one patient off it."""
    from hepacast.study.statistics.nomograms import nomogram as draw
    from hepacast.study.statistics.options import split_pairs, split_splines, split_ticks

    result = draw(
        _load(table, sheet, categorical, levels),
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
    )
    show(result, as_json, figures)


@stats.command(cls=JsonCommand)
def survival(
    table: Table,
    time: Annotated[str, typer.Option(help="Column of the follow-up.")],
    event: Annotated[str, typer.Option(help="Column of the event (1, 0).")],
    positive: Positive = None,
    group: Annotated[str | None, typer.Option(help="Column of groups to compare.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of a score (higher: earlier event).")] = None,
    cut: Annotated[str, typer.Option(help="median, youden, maxstat, or a value chosen elsewhere.")] = "median",
    predictors: Annotated[str, typer.Option(help="Columns of the Cox models, separated by commas.")] = "",
    at: Annotated[str, typer.Option(help="Times for survival and AUC(t), as 365,730.")] = "",
    unit: Annotated[str, typer.Option(help="Unit of time, for labels.")] = "",
    confidence: Annotated[str, typer.Option(help="Kaplan-Meier limits: log (as R), log-log, plain.")] = "log",
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Kaplan-Meier with numbers at risk, log-rank, Cox with its checks, C-index and AUC(t) of a score."""
    from hepacast.study.statistics.time_to_event import survival as follow

    if confidence not in ("log", "log-log", "plain"):
        raise HepacastError("Unknown kind of limits.", expected="log, log-log or plain", found=confidence)
    options: dict[str, Any] = {"group": group, "score": score, "cut": cut, "unit": unit, "confidence": confidence}
    result = follow(
        _load(table, sheet, categorical, levels),
        time=time,
        event=event,
        positive=positive,
        predictors=predictors,
        at=parse_numbers(at, what="Times"),
        **options,
    )
    show(result, as_json, figures)


@stats.command(cls=JsonCommand)
def agreement(
    table: Table,
    subject: Annotated[str, typer.Option(help="Column of the subject.")],
    rater: Annotated[str | None, typer.Option(help="Column of the rater (one row a rating).")] = None,
    value: Annotated[str | None, typer.Option(help="Column of the rating.")] = None,
    raters: Annotated[str, typer.Option(help="Or: one column a rater, separated by commas.")] = "",
    categorical: Categorical = "",
    levels: Levels = None,
    sheet: Sheet = None,
    as_json: Json = None,
    figures: Figures = None,
) -> None:
    """Agreement of raters: all forms of the ICC, kappas, Kendall's W, limits of agreement."""
    from hepacast.study.statistics.raters import agreement as judge

    loaded = _load(table, sheet, categorical, levels)
    show(judge(loaded, subject=subject, rater=rater, value=value, raters=raters), as_json, figures)


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
