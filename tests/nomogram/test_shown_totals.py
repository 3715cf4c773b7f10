"""Which part of the total points is drawn."""

from hepacast.nomogram import NomogramModel, NomogramPredictor, build_nomogram
from hepacast.nomogram.build import shown_totals


def _risks(*points: float) -> list[dict]:
    return [{"label": "Risk", "ticks": [{"total_points": value} for value in points]}]


def test_totals_are_shown_where_risks_lie_and_the_patient_is():
    ticks = list(range(0, 241, 20))
    shown = shown_totals(ticks, _risks(180, 192, 204))
    assert 150 < shown[0] <= 178 and 206 <= shown[-1] < 230
    assert shown_totals(ticks, _risks(180, 192, 204), total=20)[0] <= 20
    assert shown_totals(ticks, _risks(40, 200)) == ticks == shown_totals(ticks, _risks()) == shown_totals(ticks, [])


def test_predictors_that_outweigh_each_other_leave_a_risk_that_can_be_read():
    names = [f"b{number}" for number in range(8)]
    predictors = tuple(NomogramPredictor(name, low=0.0, high=10.0) for name in names)
    coefficients = {name: (1.0 if number % 2 else -1.0,) for number, name in enumerate(names)}
    drawn = build_nomogram(NomogramModel(predictors, coefficients, 0.0), lp_range=(-6.0, 6.0))
    spec = drawn.to_spec()
    low, high = spec["total_ticks"][0], spec["total_ticks"][-1]
    (risks,) = spec["outputs"]
    points = [tick["total_points"] for tick in risks["ticks"]]
    assert drawn.total_ticks[0] == 0
    assert low <= min(points) and max(points) <= high
    assert max(points) - min(points) > 0.5 * (high - low)
