from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepacast.deep import CropStore, DeepSpec, Targets, apply_frozen, averaged_scale, between_networks, cross_fit
from hepacast.deep.spec import TrainingSpec
from hepacast.deep.targets import inner_split
from hepacast.errors import ModelError

FOLDS = np.arange(24) // 2 % 3


@pytest.fixture(scope="module")
def fitted(cubes, small, tmp_path_factory):
    crops, targets = cubes
    return cross_fit(crops, targets, FOLDS, small, 7, tmp_path_factory.mktemp("fit"))


def test_labels_and_masks_of_a_held_out_fold_do_not_change_its_features(cubes, small, fitted, tmp_path: Path) -> None:
    crops, targets = cubes
    held = FOLDS == 1
    outcome, masks = targets.outcome.copy(), targets.masks.copy()
    outcome[held] = 1 - outcome[held]
    masks[held] = ~masks[held]
    other = cross_fit(crops, Targets(outcome, masks=masks), FOLDS, small, 7, tmp_path)
    np.testing.assert_array_equal(other.features[held], fitted.features[held])
    np.testing.assert_array_equal(other.scores[held], fitted.scores[held])
    np.testing.assert_array_equal(other.masks[held], fitted.masks[held])
    # The other folds were trained on the changed labels.
    assert np.abs(other.features[~held] - fitted.features[~held]).max() > 1e-6


def test_every_patient_has_a_score_of_its_own_fold(cubes, fitted) -> None:
    crops, _ = cubes
    assert fitted.scores.shape == (24,)
    assert np.isfinite(fitted.scores).all()
    assert fitted.features.shape == (24, 8)
    for fold, network in enumerate(fitted.networks):
        rows = np.flatnonzero(fold == FOLDS)
        np.testing.assert_allclose(network.apply(crops, rows=rows).scores, fitted.scores[rows])
    assert [len(history) for history in fitted.histories] == [4, 4, 4]


def test_patients_of_no_fold_take_no_part(cubes, small, tmp_path: Path) -> None:
    crops, targets = cubes
    folds = FOLDS.copy()
    folds[20:] = -1
    outcome = targets.outcome.copy()
    spec = small.with_tasks("classifier")
    first = cross_fit(crops, Targets(outcome), folds, spec, 7, tmp_path / "a")
    outcome[20:] = 1 - outcome[20:]
    second = cross_fit(crops, Targets(outcome), folds, spec, 7, tmp_path / "b")
    np.testing.assert_array_equal(first.scores, second.scores)
    assert np.isnan(first.scores[20:]).all()
    frozen = apply_frozen(first.networks, crops, rows=np.arange(20, 24))
    assert np.isfinite(frozen.scores).all()


def test_finished_folds_are_kept_and_a_changed_setting_trains_again(cubes, small, tmp_path: Path) -> None:
    crops, targets = cubes
    spec = small.with_tasks("classifier")
    cross_fit(crops, targets, FOLDS, spec, 7, tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("network-*.safetensors")}
    assert len(kept) == 3
    cross_fit(crops, targets, FOLDS, spec, 7, tmp_path)
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("network-*.safetensors")}
    cross_fit(crops, targets, FOLDS, spec, 8, tmp_path)
    assert len(list(tmp_path.rglob("network-*.safetensors"))) == 6


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(cubes, small, fitted, tmp_path: Path) -> None:
    crops, targets = cubes
    other = cross_fit(crops, targets, FOLDS, small, 7, tmp_path, workers=2)
    np.testing.assert_array_equal(other.scores, fitted.scores)
    np.testing.assert_array_equal(other.features, fitted.features)


