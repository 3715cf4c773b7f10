"""Options and helpers that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
import typer.core

from hepacast.core.progress import LineReporter, Reporter, RichReporter, SilentReporter
from hepacast.core.texts import visible
from hepacast.errors import HepacastError


class Command(typer.core.TyperCommand):
    """A command whose help names arguments that may be repeated in words, and not by their Python type."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options."""
        write = formatter.write_dl

        def write_named(rows: Any, *args: Any, **kwargs: Any) -> None:
            write([(re.sub(r" <list\[.*\]>", "", name), text) for name, text in rows], *args, **kwargs)

        formatter.write_dl = write_named
        super().format_options(ctx, formatter)


class CommandGroup(typer.core.TyperGroup):
    """Commands whose list in the help holds whole sentences, and not what fits into a line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with the first sentence of its help."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [(name, item.get_short_help_str(1000)) for name, item in commands.items() if item and not item.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


Workers = Annotated[
    int, typer.Option("--workers", "-w", help="Processes; 0 = one a core. Results do not depend on it.", min=0)
]
OnCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS|FILE",
        help="Work on a cluster: address of a Dask scheduler you trust, or a YAML file that describes one.",
    ),
]


@contextmanager
def work_on(cluster: str | None, reporter: Reporter) -> Iterator[None]:
    """Inside the block the work of every map goes to a cluster, if one is named; what that takes is loaded then."""
    if cluster is None:
        yield
        return
    from hepacast.core.cluster import on_cluster

    with on_cluster(cluster, say=reporter.say):
        yield


Out = Annotated[
    str | None,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="Results folder, or an address: s3://, gs:// [default: beside the study]."
    ),
]
WithoutRows = Annotated[
    bool,
    typer.Option("--without-rows", help="Refuse a model file that holds values of single training patients."),
]
AcceptDoubtful = Annotated[
    bool, typer.Option("--accept-doubtful", help="Go on although image and mask look impossible (HU, labels, volume).")
]
Series = Annotated[
    str | None,
    typer.Option(help="DICOM series of a folder with several: number, UID, or words of the description."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print; control and direction characters of names in tables, study files and bundles are shown, not obeyed."""
    typer.echo(visible(str(text)), err=err, nl=nl)


def make_reporter(quiet: bool = False) -> Reporter:
    """Live bars on a terminal, plain lines elsewhere, nothing when asked to be quiet."""
    if quiet:
        return SilentReporter()
    if sys.stderr.isatty():
        return RichReporter()
    return LineReporter(sys.stderr)


def parse_pairs(items: list[str], *, what: str) -> dict[str, str]:
    """``["inr=1.2", "alb=38"]`` as a dictionary.

    Raises
    ------
    HepacastError
        An item has no ``=``, or a name stands twice.
    """
    pairs: dict[str, str] = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise HepacastError(f"{what} must be given as name=value.", found=item)
        if name.strip() in pairs:
            raise HepacastError(f"{what} {name.strip()!r} is given twice.", found=item)
        pairs[name.strip()] = value.strip()
    return pairs
