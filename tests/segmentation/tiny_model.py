"""A tiny nnU-Net model folder with random weights, as stock nnU-Net v2 would write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def plans(patch=(8, 16, 16), spacing=(4.0, 2.0, 2.0), labels=("parenchyma", "tumor")) -> dict[str, Any]:
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [12.0, 24.0, 24.0],
        "spacing": list(spacing),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 8],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [2, 2, 2]],
                "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    return {
        "dataset_name": "Dataset001_tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 100.0, "std": 50.0, "percentile_00_5": -100.0, "percentile_99_5": 300.0}
        },
    }


def dataset_json(labels=("parenchyma", "tumor")) -> dict[str, Any]:
    names = {"background": 0, **{name: value + 1 for value, name in enumerate(labels)}}
    return {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 2, "file_ending": ".nii.gz"}


def write_model(folder: Path, folds=(0, 1), plan: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write the folder; every fold has other random weights. Returns the model folder."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    plan = plan or plans()
    root = folder / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    root.mkdir(parents=True)
    (root / "plans.json").write_text(json.dumps(plan))
    (root / "dataset.json").write_text(json.dumps({**dataset_json(), **changes}))
    architecture = plan["configurations"]["3d_fullres"]["architecture"]
    for fold in folds:
        torch.manual_seed(100 + fold)
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            len(changes.get("channel_names", "1")),
            3,
            deep_supervision=True,
        )
        checkpoint = {
            "network_weights": network.state_dict(),
            "optimizer_state": {},
            "grad_scaler_state": None,
            # nnU-Net's log holds NumPy numbers.
            "logging": {"train_losses": [np.float64(0.5)], "mean_fg_dice": [np.float32(0.1)]},
            "_best_ema": np.float64(0.3),
            "current_epoch": 1,
            "init_args": {"configuration": "3d_fullres", "fold": fold, "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        path = root / f"fold_{fold}" / "checkpoint_final.pth"
        path.parent.mkdir()
        torch.save(checkpoint, path)
    return root
