"""Virtual patients with a planted, known truth.

What lives here: CT phantoms, laboratory values, outcomes, the Bayes AUC.
What may not: anything that a study of real patients would use.
"""
