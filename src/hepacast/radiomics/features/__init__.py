"""The feature classes: names and formulas, from counted matrices and gathered voxels to numbers.

What lives here: one module a class, the settings that change a feature's value, the registry of names. What may
not: loops over voxels (kernels/), image types and files.
"""
