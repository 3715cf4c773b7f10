"""Tables of numbers that are too large to be read: mapped into memory, column by column, and shared by all processes.

The file is an Arrow (Feather) file of one batch: a column of names, then columns of float64 without gaps, so that
pandas, R and polars read it (also single columns of it), and here it is one array that lies on the disk. Only what is
used comes into memory, once for all processes of a machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hepacast.core.files import atomic_path
from hepacast.errors import TableError

_ATTRS = b"hepacast.attrs"
#: Bytes of rows that are turned into columns at once.
_TILE = 2**25


@dataclass(frozen=True, eq=False)
class MappedTable:
    """A table on disk; to another process goes its path alone.

    Parameters
    ----------
    path
        The file.
    index
        Names of the rows.
    columns
        Names of the columns.
    values
        The numbers, shape (rows, columns), each column contiguous. Changes stay in this process.
    attrs
        What the table says of itself.
    """

    path: Path
    index: pd.Index
    columns: pd.Index
    values: NDArray[np.float64] = field(repr=False)
    attrs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: str | Path) -> MappedTable:
        """The table of a file that `write_mapped` wrote.

        Raises
        ------
        TableError
            The file is none, or ends too early.
        """
        import pyarrow as pa

        path = Path(path)
        try:
            with pa.memory_map(str(path)) as source:
                start = source.read_buffer(source.size()).address
                source.seek(0)
                batch = pa.ipc.open_file(source).get_batch(0)
                names, *columns = batch.columns
                places = [item.buffers()[1].address - start for item in columns]
                size = source.size()
        except (pa.ArrowException, OSError, ValueError, IndexError) as error:
            raise _no_table(path, str(error).splitlines()[0]) from error
        rows = batch.num_rows
        step = places[1] - places[0] if len(places) > 1 else 8 * rows
        if any(item.type != pa.float64() or item.null_count for item in columns):
            raise _no_table(path, "columns that are not float64, or have gaps")
        if columns and (set(np.diff(places)) - {step} or places[-1] + 8 * rows > size):
            raise _no_table(path, "columns at uneven distances")
        values = np.empty((len(places), rows))
        if values.size:
            whole = np.memmap(path, np.float64, "c", places[0], (((len(places) - 1) * step) // 8 + rows,))
            values = np.lib.stride_tricks.as_strided(whole, values.shape, (step, 8))
        metadata = batch.schema.metadata or {}
        index = pd.Index(names.to_pylist(), name=batch.schema.names[0])
        attrs = json.loads(metadata.get(_ATTRS, b"{}"))
        return cls(path, index, pd.Index(batch.schema.names[1:]), values.T, attrs)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return MappedTable.open, (self.path,)

    def frame(self, rows: Sequence[str] | pd.Index | None = None) -> pd.DataFrame:
        """The table, or rows of it in this order, as a DataFrame.

        All rows, or the first of them in their order, are not copied: the frame lies on the disk.

        Raises
        ------
        TableError
            A row is not in the table.
        """
        chosen = self.index if rows is None else pd.Index(rows, name=self.index.name)
        values = self.values[: len(chosen)]
        if not self.index[: len(chosen)].equals(chosen):
            places = self.index.get_indexer(chosen)
            if (places < 0).any():
                lacking = list(chosen[places < 0])
                raise TableError("A row is not in the table.", found=f"no {lacking[0]}", where=str(self.path))
            values = self.values.T[:, places].T
        frame = pd.DataFrame(values, index=chosen, columns=self.columns, copy=False)
        frame.attrs.update(self.attrs)
        return frame


def side_by_side(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames of the same rows beside each other; numbers that lie on the disk stay there."""
    # pandas 3 copies when something is changed, and asks not to be told.
    lazily: dict[str, Any] = {} if int(pd.__version__.split(".")[0]) >= 3 else {"copy": False}
    return pd.concat(list(parts), axis=1, **lazily)


def _no_table(path: Path, found: str) -> TableError:
    return TableError(
        "This is no table that can be mapped.",
        expected="an Arrow file of one batch: names, then columns of float64",
        found=found,
        where=str(path),
        remedy="run the study again: what is damaged is made anew",
    )


def write_mapped(
    path: str | Path,
    values: NDArray[np.float64],
    index: Sequence[str] | pd.Index,
    columns: Sequence[str] | pd.Index,
    *,
    name: str = "patient",
    order: NDArray[np.intp] | None = None,
    attrs: Mapping[str, str] | None = None,
) -> None:
    """Write a table that `MappedTable.open` opens.

    Parameters
    ----------
    values
        Numbers, shape (rows, columns), in memory or mapped; missing ones are NaN.
    index, columns
        Names of the rows as they are written, and of the columns.
    name
        What the rows are.
    order
        Which row of `values` comes at each place; as they are by default.
    attrs
        What the table says of itself.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    import pyarrow as pa

    path = Path(path)
    with atomic_path(path) as temporary, _columns_first(values, order, temporary.parent) as lying:
        schema = pa.schema(
            [(name, pa.string()), *((str(item), pa.float64()) for item in columns)],
            metadata={_ATTRS: json.dumps(dict(attrs or {}))},
        )
        rows = lying.shape[1]
        arrays = [pa.Array.from_buffers(pa.float64(), rows, [None, pa.py_buffer(item)], 0) for item in lying]
        batch = pa.record_batch([pa.array([str(item) for item in index], pa.string()), *arrays], schema=schema)
        with pa.ipc.new_file(str(temporary), schema) as writer:
            writer.write_batch(batch)


@contextmanager
def _columns_first(
    values: NDArray[np.float64], order: NDArray[np.intp] | None, folder: Path
) -> Iterator[NDArray[np.float64]]:
    """The values with each column contiguous, shape (columns, rows); turned on the disk, a tile of rows at a time."""
    rows, columns = values.shape
    if (order is None and values.T.flags.c_contiguous) or not values.size:
        yield values.T
        return
    with TemporaryFile(dir=folder) as scratch:
        turned = np.memmap(scratch, np.float64, "w+", shape=(columns, rows))
        step = max(1, _TILE // (8 * columns))
        for first in range(0, rows, step):
            tile = slice(first, first + step)
            turned[:, tile] = values[tile if order is None else order[tile]].T
        yield turned
        del turned
