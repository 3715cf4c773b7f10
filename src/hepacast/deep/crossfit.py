"""Out-of-fold everything: what enters another model comes from networks that did not see the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.closure import code_hash
from hepacast.core.executor import Need, Progress, map_items, resolve_workers
from hepacast.core.hashing import hash_value
from hepacast.core.kept import discard, is_kept, seal
from hepacast.deep.cost import training_bytes
from hepacast.deep.readings import Applied
from hepacast.deep.spec import DeepSpec, NetworkSpec
from hepacast.deep.store import CropStore, hash_rows
from hepacast.deep.targets import Targets, inner_split
from hepacast.deep.trained import TrainedNetwork
from hepacast.errors import ModelError

Floats = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Scores, features and masks of n patients, each by the network of the fold that the patient was left out of.

    Parameters
    ----------
    scores
        (n,), see `Applied`. NaN without a prediction pathway.
    features
        Penultimate features, (n, d), in SDs of each network's own training patients; (n, 0) without a prediction
        pathway. Feature 7 of one fold's network is not feature 7 of another's: all start from the same weights, yet
        after 100 epochs the correlation is about 0.7 at best. What is fitted to a column fits a mixture.
    masks
        Probability of tumor, float16, (n, z, y, x); None without a segmentation pathway.
    folds
        Fold of each patient, (n,).
    networks
        One a fold; network k was trained without the patients of fold k.
    """

    scores: Floats
    features: Floats
    masks: npt.NDArray[np.float16] | None
    folds: npt.NDArray[np.int64]
    networks: tuple[TrainedNetwork, ...]

    @property
    def histories(self) -> tuple[tuple[dict[str, Any], ...], ...]:
        """One training history a fold, for training curves."""
        return tuple(network.history for network in self.networks)


@dataclass(frozen=True)
class FoldJob:
    """One network to train, picklable: data are named by file, or carried along when nothing leaves the process."""

    crops: Any
    targets: Targets
    rows: npt.NDArray[np.int64]
    spec: DeepSpec
    seed: int
    folder: Path
    key: str


def cross_fit(
    crops: Any,
    targets: Targets,
    folds: npt.NDArray[np.int64] | Sequence[int],
    spec: DeepSpec,
    seed: int,
    workdir: str | Path,
    progress: Progress | None = None,
    *,
    workers: int = 1,
) -> CrossFit:
    """Train one network a fold, on all patients but the fold's own, and predict the fold with it.

    Parameters
    ----------
    crops
        (n, channels, z, y, x), an array or a `CropStore`; patients in the order of their identifiers.
    targets
        Outcomes and masks.
    folds
        (n,), 0 to k - 1; -1 for patients who take no part (an external cohort in the same array): they train nothing,
        and their scores stay NaN until `apply_frozen`.
    spec, seed
        Network and training.
    workdir
        Folder for finished networks and checkpoints; a killed run goes on here, a finished fold is not trained again.
    progress
        Called with (folds done, folds in all).
    workers
        Processes; 0 one a core. The numbers do not depend on it.

    Raises
    ------
    ModelError
        Folds that do not fit, or a fold without anything to learn from.
    """
    fold_of = np.asarray(folds, dtype=np.int64)
    jobs = fold_jobs(crops, targets, fold_of, spec, seed, workdir, workers=workers)
    networks = train_jobs(jobs, workers=workers, progress=progress)
    return gather(crops, targets, fold_of, networks)


def fold_jobs(
    crops: Any,
    targets: Targets,
    folds: npt.NDArray[np.int64],
    spec: DeepSpec,
    seed: int,
    workdir: str | Path,
    *,
    workers: int = 1,
) -> list[FoldJob]:
    """The trainings of a cross-fit, one a fold; see `cross_fit`."""
    if len(folds) != len(crops) or len(targets) != len(crops):
        raise ModelError(
            "Crops, targets and folds are of different numbers of patients.",
            found=f"{len(crops)}, {len(targets)}, {len(folds)}",
        )
    count = int(folds.max(initial=-1)) + 1
    if count < 2 or sorted({*folds.tolist()} - {-1}) != list(range(count)):
        raise ModelError(
            "Folds are numbered from 0 without gaps, and there are two or more.", found=f"{sorted(set(folds.tolist()))}"
        )
    folder = Path(workdir)
    if resolve_workers(workers) > 1:
        # Other processes open the arrays by name instead of getting a copy.
        crops = CropStore.keep(folder / "crops.npy", crops)
        if targets.masks is not None:
            kept = CropStore.keep(folder / "masks.npy", targets.masks)
            targets = Targets(targets.outcome, targets.time, kept, targets.has_mask, targets.covariates)
    jobs = []
    for fold in range(count):
        rows = np.flatnonzero((folds != fold) & (folds >= 0))
        jobs.append(
            FoldJob(crops, targets, rows, spec, seed, folder / f"fold-{fold}", _key(crops, targets, rows, spec, seed))
        )
    return jobs


def train_jobs(jobs: Sequence[FoldJob], *, workers: int = 1, progress: Progress | None = None) -> list[TrainedNetwork]:
    """Train networks, several at once; finished ones are kept by the hash of everything that made them."""
    need = Need(memory=max((training_bytes(job.spec) for job in jobs), default=0.0))
    return map_items(train_fold, jobs, workers=workers, progress=progress, need=need)


