"""Train nnU-Net on the labelled part of a cohort: plan, preprocess, folds, validation, test. Resumable.

Each fold is trained in a child process, of this one or of a worker of a cluster, and keyed by a hash of everything it
depends on (images, labels, split, settings, seed, versions). A finished fold is kept; an interrupted one goes on from
its last checkpoint to the same numbers, since the random numbers of an epoch depend on the seed, the fold and the epoch
alone. Of several configurations, and of postprocessing, nnU-Net chooses by the masks that the folds made of patients
they had not seen.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hepacast.core.closure import code_hash
from hepacast.core.executor import Need, available_cores, map_items, works_elsewhere
from hepacast.core.files import read_json, write_json
from hepacast.core.hashing import hash_file, hash_value
from hepacast.core.kept import hash_folder, read_record, same_folder, write_record
from hepacast.core.names import file_name
from hepacast.core.optional import require
from hepacast.errors import ModelError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import available_structures, structure_mask
from hepacast.segmentation.base import Progress
from hepacast.segmentation.devices import visible_gpus
from hepacast.segmentation.evaluation import TEST_SET, EvaluationCase, evaluate_cases
from hepacast.segmentation.nnunet.dataset import (
    DATASET,
    FILE_ENDING,
    TrainingCase,
    check_cases,
    make_splits,
    prepare_dataset,
)
from hepacast.segmentation.nnunet.model import CHOICE, open_models
from hepacast.segmentation.nnunet.plan import CASCADE, FIRST_STAGE, NnunetPlan, estimate_training
from hepacast.segmentation.nnunet.process import run_child
from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter

#: Modules that decide the networks, and those that decide the masks of given networks; what they are given, the index's
#: hash of all images and masks tells.
_CODE = tuple(f"hepacast.segmentation.nnunet.{name}" for name in ("child", "plan", "start", "trainers"))
_MASK_CODE = tuple(f"hepacast.segmentation.nnunet.{name}" for name in ("air", "inference", "loaded"))
#: Settings that networks do not depend on.
_LATER = ("configurations", "postprocessing", "mirror_at_test", "precision")
#: Images up to this size (voxels) are prepared by threads rather than by processes.
_SMALL_IMAGE = 2_000_000
_FINAL = "checkpoint_final.pth"

# Share of the whole work, for the progress bar.
_AFTER_DATASET, _AFTER_PLAN, _AFTER_FOLDS = 0.03, 0.12, 0.92


@dataclass(frozen=True)
class CrossValidationChoice:
    """What nnU-Net chose by cross-validation.

    Parameters
    ----------
    configurations
        The one, or the two whose mean is taken.
    dice
        Mean Dice over patients and structures, before postprocessing, of every configuration and mean of two.
    largest
        Structures of which, together, only the largest piece is kept, one after the other.
    masks
        Folder of the chosen masks of the patients that networks had not seen.
    """

    configurations: tuple[str, ...]
    dice: dict[str, float]
    largest: tuple[tuple[str, ...], ...]
    masks: Path

    def sentence(self, plan: NnunetPlan) -> str:
        """For the Methods text."""
        text = ""
        if len(self.dice) > 1:
            values = ", ".join(f"{name} {value:.3f}" for name, value in self.dice.items())
            chosen = " and ".join(self.configurations)
            text += f" Mean Dice of held-out patients in the cross-validation was: {values}; "
            text += f"the mean of {chosen} was taken." if len(self.configurations) > 1 else f"{chosen} was taken."
        if self.largest:
            kept = "; ".join(" with ".join(group) for group in self.largest)
            text += f" Only the largest piece was kept of {kept}, which raised the Dice there."
        elif plan.postprocessing:
            text += " Keeping only the largest piece of a structure did not raise the Dice there and was not done."
        if text:
            text += " The cross-validation's own Dice includes these choices, that of the test set does not."
        return text


@dataclass(frozen=True)
class TrainedNnunet:
    """A finished training.

    Parameters
    ----------
    folder
        Model folder: ``plans.json``, ``dataset.json``, ``fold_0`` ... Stock nnU-Net can use it too. Of a mean of two
        configurations the first one's.
    plan
        The settings.
    splits
        For each fold the patients trained on and validated.
    rows
        Metrics of every validation case by the fold that did not see it, and of every test case by the ensemble
        of all folds (`evaluate_cases`).
    folds_kept
        Folds that had been finished before and were taken over.
    choice
        Of configuration and postprocessing; None where there was none to make.
    """

    folder: Path
    plan: NnunetPlan
    splits: list[dict[str, list[str]]]
    rows: list[dict[str, Any]]
    folds_kept: tuple[int, ...] = ()
    test_patients: tuple[str, ...] = field(default_factory=tuple)
    choice: CrossValidationChoice | None = None

    @property
    def applied_folder(self) -> Path:
        """What a segmenter opens: the model, or the choice among models."""
        return self.folder if self.choice is None else self.folder.parent

    def out_of_fold(self, patient: str) -> Path:
        """The mask of a training patient by networks that had not seen the patient."""
        name = f"{file_name(patient)}{FILE_ENDING}"
        if self.choice is not None:
            return self.choice.masks / name
        fold = next(number for number, split in enumerate(self.splits) if patient in split["val"])
        return self.folder / f"fold_{fold}" / "validation" / name

    def sentence(self) -> str:
        """For the Methods text."""
        return self.plan.sentence() + ("" if self.choice is None else self.choice.sentence(self.plan))

    def segmenter(self, folds: Sequence[int] | None = None, **options: Any) -> NnunetSegmenter:
        """The segmenter for new patients (all folds unless told otherwise)."""
        settings: dict[str, Any] = {
            "mirror": self.plan.mirror_at_test,
            "threads": self.plan.threads,
            "precision": self.plan.precision,
            "sentence": self.sentence(),
        }
        return NnunetSegmenter(self.applied_folder, folds, **{**settings, **options})


def train(
    plan: NnunetPlan,
    cases: Sequence[TrainingCase],
    test_cases: Sequence[TrainingCase],
    work_dir: str | Path,
    seed: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> TrainedNnunet:
    """Train nnU-Net in cross-validation and judge it on held-out cases.

    Parameters
    ----------
    plan
        From `nnunet_plan`.
    cases
        Labelled patients for training and cross-validation (at least as many as folds).
    test_cases
        Labelled patients that no fold sees. May be empty.
    work_dir
        Folder for everything; the same folder again resumes.
    seed
        The study's seed: splits, initial weights and batches follow from it.
    workers
        Folds trained side by side where `plan.threads` is set; by default as many as there are cores. It changes
        the time, never the result. Inside `hepacast.core.cluster.on_cluster` each fold is a task of a worker, which
        sees `work_dir` (1: they are trained here all the same).
    progress
        Called with the share done and a message.
    resume
        False: throw away what an earlier run left.

    Raises
    ------
    StudyFileError, ImageError, GeometryError
        The cases cannot be trained on, or nnU-Net plans none of the configurations for images of their size.
    ModelError
        The child process failed (with the end of its stderr), or an expected file is missing.
    """
    report = progress or (lambda done, message: None)
    work_dir = _ready_folder(Path(work_dir).resolve(), resume)
    ordered = check_cases(cases, test_cases, plan.folds)
    report(0.0, "writing nnU-Net's dataset")
    index = prepare_dataset(ordered, work_dir / "raw", plan.labels, plan.channels)
    splits = make_splits([case.patient for case in ordered], plan.folds, seed)
    job = _Training(plan, work_dir, seed, index, splits, report)
    job.prepare(_cores(workers))
    kept = job.train_folds(workers)
    choice = job.choose(_cores(workers))
    report(_AFTER_FOLDS, "comparing with the readers")
    folder = job.model_folder(job.candidates[0] if choice is None else choice.configurations[0])
    trained = TrainedNnunet(folder, plan, splits, [], kept, tuple(c.patient for c in test_cases), choice)
    rows = list(evaluate_cases(_validation_cases(trained, ordered)))
    if test_cases:
        rows += evaluate_cases(_test_cases(trained, test_cases, report))
    write_json(work_dir / "metrics.json", rows)
    report(1.0, "nnU-Net is trained")
    return replace(trained, rows=rows)


def _ready_folder(work_dir: Path, resume: bool) -> Path:
    """The folder of the training, once the packages are there; emptied where nothing is to be resumed."""
    for package in ("torch", "nnunetv2"):
        require(package, purpose="Training a segmentation model", extra="seg")
    if not resume and work_dir.exists():
        shutil.rmtree(work_dir)
    return work_dir


def _cores(workers: int | None) -> int:
    if workers is not None:
        return max(1, workers)
    return available_cores()


@dataclass(frozen=True)
class _FoldOfWorker:
    """Trains a fold in a child process of a worker; gives the child's last message, which says what it took."""

    job: dict[str, Any]
    work_dir: Path
    threads: int | None

    def __call__(self, fold: int) -> dict[str, Any]:
        told: dict[str, Any] = {}
        job = self.job | {"folds": [fold], "worker": fold}
        # Workers keep linear algebra to one thread for what is not a network.
        run_child("folds", job, self.work_dir, threads=self.threads or available_cores(), on_message=told.update)
        return told


