"""Everything that learns, as scikit-learn estimators, and the honest ways to validate it.

What lives here: filters, the Radscore, clinical and combined models, nested validation.
What may not: figures, reports, files of a study.
"""
