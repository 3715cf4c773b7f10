"""Networks of a fusion: crops of all patients, one training for each pair of folds left out, scores by view.

A network is trained without folds a and b. Within the outer fold a, patients of b are then scored by a network that
saw neither them nor the outer fold; and the outer fold is scored by the mean of all networks that did not see it. With
k folds k (k - 1) / 2 trainings serve all outer folds, the choice among networks inside each, and the final models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.seeds import derive_seed
from hepacast.deep import (
    CropStore,
    DeepSpec,
    FoldJob,
    Targets,
    TrainedNetwork,
    fold_jobs,
    train_jobs,
)
from hepacast.deep.domain import Range, crop_facts, ranges_of
from hepacast.deep.readings import feature_table, log_odds
from hepacast.deep.targets import inner_split
from hepacast.study.context import Context
from hepacast.study.crops import crop_patients, with_channels
from hepacast.study.schema import Fusion

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class NetworkScores:
    """Log odds and penultimate features by network and pair of folds, of patients whom that network did not see.

    Parameters
    ----------
    folds
        Outer fold of each training patient.
    logits, features
        By network, then by pair: a row a patient outside the pair's training.
    networks
        The trained networks, by name and pair.
    seen
        Smallest and largest value of what `crop_facts` measures in the training patients' crops.
    aside
        Log odds, by network and pair, of the patients whom that training only set aside to stop by.
    """

    folds: pd.Series
    logits: dict[str, dict[Pair, pd.Series]]
    features: dict[str, dict[Pair, pd.DataFrame]]
    networks: dict[str, dict[Pair, TrainedNetwork]]
    seen: dict[str, Range]
    aside: dict[str, dict[Pair, pd.Series]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the networks, in the study's order."""
        return list(self.logits)

    def scores(self, name: str, outer: int | None) -> pd.Series:
        """Log odds as a view may see them; `outer` is the fold left out, None for the final models."""
        table = self._view({pair: item.to_frame() for pair, item in self.logits[name].items()}, outer)
        return table.iloc[:, 0]

    def deep_features(self, name: str, outer: int | None) -> pd.DataFrame:
        """Penultimate features as a view may see them."""
        return self._view(self.features[name], outer)

    def excess(self, name: str, outer: int | None) -> float:
        """By how much the variance of a training patient's log odds in a view is greater than a test patient's.

        A view's training patients get fewer networks' mean than its test patients. The variance from network to
        network is that between a patient's scores of networks that were not fitted to the patient: networks of pairs
        with the patient's fold, and networks that set the patient aside. Of a view without fold `outer` only networks
        that did not see it take part.
        """
        folds = len(self.folds.unique())
        squares = []
        for pair, again in self.aside.get(name, {}).items():
            if outer is not None and outer not in pair:
                continue
            for other, known in self.logits[name].items():
                if other == pair or (outer is not None and outer not in other):
                    continue
                both = [patient for patient in again.index if self.folds[patient] in other and patient in known.index]
                squares.append((again[both] - known[both]).to_numpy(dtype=float) ** 2)
        values = np.concatenate(squares) if squares else np.zeros(0)
        if not len(values):
            return 0.0
        fewer, more = (folds - 1, folds * (folds - 1) // 2) if outer is None else (1, folds - 1)
        return float(values.mean() / 2.0) * (1.0 / fewer - 1.0 / more)

    def _view(self, tables: dict[Pair, pd.DataFrame], outer: int | None) -> pd.DataFrame:
        parts = []
        for fold in sorted(self.folds.unique()):
            rows = list(self.folds.index[self.folds == fold])
            if fold == outer or outer is None:
                used = [table for pair, table in tables.items() if fold in pair]
            else:
                used = [tables[min(fold, outer), max(fold, outer)]]
            parts.append(_mean(used, rows))
        if outer is None:
            any_table = next(iter(tables.values()))
            others = [patient for patient in any_table.index if patient not in self.folds.index]
            parts.append(_mean(list(tables.values()), others))
        return pd.concat(parts)


def _mean(tables: list[pd.DataFrame], rows: list[str]) -> pd.DataFrame:
    values = np.mean([table.loc[rows].to_numpy(dtype=float) for table in tables], axis=0)
    return pd.DataFrame(values, index=rows, columns=tables[0].columns)


def network_scores(
    context: Context, rules: Fusion, outcome: pd.Series | pd.DataFrame, folds: pd.Series, others: list[str]
) -> Any:
    """Train and apply all networks of the study.

    Parameters
    ----------
    outcome, folds
        Of the training patients, in the order of their identifiers.
    others
        Patients of other sets and cohorts, who are only predicted.
    """
    patients = [*outcome.index, *others]
    crops, facts = _crops(context, rules, patients)
    targets = _targets(outcome, len(others))
    fold_of = np.concatenate([folds.to_numpy(dtype=int), np.full(len(others), -1)])
    pairs = list(combinations(sorted(folds.unique()), 2))
    jobs: list[FoldJob] = []
    for variant in rules.networks:
        spec = network_spec(context, rules, variant.encoder, variant.dimensions)
        seed = derive_seed(context.study.seed, "fusion", variant.name)
        for pair in pairs:
            folder = context.cache / "fusion" / variant.name.replace(" ", "-") / f"without-{pair[0]}-{pair[1]}"
            left_out = np.where(np.isin(fold_of, pair) | (fold_of < 0), 0, 1)
            jobs.append(fold_jobs(crops, targets, left_out, spec, seed, folder)[0])
    with context.reporter.track("networks") as progress:
        trained = train_jobs(jobs, workers=context.workers, progress=progress)
    logits: dict[str, dict[Pair, pd.Series]] = {}
    features: dict[str, dict[Pair, pd.DataFrame]] = {}
    networks: dict[str, dict[Pair, TrainedNetwork]] = {}
    aside: dict[str, dict[Pair, pd.Series]] = {}
    queue = iter(zip(jobs, trained, strict=True))
    for variant in rules.networks:
        for pair in pairs:
            job, network = next(queue)
            rows = np.flatnonzero(np.isin(fold_of, pair) | (fold_of < 0))
            applied = network.apply(crops, rows=rows)
            index = [patients[row] for row in rows]
            logits.setdefault(variant.name, {})[pair] = pd.Series(log_odds(applied, network.spec.outcome), index=index)
            features.setdefault(variant.name, {})[pair] = feature_table(applied, index)
            networks.setdefault(variant.name, {})[pair] = network
            again = inner_split(targets, job.rows, job.spec.inner_fraction, job.seed)[1]
            kind = network.spec.outcome
            values = log_odds(network.apply(crops, rows=again), kind) if len(again) else np.zeros(0)
            aside.setdefault(variant.name, {})[pair] = pd.Series(values, index=[patients[row] for row in again])
    seen = ranges_of(facts[str(item)] for item in outcome.index)
    return NetworkScores(folds, logits, features, networks, seen, aside)


def _targets(outcome: pd.Series | pd.DataFrame, strangers: int) -> Targets:
    """What the networks learn: the event, and its time where there is one; nothing of those who are only predicted."""
    nothing = np.full(strangers, np.nan)
    if isinstance(outcome, pd.Series):
        return Targets(np.concatenate([outcome.to_numpy(dtype=float), nothing]))
    event = (outcome["code"] == 1).to_numpy(dtype=float)
    return Targets(np.concatenate([event, nothing]), np.concatenate([outcome["time"].to_numpy(dtype=float), nothing]))


def network_spec(context: Context, rules: Fusion, encoder: str, dimensions: str) -> DeepSpec:
    """What of a variant is trained."""
    content = rules.deep.model_dump()
    content["network"] |= {"encoder": encoder, "dimensions": dimensions}
    if rules.deep.network.pretrained is not None:
        content["network"]["pretrained"] = str(context.path(rules.deep.network.pretrained))
    return DeepSpec.model_validate(content)


def _crops(context: Context, rules: Fusion, patients: list[str]) -> tuple[CropStore, dict[str, dict[str, float]]]:
    """Crops of all patients, and what they look like."""
    crop = with_channels(context, rules.deep.crop)
    found = crop_patients(context, patients, crop, crop.voi)
    modalities = {name: item.modality for name, item in context.images.sequences.items()}
    facts = {
        patient: crop_facts(found.crops[row], found.drawn[row], found.spacing[row], crop, crop.voi, modalities)
        for row, patient in enumerate(patients)
    }
    return found.crops, facts
