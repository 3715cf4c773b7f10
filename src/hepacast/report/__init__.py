"""The report: tables, figures, Methods text, checklists as HTML, PDF, DOCX, CSV.

What lives here: views of results that earlier stages wrote.
What may not: any number that is not in those results.
"""

from hepacast.report.build import build_report

__all__ = ["build_report"]
