"""Nomograms against rms 6.5 (R): every axis tick, points, total points and risk."""

from __future__ import annotations

import numpy as np
import pytest

from hepacast.errors import ModelError
from hepacast.nomogram import Interaction, NomogramModel, NomogramPredictor, build_nomogram
from hepacast.stats.ticks import pretty

R_TICKS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COX_TICKS = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
LEVELS = {
    "race": ("white", "black", "other"),
    "smoke": ("no", "yes"),
    "ht": ("no", "yes"),
    "ui": ("no", "yes"),
    "edema": ("none", "treated", "present"),
}


def _predictor(name, frame, *, knots=None, **options):
    if name in LEVELS:
        return NomogramPredictor(name, levels=LEVELS[name])
    distinct = np.unique(frame[name])
    values = tuple(distinct) if len(distinct) <= 10 else None
    low, high = float(distinct.min()), float(distinct.max())
    return NomogramPredictor(name, low=low, high=high, values=values, knots=knots, **options)


def _coefficients(coef, predictors):
    result = {}
    for item in predictors:
        if item.levels:
            result[item.name] = tuple(coef[f"{item.name}={level}"] for level in item.levels[1:])
        else:
            result[item.name] = tuple(coef[item.name + "'" * j] for j in range(item.n_columns))
    return result


def _logistic(reference, frame, names, *, knots=None, interactions=()):
    predictors = tuple(_predictor(name, frame, knots=(knots or {}).get(name)) for name in names)
    coef = reference["coef"]
    return NomogramModel(predictors, _coefficients(coef, predictors), coef["Intercept"], interactions)


def _check(reference, nomogram, axis_names):
    for axis in nomogram.axes:
        expected = reference["axes"][axis.name]
        values = expected[axis.predictor]
        if isinstance(values[0], str):
            assert list(axis.values) == values
        else:
            np.testing.assert_allclose(axis.values, values, rtol=1e-12)
        np.testing.assert_allclose(axis.contributions, expected["Xbeta"], atol=1e-9)
        np.testing.assert_allclose(axis.points, expected["points"], atol=1e-8)
    assert {axis.name for axis in nomogram.axes} == axis_names
    np.testing.assert_allclose(nomogram.total_ticks, reference["axes"]["total.points"]["x"])
    np.testing.assert_allclose(nomogram.intercept, reference["lp_from_total_points"]["intercept"], rtol=1e-9)
    np.testing.assert_allclose(nomogram.slope, reference["lp_from_total_points"]["slope"], rtol=1e-9)


CASES = {
    "additive": (("age", "lwt", "race", "smoke", "ptl", "ht", "ui"), {}, ()),
    "rcs": (("age", "lwt", "race", "smoke", "ht"), {"age": (16, 20, 25, 32), "lwt": (99.6, 121, 170)}, ()),
    "interaction_cat_cat": (("lwt", "race", "smoke", "ht"), {}, ("race", "smoke")),
    "interaction_num_cat": (("age", "smoke", "lwt", "ht"), {}, ("age", "smoke")),
}


@pytest.mark.parametrize("case", CASES)
def test_logistic_nomogram_equals_rms(golden, case):
    reference, frame = golden("a2_nomogram_birthwt")
    reference = reference[case]
    names, knots, pair = CASES[case]
    interactions = ()
    if pair:
        first, second = pair
        left = [f"{first}={level}" for level in LEVELS[first][1:]] if first in LEVELS else [first]
        right = [f"{second}={level}" for level in LEVELS[second][1:]]
        grid = tuple(tuple(reference["coef"][f"{a} * {b}"] for b in right) for a in left)
        interactions = (Interaction(first, second, grid),)
    model = _logistic(reference, frame, names, knots=knots, interactions=interactions)
    lps = reference["patients"]["lp"]
    nomogram = build_nomogram(model, lp_range=(min(lps), max(lps)), risk_ticks=R_TICKS, show_lp=True)
    not_axes = {"total.points", "lp", "Risk"}
    _check(reference, nomogram, set(reference["axes"]) - not_axes)

    linear, risk = nomogram.outputs
    np.testing.assert_allclose(linear.values, reference["axes"]["lp"]["x.real"], atol=1e-9)
    np.testing.assert_allclose(linear.total_points, reference["axes"]["lp"]["x"], atol=1e-7)
    np.testing.assert_allclose(risk.values, reference["axes"]["Risk"]["x.real"])
    # rms interpolates its risk axis; the README of the references allows 1e-3.
    np.testing.assert_allclose(risk.total_points, reference["axes"]["Risk"]["x"], atol=1e-3)
    for row in range(len(frame)):
        reading = nomogram.read({name: frame.loc[row, name] for name in names})
        np.testing.assert_allclose(reading.linear_predictor, lps[row], atol=1e-8)
        np.testing.assert_allclose(reading.total_points, reference["patients"]["total_points"][row], atol=1e-6)
        np.testing.assert_allclose(reading.outputs["risk"], reference["patients"]["risk"][row], atol=1e-9)
        np.testing.assert_allclose(sum(reading.points.values()), reading.total_points, atol=1e-9)


