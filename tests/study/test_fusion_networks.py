"""Which network scores whom: nobody is scored by a network that saw the patient, or the outer fold."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from hepacast.deep import NetworkSpec
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
    return NetworkScores(folds, {"net": logits}, {"net": features}, {}, {})


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


class _Fake:
    """A trained network that says which patients it was trained on."""

    history = ()
    spec = NetworkSpec()

    def __init__(self, rows):
        self.weights = {}
        self.rows = {int(row) for row in rows}

    def apply(self, crops, rows):
        from hepacast.deep import Applied

        assert not self.rows & {int(row) for row in rows}, "a network scores a patient it was trained on"
        return Applied(np.full(len(rows), 0.5), np.zeros((len(rows), 2)), None)


def test_every_training_leaves_its_pair_and_all_strangers_out(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from hepacast.core.progress import SilentReporter
    from hepacast.study.demos.early_recurrence import DEMO
    from hepacast.study.schema import Study
    from hepacast.study.stages import fusion_networks

    content = DEMO.study(DEMO.choose({}, seed=1))
    content["fusion"] |= {"folds": 4, "networks": content["fusion"]["networks"][:2]}
    study = Study.model_validate(content)
    patients = [f"P{i:02d}" for i in range(16)]
    outcome = pd.Series(np.arange(16) % 2, index=patients)
    folds = pd.Series(np.arange(16) // 4, index=patients)
    others = ["V1", "V2", "V3"]
    crops = np.zeros((19, 3, 8, 8, 8), dtype=np.float32)
    seen = []

    def train(jobs, *, workers, progress):
        seen.extend(jobs)
        return [_Fake(job.rows) for job in jobs]

    facts = {patient: {"volume": float(number)} for number, patient in enumerate(patients)}
    facts |= {patient: {"volume": 1000.0} for patient in others}
    monkeypatch.setattr(fusion_networks, "_crops", lambda *arguments: (crops, facts))
    monkeypatch.setattr(fusion_networks, "train_jobs", train)
    context = SimpleNamespace(study=study, cache=tmp_path, workers=1, reporter=SilentReporter())
    found = fusion_networks.network_scores(context, study.fusion, outcome, folds, others)
    assert len(seen) == 2 * 6
    pairs = list(combinations(range(4), 2))
    for number, job in enumerate(seen):
        pair = pairs[number % 6]
        kept = {int(row) for row in job.rows}
        assert kept == {i for i in range(16) if folds.iloc[i] not in pair}
    assert found.names == ["ResNet-18 3D", "ResNet-34 3D"]
    assert found.seen["volume"][0] <= 0.0 and found.seen["volume"][1] < 100.0  # the strangers' are not in it
    final = found.scores("ResNet-18 3D", None)
    assert set(final.index) == {*patients, *others}
    # the same initial weights for all trainings of a network, other ones for the other network
    assert len({job.seed for job in seen[:6]}) == 1 and seen[0].seed != seen[6].seed


def test_excess_of_noise_is_what_further_networks_would_average_away():
    """Networks whose log odds are a patient's own number plus noise of variance 0.25, known to the test alone."""
    generator = np.random.default_rng(4)
    patients = [f"P{i:03d}" for i in range(300)]
    folds = pd.Series(np.arange(300) % FOLDS, index=patients)
    truth = pd.Series(generator.standard_normal(300), index=patients)
    logits, aside = {}, {}
    for pair in combinations(range(FOLDS), 2):
        for rows, table in ((folds.index[folds.isin(pair)], logits), (folds.index[~folds.isin(pair)][::6], aside)):
            table[pair] = truth[rows] + 0.5 * generator.standard_normal(len(rows))
    item = NetworkScores(folds, {"net": logits}, {"net": {}}, {}, {}, {"net": aside})
    # Final models: training patients get the mean of 4 networks, new ones that of 10.
    assert item.excess("net", None) == pytest.approx(0.25 * (1 / 4 - 1 / 10), rel=0.15)
    # Within an outer fold: one network against the mean of 4.
    assert item.excess("net", 2) == pytest.approx(0.25 * (1 - 1 / 4), rel=0.25)
    assert scores().excess("net", 2) == 0.0
