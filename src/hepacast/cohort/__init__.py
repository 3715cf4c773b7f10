"""Who is in the study: clinical tables, units, checks, outcomes, patient flow, clinical scores.

What lives here: reading and checking tables, outcome definitions with their sources.
What may not: images, features, models.
"""

from hepacast.cohort import liver_failure, mrecist, plain_outcomes  # noqa: F401  (they register their definitions)
from hepacast.cohort.checks import blank_impossible, check_sample_size, check_table, count_parameters
from hepacast.cohort.cohort import Cohort, assemble_cohort, read_cohort, write_cohort
from hepacast.cohort.columns import ColumnSpec, levels_from_words
from hepacast.cohort.definitions import OUTCOME_DEFINITIONS, OutcomeDefinition, derive_outcome, get_definition
from hepacast.cohort.exclusions import find_excluded
from hepacast.cohort.findings import Finding, raise_on_errors
from hepacast.cohort.flow import PatientFlow
from hepacast.cohort.outcome import BinaryOutcome, Outcome, SurvivalOutcome
from hepacast.cohort.quantities import Measurement, Quantity, convert, get_quantity, known_quantities, parse_quantity
from hepacast.cohort.split import (
    check_sets,
    read_patient_list,
    split_at_random,
    split_by_column,
    split_by_list,
    split_none,
)
from hepacast.cohort.tables import ClinicalTable, read_table

__all__ = [
    "Cohort",
    "assemble_cohort",
    "read_cohort",
    "write_cohort",
    "ClinicalTable",
    "ColumnSpec",
    "levels_from_words",
    "read_table",
    "Finding",
    "check_table",
    "check_sample_size",
    "count_parameters",
    "blank_impossible",
    "raise_on_errors",
    "BinaryOutcome",
    "SurvivalOutcome",
    "Outcome",
    "OUTCOME_DEFINITIONS",
    "OutcomeDefinition",
    "derive_outcome",
    "get_definition",
    "PatientFlow",
    "find_excluded",
    "check_sets",
    "split_none",
    "split_by_column",
    "split_by_list",
    "split_at_random",
    "read_patient_list",
    "Measurement",
    "Quantity",
    "known_quantities",
    "get_quantity",
    "convert",
    "parse_quantity",
]
