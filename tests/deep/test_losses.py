from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepacast.deep.losses import binary_loss, cox_loss, hazard_loss, hazard_risk, joined_loss, mask_loss


def test_cox_is_the_partial_likelihood() -> None:
    # Three patients by hand: events at 1 and 3; risk sets {1, 2, 3} and {3}.
    logits = torch.tensor([[0.5], [-0.2], [0.1]])
    loss = cox_loss(logits, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 1.0]), torch.ones(3))
    first = np.log(np.exp([0.5, -0.2, 0.1]).sum()) - 0.5
    assert float(loss) == pytest.approx(first / 2, rel=1e-6)


def test_cox_equals_the_statistics_room() -> None:
    from hepacast.stats.cox import fit_cox

    generator = np.random.default_rng(3)
    x = generator.standard_normal(40)
    time, event = generator.exponential(np.exp(-x)), (generator.random(40) < 0.7).astype(float)
    fit = fit_cox(x, time, event, ties="breslow")
    logits = torch.tensor(x[:, None] * fit.coef[0])
    loss = cox_loss(logits, torch.tensor(time), torch.tensor(event), torch.ones(40))
    assert float(loss) * event.sum() == pytest.approx(-fit.loglik, rel=1e-8)


def test_hazards_are_the_likelihood_of_intervals() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0], [0.5, 0.5, 0.5]], dtype=torch.float64)
    h = 1 / (1 + np.exp(-logits.numpy()))
    loss = hazard_loss(logits, torch.tensor([1, 2]), torch.tensor([1.0, 0.0]), torch.ones(2))
    died = -np.log((1 - h[0, 0]) * h[0, 1])
    lost = -np.log((1 - h[1, 0]) * (1 - h[1, 1]))
    assert float(loss) == pytest.approx((died + lost) / 2, rel=1e-9)
    survival = np.cumprod(1 - h, axis=1)
    np.testing.assert_allclose(hazard_risk(logits).numpy(), 1 - survival.mean(axis=1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_unknown_patients_weigh_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, outcome = torch.randn(5, 1, generator=generator), torch.tensor([1.0, 0.0, 1.0, float("nan"), 0.0])
    weight = torch.tensor([1.0, 2.0, 1.0, 0.0, 0.0])
    whole = binary_loss(logits, outcome, weight)
    part = binary_loss(logits[:3], outcome[:3], weight[:3])
    assert float(whole) == pytest.approx(float(part), rel=1e-5)
    images = torch.randn(5, 1, 4, 4, 4, generator=generator)
    masks = (torch.rand(5, 1, 4, 4, 4, generator=generator) > 0.5).float()
    known = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    other = masks.clone()
    other[known == 0] = 1 - other[known == 0]
    assert float(mask_loss([images], masks, known)) == float(mask_loss([images], other, known))


@pytest.mark.parametrize("batch", [2, 4, 8, 20])
def test_class_weights_are_right_at_every_batch_size(batch: int) -> None:
    """4 events of 40: in the mean over an epoch's batches, 1:1 odds pull neither way."""
    outcome = torch.tensor([1.0] * 4 + [0.0] * 36)
    weight = torch.where(outcome == 1, 40 / (2 * 4.0), 40 / (2 * 36.0))
    slopes = []
    for epoch in range(20):
        order = torch.randperm(40, generator=torch.Generator().manual_seed(epoch))
        for part in order.split(batch):
            logit = torch.zeros(len(part), 1, requires_grad=True)
            binary_loss(logit, outcome[part], weight[part]).backward()
            slopes.append(float(logit.grad.sum()))
    assert np.mean(slopes) == pytest.approx(0.0, abs=1e-6)


def test_a_perfect_mask_costs_almost_nothing_and_an_empty_batch_nothing() -> None:
    mask = torch.zeros(1, 1, 6, 6, 6)
    mask[..., 2:4, 2:4, 2:4] = 1.0
    assert float(mask_loss([40 * (mask - 0.5)], mask, torch.ones(1))) < 1e-3
    assert float(mask_loss([mask], mask, torch.zeros(1))) == 0.0


def test_tasks_are_joined_by_weights_or_uncertainty() -> None:
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    assert float(joined_loss(one, two, (3.0, 0.5), torch.zeros(2))) == pytest.approx(4.0)
    assert float(joined_loss(None, two, (3.0, 0.5), torch.zeros(2))) == pytest.approx(1.0)
    spread = torch.log(torch.tensor([1.0, 4.0]))
    assert float(joined_loss(one, two, (1.0, 1.0), spread)) == pytest.approx(1.0 + 0.5 + 0.5 * np.log(4))
