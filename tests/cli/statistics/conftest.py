"""Commands about tables as a user would run them, with what they said."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pytest

from hepacast.cli import main as command_line


@pytest.fixture
def hepacast(monkeypatch, capsys):
    """Run a command as a user would: (exit code, stdout, stderr). A traceback would end the test."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hepacast", *[str(word) for word in words]])
        try:
            command_line.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def numbers(hepacast):
    """Run a command with --json and give its numbers."""

    def run(*words):
        code, out, err = hepacast(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def table(tmp_path):
    """Write columns as a CSV file."""

    def write(columns, name="table.csv"):
        path = tmp_path / name
        frame = pd.DataFrame(columns)
        frame.to_csv(path, index=False) if name.endswith(".csv") else frame.to_parquet(path)
        return path

    return write
