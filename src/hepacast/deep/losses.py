"""Losses: Dice + cross-entropy for masks; weighted cross-entropy, Cox or discrete hazards for outcomes.

Every loss takes a weight a patient, 0 for those who have no mask or no label: they still train the other task.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hepacast.deep.blocks import coarsen

_SMOOTH = 1.0


def mask_loss(logits: Sequence[Tensor], mask: Tensor, weight: Tensor) -> Tensor:
    """Soft Dice + cross-entropy, half the weight at each coarser level (deep supervision).

    Parameters
    ----------
    logits
        (n, 1, z, y, x), finest first.
    mask
        (n, 1, z, y, x), 0 or 1, at the finest grid.
    weight
        (n,), 1 for patients who have a mask.
    """
    if not bool(weight.any()):
        return logits[0].sum() * 0.0
    total, shares = logits[0].new_zeros(()), 0.0
    for level, logit in enumerate(logits):
        share = 0.5**level
        target = mask if level == 0 else coarsen(mask, logit.shape[2:])
        total = total + share * _dice_ce(logit, target, weight)
        shares += share
    return total / shares


def _dice_ce(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logit, target, reduction="none").mean(dim=(1, 2, 3, 4))
    probability = torch.sigmoid(logit)
    shared = (probability * target).sum(dim=(1, 2, 3, 4))
    both = probability.sum(dim=(1, 2, 3, 4)) + target.sum(dim=(1, 2, 3, 4))
    dice = 1.0 - (2.0 * shared + _SMOOTH) / (both + _SMOOTH)
    return ((entropy + dice) * weight).sum() / weight.sum().clamp_min(1.0)


def binary_loss(logits: Tensor, outcome: Tensor, weight: Tensor, smoothing: float = 0.0) -> Tensor:
    """Weighted cross-entropy of an event.

    Parameters
    ----------
    logits
        (n, 1).
    outcome
        (n,), 0 or 1; anything where the weight is 0.
    weight
        (n,), the class weight, or 0 without a label. Class weights have a mean of 1 over the training patients: the
        sum is divided by the number of patients, not by the batch's own weights, which would undo them in small
        batches.
    """
    target = torch.nan_to_num(outcome) * (1.0 - smoothing) + 0.5 * smoothing
    each = functional.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none")
    return (each * weight).sum() / (weight > 0).sum().clamp_min(1)


def cox_loss(logits: Tensor, time: Tensor, event: Tensor, weight: Tensor) -> Tensor:
    """Negative log partial likelihood of the batch (Breslow's ties), a mean over its events.

    Parameters
    ----------
    logits
        Log hazard ratios, (n, 1).
    time, event
        (n,); patients of weight 0 are left out.
    weight
        (n,).
    """
    known = weight > 0
    risk, times, events = logits[known, 0], time[known], event[known]
    if not bool((events > 0).any()):
        return logits.sum() * 0.0
    at_risk = times[None, :] >= times[:, None]
    denominators = torch.logsumexp(risk[None, :].masked_fill(~at_risk, float("-inf")), dim=1)
    return ((denominators - risk) * events).sum() / events.sum()


def hazard_loss(logits: Tensor, bins: Tensor, event: Tensor, weight: Tensor) -> Tensor:
    """Negative log likelihood of discrete hazards (Gensheimer & Narasimhan, PeerJ 2019).

    Parameters
    ----------
    logits
        Logits of the hazard in each interval, (n, b).
    bins
        (n,), interval of the event or of the last contact.
    event
        (n,), 1 where the event was seen.
    weight
        (n,).
    """
    steps = torch.arange(logits.shape[1], device=logits.device)[None, :]
    lived = (steps < bins[:, None]).to(logits.dtype)
    here = (steps == bins[:, None]).to(logits.dtype)
    survived = -functional.softplus(logits)
    died = -functional.softplus(-logits)
    seen = torch.nan_to_num(event)[:, None]
    # A patient lost within an interval lived through the intervals before it.
    each = -(survived * lived).sum(dim=1) - (died * here * seen).sum(dim=1)
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)


def hazard_risk(logits: Tensor) -> Tensor:
    """Expected share of the follow-up that is not lived, from hazard logits (n, b) -> (n,)."""
    survival = torch.exp(torch.cumsum(-functional.softplus(logits), dim=1))
    return 1.0 - survival.mean(dim=1)


def joined_loss(outcome: Tensor | None, mask: Tensor | None, weights: tuple[float, float], spread: Tensor) -> Tensor:
    """The tasks together: fixed weights, or learned ones (`spread` = log variances; pass zeros for fixed ones)."""
    total = spread.new_zeros(())
    for number, part in enumerate((outcome, mask)):
        if part is not None:
            total = total + weights[number] * (torch.exp(-spread[number]) * part + 0.5 * spread[number])
    return total
