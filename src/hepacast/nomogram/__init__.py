"""Nomograms as rms makes them, and the worked example of one patient.

What lives here: points, axes and total points of logistic and Cox models.
What may not: the fitting of those models, and the drawing (hepacast.figures).
"""

from hepacast.nomogram.build import Axis, Nomogram, OutputAxis, Reading, build_nomogram
from hepacast.nomogram.model import Interaction, NomogramModel, NomogramPredictor

__all__ = [
    "Axis",
    "Interaction",
    "Nomogram",
    "NomogramModel",
    "OutputAxis",
    "NomogramPredictor",
    "Reading",
    "build_nomogram",
]
