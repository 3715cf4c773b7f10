"""The child process: ``python -m hepacast.segmentation.nnunet.child TASK JOB.json``.

nnU-Net reads its folders from the environment when it is imported, starts pools of workers and prints; all of that
stays in here. Tasks: ``plan`` (fingerprint, plan, preprocess), ``folds`` (train and validate some folds).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json, write_json
from hepacast.segmentation.nnunet.dataset import DATASET
from hepacast.segmentation.nnunet.plan import NnunetPlan, SmallNetwork, small_architecture
from hepacast.segmentation.nnunet.process import end_with_parent, send

PLANS_NAME = "nnUNetPlans"


def main(task: str, job_file: str) -> None:
    """Run one task."""
    end_with_parent()
    work = {"plan": _plan, "folds": _folds}[task]
    job = read_json(job_file)
    plan = NnunetPlan.from_dict(job["plan"])
    device = _device()
    # 0 starts no augmentation workers: on a CPU they take the cores away from the training itself. Planning asks
    # for the same number as PyTorch's thread count, where 0 is an error.
    on_cpu_training = task == "folds" and device.type == "cpu"
    augmentation = 0 if on_cpu_training else max(1, min(12, os.cpu_count() or 1))
    os.environ.update(nnUNet_n_proc_DA=str(augmentation), nnUNet_def_n_proc=str(job["workers"]))
    if plan.threads is not None:
        import torch

        torch.set_num_threads(plan.threads)
    work(job, plan, device)


def _folder(kind: str) -> Path:
    """One of the folders that nnU-Net takes from the environment."""
    return Path(os.environ[f"nnUNet_{kind}"])


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _plan(job: dict[str, Any], plan: NnunetPlan, device: Any) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiments,
    )

    if job["small"]:
        _threads_for_pools()
    workers = job["workers"]
    send({"step": "fingerprint"})
    extractor = _fingerprint_extractor(plan)
    extract_fingerprint_dataset(1, extractor, workers, clean=True, verbose=False, show_progress_bar=False)
    send({"step": "planning"})
    spacing = plan.network.spacing if plan.network else None
    plan_experiments([1], plan.planner, plan.gpu_memory_gb, "DefaultPreprocessor", spacing, PLANS_NAME)
    folder = _folder("preprocessed") / DATASET
    plans_file = folder / f"{PLANS_NAME}.json"
    plans = read_json(plans_file)
    if plan.network is not None:
        _make_small(plans["configurations"][plan.configuration], plan.network)
        write_json(plans_file, plans)
    send({"step": "preprocessing"})
    _preprocess(folder, plans, plan.configuration, workers)
    write_json(folder / "splits_final.json", job["splits"])


def _fingerprint_extractor(plan: NnunetPlan) -> Any:
    """nnU-Net's own, or for the demo preset one that draws fewer voxels for the intensity statistics."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    if plan.preset != "demo":
        return DatasetFingerprintExtractor

    class Brief(DatasetFingerprintExtractor):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            self.num_foreground_voxels_for_intensitystats = 2e6

    return Brief


def _threads_for_pools() -> None:
    """Let nnU-Net's pools use threads: for small images, starting processes costs far more than the work."""
    from multiprocessing.pool import ThreadPool
    from types import SimpleNamespace

    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.preprocessing.preprocessors import default_preprocessor

    threads = SimpleNamespace(get_context=lambda kind: SimpleNamespace(Pool=ThreadPool))
    fingerprint_extractor.multiprocessing = threads
    default_preprocessor.multiprocessing = threads


def _make_small(configuration: dict[str, Any], network: SmallNetwork) -> None:
    """Put the small network into nnU-Net's plan."""
    median = configuration["median_image_size_in_voxels"]
    patch = []
    for side, most, divisor in zip(median, network.patch, network.divisor, strict=True):
        patch.append(max(divisor, min(most, round(side)) // divisor * divisor))
    configuration["patch_size"] = patch
    configuration["batch_size"] = network.batch_size
    configuration["batch_dice"] = True
    configuration["architecture"]["arch_kwargs"].update(small_architecture(network))


def _preprocess(folder: Path, plans: dict[str, Any], configuration: str, workers: int) -> None:
    """nnU-Net's preprocessing of one configuration."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans).get_configuration(configuration)
    preprocessor = manager.preprocessor_class(verbose=False)
    preprocessor.show_progress_bar = False
    preprocessor.run(1, configuration, PLANS_NAME, num_processes=workers)
    targets = folder / "gt_segmentations"
    shutil.rmtree(targets, ignore_errors=True)
    shutil.copytree(_folder("raw") / DATASET / "labelsTr", targets)


def _folds(job: dict[str, Any], plan: NnunetPlan, device: Any) -> None:
    from hepacast.segmentation.nnunet.trainers import trainer_class

    folder = _folder("preprocessed") / DATASET
    for fold in job["folds"]:
        start, cpu = time.perf_counter(), time.process_time()
        trainer = trainer_class(plan, job["seed"])(
            plans={**read_json(folder / f"{PLANS_NAME}.json"), "continue_training": True},
            configuration=plan.configuration,
            fold=fold,
            dataset_json=read_json(folder / "dataset.json"),
            device=device,
        )
        latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
        if latest.exists():
            trainer.load_checkpoint(str(latest))
        trainer.run_training()
        _validate(Path(trainer.output_folder), folder, job["splits"][fold]["val"], plan)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        send({"fold": fold, "done": True, "seconds": seconds, "cpu_seconds": cpu_seconds})


def _validate(fold_folder: Path, preprocessed: Path, identifiers: list[str], plan: NnunetPlan) -> None:
    """Segment the fold's held-out cases with its final network, from the images as they were given."""
    from hepacast.imaging.io import read_volume, write_volume
    from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter

    fold = int(fold_folder.name.split("_")[-1])
    segmenter = NnunetSegmenter(fold_folder.parent, folds=[fold], mirror=plan.mirror_at_test, threads=plan.threads)
    raw = _folder("raw") / DATASET / "imagesTr"
    for identifier in identifiers:
        image = read_volume(raw / f"{identifier}_0000.nii.gz")
        result = segmenter.segment(image)
        write_volume(result.volume, fold_folder / "validation" / f"{identifier}.nii.gz")


if __name__ == "__main__":
    main(*sys.argv[1:3])
