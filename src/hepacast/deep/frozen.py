"""Frozen encoders: their activations as features, and a ridge regression on them instead of a training.

Such features need no outcome and are the same whatever the fold ("deep learning radiomics" of published encoders); the
penalty is that of the largest marginal likelihood (`hepacast.stats.ridge`).
"""

from __future__ import annotations

import time

import numpy as np
import torch

from hepacast.deep.batches import Learner
from hepacast.deep.inference import as_batch, one_thread
from hepacast.deep.networks import MultiTaskNet
from hepacast.stats.ridge import RidgeFit, ridge_cox, ridge_logistic

#: Activations that differ less among the training patients, absolutely or as a share of their mean, are rounding errors
#: of single precision made large.
_LEAST_SD, _LEAST_SHARE = 1e-4, 1e-3


@torch.no_grad()
def fit_head(network: MultiTaskNet, learner: Learner) -> dict[str, float]:
    """Put the ridge regression of the patients with a known outcome into the network's last layers.

    Returns
    -------
    dict
        The one entry of the training's history.
    """
    began = time.monotonic()
    network.eval()
    rows = learner.rows
    with one_thread(learner.device):
        parts = np.array_split(rows, range(8, len(rows), 8))
        found = [network.embed(as_batch(learner.crops, part, learner.channels, learner.device)) for part in parts]
    pooled = torch.cat(found).double().cpu().numpy()
    means, sds = pooled.mean(axis=0), pooled.std(axis=0)
    varies = sds > np.maximum(_LEAST_SD, _LEAST_SHARE * np.abs(means))
    scaled = (pooled - means) / np.where(varies, sds, 1.0)
    known = learner.targets.labelled[rows] & np.isfinite(np.asarray(learner.targets.outcome, dtype=float)[rows])
    # Among those with an outcome an activation may be the same for all.
    used = varies & (scaled[known].std(axis=0) > _LEAST_SHARE)
    fit = _ridge(learner, scaled[np.ix_(known, used)], rows[known])
    weights = np.zeros(len(means))
    weights[used] = fit.coef
    norm = network.head[0]  # type: ignore[index]
    values = {
        norm.running_mean: means, norm.running_var: np.where(varies, sds, 1.0) ** 2 - norm.eps,
        network.final.weight: weights[None], network.final.bias: np.array([fit.intercept]),  # type: ignore[union-attr]
    }  # fmt: skip
    for tensor, value in values.items():
        tensor.copy_(torch.from_numpy(value))
    loss = -fit.loglik / max(int(known.sum()), 1)
    return {"epoch": 1, "loss": loss, "outcome_loss": loss, "seconds": round(time.monotonic() - began, 3)}


def _ridge(learner: Learner, x: np.ndarray, rows: np.ndarray) -> RidgeFit:
    event = np.asarray(learner.targets.outcome, dtype=float)[rows]
    if learner.spec.network.outcome == "binary":
        return ridge_logistic(x, event)
    return ridge_cox(x, np.asarray(learner.targets.time, dtype=float)[rows], event)
