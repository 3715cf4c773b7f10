"""The study file, its recipes, the plan of stages and their running.

What lives here: the schema, `init`, `check`, `run`.
What may not: formulas; a stage only calls the rooms below.
"""
