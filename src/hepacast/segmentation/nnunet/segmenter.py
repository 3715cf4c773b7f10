"""`NnunetSegmenter`: any trained nnU-Net v2 folder, applied in this process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.core.hashing import hash_value
from hepacast.errors import ImageError, ModelError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import structure_names
from hepacast.segmentation.axes import turn
from hepacast.segmentation.base import LabelMapResult, Progress, SegmentationCost, require_one_grid
from hepacast.segmentation.devices import default_device, torch_threads
from hepacast.segmentation.nnunet.inference import PRECISIONS, count_tiles
from hepacast.segmentation.nnunet.loaded import LoadedModel, labels_by
from hepacast.segmentation.nnunet.model import NnunetModel, open_models
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
        Model folder (trained here, or by stock nnU-Net v2); or a dataset's folder whose choice of configuration and
        postprocessing nnU-Net has made (``inference_information.json``).
    folds
        Folds whose logits are averaged; by default all that are there.
    mirror
        Average over mirrored copies if the model was trained for it (eight times the cost); by default as the folder
        says, else not.
    step
        Distance of tiles as a share of the patch.
    threads
        PyTorch's threads while segmenting; None leaves PyTorch's own number.
    device
        ``cpu``, ``cuda``; by default the GPU if there is one.
    channels
        Of a model with several input channels: the name of the image that each is, in the model's order. By default
        the names of the training here, or nnU-Net's own.
    precision
        ``float32``, ``float16`` or ``bfloat16``; by default as the folder says, else half precision on a GPU, as
        nnU-Net does, and single precision on a CPU.
    skip_air
        Leave out tiles of a CT that hold air alone; labels within the body do not depend on it.

    Raises
    ------
    ModelError
        The folder cannot be used, or the precision is not one of this device.

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
        mirror: bool | None = None,
        step: float = 0.5,
        threads: int | None = None,
        device: str | None = None,
        checkpoint: str = "checkpoint_final.pth",
        sentence: str | None = None,
        channels: Sequence[str] | None = None,
        precision: str | None = None,
        skip_air: bool = True,
    ) -> None:
        self.applied = open_models(folder, folds, checkpoint)
        self.model = self.applied.models[0]
        self.structures = structure_names(self.model.labels)
        how = self.applied.how
        self.channels = self._named_channels(channels or how.get("channels"))
        self._device = device or default_device()
        self._asked = precision or how.get("precision")
        self._precision = _usable(self._asked, self._device)
        self._mirror = bool(how.get("mirror")) if mirror is None else mirror
        self._step, self._threads, self._skip_air = step, threads, skip_air
        self._sentence = sentence
        self._loaded: list[LoadedModel] = []

    def _named_channels(self, given: Sequence[str] | None) -> tuple[str, ...]:
        names = self.model.channels
        if given and len(given) != len(names):
            raise ModelError(
                "The model has another number of input channels.",
                expected=f"{len(names)} images: {', '.join(names)}",
                found=", ".join(given),
                where=str(self.model.folder),
            )
        return tuple(given) if given else names

    def how(self) -> dict[str, Any]:
        """Options to store beside the models; a precision that the device decides is none."""
        return {"mirror": self._mirror, "precision": self._asked, "channels": list(self.channels)}

    @property
    def identity(self) -> str:
        """SHA-256 over models, postprocessing and arithmetic: equal identities give equal masks of equal images."""
        models = [model.identity for model in self.applied.models]
        how = [self.channels, self._mirror, self._step, self._precision, self._skip_air]
        return hash_value([models, self.applied.largest, how])

    def describe(self) -> dict[str, Any]:
        """Facts for the report, the network's configuration among them."""
        plural = "s" if len(self.model.folds) > 1 else ""
        names = " and ".join(model.configuration_name for model in self.applied.models)
        several = f"mean of {names}" if len(self.applied.models) > 1 else names
        inputs = f", channels {', '.join(self.channels)}" if len(self.channels) > 1 else ""
        sentence = self._sentence or (
            f"Images were segmented by a trained nnU-Net v2 ({several}, {len(self.model.folds)} fold{plural}{inputs}, "
            f"identity {self.identity[:12]})."
        )
        half = "" if self._precision == "float32" else f" Networks ran in {self._precision}."
        return {
            "source": self.name,
            "version": NNUNET_VERSION,
            "identity": self.identity,
            "structures": list(self.structures),
            "channels": list(self.channels),
            "sentence": sentence + half,
            "citations": [CITATION],
            "network": self.model.network()
            | {"averaged_with": ", ".join(model.configuration_name for model in self.applied.models[1:])},
        }

    def estimate(self, volume: Volume) -> SegmentationCost:
        """Time on this machine's CPU cores and peak memory, from tile counts; a GPU is many times faster."""
        costs = [self._estimate_of(model, volume) for model in self.stages()]
        return SegmentationCost(sum(cost.seconds for cost in costs), max(cost.bytes for cost in costs))

    def stages(self) -> list[NnunetModel]:
        """Every model that runs, first stages of cascades among them."""
        return [item for model in self.applied.models for item in (model, model.previous) if item is not None]

    def _estimate_of(self, model: NnunetModel, volume: Volume) -> SegmentationCost:
        configuration = model.configuration
        shape = _resampled_shape(model, volume)
        patch = configuration["patch_size"]
        architecture = configuration["architecture"]["arch_kwargs"]
        classes = len(model.labels) + 1
        cores = self._threads or os.cpu_count() or 1
        forward = forward_seconds(architecture, patch, classes, cores)
        copies = 8 if self._mirror else 1
        tiles = count_tiles([max(a, b) for a, b in zip(shape, _patch3(patch), strict=True)], patch, self._step)
        seconds = tiles * copies * len(model.folds) * forward + volume.array.size * 3e-7
        logits = classes * math.prod(shape) * 4 * (2 if len(model.folds) > 1 else 1)
        _, values = network_cost(architecture, patch, classes)
        return SegmentationCost(seconds, int(logits + values * 4 * 2 + volume.array.size * 12))

    def images_of(self, images: Volume | Mapping[str, Volume]) -> list[Volume]:
        """The image of each channel, in the model's order.

        Raises
        ------
        ImageError
            One is missing.
        GeometryError
            They do not lie on one grid.
        """
        if isinstance(images, Volume):
            images = {"image": images}
        grid = next(iter(images.values()))
        named = images if len(self.channels) > 1 else {self.channels[0]: images.get(self.channels[0], grid)}
        missing = [name for name in self.channels if name not in named]
        if missing:
            raise ImageError(
                "The model needs images at once that are not all there.",
                expected=", ".join(self.channels),
                found=", ".join(images),
                remedy="give each under its name, on one grid (registered to one of them); where the names differ, say "
                "which image each channel is (segmentation.nnunet.channels)",
            )
        chosen = {name: named[name] for name in self.channels}
        require_one_grid({"first": grid} | chosen)
        return list(chosen.values())

    def segment(
        self,
        volume: Volume | Mapping[str, Volume],
        *,
        liver: Volume | None = None,
        progress: Progress | None = None,
    ) -> LabelMapResult:
        """Segment one patient.

        Parameters
        ----------
        volume
            CT (HU) or whatever the model was trained on. Several images by name: those of the channels, on one grid;
            a model of one channel takes the one of its name, else the first.
        liver
            Not used: the model's own structures are given back.

        Raises
        ------
        ModelError
            The checkpoint does not fit the plans.
        ImageError, GeometryError
            A channel is missing or lies on another grid.
        """
        start = time.perf_counter()
        chosen = self.images_of(volume)
        with torch_threads(self._threads):
            array, spacing, back = _oriented(chosen, self.model.turned)
            labels = labels_by(self.loaded(), array, spacing, progress or (lambda share, message: None))
        for group in self.applied.largest:
            labels = keep_largest(labels, group)
        result = LabelMap(chosen[0].with_array(back(labels)), self.model.labels)
        empty = [name for name, value in self.model.labels.items() if not (labels == value).any()]
        notes = (f"no voxel of {', '.join(empty)} was found",) if empty else ()
        return LabelMapResult(result, self.name, time.perf_counter() - start, notes, self.identity)

    def prepare(self) -> None:
        """Read the networks, before there is an image."""
        self.loaded()

    def loaded(self) -> list[LoadedModel]:
        """The models in memory; read at the first call."""
        if not self._loaded:
            import torch

            self._loaded = [
                LoadedModel(
                    model,
                    torch.device(self._device),
                    precision=self._precision,
                    mirror=self._mirror,
                    step=self._step,
                    skip_air=self._skip_air,
                )
                for model in self.applied.models
            ]
        return self._loaded


