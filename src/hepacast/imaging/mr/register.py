"""Rigid or affine registration of one phase to another by Mattes' mutual information.

Deterministic: a regular sample of voxels, one thread, no random start. Source of the metric: Mattes D et al. PET-CT
image registration in the chest using free-form deformations. IEEE Trans Med Imaging 2003;22:120-128; the
implementation is SimpleITK's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging.volume import Volume

Kind = Literal["rigid", "affine"]
_BINS = 32
#: Voxels of the reference, at most, that the metric looks at in a resolution level.
_SAMPLE = 40_000


@dataclass(frozen=True, eq=False)
class Registration:
    """A moving image on the reference's grid, and how well it lies there.

    Parameters
    ----------
    image
        The moving image after registration, on the reference's grid, float32.
    before
        The same without registration (by the headers alone).
    kind
        ``rigid`` or ``affine``.
    status
        ``ok``; or ``kept`` where the registration did not raise the mutual information, so that the headers' own
        position was kept.
    matrix
        4 x 4, from reference to moving points, mm, LPS.
    mutual_information_before, mutual_information_after
        Normalized mutual information in the region, 1 (independent) to 2 (the one image tells the other).
    displacement_mm
        Largest distance that a corner of the region was moved by, mm.
    """

    image: Volume
    before: Volume
    kind: str
    status: str
    matrix: npt.NDArray[np.float64]
    mutual_information_before: float
    mutual_information_after: float
    displacement_mm: float

    def to_json(self) -> dict[str, Any]:
        """The numbers, without the images."""
        return {
            "kind": self.kind,
            "status": self.status,
            "matrix": self.matrix.tolist(),
            "mutual_information_before": self.mutual_information_before,
            "mutual_information_after": self.mutual_information_after,
            "displacement_mm": self.displacement_mm,
        }


def mutual_information(
    first: npt.NDArray[Any], second: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None = None
) -> float:
    """Normalized mutual information (H(a) + H(b)) / H(a, b) of two images on one grid, from 32 x 32 bins.

    Source: Studholme C et al. Pattern Recognit 1999;32:71-86. Bins span the 0.5th to 99.5th percentile.
    """
    inside = np.ones(first.shape, dtype=bool) if mask is None else mask
    codes = []
    for array in (first, second):
        values = np.asarray(array, dtype=float)[inside]
        low, high = np.percentile(values, (0.5, 99.5))
        scaled = (values - low) / max(high - low, 1e-12) * _BINS
        codes.append(np.clip(scaled, 0, _BINS - 1).astype(np.int64))
    joint = np.bincount(codes[0] * _BINS + codes[1], minlength=_BINS * _BINS).reshape(_BINS, _BINS) / len(codes[0])

    def entropy(p: npt.NDArray[np.float64]) -> float:
        used = p[p > 0]
        return float(-(used * np.log(used)).sum())

    together = entropy(joint.ravel())
    return 2.0 if together <= 0 else (entropy(joint.sum(axis=1)) + entropy(joint.sum(axis=0))) / together


def register(
    moving: Volume,
    reference: Volume,
    *,
    kind: Kind = "rigid",
    mask: Volume | None = None,
    iterations: int = 80,
) -> Registration:
    """Bring a phase onto the reference phase.

    Parameters
    ----------
    moving, reference
        Two images of one patient that overlap by their headers.
    kind
        ``rigid`` (6 parameters) or ``affine`` (12, started from the rigid result).
    mask
        Where the metric looks, on the reference's grid (the body, the liver); everywhere when not given.
    iterations
        Most steps a resolution level.

    Raises
    ------
    ImageError
        The images do not overlap by their headers, or the kind is unknown.
    GeometryError
        The mask is on another grid than the reference.
    """
    import SimpleITK as sitk

    if kind not in ("rigid", "affine"):
        raise ImageError("This kind of registration is not known.", expected="rigid, affine", found=str(kind))
    inside = _region(reference, mask)
    fixed = reference.with_array(np.asarray(reference.array, dtype=np.float32)).to_sitk()
    source = moving.with_array(np.asarray(moving.array, dtype=np.float32)).to_sitk()
    before = _resampled(source, fixed, sitk.Transform(3, sitk.sitkIdentity), reference)
    covered = _covered(moving, reference) & inside
    _require_overlap(covered, inside)
    try:
        with _one_thread():
            transform = _optimize(fixed, source, kind, reference.with_array(inside).to_sitk(), iterations, covered)
    except RuntimeError as error:
        raise ImageError(
            "The registration failed.", found=str(error).strip().splitlines()[-1], remedy="look at both images"
        ) from error
    after = _resampled(source, fixed, transform, reference)
    nmi_before = mutual_information(before.array, reference.array, inside)
    nmi_after = mutual_information(after.array, reference.array, inside)
    better = nmi_after >= nmi_before
    matrix = _matrix(transform) if better else np.eye(4)
    return Registration(
        image=after if better else before,
        before=before,
        kind=kind,
        status="ok" if better else "kept",
        matrix=matrix,
        mutual_information_before=nmi_before,
        mutual_information_after=max(nmi_before, nmi_after),
        displacement_mm=_displacement(matrix, reference, inside),
    )


def _require_overlap(covered: np.ndarray, inside: np.ndarray) -> None:
    if covered.sum() < 0.2 * inside.sum():
        raise ImageError(
            "The two phases hardly overlap by their headers.",
            expected="phases of one examination, in one frame of reference",
            found=f"{100 * covered.sum() / max(1, inside.sum()):.0f}% of the region covered",
            remedy="check that the files belong to the same patient and day",
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """ITK's metric sums over threads in the order in which they end; with one there is one order."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _region(reference: Volume, mask: Volume | None) -> npt.NDArray[np.bool_]:
    if mask is None:
        return np.ones(reference.geometry.shape, dtype=bool)
    reference.geometry.require_same(mask.geometry, what="the mask of the region")
    inside = mask.array.astype(bool)
    if not inside.any():
        raise GeometryError("The region of the registration is empty.", expected="a mask with voxels in it")
    return inside


