"""What a report says: one module a topic, each turning typed results into blocks.

What lives here: words, tables and figures in their order. What may not: computing, or any file format.

A section of a report is a line of one of the three lists below: a heading and a function of the results.
"""

from __future__ import annotations

from hepacast._version import __version__
from hepacast.report.content import (
    biomarkers,
    checklists,
    deep,
    external,
    fusion,
    indexes,
    limits,
    methods,
    models,
    nomogram,
    patients,
    performance,
    provenance,
    radiomics,
    risk_groups,
    scrutiny,
    segmentation,
    summary,
    validation,
)
from hepacast.report.content.common import STATEMENT, Build, Omit, exhibits_of, texts_of
from hepacast.report.model import Document, Paragraph, Report, Section
from hepacast.report.results import Results

#: What a journal prints. Tables and figures take their numbers from the order of the sections.
MAIN: tuple[tuple[str, Build], ...] = (
    ("Summary", summary.build),
    ("Study design and patients", patients.build),
    ("The model and these patients", external.build),
    ("Preprocessing of images", fusion.build_preprocessing),
    ("Segmentation", segmentation.build),
    ("Biomarkers", biomarkers.build),
    ("Models", models.build),
    ("Radiomics signature", radiomics.build),
    ("Networks and classifiers", fusion.build_fusion),
    ("Deep networks", deep.build),
    ("Performance", performance.build),
    ("Nomogram", nomogram.build),
    ("Honest validation", validation.build),
    ("Additional analyses", texts_of(scrutiny.build)),
    ("Survival by risk group", risk_groups.build),
    ("Further cohorts", risk_groups.build_further),
    ("Staging systems and indexes", indexes.build),
    ("Limits", limits.build),
    ("Methods", methods.build),
)

#: What reviewers ask for.
SUPPLEMENT: tuple[tuple[str, Build], ...] = (
    ("Methods in full", methods.build_supplement),
    ("Patients", patients.build_supplement),
    ("Preprocessing of images", fusion.build_preprocessing_supplement),
    ("Segmentation", segmentation.build_supplement),
    ("Nomogram", nomogram.build_supplement),
    ("Biomarkers", biomarkers.build_supplement),
    ("Models", models.build_supplement),
    ("Radiomics signature", radiomics.build_supplement),
    ("Networks and classifiers", fusion.build_supplement),
    ("Deep networks", deep.build_supplement),
    ("Performance", performance.build_supplement),
    ("Honest validation", validation.build_supplement),
    ("Additional analyses", exhibits_of(scrutiny.build)),
    ("Staging systems and indexes", indexes.build_supplement),
)

#: How the numbers came about, and what can be said against them.
AUDIT: tuple[tuple[str, Build], ...] = (
    ("Reporting checklists", checklists.build),
    ("Checks and provenance", provenance.build),
)

#: Sections of the main report that some studies only have: where they have nothing to show they are not missed.
_ON_DEMAND = frozenset(
    {
        "The model and these patients",
        "Preprocessing of images",
        "Biomarkers",
        "Deep networks",
        "Networks and classifiers",
        "Radiomics signature",
        "Additional analyses",
        "Survival by risk group",
        "Further cohorts",
        "Staging systems and indexes",
    }
)


_SUBTITLES = (
    "Report of a prediction model study: development and validation",
    "Report of a prediction model study: external validation",
    "Report of a prediction model study: external validation of several models in the same patients",
)


def compose(results: Results) -> Report:
    """The whole report of a study; sections with nothing to show are left out, and the last one says which and why."""
    title = (results.study.settings.get("report") or {}).get("title") or results.study.name
    left_out: list[str] = []
    main = _sections(MAIN, results, left_out)
    supplement = _sections(SUPPLEMENT, results, [])
    audit = _sections(AUDIT, results, left_out)
    if left_out:
        told = Paragraph(f"Sections with nothing to show are left out: {'; '.join(left_out)}.")
        last = audit.pop() if audit and audit[-1].title == AUDIT[-1][0] else Section(AUDIT[-1][0], ())
        audit.append(Section(last.title, (*last.blocks, told)))
    facts = [("Recipe", results.study.recipe), ("Intended use", results.study.intended_use)]
    facts += summary.facts(results)
    facts.append(("Made with", f"hepacast {results.run.version if results.run else __version__}"))
    return Report(
        title=str(title),
        subtitle=_SUBTITLES[min(len(results.external), 2)],
        facts=tuple((name, value) for name, value in facts if value),
        statement=STATEMENT,
        documents=(
            Document("report", "", "", tuple(main)),
            Document("supplement", "Supplement", "S", tuple(supplement)),
            Document("audit", "Audit file: checklists, checks and provenance", "A", tuple(audit)),
        ),
    )


def _sections(listed: tuple[tuple[str, Build], ...], results: Results, left_out: list[str]) -> list[Section]:
    sections = []
    for heading, build in listed:
        try:
            blocks = build(results)
        except Omit as omitted:
            if heading not in _ON_DEMAND:
                left_out.append(f"{heading} ({omitted})")
            continue
        if blocks:
            sections.append(Section(heading, tuple(blocks)))
    return sections
