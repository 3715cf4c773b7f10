"""hepacast: from a cohort of liver-cancer patients to a validated, portable risk model.

Research use only: hepacast is not a medical device and must not be used alone to decide on treatment.
Importing this package does nothing but define names: no network, no environment variable, no logging.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
