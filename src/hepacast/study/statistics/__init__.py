"""Statistics for anybody's table: what `hepacast stats` and `hepacast score` do, as Python functions.

Every function takes a file (CSV, Excel, Parquet), a DataFrame or an `AnalysisTable`, names of columns, and gives a
result with `text()`, `to_json()`, `to_frame()`, `figures()`, `plot()`::

    from hepacast.study.statistics import survival

    found = survival("cohort.xlsx", time="days", event="death", score="radscore", cut="median", at=[365, 730])
    print(found.text())
    found.save_figures("figures")

What lives here: choosing columns, leaving out incomplete patients and counting them, and putting results of the rooms
below side by side. What may not: estimators, tests (`hepacast.stats`, `hepacast.evaluation`) and file formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepacast.study.statistics.calculators import score as score
    from hepacast.study.statistics.calculators import score_columns as score_columns
    from hepacast.study.statistics.describing import describe as describe
    from hepacast.study.statistics.evaluating import evaluate as evaluate
    from hepacast.study.statistics.follow_up import survival as survival
    from hepacast.study.statistics.nomograms import nomogram as nomogram
    from hepacast.study.statistics.raters import agreement as agreement
    from hepacast.study.statistics.reading import load as load
    from hepacast.study.statistics.regression import logistic as logistic
    from hepacast.study.statistics.sizes import samplesize as samplesize
    from hepacast.study.statistics.table import AnalysisTable as AnalysisTable

_HOMES = {
    "AnalysisTable": "table",
    "agreement": "raters",
    "describe": "describing",
    "evaluate": "evaluating",
    "load": "reading",
    "logistic": "regression",
    "nomogram": "nomograms",
    "samplesize": "sizes",
    "score": "calculators",
    "score_columns": "calculators",
    "survival": "follow_up",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # The command line must start fast, so nothing below is imported before it is used.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
