"""Rigid, affine and B-spline transforms fitted by Mattes' mutual information, and what they do to a region.

Deterministic: a regular sample of voxels, one thread, no random start. Source of the metric and of the B-spline step:
Mattes D et al. PET-CT image registration in the chest using free-form deformations. IEEE Trans Med Imaging
2003;22:120-128; the implementation is SimpleITK's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hepacast.imaging.volume import Geometry, Volume

BINS = 32
#: Voxels, at most, that the metric looks at in a resolution level: of the box around the region.
_SAMPLE, _SAMPLE_BSPLINE = 40_000, 120_000
#: Steps of a B-spline level.
_STEPS_BSPLINE = 40
#: A control point moves by at most this share of the points' distance: below 0.4 nothing folds (Choi Y, Lee S.
#: Graph Models 2000;62:411-427), and a liver is not squeezed to half of its volume.
_FARTHEST = 0.2
#: Margin of that box, mm: what the smoothing of the coarsest level and a breath may reach.
_MARGIN_MM = 50.0
#: Distance of the points at which a field of displacements is looked at, mm.
_FIELD_MM = 4.0

Points = npt.NDArray[np.float64]


@contextmanager
def one_thread() -> Iterator[None]:
    """ITK's metric sums over threads in the order in which they end; with one there is one order."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


class Fit:
    """Transforms of one pair of images, each fitted from the one before; points of the reference to the moving image.

    Parameters
    ----------
    fixed, moving
        SimpleITK images, float32.
    region
        Where the metric looks, on the grid of `fixed`.
    covered
        Part of the region that the moving image holds by the headers: its middle is the center of rotation.
    iterations
        Most steps a resolution level.
    """

    def __init__(self, fixed: Any, moving: Any, region: Volume, covered: npt.NDArray[np.bool_], iterations: int):
        box = _box_mm(region)
        self._whole, self._iterations = fixed, iterations
        self._fixed, self._moving = _cut(fixed, box), _cut(moving, box)
        self._region = _cut(region.with_array(region.array.astype(np.uint8)).to_sitk(), box)
        middle = [float(value) for value in np.argwhere(covered).mean(axis=0)[::-1]]
        self._center = [float(value) for value in fixed.TransformContinuousIndexToPhysicalPoint(middle)]

    def rigid(self) -> Any:
        """Six parameters, from the position by the headers."""
        import SimpleITK as sitk

        start = sitk.Euler3DTransform()
        start.SetCenter(self._center)
        return self._linear(start, ((3, 4.0), (2, 2.0), (1, 0.0)))

    def affine(self, rigid: Any) -> Any:
        """Twelve parameters, from the rigid result."""
        import SimpleITK as sitk

        start = sitk.AffineTransform(3)
        start.SetCenter(self._center)
        start.SetMatrix(rigid.GetMatrix())
        start.SetTranslation(rigid.GetTranslation())
        return self._linear(start, ((2, 2.0), (1, 0.0)))

    def bspline(self, so_far: Any, control_mm: float, level: tuple[int, float]) -> Any:
        """A smooth deformation, by displacements of control points so many mm apart, before the transform so far.

        The points span the whole reference, so that a displacement fades away outside the region.
        """
        import SimpleITK as sitk

        made = self._control_points(control_mm)
        method = self._method((level,), _SAMPLE_BSPLINE)
        method.SetInitialTransform(made, inPlace=True)
        method.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-6,
            numberOfIterations=_STEPS_BSPLINE,
            maximumNumberOfCorrections=5,
            maximumNumberOfFunctionEvaluations=2 * _STEPS_BSPLINE,
            costFunctionConvergenceFactor=1e6,
            lowerBound=-_FARTHEST * control_mm,
            upperBound=_FARTHEST * control_mm,
        )
        # ITK does not optimize B-splines on top of others: they see the image as it was moved so far.
        low = float(sitk.GetArrayViewFromImage(self._moving).min())
        method.Execute(self._fixed, sitk.Resample(self._moving, self._fixed, so_far, sitk.sitkLinear, low))
        # What is added last is applied first.
        joined = sitk.CompositeTransform([so_far])
        joined.AddTransform(made)
        return joined

    def _control_points(self, control_mm: float) -> Any:
        """B-splines over the reference and a margin: they end where their points end, and nothing may jump there."""
        import SimpleITK as sitk

        size, spacing = np.array(self._whole.GetSize()), np.array(self._whole.GetSpacing())
        more = np.ceil(control_mm / spacing).astype(int)
        corner = [float(-value) for value in more]
        made = sitk.BSplineTransform(3, 3)
        lengths = (size + 2 * more) * spacing
        made.SetTransformDomainOrigin(self._whole.TransformContinuousIndexToPhysicalPoint(corner))
        made.SetTransformDomainDirection(self._whole.GetDirection())
        made.SetTransformDomainPhysicalDimensions(lengths.tolist())
        made.SetTransformDomainMeshSize([max(1, round(float(length) / control_mm)) for length in lengths])
        return made

    def _linear(self, start: Any, levels: Sequence[tuple[int, float]]) -> Any:
        import SimpleITK as sitk

        method = self._method(levels, _SAMPLE)
        method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, self._iterations, relaxationFactor=0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(start, inPlace=False)
        result = method.Execute(self._fixed, self._moving)
        # ITK wraps the result in a composite of one.
        if isinstance(result, sitk.CompositeTransform) or result.GetName() == "CompositeTransform":
            result = sitk.CompositeTransform(result).GetNthTransform(0)
        return type(start)(result)

    def _method(self, levels: Sequence[tuple[int, float]], sample: int) -> Any:
        """The metric at each level: a shrink factor and a smoothing in mm."""
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(BINS)
        voxels = float(np.prod(self._fixed.GetSize()))
        shares = [min(1.0, sample / (voxels / shrink**3)) for shrink, _ in levels]
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentagePerLevel(shares, seed=1)
        method.SetMetricFixedMask(self._region)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetShrinkFactorsPerLevel([shrink for shrink, _ in levels])
        method.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        return method


