"""The studies of `examples/` are ready to run with the real tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hepacast.study.check import check_study

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Those that need more than tables run where it is made (`tests/public`).
STUDIES = sorted(path for path in EXAMPLES.glob("*/*.yaml") if path.parent.name != "hcc-tace-seg-images")


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_ready_to_run(study: Path, data_dir: Callable[[str], Path]) -> None:
    found = check_study(study, data=data_dir("tables").parent)
    assert not [item.message for _, item in found.findings if item.severity == "error"]
