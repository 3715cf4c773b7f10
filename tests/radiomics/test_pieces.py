"""Pieces of patients put together are the table that all of them made at once."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hepacast.core.mapped import MappedTable
from hepacast.errors import TableError
from hepacast.radiomics import pieces as pieces_module
from hepacast.radiomics.pieces import put_together
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.table import concat_long, read_long, to_wide, write_long

NAMES = [f"f{j}" for j in range(4)]


def voi(name, seed, missing=(), names=NAMES):
    values = dict(zip(names, np.random.default_rng(seed).normal(size=len(names)), strict=True))
    return VoiResult.of(name, names, {k: v for k, v in values.items() if k not in missing}, {})


def patient(number, sequences=("",), **more):
    results = {s: [voi("liver", number), voi("tumor", 50 + number, **more)] for s in sequences}
    if number == 3:
        results[sequences[0]][1] = VoiResult.failed("tumor", NAMES, "The VOI is empty.")
    if number == 5:
        results[sequences[-1]][0] = voi("liver", 5, missing=["f1", "f3"])
    parts = [ExtractionResult({r.voi: r for r in own}, "h", "E").to_long(f"P{number}", s) for s, own in results.items()]
    return concat_long(parts, settings_hash="h", engine="E")


@pytest.fixture
def write(tmp_path):
    def these(tables):
        paths = [tmp_path / f"{number}.parquet" for number in range(len(tables))]
        for table, path in zip(tables, paths, strict=True):
            write_long(table, path)
        return paths

    return these


@pytest.mark.parametrize("sequences", [("",), ("ap", "pvp")], ids=["one sequence", "two sequences"])
def test_both_tables_are_those_of_all_patients(tmp_path, write, monkeypatch, sequences):
    monkeypatch.setattr(pieces_module, "_GROUP", 3)
    tables = [patient(number, sequences) for number in range(8)]
    told = put_together(write(tables), tmp_path / "w.feather", tmp_path / "l.parquet", settings_hash="h")
    whole = concat_long(tables, settings_hash="h", engine="E")
    long = read_long(tmp_path / "l.parquet")
    pd.testing.assert_frame_equal(long, whole)
    assert long.attrs == whole.attrs
    assert pq.ParquetFile(tmp_path / "l.parquet").num_row_groups == 3
    opened = MappedTable.open(tmp_path / "w.feather")
    pd.testing.assert_frame_equal(opened.frame([f"P{i}" for i in range(8)]), to_wide(whole), check_exact=True)
    # Who cannot be analyzed comes last, so that the others lie in one piece.
    assert list(opened.index) == ["P0", "P1", "P2", "P4", "P5", "P6", "P7", "P3"]
    assert told.failed == {("P3", sequences[0], "tumor"): "The VOI is empty."}
    assert (told.undefined, told.undefined_features) == (
        {"P5": 2},
        {(sequences[-1], "liver", "f1"), (sequences[-1], "liver", "f3")},
    )
    assert told.counts == whole["status"].value_counts().to_dict()


def test_a_column_that_comes_late_is_missing_before(tmp_path, write):
    tables = [patient(0), patient(1, names=[*NAMES, "new"]), patient(2)]
    put_together(write(tables), tmp_path / "w.feather")
    wide = MappedTable.open(tmp_path / "w.feather").frame()
    expected = to_wide(concat_long(tables, settings_hash="", engine=""))
    pd.testing.assert_frame_equal(wide[list(expected.columns)], expected, check_exact=True)
    assert list(wide["tumor:new"].isna()) == [True, False, True]


def test_nobody_gives_empty_tables_and_a_feature_twice_is_refused(tmp_path, write):
    put_together([], tmp_path / "w.feather", tmp_path / "l.parquet")
    assert MappedTable.open(tmp_path / "w.feather").frame().shape == (0, 0)
    assert len(read_long(tmp_path / "l.parquet")) == 0
    twice = pd.concat([patient(0), patient(0)], ignore_index=True)
    with pytest.raises(TableError, match="more than once"):
        put_together(write([twice]), tmp_path / "x.feather", tmp_path / "x.parquet")
    assert not list(tmp_path.glob("x.*")) and not list(tmp_path.glob(".tmp*"))
