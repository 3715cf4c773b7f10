"""Commands about who vouches for a bundle: sign; keys new, trust, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hepacast.cli.common import Command, CommandGroup, Quiet, WithoutRows, make_reporter, say

keys = typer.Typer(
    name="keys",
    cls=CommandGroup,
    help="Keys that sign model bundles, and those that this computer trusts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command(cls=Command)(sign)
    keys.command(cls=Command)(new)
    keys.command(cls=Command)(trust)
    keys.command("list", cls=Command)(list_trusted)
    app.add_typer(keys)


def sign(
    bundle: Annotated[Path, typer.Argument(help="model.hepacast")],
    key: Annotated[Path, typer.Option(help="Private key that `hepacast keys new` made.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Signed bundle [default: in its place].")] = None,
    without_rows: WithoutRows = False,
    quiet: Quiet = False,
) -> None:
    """Sign a model bundle: whoever trusts the key sees that it is yours and that nothing in it was changed."""
    from hepacast.bundle.applying import open_bundle
    from hepacast.bundle.container import sign_bundle
    from hepacast.bundle.signing import read_key

    open_bundle(bundle, without_rows=without_rows, say=make_reporter(quiet).say)
    signed = sign_bundle(bundle, read_key(key, lambda: typer.prompt("Password of the key", hide_input=True)), out)
    say(f"{out or bundle}: {signed.text()}")


def new(
    key: Annotated[Path, typer.Argument(help="File for the private key; the public one goes beside it, as KEY.pub.")],
    password: Annotated[bool, typer.Option("--password", help="Ask for a password that the key will need.")] = False,
) -> None:
    """Make a key: the private file signs and is shown to nobody, the public one is given to others."""
    from hepacast.bundle.signing import fingerprint, make_key

    secret = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if password else ""
    public = make_key(key, secret)
    say(f"wrote {key} (keep it to yourself) and {key}.pub (give it to others)\nkey {fingerprint(public)}")


def trust(
    public: Annotated[str, typer.Argument(help="KEY.pub, or the key in it.")],
    name: Annotated[str, typer.Option(help="Whose key it is; ask them whether theirs has the number that is shown.")],
) -> None:
    """Trust a key on this computer: bundles that it has signed are shown as signed by NAME."""
    from hepacast.bundle.signing import trust as add
    from hepacast.bundle.signing import trusted_file

    say(f"{add(public, name)} {name}: now in {trusted_file()}")


def list_trusted() -> None:
    """List the keys that this computer trusts."""
    from hepacast.bundle.signing import fingerprint, read_trusted, trusted_file

    found = read_trusted()
    for key, name in found.names.items():
        say(f"{fingerprint(key)} {name}")
    if not found.names:
        say(f"no key is trusted ({trusted_file()})")
    if found.only:
        say("bundles that none of these keys has signed are refused")
