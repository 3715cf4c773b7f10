"""Predictions of trained networks, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hepacast.deep.losses import hazard_risk
from hepacast.deep.readings import Applied
from hepacast.errors import ModelError

if TYPE_CHECKING:
    from hepacast.deep.trained import TrainedNetwork


def resolve_device(name: str) -> str:
    """``auto`` is a GPU where there is one.

    Raises
    ------
    ModelError
        A GPU is asked for and there is none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("There is no GPU that PyTorch can use.", remedy="set deep.training.device to auto or cpu")
    return name


def trained_device(facts: Mapping[str, Any]) -> str:
    """Where a network was trained, if that is here; a network of a bundle tells nothing and is computed on the CPU."""
    return "cuda" if facts.get("device") == "cuda" and torch.cuda.is_available() else "cpu"


@contextmanager
def one_thread(device: str = "cpu") -> Iterator[None]:
    """One thread inside the block, on a CPU: sums in another order would differ in their last digits."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_batch(crops: Any, rows: npt.NDArray[np.int64], channels: int, device: str) -> Tensor:
    """Crops of some patients as a tensor; what does not fit the network is refused.

    Raises
    ------
    ModelError
        Another number of channels, or values that are not numbers.
    """
    array = np.stack([np.asarray(crops[int(row)], dtype=np.float32) for row in rows])
    if array.ndim != 5 or array.shape[1] != channels:
        raise ModelError(
            "The crops are not what the network was trained on.",
            expected=f"(patients, {channels}, z, y, x)",
            found=str(array.shape),
        )
    if not np.isfinite(array).all():
        raise ModelError("A crop has values that are not numbers.", found=f"rows {rows.tolist()[:8]}")
    return torch.from_numpy(array).to(device)


def scaled_covariates(values: Any, scale: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> Tensor | None:
    """Covariates in SDs of the training patients; a missing one is their mean.

    Raises
    ------
    ModelError
        The network takes covariates and there are none.
    """
    if not len(scale):
        return None
    if values is None:
        raise ModelError("The network takes clinical values, and none were given.", expected=f"{len(scale)} columns")
    part = np.asarray(values, dtype=float)[rows]
    scaled = (part - scale[:, 0]) / np.where(scale[:, 1] > 0, scale[:, 1], 1.0)
    return torch.from_numpy(np.nan_to_num(scaled, nan=0.0).astype(np.float32))


def apply_network(
    trained: TrainedNetwork, crops: Any, covariates: Any, rows: npt.NDArray[np.int64] | None, batch: int, device: str
) -> Applied:
    """See `TrainedNetwork.apply`."""
    where = np.arange(len(crops)) if rows is None else np.asarray(rows, dtype=np.int64)
    network = trained.build(device)
    scores, features, masks = [], [], []
    with one_thread(device), torch.inference_mode():
        for start in range(0, len(where), batch):
            part = where[start : start + batch]
            image = as_batch(crops, part, trained.channels, device)
            values = scaled_covariates(covariates, trained.covariates, part)
            output = network(image, None if values is None else values.to(device))
            if output.outcome is not None:
                scores.append(score_of(output.outcome, trained.spec.outcome, trained.shift).cpu().numpy())
                features.append(output.features.cpu().numpy())
            if output.masks:
                masks.append(torch.sigmoid(output.masks[0][:, 0]).half().cpu().numpy())
    return Applied(
        scores=np.concatenate(scores).astype(float) if scores else np.full(len(where), np.nan),
        features=_standard(np.concatenate(features), trained) if features else np.zeros((len(where), 0)),
        masks=np.concatenate(masks) if masks else None,
    )


def _standard(features: npt.NDArray[Any], trained: TrainedNetwork) -> npt.NDArray[np.float64]:
    scale = trained.feature_scale
    values = np.asarray(features, dtype=float)
    return values if not len(scale) else (values - scale[:, 0]) / np.where(scale[:, 1] > 1e-9, scale[:, 1], 1.0)


def score_of(logits: Tensor, kind: str, shift: float) -> Tensor:
    """Scores from logits, (n,)."""
    if kind == "binary":
        return torch.sigmoid(logits[:, 0].double() - shift)
    return logits[:, 0] if kind == "cox" else hazard_risk(logits)
