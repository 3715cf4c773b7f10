"""Hand-crafted features of every VOI, under PyRadiomics' names and values.

What lives here: settings, image filters, kernels, feature formulas, extraction.
What may not: selection of features or any outcome.
"""
