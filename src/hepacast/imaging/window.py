"""HU windows: what gray a value is shown in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError


@dataclass(frozen=True)
class Window:
    """A display window.

    Parameters
    ----------
    level
        Middle of the window, HU.
    width
        Difference between white and black, HU.
    """

    level: float
    width: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.level) and np.isfinite(self.width) and self.width > 0):
            raise ImageError("A window has a level and a width above 0.", found=f"{self.level}/{self.width}")

    @classmethod
    def parse(cls, text: str) -> Window:
        """``"30/300"`` is level 30 HU, width 300 HU.

        Raises
        ------
        ImageError
            The text is not of this form.
        """
        match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*", text)
        if match is None:
            raise ImageError("The window cannot be read.", expected="level/width in HU, for example 30/300", found=text)
        return cls(float(match[1]), float(match[2]))

    @property
    def low(self) -> float:
        """The value shown black, and all below."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """The value shown white, and all above."""
        return self.level + self.width / 2

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Gray values from 0 (black) to 1 (white)."""
        scaled = (np.asarray(array, dtype=np.float32) - np.float32(self.low)) / np.float32(self.width)
        return np.clip(scaled, 0.0, 1.0)


#: The window of the leading study: portal-venous liver CT.
LIVER_CT = Window(30.0, 300.0)


def window_for(array: npt.NDArray[Any]) -> Window:
    """The liver window for CT-like values; for others (MRI) the 1st to 99th percentile of the non-zero values."""
    sample = np.asarray(array).ravel()[:: max(1, array.size // 200_000)]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0 or sample.min() <= -200:
        return LIVER_CT
    bright = sample[sample != 0] if (sample != 0).any() else sample
    low, high = np.percentile(bright, [1, 99])
    return Window(float((low + high) / 2), float(max(high - low, 1e-6)))
