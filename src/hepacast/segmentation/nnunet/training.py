"""Train nnU-Net on the labelled part of a cohort: plan, preprocess, folds, validation, test. Resumable.

Each fold is trained in a child process and keyed by a hash of everything it depends on (images, labels, split,
settings, seed, versions). A finished fold is kept; an interrupted one goes on from its last checkpoint to the same
numbers, since the random numbers of an epoch depend on the seed, the fold and the epoch alone.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hepacast.core.closure import code_hash
from hepacast.core.files import read_json, write_json
from hepacast.core.hashing import hash_file, hash_value
from hepacast.core.kept import hash_folder, read_record, same_folder, write_record
from hepacast.core.optional import require
from hepacast.errors import ModelError
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import available_structures, structure_mask
from hepacast.segmentation.base import Progress
from hepacast.segmentation.evaluation import TEST_SET, EvaluationCase, evaluate_cases
from hepacast.segmentation.nnunet.dataset import (
    DATASET,
    FILE_ENDING,
    TrainingCase,
    check_cases,
    make_splits,
    prepare_dataset,
)
from hepacast.segmentation.nnunet.plan import NnunetPlan
from hepacast.segmentation.nnunet.process import run_child
from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter

#: Modules that decide a training; what they are given, the index's hash of all images and masks tells.
_CODE = tuple(f"hepacast.segmentation.nnunet.{name}" for name in ("child", "plan", "trainers"))
#: Images up to this size (voxels) are prepared by threads rather than by processes.
_SMALL_IMAGE = 2_000_000
_FINAL = "checkpoint_final.pth"

# Share of the whole work, for the progress bar.
_AFTER_DATASET, _AFTER_PLAN, _AFTER_FOLDS = 0.03, 0.12, 0.92


@dataclass(frozen=True)
class TrainedNnunet:
    """A finished training.

    Parameters
    ----------
    folder
        Model folder: ``plans.json``, ``dataset.json``, ``fold_0`` ... Stock nnU-Net can use it too.
    plan
        The settings.
    splits
        For each fold the patients trained on and validated.
    rows
        Metrics of every validation case by the fold that did not see it, and of every test case by the ensemble
        of all folds (`evaluate_cases`).
    folds_kept
        Folds that had been finished before and were taken over.
    """

    folder: Path
    plan: NnunetPlan
    splits: list[dict[str, list[str]]]
    rows: list[dict[str, Any]]
    folds_kept: tuple[int, ...] = ()
    test_patients: tuple[str, ...] = field(default_factory=tuple)

    def segmenter(self, folds: Sequence[int] | None = None, **options: Any) -> NnunetSegmenter:
        """The segmenter for new patients (all folds unless told otherwise)."""
        settings: dict[str, Any] = {
            "mirror": self.plan.mirror_at_test,
            "threads": self.plan.threads,
            "sentence": self.plan.sentence(),
        }
        return NnunetSegmenter(self.folder, folds, **{**settings, **options})


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
        the time, never the result.
    progress
        Called with the share done and a message.
    resume
        False: throw away what an earlier run left in `work_dir`.

    Raises
    ------
    StudyFileError, ImageError, GeometryError
        The cases cannot be trained on.
    ModelError
        The child process failed (with the end of its stderr), or an expected file is missing.
    MissingPackageError
        nnU-Net is not installed.
    """
    report = progress or (lambda done, message: None)
    work_dir = _ready_folder(Path(work_dir).resolve(), resume)
    ordered = check_cases(cases, test_cases, plan.folds)
    report(0.0, "writing nnU-Net's dataset")
    index = prepare_dataset(ordered, work_dir / "raw", plan.labels, plan.modality)
    splits = make_splits([case.patient for case in ordered], plan.folds, seed)
    job = _Training(plan, work_dir, seed, index, splits, report)
    job.prepare(_cores(workers))
    kept = job.train_folds(_cores(workers))
    report(_AFTER_FOLDS, "comparing with the readers")
    rows = list(evaluate_cases(_validation_cases(job, ordered)))
    trained = TrainedNnunet(job.model_folder, plan, splits, rows, kept, tuple(c.patient for c in test_cases))
    if test_cases:
        rows += evaluate_cases(_test_cases(trained, test_cases, report))
    write_json(work_dir / "metrics.json", rows)
    report(1.0, "nnU-Net is trained")
    return trained


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
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    def model_folder(self) -> Path:
        name = f"{self.plan.trainer_name}__nnUNetPlans__{self.plan.configuration}"
        return self.work_dir / "results" / DATASET / name

    def identifier(self, patient: str) -> str:
        return str(self.index["cases"][patient]["id"])

    def named_splits(self) -> list[dict[str, list[str]]]:
        """The splits with the cases' file names."""
        return [{part: [self.identifier(p) for p in fold[part]] for part in fold} for fold in self.splits]

    def key(self, *extra: Any) -> str:
        """Hash of all that the result depends on."""
        versions = {name: version(name) for name in ("torch", "nnunetv2", "numpy")}
        return hash_value(
            [self.plan.as_dict(), self.index["hash"], self.seed, versions, code_hash(alone=_CODE), *extra]
        )

    def fold_folder(self, fold: int) -> Path:
        return self.model_folder / f"fold_{fold}"

    def prepare(self, workers: int) -> None:
        """Fingerprint, plan and preprocess, unless that has been done for this very content."""
        key = self.key("plan", self.splits)
        done_file = self.work_dir / "prepared.json"
        done = read_record(done_file) or {}
        if done.get("key") == key and same_folder(self.preprocessed, dict(done["files"])) is None:
            return
        shutil.rmtree(self.preprocessed, ignore_errors=True)
        small = max(entry["voxels"] for entry in self.index["cases"].values()) <= _SMALL_IMAGE
        job = {"plan": self.plan.as_dict(), "splits": self.named_splits(), "workers": workers, "small": small}
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
        plans_file = self.preprocessed / "nnUNetPlans.json"
        if not plans_file.is_file():
            return [plans_file.name]
        configuration = read_json(plans_file)["configurations"].get(self.plan.configuration)
        if configuration is None:
            return [f"configuration {self.plan.configuration}"]
        folder = self.preprocessed / configuration["data_identifier"]
        names = [
            f"{entry['id']}{ending}"
            for entry in self.index["cases"].values()
            for ending in (".b2nd", "_seg.b2nd", ".pkl")
        ]
        bad = [name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size]
        return bad if (self.preprocessed / "splits_final.json").is_file() else [*bad, "splits_final.json"]

    def train_folds(self, workers: int) -> tuple[int, ...]:
        """Train what is not finished yet; returns the folds that were."""
        keys = {fold: self.key("fold", fold, self.splits[fold]) for fold in range(self.plan.folds)}
        kept = tuple(fold for fold in keys if self._finished(fold, keys[fold]))
        todo = [fold for fold in keys if fold not in kept]
        for fold in todo:
            self._clear_strange(fold, keys[fold])
        lanes = min(workers, len(todo)) if self.plan.threads is not None else min(1, len(todo))
        tracker = _Tracker(self.report, self.plan, len(kept))
        with ThreadPoolExecutor(max(1, lanes)) as pool:
            runs = [pool.submit(self._lane, lane, todo[lane::lanes], keys, tracker) for lane in range(lanes)]
            for run in runs:
                run.result()
        return kept

    def _lane(self, lane: int, folds: list[int], keys: dict[int, str], tracker: _Tracker) -> None:
        job = {
            "plan": self.plan.as_dict(),
            "splits": self.named_splits(),
            "folds": folds,
            "seed": self.seed,
            "worker": lane,
            "workers": 1,
        }

        def on_message(message: dict[str, Any]) -> None:
            if message.get("done"):
                self._finish(message["fold"], keys[message["fold"]], message)
            tracker.update(message)

        run_child("folds", job, self.work_dir, threads=self.plan.threads, on_message=on_message)
        for fold in folds:
            if not self._finished(fold, keys[fold]):
                raise ModelError(
                    f"nnU-Net ended without an error, but fold {fold} is not complete.",
                    expected=f"{_FINAL} and a mask of every validation case",
                    where=str(self.fold_folder(fold)),
                    remedy="run the same command again: finished folds are kept",
                )

    def _finish(self, fold: int, key: str, message: dict[str, Any]) -> None:
        """Record a fold as finished, with what it cost, if all its files are there."""
        folder = self.fold_folder(fold)
        files = [folder / _FINAL, *self._validation_files(fold)]
        if all(path.is_file() and path.stat().st_size for path in files):
            hashes = {path.relative_to(folder).as_posix(): hash_file(path) for path in files}
            cost = {name: message.get(name) for name in ("seconds", "cpu_seconds")}
            write_record(folder / "finished.json", {"key": key, "files": hashes, **cost})

    def _finished(self, fold: int, key: str) -> bool:
        folder = self.fold_folder(fold)
        record = read_record(folder / "finished.json") or {}
        return record.get("key") == key and same_folder(folder, dict(record["files"])) is None

    def _validation_files(self, fold: int) -> list[Path]:
        folder = self.fold_folder(fold) / "validation"
        return [folder / f"{self.identifier(patient)}{FILE_ENDING}" for patient in self.splits[fold]["val"]]

    def _clear_strange(self, fold: int, key: str) -> None:
        """Remove what another training left in this fold's folder; keep this training's last checkpoint."""
        folder = self.fold_folder(fold)
        marker = folder / "started.json"
        if (read_record(marker) or {}).get("key") != key:
            shutil.rmtree(folder, ignore_errors=True)
        write_record(marker, {"key": key})


