"""The demos by study: whole studies on virtual patients whose truth is known, to the finished report."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepacast.core.optional import require
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.errors import StudyFileError
from hepacast.study.run import RunResult

#: Study -> module, which holds its `VirtualStudy` as ``DEMO``; the letters of the make targets stand beside.
DEMOS: dict[str, str] = {
    "ptlf": "ptlf",
    "tace-response": "tace_response",  # demo-B
    "proliferative": "proliferative",  # demo-C
    "early-recurrence": "early_recurrence",  # demo-D
    "ptlf-end-to-end": "end_to_end",  # demo-E
}

#: Minutes on two quiet cores; of the leading study as measured, of the others half the CPU minutes that the guide has
#: (deep learning, what the demos show), rounded up.
MINUTES: dict[str, int] = {
    "ptlf": 5,
    "tace-response": 7,
    "proliferative": 5,
    "early-recurrence": 15,
    "ptlf-end-to-end": 7,
}

_WIDTH = 110


def run_demo_of(
    study: str,
    out: str | Path,
    *,
    effect: str = "planted",
    seed: int | None = None,
    segmenter: str | None = None,
    workers: int = 0,
    changes: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    **sizes: int | None,
) -> RunResult:
    """Make the virtual patients of a study in ``out/cohort``, write its study file, and run it into ``out/results``.

    Parameters
    ----------
    study
        One of `DEMOS`.
    out
        Folder; what is there from an earlier demo with the same settings is kept.
    effect
        ``planted``: the outcome depends on what the study says; ``none``: on nothing.
    seed
        Of cohort and study; the demo's own if left out.
    segmenter
        Where masks come from: ``nnunet`` (trained here on a part of the patients) or ``given``, where the demo knows
        both; its usual one if left out.
    workers
        Processes; the numbers do not depend on it.
    changes
        Changes to the study file by dotted key (``{"modelling.validation.repeats": 2}``).
    sizes
        Virtual patients (``n_training``, ``n_validation``; study C also ``n_external``, ``n_further``); the demo's own
        numbers where left out.

    Raises
    ------
    StudyFileError
        There is no demo of this study, or it does not know this choice.
    MissingPackageError
        PyTorch is not installed, and the demo trains networks.
    """
    if study not in DEMOS:
        raise StudyFileError("There is no demo of this study.", expected=", ".join(DEMOS), found=study)
    if study != "ptlf" or segmenter != "given":  # told before a minute goes into virtual patients
        require("torch", purpose="This demo, which trains networks,", extra="seg")
    demo = importlib.import_module(f"{__name__}.{DEMOS[study]}").DEMO
    running = importlib.import_module(f"{__name__}.running")
    chosen = demo.choose({name: n for name, n in sizes.items() if n is not None}, effect, seed, segmenter)
    say = reporter or SilentReporter()
    say.say(
        f"Demo {study}: a whole study on virtual patients, from their images to the report, in about {MINUTES[study]} "
        f"minutes on two cores. It may be stopped; the same command goes on where it was. Results go to {out}."
    )
    result: RunResult = running.run_demo(demo, Path(out), chosen, changes or {}, workers, say)
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
