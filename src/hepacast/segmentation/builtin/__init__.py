"""Pretrained liver and lesion networks, so that a CT is segmented with no training.

What lives here: weights (fetched once, hash pinned), the rebuilt networks, their pre- and postprocessing.
What may not: training.
"""

from hepacast.segmentation.builtin.segmenter import BuiltinSegmenter
from hepacast.segmentation.builtin.weights import weight_files, weights_present

__all__ = ["BuiltinSegmenter", "weight_files", "weights_present"]
