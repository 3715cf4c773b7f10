"""Nomograms as rms makes them, and the worked example of one patient.

What lives here: points, axes and total points of logistic and Cox models.
What may not: the fitting of those models.
"""
