"""Registration of one phase or sequence to another: rigid, affine, or B-splines on top; a step that fails is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hepacast.errors import GeometryError, ImageError
from hepacast.imaging.preprocessing.transform import BINS, Fit, displacements, matrix_of, one_thread
from hepacast.imaging.volume import Volume

Kind = Literal["rigid", "affine", "bspline"]
#: Steps of each kind, in their order: each starts where the one before has ended.
_STEPS: dict[str, tuple[str, ...]] = {
    "rigid": ("rigid",),
    "affine": ("rigid", "affine"),
    "bspline": ("rigid", "coarse bspline", "bspline"),
}
#: Resolution of a B-spline step (a shrink factor, a smoothing in mm), and how much wider its control points lie.
_BSPLINES: dict[str, tuple[tuple[int, float], float]] = {"coarse bspline": ((3, 4.0), 2.0), "bspline": ((2, 2.0), 1.0)}
#: A displacement above this (mm) is more than a breath, a local change of volume outside these more than a liver does.
_FAR_MM, _VOLUME_CHANGE = 40.0, (0.4, 2.5)
#: Who moves by so many mm should be more alike: by this much, and by this share of what lies above unrelated images' 1.
_FAR_FOR_LITTLE_MM, _LITTLE, _LITTLE_SHARE = 10.0, 0.002, 0.05
#: Share of the region that the moving image should hold.
_COVERED = 0.95


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
        What was asked for: ``rigid``, ``affine`` or ``bspline``.
    used
        The last step that raised the similarity; ``none`` where none did, so that the headers' own position was kept.
    matrix
        4 x 4, from reference to moving points, mm, LPS: the linear part.
    mutual_information_before, mutual_information_after
        Normalized mutual information in the region, 1 (independent) to 2 (the one image tells the other).
    shift_mm, displacement_mm
        Mean and largest distance that a point of the region was moved by, mm.
    jacobian
        Smallest and largest local change of volume in the region (1: none).
    covered
        Share of the region that the moving image holds after the registration.
    doubts
        Why a person should look at it; empty where nothing speaks against it.
    transform
        SimpleITK's transform of reference points to moving points.
    """

    image: Volume
    before: Volume
    kind: str
    used: str
    matrix: npt.NDArray[np.float64]
    mutual_information_before: float
    mutual_information_after: float
    shift_mm: float
    displacement_mm: float
    jacobian: tuple[float, float]
    covered: float
    doubts: tuple[str, ...]
    transform: Any

    @property
    def status(self) -> str:
        """``ok``; ``kept`` where the position by the headers was kept; ``doubtful`` where a person should look."""
        if self.used == "none":
            return "kept"
        return "doubtful" if self.doubts else "ok"

    def moved(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Where points of the reference (mm, LPS), shape (n, 3), lie in the moving image."""
        return np.array([self.transform.TransformPoint([float(v) for v in point]) for point in np.asarray(points)])

    def resampled_mask(self, mask: Volume, reference: Volume) -> Volume:
        """A mask of the moving image on the reference's grid."""
        import SimpleITK as sitk

        source = mask.with_array(mask.array.astype(np.uint8)).to_sitk()
        target = reference.with_array(np.zeros(reference.geometry.shape, dtype=np.uint8)).to_sitk()
        found = sitk.Resample(source, target, self.transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        return Volume(sitk.GetArrayFromImage(found) > 0, reference.geometry)

    def to_json(self) -> dict[str, Any]:
        """The numbers, without the images."""
        return {
            "kind": self.kind,
            "used": self.used,
            "status": self.status,
            "matrix": self.matrix.tolist(),
            "mutual_information_before": self.mutual_information_before,
            "mutual_information_after": self.mutual_information_after,
            "shift_mm": self.shift_mm,
            "displacement_mm": self.displacement_mm,
            "jacobian": list(self.jacobian),
            "covered": self.covered,
            "doubts": list(self.doubts),
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
        scaled = (values - low) / max(high - low, 1e-12) * BINS
        codes.append(np.clip(scaled, 0, BINS - 1).astype(np.int64))
    joint = np.bincount(codes[0] * BINS + codes[1], minlength=BINS * BINS).reshape(BINS, BINS) / len(codes[0])

    def entropy(p: npt.NDArray[np.float64]) -> float:
        used = p[p > 0]
        return float(-(used * np.log(used)).sum())

    together = entropy(joint.ravel())
    return 2.0 if together <= 0 else (entropy(joint.sum(axis=1)) + entropy(joint.sum(axis=0))) / together


@dataclass(frozen=True, eq=False)
class _Position:
    """Where the moving image lies after a step, and how similar it is to the reference there."""

    step: str
    transform: Any
    image: Volume
    similarity: float


def register(
    moving: Volume,
    reference: Volume,
    *,
    kind: Kind = "rigid",
    mask: Volume | None = None,
    control_mm: float = 50.0,
    fill: float = 0.0,
    iterations: int = 80,
) -> Registration:
    """Bring a phase or sequence onto the reference.

    Parameters
    ----------
    moving, reference
        Two images of one patient that overlap by their headers.
    kind
        ``rigid`` (6 parameters), ``affine`` (12, started from the rigid result) or ``bspline`` (a smooth deformation
        on top of the affine result). A step that does not raise the similarity, or that folds, is not taken.
    mask
        Where the metric looks, on the reference's grid (the body, the liver with a margin); everywhere when not given.
    control_mm
        Distance of the control points of ``bspline``, mm.
    fill
        Intensity outside the moving image.
    iterations
        Most steps a resolution level.

    Raises
    ------
    ImageError
        The images do not overlap by their headers, the kind is unknown, or the first step fails.
    GeometryError
        The mask is on another grid than the reference.
    """
    import SimpleITK as sitk

    if kind not in get_args(Kind):
        raise ImageError("This kind of registration is not known.", expected=", ".join(_STEPS), found=str(kind))
    region = reference.with_array(_region(reference, mask))
    fixed = reference.with_array(np.asarray(reference.array, dtype=np.float32)).to_sitk()
    source = moving.with_array(np.asarray(moving.array, dtype=np.float32)).to_sitk()
    covered = _covered(moving, reference, sitk.Transform(3, sitk.sitkIdentity)) & region.array
    _require_overlap(covered, region.array)

    def position(step: str, transform: Any) -> _Position:
        array = sitk.Resample(source, fixed, transform, sitk.sitkLinear, fill, sitk.sitkFloat32)
        image = Volume(sitk.GetArrayFromImage(array), reference.geometry)
        return _Position(step, transform, image, mutual_information(image.array, reference.array, covered))

    headers = position("none", sitk.Transform(3, sitk.sitkIdentity))
    with one_thread():
        best, linear, doubts = _steps(Fit(fixed, source, region, covered, iterations), headers, kind, control_mm,
                                      position, region)  # fmt: skip
        shifts, jacobian = displacements(best.transform, region)
    held = float((_covered(moving, reference, best.transform) & region.array).sum() / region.array.sum())
    return _judged(kind, headers, best, linear, doubts, shifts, jacobian, held)


def _judged(
    kind: str,
    headers: _Position,
    best: _Position,
    linear: Any,
    doubts: list[str],
    shifts: npt.NDArray[np.float64],
    jacobian: npt.NDArray[np.float64],
    held: float,
) -> Registration:
    """The position that was taken, in numbers, with its doubts."""
    lengths = np.linalg.norm(shifts, axis=1)
    spread = (float(jacobian.min()), float(jacobian.max()))
    return Registration(
        image=best.image,
        before=headers.image,
        kind=kind,
        used=best.step,
        matrix=np.eye(4) if linear is None else matrix_of(linear),
        mutual_information_before=headers.similarity,
        mutual_information_after=best.similarity,
        shift_mm=float(lengths.mean()),
        displacement_mm=float(lengths.max()),
        jacobian=spread,
        covered=held,
        doubts=(*doubts, *_doubts(float(lengths.max()), spread, held, (headers.similarity, best.similarity))),
        transform=best.transform,
    )


def _steps(
    fit: Fit, headers: _Position, kind: str, control_mm: float, position: Any, region: Volume
) -> tuple[_Position, Any, list[str]]:
    """The best position, its linear transform (None: by the headers), and why steps were not taken.

    Raises
    ------
    ImageError
        The first step fails.
    """
    best, linear, doubts = headers, None, list[str]()
    start: Any = None
    for step in _STEPS[kind]:
        try:
            if step in _BSPLINES:
                level, wider = _BSPLINES[step]
                made = fit.bspline(best.transform, wider * control_mm, level)
            else:
                made = start = fit.rigid() if step == "rigid" else fit.affine(start)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            if start is None:
                raise ImageError("The registration failed.", found=reason, remedy="look at both images") from error
            doubts.append(f"the {step} step failed ({reason})")
            continue
        tried = position(step, made)
        lowest = float(displacements(made, region)[1].min())
        if lowest <= 0:
            doubts.append(f"the {step} step folds the region (Jacobian {lowest:.2f}) and was not taken")
        elif tried.similarity >= best.similarity:
            best, linear = tried, linear if step in _BSPLINES else made
    if best is headers:
        doubts.append("not better than the position by the headers, which was kept")
    return best, linear, doubts


def _doubts(
    farthest: float, jacobian: tuple[float, float], covered: float, similarity: tuple[float, float]
) -> list[str]:
    """What makes an accepted registration doubtful; similarity by the headers and after."""
    found = []
    before, after = similarity
    if farthest > _FAR_FOR_LITTLE_MM and after - before < max(_LITTLE, _LITTLE_SHARE * (before - 1.0)):
        found.append(
            f"moved by up to {farthest:.0f} mm, though the similarity hardly rose ({before:.4f} to {after:.4f})"
        )
    if farthest > _FAR_MM:
        found.append(f"moved by up to {farthest:.0f} mm, more than a breath")
    if jacobian[0] < _VOLUME_CHANGE[0] or jacobian[1] > _VOLUME_CHANGE[1]:
        found.append(f"volumes change locally by a factor of {jacobian[0]:.2f} to {jacobian[1]:.2f}")
    if covered < _COVERED:
        found.append(f"{100 * (1 - covered):.0f}% of the region lies outside the image")
    return found


def _require_overlap(covered: np.ndarray, inside: np.ndarray) -> None:
    if covered.sum() < 0.2 * inside.sum():
        raise ImageError(
            "The two phases hardly overlap by their headers.",
            expected="phases of one examination, in one frame of reference",
            found=f"{100 * covered.sum() / max(1, inside.sum()):.0f}% of the region covered",
            remedy="check that the files belong to the same patient and day",
        )


def _region(reference: Volume, mask: Volume | None) -> npt.NDArray[np.bool_]:
    if mask is None:
        return np.ones(reference.geometry.shape, dtype=bool)
    reference.geometry.require_same(mask.geometry, what="the mask of the region")
    inside = mask.array.astype(bool)
    if not inside.any():
        raise GeometryError("The region of the registration is empty.", expected="a mask with voxels in it")
    return inside


def _covered(moving: Volume, reference: Volume, transform: Any) -> npt.NDArray[np.bool_]:
    """Voxels of the reference whose points lie inside the moving image."""
    import SimpleITK as sitk

    whole = moving.with_array(np.ones(moving.geometry.shape, dtype=np.uint8)).to_sitk()
    target = reference.with_array(np.zeros(reference.geometry.shape, dtype=np.uint8)).to_sitk()
    held = sitk.Resample(whole, target, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    return np.asarray(sitk.GetArrayFromImage(held) > 0)
