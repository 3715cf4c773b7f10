"""The child process: ``python -m hepacast.segmentation.nnunet.child TASK JOB.json``.

nnU-Net reads its folders from the environment when it is imported, starts pools of workers and prints; all of that
stays in here. Tasks: ``plan`` (fingerprint, plan, preprocess), ``folds`` (train and validate some folds of one
configuration), ``choose`` (configuration and postprocessing, by the masks of all folds).
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.core.files import read_json, write_json
from hepacast.segmentation.nnunet.dataset import DATASET
from hepacast.segmentation.nnunet.model import CHOICE
from hepacast.segmentation.nnunet.plan import PLANNERS, NnunetPlan, SmallNetwork, small_architecture
from hepacast.segmentation.nnunet.process import end_with_parent, send

if TYPE_CHECKING:
    from hepacast.segmentation.nnunet.loaded import LoadedModel

PLANS_NAME = "nnUNetPlans"


def main(task: str, job_file: str) -> None:
    """Run one task."""
    end_with_parent()
    work = {"plan": _plan, "folds": _folds, "choose": _choose}[task]
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
    planner = PLANNERS[plan.planner]
    plan_experiments([1], planner, plan.gpu_memory_gb, "DefaultPreprocessor", spacing, PLANS_NAME)
    folder = _folder("preprocessed") / DATASET
    plans_file = folder / f"{PLANS_NAME}.json"
    plans = read_json(plans_file)
    if plan.start is not None:
        from hepacast.segmentation.nnunet.start import adopt_plan

        adopt_plan(plans, plan.start)
    elif plan.network is not None:
        for configuration in plan.trained:
            _make_small(plans["configurations"][configuration], plan.network)
    write_json(plans_file, plans)
    send({"step": "preprocessing"})
    _preprocess(folder, plans, [name for name in plan.trained if name in plans["configurations"]], workers)
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

    from nnunetv2.ensembling import ensemble
    from nnunetv2.evaluation import evaluate_predictions
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.postprocessing import remove_connected_components
    from nnunetv2.preprocessing.preprocessors import default_preprocessor

    threads = SimpleNamespace(get_context=lambda kind: SimpleNamespace(Pool=ThreadPool))
    planning: tuple[Any, ...] = (fingerprint_extractor, default_preprocessor)
    for module in (*planning, ensemble, evaluate_predictions, remove_connected_components):
        module.multiprocessing = threads


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


def _preprocess(folder: Path, plans: dict[str, Any], configurations: list[str], workers: int) -> None:
    """nnU-Net's preprocessing of each configuration; some share their data."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    done = set()
    for configuration in configurations:
        manager = PlansManager(plans).get_configuration(configuration)
        if manager.data_identifier in done:
            continue
        preprocessor = manager.preprocessor_class(verbose=False)
        preprocessor.show_progress_bar = False
        preprocessor.run(1, configuration, PLANS_NAME, num_processes=workers)
        done.add(manager.data_identifier)
    targets = folder / "gt_segmentations"
    shutil.rmtree(targets, ignore_errors=True)
    shutil.copytree(_folder("raw") / DATASET / "labelsTr", targets)


def _folds(job: dict[str, Any], plan: NnunetPlan, device: Any) -> None:
    from hepacast.segmentation.nnunet.trainers import trainer_class

    folder = _folder("preprocessed") / DATASET
    if plan.threads == 1:
        _one_thread_already()
    for fold in job["folds"]:
        start, cpu = time.perf_counter(), time.process_time()
        trainer = trainer_class(plan, job["seed"])(
            plans={**read_json(folder / f"{PLANS_NAME}.json"), "continue_training": True},
            configuration=job["configuration"],
            fold=fold,
            dataset_json=read_json(folder / "dataset.json"),
            device=device,
        )
        output = Path(trainer.output_folder)
        # A network that was finished when the run was cut is not trained again.
        if not (output / "checkpoint_final.pth").exists():
            latest = output / "checkpoint_latest.pth"
            if latest.exists():
                trainer.load_checkpoint(str(latest))
            trainer.run_training()
        _validate(output, job["splits"][fold]["val"], plan, job["probabilities"])
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        send({"fold": fold, "done": True, "seconds": seconds, "cpu_seconds": cpu_seconds})


def _one_thread_already() -> None:
    """Keep nnU-Net's loader from asking all libraries, at every step, for their threads."""
    from contextlib import nullcontext

    from nnunetv2.training.dataloading import data_loader

    data_loader.threadpool_limits = lambda **limits: nullcontext()


