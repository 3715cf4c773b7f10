"""``--json`` with or without a file name."""

from __future__ import annotations

from typing import Any

from hepacast.cli.common import Command

#: Value of the option when no file is named.
STDOUT = "-"
_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".parquet", ".pq")


class JsonCommand(Command):
    """A command whose ``--json`` prints, and whose ``--json FILE`` writes a file.

    The word behind ``--json`` is its file unless it is another option, a table (``--json cohort.csv`` prints the
    numbers of that table) or a value (``--json inr=1.2``).
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--json`` its value before the options are read."""
        if "--json" in args:
            at = args.index("--json") + 1
            following = args[at] if at < len(args) else STDOUT
            value = following.startswith("-") or "=" in following or following.casefold().endswith(_TABLES)
            if at == len(args) or value:
                args = [*args[:at], STDOUT, *args[at:]]
        return super().parse_args(ctx, args)
