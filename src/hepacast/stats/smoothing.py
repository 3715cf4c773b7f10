"""R's `lowess` and `loess`, to the last digits: what calibration curves are drawn with.

statsmodels' and other smoothers differ from R's in window, ties and interpolation, by more than a calibration index
may; these follow Cleveland's algorithms step by step.

References
----------
Cleveland WS. Robust locally weighted regression. JASA 1979;74:829-36 (lowess).
Cleveland WS, Grosse E. Computational methods for local regression. Stat Comput 1991;1:47-62 (loess).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hepacast.errors import ModelError
from hepacast.stats.design import Array


def _sorted_pair(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    if a.size != b.size or a.size == 0 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ModelError("A smoother needs pairs of finite numbers.", found=f"{a.size} and {b.size} values")
    order = np.argsort(a, kind="stable")
    return a[order], b[order]


def lowess(
    x: ArrayLike, y: ArrayLike, *, f: float = 2 / 3, iterations: int = 0, delta: float | None = None
) -> tuple[Array, Array]:
    """Locally weighted linear regression, as R's `lowess(x, y, f, iter, delta)`.

    Parameters
    ----------
    f
        Share of the points in each window.
    iterations
        Robustifying steps; 0 for a binary outcome (R's own default is 3).
    delta
        Points closer than this to the last fitted one are interpolated; 1 % of the range by default, as in R.

    Returns
    -------
    x, fitted
        x in rising order and the smooth there, both shape (n,).
    """
    xs, ys = _sorted_pair(x, y)
    n = xs.size
    if n == 1:
        return xs, ys.copy()
    window = max(2, min(n, int(f * n + 1e-7)))
    skip = 0.01 * (xs[-1] - xs[0]) if delta is None else float(delta)
    robust = np.ones(n)
    fitted = _lowess_pass(xs, ys, window, skip, None)
    for _ in range(iterations):
        residual = np.abs(ys - fitted)
        ordered = np.sort(residual)
        middle = n // 2
        scale = 6.0 * ordered[middle] if n % 2 else 3.0 * (ordered[middle] + ordered[n - middle - 1])
        if scale < 1e-7 * residual.mean():
            break
        ratio = residual / scale
        robust = np.where(ratio <= 0.001, 1.0, np.where(ratio <= 0.999, (1.0 - ratio**2) ** 2, 0.0))
        fitted = _lowess_pass(xs, ys, window, skip, robust)
    return xs, fitted


def _lowess_pass(x: Array, y: Array, window: int, skip: float, robust: Array | None) -> Array:
    n = x.size
    fitted = np.empty(n)
    spread = x[-1] - x[0]
    left, right = 0, window - 1
    last, i = -1, 0
    while True:
        while right < n - 1 and x[i] - x[left] > x[right + 1] - x[i]:
            left += 1
            right += 1
        fitted[i] = _local_line(x, y, i, left, right, spread, robust)
        if last < i - 1:  # between two fitted points: a straight line
            share = (x[last + 1 : i] - x[last]) / (x[i] - x[last])
            fitted[last + 1 : i] = share * fitted[i] + (1.0 - share) * fitted[last]
        last = i
        limit = x[last] + skip
        i = last + 1
        while i < n and x[i] <= limit:
            if x[i] == x[last]:  # ties share a fit
                fitted[i] = fitted[last]
                last = i
            i += 1
        i = max(last + 1, i - 1)
        if last >= n - 1:
            return fitted


def _local_line(x: Array, y: Array, i: int, left: int, right: int, spread: float, robust: Array | None) -> float:
    at = x[i]
    h = max(at - x[left], x[right] - at)
    # Ties with the last point of the window are in it too.
    end = max(right + 1, int(np.searchsorted(x, at + 0.999 * h, side="right")))
    distance = np.abs(x[left:end] - at)
    inside = distance <= 0.999 * h
    weight = np.where(inside, 1.0, 0.0)
    curved = inside & (distance > 0.001 * h)
    weight[curved] = (1.0 - (distance[curved] / h) ** 3) ** 3
    if robust is not None:
        weight = weight * robust[left:end]
    total = weight.sum()
    if total <= 0.0:
        return float(y[i])
    weight = weight / total
    if h > 0.0:
        center = weight @ x[left:end]
        around = x[left:end] - center
        square = weight @ around**2
        if np.sqrt(square) > 0.001 * spread:
            weight = weight * ((at - center) / square * around + 1.0)
    return float(weight @ y[left:end])


def interpolate(x: Array, y: Array, at: ArrayLike, *, ties: str = "mean") -> Array:
    """R's `approx(x, y, xout = at, ties = ...)`: straight lines, NaN outside the range of x.

    `ties` is "mean" (R's default) or "first" for points with equal x.
    """
    distinct, first, inverse = np.unique(x, return_index=True, return_inverse=True)
    if ties == "mean":
        values = np.bincount(inverse.ravel(), weights=y) / np.bincount(inverse.ravel())
    else:
        values = np.asarray(y)[first]
    wanted = np.asarray(at, dtype=float)
    if distinct.size == 1:  # R refuses a single point; nothing can be interpolated
        return np.where(wanted == distinct[0], values[0], np.nan)
    return np.interp(wanted, distinct, values, left=np.nan, right=np.nan)


def loess_matrix(x: ArrayLike, at: ArrayLike, *, span: float = 0.75, degree: int = 2) -> tuple[Array, Array]:
    """The linear maps from y to the loess fit, and to its slope, at given places (surface "direct").

    Returns
    -------
    fit, slope
        Shape (m, n): `fit @ y` is the smooth at `at`, `slope @ y` its derivative.
    """
    points = np.asarray(x, dtype=float).ravel()
    places = np.atleast_1d(np.asarray(at, dtype=float)).ravel()
    n = points.size
    q = min(n, int(np.floor(n * span + 1e-5)))
    if q < degree + 1:
        raise ModelError("Too few points for this smoother.", expected=f"{int((degree + 1) / span) + 1}", found=f"{n}")
    fit, slope = np.zeros((places.size, n)), np.zeros((places.size, n))
    for row, place in enumerate(places):
        distance = np.abs(points - place)
        h = np.partition(distance, q - 1)[q - 1] * max(1.0, span)
        if h <= 0.0:  # more than q patients with exactly this value: their mean, no slope
            same = distance == 0.0
            fit[row, same] = 1.0 / same.sum()
            continue
        inside = np.flatnonzero(distance < h)
        ratio = distance[inside] / h
        weight = np.sqrt((1.0 - ratio**3) ** 3)
        design = np.vander((points[inside] - place) / h, degree + 1, increasing=True) * weight[:, None]
        inverse = np.linalg.pinv(design, rcond=100 * np.finfo(float).eps) * weight
        fit[row, inside] = inverse[0]
        if degree > 0:
            slope[row, inside] = inverse[1] / h
    return fit, slope


def loess(
    x: ArrayLike,
    y: ArrayLike,
    *,
    at: ArrayLike | None = None,
    span: float = 0.75,
    degree: int = 2,
    surface: str = "interpolate",
    cell: float = 0.2,
) -> Array:
    """Local regression in one predictor, as R's `predict(loess(y ~ x))`.

    Parameters
    ----------
    at
        Where to evaluate; the x themselves by default. Places outside the range of x are NaN.
    span, degree
        Share of the points in each window; 1 or 2.
    surface
        `interpolate` (R's default: exact at the vertices of a k-d tree, cubic blending between) or `direct`.
    """
    points, values = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    _sorted_pair(points, values)
    places = points if at is None else np.atleast_1d(np.asarray(at, dtype=float)).ravel()
    known = (places >= points.min()) & (places <= points.max())
    result = np.full(places.size, np.nan)
    if surface == "direct" or np.ptp(points) == 0.0:
        result[known] = loess_matrix(points, places[known], span=span, degree=degree)[0] @ values
    elif surface == "interpolate":
        from scipy.interpolate import CubicHermiteSpline

        vertices = _vertices(points, int(np.floor(points.size * span * cell)))
        fit, slope = loess_matrix(points, vertices, span=span, degree=degree)
        result[known] = CubicHermiteSpline(vertices, fit @ values, slope @ values)(places[known])
    else:
        raise ModelError("Unknown surface.", expected="interpolate or direct", found=surface)
    return result


def _vertices(x: Array, cell_size: int) -> Array:
    """The cuts of loess' k-d tree and the ends of its box, 0.5 % beyond the data."""
    ordered = np.sort(x)
    low, high = ordered[0], ordered[-1]
    width = max(high - low, max(abs(low), abs(high)) * 1e-10 + 1e-30)
    margin = 0.005 * width
    cuts = [low - margin, high + margin]

    def split(first: int, last: int, left: float, right: float) -> None:
        if last - first + 1 <= cell_size:
            return
        middle = _untied((first + last) // 2, first, last)
        cut = float(ordered[middle])
        if cut in (left, right):
            return
        cuts.append(cut)
        split(first, middle, left, cut)
        split(middle + 1, last, cut, right)

    def _untied(middle: int, first: int, last: int) -> int:
        # The cut may not divide ties: look to alternate sides of the median for two different neighbors.
        offset = 0
        while first <= middle + offset < last:
            if ordered[middle + offset] != ordered[middle + offset + 1]:
                return middle + offset
            offset = -offset
            if offset >= 0:
                offset += 1
        return middle

    split(0, ordered.size - 1, cuts[0], cuts[1])
    return np.unique(np.array(cuts))
