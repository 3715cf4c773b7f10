"""What was measured of liver and tumor, and how it agrees with what readers recorded."""

from __future__ import annotations

from hepacast.biomarkers.definitions import FAMILY
from hepacast.biomarkers.summary import BiomarkerSummary
from hepacast.core.formatting import MISSING, number
from hepacast.core.tables import Row, Table, make_table
from hepacast.report.content.common import Omit, confidence, estimate
from hepacast.report.model import Block, TableBlock
from hepacast.report.results import Results

_RECORDED = {
    "tumor_number": "Number of tumors",
    "tumor_diameter_mm": "Largest diameter (mm)",
    "t_stage": "T stage",
    "li_rads": "LI-RADS category",
}


def build(results: Results) -> list[Block]:
    """Measured beside recorded, where the table has recorded something."""
    found = results.biomarkers
    if found is None or not found.recorded:
        raise Omit("no number of a reader is compared with what was measured in the masks")
    return [TableBlock("biomarkers-recorded", _agreement(results, found))]


def build_supplement(results: Results) -> list[Block]:
    """Every biomarker that models may hold, and those that were left out."""
    found = results.biomarkers
    return [] if found is None or not found.candidates else [TableBlock("biomarkers", _measured(found))]


def _agreement(results: Results, found: BiomarkerSummary) -> Table:
    rows = [
        Row(
            (
                _RECORDED[item.recorded],
                item.measure,
                estimate(item.agreement) if item.agreement.known else item.agreement.reason or MISSING,
                number(item.difference, 2),
                str(item.n),
            )
        )
        for item in found.recorded
    ]
    ci = confidence(results)
    notes = [
        "Measured in the masks, recorded by readers in the table. ICC: intraclass correlation, two-way random, "
        "absolute agreement, single measure; kappa: weighted by squared distance; difference: measured minus "
        "recorded, of stages in steps."
    ]
    columns = ("Recorded", "Measure", f"Agreement ({ci})", "Mean difference", "n")
    return make_table("Measured beside recorded", columns, rows, notes=notes)


def _measured(found: BiomarkerSummary) -> Table:
    rows = [
        Row(
            (
                item.label,
                item.unit or MISSING,
                f"{number(item.median, 2)} ({number(item.q1, 2)} to {number(item.q3, 2)})",
                str(item.missing),
            )
        )
        for item in found.candidates
    ]
    left = [f"{name.removeprefix(f'{FAMILY}/')} ({why})" for name, why in found.left_out.items()]
    notes = [f"No candidates: {'; '.join(left)}."] if left else []
    columns = ("Biomarker", "Unit", "Median (quartiles)", "Missing")
    return make_table("Biomarkers of all patients", columns, rows, notes=notes)