@dataclass
class _Training:
    """One training and its folder."""

    plan: NnunetPlan
    work_dir: Path
    seed: int
    index: dict[str, Any]
    splits: list[dict[str, list[str]]]
    report: Progress

    @property
    def preprocessed(self) -> Path:
        return self.work_dir / "preprocessed" / DATASET

    @property
    def results(self) -> Path:
        return self.work_dir / "results" / DATASET

    def model_folder(self, configuration: str) -> Path:
        return self.results / f"{self.plan.trainer_name}__nnUNetPlans__{configuration}"

    @cached_property
    def configurations(self) -> list[str]:
        """Configurations to train that nnU-Net plans for images of this size; known once they are planned."""
        planned = read_json(self.preprocessed / "nnUNetPlans.json")["configurations"]
        found = [name for name in self.plan.trained if name in planned]
        if not set(found) & set(self.plan.configurations):
            raise StudyFileError(
                "nnU-Net plans none of the configurations for images of this size.",
                expected=", ".join(planned),
                found=", ".join(self.plan.configurations),
                where="segmentation.nnunet.configurations",
                remedy="3d_lowres and the cascade are for images much larger than a patch; add 3d_fullres",
            )
        return found

    @property
    def candidates(self) -> list[str]:
        """Configurations to choose among: those of the plan, without the first stage of a cascade alone."""
        return [name for name in self.plan.configurations if name in self.configurations]

    @property
    def small(self) -> bool:
        """Whether images are so small that threads prepare them faster than processes."""
        return max(entry["voxels"] for entry in self.index["cases"].values()) <= _SMALL_IMAGE

    def identifier(self, patient: str) -> str:
        return str(self.index["cases"][patient]["id"])

    def named_splits(self) -> list[dict[str, list[str]]]:
        """The splits with the cases' file names."""
        return [{part: [self.identifier(p) for p in fold[part]] for part in fold} for fold in self.splits]

    def key(self, *extra: Any) -> str:
        """Hash of all that the networks depend on."""
        versions = {name: version(name) for name in ("torch", "nnunetv2", "numpy")}
        settings = {name: value for name, value in self.plan.deciding().items() if name not in _LATER}
        return hash_value([settings, self.index["hash"], self.seed, versions, code_hash(alone=_CODE), *extra])

    def fold_key(self, configuration: str, fold: int) -> str:
        """Hash of all that one network depends on; a cascade's needs the first stage's masks of all patients."""
        others = self.splits if configuration == CASCADE else None
        return self.key("fold", configuration, fold, self.splits[fold], others)

    def mask_key(self, configuration: str, fold: int) -> str:
        """Hash of all that the masks of one network depend on."""
        how = [self.plan.mirror_at_test, self.plan.precision, code_hash(alone=_MASK_CODE)]
        return hash_value([self.fold_key(configuration, fold), how])

    def fold_folder(self, configuration: str, fold: int) -> Path:
        return self.model_folder(configuration) / f"fold_{fold}"

    def prepare(self, workers: int) -> None:
        """Fingerprint, plan and preprocess, unless that has been done for this very content."""
        key = self.key("plan", self.splits, self.plan.trained)
        done_file = self.work_dir / "prepared.json"
        done = read_record(done_file) or {}
        if done.get("key") == key and same_folder(self.preprocessed, dict(done["files"])) is None:
            return
        shutil.rmtree(self.preprocessed, ignore_errors=True)
        job = {"plan": self.plan.as_dict(), "splits": self.named_splits(), "workers": workers, "small": self.small}
        self.report(_AFTER_DATASET, "planning and preprocessing")
        run_child("plan", job, self.work_dir, threads=1)
        missing = self._unprepared()
        if missing:
            raise ModelError(
                "nnU-Net ended without an error, but its preprocessing is not complete.",
                expected="one preprocessed image a case",
                found=f"missing or empty: {', '.join(missing[:5])}",
                where=str(self.preprocessed),
                remedy="look for free disk space and memory, then run the same command again",
            )
        write_record(done_file, {"key": key, "files": hash_folder(self.preprocessed)})

    def _unprepared(self) -> list[str]:
        """Files that should be there after preprocessing and are not, or are empty."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        plans_file = self.preprocessed / "nnUNetPlans.json"
        if not plans_file.is_file():
            return [plans_file.name]
        planned = PlansManager(read_json(plans_file))
        folders = [planned.get_configuration(name).data_identifier for name in self.configurations]
        names = [
            f"{folder}/{entry['id']}{ending}"
            for folder in dict.fromkeys(folders)
            for entry in self.index["cases"].values()
            for ending in (".b2nd", "_seg.b2nd", ".pkl")
        ]
        files = [self.preprocessed / name for name in names]
        bad = [name for name, file in zip(names, files, strict=True) if not file.is_file() or not file.stat().st_size]
        return bad if (self.preprocessed / "splits_final.json").is_file() else [*bad, "splits_final.json"]

    def train_folds(self, workers: int | None) -> tuple[int, ...]:
        """Train what is not finished yet, one configuration after the other; returns the folds that were."""
        tracker = _Tracker(self.report, self.plan, self.configurations)
        kept = set(range(self.plan.folds))
        for configuration in self.configurations:
            done = {fold for fold in range(self.plan.folds) if self._finished(configuration, fold)}
            tracker.take_over(configuration, done)
            kept &= done
            todo = [fold for fold in range(self.plan.folds) if fold not in done]
            for fold in todo:
                self._clear_strange(configuration, fold)
            if works_elsewhere(workers):
                self._on_workers(configuration, todo, workers, tracker)
            else:
                self._here(configuration, todo, _cores(workers), tracker)
            self._require_finished(configuration, todo)
        return tuple(sorted(kept))

    def _here(self, configuration: str, todo: list[int], workers: int, tracker: _Tracker) -> None:
        """Folds side by side, a child process for those that follow one another."""
        places = self._places(workers, len(todo))
        with ThreadPoolExecutor(max(1, len(places))) as pool:
            runs = [
                pool.submit(self._lane, configuration, lane, gpu, todo[lane :: len(places)], tracker)
                for lane, gpu in enumerate(places)
            ]
            for run in runs:
                run.result()

    def _on_workers(self, configuration: str, todo: list[int], workers: int | None, tracker: _Tracker) -> None:
        """Each fold by a worker of the cluster, with all its cores where the preset takes more than one."""
        plan = self.plan
        task = _FoldOfWorker(self._job(configuration), self.work_dir, plan.threads)
        memory = estimate_training(plan, cases=1, voxels_per_case=1.0, cores=1).bytes
        need = Need(cores=1 if plan.threads == 1 else 0, memory=float(memory))
        progress = partial(tracker.finished, configuration, todo)
        for message in map_items(task, todo, workers=workers, need=need, progress=progress):
            self._finish(configuration, message["fold"], message)

    def _places(self, workers: int, folds: int) -> list[str | None]:
        """The GPU of each process that trains folds side by side (None: it sees what there is)."""
        gpus = visible_gpus()
        several: list[str | None] = list(gpus) if len(gpus) > 1 else [None]
        if self.plan.threads is None:
            return several[:folds]
        return [several[lane % len(several)] for lane in range(min(workers, folds))]

    def _job(self, configuration: str) -> dict[str, Any]:
        """What a child is told of a configuration."""
        return {
            "plan": self.plan.as_dict(),
            "configuration": configuration,
            "splits": self.named_splits(),
            "seed": self.seed,
            "workers": 1,
            "probabilities": self._with_probabilities(configuration),
        }

    def _lane(self, configuration: str, lane: int, gpu: str | None, folds: list[int], tracker: _Tracker) -> None:
        job = self._job(configuration) | {"folds": folds, "worker": lane}

        def on_message(message: dict[str, Any]) -> None:
            if message.get("done"):
                self._finish(configuration, message["fold"], message)
            tracker.update(configuration, message)

        run_child("folds", job, self.work_dir, threads=self.plan.threads, gpu=gpu, on_message=on_message)

    def _require_finished(self, configuration: str, folds: list[int]) -> None:
        for fold in folds:
            if not self._finished(configuration, fold):
                raise ModelError(
                    f"nnU-Net ended without an error, but fold {fold} is not complete.",
                    expected=f"{_FINAL} and a mask of every validation case",
                    where=str(self.fold_folder(configuration, fold)),
                    remedy="run the same command again: finished folds are kept",
                )

    def _with_probabilities(self, configuration: str) -> bool:
        """Whether the mean with another configuration is judged."""
        return len(self.candidates) > 1 and configuration in self.candidates

    def _finish(self, configuration: str, fold: int, message: dict[str, Any]) -> None:
        """Record a fold as finished, with what it cost, if all its files are there."""
        root = self.model_folder(configuration)
        files = [self.fold_folder(configuration, fold) / _FINAL, *self._made_of_held_out(configuration, fold)]
        if all(path.is_file() and path.stat().st_size for path in files):
            hashes = {path.relative_to(root).as_posix(): hash_file(path) for path in files}
            cost = {name: message.get(name) for name in ("seconds", "cpu_seconds")}
            record = {"key": self.mask_key(configuration, fold), "files": hashes, **cost}
            write_record(self._record(configuration, fold), record)

    def _record(self, configuration: str, fold: int) -> Path:
        return self.fold_folder(configuration, fold) / "finished.json"

    def _finished(self, configuration: str, fold: int) -> bool:
        root, record = self.model_folder(configuration), read_record(self._record(configuration, fold)) or {}
        needed = {path.relative_to(root).as_posix() for path in self._made_of_held_out(configuration, fold)}
        files = dict(record.get("files", {}))
        same = record.get("key") == self.mask_key(configuration, fold) and needed <= set(files)
        return same and same_folder(root, files) is None

    def _made_of_held_out(self, configuration: str, fold: int) -> list[Path]:
        """Files that a fold makes of the patients it has not seen: masks, and what others read of them."""
        root = self.model_folder(configuration)
        names = [self.identifier(patient) for patient in self.splits[fold]["val"]]
        folder = self.fold_folder(configuration, fold) / "validation"
        endings = [FILE_ENDING, *((".npz", ".pkl") if self._with_probabilities(configuration) else ())]
        files = [folder / f"{name}{ending}" for name in names for ending in endings]
        if configuration == FIRST_STAGE and CASCADE in self.configurations:
            files += [root / "predicted_next_stage" / CASCADE / f"{name}.b2nd" for name in names]
        return files

    def _clear_strange(self, configuration: str, fold: int) -> None:
        """Remove what another training left in this fold's folder, and a damaged network; keep the last checkpoint."""
        folder, key = self.fold_folder(configuration, fold), self.fold_key(configuration, fold)
        marker = folder / "started.json"
        if (read_record(marker) or {}).get("key") != key:
            shutil.rmtree(folder, ignore_errors=True)
        final, record = folder / _FINAL, read_record(self._record(configuration, fold)) or {}
        known = dict(record.get("files", {})).get(final.relative_to(self.model_folder(configuration)).as_posix())
        if known is not None and final.is_file() and hash_file(final) != known:
            final.unlink()
        write_record(marker, {"key": key})

    def choose(self, workers: int) -> CrossValidationChoice | None:
        """nnU-Net's choice of configuration and postprocessing; None where there is none to make."""
        if len(self.candidates) == 1 and not self.plan.postprocessing:
            return None
        masks = [self.mask_key(name, fold) for name in self.candidates for fold in range(self.plan.folds)]
        key = hash_value([self.candidates, self.plan.postprocessing, masks])
        record_file = self.results / "chosen.json"
        record = read_record(record_file) or {}
        if record.get("key") != key or same_folder(self.results, dict(record["files"])) is not None:
            self.report(_AFTER_FOLDS, "choosing configuration and postprocessing")
            record_file.unlink(missing_ok=True)
            # nnU-Net judges whatever lies there, patients who have left the training among it.
            shutil.rmtree(self.results / "ensembles", ignore_errors=True)
            found: dict[str, Any] = {}
            job = {"plan": self.plan.as_dict(), "configurations": self.candidates, "workers": workers}
            run_child("choose", job | {"small": self.small}, self.work_dir, threads=1, on_message=found.update)
            files = [self.results / CHOICE, *(self.results / found["masks"]).glob(f"*{FILE_ENDING}")]
            hashes = {file.relative_to(self.results).as_posix(): hash_file(file) for file in files}
            record = {"key": key, "files": hashes, **found}
            write_record(record_file, record)
        names = {value: name for name, value in self.plan.labels.items()}
        pieces = open_models(self.results, range(self.plan.folds)).largest
        return CrossValidationChoice(
            tuple(record["chosen"]),
            {_short(name): value for name, value in record["dice"].items()},
            tuple(tuple(names[value] for value in group) for group in pieces),
            self.results / record["masks"],
        )


