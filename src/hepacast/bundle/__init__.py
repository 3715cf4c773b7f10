"""The frozen model in one file, and the prediction of one patient from it.

What lives here: writing, checking and applying `model.hepacast` (JSON and safetensors, never pickle).
What may not: training.
"""
