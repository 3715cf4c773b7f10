"""nnU-Net v2, trained on the cohort's labelled part and applied to the rest; any other trained folder too.

What lives here: the dataset folder, presets, the child process, resuming, safe loading, inference in bounded memory.
What may not: changes to nnU-Net's method outside the preset that says so (`demo`).
"""

from hepacast.segmentation.nnunet.dataset import TrainingCase, prepare_dataset
from hepacast.segmentation.nnunet.export import export_segmenter
from hepacast.segmentation.nnunet.model import NnunetModel, open_model
from hepacast.segmentation.nnunet.plan import NnunetPlan, SmallNetwork, estimate_training, nnunet_plan
from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter
from hepacast.segmentation.nnunet.training import TrainedNnunet, train

__all__ = [
    "NnunetModel",
    "NnunetPlan",
    "NnunetSegmenter",
    "SmallNetwork",
    "TrainedNnunet",
    "TrainingCase",
    "estimate_training",
    "export_segmenter",
    "nnunet_plan",
    "open_model",
    "prepare_dataset",
    "train",
]
