"""N4 correction of the smooth bias field that a receiver coil lays over an MR image.

Source: Tustison NJ et al. N4ITK: improved N3 bias correction. IEEE Trans Med Imaging 2010;29:1310-1320; the
implementation is SimpleITK's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepacast.errors import ImageError
from hepacast.imaging.morphology import fill, largest
from hepacast.imaging.volume import Volume

#: Voxels (in all) below which N4 has nothing to fit its splines to.
_FEWEST_VOXELS = 500


@dataclass(frozen=True, eq=False)
class BiasCorrection:
    """A corrected image.

    Parameters
    ----------
    image
        Corrected, float32; 0 stays 0.
    field
        The multiplicative field, float32, mean 1 in the mask: original = corrected x field.
    spread
        Standard deviation of the field's logarithm in the mask: 0 where there was nothing to correct.
    """

    image: Volume
    field: Volume
    spread: float


def body_mask(image: Volume) -> Volume:
    """The patient in an MR image: Otsu's threshold, the largest part, holes filled.

    Raises
    ------
    ImageError
        The image has one value only.
    """
    import SimpleITK as sitk

    array = _finite(image)
    if array.max() == array.min():
        raise ImageError("The image has the same value everywhere.", found=f"{float(array.flat[0]):g}")
    # The threshold is half of Otsu's: dark tissue (muscle, fluid) belongs to the body, air lies far below.
    source = image.with_array(array).to_sitk()
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfThreads(1)
    otsu.Execute(source)
    low = float(np.percentile(array, 1))
    level = low + 0.5 * (otsu.GetThreshold() - low)
    return fill(largest(image.with_array(array > level)))


def correct_bias(
    image: Volume,
    mask: Volume | None = None,
    *,
    shrink_mm: float = 6.0,
    iterations: tuple[int, ...] = (40, 40, 30),
    width: float = 0.15,
) -> BiasCorrection:
    """Estimate the bias field on a coarse copy and divide it out of the image.

    Parameters
    ----------
    image
        MR intensities, not negative.
    mask
        Where tissue is; `body_mask` when not given.
    shrink_mm
        Voxel size of the coarse copy, mm (never finer than the image).
    iterations
        Most iterations a resolution level; each level doubles the splines' resolution.
    width
        Full width at half maximum of the assumed field's histogram.

    Raises
    ------
    ImageError
        Negative intensities, or too few voxels of tissue.
    """
    import SimpleITK as sitk

    array = _finite(image)
    _require_magnitudes(array)
    inside = _tissue(image, mask) & (array > 0)
    if int(inside.sum()) < _FEWEST_VOXELS:
        raise ImageError(
            "There is too little tissue to estimate a bias field from.",
            expected=f"{_FEWEST_VOXELS} voxels or more above 0",
            found=f"{int(inside.sum())}",
        )
    full = image.with_array(array).to_sitk()
    factors = [
        max(1, min(round(shrink_mm / step), size // 8)) for step, size in zip(image.spacing, image.geometry.size)
    ]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.SetBiasFieldFullWidthAtHalfMaximum(width)
    n4.SetMaskLabel(1)
    n4.SetUseMaskLabel(True)
    small_mask = sitk.Shrink(image.with_array(inside).to_sitk(), factors)
    n4.Execute(sitk.Cast(sitk.Shrink(full, factors), sitk.sitkFloat32), small_mask)
    log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)).astype(np.float64)
    # The field is known up to a factor: its mean is 1, so that intensities keep their scale.
    log_field -= np.log(np.exp(log_field[inside]).mean())
    field = np.exp(log_field)
    return BiasCorrection(
        image.with_array((array / field).astype(np.float32)),
        image.with_array(field.astype(np.float32)),
        float(log_field[inside].std()),
    )


def _require_magnitudes(array: np.ndarray) -> None:
    if array.min() < 0:
        raise ImageError(
            "N4 needs magnitude images.",
            expected="intensities of 0 or more",
            found=f"{float(array.min()):g}",
            remedy="take the scanner's own intensities, before any normalization",
        )


def _tissue(image: Volume, mask: Volume | None) -> np.ndarray:
    tissue = mask if mask is not None else body_mask(image)
    image.geometry.require_same(tissue.geometry, what="the mask of the tissue")
    return tissue.array.astype(bool)


def _finite(image: Volume) -> npt.NDArray[np.float32]:
    array = np.asarray(image.array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ImageError(
            "Some voxels hold no number.",
            expected="finite intensities",
            found=f"{int((~np.isfinite(array)).sum())} voxels without",
            remedy="export the image again",
        )
    return array
