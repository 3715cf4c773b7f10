"""Statistics as pure functions of arrays, equal to R: fits, tests, effect sizes, agreement, sample size.

What lives here: logistic, Firth, Cox and penalized fits, univariate tests, correlations, ICC. The face: one module a
method (`logistic`, `cox`, `kaplan_meier`, `competing_risks`, `tests`, `table_one`, `agreement`, `samplesize`, ...).
What may not: patients, files, scikit-learn pipelines, figures.
"""
