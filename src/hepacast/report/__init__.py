"""The report: tables, figures, Methods text, checklists as HTML, PDF, DOCX, CSV.

What lives here: views of results that earlier stages wrote. The face: `build_report`, in the formats of `formats`.
What may not: any number that is not in those results.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepacast.report.build import build_report as build_report

__all__ = ["build_report"]

#: Loaded when it is used: who asks for the names of the formats loads no figures.
_PUBLIC = {"build_report": "build"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
