"""Hand-crafted features of every VOI, under PyRadiomics' names and values.

What lives here: settings, image filters, kernels, feature formulas, extraction.
What may not: selection of features or any outcome.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Public name -> module. Loaded on first use, so that reading settings does not load the compiled kernels.
_PUBLIC = {
    "Settings": "settings",
    "extract": "extraction",
    "ExtractionResult": "results",
    "VoiResult": "results",
    "read_long": "table",
    "write_long": "table",
    "join_long": "table",
    "to_wide": "table",
    "status_counts": "table",
    "Case": "patients",
    "extract_patients": "patients",
    "ExtractionCost": "cost",
    "estimate": "cost",
    "RadiomicsExtractor": "estimator",
    "FeatureComparison": "compare",
    "compare_features": "compare",
    "read_other_table": "compare",
    "feature_maps": "maps",
    "Perturbation": "perturb",
    "perturb_image": "perturb",
    "extract_perturbed": "robustness",
    "icc_features": "robustness",
    "perturbation_icc": "robustness",
    "explain": "explanation",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
