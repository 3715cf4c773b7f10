"""Everything about predictions of a binary outcome in one call: discrimination, calibration, net benefit, comparison.

The risks may come from any tool; a column that is not a probability (a score, a laboratory value) gets a ROC curve
and a cut-off, and says why it has no calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.evaluation.calibration import Calibration, calibration
from hepacast.evaluation.decision import DecisionCurves, decision_curves
from hepacast.evaluation.delong import DeLong, check_level
from hepacast.evaluation.predictions import Array, score_array
from hepacast.evaluation.reclassification import Change, Nri, idi, nri
from hepacast.evaluation.roc import RocResult, delong_test, roc
from hepacast.evaluation.thresholds import MEASURES, ThresholdRow, at_threshold
from hepacast.stats.design import binary_outcome

NOT_A_RISK = "not a probability: values outside 0 to 1"


@dataclass(frozen=True)
class ModelEvaluation:
    """One model in one set of patients.

    Attributes
    ----------
    name
        The model's name.
    roc
        ROC curve with DeLong's limits.
    calibration
        None where the values are no probabilities; `reason` says so.
    cutoff, cutoff_source
        The cut-off used, and where it comes from: `given` (training), or `youden` of these very patients, which
        flatters.
    threshold
        Counts and measures at the cut-off.
    brier_ci, ici_ci
        Percentile limits over the bootstrap resamples; NaN without.
    """

    name: str
    roc: RocResult
    calibration: Calibration | None
    cutoff: float
    cutoff_source: str
    threshold: ThresholdRow
    brier_ci: tuple[float, float]
    ici_ci: tuple[float, float]
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two models for the same patients: DeLong of a against b; NRI and IDI of b over a, None for scores."""

    a: str
    b: str
    delong: DeLong
    nri: Nri | None
    categorical_nri: Nri | None
    idi: Change | None


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Evaluation of one or more models in one set of patients.

    Attributes
    ----------
    models
        By name.
    pairs
        Every pair of models in the order given.
    decision
        Decision curves of the models that give risks; None if there is none.
    excluded
        Patients left out, by reason (outcome missing, value of a model missing).
    """

    models: Mapping[str, ModelEvaluation]
    pairs: tuple[Comparison, ...]
    decision: DecisionCurves | None
    n: int
    n_events: int
    excluded: Mapping[str, int]
    level: float
    n_boot: int
    seed: int
    y: Array = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a model: the performance table of a paper."""
        rows = {}
        for name, model in self.models.items():
            found = model.calibration
            low, high = model.roc.auc_ci
            row: dict[str, Any] = {"auc": model.roc.auc, "auc_low": low, "auc_high": high}
            for label in ("brier", "brier_scaled", "ici", "e50", "e90"):
                row[label] = getattr(found, label) if found is not None else np.nan
            row["slope"] = found.slope.estimate if found is not None else np.nan
            row["intercept"] = found.intercept.estimate if found is not None else np.nan
            row["hosmer_lemeshow_p"] = found.hosmer_lemeshow.p if found is not None else np.nan
            row["cutoff"] = model.cutoff
            for measure in MEASURES:
                row[measure] = getattr(model.threshold, measure).estimate
            rows[name] = row
        return pd.DataFrame.from_dict(rows, orient="index")

    def pairs_frame(self) -> pd.DataFrame:
        """One row a pair of models."""
        nothing = Change(np.nan, np.nan, (np.nan, np.nan), np.nan, np.nan)
        return pd.DataFrame(
            [
                {
                    "a": pair.a,
                    "b": pair.b,
                    "auc_difference": pair.delong.difference,
                    "low": pair.delong.ci[0],
                    "high": pair.delong.ci[1],
                    "delong_z": pair.delong.statistic,
                    "delong_p": pair.delong.p,
                    "nri": (pair.nri.nri if pair.nri else nothing).estimate,
                    "nri_p": (pair.nri.nri if pair.nri else nothing).p,
                    "idi": (pair.idi or nothing).estimate,
                    "idi_p": (pair.idi or nothing).p,
                }
                for pair in self.pairs
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Every number as plain values (`hepacast stats evaluate --json`)."""
        from hepacast.evaluation.binary_json import evaluation_json

        return evaluation_json(self)

    def to_report(self, *, kind: str = "frozen") -> dict[str, Any]:
        """This set as `evaluation/evaluation.json` holds it under `sets`."""
        from hepacast.evaluation.binary_json import report_set

        return report_set(self, kind)

    def plot(self, kind: str = "roc", *, model: str | None = None, title: str = "") -> Any:
        """A matplotlib figure: `roc` or `decision` (all models), `calibration` (one model).

        Raises
        ------
        ModelError
            Unknown figure or model, or a model without risks.
        """
        from hepacast.evaluation.drawing import calibration_figure, decision_figure, roc_figure

        if kind == "roc":
            return roc_figure({name: item.roc for name, item in self.models.items()}, title=title)
        if kind == "decision" and self.decision is not None:
            return decision_figure(self.decision, title=title)
        if kind == "calibration":
            name = model if model is not None else next(iter(self.models))
            chosen = self.models.get(name)
            if chosen is not None and chosen.calibration is not None:
                return calibration_figure(chosen.calibration, title=title or name)
            raise ModelError(
                "This model has no calibration.",
                found=name,
                expected=", ".join(key for key, item in self.models.items() if item.calibration is not None),
            )
        raise ModelError("Unknown figure.", expected="roc, calibration or decision (for risks)", found=kind)

    def __repr__(self) -> str:
        return f"<Evaluation of {', '.join(self.models)}; n={self.n}, events={self.n_events}>\n{self.to_frame().T}"

    def _repr_html_(self) -> str:
        left_out = "; ".join(f"{count} left out: {reason}" for reason, count in self.excluded.items() if count)
        html = self.to_frame().T.to_html(border=0, float_format=lambda value: f"{value:.4g}", na_rep="–")
        if self.pairs:
            html += self.pairs_frame().to_html(
                border=0, index=False, float_format=lambda value: f"{value:.4g}", na_rep="–"
            )
        return html + (f"<p><small>{left_out}</small></p>" if left_out else "")


def evaluate(
    y: ArrayLike,
    models: Mapping[str, ArrayLike],
    *,
    thresholds: Mapping[str, float] | float | None = None,
    decision_thresholds: ArrayLike | None = None,
    nri_cuts: tuple[float, ...] | None = None,
    seed: int = 0,
    n_boot: int = 1000,
    level: float = 0.95,
    external: bool = False,
) -> Evaluation:
    """Evaluate the predictions of one or more models for the same patients.

    Parameters
    ----------
    y
        Outcome, 0 or 1, shape (n,); NaN where it is not known.
    models
        Predicted risks (or scores) by model name, each of shape (n,); NaN where there is no prediction. Patients
        with anything missing are left out of all models, so that models are compared on the same patients, and
        counted in `excluded`.
    thresholds
        Cut-offs chosen in the training patients, by model name (or one for all). A model without one is judged at
        the Youden cut-off of these very patients, and the result says so.
    decision_thresholds
        Threshold probabilities of the decision curves; 0.01 to 0.99 by default.
    nri_cuts
        Limits of risk categories for a categorical NRI beside the continuous one.
    seed, n_boot
        Of the bootstrap bands and limits (0: none). They do not depend on the order of the patients.
    external
        The risks come from models fitted to other patients (degrees of freedom of the Hosmer-Lemeshow test).

    Raises
    ------
    OutcomeError
        The outcome is not binary, or only one class is left.
    ModelError
        No model, lengths that differ, a cut-off for an unknown model.
    """
    level = check_level(level)
    outcome, table, excluded = _complete(y, models)
    cutoffs = _cutoffs(thresholds, table)
    rows = _resamples(outcome, table, seed, n_boot)
    evaluated = {
        name: _one_model(name, outcome, values, cutoffs.get(name), rows, level, external)
        for name, values in table.items()
    }
    risks = {name: table[name] for name, item in evaluated.items() if item.calibration is not None}
    return Evaluation(
        models=evaluated,
        pairs=tuple(
            _pair(outcome, (a, table[a]), (b, table[b]), a in risks and b in risks, nri_cuts, level)
            for a, b in combinations(table, 2)
        ),
        decision=decision_curves(outcome, risks, decision_thresholds, indices=rows, level=level) if risks else None,
        n=outcome.size,
        n_events=int(outcome.sum()),
        excluded=excluded,
        level=level,
        n_boot=len(rows),
        seed=seed,
        y=outcome,
    )


def _complete(y: ArrayLike, models: Mapping[str, ArrayLike]) -> tuple[Array, dict[str, Array], dict[str, int]]:
    """Outcome and values of the patients who have all of them, and how many do not."""
    if not models:
        raise ModelError("There is no model to evaluate.", expected="risks by model name")
    outcome = pd.to_numeric(pd.Series(np.asarray(y).ravel()), errors="coerce").to_numpy(dtype=float)
    unreadable = np.isnan(outcome) & ~pd.isna(pd.Series(np.asarray(y).ravel())).to_numpy()
    if unreadable.any():
        binary_outcome(np.asarray(y).ravel()[unreadable])  # raises, naming the value
    table: dict[str, Array] = {}
    for name, values in models.items():
        try:
            array = np.asarray(values, dtype=float).ravel()
        except (TypeError, ValueError) as error:
            raise ModelError(f"The predictions of {name} are not numeric.", expected="numbers") from error
        if array.size != outcome.size:
            raise ModelError(
                f"The predictions of {name} and the outcome differ in length.",
                expected=f"{outcome.size} values",
                found=f"{array.size}",
            )
        table[str(name)] = array
    excluded = {"outcome missing": int(np.isnan(outcome).sum())}
    excluded |= {f"{name} missing": int(np.isnan(array).sum()) for name, array in table.items()}
    kept = ~np.isnan(outcome)
    for array in table.values():
        kept &= ~np.isnan(array)
    if not kept.any():
        raise ModelError("No patient has an outcome and a prediction of every model.", found=str(excluded))
    complete = {name: score_array(array[kept], int(kept.sum()), f"risk of {name}") for name, array in table.items()}
    return binary_outcome(outcome[kept]), complete, excluded


def _cutoffs(thresholds: Mapping[str, float] | float | None, table: Mapping[str, Array]) -> dict[str, float]:
    if thresholds is None:
        return {}
    if not isinstance(thresholds, Mapping):
        return dict.fromkeys(table, float(thresholds))
    unknown = [name for name in thresholds if name not in table]
    if unknown:
        raise ModelError("A cut-off belongs to no model.", expected=", ".join(table), found=", ".join(unknown))
    return {name: float(value) for name, value in thresholds.items()}


def _resamples(y: Array, table: Mapping[str, Array], seed: int, n_boot: int) -> list[NDArray[np.int64]]:
    """Bootstrap rows with both classes, the same patients whatever the order of the rows."""
    if n_boot <= 0:
        return []
    order = np.lexsort([*reversed(list(table.values())), y])
    generator = rng(seed, "evaluation", "bootstrap")
    drawn = []
    for _ in range(n_boot):
        rows = order[generator.integers(0, y.size, y.size)]
        if 0.0 < y[rows].mean() < 1.0:
            drawn.append(rows)
    return drawn


def _one_model(
    name: str,
    y: Array,
    values: Array,
    cutoff: float | None,
    rows: list[NDArray[np.int64]],
    level: float,
    external: bool,
) -> ModelEvaluation:
    curve = roc(y, values, level=level)
    is_risk = bool(values.min() >= 0.0 and values.max() <= 1.0)
    found = calibration(y, values, level=level, external=external) if is_risk else None
    used = float(curve.youden["threshold"]) if cutoff is None else cutoff
    nothing = (float("nan"), float("nan"))
    return ModelEvaluation(
        name=name,
        roc=curve,
        calibration=found,
        cutoff=used,
        cutoff_source="youden" if cutoff is None else "given",
        threshold=at_threshold(y, values, used, level=level),
        brier_ci=_percentiles([float(np.mean((values[r] - y[r]) ** 2)) for r in rows], level) if found else nothing,
        ici_ci=_percentiles([_ici(y[r], values[r]) for r in rows], level) if found else nothing,
        reason="" if is_risk else NOT_A_RISK,
    )


def _ici(y: Array, p: Array) -> float:
    from hepacast.evaluation.calibration import smoothed_at_risks

    return float(np.abs(smoothed_at_risks(y, p) - p).mean())


def _percentiles(values: list[float], level: float) -> tuple[float, float]:
    kept = np.array([value for value in values if not np.isnan(value)])
    if kept.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _pair(
    y: Array,
    a: tuple[str, Array],
    b: tuple[str, Array],
    both_risks: bool,
    cuts: tuple[float, ...] | None,
    level: float,
) -> Comparison:
    return Comparison(
        a=a[0],
        b=b[0],
        delong=delong_test(y, a[1], b[1], level=level),
        nri=nri(y, a[1], b[1], level=level) if both_risks else None,
        categorical_nri=nri(y, a[1], b[1], cuts, level=level) if both_risks and cuts else None,
        idi=idi(y, a[1], b[1], level=level) if both_risks else None,
    )
