"""What the training loop asks of the data: the inner split, class weights, batches' targets, losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hepacast.deep.inference import as_batch, scaled_covariates
from hepacast.deep.losses import binary_loss, cox_loss, hazard_loss, joined_loss, mask_loss
from hepacast.deep.networks import MultiTaskNet
from hepacast.deep.spec import DeepSpec, NetworkSpec
from hepacast.deep.targets import Targets

Rows = npt.NDArray[np.int64]


def balanced_weights(targets: Targets, rows: Rows) -> tuple[float, float]:
    """Weights of a patient without and with the event, such that both groups weigh the same."""
    known = rows[targets.labelled[rows]]
    events = float(np.asarray(targets.outcome, dtype=float)[known].sum())
    others = len(known) - events
    if min(events, others) == 0:
        return 1.0, 1.0
    return len(known) / (2.0 * others), len(known) / (2.0 * events)


def interval_edges(targets: Targets, rows: Rows, spec: NetworkSpec) -> tuple[float, ...]:
    """Inner limits of the intervals of discrete hazards: quantiles of the training patients' event times."""
    known = rows[targets.labelled[rows]]
    times = np.asarray(targets.time, dtype=float)[known]
    seen = times[np.asarray(targets.outcome, dtype=float)[known] == 1]
    shares = np.linspace(0.0, 1.0, spec.hazard_bins + 1)[1:-1]
    return tuple(float(value) for value in np.quantile(seen if len(seen) else times, shares))


def has_bfloat16() -> bool:
    """Whether the GPU computes in bfloat16 itself, and does not imitate it."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


class Learner:
    """Data and losses of one training.

    Parameters
    ----------
    crops, targets
        All patients.
    rows
        Those to fit: scales and class weights come from them.
    spec, device
        How.
    """

    def __init__(self, crops: Any, targets: Targets, rows: Rows, spec: DeepSpec, device: str) -> None:
        self.crops, self.targets, self.rows, self.spec, self.device = crops, targets, rows, spec, device
        self.channels = int(np.shape(crops[int(rows[0])])[0])
        balanced = spec.training.class_weights == "balanced" and not spec.network.frozen
        self.weighted = balanced and spec.network.outcome == "binary"
        self.class_weights = balanced_weights(targets, rows) if self.weighted else (1.0, 1.0)
        self.covariate_scale = np.zeros((0, 2))
        if targets.covariates is not None and spec.network.predicts and np.shape(targets.covariates)[1]:
            part = np.asarray(targets.covariates, dtype=float)[rows]
            self.covariate_scale = np.column_stack([np.nanmean(part, axis=0), np.nanstd(part, axis=0)])
        self.edges = interval_edges(targets, rows, spec.network) if spec.network.outcome == "hazard" else ()

    def masks(self, rows: Rows) -> Tensor | None:
        """Masks of a batch, (n, 1, z, y, x); zeros where there is none (their weight is 0)."""
        if not self.spec.network.segments:
            return None
        there = self.targets.masked[rows]
        first = np.asarray(self.targets.masks[int(rows[0])])
        stacked = np.zeros((len(rows), 1, *first.shape), dtype=np.float32)
        for place, row in enumerate(rows):
            if there[place]:
                stacked[place, 0] = self.targets.masks[int(row)]
        return torch.from_numpy(stacked).to(self.device)

    def loss(
        self, network: MultiTaskNet, images: Tensor, masks: Tensor | None, rows: Rows
    ) -> tuple[Tensor, dict[str, float]]:
        """The joined loss of a batch, and its parts."""
        values = scaled_covariates(self.targets.covariates, self.covariate_scale, rows)
        with self._precision():
            output = network(images, None if values is None else values.to(self.device))
        outcome = None if output.outcome is None else self._outcome_loss(output.outcome.float(), rows)
        mask = None
        if masks is not None:
            weight = torch.from_numpy(self.targets.masked[rows].astype(np.float32)).to(self.device)
            mask = mask_loss([item.float() for item in output.masks], masks, weight)
        rules = self.spec.training
        learned = rules.task_weights == "uncertainty" and outcome is not None and mask is not None
        spread = network.log_variance if learned else torch.zeros_like(network.log_variance)
        total = joined_loss(outcome, mask, (rules.outcome_weight, rules.mask_weight), spread)
        parts = {"loss": total, "outcome_loss": outcome, "mask_loss": mask}
        return total, {name: float(value.detach()) for name, value in parts.items() if value is not None}

    def _precision(self) -> Any:
        """bfloat16 on GPUs that have it (no scaling of gradients is needed); single precision elsewhere.

        Older GPUs (V100, T4) only imitate it, which is slower than single precision.
        """
        half = self.spec.training.mixed_precision and self.device == "cuda" and has_bfloat16()
        return torch.autocast("cuda" if half else "cpu", dtype=torch.bfloat16, enabled=half)

    def _outcome_loss(self, logits: Tensor, rows: Rows) -> Tensor:
        targets, kind = self.targets, self.spec.network.outcome
        event = np.nan_to_num(np.asarray(targets.outcome, dtype=float)[rows])
        weight = targets.labelled[rows] * np.where(event == 1, self.class_weights[1], self.class_weights[0])
        tensors = [torch.from_numpy(item.astype(np.float32)).to(self.device) for item in (event, weight)]
        if kind == "binary":
            return binary_loss(logits, tensors[0], tensors[1], self.spec.training.label_smoothing)
        time = np.nan_to_num(np.asarray(targets.time, dtype=float)[rows])
        if kind == "cox":
            return cox_loss(logits, torch.from_numpy(time.astype(np.float32)).to(self.device), *tensors)
        bins = torch.from_numpy(np.searchsorted(self.edges, time, side="left")).to(self.device)
        return hazard_loss(logits, bins, *tensors)

    @torch.no_grad()
    def evaluate(self, network: MultiTaskNet, rows: Rows) -> dict[str, float]:
        """Mean losses of patients as they are, in order."""
        network.eval()
        sums: dict[str, float] = {}
        for start in range(0, len(rows), self.spec.training.batch):
            part = rows[start : start + self.spec.training.batch]
            images = as_batch(self.crops, part, self.channels, self.device)
            _, parts = self.loss(network, images, self.masks(part), part)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value * len(part)
        return {name: value / len(rows) for name, value in sums.items()}

    @torch.no_grad()
    def feature_scale(self, network: MultiTaskNet) -> npt.NDArray[np.float64]:
        """Mean and SD of the penultimate features of the fitted patients, (d, 2)."""
        if not self.spec.network.predicts:
            return np.zeros((0, 2))
        network.eval()
        found = []
        for start in range(0, len(self.rows), self.spec.training.batch):
            part = self.rows[start : start + self.spec.training.batch]
            values = scaled_covariates(self.targets.covariates, self.covariate_scale, part)
            images = as_batch(self.crops, part, self.channels, self.device)
            output = network(images, None if values is None else values.to(self.device))
            found.append(output.features.float().cpu().numpy())
        features = np.concatenate(found).astype(float)
        return np.column_stack([features.mean(axis=0), features.std(axis=0)])
