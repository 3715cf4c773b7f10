"""Features of a cohort put together from those of each patient, without ever being in memory as a whole.

A piece is the long table of one patient (`hepacast.radiomics.table.write_long`), kept as long as what it was made from
stays as it was. From the pieces come the long table of all, written group by group, and the wide one that models read
(`hepacast.core.mapped`). What is needed of memory does not grow with the patients, so a cohort may: new patients are
measured, the others are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hepacast.core.files import atomic_path
from hepacast.core.mapped import write_mapped
from hepacast.errors import TableError
from hepacast.radiomics.table import ENGINE_KEY, PARQUET, long_schema

#: Patients of one group of rows of the long table.
_GROUP = 128
#: What names a feature of a patient.
_KEYS = ("sequence", "voi", "feature")


@dataclass
class PiecesTold:
    """What putting pieces together found.

    Attributes
    ----------
    patients
        In the order of the pieces.
    engine
        What calculated the values of the first piece.
    counts
        Values by status.
    failed
        Why, by patient, sequence and VOI that could not be measured.
    undefined
        Of patients without such: values by patient that their formula does not define.
    undefined_features
        Which features these are.
    """

    patients: list[str] = field(default_factory=list)
    engine: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)
    undefined: dict[str, int] = field(default_factory=dict)
    undefined_features: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def failed_patients(self) -> set[str]:
        """Patients of whom a VOI could not be measured."""
        return {patient for patient, _, _ in self.failed}

    def see(self, patient: str, piece: pa.Table) -> None:
        """Take down the patient of one piece."""
        self.patients.append(patient)
        ok = pc.equal(piece["status"], "ok")
        self.counts["ok"] += int(pc.sum(ok).as_py() or 0)
        rest = piece.filter(pc.invert(ok)).select([*_KEYS, "status", "reason"]).to_pylist()
        self.counts.update(row["status"] for row in rest)
        for row in rest:
            if row["status"] == "failed":
                self.failed.setdefault((patient, row["sequence"], row["voi"]), row["reason"])
        undefined = [tuple(row[key] for key in _KEYS) for row in rest if row["status"] == "undefined"]
        if undefined and not any(row["status"] == "failed" for row in rest):
            self.undefined[patient] = len(undefined)
            self.undefined_features.update(undefined)


@dataclass
class _Rows:
    """Values of one patient after the other, in a file; a column that appears late is missing before."""

    file: Any
    places: dict[tuple[str, ...], int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    _keys: pa.Table | None = None
    _own: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def add(self, piece: pa.Table) -> None:
        keys = piece.select(_KEYS)
        if self._keys is None or not keys.equals(self._keys):
            self._keys, named = keys, list(zip(*(column.to_pylist() for column in keys.columns), strict=True))
            if len(set(named)) < len(named):
                raise TableError("A feature stands more than once for a patient.", expected="one row a feature")
            self._own = np.array([self.places.setdefault(key, len(self.places)) for key in named], dtype=np.intp)
        row = np.full(len(self.places), np.nan)
        row[self._own] = piece["value"].to_numpy()
        self.file.write(row.tobytes())
        self.lengths.append(len(row))

    def columns(self) -> list[str]:
        """``voi:feature``, or ``sequence:voi:feature`` where there are several sequences."""
        several = len({key[0] for key in self.places}) > 1
        return [":".join(key if several else key[1:]) for key in self.places]

    def values(self) -> NDArray[np.float64]:
        """All rows, mapped."""
        self.file.flush()
        if not sum(self.lengths):
            return np.empty((len(self.lengths), 0))
        flat = np.memmap(self.file, np.float64, "r")
        width = len(self.places)
        if set(self.lengths) == {width}:
            return flat.reshape(-1, width)
        whole = np.full((len(self.lengths), width), np.nan)
        ends = np.cumsum(self.lengths)
        for row, end, length in zip(whole, ends, self.lengths, strict=True):
            row[:length] = flat[end - length : end]
        return whole


def put_together(
    pieces: Sequence[Path], wide: str | Path, long: str | Path | None = None, *, settings_hash: str = ""
) -> PiecesTold:
    """Write the tables of all patients from the long table of each.

    Parameters
    ----------
    pieces
        Files of `write_long`, one a patient, in the order of the tables.
    wide
        Table of one row a patient (`MappedTable`): first those of whom every VOI was measured, then the others, each
        in the order of the pieces. Columns as of `to_wide`.
    long
        The long table, Parquet, patients in the order of the pieces; None: it is not written.
    settings_hash
        Of the settings of all pieces.

    Raises
    ------
    TableError
        A feature stands twice for a patient.
    StorageError
        A table cannot be written.
    """
    wide, told = Path(wide), PiecesTold()
    wide.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=wide.parent) as scratch, _long_table(long, settings_hash, told) as add:
        rows = _Rows(scratch)
        for path in pieces:
            piece = pq.ParquetFile(path).read(use_threads=False)
            told.engine = told.engine or (piece.schema.metadata or {}).get(ENGINE_KEY, b"").decode()
            told.see(piece["patient"][0].as_py(), piece)
            rows.add(piece)
            add(piece)
        failed = told.failed_patients
        order = np.argsort([patient in failed for patient in told.patients], kind="stable")
        attrs = {"settings_hash": settings_hash, "engine": told.engine}
        index = [told.patients[place] for place in order]
        write_mapped(wide, rows.values(), index, rows.columns(), order=order, attrs=attrs)
    return told


@contextmanager
def _long_table(path: str | Path | None, settings_hash: str, told: PiecesTold) -> Iterator[Any]:
    """Gives a function that takes pieces; they are written in groups."""
    if path is None:
        yield lambda piece: None
        return
    waiting: list[pa.Table] = []
    writers: list[pq.ParquetWriter] = []

    def write() -> None:
        schema = long_schema(settings_hash, told.engine)
        if not writers:
            writers.append(pq.ParquetWriter(temporary, schema, **PARQUET))  # type: ignore[arg-type]
        group = pa.concat_tables([item.replace_schema_metadata(None) for item in waiting] or [schema.empty_table()])
        writers[0].write_table(group.cast(schema), row_group_size=max(1, len(group)))
        waiting.clear()

    def add(piece: pa.Table) -> None:
        waiting.append(piece)
        if len(waiting) == _GROUP:
            write()

    with atomic_path(path) as temporary:
        try:
            yield add
            if waiting or not writers:
                write()
        finally:
            for writer in writers:
                writer.close()
