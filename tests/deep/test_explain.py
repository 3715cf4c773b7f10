from __future__ import annotations

import numpy as np
import pytest

from hepacast.deep import CrossFit, TrainedNetwork
from hepacast.deep.controls import CONTROLS, control_scores, controlled
from hepacast.deep.explain import grad_cam, occlusion
from hepacast.deep.training import new_network
from hepacast.errors import ModelError


def _untrained(small, tasks: str = "classifier") -> TrainedNetwork:
    spec = small.with_tasks(tasks)
    network = new_network(spec, 1, 0, 1)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return TrainedNetwork(spec.network, 1, weights)


def test_maps_lie_on_the_crop(cubes, small) -> None:
    crop = cubes[0][0]
    network = _untrained(small)
    heat = grad_cam(network, crop)
    assert heat.shape == crop.shape[1:]
    assert 0 <= heat.min() <= heat.max() <= 1
    hidden = occlusion(network, crop, side=6, step=5)
    assert hidden.shape == crop.shape[1:]
    assert np.abs(hidden).max() > 0
    with pytest.raises(ModelError, match="prediction pathway"):
        grad_cam(_untrained(small, "segmenter"), crop)


def test_occlusion_of_one_slice_hides_cubes_around_it_alone(cubes, small) -> None:
    crop, network = cubes[0][0], _untrained(small)
    hidden = occlusion(network, crop, side=6, step=3, at=8)
    reached = np.flatnonzero(np.abs(hidden).sum(axis=(1, 2)))
    assert reached.min() == 5 and reached.max() == 10
    # By hand: the one cube that hides the corner.
    changed = crop.copy()
    changed[:, 5:11, :6, :6] = crop.mean()
    odds = [np.log(risk / (1 - risk)) for risk in network.apply(np.stack([crop, changed])).scores]
    np.testing.assert_allclose(hidden[8, 0, 0], odds[0] - odds[1], atol=1e-6)


def test_occlusion_of_a_flat_crop_is_nothing(small) -> None:
    hidden = occlusion(_untrained(small), np.full((1, 16, 16, 16), 0.3, dtype=np.float32))
    np.testing.assert_allclose(hidden, 0.0, atol=1e-5)


@pytest.mark.parametrize("control", list(CONTROLS))
def test_controls_change_what_they_say(cubes, control: str) -> None:
    crop, mask = cubes[0][1], cubes[1].masks[1]
    changed = controlled(crop, mask, control, 3)
    inside, outside = mask[None], ~mask[None]
    same_inside = np.array_equal(changed[inside], crop[inside])
    same_outside = np.array_equal(changed[outside], crop[outside])
    assert same_inside == (control in ("as it is", "surroundings removed", "surroundings shuffled"))
    assert same_outside == (control in ("as it is", "tumor shuffled", "tumor removed"))
    if control == "tumor shuffled":
        np.testing.assert_array_equal(np.sort(changed[inside]), np.sort(crop[inside]))
    np.testing.assert_array_equal(changed, controlled(crop, mask, control, 3))


def test_unknown_controls_are_refused(cubes) -> None:
    with pytest.raises(ModelError, match="no such control"):
        controlled(cubes[0][0], cubes[1].masks[0], "tumor painted", 1)


def test_controls_use_the_network_that_did_not_see_the_patient(cubes, small) -> None:
    crops, targets = cubes
    networks = (_untrained(small), _untrained(small))
    folds = np.arange(24) % 2
    scores = np.concatenate([networks[0].apply(crops).scores])
    fit = CrossFit(scores, np.zeros((24, 8)), None, folds, networks)
    found = control_scores(fit, crops, targets.masks, seed=1)
    np.testing.assert_allclose(found["as it is"], scores)
    assert np.abs(found["tumor removed"] - scores).max() > 0
