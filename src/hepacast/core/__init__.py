"""Everything about running, nothing about medicine: files, hashes, seeds, cache, workers, progress.

What lives here: helpers that every other room may use. The face, by module: `records`, `tables`, `views`, `formatting`
(results and how they show themselves), `stages`, `closure`, `kept`, `jobs`, `executor` (running), `files`, `hashing`,
`seeds`, `entries`. What may not: images, tables of patients, statistics.
"""
