"""Mapped tables: what is written is read, by us and by pandas, and nothing is copied that need not be."""

import pickle

import numpy as np
import pandas as pd
import pytest

from hepacast.core.mapped import MappedTable, side_by_side, write_mapped
from hepacast.errors import TableError

ROWS, COLUMNS = [f"00{i}" for i in range(7)], [f"voi:f{j}" for j in range(5)]


@pytest.fixture
def values():
    found = np.random.default_rng(0).normal(size=(len(ROWS), len(COLUMNS)))
    found[2, 3] = np.nan
    return found


@pytest.mark.parametrize("turned", [False, True], ids=["rows first", "columns first"])
def test_what_is_written_is_read(tmp_path, values, turned):
    file = tmp_path / "t.feather"
    write_mapped(file, np.asfortranarray(values) if turned else values, ROWS, COLUMNS, attrs={"engine": "x"})
    table = MappedTable.open(file)
    assert np.array_equal(table.values, values, equal_nan=True)
    assert (list(table.index), list(table.columns), table.attrs) == (ROWS, COLUMNS, {"engine": "x"})
    plain = pd.read_feather(file).set_index("patient")
    pd.testing.assert_frame_equal(plain, table.frame(), check_column_type=False)
    assert list(pd.read_feather(file, columns=["voi:f3"])["voi:f3"].isna()) == [i == 2 for i in range(7)]
    assert [item.name for item in tmp_path.iterdir()] == ["t.feather"]


def test_rows_in_another_order_are_written_and_read(tmp_path, values, monkeypatch):
    monkeypatch.setattr("hepacast.core.mapped._TILE", 100)  # two rows at a time
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    write_mapped(tmp_path / "t", values, [ROWS[i] for i in order], COLUMNS, order=order)
    table = MappedTable.open(tmp_path / "t")
    assert np.array_equal(table.frame(ROWS).to_numpy(), values, equal_nan=True)
    with pytest.raises(TableError, match="no 009"):
        table.frame(["001", "009"])


def test_a_frame_of_the_first_rows_lies_on_the_disk_and_changes_stay_in_memory(tmp_path, values):
    file = tmp_path / "t"
    write_mapped(file, values, ROWS, COLUMNS)
    table = MappedTable.open(file)
    clinical = pd.DataFrame({"age": range(5)}, index=pd.Index(ROWS[:5], name="patient"))
    both = side_by_side([clinical, table.frame(ROWS[:5])])
    assert np.shares_memory(both["voi:f0"].to_numpy(), table.values)
    assert list(both.columns) == ["age", *COLUMNS]
    before = file.read_bytes()
    table.values[0, 0] = 7.0
    assert file.read_bytes() == before and MappedTable.open(file).values[0, 0] == values[0, 0]


def test_another_process_gets_the_path(tmp_path, values):
    big = np.zeros((len(ROWS), 2000))
    write_mapped(tmp_path / "t", big, ROWS, [str(j) for j in range(2000)])
    sent = pickle.dumps(MappedTable.open(tmp_path / "t"))
    assert len(sent) < 500
    assert pickle.loads(sent).values.shape == big.shape


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1)])
def test_small_tables(tmp_path, shape):
    write_mapped(tmp_path / "t", np.ones(shape), ROWS[: shape[0]], COLUMNS[: shape[1]])
    assert MappedTable.open(tmp_path / "t").frame().shape == shape


@pytest.mark.parametrize("harm", ["ends early", "is none", "has integers", "is not there"])
def test_what_is_no_such_table_is_refused(tmp_path, values, harm):
    file = tmp_path / "t"
    write_mapped(file, values, ROWS, COLUMNS)
    if harm == "ends early":
        file.write_bytes(file.read_bytes()[:400])
    elif harm == "is none":
        file.write_text("patient,a\n1,2\n")
    elif harm == "has integers":
        pd.DataFrame({"patient": ["1"], "a": [1]}).to_feather(file, compression="uncompressed")
    else:
        file.unlink()
    with pytest.raises(TableError, match="no table that can be mapped"):
        MappedTable.open(file)