def _covered(moving: Volume, reference: Volume) -> npt.NDArray[np.bool_]:
    from hepacast.imaging.resample import resample_mask

    whole = moving.with_array(np.ones(moving.geometry.shape, dtype=np.uint8))
    return np.asarray(resample_mask(whole, reference=reference).array > 0)


def _optimize(fixed: Any, source: Any, kind: str, region: Any, iterations: int, covered: npt.NDArray[np.bool_]) -> Any:
    import SimpleITK as sitk

    center = _center(fixed, covered)
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(center)
    transform = _run(fixed, source, rigid, region, iterations, levels=((3, 4.0), (2, 2.0), (1, 0.0)))
    if kind == "rigid":
        return transform
    affine = sitk.AffineTransform(3)
    affine.SetCenter(center)
    affine.SetMatrix(transform.GetMatrix())
    affine.SetTranslation(transform.GetTranslation())
    return _run(fixed, source, affine, region, iterations, levels=((2, 2.0), (1, 0.0)))


def _center(fixed: Any, covered: npt.NDArray[np.bool_]) -> list[float]:
    middle = np.argwhere(covered).mean(axis=0)[::-1]
    return [float(value) for value in fixed.TransformContinuousIndexToPhysicalPoint([float(v) for v in middle])]


def _run(
    fixed: Any, source: Any, start: Any, region: Any, iterations: int, levels: tuple[tuple[int, float], ...]
) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    voxels = float(np.prod(fixed.GetSize()))
    shares = [min(1.0, _SAMPLE / (voxels / shrink**3)) for shrink, _ in levels]
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentagePerLevel(shares, seed=1)
    method.SetMetricFixedMask(region)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, iterations, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    # Slices are thick: shrinking in the plane only, as far as there are voxels to spare.
    method.SetShrinkFactorsPerLevel([shrink for shrink, _ in levels])
    method.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    result = method.Execute(fixed, source)
    # ITK wraps the result in a composite of one.
    if isinstance(result, sitk.CompositeTransform) or result.GetName() == "CompositeTransform":
        result = sitk.CompositeTransform(result).GetNthTransform(0)
    return type(start)(result)


def _resampled(source: Any, fixed: Any, transform: Any, reference: Volume) -> Volume:
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(sitk.Resample(source, fixed, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32))
    return Volume(array, reference.geometry)


def _matrix(transform: Any) -> npt.NDArray[np.float64]:
    linear = np.array(transform.GetMatrix(), dtype=float).reshape(3, 3)
    center, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = shift + center - linear @ center
    return matrix


def _displacement(matrix: npt.NDArray[np.float64], reference: Volume, inside: npt.NDArray[np.bool_]) -> float:
    places = np.argwhere(inside)
    low, high = places.min(axis=0)[::-1], places.max(axis=0)[::-1]
    corners = np.array(np.meshgrid(*zip(low, high), indexing="ij"), dtype=float).reshape(3, -1)
    points = reference.geometry.affine_lps @ np.vstack([corners, np.ones(corners.shape[1])])
    moved = matrix @ points
    return float(np.sqrt(((moved - points)[:3] ** 2).sum(axis=0)).max())
