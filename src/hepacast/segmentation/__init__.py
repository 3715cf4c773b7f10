"""Masks: given ones, nnU-Net, the built-in liver networks, TotalSegmentator; and how good they are.

What lives here: one `Segmenter` interface and its makers, metrics per structure.
What may not: features or models of patients' outcomes.
"""
