"""`import hepacast as hc`: few names, loaded when used, seen by editors, found when mistyped."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hepacast as hc
from hepacast.core.tables import Row, make_table

SOURCE = Path(hc.__file__)


def in_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_import_is_quick_and_loads_nothing_of_weight():
    heavy = "{'numpy', 'pandas', 'matplotlib', 'torch', 'scipy', 'pydantic', 'typer'}"
    seconds, loaded = in_fresh_python(
        "import sys, time; start = time.process_time(); import hepacast; seconds = time.process_time() - start; "
        f"print(seconds, sorted({heavy} & set(sys.modules)))"
    ).split(" ", 1)
    assert loaded == "[]"
    assert float(seconds) < 0.2


def test_the_help_of_the_command_starts_quickly():
    seconds = in_fresh_python(
        "import time; start = time.process_time(); import hepacast.cli.main; print(time.process_time() - start)"
    )
    assert float(seconds) < 0.5


def test_editors_see_what_python_loads():
    """The imports that type checkers read and the table that Python reads are the same."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        item.asname: f"{node.module.removeprefix('hepacast.')}:{item.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for item in node.names
    }
    assert typed == hc._PUBLIC
    assert ["__version__", *hc._PUBLIC] == hc.__all__


@pytest.mark.parametrize("name", [name for name in hc.__all__ if name != "__version__"])
def test_every_name_is_there_and_says_what_it_is_for(name):
    found = getattr(hc, name)
    assert callable(found)
    assert name in dir(hc)
    public = hc._load(name)
    assert inspect.getdoc(public)
    if inspect.isfunction(public):
        hints = [each.annotation for each in inspect.signature(found).parameters.values()]
        assert inspect.Parameter.empty not in hints


def test_rooms_that_have_the_name_of_a_function_are_both():
    code = (
        "import hepacast as hc, inspect\n{first}\n"
        "import hepacast.nomogram.build, hepacast.report.build\n"
        "assert hc.nomogram.build.build_nomogram and hc.report.build.build_report\n"
        "assert 'predictors' in inspect.signature(hc.nomogram).parameters\n"
        "try: hc.report('/nowhere')\n"
        "except hc.HepacastError as error: print(str(error).splitlines()[0])"
    )
    for first in ("", "hc.nomogram; hc.report"):
        assert "no results" in in_fresh_python(code.format(first=first))


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'evaluate'"):
        hc.evalute
    with pytest.raises(AttributeError, match=r"there are .*evaluate"):
        hc.zzz
    assert not hasattr(hc, "_ipython_canary_method_should_not_exist_")


def test_a_table_is_that_of_a_journal_and_escapes():
    rows = [Row(("<b>Age</b>", "62 (54\u201370)")), Row(("Sex",), "group"), Row(("male", "31%"), "indent")]
    page = make_table("Patients", ["", "All"], rows, ["median & range"]).to_html()
    assert "&lt;b&gt;Age&lt;/b&gt;" in page
    assert 'colspan="2"' in page
    assert "median &amp; range" in page
    assert page.count("2px solid currentColor") == 2
    assert "color:#" not in page


DOCS = SOURCE.parents[2] / "docs"


def test_the_documentation_has_every_name():
    """The API page documents each function under its public name, and the cheat sheet names each."""
    page = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r'^::: hepacast\.(\S+)\n    options: {heading: "(\w+)",', page, flags=re.MULTILINE))
    functions = {
        target.replace(":", "."): name
        for name, target in hc._PUBLIC.items()
        if inspect.isfunction(getattr(hc._load(name), "__wrapped__", hc._load(name)))
    }
    assert listed == functions
    guide = (DOCS / "guide" / "python.md").read_text(encoding="utf-8")
    assert [name for name in functions.values() if f"hc.{name}(" not in guide] == []


def test_every_room_has_its_page():
    rooms = {item.parent.name for item in SOURCE.parent.glob("*/__init__.py")} - {"cli"}
    assert {path.stem for path in (DOCS / "api").glob("*.md")} == rooms | {"index", "errors"}
