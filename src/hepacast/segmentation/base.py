"""What every segmenter is, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hepacast.errors import GeometryError
from hepacast.imaging import Volume
from hepacast.imaging.labels import LabelMap
from hepacast.imaging.structures import available_structures, structure_mask, structures_of

#: Told from time to time: the share done (0 to 1) and what is going on.
Progress = Callable[[float, str], None]

#: The labels that hepacast writes.
PARENCHYMA_TUMOR = {"parenchyma": 1, "tumor": 2}


class SegmentationCost(NamedTuple):
    """What one image will cost on this machine: time in seconds, peak memory in bytes."""

    seconds: float
    bytes: int


@dataclass(frozen=True, eq=False)
class LabelMapResult:
    """A segmentation: a label map with names, and how it came about.

    Parameters
    ----------
    labelmap
        Structures on the grid of the image.
    source
        The segmenter's name.
    seconds
        Wall time.
    notes
        What a reader should know (in plain words), e.g. that no tumor was found.
    identity
        Of the segmenter as it was applied, where that is known.
    """

    labelmap: LabelMap
    source: str
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default_factory=tuple)
    identity: str | None = None

    @property
    def volume(self) -> Volume:
        """The integer label map."""
        return self.labelmap.volume

    @property
    def names(self) -> dict[str, int]:
        """Label value of each stored structure."""
        return dict(self.labelmap.labels)

    @property
    def structures(self) -> tuple[str, ...]:
        """Stored structures and the unions that they allow (`liver` from `parenchyma` and `tumor`)."""
        return available_structures(self.labelmap)

    def mask(self, structure: str) -> Volume:
        """One structure, or a union of structures, as a boolean volume."""
        return structure_mask(self.labelmap, structure)

    def masks(self) -> dict[str, Volume]:
        """Every structure by name, the unions included."""
        return structures_of(self.labelmap)


@runtime_checkable
class Segmenter(Protocol):
    """Turns an image into a label map.

    Attributes
    ----------
    name
        Short, stable name, e.g. ``nnunet``.
    structures
        Names that the result's `mask` understands.
    """

    name: str
    structures: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Facts for the report as JSON: ``source, version, identity, structures, sentence, citations, network``.

        ``sentence`` goes into the Methods text; ``network`` is None where there is none to draw.
        """
        ...

    def estimate(self, volume: Volume) -> SegmentationCost:
        """Time and memory for this image, before anything is started."""
        ...

    def segment(
        self, volume: Volume, *, liver: Volume | None = None, progress: Progress | None = None
    ) -> LabelMapResult:
        """Segment one image.

        Parameters
        ----------
        volume
            CT in HU.
        liver
            A liver mask already at hand (an expert's), used where the segmenter can use one.
        progress
            Called with the share done and a message.
        """
        ...


@runtime_checkable
class ChannelSegmenter(Protocol):
    """A segmenter that looks at several images of a patient at once.

    Attributes
    ----------
    channels
        Names of the images that it needs.
    """

    channels: tuple[str, ...]

    def segment(
        self,
        volume: Volume | Mapping[str, Volume],
        *,
        liver: Volume | None = None,
        progress: Progress | None = None,
    ) -> LabelMapResult:
        """Segment images that lie on one grid."""
        ...


def segment_patient(
    segmenter: Segmenter,
    images: Mapping[str, Volume],
    *,
    liver: Volume | None = None,
    progress: Progress | None = None,
) -> LabelMapResult:
    """Segment one patient's images by name; a segmenter of one image is given the first.

    Raises
    ------
    HepacastError
        As the segmenter's; an image that it needs is missing or lies on another grid.
    """
    if isinstance(segmenter, ChannelSegmenter):
        return segmenter.segment(images, liver=liver, progress=progress)
    return segmenter.segment(next(iter(images.values())), liver=liver, progress=progress)


def require_one_grid(images: Mapping[str, Volume], where: str | None = None) -> None:
    """Refuse images of one patient that do not lie on the first one's grid.

    Raises
    ------
    GeometryError
    """
    first = next(iter(images.values()))
    for name, image in images.items():
        try:
            first.geometry.require_same(image.geometry, what=f"the image {name!r}", where=where)
        except GeometryError as error:
            error.remedy = "register the images to one of them (images.preprocessing), or use one channel"
            error.args = (str(error),)
            raise


def parenchyma_tumor_map(liver: Volume, tumor: Volume) -> LabelMap:
    """Label map of a liver mask and a tumor mask: parenchyma = liver - tumor, tumor counted inside the liver.

    Voxels of `tumor` outside `liver` are dropped, so `liver` stays the union of the two labels.

    Raises
    ------
    GeometryError
        The grids differ.
    """
    import numpy as np

    liver.geometry.require_same(tumor.geometry, what="the tumor mask")
    array = liver.array.astype(np.uint8)
    array[liver.array & tumor.array] = PARENCHYMA_TUMOR["tumor"]
    return LabelMap(liver.with_array(array), dict(PARENCHYMA_TUMOR))
