"""Numbers as they are printed."""

import math

import pytest

from hepacast.core.formatting import risk_text


@pytest.mark.parametrize(
    ("risk", "shown"),
    [
        (0.6304, "63.0%"), (0.0005, "0.1%"), (0.000499, "<0.1%"), (1e-9, "<0.1%"), (0.9994, "99.9%"),
        (0.99951, ">99.9%"), (0.0, "0.0%"), (1.0, "100.0%"), (math.nan, "\u2014"),
    ],
)  # fmt: skip
def test_a_risk_is_not_rounded_to_certainty(risk: float, shown: str) -> None:
    assert risk_text(risk) == shown
