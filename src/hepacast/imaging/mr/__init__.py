"""MR preprocessing: bias field, registration of phases, intensity normalization, pictures to check them by.

What lives here: functions of volumes and masks; each says how well it did. What may not: patients, outcomes.
"""

from hepacast.imaging.mr.bias import BiasCorrection, body_mask, correct_bias
from hepacast.imaging.mr.normalize import NyulStandardizer, white_stripe, zscore
from hepacast.imaging.mr.picture import registration_png
from hepacast.imaging.mr.register import Registration, mutual_information, register

__all__ = [
    "BiasCorrection",
    "NyulStandardizer",
    "Registration",
    "body_mask",
    "correct_bias",
    "mutual_information",
    "register",
    "registration_png",
    "white_stripe",
    "zscore",
]
