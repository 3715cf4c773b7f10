"""Frozen encoders: features that are the same of every fold, and a ridge regression instead of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from hepacast.core.hashing import hash_file
from hepacast.deep import CropSpec, DeepSpec, NetworkSpec, Targets, TrainedNetwork, between_networks, cross_fit
from hepacast.deep.explain import grad_cam, occlusion
from hepacast.deep.networks import MultiTaskNet
from hepacast.study.schema import Deep

SIDE = 16


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Path, str]:
    """A file of somebody's encoder."""
    torch.manual_seed(11)
    network = MultiTaskNet(NetworkSpec(tasks="classifier", encoder="resnet10", width=4, stages=2, stem_stride=1), 1)
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    save_file({name: value.contiguous() for name, value in network.encoder.state_dict().items()}, path)
    return path, hash_file(path)


@pytest.fixture(scope="module")
def frozen(weights) -> DeepSpec:
    path, digest = weights
    network = NetworkSpec(
        tasks="classifier", encoder="resnet10", width=4, stages=2, stem_stride=1, frozen=True,
        pretrained=str(path), pretrained_sha256=digest,
    )  # fmt: skip
    return DeepSpec(crop=CropSpec(size=(SIDE, SIDE, SIDE), mask=True), network=network)


@pytest.fixture(scope="module")
def with_mask(cubes) -> tuple[np.ndarray, Targets]:
    """The cubes in two phases, and their mask as the last channel."""
    crops, targets = cubes
    masks = np.asarray(targets.masks)[:, None].astype(np.float32)
    return np.concatenate([crops, -crops, masks], axis=1), Targets(outcome=targets.outcome)


@pytest.fixture(scope="module")
def fitted(with_mask, frozen, tmp_path_factory):
    return cross_fit(*with_mask, np.arange(24) // 2 % 3, frozen, 1, tmp_path_factory.mktemp("work"))


def test_patients_whom_the_regression_has_not_seen_are_told_apart(with_mask, fitted) -> None:
    assert roc_auc_score(with_mask[1].outcome, fitted.scores) > 0.95


def test_the_encoder_is_the_files_and_features_differ_by_scale_alone(with_mask, fitted, weights) -> None:
    first, second = (network.apply(with_mask[0]).features for network in fitted.networks[:2])
    levels, channels = 1 + 4 + 4 + 8, 2
    assert first.shape == (24, levels * channels * 6)
    for one, two in zip(first.T, second.T, strict=True):
        if one.std() > 1e-3:
            assert np.corrcoef(one, two)[0, 1] == pytest.approx(1.0, abs=1e-4)
    from safetensors.numpy import load_file

    for name, value in load_file(weights[0]).items():
        np.testing.assert_array_equal(fitted.networks[0].weights[f"encoder.{name}"], value)


def test_it_is_kept_like_any_network_and_names_no_path(with_mask, fitted, tmp_path: Path, weights) -> None:
    network = fitted.networks[0]
    network.save(tmp_path / "network.safetensors")
    again = TrainedNetwork.load(tmp_path / "network.safetensors")
    np.testing.assert_array_equal(again.apply(with_mask[0]).scores, network.apply(with_mask[0]).scores)
    assert str(weights[0]).encode() not in (tmp_path / "network.safetensors").read_bytes()
    assert again.spec.pretrained_sha256 == weights[1]


def test_the_outcome_of_others_changes_nothing(with_mask, frozen, fitted, tmp_path: Path) -> None:
    crops, targets = with_mask
    outcome = targets.outcome.copy()
    held_out = np.arange(24) // 2 % 3 == 0
    outcome[held_out] = 1.0 - outcome[held_out]
    again = cross_fit(crops, Targets(outcome=outcome), np.arange(24) // 2 % 3, frozen, 1, tmp_path)
    np.testing.assert_array_equal(again.scores[held_out], fitted.scores[held_out])


def test_nobody_is_set_aside(with_mask, fitted, frozen) -> None:
    assert [network.facts["n_inner"] for network in fitted.networks] == [0, 0, 0]
    assert np.isnan(between_networks(fitted.networks, *with_mask, fitted.folds, fitted.scores, frozen, 1))


def test_of_times_a_cox_regression_is_fitted(with_mask, frozen, tmp_path: Path) -> None:
    crops, targets = with_mask
    generator = np.random.default_rng(3)
    time = generator.exponential(np.where(targets.outcome == 1, 2.0, 20.0))
    spec = frozen.model_copy(update={"network": frozen.network.model_copy(update={"outcome": "cox"})})
    found = cross_fit(crops, Targets(np.ones(24), time), np.arange(24) // 2 % 3, spec, 1, tmp_path)
    assert roc_auc_score(targets.outcome, found.scores) > 0.9


def test_maps_hide_the_image_and_never_the_mask(with_mask, fitted) -> None:
    crop, network = with_mask[0][1].copy(), fitted.networks[0]
    assert grad_cam(network, crop).max() > 0
    # Nothing is in the image: whatever cube is hidden, the same is seen, as the mask stays.
    crop[:2] = 0.4
    np.testing.assert_allclose(occlusion(network, crop, side=6, step=5), 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"crop": {"mask": False}}, "belong together"),
        ({"network": {"pretrained": None, "pretrained_sha256": None}}, "needs weights"),
        ({"network": {"tasks": "multi-task"}}, "predicts alone"),
        ({"network": {"outcome": "hazard"}}, "binary or cox"),
        ({"crop": {"missing": "flag"}}, "no use for flags"),
        ({"models": ["classifier", "segmenter"]}, "deep.models"),
    ],
)
def test_what_does_not_fit_is_refused(frozen, changed, words) -> None:
    content = {"models": ["classifier"]} | frozen.model_dump()
    for key, value in changed.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    with pytest.raises(ValidationError, match=words):
        Deep.model_validate(content)
