"""One rule says whether honest estimates agree and whether risks hold in new patients."""

from __future__ import annotations

import math

import pytest

from hepacast.core.estimates import Estimate
from hepacast.evaluation.verdicts import validation_verdicts

GOOD = Estimate(0.80, se=0.03)


def kinds(**numbers: object) -> list[str]:
    return [item.kind for item in validation_verdicts(**numbers)]  # type: ignore[arg-type]


def test_nothing_is_said_where_all_agree() -> None:
    assert not kinds(
        nested=GOOD,
        bootstrap=0.82,
        frozen=Estimate(0.75, se=0.05),
        slope=Estimate(0.9, low=0.6, high=1.2),
        observed_expected=Estimate(1.1, low=0.8, high=1.4),
    )
    assert not kinds() and not kinds(nested=GOOD)
    assert not kinds(nested=Estimate(math.nan), frozen=Estimate(math.nan), slope=Estimate(math.nan))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"frozen": Estimate(0.20, se=0.06)}, ["reversed", "disagreement"]),
        ({"frozen": Estimate(0.58, se=0.06)}, ["chance", "disagreement"]),
        ({"frozen": Estimate(0.70, se=0.12)}, ["chance"]),
        ({"frozen": Estimate(0.95, se=0.02)}, ["disagreement"]),
        # 1.96 sqrt(0.03^2 + 0.04^2) = 0.098: just below and just above
        ({"frozen": Estimate(0.703, se=0.04)}, []),
        ({"frozen": Estimate(0.701, se=0.04)}, ["disagreement"]),
        ({"bootstrap": 0.90}, ["disagreement"]),
        ({"slope": Estimate(0.5, low=0.2, high=0.8)}, ["slope"]),
        ({"slope": Estimate(1.8, low=1.1, high=2.5)}, ["slope"]),
        ({"observed_expected": Estimate(0.4, low=0.2, high=0.7)}, ["observed-expected"]),
    ],
)
def test_what_fails_is_named(numbers: dict[str, object], expected: list[str]) -> None:
    assert kinds(nested=GOOD, **numbers) == expected


def test_sentences_are_whole_and_name_set_model_and_numbers() -> None:
    found = validation_verdicts(
        nested=GOOD,
        frozen=Estimate(0.2, se=0.05),
        slope=Estimate(-1.2, low=-2.0, high=-0.3),
        observed_expected=Estimate(2.4, low=1.7, high=3.4),
        model="combined",
        where="external set",
    )
    assert [item.kind for item in found] == ["reversed", "disagreement", "observed-expected", "slope"]
    for item in found:
        assert "combined" in item.sentence and "external set" in item.sentence and item.sentence.endswith(".")
        assert "nan" not in item.sentence
    assert "0.200" in found[0].sentence and "0.800" in found[1].sentence and "2.40" in found[2].sentence
    assert "fewer events" in found[3].sentence


def test_without_nested_validation_the_bootstrap_alone_says_nothing() -> None:
    assert not kinds(bootstrap=0.95, frozen=Estimate(0.5, se=0.05))
    assert kinds(frozen=Estimate(0.3, se=0.05)) == ["reversed"]


def test_limits_are_called_by_their_level() -> None:
    found = validation_verdicts(
        nested=GOOD,
        frozen=Estimate(0.52, se=0.06),
        slope=Estimate(-0.33, low=-0.82, high=0.15),
        observed_expected=Estimate(1.6, low=1.2, high=2.1),
        level=0.975,
    )
    shown = {item.kind: item.sentence for item in found}
    assert "97.5% CI 0.386 to 0.654" in shown["chance"]
    assert "\N{MINUS SIGN}0.33 (97.5% CI \N{MINUS SIGN}0.82 to 0.15)" in shown["slope"]
    assert "(97.5% CI 1.20 to 2.10)" in shown["observed-expected"]
