"""The command line in this process, beside the functions that it calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from hepacast.cli.main import main


class Said(NamedTuple):
    """What the program said."""

    code: int
    out: str


@pytest.fixture
def hepacast(capsys, monkeypatch) -> Callable[..., Said]:
    """`hepacast("score", "ALBI")`: exit code and output."""

    def call(*words: Any) -> Said:
        monkeypatch.setattr(sys, "argv", ["hepacast", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Said(code, capsys.readouterr().out)

    return call
