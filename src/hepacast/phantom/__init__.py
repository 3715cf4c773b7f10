"""Virtual patients with a planted, known truth.

What lives here: CT phantoms, laboratory values, outcomes, the Bayes AUC.
What may not: anything that a study of real patients would use.
"""

from hepacast.phantom.cohort import PhantomCohort, make_cohort
from hepacast.phantom.columns import candidates, exclusions, outcome_columns, study_columns
from hepacast.phantom.ct import PhantomCT, make_ct
from hepacast.phantom.spec import PatientSpec, TumorSpec

__all__ = [
    "PatientSpec",
    "PhantomCT",
    "PhantomCohort",
    "TumorSpec",
    "candidates",
    "exclusions",
    "make_cohort",
    "make_ct",
    "outcome_columns",
    "study_columns",
]
