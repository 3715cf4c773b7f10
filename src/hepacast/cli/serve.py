"""The command that serves the application in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli.common import say


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(serve)


def serve(
    folder: Annotated[Path, typer.Argument(help="Folder where studies lie and are made.")] = Path(),
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's own it needs TLS and users.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 = any that is free.", min=0, max=65535)] = 8321,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    allow: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Further folder that may be read (tables, images); repeat."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Name that browsers reach the server by; repeat.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    users: Annotated[Path | None, typer.Option(help="File of users: names, roles, hashes of tokens.")] = None,
    add_user: Annotated[
        str | None,
        typer.Option(help="Add NAME:ROLE (reader, reviewer, owner) to the file of users, print the token, and end."),
    ] = None,
) -> None:
    """Serve the application in a browser: set up, run and read studies, review masks, predict one patient."""
    from hepacast.errors import HepacastError

    if add_user is not None:
        from hepacast.web.access import add_user as add

        if users is None:
            raise HepacastError("A user is added to a file.", expected="--users FILE")
        who, _, role = add_user.partition(":")
        say(f"token of {who} ({role}), kept nowhere else:\n{add(users, who, role)}")
        return
    from hepacast.web.serving import ServeOptions
    from hepacast.web.serving import serve as start

    start(
        ServeOptions(folder, host, port, browser, tuple(allow or ()), tuple(name or ()), tls_cert, tls_key, users), say
    )