def _short(name: str) -> str:
    """A configuration, or a mean of two, from nnU-Net's names of folders."""
    parts = [part.rpartition("__")[2] for part in name.split("___") if "__" in part]
    return "mean of " + " and ".join(parts) if len(parts) > 1 else parts[0]


class _Tracker:
    """Puts the folds' progress together."""

    def __init__(self, report: Progress, plan: NnunetPlan, configurations: Sequence[str]) -> None:
        self._report, self._plan, self._configurations = report, plan, configurations
        self._shares: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def take_over(self, configuration: str, folds: Iterable[int]) -> None:
        """Folds that were finished before."""
        self._shares |= {(configuration, fold): 1.0 for fold in folds}

    def finished(self, configuration: str, folds: Sequence[int], done: int, total: int) -> None:
        """So many of these folds are finished, whichever."""
        self.take_over(configuration, folds[:done])
        self._tell(configuration, f"{self._plan.folds - total + done} of {self._plan.folds} folds")

    def update(self, configuration: str, message: dict[str, Any]) -> None:
        """A message of one fold's child."""
        with self._lock:
            fold = message["fold"]
            share = 1.0 if message.get("done") else 0.97 * message["epoch"] / message["epochs"]
            self._shares[configuration, fold] = share
            epoch = f", epoch {message['epoch']} of {message['epochs']}" if "epoch" in message else ""
            self._tell(configuration, f"fold {fold + 1} of {self._plan.folds}", epoch)

    def _tell(self, configuration: str, folds: str, epoch: str = "") -> None:
        done = sum(self._shares.values()) / (self._plan.folds * len(self._configurations))
        of = f" of {configuration}" if len(self._configurations) > 1 else ""
        self._report(_AFTER_PLAN + (_AFTER_FOLDS - _AFTER_PLAN) * done, f"{folds}{of}{epoch}")


