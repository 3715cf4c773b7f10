"""The notebooks of `examples/notebooks` run from beginning to end, and what they show is what a notebook can show."""

import ast
import json
import time
from pathlib import Path

import matplotlib
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples" / "notebooks").glob("*.ipynb"))
SECONDS = 25  # of the processor; the kernels may have to be compiled first


def cells(path, kind):
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def run(path):
    """The value of the last expression of every cell that ends with one, as a notebook shows it."""
    names, shown = {"__name__": "__main__"}, []
    for text in cells(path, "code"):
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, path.name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            if not text.rstrip().endswith(";"):
                shown.append(value)
    return names, shown


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["a-model-applied", "features-of-one-ct", "own-predictions"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_results(path, tmp_path, monkeypatch, data_dir):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HEPACAST_DATA", str(data_dir("ct").parent) if path.stem.startswith("features") else "")
    start = time.process_time()
    with matplotlib.rc_context({"backend": "Agg"}):
        names, shown = run(path)
    assert time.process_time() - start < SECONDS
    pages = [item._repr_html_() for item in shown if hasattr(item, "_repr_html_")]
    assert pages and all("<table" in page for page in pages)
    check(path.stem, names)


def check(name, names):
    """What the text says is true."""
    if name == "own-predictions":
        frame = names["result"].to_frame()
        assert frame.loc["albumin only", "slope"] < 0.8 < frame.loc["both", "slope"]
        assert frame.loc["both", "auc"] > frame.loc["albumin only", "auc"]
    elif name == "features-of-one-ct":
        frame = names["features"].to_frame()
        assert set(frame.index.get_level_values("voi")) == {"tumor", "ring"}
        assert frame.notna().all().all()
    else:
        assert sorted(names["model"].clinical_names("clinical")) == ["albumin", "inr"]
        assert names["prediction"].risk > 0.5


def test_without_real_data_a_virtual_patient_is_measured(tmp_path, monkeypatch):
    (path,) = (item for item in NOTEBOOKS if item.stem == "features-of-one-ct")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEPACAST_DATA", raising=False)
    names, _ = run(path)
    assert "patient" in names
    check(path.stem, names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped_and_texts_are_there(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert all(not cell["outputs"] for cell in content["cells"] if cell["cell_type"] == "code")
    assert len(cells(path, "markdown")) >= 5
    assert path.stat().st_size < 20_000
