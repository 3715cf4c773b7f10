"""Balls of known values in a ball of liver, on voxels that are no cubes: what every number must come to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hepacast.imaging import Geometry, Volume

SPACING = (1.0, 1.25, 2.0)
LIVER_MM, CENTER = 55.0, (60.0, 60.0, 60.0)


def grid(spacing: tuple[float, float, float] = SPACING, side: float = 120.0) -> Geometry:
    """A cube of tissue, oblique to nothing, its first voxel somewhere in the room."""
    size = tuple(round(side / step) for step in spacing)
    return Geometry((size[0], size[1], size[2]), spacing, (-31.0, 12.0, 7.0))


def ball(geometry: Geometry, center: tuple[float, float, float], radius: float) -> npt.NDArray[np.bool_]:
    """Voxels whose centers lie within the radius, mm from the grid's first voxel."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij", sparse=True)
    x, y, z = (at * step for at, step in zip((i, j, k), geometry.spacing))
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2 <= radius**2


class Patient:
    """A liver with tumors; images are painted by region.

    Parameters
    ----------
    tumors
        Center (mm) and radius (mm) of each.
    """

    def __init__(
        self,
        tumors: tuple[tuple[tuple[float, float, float], float], ...] = ((CENTER, 15.0),),
        spacing: tuple[float, float, float] = SPACING,
    ) -> None:
        self.geometry = grid(spacing)
        self.liver = ball(self.geometry, CENTER, LIVER_MM)
        self.tumor = np.zeros_like(self.liver)
        self.core = np.zeros_like(self.liver)
        for center, radius in tumors:
            self.tumor |= ball(self.geometry, center, radius)
            self.core |= ball(self.geometry, center, radius - 4.0)
        self.masks: dict[str, Volume] = {
            "liver": Volume(self.liver, self.geometry),
            "tumor": Volume(self.tumor, self.geometry),
        }

    def add(self, name: str, center: tuple[float, float, float], radius: float) -> npt.NDArray[np.bool_]:
        """Another structure."""
        mask = ball(self.geometry, center, radius)
        self.masks[name] = Volume(mask, self.geometry)
        return mask

    def image(
        self,
        liver: float = 100.0,
        rim: float = 100.0,
        core: float = 100.0,
        others: Mapping[str, float] | None = None,
        noise: float = 0.0,
    ) -> Volume:
        """An image of these values; the rim is the tumor without balls that are 4 mm smaller."""
        values = np.full(self.geometry.shape, -100.0)
        values[self.liver] = liver
        values[self.tumor] = rim
        values[self.core] = core
        for name, value in (others or {}).items():
            values[self.masks[name].array] = value
        if noise:
            values += np.random.default_rng(1).normal(0.0, noise, values.shape)
        return Volume(values.astype(np.float32), self.geometry)
