"""``--json`` with or without a file name."""

from __future__ import annotations

from typing import Any

import typer.core

#: Value of the option when no file is named.
STDOUT = "-"
_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".parquet", ".pq")


class JsonCommand(typer.core.TyperCommand):
    """A command whose ``--json`` prints, and whose ``--json FILE`` writes a file.

    The word behind ``--json`` is its file unless it is another option or a table (``--json cohort.csv`` prints the
    numbers of that table).
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--json`` its value before the options are read."""
        if "--json" in args:
            at = args.index("--json") + 1
            following = args[at] if at < len(args) else STDOUT
            if at == len(args) or following.startswith("-") or following.casefold().endswith(_TABLES):
                args = [*args[:at], STDOUT, *args[at:]]
        return super().parse_args(ctx, args)
