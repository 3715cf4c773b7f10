"""Stage deep: networks trained out-of-fold on the training set, frozen on the others, judged beside all models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.core.executor import resolve_workers
from hepacast.core.files import atomic_path, write_json
from hepacast.core.hashing import hash_value
from hepacast.core.seeds import derive_seed, rng
from hepacast.deep import (
    CrossFit,
    DeepSpec,
    NetworkSpec,
    Targets,
    apply_frozen,
    averaged_scale,
    between_networks,
    fold_jobs,
    gather,
    train_jobs,
)
from hepacast.deep.cost import step_seconds, training_bytes
from hepacast.errors import ModelError
from hepacast.modelling.cutoffs import youden_cutoff
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.predictions import Kind, Predictions
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.measurement_error import moment_reconstruction
from hepacast.stats.ranks import auc_from_ranks
from hepacast.study.context import Context
from hepacast.study.input_files import imaged_patients, voi_settings
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.clinical import load_table
from hepacast.study.stages.deep_inputs import DeepData, deep_of, load_data, spec_of
from hepacast.study.stages.deep_results import adjusted_survival, control_rows, dice_rows, explained, paired_dice

#: Models with a prediction pathway are judged under these names, the main one last.
NAMES = {"classifier": "single-task network", "multi-task": "multi-task network", "segmenter": "single-task segmenter"}
ORDER = ("classifier", "segmenter", "multi-task")


@dataclass(frozen=True, eq=False)
class Fitted:
    """One network of the study, cross-fitted.

    Parameters
    ----------
    kind
        ``multi-task``, ``classifier`` or ``segmenter``.
    fit
        Out-of-fold results; patients outside the training set are NaN there.
    scores, features, masks
        Of all patients: out-of-fold in the training set, the mean of the folds' networks elsewhere.
    between
        Variance of a patient's score from network to network; NaN where it is not known.
    """

    kind: str
    fit: CrossFit
    scores: np.ndarray
    features: np.ndarray
    masks: np.ndarray | None
    between: float = np.nan

    @property
    def spec(self) -> NetworkSpec:
        """The network."""
        return self.fit.networks[0].spec

    def for_new_patients(self, outcome: np.ndarray) -> np.ndarray:
        """Scores to learn risks of new patients from, NaN outside the training set.

        New patients get the mean of all networks, which is less noisy than the one network that a training patient
        was scored by: a slope learned from single networks would be too small for them.
        """
        lp = averaged_scale(self.scores, self.spec)
        known = self.fit.folds >= 0
        excess = np.nan_to_num(self.between) * (1.0 - 1.0 / len(self.fit.networks))
        result = np.full(len(lp), np.nan)
        result[known] = moment_reconstruction(lp[known], outcome[known], excess)
        return result


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    options, data = deep_of(context), load_data(context)
    folds = fold_numbers(context, data)
    fitted = _train(context, data, folds)
    predictions, judged, features = [], {}, []
    adjusted: list[dict[str, Any]] = []
    for item in fitted:
        _save_networks(folder, item)
        if item.spec.predicts:
            risks, cutoff = risks_of(data, item, folds)
            adjusted = adjusted_survival(context, data, risks, cutoff)
            judged[NAMES[item.kind]] = {"cutoff": cutoff, "kind": item.kind, "calibration": calibration_of(data, item)}
            predictions.append(_predictions(data, item, folds, risks))
            features.append(_feature_rows(data, item))
    if predictions:
        Predictions.join(predictions).write(folder / "predictions.parquet")
        with atomic_path(folder / "features.parquet") as temporary:
            pd.concat(features, axis=1).to_parquet(temporary)
    main = next((item for item in reversed(fitted) if item.spec.predicts), None)
    dice = [row for item in fitted for row in dice_rows(context, data, item.masks, NAMES[item.kind], item.kind)]
    content: dict[str, Any] = {
        "folds": int(folds.max()) + 1,
        "n_training": int((folds >= 0).sum()),
        "models": judged,
        "networks": {NAMES[item.kind]: _network_facts(item) for item in fitted},
        "histories": {NAMES[item.kind]: item.fit.histories for item in fitted},
        "crop": options.crop.model_dump(mode="json"),
        "structure": options.structure,
        "dice": dice,
        "dice_tests": paired_dice(dice),
        "controls": [],
        "explained": [],
        "permutation": None,
        "adjusted": adjusted,
    }
    if main is not None:
        with context.reporter.track("controls and maps") as progress:
            if options.controls:
                content["controls"] = control_rows(context, data, main.fit, NAMES[main.kind])
            progress(1, 2)
            content["explained"] = explained(context, data, main.fit, main.scores, options.explained)
            progress(2, 2)
        if options.permutations:
            content["permutation"] = _permuted(context, data, folds, main)
    write_json(folder / "deep.json", content)
    write_json(folder / "methods.json", _sentences(context, data, content))


def fold_numbers(context: Context, data: DeepData) -> np.ndarray:
    """Fold of every patient, -1 outside the training set; the same folds as the first repeat of the nested CV."""
    wanted = deep_of(context).folds or context.study.modelling.validation.folds
    rows = data.rows("training")
    names = [data.patients[row] for row in rows]
    seed = derive_seed(context.study.seed, "nested")
    folds = np.full(len(data.patients), -1, dtype=np.int64)
    folds[rows] = stratified_folds(names, data.outcome[rows].astype(int), wanted, seed, "nested", 0)
    return folds


def _train(context: Context, data: DeepData, folds: np.ndarray) -> list[Fitted]:
    """All folds of all networks in one queue, so that no core waits."""
    options, seed = deep_of(context), derive_seed(context.study.seed, "deep")
    kinds = [kind for kind in ORDER if kind in options.models]
    jobs = {
        kind: fold_jobs(
            data.crops, data.targets, folds, spec_of(context).with_tasks(kind), seed, context.cache / "deep" / kind
        )
        for kind in kinds
    }
    with context.reporter.track("training networks") as progress:
        queue = [job for kind in kinds for job in jobs[kind]]
        networks = iter(train_jobs(queue, workers=context.workers, progress=progress))
    fitted = []
    for kind in kinds:
        own = [next(networks) for _ in jobs[kind]]
        fit = gather(data.crops, data.targets, folds, own)
        others = np.flatnonzero(folds < 0)
        scores, features, masks = fit.scores.copy(), fit.features.copy(), fit.masks
        if len(others):
            frozen = apply_frozen(own, data.crops, data.targets.covariates, rows=others)
            scores[others], features[others] = frozen.scores, frozen.features
            if masks is not None and frozen.masks is not None:
                masks = masks.copy()
                masks[others] = frozen.masks
        between = np.nan
        if own[0].spec.predicts:
            known = averaged_scale(fit.scores, own[0].spec)
            between = between_networks(own, data.crops, data.targets, folds, known, spec_of(context), seed)
        fitted.append(Fitted(kind, fit, scores, features, masks, between))
    return fitted


def risks_of(data: DeepData, item: Fitted, folds: np.ndarray) -> tuple[np.ndarray, float]:
    """Risks of all patients, and Youden's cut-off of the risks of new ones, learned in the training set.

    Networks are too sure of themselves: the log odds are recalibrated by a logistic model (intercept, slope) of
    out-of-fold scores; a training patient's by the scores of the other folds.
    """
    lp = averaged_scale(item.scores, item.spec)
    risks = np.full(len(lp), np.nan)
    for fold in range(int(folds.max()) + 1):
        risks[folds == fold] = recalibrated(lp, data.outcome, (folds >= 0) & (folds != fold), folds == fold)
    intercept, slope = calibration_of(data, item)
    risks[folds < 0] = risk_of(intercept + slope * lp[folds < 0])
    inside = folds >= 0
    alike = item.for_new_patients(data.outcome)[inside]
    return risks, youden_cutoff(data.outcome[inside], risk_of(intercept + slope * alike))


def risk_of(lp: np.ndarray) -> np.ndarray:
    """Risk of log odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-lp)))


