"""The command noise: what a study's chain finds where there is nothing to find."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli.common import OnCluster, Quiet, Workers, make_reporter, work_on
from hepacast.cli.completion import CONTROLS, one_of
from hepacast.cli.json_option import JsonCommand
from hepacast.cli.study import Data, Out, StudyFile
from hepacast.cli.table_options import Json, show

#: Exit code when a chain is not at 0.50 within its error.
EXIT_LEAK = 1


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(cls=JsonCommand)(noise)


def noise(
    study_file: StudyFile,
    out: Out = None,
    data: Data = None,
    permutations: Annotated[int, typer.Option(help="Rounds; the chain is refitted in each fold.", min=2)] = 100,
    repeats: Annotated[int, typer.Option(help="Divisions of the patients, controls of images.", min=1)] = 5,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONTROL",
            autocompletion=one_of(*CONTROLS),
            help="outcome, features, noise-features, voxels, noise-voxels, region; repeat "
            "[default: outcome; with images also voxels and region].",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed [default: the study's].")] = None,
    workers: Workers = 0,
    cluster: OnCluster = None,
    as_json: Json = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="Another folder for the figures.")] = None,
    quiet: Quiet = False,
) -> None:
    """Negative controls: with nothing to find the chain must give an AUC (or C) of 0.50 within its error.

    Ends with exit code 1 when it does not.
    """
    from hepacast.study.noise import run_noise

    say_to = make_reporter(quiet)
    with work_on(cluster, say_to):
        result = run_noise(
            study_file,
            out=out,
            data=data,
            permutations=permutations,
            repeats=repeats,
            controls=control or (),
            seed=seed,
            workers=workers,
            reporter=say_to,
        )
    show(result, as_json, figures)
    if result.leaks:
        raise typer.Exit(EXIT_LEAK)
