"""Rows of many cases, Table 1, agreement of readers."""

from __future__ import annotations

import numpy as np
import pytest

from hepacast.errors import ImageError
from hepacast.imaging import Geometry, Volume
from hepacast.segmentation.evaluation import (
    EvaluationCase,
    evaluate_cases,
    reader_agreement,
    summary_table,
    undefined_counts,
)

GRID = Geometry((8, 8, 8), (1.0, 1.0, 2.0))


def cube(first, last):
    array = np.zeros(GRID.shape, dtype=bool)
    array[first:last, 2:6, 2:6] = True
    return Volume(array, GRID)


def cases():
    yield EvaluationCase("a", "fold 0", {"liver": cube(1, 5)}, {"liver": cube(1, 5)})
    yield EvaluationCase("b", "fold 0", {"liver": cube(1, 5)}, {"liver": cube(3, 7)})
    yield EvaluationCase("c", "fold 1", {"liver": cube(1, 5)}, {"liver": cube(1, 5)})
    yield EvaluationCase("d", "test", {"liver": cube(1, 5)}, {"liver": cube(9, 9)})


def test_one_row_a_case_and_structure_in_the_given_order():
    rows = evaluate_cases(cases())
    assert [(row["patient"], row["set"], row["structure"]) for row in rows] == [
        ("a", "fold 0", "liver"),
        ("b", "fold 0", "liver"),
        ("c", "fold 1", "liver"),
        ("d", "test", "liver"),
    ]
    assert [row["dice"] for row in rows] == [1.0, 0.5, 1.0, 0.0]
    assert rows[3]["status"] == "predicted_empty" and "precision" in rows[3]["reason"]


def test_table_1_holds_the_means_of_each_set_and_their_mean():
    table = summary_table(evaluate_cases(cases()), ("dice", "precision"))
    assert list(table.columns) == ["fold 0", "fold 1", "test", "mean"]
    assert table.loc[("dice", "liver")].tolist() == pytest.approx([0.75, 1.0, 0.0, 1.75 / 3])
    # The empty prediction has no precision: it is left out of the mean, and counted.
    assert table.loc[("precision", "liver"), "test"] != table.loc[("precision", "liver"), "test"]
    assert table.loc[("precision", "liver"), "mean"] == pytest.approx(0.875)
    assert undefined_counts(evaluate_cases(cases())) == [
        {"set": "test", "structure": "liver", "status": "predicted_empty", "n": 1}
    ]


def test_the_table_of_nothing_is_empty():
    assert summary_table([]).empty


def test_a_missing_structure_is_not_an_empty_one():
    case = EvaluationCase("a", "test", {"tumor": cube(1, 2)}, {"liver": cube(1, 5)})
    with pytest.raises(ImageError, match="no structure 'tumor'"):
        evaluate_cases([case])


def test_readers_are_compared_in_what_both_have_drawn():
    rows = reader_agreement([("a", {"liver": cube(1, 5), "tumor": cube(2, 3)}, {"liver": cube(1, 4)})])
    assert [(row["structure"], row["set"]) for row in rows] == [("liver", "readers")]
    assert rows[0]["dice"] == pytest.approx(2 * 3 / 7)
