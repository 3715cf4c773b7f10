from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from hepacast.deep import DeepSpec, Targets, TrainedNetwork
from hepacast.deep.augment import augment
from hepacast.deep.spec import Augmentation, TrainingSpec
from hepacast.deep.training import batch_count, new_network, schedule, train
from hepacast.errors import ModelError


class Stopped(Exception):
    """Somebody pulled the plug."""


def _changed(spec: DeepSpec, **rules: object) -> DeepSpec:
    training = TrainingSpec.model_validate(spec.training.model_dump() | rules)
    return spec.model_copy(update={"training": training})


def _same(first: TrainedNetwork, second: TrainedNetwork) -> None:
    assert first.weights.keys() == second.weights.keys()
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name], err_msg=name)


@pytest.mark.parametrize("inner", [0.0, 0.25])
def test_a_stopped_and_resumed_training_gives_the_same_numbers(cubes, small, tmp_path: Path, inner: float) -> None:
    crops, targets = cubes
    spec = _changed(small, checkpoint_every=1, inner_fraction=inner)
    rows = np.arange(len(targets))
    whole = train(crops, targets, rows, spec, 3)
    checkpoint = tmp_path / "checkpoint.safetensors"

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(crops, targets, rows, spec, 3, checkpoint=checkpoint, key="k", progress=stop)
    resumed = train(crops, targets, rows, spec, 3, checkpoint=checkpoint, key="k")
    _same(whole, resumed)
    losses = [[entry["loss"] for entry in item.history] for item in (whole, resumed)]
    assert losses[0] == losses[1]


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_used(cubes, small, tmp_path: Path) -> None:
    crops, targets = cubes
    rows = np.arange(len(targets))
    spec = _changed(small, checkpoint_every=1, epochs=2)
    checkpoint = tmp_path / "checkpoint.safetensors"
    first = train(crops, targets, rows, spec, 3, checkpoint=checkpoint, key="one")
    _same(first, train(crops, targets, rows, spec, 3, checkpoint=checkpoint, key="another"))
    checkpoint.write_bytes(b"not a checkpoint")
    _same(first, train(crops, targets, rows, spec, 3, checkpoint=checkpoint, key="one"))


def test_the_global_random_state_is_neither_used_nor_changed(cubes, small) -> None:
    crops, targets = cubes
    spec = _changed(small, epochs=1)
    torch.manual_seed(1)
    first = train(crops, targets, np.arange(24), spec, 3)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    second = train(crops, targets, np.arange(24), spec, 3)
    _same(first, second)
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.slow
def test_both_tasks_are_learned(cubes, small) -> None:
    crops, targets = cubes
    spec = _changed(small, epochs=25, warmup_epochs=2)
    trained = train(crops, targets, np.arange(24), spec, 1)
    found = trained.apply(crops)
    assert found.scores[targets.outcome == 1].min() > found.scores[targets.outcome == 0].max()
    drawn = found.masks >= 0.5
    dice = 2 * (drawn & targets.masks).sum() / (drawn.sum() + targets.masks.sum())
    assert dice > 0.8
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


def test_patients_without_mask_or_label_train_the_other_task(cubes, small) -> None:
    crops, whole = cubes
    outcome = whole.outcome.copy()
    outcome[:8] = np.nan
    has_mask = np.ones(24, dtype=bool)
    has_mask[16:] = False
    lying = whole.masks.copy()
    lying[16:] = True
    spec = _changed(small, epochs=1)
    rows = np.arange(24)
    trained = train(crops, Targets(outcome, masks=whole.masks, has_mask=has_mask), rows, spec, 2)
    assert trained.facts["n_labelled"] == 16
    assert trained.facts["n_masked"] == 16
    # What stands in the place of an unknown mask changes nothing.
    again = train(crops, Targets(outcome, masks=lying, has_mask=has_mask), rows, spec, 2)
    _same(trained, again)


