"""`hepacast serve`: the application in a browser, for those who click.

What lives here: routes, who may do what, uploads, jobs that are ordinary `hepacast run` processes, and the pages.
What may not: numbers; whatever a page shows is what the rooms below say of the files of a study.
"""
