"""`NnunetSegmenter`: any trained nnU-Net v2 folder, applied in this process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ModelError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import structure_names
from hepacast.segmentation.axes import turn
from hepacast.segmentation.base import LabelMapResult, Progress, SegmentationCost
from hepacast.segmentation.devices import default_device, torch_threads
from hepacast.segmentation.nnunet.checkpoints import load_checkpoint
from hepacast.segmentation.nnunet.inference import count_tiles, labels_on_grid, sliding_logits
from hepacast.segmentation.nnunet.model import open_model
from hepacast.segmentation.nnunet.plan import NNUNET_VERSION, forward_seconds, network_cost

CITATION = (
    "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring method for deep "
    "learning-based biomedical image segmentation. Nat Methods 2021;18:203-211."
)


class NnunetSegmenter:
    """Segment with a trained nnU-Net.

    Parameters
    ----------
    folder
        Model folder (trained here, or by stock nnU-Net v2).
    folds
        Folds whose logits are averaged; by default all that are there.
    mirror
        Average over mirrored copies if the model was trained for it (eight times the cost).
    step
        Distance of tiles as a share of the patch.
    threads
        PyTorch's threads while segmenting; None leaves PyTorch's own number.
    device
        ``cpu``, ``cuda``; by default the GPU if there is one.

    Notes
    -----
    Checkpoints are read with ``weights_only=True``; the network is built from ``plans.json``. A model whose
    trainer changed the network itself does not fit its plans and is refused.
    """

    name = "nnunet"

    def __init__(
        self,
        folder: str | Path,
        folds: Sequence[int | str] | None = None,
        *,
        mirror: bool = False,
        step: float = 0.5,
        threads: int | None = None,
        device: str | None = None,
        checkpoint: str = "checkpoint_final.pth",
        sentence: str | None = None,
    ) -> None:
        self.model = open_model(folder, folds, checkpoint)
        self.structures = structure_names(self.model.labels)
        self._mirror, self._step, self._threads, self._device_name = mirror, step, threads, device
        self._sentence = sentence
        self._loaded: _Loaded | None = None

    def describe(self) -> dict[str, Any]:
        """Facts for the report, the network's configuration among them."""
        plural = "s" if len(self.model.folds) > 1 else ""
        sentence = self._sentence or (
            f"Images were segmented by a trained nnU-Net v2 ({self.model.configuration_name}, "
            f"{len(self.model.folds)} fold{plural}, identity {self.model.identity[:12]})."
        )
        return {
            "source": self.name,
            "version": NNUNET_VERSION,
            "identity": self.model.identity,
            "structures": list(self.structures),
            "sentence": sentence,
            "citations": [CITATION],
            "network": self.model.network(),
        }

    def estimate(self, volume: Volume) -> SegmentationCost:
        """Time on this machine's CPU cores and peak memory, from tile counts; a GPU is many times faster."""
        configuration = self.model.configuration
        shape = self._resampled_shape(volume)
        patch = configuration["patch_size"]
        architecture = configuration["architecture"]["arch_kwargs"]
        classes = len(self.model.labels) + 1
        cores = self._threads or os.cpu_count() or 1
        forward = forward_seconds(architecture, patch, classes, cores)
        copies = 8 if self._mirror else 1
        tiles = count_tiles([max(a, b) for a, b in zip(shape, _patch3(patch), strict=True)], patch, self._step)
        seconds = tiles * copies * len(self.model.folds) * forward + volume.array.size * 3e-7
        logits = classes * math.prod(shape) * 4 * (2 if len(self.model.folds) > 1 else 1)
        _, values = network_cost(architecture, patch, classes)
        return SegmentationCost(seconds, int(logits + values * 4 * 2 + volume.array.size * 12))

    def _resampled_shape(self, volume: Volume) -> list[int]:
        shape, spacing = volume.geometry.shape, volume.spacing[::-1]
        order = self.model.plans["transpose_forward"]
        target = self.model.configuration["spacing"]
        sides = [(shape[axis], spacing[axis]) for axis in order]
        if len(target) == 2:
            target = [sides[0][1], *target]
        return [max(1, round(n * mm / new)) for (n, mm), new in zip(sides, target, strict=True)]

    def segment(
        self, volume: Volume, *, liver: Volume | None = None, progress: Progress | None = None
    ) -> LabelMapResult:
        """Segment one image.

        Parameters
        ----------
        volume
            CT (HU) or whatever the model was trained on.
        liver
            Not used: the model's own structures are given back.

        Raises
        ------
        ModelError
            The checkpoint does not fit the plans.
        """
        start = time.perf_counter()
        with torch_threads(self._threads):
            if self._loaded is None:
                self._loaded = _Loaded(self)
            array, spacing, back = _oriented(volume, self.model.turned)
            labels = self._loaded.labels(array, spacing, self._step, self._mirror, progress)
        result = LabelMap(volume.with_array(back(labels)), self.model.labels)
        empty = [name for name, value in self.model.labels.items() if not (labels == value).any()]
        notes = (f"no voxel of {', '.join(empty)} was found",) if empty else ()
        return LabelMapResult(result, self.name, time.perf_counter() - start, notes)


def _patch3(patch: Sequence[int]) -> list[int]:
    return [1, *patch] if len(patch) == 2 else list(patch)


