"""Commands about a PACS: pacs echo, find, fetch, send; node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepacast.cli.common import Command, CommandGroup, make_reporter, parse_pairs, say
from hepacast.errors import HepacastError

if TYPE_CHECKING:
    from hepacast.pacs.choose import SeriesRule
    from hepacast.pacs.peer import FoundList, Peer

pacs = typer.Typer(
    name="pacs",
    cls=CommandGroup,
    help="Ask, fetch from and send to a PACS: https://HOST/dicom-web, or AET@HOST:PORT.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Address = Annotated[str, typer.Argument(help="https://HOST/dicom-web, or AET@HOST:PORT.", metavar="PACS")]
Calling = Annotated[str, typer.Option("--as", help="Our own AE title.")]
Filters = Annotated[
    list[str] | None,
    typer.Argument(help="What the study must have, as StudyDate=20260101-20260131.", metavar="KEYWORD=VALUE"),
]
Words = Annotated[list[str] | None, typer.Option(help="One of these stands in the series' description; repeat.")]
Without = Annotated[list[str] | None, typer.Option(help="None of these stands in the series' description; repeat.")]
Number = Annotated[int | None, typer.Option(help="Number of the series.")]
Thickness = Annotated[str, typer.Option(help="Slice thickness in mm, as 0.5-3; of series whose PACS tells it.")]
Modality = Annotated[str, typer.Option(help="CT or MR.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (echo, find, fetch, send):
        pacs.command(cls=Command)(command)
    app.add_typer(pacs)
    app.command()(node)


def echo(peer: Address, calling: Calling = "HEPACAST") -> None:
    """Ask whether a PACS is there."""
    _peer(peer, calling).echo()
    say(f"{peer} answers")


def find(
    peer: Address,
    filters: Filters = None,
    modality: Modality = "CT",
    words: Words = None,
    without: Without = None,
    number: Number = None,
    thickness: Thickness = "",
    calling: Calling = "HEPACAST",
) -> None:
    """List series of the studies that fit, without names."""
    rule = _rule(modality, words, without, number, thickness)
    say(_found(_peer(peer, calling), filters, rule).text())


def fetch(
    peer: Address,
    filters: Filters = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Gets a folder a series.")] = Path("fetched"),
    modality: Modality = "CT",
    words: Words = None,
    without: Without = None,
    number: Number = None,
    thickness: Thickness = "",
    calling: Calling = "HEPACAST",
    listen: Annotated[
        int | None, typer.Option(help="Port for C-MOVE, known to the PACS under --as [default: C-GET].")
    ] = None,
) -> None:
    """Fetch series of the studies that fit; each is whole or an error."""
    from hepacast.pacs.peer import fetch as fetch_series

    opened = _peer(peer, calling, listen)
    found = _found(opened, filters, _rule(modality, words, without, number, thickness))
    for folder in fetch_series(opened, found.series, out):
        say(f"wrote {folder}")
    if not found.series:
        say("nothing found")


def send(
    peer: Address,
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.", metavar="FILES")],
    calling: Calling = "HEPACAST",
) -> None:
    """Send files and ask afterwards whether they are there; exit code 2 where one is not."""
    from hepacast.pacs.peer import send as send_files

    result = send_files(_peer(peer, calling), list(files))
    say(result.text())
    if result.failed:
        raise typer.Exit(2)


def node(
    config: Annotated[Path, typer.Argument(help="The node's file (YAML).")],
    show: Annotated[bool, typer.Option("--list", help="Show the queue and what is in quarantine.")] = False,
    retry: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Try a dead study again (or all); repeat.")
    ] = None,
) -> None:
    """Listen for images, predict what is complete, send the results back."""
    from hepacast.pacs.config import read_config
    from hepacast.pacs.jobs import NodeQueue
    from hepacast.pacs.node import Node

    read = read_config(config)
    if show:
        say(NodeQueue(read.folder).listing().text())
    elif retry:
        for item in NodeQueue(read.folder).retry(retry):
            say(f"{item.key} is tried again")
    else:
        Node(read, reporter=make_reporter()).serve()


def _peer(address: str, calling: str, listen: int | None = None) -> Peer:
    from hepacast.pacs.connect import make_peer

    return make_peer(address, calling=calling, listen=listen)


def _rule(
    modality: str, words: list[str] | None, without: list[str] | None, number: int | None, thickness: str
) -> SeriesRule:
    """The rule that the options say.

    Raises
    ------
    HepacastError
        A modality that is not read, or a thickness that is no range.
    """
    from hepacast.pacs.choose import SeriesRule

    if modality not in ("CT", "MR"):
        raise HepacastError("Only images of these modalities are read.", expected="CT or MR", found=modality)
    try:
        limits = [float(item) for item in thickness.split("-")] if thickness else None
    except ValueError:
        limits = []
    if limits is not None and len(limits) != 2:
        raise HepacastError("A thickness is a range in mm.", expected="LOW-HIGH, as 0.5-3", found=thickness)
    rule = {"modality": modality, "words": words or [], "without": without or [], "number": number}
    return SeriesRule.model_validate({**rule, "thickness": limits})


def _found(opened: Peer, filters: list[str] | None, rule: SeriesRule) -> FoundList:
    """Series that fit."""
    from hepacast.pacs.choose import SeriesFacts, fits
    from hepacast.pacs.peer import FoundList

    found = opened.find(parse_pairs(filters or [], what="What is asked for"))
    return FoundList(tuple(item for item in found if fits(rule, SeriesFacts.found(item), known=False)))
