"""The `hepacast` command: one app, thin commands, clear errors."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from hepacast._version import __version__
from hepacast.cli import fetch, images, noise, pacs, patient, serve, signing, statistics, study
from hepacast.cli.common import CommandGroup, say
from hepacast.errors import EXIT_BAD_INPUT, HepacastError

EXIT_STOPPED = 130
NOTICE = "Research use only: not a medical device, and no basis for a treatment decision on its own."

app = typer.Typer(
    name="hepacast",
    cls=CommandGroup,
    help="From a cohort of liver-cancer patients (CT or MRI and a clinical table) to a validated, portable risk "
    f"model.\n\n{NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
study.register(app)
noise.register(app)
images.register(app)
patient.register(app)
fetch.register(app)
statistics.register(app)
serve.register(app)
pacs.register(app)
signing.register(app)


def _version(shown: bool) -> None:
    if shown:
        say(f"hepacast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print version.")
    ] = False,
) -> None:
    """Options of the whole program."""


def main() -> None:
    """Run the command line: errors of the user's input without a traceback and with exit code 2."""
    # Read when NumPy is loaded, which is later. Sums are added in the same order on every computer, and for tables of
    # patients one thread is the fastest; networks and features have threads of their own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        # What is piped on Windows is not UTF-8 by itself; and where it must not be, ρ or ≥ would end the program.
        if isinstance(stream, io.TextIOWrapper):
            own = sys.platform == "win32" and "PYTHONIOENCODING" not in os.environ
            stream.reconfigure(encoding="utf-8" if own else None, errors="backslashreplace")
    try:
        app(prog_name="hepacast")
    except HepacastError as error:
        say(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        from hepacast.core.files import STORAGE_ERRNOS

        if error.errno not in STORAGE_ERRNOS:
            raise
        # A file of the user's that may not be read, or a disk that fails while reading.
        where = f"\n  where: {error.filename}" if error.filename else ""
        say(f"Error: A file cannot be read or written.\n  found: {error.strerror}{where}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer turns Ctrl-C into an exit without a word.
        if isinstance(stop, SystemExit) and stop.code != EXIT_STOPPED:
            raise
        say("Stopped. Finished parts are kept: run the same command again to go on.", err=True)
        sys.exit(EXIT_STOPPED)


if __name__ == "__main__":
    # Where no folder of commands is on the path, `python -m hepacast` is the same.
    main()
