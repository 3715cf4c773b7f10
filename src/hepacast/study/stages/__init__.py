"""One module a stage: it takes a `Context`, calls the rooms below and writes files of known schema.

What lives here: wiring. What may not: formulas, or anything that a Python user would miss in the rooms below.
"""
