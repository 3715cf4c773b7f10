"""Stage deep: networks trained out-of-fold on the training set, frozen on the others, judged beside all models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort import Cohort, SurvivalOutcome
from hepacast.cohort.columns import numeric_columns
from hepacast.cohort.outcome import EVER
from hepacast.core.executor import resolve_workers
from hepacast.core.files import atomic_path, write_json
from hepacast.core.hashing import hash_value
from hepacast.core.records import write_record
from hepacast.core.seeds import derive_seed, rng
from hepacast.core.sentences import Sentence
from hepacast.deep import (
    CropStore,
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
from hepacast.deep.crops import scale_words
from hepacast.errors import StudyFileError
from hepacast.imaging import Geometry
from hepacast.imaging.structures import structure_names
from hepacast.imaging.voi import VoiExpression
from hepacast.modelling.cutoffs import risk_cut
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.predictions import Kind, Predictions
from hepacast.modelling.score_scale import ScoreScale
from hepacast.modelling.targets import event_classes, rank_measure, rank_score
from hepacast.stats.measurement_error import moment_reconstruction
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.crops import DrawnMask, crop_patients
from hepacast.study.input_files import imaged_patients, voi_settings
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.patient_masks import mask_of
from hepacast.study.schema import Deep
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.clinical import load_table
from hepacast.study.stages.network_results import adjusted_survival, control_rows, dice_rows, explained, paired_dice

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

    def for_new_patients(self, event: np.ndarray) -> np.ndarray:
        """Scores to learn risks of new patients from, NaN outside the training set.

        New patients get the mean of all networks, which is less noisy than the one network that a training patient
        was scored by: a slope learned from single networks would be too small for them.
        """
        lp = averaged_scale(self.scores, self.spec)
        known = self.fit.folds >= 0
        excess = np.nan_to_num(self.between) * (1.0 - 1.0 / len(self.fit.networks))
        result = np.full(len(lp), np.nan)
        result[known] = moment_reconstruction(lp[known], event[known], excess)
        return result


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    options, data = deep_of(context), load_data(context)
    folds = fold_numbers(context, data)
    fitted = _train(context, data, folds)
    predictions, judged, features = [], {}, []
    adjusted: list[dict[str, Any]] = []
    factors = covariate_table(data.cohort, options.adjust) if data.cohort.survival else None
    for item in fitted:
        _save_networks(folder, item)
        if item.spec.predicts:
            risks, linear, cutoff = risks_of(context, data, item, folds)
            adjusted = adjusted_survival(context, data, risks[:, -1], cutoff, factors)
            scale = scale_of(data, item)
            judged[NAMES[item.kind]] = {"cutoff": cutoff, "kind": item.kind, "calibration": scale.to_json()}
            predictions.append(_predictions(context, data, item, folds, risks, linear))
            features.append(_feature_rows(data, item))
    if predictions:
        Predictions.join(predictions).write(folder / "predictions.parquet")
        with atomic_path(folder / "features.parquet") as temporary:
            pd.concat(features, axis=1).to_parquet(temporary)
    main = next((item for item in reversed(fitted) if item.spec.predicts), None)
    dice = [row for item in fitted for row in dice_rows(context, data, item.masks, NAMES[item.kind], item.kind)]
    dice += _dice_on_experts(context, data, fitted, folds)
    content: dict[str, Any] = {
        "folds": int(folds.max()) + 1,
        "n_training": int((folds >= 0).sum()),
        "models": judged,
        "networks": {NAMES[item.kind]: _network_facts(item) for item in fitted},
        "histories": {NAMES[item.kind]: item.fit.histories for item in fitted},
        "crop": options.crop.model_dump(mode="json"),
        "structure": options.structure,
        "centered": centered_on(context),
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
    write_record(folder / "methods.json", _sentences(context, data, content))


@dataclass(frozen=True)
class DeepData:
    """All analysed patients as the networks see them.

    Parameters
    ----------
    cohort
        Who is analysed.
    patients
        Identifiers, sorted; the order of every array.
    crops
        (n, channels, z, y, x).
    targets
        Outcomes, masks, covariates.
    drawn
        Masks of the study's segmentation (a network's, where one was trained) on the crops' grids.
    y
        The study's outcome, (n,) or (n, 2): `Outcome.y`.
    spacing
        Voxel size of each crop (x, y, z), mm, (n, 3).
    """

    cohort: Cohort
    patients: tuple[str, ...]
    crops: CropStore
    targets: Targets
    drawn: CropStore
    y: np.ndarray
    spacing: np.ndarray

    @property
    def event(self) -> np.ndarray:
        """1 for patients with the event, (n,)."""
        return event_classes(self.y)

    def rows(self, name: str) -> np.ndarray:
        """Row numbers of one set."""
        sets = self.cohort.sets
        return np.flatnonzero([sets[patient] == name for patient in self.patients])

    def geometry(self, row: int) -> Geometry:
        """A crop's grid up to its place: enough for distances and volumes."""
        x, y, z = (float(value) for value in self.spacing[row])
        shape = self.drawn[row].shape
        return Geometry((shape[2], shape[1], shape[0]), (x, y, z))


