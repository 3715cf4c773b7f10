"""`Geometry` and `Volume`: an array never travels without its geometry.

Conventions, the same as ITK's: the array is indexed ``[k, j, i]`` (slice, row, column), geometry is given in the
order ``(i, j, k)`` = (x, y, z), and physical points are millimetres in the DICOM patient frame, LPS
(x to the patient's left, y to the back, z to the head).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hepacast.core import views
from hepacast.core.tables import Table, make_table
from hepacast.errors import GeometryError, ImageError

N = TypeVar("N", int, float)

#: Two grids are the same when every voxel centre agrees within this distance (mm). It allows for the rounding of
#: headers (DICOM stores decimal strings, NIfTI float32), nothing more.
SAME_GRID_MM = 1e-2


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a 3-D grid lie in the patient.

    Parameters
    ----------
    size
        Voxels along (i, j, k).
    spacing
        Voxel size along (i, j, k), mm.
    origin
        Centre of voxel (0, 0, 0), mm, LPS.
    direction
        3 x 3 matrix; its columns are the unit vectors of the axes i, j, k in LPS.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def __post_init__(self) -> None:
        values = np.array([*self.spacing, *self.origin, *np.ravel(self.direction)], dtype=float)
        if len(self.size) != 3 or min(self.size) < 1:
            raise ImageError("An image must have three dimensions.", expected="3-D", found=f"size {self.size}")
        if not np.isfinite(values).all() or min(self.spacing) <= 0:
            raise ImageError(
                "The image's header gives no usable geometry.",
                expected="finite numbers, spacing above 0 mm",
                found=f"spacing {self.spacing}, origin {self.origin}",
                remedy="export the image again, or correct its header",
            )
        matrix = np.array(self.direction, dtype=float)
        if not np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-3):
            raise ImageError(
                "The image's axes are not at right angles.",
                found=f"direction {self.direction}",
                remedy="resample the series (gantry tilt) before use",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array, (k, j, i)."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm^3."""
        return float(np.prod(self.spacing))

    @property
    def affine_lps(self) -> npt.NDArray[np.float64]:
        """4 x 4 matrix from voxel index (i, j, k, 1) to millimetres, LPS."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(self.direction, dtype=float) * np.array(self.spacing, dtype=float)
        matrix[:3, 3] = self.origin
        return matrix

    def corner_offset_mm(self, other: Geometry) -> float:
        """The largest distance between the two grids' corresponding corner voxels, mm."""
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in self.size], indexing="ij"), dtype=float).reshape(3, -1)
        points = np.vstack([ends, np.ones(ends.shape[1])])
        difference = (self.affine_lps - other.affine_lps) @ points
        return float(np.sqrt((difference[:3] ** 2).sum(axis=0)).max())

    def is_same(self, other: Geometry) -> bool:
        """Whether two grids have the same voxels: sizes, and centres no more than `SAME_GRID_MM` apart."""
        return self.size == other.size and self.corner_offset_mm(other) <= SAME_GRID_MM

    def require_same(self, other: Geometry, *, what: str = "the mask", where: str | None = None) -> None:
        """Refuse two grids that differ, with the difference in mm.

        Raises
        ------
        GeometryError
            Size differs, or voxel centres lie more than `SAME_GRID_MM` apart.
        """
        if self.size != other.size:
            raise GeometryError(
                f"The grid of {what} is not the image's.",
                expected=f"{self.size} voxels of {_mm(self.spacing)}",
                found=f"{other.size} voxels of {_mm(other.spacing)}",
                where=where,
                remedy="draw or resample the mask on this very image; is it another patient's or another phase's?",
            )
        offset = self.corner_offset_mm(other)
        if offset > SAME_GRID_MM:
            raise GeometryError(
                f"The grid of {what} lies up to {offset:.2f} mm away from the image's.",
                expected=f"origin {_mm(self.origin)}, spacing {_mm(self.spacing)}",
                found=f"origin {_mm(other.origin)}, spacing {_mm(other.spacing)}",
                where=where,
                remedy="masks are never moved: export the mask from this image again, or correct its header",
            )


def _three(values: Sequence[Any], kind: Callable[[Any], N]) -> tuple[N, N, N]:
    return (kind(values[0]), kind(values[1]), kind(values[2]))


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ") mm"


@dataclass(frozen=True, eq=False, repr=False)
class Volume(views.Shown):
    """An image or a mask with its geometry.

    Parameters
    ----------
    array
        Shape (k, j, i). Intensities in the modality's unit (CT: HU), labels as integers, or a boolean mask.
    geometry
        The grid.
    notes
        What the reader has to tell about the file: nothing that forbids using it, all that a person should know.
    modality, frame
        What a DICOM file says of itself: its modality (``CT``, ``MR``) and the UID of its frame of reference. Empty
        where the format does not tell.
    """

    array: npt.NDArray[Any]
    geometry: Geometry
    notes: tuple[str, ...] = ()
    modality: str = ""
    frame: str = ""

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.geometry.shape:
            raise ImageError(
                "Array and geometry do not agree.",
                expected=f"array of shape (k, j, i) = {self.geometry.shape}",
                found=f"{tuple(self.array.shape)}",
            )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along (i, j, k), mm."""
        return self.geometry.spacing

    def with_array(self, array: npt.NDArray[Any]) -> Volume:
        """The same grid with other values."""
        return replace(self, array=array)

    @classmethod
    def from_sitk(cls, image: Any) -> Volume:
        """From a 3-D SimpleITK image (the array is copied)."""
        import SimpleITK as sitk

        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise ImageError(
                "An image must be three-dimensional with one value a voxel.",
                expected="3-D, one component",
                found=f"{image.GetDimension()}-D, {image.GetNumberOfComponentsPerPixel()} components",
            )
        matrix = np.array(image.GetDirection(), dtype=float).reshape(3, 3)
        geometry = Geometry(
            size=_three(image.GetSize(), int),
            spacing=_three(image.GetSpacing(), float),
            origin=_three(image.GetOrigin(), float),
            direction=tuple(_three(list(row), float) for row in matrix),
        )
        return cls(sitk.GetArrayFromImage(image), geometry)

    def to_sitk(self) -> Any:
        """As a SimpleITK image; a boolean mask becomes unsigned 8-bit."""
        import SimpleITK as sitk

        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing(self.geometry.spacing)
        image.SetOrigin(self.geometry.origin)
        image.SetDirection([value for row in self.geometry.direction for value in row])
        return image


@views.table.register
def _(record: Volume) -> Table:
    values, grid = record.array, record.geometry
    kind = "mask" if values.dtype == bool else record.modality or "image"
    rows = [
        ["Voxels (i, j, k)", " x ".join(map(str, grid.size))],
        ["Voxel size", " x ".join(f"{side:.4g}" for side in grid.spacing) + " mm"],
    ]
    if values.dtype == bool:
        rows.append(["Volume", f"{int(values.sum()) * grid.voxel_volume_mm3 / 1000:.1f} ml"])
    else:
        rows.append(["Values", f"{values.min():.6g} to {values.max():.6g} ({values.dtype})"])
    return make_table("", [kind, ""], rows, record.notes)
