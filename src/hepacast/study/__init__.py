"""The study file, its recipes, the plan of stages and their running.

What lives here: the schema, the plan, `init`, `check`, `run`, and what is done with one patient or table. The face:
`run.run_study`, `check.check_study`, `predict.predict_patient`, `extract.extract`, `segment.segment`,
`noise.run_noise`, and the functions of `statistics`.
What may not: formulas; a stage only calls the rooms below.
"""