@pytest.mark.parametrize("case", ["log_bili", "rcs"])
def test_cox_nomogram_equals_rms(golden, case):
    reference, frame = golden("f4_nomogram_cox_pbc")
    reference = reference[case]
    if case == "log_bili":
        options = {"bili": {"log": True, "ticks": (0.3, 0.5, 1, 2, 4, 8, 16, 28)}}
    else:
        options = {name: {"knots": tuple(knots)} for name, knots in reference["parms"].items()}
    names = ("age", "bili", "albumin", "edema")
    predictors = tuple(_predictor(name, frame, **options.get(name, {})) for name in names)
    patients = reference["patients"]
    first = {t: patients[f"S{t}"][1] ** (1 / np.exp(patients["lp"][1])) for t in (1, 3, 5)}
    model = NomogramModel(
        predictors,
        _coefficients(reference["coef"], predictors),
        -reference["center"],
        kind="cox",
        baseline=first,
    )
    lps = patients["lp"]
    nomogram = build_nomogram(model, lp_range=(min(lps), max(lps)), risk_ticks=COX_TICKS)
    _check(reference | {"lp_from_total_points": reference["lp_from_total_points"]}, nomogram, set(names))
    for axis, key in zip(nomogram.outputs, ("S1", "S3", "S5"), strict=True):
        np.testing.assert_allclose(axis.values, reference["axes"][key]["x.real"])
        np.testing.assert_allclose(axis.total_points, reference["axes"][key]["x"], atol=2e-3)
    for row in range(0, len(frame), 7):
        reading = nomogram.read({name: frame.loc[row, name] for name in names})
        np.testing.assert_allclose(reading.total_points, patients["total_points"][row], atol=1e-6)
        np.testing.assert_allclose(
            list(reading.outputs.values()), [patients[f"S{t}"][row] for t in (1, 3, 5)], atol=1e-7
        )


def test_pretty_is_r():
    # Values printed by R 4.2: pretty(c(14, 45), 10), pretty(c(0, 1), 10), pretty(c(94.4, 188.2), 5)
    np.testing.assert_allclose(pretty(14, 45), np.arange(10, 50, 5))
    np.testing.assert_allclose(pretty(0, 1), np.arange(0, 1.01, 0.1))
    np.testing.assert_allclose(pretty(94.4, 188.2, 5), np.arange(80, 201, 20))


def test_a_patient_out_of_the_model_is_refused():
    model = NomogramModel(
        (NomogramPredictor("inr", low=0.8, high=2.0), NomogramPredictor("sex", levels=("f", "m"))),
        {"inr": (3.0,), "sex": (0.5,)},
        -4.0,
    )
    nomogram = build_nomogram(model, lp_range=(-2, 2))
    with pytest.raises(ModelError, match="Unknown level"):
        nomogram.read({"inr": 1.0, "sex": "x"})
    with pytest.raises(ModelError, match="no value"):
        nomogram.read({"inr": 1.0})
    with pytest.raises(ModelError, match="must be a number"):
        nomogram.read({"inr": "high", "sex": "f"})


def test_a_model_without_effects_has_no_nomogram():
    model = NomogramModel((NomogramPredictor("x", low=0, high=1),), {"x": (0.0,)}, -1.0)
    with pytest.raises(ModelError, match="empty"):
        build_nomogram(model, lp_range=(-2, 2))
    with pytest.raises(ModelError, match="no length"):
        NomogramPredictor("x", low=1, high=1)
