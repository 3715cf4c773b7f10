"""Feature tables: features of many images as a long table on disk and a wide table in memory.

Long: one row a feature with the columns of `LONG_COLUMNS`; the settings' hash travels in the file's metadata, and
tables of different settings are not joined. Wide: one row a patient, one column a feature (``voi:feature``, or
``sequence:voi:feature`` where there are several sequences).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hepacast.core.files import atomic_path
from hepacast.core.texts import cells
from hepacast.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

LONG_COLUMNS = ("patient", "sequence", "voi", "feature", "value", "status", "reason")

#: Metadata of a feature file: the settings' hash, and what calculated the values.
HASH_KEY = b"hepacast.settings_hash"
ENGINE_KEY = b"hepacast.engine"


def concat_long(parts: Iterable[pd.DataFrame], *, settings_hash: str, engine: str) -> pd.DataFrame:
    """One long table from several, with the metadata in ``attrs``."""
    kept = [part for part in parts if len(part)]
    table = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=list(LONG_COLUMNS))
    table["value"] = table["value"].astype(float)
    for column in LONG_COLUMNS:
        if column != "value":
            table[column] = table[column].astype(object)
    table.attrs.update(settings_hash=settings_hash, engine=engine)
    return table


def write_long(table: pd.DataFrame, target: str | Path) -> None:
    """Write a long table as Parquet (with the settings' hash as metadata) or CSV, by the name's ending."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = Path(target)
    with atomic_path(target) as temporary:
        if target.suffix.lower() == ".csv":
            cells(table).to_csv(temporary, index=False, lineterminator="\n")
            return
        schema = long_schema(table.attrs.get("settings_hash", ""), table.attrs.get("engine", ""))
        content = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
        pq.write_table(content, temporary, **PARQUET)  # type: ignore[arg-type]


#: Texts as codes (each stands once in a group of rows), numbers byte by byte: a fifth smaller than without.
PARQUET = {
    "compression": "zstd",
    "use_dictionary": [name for name in LONG_COLUMNS if name != "value"],
    "use_byte_stream_split": ["value"],
}


def long_schema(settings_hash: str, engine: str) -> pa.Schema:
    """Columns of a long table as Parquet, with what the values were made by."""
    import pyarrow as pa

    return pa.schema(
        [(name, pa.float64() if name == "value" else pa.string()) for name in LONG_COLUMNS],
        metadata={HASH_KEY: str(settings_hash), ENGINE_KEY: str(engine)},
    )


def read_long(source: str | Path) -> pd.DataFrame:
    """Read what `write_long` wrote.

    Raises
    ------
    TableError
        Columns are missing.
    """
    import pyarrow.parquet as pq

    source = Path(source)
    attrs: dict[str, str] = {}
    if source.suffix.lower() == ".csv":
        table = pd.read_csv(source, dtype={"patient": str}, float_precision="round_trip")
    else:
        content = pq.read_table(source)
        metadata = content.schema.metadata or {}
        attrs = {
            "settings_hash": metadata.get(HASH_KEY, b"").decode(),
            "engine": metadata.get(ENGINE_KEY, b"").decode(),
        }
        table = content.to_pandas()
    missing = [name for name in LONG_COLUMNS if name not in table.columns]
    if missing:
        raise TableError(
            "This is not a long feature table.",
            expected="columns " + ", ".join(LONG_COLUMNS),
            found="without " + ", ".join(missing),
            where=str(source),
        )
    table["patient"] = table["patient"].astype(str)
    table["sequence"] = table["sequence"].fillna("").astype(str)
    table.attrs.update(attrs)
    return table


def join_long(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The rows of both tables, provided that they were made with the same settings.

    Raises
    ------
    TableError
        The settings' hashes differ or are unknown, or a patient's feature stands in both tables.
    """
    hashes = [str(table.attrs.get("settings_hash", "")) for table in (first, second)]
    if not all(hashes) or hashes[0] != hashes[1]:
        raise TableError(
            "Feature tables made with different settings cannot be joined.",
            expected=f"settings hash {hashes[0] or 'unknown'}",
            found=f"settings hash {hashes[1] or 'unknown'}",
            remedy="extract both with the same settings; `hepacast extract --compare` tells what differs",
        )
    key = ["patient", "sequence", "voi", "feature"]
    table = concat_long([first, second], settings_hash=hashes[0], engine=str(first.attrs.get("engine", "")))
    repeated = table.duplicated(key)
    if repeated.any():
        row = table.loc[repeated].iloc[0]
        raise TableError(
            "The same feature of the same patient stands in both tables.",
            where=f"patient {row['patient']}, {row['voi']}, {row['feature']}",
        )
    return table


def to_wide(table: pd.DataFrame) -> pd.DataFrame:
    """One row a patient, one column a feature, columns and rows in the order of first appearance."""
    several = table["sequence"].nunique() > 1
    prefix = table["sequence"] + ":" + table["voi"] if several else table["voi"]
    column = prefix + ":" + table["feature"]
    patients = pd.Index(pd.unique(table["patient"]), name="patient")
    columns = pd.unique(column)
    if table.duplicated(["patient", "sequence", "voi", "feature"]).any():
        raise TableError("A feature stands more than once for a patient.", expected="one row a feature")
    values = np.full((len(patients), len(columns)), np.nan)
    rows = patients.get_indexer(pd.Index(table["patient"]))
    values[rows, pd.Index(columns).get_indexer(pd.Index(column))] = table["value"]
    wide = pd.DataFrame(values, index=patients.astype(str), columns=columns)
    wide.attrs.update(table.attrs)
    return wide


def status_counts(table: pd.DataFrame) -> pd.DataFrame:
    """For each patient, sequence and VOI: how many features are ok, undefined and failed, and the first reason."""
    keys = ["patient", "sequence", "voi"]
    counts = table.groupby(keys, sort=False)["status"].value_counts().unstack(fill_value=0)
    for status in ("ok", "undefined", "failed"):
        if status not in counts:
            counts[status] = 0
    reasons = table.dropna(subset=["reason"]).groupby(keys, sort=False)["reason"].first()
    return counts[["ok", "undefined", "failed"]].join(reasons).reset_index()