def _oriented(volume: Volume, turned: bool) -> tuple[npt.NDArray[Any], list[float], Any]:
    """The array as nnU-Net's reader would give it, its spacing in the same order, and the way back."""
    if not turned:
        return volume.array, list(volume.spacing[::-1]), lambda labels: labels
    frame = turn(volume, "RAS")
    # nnU-Net's turning reader hands over (z, y, x).
    return (
        frame.array.transpose(2, 1, 0),
        list(frame.spacing[::-1]),
        lambda labels: frame.back(labels.transpose(2, 1, 0)),
    )


class _Loaded:
    """The networks in memory, and nnU-Net's own preprocessing."""

    def __init__(self, segmenter: NnunetSegmenter) -> None:
        import torch
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        self.model = segmenter.model
        self.device = torch.device(segmenter._device_name or default_device())
        self.plans = PlansManager(self.model.plans)
        self.configuration = self.plans.get_configuration(self.model.configuration_name)
        self.label_manager = self.plans.get_label_manager(self.model.dataset)
        self.preprocessor = self.configuration.preprocessor_class(verbose=False)
        self.networks = []
        self.mirror_axes: tuple[int, ...] = ()
        for path in self.model.files:
            checkpoint = load_checkpoint(path)
            self.mirror_axes = tuple(checkpoint.get("inference_allowed_mirroring_axes") or ())
            self.networks.append(self._network(checkpoint["network_weights"], path))

    def _network(self, weights: dict[str, Any], path: Path) -> Any:
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        network = get_network_from_plans(
            self.configuration.network_arch_class_name,
            self.configuration.network_arch_init_kwargs,
            self.configuration.network_arch_init_kwargs_req_import,
            1,
            self.label_manager.num_segmentation_heads,
            allow_init=False,
            deep_supervision=False,
        )
        plain = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()}
        try:
            network.load_state_dict(plain)
        except RuntimeError as error:
            raise ModelError(
                "The checkpoint does not fit the network that plans.json describes.",
                found=str(error).strip().splitlines()[-1].strip()[:300],
                where=str(path),
                remedy="models whose trainer changes the network itself cannot be applied here",
            ) from error
        return network.to(self.device).eval()

    def labels(
        self,
        array: npt.NDArray[Any],
        spacing: list[float],
        step: float,
        mirror: bool,
        progress: Progress | None,
    ) -> npt.NDArray[np.uint8]:
        """Label array of an image array (slice, row, column)."""
        import torch

        properties: dict[str, Any] = {"spacing": spacing}
        data, _, properties = self.preprocessor.run_case_npy(
            array[None].astype(np.float32, copy=False),
            None,
            properties,
            self.plans,
            self.configuration,
            self.model.dataset,
        )
        tensor = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))
        logits: torch.Tensor | None = None
        with torch.inference_mode():
            for number, network in enumerate(self.networks):

                def report(done: int, tiles: int, fold: int = number) -> None:
                    if progress is not None:
                        progress((fold + done / tiles) / len(self.networks), f"fold {fold + 1}, tile {done}/{tiles}")

                part = sliding_logits(
                    network,
                    tensor,
                    self.configuration.patch_size,
                    self.label_manager.num_segmentation_heads,
                    device=self.device,
                    step=step,
                    mirror_axes=self.mirror_axes if mirror else (),
                    report=report,
                )
                logits = part if logits is None else logits.add_(part)
            assert logits is not None
            logits /= len(self.networks)
            return self._to_grid(logits, properties)

    def _to_grid(self, logits: Any, properties: dict[str, Any]) -> npt.NDArray[np.uint8]:
        """Labels on the grid that the image came in: resampled, un-cropped, un-transposed."""
        shape = properties["shape_after_cropping_and_before_resampling"]
        order = self.plans.transpose_forward
        spacing = [properties["spacing"][axis] for axis in order]
        current = list(self.configuration.spacing)
        if len(current) == 2:
            current = [spacing[0], *current]
        whole = np.zeros(properties["shape_before_cropping"], dtype=np.uint8)
        box = tuple(slice(a, b) for a, b in properties["bbox_used_for_cropping"])
        whole[box] = self._resampled_labels(logits, shape, current, spacing)
        return np.ascontiguousarray(whole.transpose(self.plans.transpose_backward))

    def _resampled_labels(
        self, logits: Any, shape: Sequence[int], current: list[float], wanted: list[float]
    ) -> npt.NDArray[np.uint8]:
        from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

        settings = self.configuration.configuration
        usual = settings.get("resampling_fn_probabilities") == "resample_data_or_seg_to_shape"
        options = settings.get("resampling_fn_probabilities_kwargs", {})
        separate, axis = determine_do_sep_z_and_axis(options.get("force_separate_z"), current, wanted)
        linear = options.get("order", 1) == 1 and options.get("order_z", 0) == 0
        if usual and linear and (not separate or axis == 0):
            return labels_on_grid(logits, shape, separate_slices=bool(separate), regions=self.model.regions)
        # A model with a resampling of its own: nnU-Net's function, with all logits in memory.
        resampled = self.configuration.resampling_fn_probabilities(logits.float(), shape, current, wanted)
        return np.asarray(self.label_manager.convert_logits_to_segmentation(resampled), dtype=np.uint8)
