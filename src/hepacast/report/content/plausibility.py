"""Images and masks to look at before the numbers, and the table of volumes and intensities by VOI and patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepacast.core.formatting import capital, number, plural
from hepacast.core.tables import Row, Table, make_table
from hepacast.imaging.remarks import ImageRemark
from hepacast.report.model import Block, Bullets, Callout, TableBlock
from hepacast.report.results import Results
from hepacast.segmentation.doubts import Remark, group_remarks
from hepacast.segmentation.results import PlausibilityInfo, VoiSize

#: Patients of one VOI that are printed one by one; of more patients those who are far from the cohort.
PRINTED = 40
_NAMED = 8


def doubts(results: Results) -> list[Block]:
    """What a reader has to look at before the numbers; empty where nothing is doubtful."""
    found, remarks = results.plausibility, _remarks(results)
    if found is None or not remarks:
        return []
    judged = {item.patient for item in remarks} | {row.patient for row in found.rows}
    # Few gray levels are a matter of the settings, and no fault of a patient's image or mask.
    patients = {item.patient for item in remarks if item.code != "gray-levels"}
    text = f"{plural(len(patients), 'patient')} of {len(judged)}; volumes and intensities of all are in the supplement."
    return [Callout("warning", "Images and masks to look at", text)]


def doubts_by_patient(results: Results) -> list[Block]:
    """What is to be looked at, with the patients."""
    remarks = _remarks(results)
    return [Bullets(tuple(_told(remarks)))] if remarks else []


def _remarks(results: Results) -> list[ImageRemark]:
    if results.plausibility is None:
        return []
    return [*results.plausibility.remarks, *(results.radiomics.gray_levels if results.radiomics is not None else [])]


def _told(remarks: Sequence[ImageRemark]) -> list[str]:
    """One line a problem, with its patients."""
    by_patient: dict[str, list[Remark]] = {}
    for item in remarks:
        remark = Remark(item.severity, item.code, item.structure, item.problem, item.detail)
        by_patient.setdefault(item.patient, []).append(remark)
    lines = []
    for remark, patients in group_remarks(by_patient):
        if len(patients) == 1:
            lines.append(f"{patients[0]}: {remark}.")
            continue
        named = ", ".join(patients[:_NAMED])
        rest = f" and {len(patients) - _NAMED} more" if len(patients) > _NAMED else ""
        lines.append(
            f"{capital(remark.structure)}: {remark.problem} ({plural(len(patients), 'patient')}: {named}{rest})."
        )
    return lines


def build_supplement(results: Results) -> list[Block]:
    """The table of volumes and intensities."""
    found = results.plausibility
    if found is None or not found.rows:
        return []
    return [TableBlock("volumes", volumes_table(found))]


def volumes_table(found: PlausibilityInfo) -> Table:
    """Each VOI: the cohort, then its patients (of a large cohort those who are far from it)."""
    several = len({row.sequence for row in found.rows}) > 1
    far = {(item.patient, item.sequence, item.voi) for item in found.outliers}
    modalities = {row.modality for row in found.rows}
    unit = "HU" if modalities == {"CT"} else "intensity" if modalities == {"MR"} else "HU, of MR intensity"
    rows: list[Row] = []
    whole = True
    for voi, sequence in dict.fromkeys((row.voi, row.sequence) for row in found.rows):
        own = [row for row in found.rows if (row.voi, row.sequence) == (voi, sequence)]
        rows.append(Row((f"{capital(voi)}{f', {sequence}' if several else ''} (n = {len(own)})",), "group"))
        rows.append(Row(("Median of the patients (5th to 95th percentile)", *_of_cohort(own)), "indent"))
        shown = own if len(own) <= PRINTED else [row for row in own if (row.patient, row.sequence, row.voi) in far]
        whole = whole and len(shown) == len(own)
        for row in shown:
            mark = "*" if (row.patient, row.sequence, row.voi) in far else ""
            cells = (number(row.volume_ml, 1), number(row.median, 0), f"{number(row.p5, 0)} to {number(row.p95, 0)}")
            rows.append(Row((f"{row.patient}{mark}", *cells), "indent"))
    notes = [
        "* Far from the cohort: modified z score above 3.5 (of volumes on the logarithm), and at least 20 HU or a "
        "factor of 2 away."
        if far
        else "No patient is far from the cohort (modified z score above 3.5)."
    ]
    if not whole:
        notes.append("Patients near the cohort are not printed; all are in segmentation/volumes.csv of the results.")
    columns = ("VOI, patient", "Volume (mL)", f"Median ({unit})", f"5th to 95th percentile ({unit})")
    return make_table("Volume and intensities of every VOI", columns, rows, notes)


def _of_cohort(rows: Sequence[VoiSize]) -> tuple[str, str, str]:
    def spread(values: Sequence[float], digits: int) -> str:
        known = np.array([value for value in values if np.isfinite(value)])
        if not known.size:
            return number(float("nan"))
        low, middle, high = np.percentile(known, [5, 50, 95])
        return f"{number(middle, digits)} ({number(low, digits)} to {number(high, digits)})"

    return spread([row.volume_ml for row in rows], 1), spread([row.median for row in rows], 0), ""