def _validate(fold_folder: Path, identifiers: list[str], plan: NnunetPlan, probabilities: bool) -> None:
    """Segment the fold's held-out cases with its final network, from the images as they were given."""
    from hepacast.imaging.io import read_volume, write_volume
    from hepacast.segmentation.nnunet.loaded import labels_of_logits
    from hepacast.segmentation.nnunet.segmenter import NnunetSegmenter

    fold = int(fold_folder.name.split("_")[-1])
    segmenter = NnunetSegmenter(
        fold_folder.parent,
        folds=[fold],
        mirror=plan.mirror_at_test,
        threads=plan.threads,
        precision=plan.precision,
    )
    (model,) = segmenter.loaded()
    raw = _folder("raw") / DATASET / "imagesTr"
    for identifier in identifiers:
        files = [raw / f"{identifier}_{number:04d}.nii.gz" for number in range(len(plan.channels))]
        images = [read_volume(file) for file in files]
        array, spacing = np.stack([image.array for image in images]), list(images[0].spacing[::-1])
        logits, properties = model.logits(array, spacing, lambda share, message: None)
        target = fold_folder / "validation" / f"{identifier}.nii.gz"
        write_volume(images[0].with_array(labels_of_logits([model], [logits], properties)), target)
        if probabilities:
            _write_probabilities(model, logits, properties, files[0], target)
        for stage in model.configuration.next_stage_names or ():
            if stage in plan.trained:
                _write_for_next_stage(model, logits, properties, stage, identifier)


def _write_probabilities(
    model: LoadedModel, logits: Any, properties: dict[str, Any], image: Path, target: Path
) -> None:
    """What nnU-Net averages to judge the mean of two configurations, as it writes it."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

    _, header = SimpleITKIO().read_images((str(image),))
    _, found = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.float(),
        model.plans,
        model.configuration,
        model.label_manager,
        properties,
        return_probabilities=True,
        num_threads_torch=torch.get_num_threads(),
    )
    stem = str(target).removesuffix(".nii.gz")
    np.savez_compressed(f"{stem}.npz", probabilities=found.astype(np.float16))
    with Path(f"{stem}.pkl").open("wb") as file:
        pickle.dump(properties | {"sitk_stuff": header["sitk_stuff"]}, file)


def _write_for_next_stage(
    model: LoadedModel, logits: Any, properties: dict[str, Any], stage: str, identifier: str
) -> None:
    """The held-out case's mask on the grid of a cascade's second stage, which learns from it."""
    import torch
    from nnunetv2.inference.export_prediction import resample_and_save
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    data = _folder("preprocessed") / DATASET / model.plans.get_configuration(stage).data_identifier
    kind = infer_dataset_class(str(data))
    shape = kind(str(data), [identifier]).load_case(identifier)[0].shape[1:]
    target = model.model.folder / "predicted_next_stage" / stage / identifier
    target.parent.mkdir(parents=True, exist_ok=True)
    resample_and_save(
        logits.float(),
        list(shape),
        str(target),
        model.plans,
        model.configuration,
        properties,
        model.model.dataset,
        torch.get_num_threads(),
        kind,
    )


def _choose(job: dict[str, Any], plan: NnunetPlan, device: Any) -> None:
    """nnU-Net's own choice of configuration, of the mean of two, and of postprocessing, by held-out masks alone."""
    from nnunetv2.evaluation.find_best_configuration import find_best_configuration

    if job["small"]:
        _threads_for_pools()
    candidates = [
        {"plans": PLANS_NAME, "configuration": name, "trainer": plan.trainer_name} for name in job["configurations"]
    ]
    found = find_best_configuration(
        DATASET,
        candidates,
        allow_ensembling=len(candidates) > 1,
        num_processes=job["workers"],
        folds=tuple(range(plan.folds)),
    )
    root = _folder("results") / DATASET
    best = found["best_model_or_ensemble"]
    masks = Path(best["postprocessing_file"]).parent
    if plan.postprocessing:
        masks = masks / "postprocessed"
    else:
        content = read_json(root / CHOICE)
        content["best_model_or_ensemble"]["postprocessing_file"] = None
        write_json(root / CHOICE, content)
    send(
        {
            "masks": masks.relative_to(root).as_posix(),
            "dice": {name: float(value) for name, value in found["all_results"].items()},
            "chosen": [item["configuration"] for item in best["selected_model_or_models"]],
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
