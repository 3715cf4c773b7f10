"""`hepacast stats evaluate`: predictions from any tool against an outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hepacast.core.p_values import p_sentence
from hepacast.errors import ModelError
from hepacast.evaluation import binary
from hepacast.stats.design import binary_outcome
from hepacast.stats.intervals import Proportion, ci_label
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import (
    NOT_THERE,
    StatisticsResult,
    note_lines,
    number,
    p_value,
    paragraphs,
    text_table,
    with_limits,
)
from hepacast.study.statistics.table import AnalysisTable, Flow, complete_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Rows of the table that scores have as well as risks.
_WITHOUT_RISKS = 8
_SAME = "Youden cut-offs come from these very patients: sensitivity and specificity there are too good."


@dataclass(frozen=True, repr=False)
class EvaluationResult(StatisticsResult):
    """Evaluation of predictions; `found` is the `hepacast.evaluation.binary.Evaluation`."""

    found: binary.Evaluation
    outcome: str
    flow: Flow
    notes: tuple[str, ...]

    def text(self) -> str:
        """Discrimination, cut-off, calibration, and comparisons of all pairs."""
        found = self.found
        head = f"Predictions of {self.outcome}: n = {found.n}, events = {found.n_events}. {self.flow.text()}"
        pairs = text_table(self._pairs(), title="Pairs (NRI and IDI: second over first)") if found.pairs else ""
        notes = list(self.notes)
        if any(item.cutoff_source == "youden" for item in found.models.values()):
            notes.append(_SAME)
        for name, item in found.models.items():
            reasons = [item.roc.reason, item.reason, *(item.calibration.notes if item.calibration else ())]
            notes.extend(f"{name}: {reason}" for reason in reasons if reason)
            if math.isinf(item.cutoff):
                notes.append(f"{name}: Youden's index is greatest where all patients count alike: no cut-off helps.")
            if item.roc.auc < 0.5:
                notes.append(f"{name}: the AUC is below 0.5, since higher values are taken to mean the event.")
        return paragraphs(head, text_table(self._models()), pairs, note_lines(notes))

    def _models(self) -> pd.DataFrame:
        columns: dict[str, list[str]] = {}
        for name, item in self.found.models.items():
            row, fit = item.threshold, item.calibration
            test = fit.hosmer_lemeshow if fit else None
            columns[name] = [
                with_limits(item.roc.auc, *item.roc.auc_ci),
                p_value(item.roc.p),
                _cutoff(item.cutoff, item.cutoff_source),
                *(_share(value) for value in (row.sensitivity, row.specificity, row.ppv, row.npv, row.accuracy)),
                with_limits(fit.brier, *item.brier_ci) if fit else NOT_THERE,
                with_limits(fit.slope.estimate, *fit.slope.ci) if fit else NOT_THERE,
                with_limits(fit.intercept.estimate, *fit.intercept.ci) if fit else NOT_THERE,
                with_limits(fit.citl.estimate, *fit.citl.ci) if fit else NOT_THERE,
                f"{number(test.statistic, 2)} ({test.df:.0f}), {p_value(test.p)}" if test and test.ok else NOT_THERE,
                with_limits(fit.ici, *item.ici_ci) if fit else NOT_THERE,
                f"{number(fit.e50)} / {number(fit.e90)}" if fit else NOT_THERE,
            ]
        ci = ci_label(self.found.level)
        shares = [f"{name} ({ci})" for name in ("Sensitivity", "Specificity", "PPV", "NPV", "Accuracy")]
        fitted = [f"Calibration {name} ({ci})" for name in ("slope", "intercept", "in the large")]
        rows = [
            f"AUC ({ci}, DeLong)", "P against 0.5", "Cut-off", *shares, f"Brier score ({ci})", *fitted,
            "Hosmer-Lemeshow chi2 (df), P", f"ICI ({ci})", "E50 / E90",
        ]  # fmt: skip
        frame = pd.DataFrame({"": rows, **columns})
        if all(item.calibration is None for item in self.found.models.values()):
            frame = frame.iloc[:_WITHOUT_RISKS]
        return frame

    def _pairs(self) -> pd.DataFrame:
        rows = []
        for pair in self.found.pairs:
            row = {
                "Models": f"{pair.a} - {pair.b}",
                f"AUC difference ({ci_label(self.found.level)})": with_limits(pair.delong.difference, *pair.delong.ci),
                "DeLong Z": number(pair.delong.statistic, 3),
                "P": p_value(pair.delong.p),
                "NRI": NOT_THERE,
                "IDI": NOT_THERE,
            }
            if pair.nri is not None:
                row["NRI"] = f"{number(pair.nri.nri.estimate)}, {p_sentence(pair.nri.nri.p)}"
            if pair.idi is not None:
                row["IDI"] = f"{number(pair.idi.estimate)}, {p_sentence(pair.idi.p)}"
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """`models` by name and `pairs`, as `hepacast.evaluation.binary_json` writes them, with the flow."""
        values = self.found.to_json()
        return {"outcome": self.outcome, **values, "flow": self.flow.to_json(), "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """One row a model."""
        return self.found.to_frame()

    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """`roc`, `decision`, and `calibration-NAME` of each model that gives risks."""
        found: dict[str, Callable[[], Figure]] = {"roc": partial(self.found.plot, "roc")}
        if self.found.decision is not None:
            found["decision"] = partial(self.found.plot, "decision")
        for name, item in self.found.models.items():
            if item.calibration is not None:
                found[f"calibration-{name}"] = partial(self.found.plot, "calibration", model=name)
        return found


def _cutoff(value: float, source: str) -> str:
    if math.isinf(value):
        return "all positive (Youden)" if value < 0 else "all negative (Youden)"
    return f"{value:.4g} ({'given' if source == 'given' else 'Youden'})"


def _share(value: Proportion) -> str:
    if not value.total:
        return NOT_THERE
    return f"{value.estimate:.3f} ({value.low:.3f} to {value.high:.3f}; {value.events}/{value.total})"


def evaluate(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    outcome: str,
    models: str | Sequence[str],
    positive: str | None = None,
    cutoffs: Mapping[str, float] | None = None,
    nri_cuts: Sequence[float] = (),
    external: bool = False,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> EvaluationResult:
    """Evaluate predicted risks (or scores) of one or more models in the patients who have all of them.

    Parameters
    ----------
    models
        Columns with the predictions; values outside 0 to 1 make a column a score (no calibration, no net benefit).
    cutoffs
        Cut-offs chosen elsewhere, by column.
    nri_cuts
        Limits of risk categories for the categorical NRI.
    external, n_boot, seed, level
        As in `hepacast.evaluation.binary.evaluate`.

    Raises
    ------
    TableError, OutcomeError, ModelError
        An unknown column, an outcome that is not binary or of one class, a prediction that is no number.
    """
    table = load(source)
    y = table.binary(outcome, positive)
    names = table.columns(models)
    if str(y.name) in names:
        raise ModelError("The outcome itself is named as a model.", found=str(y.name))
    risks = {name: table.numbers(name) for name in names}
    rows, flow = complete_rows({str(y.name): y, **risks})
    binary_outcome(y[rows], what=f"outcome {y.name}")
    found = binary.evaluate(
        y[rows].to_numpy(),
        {name: values[rows].to_numpy() for name, values in risks.items()},
        thresholds={table.column(name): value for name, value in (cutoffs or {}).items()} or None,
        nri_cuts=tuple(nri_cuts) or None,
        external=external,
        n_boot=n_boot,
        seed=seed,
        level=level,
    )
    return EvaluationResult(found, str(y.name), flow, tuple(table.notes))
