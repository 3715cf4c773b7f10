"""Which network scores whom: nobody is scored by a network that saw the patient, or the outer fold."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from hepacast.study.stages.fusion_networks import NetworkScores

FOLDS = 5


def scores():
    """Networks whose log odds name the pair that they were trained without: 10 a + b."""
    patients = [f"P{i}" for i in range(20)]
    folds = pd.Series(np.arange(20) % FOLDS, index=patients)
    others = ["X1", "X2"]
    logits, features = {}, {}
    for a, b in combinations(range(FOLDS), 2):
        seen_by_nobody = [*folds.index[folds.isin((a, b))], *others]
        logits[a, b] = pd.Series(10.0 * a + b, index=seen_by_nobody)
        features[a, b] = pd.DataFrame({"deep:1": 10.0 * a + b, "deep:2": -1.0}, index=seen_by_nobody)
    return NetworkScores(folds, {"net": logits}, {"net": features}, {})


@pytest.mark.parametrize("outer", range(FOLDS))
def test_an_outer_fold_is_unknown_to_every_network_of_its_view(outer):
    item = scores()
    view = item.scores("net", outer)
    for patient, fold in item.folds.items():
        if fold == outer:
            expected = np.mean([10 * min(a, outer) + max(a, outer) for a in range(FOLDS) if a != outer])
        else:
            expected = 10 * min(fold, outer) + max(fold, outer)
        assert view[patient] == expected
    assert set(view.index) == set(item.folds.index)


def test_the_final_view_leaves_each_patient_to_networks_without_the_patient():
    item = scores()
    view = item.scores("net", None)
    for patient, fold in item.folds.items():
        assert view[patient] == np.mean([10 * min(a, fold) + max(a, fold) for a in range(FOLDS) if a != fold])
    everybody = np.mean([10 * a + b for a, b in combinations(range(FOLDS), 2)])
    assert view["X1"] == view["X2"] == everybody


def test_features_go_the_same_way():
    item = scores()
    table = item.deep_features("net", 2)
    np.testing.assert_array_equal(table["deep:1"], item.scores("net", 2)[table.index])
    assert list(table.columns) == ["deep:1", "deep:2"]
