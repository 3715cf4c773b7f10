"""The deep stage before it runs: what it reads of the user's files, and what it will cost."""

from __future__ import annotations

from hepacast.core.executor import resolve_workers
from hepacast.core.hashing import hash_value
from hepacast.deep.cost import step_seconds, training_bytes
from hepacast.study.context import Context
from hepacast.study.plan import Cost
from hepacast.study.stages.clinical import load_table
from hepacast.study.stages.deep_inputs import deep_of


def network_inputs(context: Context) -> dict[str, str]:
    """Hashes of masks to learn from, where they are others than the study's, and of pretrained weights."""
    options, found = deep_of(context), {}
    if options.masks is not None:
        paths = {p: context.path(options.masks, patient=p) for p in load_table(context).patients}
        there = [(p, context.fingerprints.of(path)) for p, path in sorted(paths.items()) if path.exists()]
        found["masks to learn from"] = hash_value(there)
    if options.network.pretrained is not None:
        found["pretrained weights"] = str(options.network.pretrained_sha256)
    return found


def network_cost(context: Context, patients: int) -> Cost:
    """From the measured cost of a patient's training step (benchmarks/deep.py), by the size of crop and network."""
    options = deep_of(context)
    folds = options.folds or context.study.modelling.validation.folds
    workers = resolve_workers(context.workers)
    steps = options.training.epochs * patients * folds * (len(options.models) + options.permutations)
    return Cost(steps * step_seconds(options.spec) / workers, training_bytes(options.spec) * workers)
