"""A record comes back from its file as it was, and a file that does not fit is refused by place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepacast.core.records import Record, ResultsError, plain, read_record, sparse, typed, write_record


@dataclass(frozen=True)
class Limits(Record):
    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95


@dataclass(frozen=True)
class Found(Record):
    name: str
    kind: Literal["frozen", "nested"]
    limits: Limits
    curve: NDArray[np.float64]
    counts: NDArray[np.int64]
    pair: tuple[str, int]
    many: tuple[float, ...] = ()
    by_horizon: dict[float, Limits] = field(default_factory=dict)
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    shown: bool = True
    anything: Any = None
    scratch: list[int] = field(default_factory=list, metadata={"stored": False})


@dataclass(frozen=True)
class Second(Record):
    record_version: ClassVar[int] = 2
    risk: float


def found(**changes: Any) -> Found:
    values: dict[str, Any] = {
        "name": "combined",
        "kind": "nested",
        "limits": Limits(0.8, 0.7, math.inf),
        "curve": np.array([[0.0, 0.5], [math.nan, 1.0]]),
        "counts": np.array([3, 4]),
        "pair": ("a", 2),
        "many": (1.0, 2.0),
        "by_horizon": {1.5: Limits(0.1), 24.0: Limits(-math.inf)},
        "notes": ["few events"],
    }
    return Found(**(values | changes))


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    write_record(path, {"training": found(scratch=[1])})
    back = read_record(dict[str, Found], path)["training"]
    np.testing.assert_array_equal(back.curve, [[0.0, 0.5], [math.nan, 1.0]])
    assert back.counts.dtype == np.int64 and back.pair == ("a", 2) and back.many == (1.0, 2.0)
    assert back.limits == Limits(0.8, 0.7, math.inf) and list(back.by_horizon) == [1.5, 24.0]
    assert math.isnan(back.by_horizon[1.5].low) and back.by_horizon[24.0].value == -math.inf
    assert back.reason is None and back.scratch == []


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_every_number_survives(values: list[float]) -> None:
    back = Found.from_json(found(curve=np.array(values), many=tuple(values)).to_json())
    np.testing.assert_array_equal(back.curve, np.array(values, dtype=float))
    np.testing.assert_array_equal(np.array(back.many), np.array(values, dtype=float))


@pytest.mark.parametrize(
    ("field_name", "value", "place"),
    [
        ("kind", "usual", "value.kind"),
        ("curve", [[1.0], [1.0, 2.0]], "value.curve"),
        ("curve", [True], "value.curve[0]"),
        ("counts", [1.5], "value.counts[0]"),
        ("pair", ["a"], "value.pair"),
        ("by_horizon", {"soon": {"value": 1.0}}, "value.by_horizon"),
        ("limits", {"low": 1.0}, "value.limits"),
        ("shown", 1, "value.shown"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_place(field_name: str, value: Any, place: str) -> None:
    with pytest.raises(ResultsError) as raised:
        Found.from_json(found().to_json() | {field_name: value})
    assert raised.value.where == place


def test_a_lacking_field_is_named() -> None:
    content = found().to_json()
    del content["name"]
    with pytest.raises(ResultsError, match="lacks a field") as raised:
        Found.from_json(content)
    assert "'name' in Found" in str(raised.value)


def test_another_version_is_refused_not_misread() -> None:
    assert Second.from_json(Second(0.2).to_json()) == Second(0.2)
    for content in ({"risk": 0.2}, {"risk": 0.2, "record_version": 3}):
        with pytest.raises(ResultsError, match="another version"):
            Second.from_json(content)


@dataclass(frozen=True)
class Numeric(Record):
    mean: float
    reason: str = sparse("")


@dataclass(frozen=True)
class Counted(Record):
    counts: dict[str, int]


def test_what_is_at_its_default_is_not_written_where_a_field_says_so() -> None:
    assert Numeric(1.0).to_json() == {"mean": 1.0}
    assert Numeric(math.nan, "nobody").to_json() == {"mean": None, "reason": "nobody"}
    assert Numeric.from_json({"mean": 1.0}) == Numeric(1.0)


def test_of_several_records_the_one_that_fits_is_read() -> None:
    both = [Numeric(2.0), Counted({"a": 1})]
    assert typed(list[Numeric | Counted], plain(both)) == both
    assert typed(list[Counted | Numeric], plain(both)) == both
