"""Masks: given, by nnU-Net trained on the cohort, by any trained nnU-Net folder, by TotalSegmentator, built in.

What lives here: one interface for all sources (`Segmenter`), metrics of masks, Table 1, the judge of plausibility.
What may not: features, outcomes, figures.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Public name -> module. Loaded on first use, so that judging a mask does not load what makes masks.
_PUBLIC = {
    "METRICS": "metrics",
    "SEGMENTERS": "choose",
    "SegmentationCost": "base",
    "EvaluationCase": "evaluation",
    "GivenSegmenter": "given",
    "LabelMapResult": "base",
    "Remark": "plausibility",
    "SegmentationMetrics": "metrics",
    "Segmenter": "base",
    "evaluate_cases": "evaluation",
    "judge": "plausibility",
    "make_segmenter": "choose",
    "reader_agreement": "evaluation",
    "segmentation_metrics": "metrics",
    "summary_table": "evaluation",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
