"""Staging systems and indexes of hepatocellular carcinoma as code, each with formula, source and units.

What lives here: one module a group of scores; `SCORES` is the one registry, `compute_score` works on one patient,
`score_table` on a table. What may not: files, models.
"""

from hepacast.cohort.scores import (  # they register
    blood,  # noqa: F401
    li_rads,  # noqa: F401
    liver_function,  # noqa: F401
    staging,  # noqa: F401
    staging_points,  # noqa: F401
    tumor,  # noqa: F401
)
from hepacast.cohort.scores.base import (
    SCORES,
    Score,
    ScoreInput,
    ScoreResult,
    compute_score,
    get_score,
    possible_grades,
)
from hepacast.cohort.scores.table import score_table

__all__ = [
    "SCORES",
    "Score",
    "ScoreInput",
    "ScoreResult",
    "compute_score",
    "get_score",
    "possible_grades",
    "score_table",
]
