"""Who is in the study: clinical tables, units, checks, outcomes, patient flow, clinical scores.

What lives here: reading and checking tables, outcome definitions with their sources.
What may not: images, features, models.
"""