def keep_largest(labels: npt.NDArray[np.uint8], group: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Only the largest piece of some labels together, by nnU-Net's own function."""
    from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

    return np.asarray(remove_all_but_largest_component_from_segmentation(labels, list(group)), dtype=np.uint8)


def _usable(precision: str | None, device: str) -> str:
    """The precision of the arithmetic on a device.

    Raises
    ------
    ModelError
        It is not known, or the device has none of it.
    """
    on_gpu = device.startswith("cuda")
    if precision is None:
        return "float16" if on_gpu else "float32"
    if precision not in PRECISIONS:
        raise ModelError("This precision is not known.", expected=", ".join(PRECISIONS), found=precision)
    if on_gpu and precision == "bfloat16":
        import torch

        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ModelError("This GPU has no bfloat16.", expected="float16 or float32", found=precision)
    if not on_gpu and precision == "float16":
        raise ModelError("float16 is for a GPU.", expected="float32 or bfloat16 on a CPU", found=precision)
    return precision


def _resampled_shape(model: NnunetModel, volume: Volume) -> list[int]:
    shape, spacing = volume.geometry.shape, volume.spacing[::-1]
    target = model.configuration["spacing"]
    sides = [(shape[axis], spacing[axis]) for axis in model.plans["transpose_forward"]]
    if len(target) == 2:
        target = [sides[0][1], *target]
    return [max(1, round(n * mm / new)) for (n, mm), new in zip(sides, target, strict=True)]


def _patch3(patch: Sequence[int]) -> list[int]:
    return [1, *patch] if len(patch) == 2 else list(patch)


def _oriented(images: Sequence[Volume], turned: bool) -> tuple[npt.NDArray[Any], list[float], Any]:
    """The channels as nnU-Net's reader would give them, their spacing in the same order, and the way back."""
    if not turned:
        return np.stack([image.array for image in images]), list(images[0].spacing[::-1]), lambda labels: labels
    frames = [turn(image, "RAS") for image in images]
    # nnU-Net's turning reader hands over (z, y, x).
    return (
        np.stack([frame.array.transpose(2, 1, 0) for frame in frames]),
        list(frames[0].spacing[::-1]),
        lambda labels: frames[0].back(labels.transpose(2, 1, 0)),
    )
