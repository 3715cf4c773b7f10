"""Everything about running, nothing about medicine: files, hashes, seeds, cache, workers, progress.

What lives here: helpers that every other room may use. What may not: images, tables of patients, statistics.
"""
