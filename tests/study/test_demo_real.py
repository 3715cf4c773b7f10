"""Real patients without anything to fetch: both tables with source and licence, each to a report."""

import json

import pytest
from typer.testing import CliRunner

from hepacast.cli.main import app
from hepacast.study.demos.real import REAL, run_real

pytestmark = pytest.mark.usefixtures("figures_as_words")


def test_both_studies_run_to_report_and_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr("hepacast.study.demos.real.run_study", _quick)
    found = run_real(tmp_path, workers=1)
    assert list(found) == list(REAL)
    for name, result in found.items():
        assert result.report.is_file() and result.bundle.is_file()
        text = (tmp_path / name / "SOURCE.txt").read_text(encoding="utf-8")
        assert "Licence: CC" in text and "Cite:" in text
    flow = json.loads((tmp_path / "resection" / "results" / "modelling" / "flow.json").read_text())
    assert flow["included"] == 227
    flow = json.loads((tmp_path / "tace-response" / "results" / "modelling" / "flow.json").read_text())
    assert (flow["reviewed"], flow["included"]) == (105, 96)


def _quick(study, **options):
    """The same study with fewer resamples."""
    from hepacast.study.run import run_study

    text = study.read_text(encoding="utf-8").replace("repeats: 5, bootstrap: 100", "repeats: 1, bootstrap: 20")
    assert "repeats: 1" in text
    study.write_text(text.replace("report:\n", "report:\n  formats: [html]\n"), encoding="utf-8")
    return run_study(study, **options)


def test_the_command_names_source_and_licence(tmp_path, monkeypatch):
    monkeypatch.setattr("hepacast.study.demos.real.run_study", lambda *_a, **_o: _Done())
    done = CliRunner().invoke(app, ["demo", "--real", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert done.output.count("finished") == 2 and (tmp_path / "resection" / "hepatoCellular.csv").is_file()


class _Done:
    def text(self):
        return "finished"
