"""Where a network looks: Grad-CAM and occlusion (Zeiler & Fergus, ECCV 2014).

Grad-CAM (Selvaraju et al., ICCV 2017) in the form of Draelos & Carin (HiResCAM, arXiv:2011.08891): gradient times
activation at each voxel. The mean gradient of the first form assumes that features are pooled over the whole image;
here they are pooled over a tumor's core and rim, and it would point elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hepacast.deep.blocks import enlarge
from hepacast.deep.inference import as_batch, one_thread, scaled_covariates, trained_device
from hepacast.deep.trained import TrainedNetwork
from hepacast.errors import ModelError

Map = npt.NDArray[np.float32]


def grad_cam(trained: TrainedNetwork, crop: npt.NDArray[Any], covariates: Any = None, level: int | None = None) -> Map:
    """How much each place raises the outcome's score.

    At each level of the encoder that the prediction pathway reads the feature maps are weighted with their gradients,
    added and cut at 0; the maps of these levels, each with its maximum at 1, are averaged (coarse levels alone are
    blurred over half of a small crop).

    Parameters
    ----------
    trained
        A network with a prediction pathway.
    crop
        (channels, z, y, x).
    covariates
        (p,) where the network takes them.
    level
        One level of the encoder instead of all; 0 is the stem.

    Returns
    -------
    array
        float32, (z, y, x), 0 to 1; all 0 where nothing raises the score.

    Raises
    ------
    ModelError
        The network predicts no outcome.
    """
    if not trained.spec.predicts:
        raise ModelError("A network without a prediction pathway has nothing to explain by Grad-CAM.")
    device = trained_device(trained.facts)
    network = trained.build(device)
    image = as_batch(crop[None], np.array([0]), trained.channels, device)
    maps: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        maps.append(output)

    parts = [network.encoder.stem, *network.encoder.stages]
    hooks = [part.register_forward_hook(keep) for part in parts]
    try:
        values = None if covariates is None else np.asarray(covariates, dtype=float)[None]
        scaled = scaled_covariates(values, trained.covariates, np.array([0]))
        with one_thread(device):
            network(image, None if scaled is None else scaled.to(device)).outcome.sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
    chosen = maps if level is None else [maps[level]]
    found = [heat for item in chosen if (heat := _weighted(item, image.shape[2:])) is not None]
    if not found:
        return np.zeros(tuple(image.shape[2:]), dtype=np.float32)
    return np.asarray(np.mean(found, axis=0), dtype=np.float32)


def _weighted(level: torch.Tensor, size: torch.Size) -> Map | None:
    """Gradient times activation, voxel by voxel; None for a level that the outcome does not read."""
    gradient = level.grad
    if gradient is None or not bool(gradient.any()):
        return None
    heat = torch.relu((gradient * level.detach()).sum(dim=1, keepdim=True))
    heat = enlarge(heat, size)[0, 0]
    peak = float(heat.max())
    return np.asarray((heat / peak if peak > 0 else heat).cpu().numpy(), dtype=np.float32)


class _Hidden:
    """A crop with a cube hidden at each of some places, made when it is read: (places, channels, z, y, x).

    Only in the first `images` channels: a mask says where to look, and stays.
    """

    def __init__(self, crop: Map, images: int, places: list[tuple[int, int, int]], side: int) -> None:
        self.crop, self.images, self.places, self.side = crop, images, places, side
        self.fill = crop.mean(axis=(1, 2, 3))[:, None, None, None]

    def __len__(self) -> int:
        return len(self.places)

    def cube(self, number: int) -> tuple[slice, slice, slice]:
        """Where the cube lies."""
        z, y, x = (slice(start, start + self.side) for start in self.places[number])
        return z, y, x

    def __getitem__(self, number: int) -> Map:
        hidden = self.crop.copy()
        hidden[(slice(self.images), *self.cube(number))] = self.fill[: self.images]
        return hidden


def occlusion(
    trained: TrainedNetwork,
    crop: npt.NDArray[Any],
    covariates: Any = None,
    *,
    side: int = 8,
    step: int = 4,
    at: int | None = None,
) -> Map:
    """How much the score falls when a cube is hidden (its voxels set to each channel's mean).

    Parameters
    ----------
    trained, crop, covariates
        As in `grad_cam`.
    side, step
        Of the cubes, voxels.
    at
        Only cubes around this slice, whose map alone is wanted.

    Returns
    -------
    array
        float32, (z, y, x): mean fall of the log odds (binary) or of the score over the cubes that hide the voxel;
        positive where the place speaks for the event, 0 where no cube lay.
    """
    image = np.asarray(crop, dtype=np.float32)
    depth, height, width = image.shape[1:]
    low = _starts(depth, side, step) if at is None else [min(max(at - side // 2, 0), max(0, depth - side))]
    places = [(z, y, x) for z in low for y in _starts(height, side, step) for x in _starts(width, side, step)]
    hidden = _Hidden(image, len(image) - trained.spec.frozen, places, side)
    values = None if covariates is None else np.asarray(covariates, dtype=float)[None]
    whole = _logit(trained, image[None], values)[0]
    falls = whole - _logit(trained, hidden, None if values is None else np.repeat(values, len(hidden), axis=0))
    total, count = np.zeros(image.shape[1:], dtype=np.float32), np.zeros(image.shape[1:], dtype=np.float32)
    for number, fall in enumerate(falls):
        total[hidden.cube(number)] += fall
        count[hidden.cube(number)] += 1.0
    return np.asarray(total / np.maximum(count, 1.0), dtype=np.float32)


def _starts(length: int, side: int, step: int) -> list[int]:
    last = max(0, length - side)
    return sorted({*range(0, last + 1, step), last})


def _logit(trained: TrainedNetwork, crops: Any, covariates: Any) -> npt.NDArray[np.float64]:
    scores = trained.apply(crops, covariates, batch=16).scores
    if trained.spec.outcome != "binary":
        return scores
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(inside / (1 - inside)))
