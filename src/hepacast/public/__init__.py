"""Public cohorts by name.

What lives here: the catalog with licenses and citations, the extract of an index of series, downloads that resume.
What may not: what a study makes of them, and a download that nobody asked for.
"""

from hepacast.public.catalog import COLLECTIONS, PublicCollection
from hepacast.public.fetching import FetchPlan, fetch, list_collections, plan_fetch
from hepacast.public.index import select_series, series_of

__all__ = [
    "COLLECTIONS",
    "FetchPlan",
    "PublicCollection",
    "fetch",
    "list_collections",
    "plan_fetch",
    "select_series",
    "series_of",
]