def calibration_of(data: DeepData, item: Fitted) -> tuple[float, float]:
    """Intercept and slope from the mean score of the networks to risks of new patients."""
    return calibration(item.for_new_patients(data.outcome), data.outcome, item.fit.folds >= 0)


def calibration(lp: np.ndarray, outcome: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of a logistic model of the `known` patients; the slope is not below 0.05."""
    fit = fit_logistic(lp[known][:, None], outcome[known], ["score"])
    if fit.ok and float(fit.coef[0]) > 0.05:
        return float(fit.intercept), float(fit.coef[0])
    if fit.status == "separated":
        # The scores part the groups without an error, and have no estimate: they are taken as they are.
        return 0.0, 1.0
    # Scores that say nothing: everybody gets about the rate, in the order of the scores.
    rate = float(outcome[known].mean())
    return float(np.log(rate / (1 - rate)) - 0.05 * lp[known].mean()), 0.05


def recalibrated(lp: np.ndarray, outcome: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Risks of `wanted` patients by the logistic model of the `known` ones."""
    intercept, slope = calibration(lp, outcome, known)
    return risk_of(intercept + slope * lp[wanted])


def _predictions(data: DeepData, item: Fitted, folds: np.ndarray, risks: np.ndarray) -> Predictions:
    """Of one network: apparent, nested (out-of-fold) and frozen predictions."""
    parts: list[Predictions] = []
    training = np.flatnonzero(folds >= 0)
    # Apparent: the mean of networks most of which were trained on the patient.
    own = apply_frozen(item.fit.networks, data.crops, data.targets.covariates, rows=training)
    intercept, slope = calibration_of(data, item)
    apparent = risk_of(intercept + slope * averaged_scale(own.scores, item.spec))
    parts.append(_rows(data, training, apparent, "training", "apparent", NAMES[item.kind]))
    parts.append(_rows(data, training, risks[training], "training", "nested", NAMES[item.kind]))
    for name in dict.fromkeys(data.cohort.sets):
        if name != "training":
            rows = data.rows(str(name))
            parts.append(_rows(data, rows, risks[rows], str(name), "frozen", NAMES[item.kind]))
    return Predictions.join(parts)


def _rows(data: DeepData, rows: np.ndarray, risk: np.ndarray, name: str, kind: Kind, model: str) -> Predictions:
    patients, outcome = [data.patients[row] for row in rows], data.outcome[rows].astype(int)
    log_odds = np.log(risk / (1 - risk))
    return Predictions.make(patients, outcome, risk[:, None], log_odds[:, None], models=[model], set=name, kind=kind)


def _feature_rows(data: DeepData, item: Fitted) -> pd.DataFrame:
    """Penultimate features and the score of all patients, out-of-fold in the training set."""
    columns = {f"{item.kind}:score": item.scores}
    columns |= {f"{item.kind}:f{number:03d}": item.features[:, number] for number in range(item.features.shape[1])}
    return pd.DataFrame(columns, index=pd.Index(data.patients, name="patient"))


def _save_networks(folder: Path, item: Fitted) -> None:
    for fold, network in enumerate(item.fit.networks):
        network.save(folder / "networks" / f"{item.kind}-{fold}.safetensors")


def _network_facts(item: Fitted) -> dict[str, Any]:
    first = item.fit.networks[0]
    return {
        "kind": item.kind,
        "encoder": first.spec.encoder,
        "dimensions": first.spec.dimensions,
        "width": first.spec.width,
        "stages": first.spec.stages,
        "parameters": first.facts["parameters"],
        "epochs": [network.facts["epochs"] for network in item.fit.networks],
        "best_epochs": [network.facts["best_epoch"] for network in item.fit.networks],
        "n_labelled": [network.facts["n_labelled"] for network in item.fit.networks],
        "n_masked": [network.facts["n_masked"] for network in item.fit.networks],
        "seconds": [network.facts["seconds"] for network in item.fit.networks],
        "device": first.facts["device"],
    }


def _permuted(context: Context, data: DeepData, folds: np.ndarray, main: Fitted) -> dict[str, Any]:
    """AUC of the main network trained on permuted outcomes of the training set."""
    options = deep_of(context)
    if options.network.outcome != "binary":
        raise ModelError("Outcomes are permuted for networks of an event only.", where="deep.permutations")
    spec: DeepSpec = spec_of(context).with_tasks(main.kind)
    training = np.flatnonzero(folds >= 0)
    aucs = []
    for number in range(options.permutations):
        shuffled = data.outcome.copy()
        order = rng(context.study.seed, "deep-permutation", number).permutation(len(training))
        shuffled[training] = data.outcome[training][order]
        own = data.targets
        targets = Targets(shuffled, None, own.masks, own.has_mask, own.covariates)
        seed = derive_seed(context.study.seed, "deep")
        jobs = fold_jobs(data.crops, targets, folds, spec, seed, context.cache / "deep" / f"permuted-{number}")
        with context.reporter.track(f"permuted outcomes {number + 1}") as progress:
            networks = train_jobs(jobs, workers=context.workers, progress=progress)
        fit = gather(data.crops, targets, folds, networks)
        parts = [
            auc_from_ranks(shuffled[folds == fold], fit.scores[folds == fold]) for fold in range(int(folds.max()) + 1)
        ]
        aucs.append(float(np.mean(parts)))
    events = int(data.outcome[training].sum())
    others = len(training) - events
    # Standard error of an AUC without signal (Mann-Whitney U under the null).
    error = float(np.sqrt((events + others + 1) / (12.0 * events * others)))
    return {"model": NAMES[main.kind], "aucs": aucs, "mean": float(np.mean(aucs)), "standard_error": error}


def _sentences(context: Context, data: DeepData, content: dict[str, Any]) -> list[dict[str, Any]]:
    options = deep_of(context)
    network, crop, training = options.network, options.crop, options.training
    size = " x ".join(str(side) for side in reversed(crop.size))
    box = (
        f"a box of {' x '.join(f'{side:g}' for side in reversed(crop.size_mm))} mm"
        if crop.size_mm is not None
        else f"the VOI's box with a margin of {crop.margin_mm:g} mm"
    )
    names = ", ".join(content["networks"])
    text = (
        f"Networks ({names}) with one residual encoder ({network.encoder}, {network.dimensions}, {network.stages} "
        f"stages of {network.width} channels and more) [@resnet] saw crops of {size} voxels ({box} around {crop.voi}). "
        f"The multi-task network has an encoder pathway, a segmentation pathway (decoder with skips and deep "
        f"supervision [@unet]; Dice and cross-entropy) and a prediction pathway; patients without a mask or a "
        f"label train the other task. All were trained by AdamW for {training.epochs} epochs (cosine schedule, moving "
        f"average of weights) in {content['folds']} folds, those of the first repeat of the nested cross-validation: "
        f"each training patient is judged by the network that did not see the patient, all others by the mean of the "
        f"{content['folds']} networks. Risks were recalibrated on out-of-fold scores"
        + (
            ", whose variance from network to network (read from the patients set aside to stop each training) was "
            "first taken out, as the mean of all networks has less of it [@momentreconstruction]."
            if training.inner_fraction > 0
            else " of single networks; no training set patients aside, so that the smaller variance of a mean of "
            "networks is not accounted for."
        )
    )
    return [{"stage": "deep", "text": text, "citations": ["resnet", "unet", "momentreconstruction"]}]


def _settings(context: Context) -> dict[str, Any]:
    """The networks, the outcome that they learn, and the folds that they share with the other models."""
    rules = study_parts(context, "seed", "deep", "evaluation") | {"images": voi_settings(context)}
    return rules | {"folds": context.study.modelling.validation.folds}


def _inputs(context: Context) -> dict[str, str]:
    """Hashes of masks to learn from, where they are others than the study's, and of pretrained weights."""
    options, found = deep_of(context), {}
    if options.masks is not None:
        paths = {p: context.path(options.masks, patient=p) for p in load_table(context).patients}
        there = [(p, context.fingerprints.of(path)) for p, path in sorted(paths.items()) if path.exists()]
        found["masks to learn from"] = hash_value(there)
    if options.network.pretrained is not None:
        found["pretrained weights"] = str(options.network.pretrained_sha256)
    return found


def _cost(context: Context) -> Cost:
    """From the measured cost of a patient's training step (benchmarks/deep.py), by the size of crop and network."""
    options, workers = deep_of(context), resolve_workers(context.workers)
    folds = options.folds or context.study.modelling.validation.folds
    networks = folds * (len(options.models) + options.permutations)
    steps = options.training.epochs * imaged_patients(context) * networks
    return Cost(steps * step_seconds(options.spec) / workers, training_bytes(options.spec) * workers)


STAGE = Stage(
    name="deep",
    title="networks trained out-of-fold and applied frozen",
    module=__name__,
    run=write,
    settings=_settings,
    cost=_cost,
    needs=("cohort", "segmentation", "radiomics"),
    inputs=_inputs,
    wanted=lambda context: context.study.deep is not None,
)
