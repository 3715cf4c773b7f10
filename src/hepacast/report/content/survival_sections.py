"""The sections of a time-to-event report, in their order."""

from __future__ import annotations

from collections.abc import Callable

from hepacast.report.content import (
    closing,
    models,
    segmentation,
    survival_bedside,
    survival_checklists,
    survival_closing,
    survival_models,
    survival_patients,
    survival_performance,
    survival_summary,
    survival_validation,
)
from hepacast.report.inputs import Results
from hepacast.report.model import Block

#: Heading and builder of every section.
SURVIVAL_SECTIONS: tuple[tuple[str, Callable[[Results], list[Block]]], ...] = (
    ("Summary", survival_summary.build),
    ("Study design and patients", survival_patients.build),
    ("Segmentation", segmentation.build),
    ("Models", survival_models.build),
    ("Radiomics signature", models.build_radiomics),
    ("Performance", survival_performance.build),
    ("Nomogram", survival_bedside.build_nomogram),
    ("Survival by risk group", survival_bedside.build_survival),
    ("Honest validation", survival_validation.build),
    ("Limits", survival_closing.build_limits),
    ("Methods", closing.build_methods),
    ("Supplementary material", survival_closing.build_supplement),
    ("Reporting checklists", survival_checklists.build),
    ("Checks and provenance", closing.build_run),
)

#: Left out without a word where the study has no such part.
SURVIVAL_ON_DEMAND = frozenset({"Segmentation", "Radiomics signature"})
