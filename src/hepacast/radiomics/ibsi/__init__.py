"""Features by the definitions of the Image Biomarker Standardisation Initiative (IBSI 1), under its tags.

What lives here: IBSI's image processing, its feature families and aggregations (`mode: ibsi`). What may not:
PyRadiomics' definitions.
Source: A. Zwanenburg et al., "Image biomarker standardisation initiative reference manual", arXiv:1612.07003v11.
"""
