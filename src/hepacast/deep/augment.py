"""Random changes of training crops. Each draws from a stream named by patient and epoch, so a resumed training agrees.

Rotation, scale, shift and elastic displacement are one resampling; the mask takes the same path as the image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hepacast.core.seeds import rng
from hepacast.deep.spec import Augmentation

_CONTROL = 4  # control points of the elastic field along each axis


def augment(
    images: Tensor, masks: Tensor | None, rules: Augmentation, seed: int, epoch: int, patients: list[int]
) -> tuple[Tensor, Tensor | None]:
    """Change a batch.

    Parameters
    ----------
    images
        (n, channels, z, y, x).
    masks
        (n, 1, z, y, x) or None.
    seed, epoch, patients
        Name the random streams; `patients` are n row numbers.
    """
    streams = [rng(seed, "augment", epoch, patient) for patient in patients]
    shape = images.shape[2:]
    grids = torch.stack([_grid(rules, stream, tuple(shape)) for stream in streams]).to(images.device)
    images = functional.grid_sample(images, grids, mode="bilinear", padding_mode="border", align_corners=False)
    if masks is not None:
        moved = functional.grid_sample(masks, grids, mode="bilinear", padding_mode="zeros", align_corners=False)
        masks = (moved >= 0.5).to(masks.dtype)
    changed = [_intensities(image, rules, stream) for image, stream in zip(images, streams, strict=True)]
    return torch.stack(changed), masks


def _grid(rules: Augmentation, stream: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Sampling coordinates of one patient, (z, y, x, 3), in -1..1 with x first (PyTorch's order)."""
    turned = np.eye(3)
    offset = np.zeros(3)
    field = None
    if stream.random() < rules.geometric:
        turned = _rotation(np.radians(stream.uniform(-rules.rotate_deg, rules.rotate_deg, 3)))
        turned = turned * (1.0 + stream.uniform(-rules.scale, rules.scale))
        offset = 2.0 * stream.uniform(-rules.shift, rules.shift, 3)
        if rules.elastic > 0:
            field = 2.0 * rules.elastic * stream.standard_normal((1, 3, _CONTROL, _CONTROL, _CONTROL))
    if rules.flip:
        # Left-right and front-back; a liver is never seen upside down.
        signs = np.array([*np.where(stream.random(2) < 0.5, -1.0, 1.0), 1.0])
        turned = turned * signs[None, :]
    affine = torch.from_numpy(np.column_stack([turned, offset]).astype(np.float32))[None]
    grid = functional.affine_grid(affine, [1, 1, *shape], align_corners=False)[0]
    if field is not None:
        coarse = torch.from_numpy(field.astype(np.float32))
        grid = grid + functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0].permute(
            1, 2, 3, 0
        )
    return grid


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation about x, then y, then z, (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _intensities(image: Tensor, rules: Augmentation, stream: np.random.Generator) -> Tensor:
    """Gain and offset of each channel, noise, a coarser copy.

    A channel of one value (a missing sequence, a flag that says whether one is there) says something by that value and
    stays as it is.
    """
    channels, given = image.shape[0], image
    if rules.low_resolution > 0 and stream.random() < rules.low_resolution:
        share = float(stream.uniform(0.5, 0.9))
        size = [max(4, round(side * share)) for side in image.shape[1:]]
        coarse = functional.interpolate(image[None], size=size, mode="trilinear", align_corners=False)
        image = functional.interpolate(coarse, size=image.shape[1:], mode="trilinear", align_corners=False)[0]
    if rules.intensity > 0:
        gain = torch.from_numpy(np.exp(rules.intensity * stream.standard_normal(channels)).astype(np.float32))
        offset = torch.from_numpy((rules.intensity * stream.standard_normal(channels)).astype(np.float32))
        view = (channels, 1, 1, 1)
        image = image * gain.to(image.device).view(view) + offset.to(image.device).view(view)
    if rules.noise > 0:
        level = np.float32(stream.uniform(0.0, rules.noise))
        noise = stream.standard_normal(tuple(image.shape), dtype=np.float32)
        image = image + torch.from_numpy(level * noise).to(image.device)
    flat = given.amax(dim=(1, 2, 3), keepdim=True) == given.amin(dim=(1, 2, 3), keepdim=True)
    return torch.where(flat, given, image)
