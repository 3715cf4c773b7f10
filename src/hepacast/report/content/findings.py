"""What the checks of the clinical table found: in a sentence, and in full."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hepacast.cohort.findings import Finding
from hepacast.core.formatting import capital, listing, plural
from hepacast.core.tables import make_table
from hepacast.report.model import Block, TableBlock

_SHOWN_FINDINGS = 60
_SHOWN_HERE = 3
_SHOWN_PATIENTS = 12


@dataclass(frozen=True)
class _Grouped:
    """One remark that was made of several patients."""

    finding: Finding
    patients: list[str]

    @property
    def where(self) -> str:
        shown = ", ".join(self.patients[:_SHOWN_PATIENTS])
        more = len(self.patients) - _SHOWN_PATIENTS
        return shown + (f" and {more} more" if more > 0 else "")


def _grouped(findings: list[Finding]) -> list[_Grouped]:
    """Equal remarks of different patients become one line."""
    groups: dict[tuple[str, str, str], _Grouped] = {}
    for item in findings:
        key = (item.severity, item.column or "", item.message)
        group = groups.setdefault(key, _Grouped(item, []))
        if item.patient:
            group.patients.append(item.patient)
    return list(groups.values())


def in_one_sentence(findings: list[Finding]) -> str:
    """How much the checks of the table said; the list itself stands in the audit file."""
    if not findings:
        return "The checks of the clinical table found nothing to report."
    counts = Counter(item.severity for item in findings)
    said = listing([plural(counts[kind], kind) for kind in ("error", "warning", "note") if counts[kind]])
    warned = [
        item.finding.message.rstrip(".") + (f" ({plural(len(item.patients), 'patient')})" if item.patients else "")
        for item in _grouped(findings)
        if item.finding.severity != "note"
    ]
    text = f"The checks of the clinical table gave {said} ({{findings}})"
    return text + (f", among them: {'; '.join(warned[:_SHOWN_HERE])}." if warned else ".")


def build(findings: list[Finding]) -> list[Block]:
    """Everything that the checks said; nothing is hidden, very long lists end in a pointer to the file."""
    groups = _grouped(findings)
    if not groups:
        return []
    rows = [
        (
            capital(item.finding.severity),
            item.where,
            str(item.finding.row or "") if len(item.patients) < 2 else "",
            item.finding.column or "",
            item.finding.message,
        )
        for item in groups[:_SHOWN_FINDINGS]
    ]
    more = len(groups) - len(rows)
    table = make_table(
        "What the checks of the clinical table found",
        ["Kind", "Patient", "Row", "Column", "Finding"],
        rows,
        [f"{more} more are in cohort/findings.json." if more > 0 else "", "Row numbers are those of the sheet."],
        words=True,
    )
    return [TableBlock("findings", table)]