class _Tracker:
    """Puts the folds' progress together."""

    def __init__(self, report: Progress, plan: NnunetPlan, kept: int) -> None:
        self._report, self._plan = report, plan
        self._epochs: dict[int, float] = {}
        self._kept = kept
        self._lock = threading.Lock()

    def update(self, message: dict[str, Any]) -> None:
        """A message of one fold's child."""
        with self._lock:
            fold = message["fold"]
            share = 1.0 if message.get("done") else 0.97 * message["epoch"] / message["epochs"]
            self._epochs[fold] = share
            done = (self._kept + sum(self._epochs.values())) / self._plan.folds
            text = f"fold {fold + 1} of {self._plan.folds}"
            if "epoch" in message:
                text += f", epoch {message['epoch']} of {message['epochs']}"
            self._report(_AFTER_PLAN + (_AFTER_FOLDS - _AFTER_PLAN) * done, text)


def _compared(patient: str, name: str, reference: LabelMap, predicted: LabelMap) -> EvaluationCase:
    structures = available_structures(predicted)
    return EvaluationCase(
        patient,
        name,
        {s: structure_mask(reference, s) for s in structures},
        {s: structure_mask(predicted, s) for s in structures},
    )


def _validation_cases(job: _Training, cases: Sequence[TrainingCase]) -> Iterator[EvaluationCase]:
    from hepacast.imaging.io import read_labelmap

    by_patient = {case.patient: case for case in cases}
    for fold, split in enumerate(job.splits):
        for patient, path in zip(split["val"], job._validation_files(fold), strict=True):
            image = by_patient[patient].read_image()
            reference = by_patient[patient].read_labels(image)
            yield _compared(patient, f"fold {fold}", reference, read_labelmap(path, job.plan.labels))


def _test_cases(trained: TrainedNnunet, cases: Sequence[TrainingCase], report: Progress) -> Iterator[EvaluationCase]:
    segmenter = trained.segmenter()
    for number, case in enumerate(sorted(cases, key=lambda item: item.patient)):
        report(_AFTER_FOLDS + (1 - _AFTER_FOLDS) * number / len(cases), f"test patient {number + 1} of {len(cases)}")
        image = case.read_image()
        predicted = segmenter.segment(image).labelmap
        yield _compared(case.patient, TEST_SET, case.read_labels(image), predicted)
