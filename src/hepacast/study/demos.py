"""The demos by study: which module makes its virtual patients and runs it.

Each module has ``run_demo(out, *, effect, seed, workers, changes, reporter, **sizes)`` and returns a `RunResult`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from hepacast.errors import StudyFileError
from hepacast.study.run import RunResult

#: Study -> module; the letters of the make targets (`make demo-C`) stand beside.
DEMOS: dict[str, str] = {
    "ptlf": "hepacast.study.demo",
    "tace-response": "hepacast.study.demo_tace",  # demo-B
    "proliferative": "hepacast.study.demo_proliferative",  # demo-C
    "early-recurrence": "hepacast.study.demo_early_recurrence",  # demo-D
    "ptlf-end-to-end": "hepacast.study.demo_end_to_end",  # demo-E
}


def run_demo_of(study: str, out: str | Path, **options: Any) -> RunResult:
    """Run the demo of a study; options that are None are left to it.

    Raises
    ------
    StudyFileError
        There is no demo of this study.
    """
    if study not in DEMOS:
        raise StudyFileError("There is no demo of this study.", expected=", ".join(DEMOS), found=study)
    module = importlib.import_module(DEMOS[study])
    result: RunResult = module.run_demo(out, **{name: value for name, value in options.items() if value is not None})
    return result
