"""What README and docs tell a reader to type exists: commands, options, imports, pictures; cheap commands are run."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from hepacast.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(hepacast [a-z][^`]*)`")
#: Commands that take no data of the reader's and a second at most.
CHEAP = ("stats", "score", "recipes")


def blocks(page, *languages):
    return [text for _, language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(running_text=True):
    """Every `hepacast ...` of all pages, from blocks and from running text."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in blocks(page, "console", "bash", "", "text") for line in block.splitlines()]
        # In running text a command ends with its sentence; upper-case words stand for something.
        for line in [*lines, *(INLINE.findall(BLOCK.sub("", text)) if running_text else [])]:
            start = re.match(r"^(?:\.venv/bin/)?hepacast +(?=[a-z-])", line.strip())
            if start:
                words = shlex.split(line.strip()[start.end() :], comments=True)
                found.append(pytest.param(words, id=f"{page.stem}: {' '.join(words)[:60]}"))
    return found


@pytest.mark.parametrize("words", commands())
def test_commands_and_their_options_exist(words):
    command = typer.main.get_command(app)
    given = list(words)
    while given and hasattr(command, "commands") and not given[0].startswith("-"):
        name = given.pop(0)
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)} | {"--help", "-h"}
    if command.name != "score":  # its options are the inputs of scores
        assert [word for word in given if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known] == []


def runnable():
    return [
        item
        for item in commands(running_text=False)
        if item.values[0][0] in CHEAP
        and not any(word.isupper() and len(word) > 4 for word in item.values[0])
        and not any(Path(word).suffix in (".csv", ".xlsx") and not (ROOT / word).exists() for word in item.values[0])
    ]


@pytest.mark.parametrize("words", runnable())
def test_commands_that_need_nothing_work_as_written(words, hepacast, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [str(ROOT / word) if (ROOT / word).is_file() else word for word in words]
    if found[:2] in (["stats", "evaluate"], ["stats", "nomogram"]):
        found += ["--bootstrap", "20"]
    answer = hepacast(*found)
    assert answer.code == 0, answer.err
    assert answer.out.strip()
    assert not any(tmp_path.iterdir()) or "--figures" in words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_the_page_can_be_imported(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hepacast"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module} has no {name.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pictures_and_files_that_the_page_names_are_there(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:docs|tests|benchmarks|examples|src)/[\w./*-]+)`", text):
        assert list(ROOT.glob(name.rstrip("/"))), name
