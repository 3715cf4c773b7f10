"""NRI and IDI against Hmisc and nricens (golden h)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hepacast.errors import ModelError
from hepacast.evaluation.reclassification import idi, nri

TIGHT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture
def pima(golden):
    return golden("h_nri_idi_pima")


def by_name(rows):
    return {row["_row"]: row["Estimate"] for row in rows}


def test_continuous_nri_equals_improve_prob(pima):
    reference, data = pima
    truth = reference["improveProb"]
    found = nri(data.type, data.p_clin, data.p_comb)
    for change, suffix in ((found.nri, ""), (found.events, ".ev"), (found.nonevents, ".ne")):
        expected = [truth[f"nri{suffix}"], truth[f"se.nri{suffix}"], truth[f"z.nri{suffix}"]]
        assert_allclose([change.value, change.se, change.z], expected, **TIGHT)
    assert_allclose([found.up_events, found.down_events], [truth["pup.ev"], truth["pdown.ev"]], **TIGHT)
    assert_allclose([found.up_nonevents, found.down_nonevents], [truth["pup.ne"], truth["pdown.ne"]], **TIGHT)
    other = by_name(reference["nribin_continuous"]["nri"])
    assert_allclose([found.nri.value, found.events.value], [other["NRI"], other["NRI+"]], **TIGHT)


def test_idi_equals_improve_prob(pima):
    reference, data = pima
    truth = reference["improveProb"]
    found = idi(data.type, data.p_clin, data.p_comb)
    assert_allclose([found.value, found.se, found.z], [truth["idi"], truth["se.idi"], truth["z.idi"]], **TIGHT)


def test_categorical_nri_equals_nricens(pima):
    reference, data = pima
    truth = reference["nribin_category"]
    found = nri(data.type, data.p_clin, data.p_comb, truth["cut"])
    values = by_name(truth["nri"])
    assert_allclose(
        [found.nri.value, found.events.value, found.nonevents.value, found.up_events, found.down_events,
         found.down_nonevents, found.up_nonevents],
        [values[k] for k in ("NRI", "NRI+", "NRI-", "Pr(Up|Case)", "Pr(Down|Case)", "Pr(Down|Ctrl)", "Pr(Up|Ctrl)")],
        **TIGHT,
    )  # fmt: skip
    assert found.table_events.tolist() == truth["rtab_case"]
    assert found.table_nonevents.tolist() == truth["rtab_ctrl"]
    assert (found.table_events + found.table_nonevents).tolist() == truth["rtab_all"]
    hand = reference["categorical_hand"]
    assert_allclose([found.nri.se, found.nri.z, found.nri.p], [hand["se_pencina2008"], hand["z"], hand["p"]], **TIGHT)
    assert_allclose(found.nri.ci, hand["ci"], **TIGHT)
    assert_allclose([found.nri_2011.se, *found.nri_2011.ci], [hand["se_pencina2011"], *hand["ci_pencina2011"]], **TIGHT)


def test_swapping_the_models_turns_the_sign(pima):
    _, data = pima
    there, back = nri(data.type, data.p_clin, data.p_comb), nri(data.type, data.p_comb, data.p_clin)
    assert_allclose(there.nri.value, -back.nri.value)
    assert_allclose(idi(data.type, data.p_clin, data.p_comb).value, -idi(data.type, data.p_comb, data.p_clin).value)


def test_the_same_model_twice_gains_nothing(pima):
    _, data = pima
    same = nri(data.type, data.p_comb, data.p_comb, [0.3])
    assert same.nri.value == 0 and same.nri.p == 1 and same.nri.reason
    assert idi(data.type, data.p_comb, data.p_comb).p == 1


def test_no_variance_is_a_reason_not_a_p():
    y = np.array([0, 0, 1, 1])
    found = nri(y, [0.5] * 4, [0.4, 0.4, 0.6, 0.6])
    assert found.nri.value == 2 and math.isnan(found.nri.p) and found.nri.reason
    assert math.isnan(idi([0, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.4, 0.1]).p)
    with pytest.raises(ModelError, match="rising"):
        nri(y, [0.5] * 4, [0.4] * 4, [0.6, 0.3])
