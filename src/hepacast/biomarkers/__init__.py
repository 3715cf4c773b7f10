"""Biomarkers: numbers of named structures that a radiologist could read off, each with definition, unit and source.

What lives here: regions of liver and tumor, enhancement in and between phases, geometry, LI-RADS features, mRECIST,
stages from masks. What may not: selection of predictors, any outcome.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Public name -> module. Loaded on first use: definitions can be read without the compiled kernels.
_PUBLIC = {
    "Biomarker": "definitions",
    "Missing": "definitions",
    "PatientBiomarkers": "measure",
    "PatientFacts": "measure",
    "definitions_of": "measure",
    "measure_biomarkers": "measure",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
