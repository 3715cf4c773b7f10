"""The LASSO's path, its cross-validation, and the weights of the selected features (Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hepacast.figures.labels import feature_label
from hepacast.figures.style import (
    BLUE,
    DOUBLE_COLUMN_MM,
    GRAY,
    INK,
    LIGHT_GRAY,
    PALETTE,
    SINGLE_COLUMN_MM,
    VERMILION,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | np.ndarray

#: The penalty that was used, and others that are marked.
_USED: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 2))}
_OTHER: dict[str, Any] = {"color": GRAY, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}


@styled
def draw_lasso_path(
    lambdas: Numbers,
    coefficients: Mapping[str, Numbers],
    *,
    n_nonzero: Sequence[int] = (),
    chosen: float | None = None,
    size_mm: tuple[float, float] = (SINGLE_COLUMN_MM, 68.0),
) -> Figure:
    """Coefficients of the Z-scored features along log(lambda).

    Parameters
    ----------
    lambdas
        Penalties.
    coefficients
        By feature, one value a penalty; features that never enter are not drawn.
    n_nonzero
        Features in the model at each penalty, printed along the top.
    chosen
        The penalty that was used: a dashed line, as in `draw_lasso_cv`.
    """
    figure = new_figure(*size_mm)
    axes = figure.add_subplot()
    x = np.log(np.asarray(lambdas, dtype=float))
    drawn = [np.asarray(values, dtype=float) for values in coefficients.values() if np.any(np.asarray(values) != 0)]
    thin = 1.1 if len(drawn) <= 20 else 0.7
    for i, values in enumerate(drawn):
        axes.plot(x, values, color=PALETTE[i % 6], linewidth=thin, alpha=0.9)
    axes.axhline(0, color=LIGHT_GRAY, linewidth=0.6, zorder=0)
    if chosen is not None and np.isfinite(chosen):
        axes.axvline(np.log(chosen), label="\N{GREEK SMALL LETTER LAMDA} used", **_USED)
        figure.legend(loc="outside lower center")
    axes.set(xlabel="log(\N{GREEK SMALL LETTER LAMDA})", ylabel="Coefficient (per SD)")
    axes.set_xlim(x.min(), x.max())
    _counts_on_top(axes, x, n_nonzero)
    return figure


def _counts_on_top(axes: Axes, x: np.ndarray, n_nonzero: Sequence[int]) -> None:
    """Number of features along the top, at about eight places."""
    if not len(n_nonzero):
        return
    wanted = np.linspace(x.min(), x.max(), 8)
    at = np.unique([int(np.abs(x - place).argmin()) for place in wanted])
    top = axes.secondary_xaxis("top")
    top.set_xticks(x[at], [str(int(n_nonzero[i])) for i in at])
    top.tick_params(length=2, labelsize=6.5)
    top.set_xlabel("Features in the model", fontsize=7)
    top.spines["top"].set_linewidth(0.6)
    top.spines["top"].set_visible(True)


@styled
def draw_lasso_cv(
    lambdas: Numbers,
    mean: Numbers,
    se: Numbers,
    *,
    n_nonzero: Sequence[int] = (),
    lambda_min: float | None = None,
    lambda_1se: float | None = None,
    chosen: float | None = None,
    measure: str = "Binomial deviance",
    size_mm: tuple[float, float] = (SINGLE_COLUMN_MM, 68.0),
) -> Figure:
    """Cross-validated loss along log(lambda), with the penalty of least loss and that within one standard error.

    `chosen` is the penalty that was used: the dashed line, as in `draw_lasso_path`; the others are dotted.
    """
    figure = new_figure(*size_mm)
    axes = figure.add_subplot()
    x = np.log(np.asarray(lambdas, dtype=float))
    axes.errorbar(
        x, mean, yerr=se, fmt="o", color=VERMILION, ecolor=LIGHT_GRAY, markersize=2.2, elinewidth=0.8, capsize=0
    )
    marks = {"min": lambda_min, "1 SE": lambda_1se}
    known = {name: float(value) for name, value in marks.items() if value is not None and np.isfinite(value)}
    used = chosen if chosen is not None and np.isfinite(chosen) else None
    if used is not None and not any(np.isclose(value, used) for value in known.values()):
        axes.axvline(np.log(used), label="\N{GREEK SMALL LETTER LAMDA} used", **_USED)
    for name, value in known.items():
        is_used = used is not None and np.isclose(value, used)
        label = f"\N{GREEK SMALL LETTER LAMDA} {name}{' (used)' if is_used else ''}"
        axes.axvline(np.log(value), label=label, **(_USED if is_used else _OTHER))
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=3)
    axes.set(xlabel="log(\N{GREEK SMALL LETTER LAMDA})", ylabel=measure[:1].upper() + measure[1:])
    axes.set_xlim(x.min() - 0.02 * np.ptp(x), x.max() + 0.02 * np.ptp(x))
    _counts_on_top(axes, x, n_nonzero)
    return figure


@styled
def draw_weights(
    weights: Mapping[str, float], *, labels: Mapping[str, str] | None = None, width_mm: float = DOUBLE_COLUMN_MM
) -> Figure:
    """The selected features and their weights in the Radscore, in the order given."""
    figure = new_figure(width_mm, 16 + 4.8 * max(len(weights), 2))
    axes = figure.add_subplot()
    values = np.array(list(weights.values()), dtype=float)
    names = [(labels or {}).get(name) or feature_label(name) for name in weights]
    span = float(np.abs(values).max(initial=1e-12))
    for y, value in enumerate(values):
        axes.barh(y, value, 0.66, color=VERMILION if value > 0 else BLUE, linewidth=0)
        shift = span * 0.02 * (1 if value >= 0 else -1)
        text = f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
        axes.text(value + shift, y, text, va="center", ha="left" if value >= 0 else "right", fontsize=6.8)
    axes.axvline(0, color=GRAY, linewidth=0.6)
    low, high = min(values.min(initial=0), 0), max(values.max(initial=0), 0)
    margin = 0.17 * (high - low)
    axes.set_xlim(low - (margin if low < 0 else 0.02 * span), high + (margin if high > 0 else 0.02 * span))
    axes.set_yticks(range(len(values)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Weight in the Radscore (per SD)")
    return figure
