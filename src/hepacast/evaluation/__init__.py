"""How good predictions are: discrimination, calibration, net benefit, survival.

What lives here: result objects with numbers, `.to_frame()`, `.plot()`, `._repr_html_`.
What may not: fitting of models to features.
"""