@pytest.mark.cluster
def test_workers_of_a_cluster_change_nothing(cubes, small, fitted, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from hepacast.core.cluster import on_cluster

    crops, targets = cubes
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: local\nworkers: 2\nmemory: 4 GB\n")
    with on_cluster(file, folder=tmp_path):
        other = cross_fit(crops, targets, FOLDS, small, 7, tmp_path / "there", workers=0)
    np.testing.assert_array_equal(other.scores, fitted.scores)
    np.testing.assert_array_equal(other.features, fitted.features)
    np.testing.assert_array_equal(other.masks, fitted.masks)


def test_frozen_is_the_mean_of_the_folds(cubes, fitted) -> None:
    crops, _ = cubes
    frozen = apply_frozen(fitted.networks, crops)
    parts = [network.apply(crops) for network in fitted.networks]
    odds = np.mean([np.log(part.scores / (1 - part.scores)) for part in parts], axis=0)
    np.testing.assert_allclose(np.log(frozen.scores / (1 - frozen.scores)), odds, rtol=1e-6)
    np.testing.assert_allclose(frozen.features, np.mean([part.features for part in parts], axis=0))


def test_bad_folds_are_refused(cubes, small, tmp_path: Path) -> None:
    crops, targets = cubes
    for folds in (np.zeros(24, dtype=int), np.array([0, 2] * 12), FOLDS[:5]):
        with pytest.raises(ModelError):
            cross_fit(crops, targets, folds, small, 1, tmp_path)
    with pytest.raises(ModelError):
        apply_frozen([], crops)


def test_a_store_gives_what_the_array_gives(cubes, small, fitted, tmp_path: Path) -> None:
    crops, targets = cubes
    store = CropStore.keep(tmp_path / "crops.npy", crops)
    assert CropStore.keep(tmp_path / "other.npy", store) is store
    masks = CropStore.keep(tmp_path / "masks.npy", targets.masks)
    other = cross_fit(store, Targets(targets.outcome, masks=masks), FOLDS, small, 7, tmp_path)
    np.testing.assert_array_equal(other.scores, fitted.scores)


def test_crops_of_different_shapes_are_refused(tmp_path: Path) -> None:
    items = [np.zeros((1, 8, 8, 8)), np.zeros((1, 8, 8, 9))]
    with pytest.raises(ModelError, match="different shapes"):
        CropStore.build(tmp_path / "crops.npy", items, lambda item: item)
    assert not (tmp_path / "crops.npy").exists()


def test_covariates_join_and_a_missing_one_is_the_training_mean(cubes, small, tmp_path: Path) -> None:
    crops, targets = cubes
    values = np.column_stack([targets.outcome * 10 + 50, np.arange(24.0)])
    network = small.network.model_copy(update={"tasks": "classifier", "covariates": ["a", "b"]})
    spec = DeepSpec(crop=small.crop, network=network, training=small.training)
    own = Targets(targets.outcome, covariates=values)
    fit = cross_fit(crops, own, FOLDS, spec, 1, tmp_path)
    network_0 = fit.networks[0]
    mean = network_0.covariates[:, 0]
    gap = values.copy()
    gap[0, 0], filled = np.nan, values.copy()
    filled[0, 0] = mean[0]
    np.testing.assert_allclose(network_0.apply(crops, gap).scores, network_0.apply(crops, filled).scores, rtol=1e-6)
    with pytest.raises(ModelError, match="clinical values"):
        network_0.apply(crops)


def test_the_variance_between_networks_is_read_from_those_set_aside(cubes, small, tmp_path: Path) -> None:
    """By hand: each patient set aside, once by the own fold's network and once by the one that set it aside."""
    crops, targets = cubes
    training = TrainingSpec.model_validate(small.training.model_dump() | {"inner_fraction": 0.25, "epochs": 2})
    spec = small.model_copy(update={"training": training})
    folds = np.arange(len(targets)) // 2 % 3
    fit = cross_fit(crops, targets, folds, spec, 3, tmp_path)
    scores = averaged_scale(fit.scores, spec.network)
    found = between_networks(fit.networks, crops, targets, folds, scores, spec, 3)
    squares = []
    for fold, network in enumerate(fit.networks):
        assert network.facts["n_inner"] > 0
        _, aside = inner_split(targets, np.flatnonzero(folds != fold), 0.25, 3)
        for row in aside:
            risk = network.apply(crops, rows=np.array([row])).scores[0]
            squares.append((np.log(risk / (1 - risk)) - scores[row]) ** 2)
    assert found == pytest.approx(np.mean(squares) / 2, rel=1e-5)
    assert np.isnan(between_networks(fit.networks, crops, targets, folds, scores, small, 3))
