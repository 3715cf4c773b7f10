"""Masks: given, by nnU-Net trained on the cohort, by any trained nnU-Net folder, by TotalSegmentator, built in.

What lives here: one interface for all sources (`Segmenter`), metrics of masks, Table 1, the judge of plausibility.
What may not: features, outcomes, figures.
"""

from hepacast.imaging.morphology import largest as keep_largest
from hepacast.imaging.structures import available_structures, structure_mask
from hepacast.segmentation.base import LabelMapResult, SegmentationCost, Segmenter
from hepacast.segmentation.choose import SEGMENTERS, make_segmenter
from hepacast.segmentation.evaluation import EvaluationCase, evaluate_cases, reader_agreement, summary_table
from hepacast.segmentation.given import GivenSegmenter
from hepacast.segmentation.metrics import METRICS, SegmentationMetrics, segmentation_metrics
from hepacast.segmentation.plausibility import Remark, judge

__all__ = [
    "METRICS",
    "SEGMENTERS",
    "SegmentationCost",
    "EvaluationCase",
    "GivenSegmenter",
    "LabelMapResult",
    "Remark",
    "SegmentationMetrics",
    "Segmenter",
    "available_structures",
    "evaluate_cases",
    "keep_largest",
    "judge",
    "make_segmenter",
    "reader_agreement",
    "segmentation_metrics",
    "structure_mask",
    "summary_table",
]