def _compared(patient: str, name: str, reference: LabelMap, predicted: LabelMap) -> EvaluationCase:
    structures = available_structures(predicted)
    return EvaluationCase(
        patient,
        name,
        {s: structure_mask(reference, s) for s in structures},
        {s: structure_mask(predicted, s) for s in structures},
    )


def _validation_cases(trained: TrainedNnunet, cases: Sequence[TrainingCase]) -> Iterator[EvaluationCase]:
    from hepacast.imaging.io import read_labelmap

    by_patient = {case.patient: case for case in cases}
    for fold, split in enumerate(trained.splits):
        for patient in split["val"]:
            reference = by_patient[patient].read_labels(_first_image(by_patient[patient], trained.plan))
            predicted = read_labelmap(trained.out_of_fold(patient), trained.plan.labels)
            yield _compared(patient, f"fold {fold}", reference, predicted)


def _first_image(case: TrainingCase, plan: NnunetPlan) -> Volume:
    return next(iter(case.read_images(list(plan.channels)).values()))


def _test_cases(trained: TrainedNnunet, cases: Sequence[TrainingCase], report: Progress) -> Iterator[EvaluationCase]:
    segmenter = trained.segmenter()
    for number, case in enumerate(sorted(cases, key=lambda item: item.patient)):
        report(_AFTER_FOLDS + (1 - _AFTER_FOLDS) * number / len(cases), f"test patient {number + 1} of {len(cases)}")
        images = case.read_images(list(trained.plan.channels))
        predicted = segmenter.segment(images).labelmap
        yield _compared(case.patient, TEST_SET, case.read_labels(next(iter(images.values()))), predicted)
