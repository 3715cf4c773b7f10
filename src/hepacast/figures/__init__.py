"""Drawing: one style for a journal, and functions that turn plain numbers into matplotlib figures.

What lives here: the style and one function a kind of figure.
What may not: any computing of statistics; a figure is a view of numbers that exist already.
"""
