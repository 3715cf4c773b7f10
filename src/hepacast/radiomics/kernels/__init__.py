"""Single-threaded compiled loops over voxels: what the feature classes count is counted here.

What lives here: numba functions on plain arrays and the small NumPy helpers around them. What may not: feature
names, formulas, settings, files.
"""