def train_fold(job: FoldJob) -> TrainedNetwork:
    """One training, in this process or in a worker."""
    import torch

    from hepacast.deep.training import train

    kept = job.folder / f"network-{job.key[:32]}.safetensors"
    if is_kept(kept):
        return TrainedNetwork.load(kept)
    if job.spec.training.device == "cpu" or not torch.cuda.is_available():
        torch.set_num_threads(1)  # sums in another order would differ in their last digits
    checkpoint = job.folder / "checkpoint.safetensors"
    trained = train(job.crops, job.targets, job.rows, job.spec, job.seed, checkpoint=checkpoint, key=job.key)
    discard(kept)
    trained.save(kept)
    seal(kept)
    discard(checkpoint)
    return trained


def gather(crops: Any, targets: Targets, folds: npt.NDArray[np.int64], networks: Sequence[TrainedNetwork]) -> CrossFit:
    """Every patient's scores, features and masks from the network that did not see the patient."""
    parts = []
    for fold, network in enumerate(networks):
        rows = np.flatnonzero(folds == fold)
        parts.append((rows, network.apply(crops, targets.covariates, rows=rows)))
    n = len(folds)
    scores = np.full(n, np.nan)
    features = np.full((n, parts[0][1].features.shape[1]), np.nan)
    first = parts[0][1].masks
    masks = None if first is None else np.zeros((n, *first.shape[1:]), dtype=np.float16)
    for rows, applied in parts:
        scores[rows], features[rows] = applied.scores, applied.features
        if masks is not None and applied.masks is not None:
            masks[rows] = applied.masks
    return CrossFit(scores, features, masks, folds, tuple(networks))


def between_networks(
    networks: Sequence[TrainedNetwork],
    crops: Any,
    targets: Targets,
    folds: npt.NDArray[np.int64],
    scores: Floats,
    spec: DeepSpec,
    seed: int,
) -> float:
    """Variance of a patient's score over networks that were not fitted to the patient; NaN where it is not known.

    Each network sets patients aside to stop its training by. They are read a second time here: half the mean squared
    difference to their out-of-fold scores is the variance from network to network, which a mean over k networks has
    only the k-th part of. Nothing is trained for it, and no outcome is looked at.

    Parameters
    ----------
    networks
        Of a cross-fit, network k trained without fold k.
    scores
        Out-of-fold scores, (n,), on the scale on which they are averaged (`averaged_scale`).
    spec, seed
        Of the cross-fit.
    """
    squares: list[Floats] = []
    for fold, network in enumerate(networks):
        rows = np.flatnonzero((folds != fold) & (folds >= 0))
        _, aside = inner_split(targets, rows, spec.inner_fraction, seed)
        if len(aside):
            again = averaged_scale(network.apply(crops, targets.covariates, rows=aside).scores, network.spec)
            squares.append((again - scores[aside]) ** 2)
    return float(np.mean(np.concatenate(squares)) / 2.0) if squares else float("nan")


def averaged_scale(scores: Floats, spec: NetworkSpec) -> Floats:
    """Scores on the scale on which networks are averaged: log odds of binary risks, others as they are."""
    if spec.outcome != "binary":
        return scores
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def apply_frozen(
    networks: Sequence[TrainedNetwork],
    crops: Any,
    covariates: Floats | None = None,
    *,
    rows: npt.NDArray[np.int64] | None = None,
) -> Applied:
    """Patients whom no network has seen: the mean over all folds' networks.

    Parameters
    ----------
    networks
        Of a cross-fit.
    crops
        (n, channels, z, y, x), an array or a `CropStore`.
    covariates
        (n, p) where the networks take them.
    rows
        Which patients; all when left out.

    Returns
    -------
    Applied
        Binary risks are averaged as log odds, other scores, features and mask probabilities as they are.
    """
    if not networks:
        raise ModelError("There is no network to apply.")
    parts = [network.apply(crops, covariates, rows=rows) for network in networks]
    spec = networks[0].spec
    mean = np.mean([averaged_scale(part.scores, spec) for part in parts], axis=0)
    if spec.outcome == "binary":
        mean = 1.0 / (1.0 + np.exp(-mean))
    masks = None
    if parts[0].masks is not None:
        masks = np.mean([np.asarray(part.masks, dtype=np.float32) for part in parts], axis=0).astype(np.float16)
    return Applied(mean, np.mean([part.features for part in parts], axis=0), masks)


def _key(crops: Any, targets: Targets, rows: npt.NDArray[np.int64], spec: DeepSpec, seed: int) -> str:
    """Hash of everything that decides a fold's network: nothing of the held-out patients is in it."""
    masked = rows[targets.masked[rows]] if spec.network.segments else rows[:0]
    parts = [
        None if values is None else np.asarray(values, dtype=float)[rows]
        for values in (targets.outcome, targets.time, targets.covariates)
    ]
    # Pretrained weights are named by their checksum; where the file lies decides nothing.
    settings = spec.model_dump(mode="json")
    settings["network"]["pretrained"] = None
    return hash_value(
        [
            settings,
            seed,
            rows,
            [None if part is None else np.nan_to_num(part, nan=-999.0).tolist() for part in parts],
            hash_rows(crops, rows),
            masked,
            hash_rows(targets.masks, masked) if len(masked) else "",
            code_hash("hepacast.deep.training"),
            metadata.version("torch"),
        ]
    )
