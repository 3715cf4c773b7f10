"""Restricted cubic splines (natural splines), in Harrell's parametrisation, as ``rms::rcs``.

Source: Harrell FE. Regression Modeling Strategies, 2nd ed. Springer 2015, section 2.4.5 and table 2.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Quantiles of the knots for 3 to 7 knots (Harrell, table 2.3).
KNOT_QUANTILES: dict[int, tuple[float, ...]] = {
    3: (0.10, 0.50, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.50, 0.725, 0.95),
    6: (0.05, 0.23, 0.41, 0.59, 0.77, 0.95),
    7: (0.025, 0.1833, 0.3417, 0.50, 0.6583, 0.8167, 0.975),
}


def default_knots(x: npt.ArrayLike, n_knots: int) -> Array:
    """Knots at Harrell's quantiles of the finite values of `x`; with fewer than 100 values the outer ones are the
    fifth smallest and fifth largest value, as in ``Hmisc::rcspline.eval``.

    Raises
    ------
    ValueError
        `n_knots` is not 3 to 7, or the values have too few distinct quantiles.
    """
    if n_knots not in KNOT_QUANTILES:
        raise ValueError(f"a restricted cubic spline needs 3 to 7 knots, not {n_knots}")
    values = np.asarray(x, dtype=float)
    values = np.sort(values[np.isfinite(values)])
    knots = np.quantile(values, KNOT_QUANTILES[n_knots])
    if len(values) < 100 and len(values) >= 10:
        knots[0], knots[-1] = values[4], values[-5]
    if len(np.unique(knots)) < n_knots:
        raise ValueError(f"the variable has too few distinct values for {n_knots} knots")
    return knots


def rcs_basis(x: npt.ArrayLike, knots: npt.ArrayLike) -> Array:
    """The columns x, x', x'', ... of a restricted cubic spline.

    Parameters
    ----------
    x
        Shape (n,).
    knots
        Shape (k,), increasing, k >= 3.

    Returns
    -------
    Array
        Shape (n, k - 1); the non-linear columns are divided by (t_k - t_1)^2, so that they have the unit of `x`.
    """
    values = np.asarray(x, dtype=float)
    t = np.asarray(knots, dtype=float)
    k = len(t)
    scale = t[-1] - t[0]
    last, before = t[-1], t[-2]

    def cube(shift: float) -> Array:
        return np.maximum((values - shift) / scale, 0.0) ** 3

    columns = [values]
    for j in range(k - 2):
        bend = (
            cube(t[j]) - cube(before) * (last - t[j]) / (last - before) + cube(last) * (before - t[j]) / (last - before)
        )
        columns.append(bend * scale)
    return np.column_stack(columns)
