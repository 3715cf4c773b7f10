"""Ranks and medians of folds and bootstrap samples from one sort of the whole table.

A validation refits a chain hundreds of times to rows of one table. Whoever starts it sorts the table's columns once
(`TableOrder.of`) and says so (`known_order`); the steps of the chain ask `ranks_of` and `medians_of`, which find rows
and columns by their names. Without a known order, or where values were changed since, the columns are sorted: what is
found is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.modelling.base import Array, numbers_of
from hepacast.stats.ranks import ColumnOrder, column_ranks

_Where = tuple[ColumnOrder, NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class TableOrder:
    """The order of the numeric columns of a table, whose rows have names of their own."""

    rows: pd.Index
    columns: pd.Index
    order: ColumnOrder

    @classmethod
    def of(cls, frame: pd.DataFrame) -> TableOrder:
        """Sort a table's columns of floats.

        Parameters
        ----------
        frame
            One row a patient; the index is unique.
        """
        floats = np.flatnonzero([dtype == np.float64 for dtype in frame.dtypes])
        values = frame.iloc[:, floats].to_numpy()
        return cls(frame.index, frame.columns[floats], ColumnOrder.of(values))

    def where(self, frame: pd.DataFrame) -> _Where | None:
        """The order, and the numbers of a table's rows and columns in it; None where it does not have all of them."""
        rows, columns = self.rows.get_indexer(frame.index), self.columns.get_indexer(frame.columns)
        if not (len(rows) and len(columns)) or rows.min() < 0 or columns.min() < 0:
            return None
        return self.order, rows, columns


_known: ContextVar[TableOrder | None] = ContextVar("known order", default=None)


@contextmanager
def known_order(order: TableOrder | None) -> Iterator[None]:
    """Inside the block, steps that need ranks or medians of rows of this table follow its order."""
    token = _known.set(order)
    try:
        yield
    finally:
        _known.reset(token)


def order_of(frame: pd.DataFrame) -> TableOrder:
    """The known order, where it is that of a table with these rows, or a new one."""
    known = _known.get()
    return known if known is not None and known.rows.equals(frame.index) else TableOrder.of(frame)


def _where(frame: pd.DataFrame) -> _Where | None:
    known = _known.get()
    return None if known is None else known.where(frame)


def ranks_of(frame: pd.DataFrame) -> Array:
    """`column_ranks` of a complete table."""
    values, place = numbers_of(frame), _where(frame)
    return column_ranks(values) if place is None else place[0].ranks(values, *place[1:])


def medians_of(frame: pd.DataFrame, numbers: Array) -> Array:
    """Median of the present values of each column of `numbers`, which are the table's; of a column without one NaN."""
    place = _where(frame)
    found = np.full(numbers.shape[1], np.nan) if place is None else place[0].medians(numbers, *place[1:])
    sort = np.flatnonzero(np.isnan(found))
    if sort.size:
        found[sort] = _sorted_medians(numbers if sort.size == len(found) else numbers[:, sort])
    return found


def _sorted_medians(numbers: Array) -> Array:
    """The slow, NaN-aware way only where something is missing."""
    medians = np.full(numbers.shape[1], np.nan)
    missing = np.isnan(numbers)
    holes, empty = missing.any(axis=0), missing.all(axis=0)
    if not holes.all():
        medians[~holes] = np.median(numbers if not holes.any() else numbers[:, ~holes], axis=0)
    if (holes & ~empty).any():
        medians[holes & ~empty] = np.nanmedian(numbers[:, holes & ~empty], axis=0)
    return medians
