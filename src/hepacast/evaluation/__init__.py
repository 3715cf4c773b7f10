"""How good predictions are, for outcomes with and without time: discrimination, calibration, net benefit, risk groups.

What lives here: the measures, one road each (`event_by` says what is known of an event by a horizon, and everything "at
a horizon" is computed of that); and the records of their results (`results`, `scrutiny`, `indexes`,
`further_cohorts`), which are the files of the results folder. The face: `evaluate.evaluate_set`, `evaluate_risks`.
What may not: fitting of models to features.
"""