@pytest.mark.parametrize("kind", ["cox", "hazard"])
def test_times_to_an_event_are_learned(cubes, small, kind: str) -> None:
    crops, targets = cubes
    network = small.network.model_copy(update={"outcome": kind, "tasks": "classifier", "hazard_bins": 4})
    spec = _changed(small, epochs=12).model_copy(update={"network": network})
    generator = np.random.default_rng(1)
    time = generator.exponential(np.where(targets.outcome == 1, 10.0, 200.0))
    seen = np.ones(24)
    trained = train(crops, Targets(seen, time=time), np.arange(24), spec, 1)
    scores = trained.apply(crops).scores
    assert scores[targets.outcome == 1].mean() > scores[targets.outcome == 0].mean()


def test_uncertainty_weights_are_learned(cubes, small) -> None:
    crops, targets = cubes
    trained = train(crops, targets, np.arange(24), _changed(small, epochs=2, task_weights="uncertainty"), 1)
    assert np.abs(trained.weights["log_variance"]).min() > 0
    fixed = train(crops, targets, np.arange(24), _changed(small, epochs=2, weight_decay=0.0), 1)
    assert not fixed.weights["log_variance"].any()


def test_early_stopping_keeps_the_best_weights(cubes, small) -> None:
    crops, targets = cubes
    spec = _changed(small, epochs=30, inner_fraction=0.25, patience=2, learning_rate=0.2, clip=100.0)
    trained = train(crops, targets, np.arange(24), spec, 1)
    inner = [entry["inner_loss"] for entry in trained.history]
    assert trained.facts["epochs"] < 30
    assert trained.facts["best_epoch"] == int(np.argmin(inner)) + 1
    assert trained.facts["n_inner"] + trained.facts["n_fitting"] == 24


def test_nothing_to_learn_is_told(cubes, small) -> None:
    crops, targets = cubes
    events = np.flatnonzero(targets.outcome == 1)
    with pytest.raises(ModelError, match="no outcome to learn"):
        train(crops, targets, events, small, 1)
    with pytest.raises(ModelError, match="no mask"):
        train(crops, Targets(targets.outcome), np.arange(24), small, 1)


def test_values_that_are_not_numbers_are_refused(cubes, small) -> None:
    crops, targets = cubes
    broken = crops.copy()
    broken[3, 0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="not numbers"):
        train(broken, targets, np.arange(24), small, 1)


def test_schedule_rises_and_falls() -> None:
    shares = [schedule(step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == pytest.approx(1.0)
    assert all(a >= b for a, b in pairwise(shares[10:]))
    assert shares[-1] < 0.01


def test_initial_weights_depend_on_the_seed_alone(small) -> None:
    first, second, other = (new_network(small, 1, 0, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["encoder.stem.0.weight"], other["encoder.stem.0.weight"])


@pytest.mark.parametrize(("n", "batch", "sizes"), [(5, 2, [3, 2]), (24, 8, [8, 8, 8]), (25, 8, [7, 6, 6, 6])])
def test_no_batch_holds_one_patient_alone(n: int, batch: int, sizes: list[int]) -> None:
    assert [len(part) for part in np.array_split(np.arange(n), batch_count(n, batch))] == sizes


def test_an_odd_number_of_patients_two_at_a_time(cubes, small) -> None:
    crops, targets = cubes
    trained = train(crops, targets, np.arange(5), _changed(small, batch=2, epochs=1), 3)
    assert np.isfinite(trained.history[0]["loss"])


def test_missing_sequences_and_their_flags_stay_what_they_are() -> None:
    images = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    images[:, 1], images[0, 2], images[1, 2] = 0.0, 1.0, 0.0
    changed, _ = augment(images, None, Augmentation(noise=0.5, intensity=0.5, low_resolution=1.0), 1, 0, [0, 1])
    assert torch.equal(changed[:, 1:], images[:, 1:])
    assert not torch.equal(changed[:, 0], images[:, 0])
