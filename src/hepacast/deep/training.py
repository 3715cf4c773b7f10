"""One training loop for all networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hepacast.core.seeds import derive_seed, rng
from hepacast.deep.augment import augment
from hepacast.deep.batches import Learner, balanced_weights, interval_edges
from hepacast.deep.checkpoint import State, load_checkpoint, save_checkpoint
from hepacast.deep.frozen import fit_head
from hepacast.deep.inference import as_batch, resolve_device
from hepacast.deep.networks import MultiTaskNet, count_parameters
from hepacast.deep.pretrained import load_pretrained
from hepacast.deep.spec import DeepSpec
from hepacast.deep.targets import Targets, inner_split
from hepacast.deep.trained import TrainedNetwork
from hepacast.errors import ModelError

Rows = npt.NDArray[np.int64]
#: Called as ``progress(epochs done, epochs in all)``.
Progress = Callable[[int, int], None]


@dataclass
class _Run:
    """The state of a training between epochs."""

    epoch: int = 0
    step: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def facts(self, key: str) -> dict[str, Any]:
        """As the checkpoint keeps it."""
        best = self.best_loss if math.isfinite(self.best_loss) else None
        return {
            "key": key, "epoch": self.epoch, "step": self.step, "best_loss": best, "best_epoch": self.best_epoch,
            "waited": self.waited, "history": self.history,
        }  # fmt: skip

    def improves(self, loss: float) -> bool:
        """Whether no epoch was better; one that is not is counted."""
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch, self.waited = loss, self.epoch, 0
        else:
            self.waited += 1
        return better

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> _Run:
        """As it was."""
        best = math.inf if facts["best_loss"] is None else float(facts["best_loss"])
        return cls(facts["epoch"], facts["step"], best, facts["best_epoch"], facts["waited"], list(facts["history"]))


def train(
    crops: Any,
    targets: Targets,
    rows: Rows,
    spec: DeepSpec,
    seed: int,
    *,
    checkpoint: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train a network on some of the patients.

    Parameters
    ----------
    crops, targets
        Those of all patients; crops (n, channels, z, y, x) as an array or a `CropStore`. Only `rows` are read.
    rows
        The training patients, in the order of their identifiers, on which the random streams build.
    spec, seed
        Network and training. The seed fixes everything; the initial weights depend on nothing else.
    checkpoint, key
        File to go on from, and to write every few epochs; one of another key (a name of this training) is not used.
    progress
        Called after each epoch.

    Raises
    ------
    ModelError
        Nobody to learn from, or the loss is no longer a number.
    """
    rows = np.asarray(rows, dtype=np.int64)
    _check(targets, rows, spec)
    device = resolve_device(spec.training.device)
    fitting, inner = inner_split(targets, rows, spec.inner_fraction, seed)
    learner, rules = Learner(crops, targets, fitting, spec, device), spec.training
    network = new_network(spec, learner.channels, len(learner.covariate_scale), seed).to(device)
    if spec.network.frozen:
        run = _Run(epoch=1, history=[fit_head(network, learner)])
        return _finish(network, network.state_dict(), learner, run, fitting, inner)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rules.learning_rate, weight_decay=rules.weight_decay)
    average, best, run = _beginning(network, optimizer, checkpoint, key)
    while run.epoch < rules.epochs and not (len(inner) and run.waited >= rules.patience):
        began = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "dropout", run.epoch))
            losses = _epoch(network, average, optimizer, learner, run, seed)
        run.epoch += 1
        entry = {"epoch": run.epoch, **losses, "seconds": round(time.monotonic() - began, 3)}
        if len(inner):
            entry |= _inner_losses(spec, average, learner, inner, seed)
            best = (
                {name: value.clone() for name, value in average.items()} if run.improves(entry["inner_loss"]) else best
            )
        run.history.append(entry)
        if checkpoint is not None and run.epoch % rules.checkpoint_every == 0:
            save_checkpoint(checkpoint, network, average, best, optimizer, run.facts(key))
        if progress:
            progress(run.epoch, rules.epochs)
    return _finish(network, best if best is not None else average, learner, run, fitting, inner)


def _inner_losses(spec: DeepSpec, weights: State, learner: Learner, inner: Rows, seed: int) -> dict[str, float]:
    """Losses of the patients set aside, by these weights."""
    judge = new_network(spec, learner.channels, len(learner.covariate_scale), seed).to(learner.device)
    judge.load_state_dict(weights)
    return {f"inner_{name}": value for name, value in learner.evaluate(judge, inner).items()}


def _beginning(
    network: MultiTaskNet, optimizer: torch.optim.Optimizer, checkpoint: Path | None, key: str
) -> tuple[State, State | None, _Run]:
    """Running average of the weights, the best ones so far, and the state: those of the checkpoint, if it is ours."""
    found = load_checkpoint(checkpoint, key, network, optimizer) if checkpoint is not None else None
    if found is not None:
        average, best, facts = found
        return average, best, _Run.from_facts(facts)
    return {name: value.detach().clone() for name, value in network.state_dict().items()}, None, _Run()


