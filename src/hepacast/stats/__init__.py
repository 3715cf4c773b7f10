"""Statistics as pure functions of arrays, equal to R: fits, tests, effect sizes, agreement, sample size.

What lives here: logistic, Firth, Cox and penalised fits, univariate tests, correlations, ICC.
What may not: patients, files, scikit-learn pipelines, figures.
"""
