"""Everything that learns, as scikit-learn estimators, and the honest ways to validate it.

What lives here: filters, the Radscore, clinical and combined models, nested validation, frozen models. The face:
`predictions.Predictions`, `study_models.StudyModels`, `clinical.ClinicalModel`, `grammar.ChainSpec`, `classifiers`,
`validation`, `frozen_models.FrozenModels`.
What may not: figures, reports, files of a study.
"""