def new_network(spec: DeepSpec, channels: int, covariates: int, seed: int) -> MultiTaskNet:
    """A network with its initial weights: random from the seed, or from the file of the study."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        network = MultiTaskNet(spec.network, channels, covariates)
    if spec.network.pretrained is not None:
        load_pretrained(network, Path(spec.network.pretrained), str(spec.network.pretrained_sha256))
    return network


def _check(targets: Targets, rows: Rows, spec: DeepSpec) -> None:
    labelled, masked = int(targets.labelled[rows].sum()), int(targets.masked[rows].sum())
    if spec.network.predicts:
        events = targets.outcome[rows][targets.labelled[rows]]
        if labelled < 4 or len(np.unique(events)) < (2 if spec.network.outcome == "binary" else 1):
            raise ModelError(
                "The network has no outcome to learn.",
                expected="training patients with and without the event",
                found=f"{labelled} labelled patients, {int(np.nansum(events))} events",
            )
        if spec.network.outcome != "binary" and targets.time is None:
            raise ModelError("A time to an event is to be learned, and no times were given.")
    if spec.network.segments and not masked:
        raise ModelError("The network has no mask to learn from.", expected="masks of training patients", found="none")


def _epoch(
    network: MultiTaskNet, average: State, optimizer: torch.optim.Optimizer, learner: Learner, run: _Run, seed: int
) -> dict[str, float]:
    """One pass over the patients in random order; returns mean losses."""
    rules = learner.spec.training
    order = rng(seed, "order", run.epoch).permutation(len(learner.rows))
    batches = np.array_split(learner.rows[order], batch_count(len(order), rules.batch))
    steps = len(batches) * rules.epochs
    network.train()
    sums: dict[str, float] = {}
    for part in batches:
        for group in optimizer.param_groups:
            group["lr"] = rules.learning_rate * schedule(run.step, steps, rules.warmup_epochs * len(batches))
        images = as_batch(learner.crops, part, learner.channels, learner.device)
        images, masks = augment(images, learner.masks(part), rules.augment, seed, run.epoch, [int(row) for row in part])
        loss, parts = learner.loss(network, images, masks, part)
        if not bool(torch.isfinite(loss)):
            raise ModelError(
                "The training has left the numbers: its loss is not finite.",
                found=f"epoch {run.epoch + 1}",
                remedy="lower deep.training.learning_rate, or look for extreme intensities in the crops",
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), rules.clip)
        optimizer.step()
        run.step += 1
        _follow(average, network, min(rules.ema, (1 + run.step) / (10 + run.step)))
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value * len(part)
    means = {name: value / len(learner.rows) for name, value in sums.items()}
    return means | {"learning_rate": float(optimizer.param_groups[0]["lr"])}


def batch_count(n: int, batch: int) -> int:
    """Batches of an epoch: of at most `batch` patients, and never of one alone (a norm over patients needs two)."""
    return max(1, min(math.ceil(n / batch), n // 2))


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the highest learning rate: linear warm-up, then a half cosine to 0."""
    if step < warmup:
        return (step + 1) / max(warmup, 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, steps - warmup))))


@torch.no_grad()
def _follow(average: State, network: MultiTaskNet, decay: float) -> None:
    """Exponential moving average of weights and of the norms' statistics."""
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point:
            average[name].mul_(decay).add_(value, alpha=1.0 - decay)
        else:
            average[name].copy_(value)


def _finish(
    network: MultiTaskNet, weights: State, learner: Learner, run: _Run, fitting: Rows, inner: Rows
) -> TrainedNetwork:
    network.load_state_dict(weights)
    scale = learner.feature_scale(network)
    ratio = balanced_weights(learner.targets, fitting) if learner.weighted else (1.0, 1.0)
    return TrainedNetwork(
        # Where the file of weights lay is nobody else's business; its checksum stays.
        spec=network.spec.model_copy(update={"pretrained": None}),
        channels=learner.channels,
        weights={name: value.detach().cpu().numpy() for name, value in weights.items()},
        shift=math.log(ratio[1] / ratio[0]),
        covariates=learner.covariate_scale,
        feature_scale=scale,
        bin_edges=interval_edges(learner.targets, fitting, network.spec) if network.spec.outcome == "hazard" else (),
        history=tuple(run.history),
        facts={
            "epochs": run.epoch,
            "best_epoch": run.best_epoch or run.epoch,
            "n_fitting": len(fitting),
            "n_inner": len(inner),
            "n_labelled": int(learner.targets.labelled[fitting].sum()),
            "n_masked": int(learner.targets.masked[fitting].sum()),
            "parameters": count_parameters(network),
            "seconds": round(sum(entry["seconds"] for entry in run.history), 1),
            "device": learner.device,
        },
    )
