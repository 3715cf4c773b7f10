"""Masks: given, by nnU-Net trained on the cohort, by any trained nnU-Net folder, by TotalSegmentator, built in.

What lives here: one interface for all sources (`Segmenter`), metrics of masks, Table 1, checks of masks.
What may not: features, outcomes, figures.
"""

from hepacast.segmentation.base import (
    Estimate,
    LabelMapResult,
    Segmenter,
    available_structures,
    structure_mask,
)
from hepacast.segmentation.choose import SEGMENTERS, make_segmenter
from hepacast.segmentation.evaluation import EvaluationCase, evaluate_cases, reader_agreement, summary_table
from hepacast.segmentation.given import GivenSegmenter
from hepacast.segmentation.metrics import METRICS, SegmentationMetrics, segmentation_metrics
from hepacast.segmentation.postprocess import MaskCheck, check_masks, keep_largest, liver_doubt

__all__ = [
    "METRICS",
    "SEGMENTERS",
    "Estimate",
    "EvaluationCase",
    "GivenSegmenter",
    "LabelMapResult",
    "MaskCheck",
    "SegmentationMetrics",
    "Segmenter",
    "available_structures",
    "check_masks",
    "evaluate_cases",
    "keep_largest",
    "liver_doubt",
    "make_segmenter",
    "reader_agreement",
    "segmentation_metrics",
    "structure_mask",
    "summary_table",
]
