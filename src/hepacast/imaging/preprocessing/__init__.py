"""Registration of sequences and phases; of MR also bias field and intensity scale; pictures to check them by.

What lives here: functions of volumes and masks; each says how well it did. What may not: patients, outcomes.
"""

from hepacast.imaging.preprocessing.bias import BiasCorrection, body_mask, correct_bias
from hepacast.imaging.preprocessing.normalize import NyulStandardizer, reference_tissue, white_stripe, zscore
from hepacast.imaging.preprocessing.picture import registration_png
from hepacast.imaging.preprocessing.register import Registration, mutual_information, register

__all__ = [
    "BiasCorrection",
    "NyulStandardizer",
    "Registration",
    "body_mask",
    "correct_bias",
    "mutual_information",
    "reference_tissue",
    "register",
    "registration_png",
    "white_stripe",
    "zscore",
]