def _box_mm(region: Volume) -> tuple[Points, Points]:
    """Lowest and highest corner of the region's box with its margin, mm, LPS."""
    places = np.argwhere(region.array)
    ends = np.array(np.meshgrid(*zip(places.min(axis=0)[::-1], places.max(axis=0)[::-1]), indexing="ij"), dtype=float)
    points = (region.geometry.affine_lps @ np.vstack([ends.reshape(3, -1), np.ones(8)]))[:3]
    return points.min(axis=1) - _MARGIN_MM, points.max(axis=1) + _MARGIN_MM


def _cut(image: Any, box: tuple[Points, Points]) -> Any:
    """The part of an image that a box in mm touches: a whole CT is large."""
    import SimpleITK as sitk

    corners = np.array(np.meshgrid(*zip(*box), indexing="ij"), dtype=float).reshape(3, -1).T
    places = np.array([image.TransformPhysicalPointToContinuousIndex(corner.tolist()) for corner in corners])
    size = np.array(image.GetSize())
    low = np.clip(np.floor(places.min(axis=0)), 0, size - 1).astype(int)
    high = np.clip(np.ceil(places.max(axis=0)) + 1, low + 1, size).astype(int)
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def matrix_of(linear: Any) -> Points:
    """A linear transform as a 4 x 4 matrix, mm, LPS."""
    part = np.array(linear.GetMatrix(), dtype=float).reshape(3, 3)
    center, shift = np.array(linear.GetCenter()), np.array(linear.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = part
    matrix[:3, 3] = shift + center - part @ center
    return matrix


def displacements(transform: Any, region: Volume) -> tuple[Points, Points]:
    """What a transform does in a region, looked at every few mm.

    Returns
    -------
    shifts
        mm, LPS, (n, 3) for n points of the region.
    jacobian
        Determinant of the transform's derivative there, (n,): the local change of volume; 0 or less where it folds.
    """
    import SimpleITK as sitk

    from hepacast.imaging.morphology import bounding_box
    from hepacast.imaging.resample import resample_mask

    box = bounding_box(region.array)
    assert box is not None
    spacing = np.maximum(np.array(region.spacing), _FIELD_MM)
    lengths = np.array([part.stop - part.start for part in box[::-1]]) * np.array(region.spacing)
    # One point more on each side, for derivatives at the region's rim.
    size = np.ceil(lengths / spacing).astype(int) + 3
    corner = [float(part.start) for part in box[::-1]]
    direction = np.array(region.geometry.direction)
    origin = (region.geometry.affine_lps @ [*corner, 1.0])[:3] - direction @ spacing
    grid = Geometry(
        (int(size[0]), int(size[1]), int(size[2])),
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        region.geometry.direction,
    )
    inside = resample_mask(region.with_array(region.array.astype(np.uint8)), reference=grid).array > 0
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, list(grid.size), grid.origin, grid.spacing, direction.ravel().tolist()
    )
    shifts = sitk.GetArrayFromImage(field).astype(float)
    # Derivatives along the grid's axes, in mm, of the displacement turned into those axes: the same determinant.
    turned = shifts @ direction
    derivative = np.stack(
        [np.stack(np.gradient(turned[..., axis], *grid.spacing[::-1]), axis=-1)[..., ::-1] for axis in range(3)],
        axis=-2,
    )
    jacobian = np.linalg.det(derivative + np.eye(3))
    if not inside.any():
        inside = np.ones_like(inside)
    return shifts[inside], jacobian[inside]
