"""The demos by study: which module makes its virtual patients and runs it.

Each module has ``run_demo(out, *, effect, seed, workers, changes, reporter, **sizes)`` and returns a `RunResult`.
"""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path
from typing import Any

from hepacast.core.optional import require
from hepacast.core.progress import SilentReporter
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

#: Minutes on two quiet cores; of the leading study as measured, of the others half the CPU minutes that the guide has
#: (deep learning, what the demos show), rounded up.
MINUTES: dict[str, int] = {
    "ptlf": 6,
    "tace-response": 7,
    "proliferative": 5,
    "early-recurrence": 16,
    "ptlf-end-to-end": 13,
}

_WIDTH = 110


def run_demo_of(study: str, out: str | Path, **options: Any) -> RunResult:
    """Run the demo of a study; options that are None are left to it.

    Raises
    ------
    StudyFileError
        There is no demo of this study.
    MissingPackageError
        PyTorch is not installed, and the demo trains networks.
    """
    if study not in DEMOS:
        raise StudyFileError("There is no demo of this study.", expected=", ".join(DEMOS), found=study)
    module = importlib.import_module(DEMOS[study])
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("segmenter") != "given":  # told before a minute goes into virtual patients
        require("torch", purpose="This demo, which trains networks,", extra="seg")
    given.get("reporter", SilentReporter()).say(
        f"Demo {study}: a whole study on virtual patients, from their images to the report, in about {MINUTES[study]} "
        f"minutes on two cores. It may be stopped; the same command goes on where it was. Results go to {out}."
    )
    result: RunResult = module.run_demo(out, **given)
    return result


def told(result: RunResult) -> str:
    """What was found, beside what was planted (the report's summary), and what to do next; for a terminal."""
    from hepacast.report.content import summary
    from hepacast.report.model import Bullets, Callout
    from hepacast.report.results import load_results

    found: list[str] = []
    for block in summary.build(load_results(result.out)):
        if isinstance(block, Bullets):
            found += block.items
        elif isinstance(block, Callout):
            found.append(f"{block.title}. {block.text}")
    lines = [
        textwrap.fill(text.replace("**", ""), _WIDTH, initial_indent="  - ", subsequent_indent="    ") for text in found
    ]
    return "\n".join(
        [
            "",
            "What was found",
            *lines,
            "",
            "What to do next",
            f"  - Open {result.report} in a browser; it also lies there as PDF and DOCX, with supplement and audit.",
            f"  - One patient: hepacast predict {result.bundle} --help",
            "  - A study of your own: hepacast init my-study --table my.xlsx",
        ]
    )
