"""The command line.

What lives here: one file a command group, thin calls into the rooms below. The face: `main.main`.
What may not: logic that Python users would miss.
"""
