"""Fixtures shared by all tests: the real data beside the checkout and the frozen R results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# As in a study's run: two processes of tests on two cores, each with two threads of linear algebra, wait for each other
# more than they compute. Read when the libraries are loaded, so it stands before them.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pandas as pd  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden"

# A busy machine is no mistake: how long an example takes is not judged.
settings.register_profile("hepacast", deadline=None)
settings.load_profile("hepacast")

#: Files of tests that take longest, longest first: processes that share the tests begin with them.
LONG = (
    "cli/test_end_to_end.py",
    "study/test_dicom_studies.py",
    "cli/statistics/test_robust.py",
    "cli/test_bad_input.py",
    "study/test_networks_of_times.py",
    "study/test_report_sentences.py",
    "report/test_report.py",
    "study/test_cluster_run.py",
    "public/test_from_images.py",
    "web/test_messages.py",
    "study/test_large_cohorts.py",
    "study/test_stage_keys.py",
    "study/test_biomarkers.py",
    "golden_runs/test_golden_runs.py",
    "cli/test_bundled_chains.py",
    "study/test_phases.py",
    "study/test_demo_real.py",
    "cli/test_lost_patients.py",
    "cli/test_masks_of_a_study.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first."""
    here = Path(__file__).parent
    place = {here / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


def _data_root() -> Path:
    return Path(os.environ.get("HEPACAST_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture
def data_dir() -> Callable[[str], Path]:
    """`data_dir("ct/ircadb17")`: that folder of real data; skip by name where absent, fail if it is required."""

    def find(name: str) -> Path:
        path = _data_root() / name
        if not path.exists():
            message = f"real data not found: {name} (set HEPACAST_DATA to the folder that holds it)"
            if os.environ.get("HEPACAST_REQUIRE_DATA") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture
def golden() -> Callable[[str], tuple[dict[str, Any], pd.DataFrame]]:
    """`golden("b_roc_asah")`: R's numbers and the data they were computed from. A missing reference fails."""

    def load(name: str) -> tuple[dict[str, Any], pd.DataFrame]:
        folder = GOLDEN / name
        reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        return reference, pd.read_csv(folder / "data.csv")

    return load


@contextmanager
def _words_saved() -> Iterator[None]:
    """This process draws the figures of what it makes and saves their words: for tests of what is said.

    Saving takes half of a report's time; that it is right, tests of the program, of `figures` and of overlays see.
    """
    from xml.sax.saxutils import escape

    from matplotlib.text import Text
    from PIL import Image

    from hepacast.bundle import page
    from hepacast.core.files import atomic_path
    from hepacast.imaging import overlay
    from hepacast.report import assets

    def save_words(figure: Any, stem: str | Path, formats: Sequence[str], dpi: int = 300) -> list[Path]:
        paths = [Path(f"{stem}.{form}") for form in formats]
        lines = [line for item in figure.findobj(Text) for line in item.get_text().splitlines()]
        words = "".join(f"<!-- {escape(line)} -->\n" for line in lines)  # as matplotlib says what its outlines are
        svg = f'<svg xmlns="http://www.w3.org/2000/svg">\n{words}</svg>'
        for path in paths:
            with atomic_path(path) as temporary:
                if path.suffix == ".png":
                    Image.new("RGB", (2, 2), "white").save(temporary, format="png")
                else:
                    temporary.write_text(svg if path.suffix == ".svg" else "%PDF-1.4\n", encoding="utf-8")
        return paths

    with pytest.MonkeyPatch.context() as patched:
        for module in (assets, overlay, page):
            patched.setattr(module, "save_figure", save_words)
        yield


@pytest.fixture(scope="module")
def figures_as_words() -> Iterator[None]:
    """For a whole module, its fixtures included: figures are drawn, and of each its words saved."""
    with _words_saved():
        yield


@pytest.fixture
def words_of_figures() -> Iterator[None]:
    """For one test: as `figures_as_words`."""
    with _words_saved():
        yield


@pytest.fixture
def hepacast(capsys, monkeypatch) -> Callable[..., SimpleNamespace]:
    """`hepacast("run", study)`: the program in this process, with its exit code."""

    def call(*words: Any) -> SimpleNamespace:
        from hepacast.cli.main import main

        monkeypatch.setattr(sys, "argv", ["hepacast", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return call
