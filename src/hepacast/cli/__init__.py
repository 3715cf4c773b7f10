"""The command line.

What lives here: one file a command group, thin calls into the rooms below.
What may not: logic that Python users would miss.
"""