def deep_of(context: Context) -> Deep:
    """The study's networks (the stage is only run where there are some)."""
    assert context.study.deep is not None
    return context.study.deep


def spec_of(context: Context) -> DeepSpec:
    """Crop, network and training, with the file of pretrained weights found beside the study file."""
    spec = deep_of(context).spec
    if spec.network.pretrained is None:
        return spec
    found = str(context.path(spec.network.pretrained))
    return spec.model_copy(update={"network": spec.network.model_copy(update={"pretrained": found})})


def load_data(context: Context) -> DeepData:
    """Make or find all crops.

    Raises
    ------
    HepacastError
        A patient's image or mask cannot be cropped.
    """
    cohort = analysis_cohort(context)
    return _cropped(context, cohort, tuple(sorted(cohort.patients)))


def _cropped(context: Context, cohort: Cohort, patients: tuple[str, ...], *, on_learned: bool = False) -> DeepData:
    """Crops of patients; `on_learned`: centered on the masks to learn from (patients who have one)."""
    rules = deep_of(context)
    learned = {patient: _mask_to_learn_from(context, patient) for patient in patients}
    cropped = crop_patients(context, patients, rules.crop, rules.structure, learned, on_learned=on_learned)
    event, time = _learned(context, cohort, patients)
    covariates = covariate_table(cohort, rules.network.covariates)
    targets = Targets(
        outcome=event,
        time=time,
        masks=cropped.learned,
        has_mask=cropped.has_mask,
        covariates=None if covariates is None else covariates.loc[list(patients)].to_numpy(dtype=float),
    )
    y = cohort.outcome.select(patients).y
    return DeepData(cohort, patients, cropped.crops, targets, cropped.drawn, y, cropped.spacing)


def _dice_on_experts(context: Context, data: DeepData, fitted: list[Fitted], folds: np.ndarray) -> list[dict[str, Any]]:
    """Dice on crops centered on the experts' masks, where the study's own crops are centered on other ones."""
    segmenting = [(item, item.masks.shape[1:]) for item in fitted if item.masks is not None]
    rows = np.flatnonzero(data.targets.masked)
    if not segmenting or all(np.array_equal(data.drawn[row], data.targets.masks[row]) for row in rows):
        return []
    patients = tuple(data.patients[row] for row in rows)
    first = _mask_to_learn_from(context, patients[0])
    needed = VoiExpression.parse(deep_of(context).crop.voi).names
    if first is None or not set(needed) <= set(structure_names(name for name, _ in first.labels)):
        return []  # the expert has not outlined what crops are centered on
    again, own = _cropped(context, data.cohort, patients, on_learned=True), folds[rows]
    found = []
    for item, shape in segmenting:
        masks = np.zeros((len(rows), *shape), dtype=np.float16)
        for fold in np.unique(own):
            part = np.flatnonzero(own == fold)
            networks = item.fit.networks if fold < 0 else item.fit.networks[fold : fold + 1]
            masks[part] = apply_frozen(networks, again.crops, again.targets.covariates, rows=part).masks
        found += dice_rows(context, again, masks, NAMES[item.kind], item.kind, on_expert=True)
    return found


