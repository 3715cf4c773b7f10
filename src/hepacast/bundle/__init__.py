"""The frozen model in one file, and the prediction of one patient from it.

What lives here: writing, checking and applying `model.hepacast` (JSON and safetensors, never pickle).
What may not: training.
"""

from hepacast.bundle.container import Container, read_container, write_container
from hepacast.bundle.measure import image_notes, measure_features
from hepacast.bundle.model import Bundle
from hepacast.bundle.prediction import Prediction, predict

__all__ = [
    "Bundle",
    "Container",
    "Prediction",
    "image_notes",
    "measure_features",
    "predict",
    "read_container",
    "write_container",
]
