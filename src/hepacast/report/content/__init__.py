"""What a report says: one module a part of it, each turning typed results into blocks.

What lives here: words, tables and figures in their order. What may not: computing, or any file format.
"""

from __future__ import annotations

from collections.abc import Callable

from hepacast._version import __version__
from hepacast.report.content import (
    bedside,
    checklists,
    closing,
    deep,
    further,
    fusion,
    honest,
    models,
    patients,
    performance,
    segmentation,
    summary,
)
from hepacast.report.content import supplement as supplementary
from hepacast.report.content.common import STATEMENT, Omit
from hepacast.report.content.survival_sections import SURVIVAL_ON_DEMAND, SURVIVAL_SECTIONS
from hepacast.report.content.survival_summary import facts as survival_facts
from hepacast.report.inputs import Results
from hepacast.report.model import Block, Paragraph, Report, Section

#: Heading and builder of every section. Tables and figures take their numbers from this order.
SECTIONS: tuple[tuple[str, Callable[[Results], list[Block]]], ...] = (
    ("Summary", summary.build),
    ("Study design and patients", patients.build),
    ("MR preprocessing", fusion.build_preprocessing),
    ("Segmentation", segmentation.build),
    ("Clinical predictors", models.build_clinical),
    ("Radiomics signature", models.build_radiomics),
    ("Networks and classifiers", fusion.build_fusion),
    ("Deep networks", deep.build),
    ("Performance", performance.build),
    ("Nomogram", bedside.build_nomogram),
    ("Honest validation", honest.build),
    ("Survival by risk group", bedside.build_survival),
    ("Further cohorts", further.build_further),
    ("Staging systems and indexes", further.build_indexes),
    ("Limits", closing.build_limits),
    ("Methods", closing.build_methods),
    ("Supplementary material", supplementary.build),
    ("Reporting checklists", checklists.build),
    ("Checks and provenance", closing.build_run),
)

#: Sections of some studies only: where they have nothing to show they are not missed.
_ON_DEMAND = frozenset(
    {"MR preprocessing", "Deep networks", "Networks and classifiers", "Further cohorts", "Staging systems and indexes"}
)


def compose(results: Results) -> Report:
    """The whole report of a study; sections with nothing to show are left out, and the last one says which and why."""
    title = (results.study.settings.get("report") or {}).get("title") or results.study.name
    sections: list[Section] = []
    left_out: list[str] = []
    timed = results.survival is not None
    for heading, build in SURVIVAL_SECTIONS if timed else SECTIONS:
        try:
            sections.append(Section(heading, tuple(build(results))))
        except Omit as omitted:
            if heading not in (SURVIVAL_ON_DEMAND if timed else _ON_DEMAND):
                left_out.append(f"{heading} ({omitted})")
    if left_out:
        told = Paragraph(f"Sections with nothing to show are left out: {'; '.join(left_out)}.")
        last = sections.pop() if sections and sections[-1].title == SECTIONS[-1][0] else Section(SECTIONS[-1][0], ())
        sections.append(Section(last.title, (*last.blocks, told)))
    facts = [("Recipe", results.study.recipe), ("Intended use", results.study.intended_use)]
    facts += survival_facts(results) if timed else patients.facts(results)
    facts.append(("Made with", f"hepacast {results.run.version if results.run else __version__}"))
    return Report(
        title=str(title),
        subtitle="Report of a prediction model study: development and validation",
        facts=tuple((name, value) for name, value in facts if value),
        statement=STATEMENT,
        sections=tuple(sections),
    )