def _learned(context: Context, cohort: Cohort, patients: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """What the prediction pathway learns: the event, or the follow-up for Cox and discrete hazards."""
    outcome = cohort.outcome.select(patients)
    if deep_of(context).network.outcome == "binary":
        return outcome.events.to_numpy(dtype=float), None
    if isinstance(outcome, SurvivalOutcome):
        # A competing event ends the time in which the event could have come.
        return outcome.event.to_numpy(dtype=float), outcome.time.to_numpy(dtype=float)
    if not cohort.survival:
        raise StudyFileError(
            "A network of times to an event needs the follow-up.",
            expected="survival: {time: ..., event: ...}",
            where="deep.network.outcome",
        )
    follow_up = next(iter(cohort.survival.values()))
    return (
        follow_up.event.astype(float).reindex(list(patients)).to_numpy(),
        follow_up.time.astype(float).reindex(list(patients)).to_numpy(),
    )


def covariate_table(cohort: Cohort, names: list[str]) -> pd.DataFrame | None:
    """Clinical values as numbers: levels of a categorical column become 0/1 columns, without the first.

    Raises
    ------
    StudyFileError
        A name is no candidate column.
    """
    if not names:
        return None
    specs = {spec.name: spec for spec in cohort.table.specs}
    parts = []
    for name in names:
        spec = specs.get(name)
        if spec is None or spec.after_event or spec.kind == "date":
            raise StudyFileError(
                f"The covariate {name!r} of the network cannot be used.",
                expected="a numeric, binary or categorical column that is known before the event",
                where="deep.network.covariates",
            )
        parts.append(numeric_columns(cohort.table.frame[name], spec))
    return pd.concat(parts, axis=1)


def _mask_to_learn_from(context: Context, patient: str) -> DrawnMask | None:
    """Of the pattern given, an expert's where a network made the study's, else the study's; None without one."""
    options, rules = context.images.segmentation, deep_of(context)
    pattern = rules.masks or (options.masks if options.source != "given" else None)
    if pattern is None:
        mask, labels = mask_of(context, patient)
        return DrawnMask(MaskFiles((("", mask),)), tuple(labels.items()))
    files = mask_files(context, pattern, patient)
    return DrawnMask(files, tuple(options.labels.items())) if files.exists() else None


def fold_numbers(context: Context, data: DeepData) -> np.ndarray:
    """Fold of every patient, -1 outside the training set; the same folds as the first repeat of the nested CV."""
    wanted = deep_of(context).folds or context.study.modelling.validation.folds
    rows = data.rows("training")
    names = [data.patients[row] for row in rows]
    seed = derive_seed(context.study.seed, "nested")
    folds = np.full(len(data.patients), -1, dtype=np.int64)
    folds[rows] = stratified_folds(names, data.event[rows], wanted, seed, "nested", 0)
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


def horizons_of(context: Context, data: DeepData) -> tuple[float, ...]:
    """Times by which risks are given; the nameless one of an event without time."""
    return tuple(context.study.outcome.times) if data.cohort.outcome.has_time else (EVER,)


def risks_of(context: Context, data: DeepData, item: Fitted, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Risks (n, horizons) and linear predictors (n,) of all patients, and the cut-off of the risks of new ones.

    Networks are too sure of themselves: their scores are recalibrated by a logistic or Cox model of out-of-fold
    scores; a training patient's by the scores of the other folds.
    """
    lp, horizons = averaged_scale(item.scores, item.spec), horizons_of(context, data)
    risks, linear = np.full((len(lp), len(horizons)), np.nan), np.full(len(lp), np.nan)
    scales = {fold: _scale(lp, data, (folds >= 0) & (folds != fold)) for fold in range(int(folds.max()) + 1)}
    scales[-1] = scale_of(data, item)
    for fold, scale in scales.items():
        own = folds == fold
        risks[own], linear[own] = scale.risks(lp[own], horizons), scale.linear(lp[own])
    inside = folds >= 0
    alike = scales[-1].risks(item.for_new_patients(data.event)[inside], horizons)[:, -1]
    cut = risk_cut(data.y[inside], alike, context.study.evaluation.risk_groups, horizons[-1])
    return risks, linear, cut.value


def centered_on(context: Context) -> str:
    """Whose masks the crops are centered on, in words."""
    options = context.images.segmentation
    if options.source == "given":
        return "the given masks"
    if options.source == "nnunet" and options.use == "expert-first":
        return "the expert's masks where there are some, else the segmenter's"
    return "the segmenter's masks, of training patients by a fold that had not seen them"


def scale_of(data: DeepData, item: Fitted) -> ScoreScale:
    """From the mean score of the networks to risks of new patients."""
    return _scale(item.for_new_patients(data.event), data, item.fit.folds >= 0)


def _scale(lp: np.ndarray, data: DeepData, known: np.ndarray) -> ScoreScale:
    return ScoreScale.fit(lp[known], data.y[known])


def _predictions(
    context: Context, data: DeepData, item: Fitted, folds: np.ndarray, risks: np.ndarray, linear: np.ndarray
) -> Predictions:
    """Of one network: apparent, nested (out-of-fold) and frozen predictions."""
    training, horizons = np.flatnonzero(folds >= 0), horizons_of(context, data)
    # Apparent: the mean of networks most of which were trained on the patient.
    own = apply_frozen(item.fit.networks, data.crops, data.targets.covariates, rows=training)
    scale, lp = scale_of(data, item), averaged_scale(own.scores, item.spec)

    def rows(numbers: np.ndarray, risk: np.ndarray, linear: np.ndarray, name: str, kind: Kind) -> Predictions:
        patients = [data.patients[row] for row in numbers]
        model, y = NAMES[item.kind], data.y[numbers]
        shaped = risk[:, None, :], linear[:, None]
        return Predictions.make(patients, y, *shaped, models=[model], horizons=horizons, set=name, kind=kind)

    parts = [
        rows(training, scale.risks(lp, horizons), scale.linear(lp), "training", "apparent"),
        rows(training, risks[training], linear[training], "training", "nested"),
    ]
    for name in dict.fromkeys(data.cohort.sets):
        if name != "training":
            numbers = data.rows(str(name))
            parts.append(rows(numbers, risks[numbers], linear[numbers], str(name), "frozen"))
    return Predictions.join(parts)


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
    """AUC or C of the main network trained on permuted outcomes of the training set."""
    options, own = deep_of(context), data.targets
    spec: DeepSpec = spec_of(context).with_tasks(main.kind)
    training, seed = np.flatnonzero(folds >= 0), derive_seed(context.study.seed, "deep")
    values = []
    for number in range(options.permutations):
        dealt = np.arange(len(folds))
        dealt[training] = training[rng(context.study.seed, "deep-permutation", number).permutation(len(training))]
        times = None if own.time is None else own.time[dealt]
        targets = Targets(own.outcome[dealt], times, own.masks, own.has_mask, own.covariates)
        jobs = fold_jobs(data.crops, targets, folds, spec, seed, context.cache / "deep" / f"permuted-{number}")
        with context.reporter.track(f"permuted outcomes {number + 1}") as progress:
            networks = train_jobs(jobs, workers=context.workers, progress=progress)
        fit, y = gather(data.crops, targets, folds, networks), data.y[dealt]
        parts = [rank_score(y[folds == fold], fit.scores[folds == fold]) for fold in range(int(folds.max()) + 1)]
        values.append(float(np.mean(parts)))
    return {
        "model": NAMES[main.kind],
        "measure": rank_measure(data.y),
        "aucs": values,
        "mean": float(np.mean(values)),
        "standard_error": _error_without_signal(data.y[training]),
    }


def _error_without_signal(y: np.ndarray) -> float:
    """Standard error of an AUC without signal (Mann-Whitney U under the null); of C the events count alike."""
    events = int(event_classes(y).sum())
    others = len(y) - events
    return float(np.sqrt((events + others + 1) / (12.0 * events * others))) if events and others else float("nan")


def _sentences(context: Context, data: DeepData, content: dict[str, Any]) -> list[Sentence]:
    options = deep_of(context)
    network, crop, training = options.network, options.crop, options.training
    if network.frozen:
        return [_frozen_sentence(context, data, content)]
    size = " x ".join(str(side) for side in reversed(crop.size))
    box = (
        f"a box of {' x '.join(f'{side:g}' for side in reversed(crop.size_mm))} mm"
        if crop.size_mm is not None
        else f"the VOI's box with a margin of {crop.margin_mm:g} mm"
    )
    names = ", ".join(content["networks"])
    text = (
        f"Networks ({names}) with one residual encoder ({network.encoder}, {network.dimensions}, {network.stages} "
        f"stages of {network.width} channels and more) [@resnet] saw crops of {size} voxels ({box} around {crop.voi}"
        f"{scale_words(crop)}). "
        f"The multi-task network has an encoder pathway, a segmentation pathway (decoder with skips and deep "
        f"supervision [@unet]; Dice and cross-entropy) and a prediction pathway; patients without a mask or a "
        f"label train the other task. All were trained by AdamW for {training.epochs} epochs (cosine schedule, moving "
        f"average of weights) in {content['folds']} folds, those of the first repeat of the nested cross-validation: "
        f"each training patient is judged by the network that did not see the patient, all others by the mean of the "
        f"{content['folds']} networks. Risks were recalibrated on out-of-fold scores {_by_what(data)}"
        + (
            ", whose variance from network to network (read from the patients set aside to stop each training) was "
            "first taken out, as the mean of all networks has less of it [@momentreconstruction]."
            if training.inner_fraction > 0
            else " of single networks; no training set patients aside, so that the smaller variance of a mean of "
            "networks is not accounted for."
        )
    )
    return [Sentence("deep", text, ["resnet", "unet", "momentreconstruction"])]


def _frozen_sentence(context: Context, data: DeepData, content: dict[str, Any]) -> Sentence:
    """Where no network was trained."""
    options = deep_of(context)
    network, crop = options.network, options.crop
    size = " x ".join(str(side) for side in reversed(crop.size))
    text = (
        f"A frozen encoder ({network.encoder}, {network.dimensions}; weights of SHA-256 "
        f"{str(network.pretrained_sha256)[:12]}) saw crops of {size} voxels around {crop.voi}{scale_words(crop)}, one "
        "image at a time. Mean and SD of its levels' activations in the core, the rim and the surroundings of the "
        "VOI, which know no outcome, entered a ridge regression whose penalty has the largest marginal likelihood, in "
        f"{content['folds']} folds, those of the first repeat of the nested cross-validation: each training patient is "
        "judged by the regression that did not see the patient, all others by the mean of all. Risks were recalibrated "
        f"on out-of-fold scores {_by_what(data)}."
    )
    return Sentence("deep", text)


def _by_what(data: DeepData) -> str:
    if not data.cohort.outcome.has_time:
        return "(logistic model)"
    return "(Fine and Gray's model)" if data.cohort.outcome.n_competing else "(Cox model)"


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
    epochs = 1 if options.network.frozen else options.training.epochs
    steps = epochs * imaged_patients(context) * networks
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
