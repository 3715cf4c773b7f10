"""The tabulator: words that the shell offers, and help texts that are whole on a narrow terminal."""

import re
import subprocess

import pytest
import typer.main

from hepacast.cli import completion
from hepacast.cli.main import app
from hepacast.study.demos import DEMOS
from hepacast.study.noise import WORDS
from hepacast.study.plan import STAGES
from hepacast.study.template import RECIPES

TABLE = "patient;age;AFP (ng/ml);death\n1;60;4,5;1\n"


@pytest.fixture
def offers(program, tmp_path):
    """`offers("demo --study p")`: what bash offers for the last word."""
    (tmp_path / "t.csv").write_text(TABLE)

    def call(line: str) -> list[str]:
        words = f"hepacast {line}"
        env = {"_HEPACAST_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return program(cwd=tmp_path, env=env).out.strip().splitlines()

    return call


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seg", ["segment"]),
        ("stats a", ["agreement"]),
        ("init --recipe pt", ["ptlf", "ptlf-end-to-end"]),
        ("demo --study tace", ["tace-response"]),
        ("run study.yaml --until mod", ["modelling"]),
        ("report results --formats html,p", ["html,pdf"]),
        ("extract --settings e", ["early-recurrence"]),
        ("extract --explain glcm_Id", ["glcm_Id", "glcm_Idm", "glcm_Idmn", "glcm_Idn"]),
        ("score ALB", ["ALBI"]),
        ("noise study.yaml --control vox", ["voxels"]),
        (
            "predict model.hepacast --segmenter b",
            ["builtin", "builtin:openvino", "builtin:openvino-bf16", "builtin:torch-bf16"],
        ),
        ("stats survival t.csv --confidence l", ["log", "log-log"]),
        ("stats describe t.csv --by d", ["death"]),
        ("stats logistic t.csv --predictors age,A", ["age,AFP (ng/ml)"]),
        ("stats describe missing.csv --by d", []),
    ],
)
def test_words_are_offered(offers, line, expected):
    assert offers(line) == expected


def test_names_that_are_written_down_are_those_of_the_registries():
    assert list(dict.fromkeys(stage.name for stage in STAGES)) == completion.stages("")
    assert set(completion.CONTROLS) == set(WORDS)
    assert set(completion.recipes("")) == set(RECIPES) == set(DEMOS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell_is_shown_and_whole(program, shell):
    found = program("--show-completion", shell)
    assert found.code == 0
    assert "_HEPACAST_COMPLETE" in found.out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=found.out, text=True, check=True)


def commands(command=None, path=()):
    """Every command of the program with its words."""
    command = command or typer.main.get_command(app)
    yield path
    for name, item in getattr(command, "commands", {}).items():
        yield from commands(item, (*path, name))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_help_is_whole_at_80_columns(hepacast, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", "80")
    found = hepacast(*path, "--help")
    assert found.code == 0
    said = found.out.replace("COMMAND [ARGS]...", "")
    assert "..." not in said.replace("]...", "").replace("}...", ""), "cut short; arguments may be repeated"
    assert "\N{HORIZONTAL ELLIPSIS}" not in found.out
    assert max(map(len, found.out.splitlines())) <= 80
    # Words of Python are none of a reader's.
    assert "list[" not in found.out
    lines = [line for line in found.out.splitlines() if re.match(r"  (-\w, )?--", line)]
    assert lines


def test_an_option_has_one_name_and_one_short_form_everywhere():
    """-o is where a result goes (a file: --output, a folder: --out), -w workers, -q quiet, and nothing else."""
    short: dict[str, set[str]] = {}
    root = typer.main.get_command(app)
    for path in commands():
        command = root
        for word in path:
            command = command.commands[word]
        for item in command.params:
            for option in item.opts:
                if re.fullmatch(r"-\w", option):
                    short.setdefault(option, set()).add(item.opts[0])
            assert item.help, (path, item.name)
    assert short == {"-o": {"--output", "--out"}, "-w": {"--workers"}, "-q": {"--quiet"}}
