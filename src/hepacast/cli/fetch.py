"""The command that fetches public cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli import completion
from hepacast.cli.common import make_reporter, say
from hepacast.errors import HepacastError


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(fetch)


def fetch(
    name: Annotated[
        str | None,
        typer.Argument(help="Public collection; see --list.", autocompletion=completion.collections),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder [default: the collection's name].")] = None,
    patients: Annotated[int | None, typer.Option(help="The first so many patients only.", min=1)] = None,
    series: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Which images: segmented (examinations in which structures were outlined), all, words of "
            'the description ("3 phase, venous"), or a rule ("{without: [pre], prefer: most images}") '
            "[default: segmented].",
        ),
    ] = None,
    derived: Annotated[
        bool, typer.Option("--derived", help="Also segmentations that others made of the images (AI-made, corrected).")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show license, selection and sizes; fetch nothing.")
    ] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Show the collections.")] = False,
) -> None:
    """Fetch a public cohort (images, masks, tables) with its license and citation; a second run goes on."""
    from hepacast.public.fetching import fetch as start
    from hepacast.public.fetching import list_collections, plan_fetch

    if show_list:
        say(list_collections())
        return
    if name is None:
        raise HepacastError("Which collection?", expected="its name, or --list")
    plan = plan_fetch(name, out, patients=patients, series=series, derived=derived)
    say(plan.text())
    if dry_run:
        return
    table = start(plan, reporter=make_reporter())
    say(f"fetched {len(table)} files into {plan.out}; each with its source and checksum in {plan.out / 'manifest.csv'}")
