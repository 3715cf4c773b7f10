"""`hepacast stats evaluate`: predictions from any tool against an outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.core import views
from hepacast.core.formatting import MISSING, number, p_sentence, p_value, short, with_interval
from hepacast.core.tables import Table, make_table
from hepacast.errors import ModelError
from hepacast.evaluation import binary
from hepacast.stats.design import binary_outcome
from hepacast.stats.intervals import Proportion, ci_label
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, note_lines
from hepacast.study.statistics.table import AnalysisTable, RowsUsed, complete_rows

_SAME = "Youden cut-offs come from these very patients: sensitivity and specificity there are too good."


@dataclass(frozen=True, repr=False)
class EvaluationResult(StatisticsResult):
    """Evaluation of predictions; `found` is the `hepacast.evaluation.binary.Evaluation`."""

    found: binary.Evaluation
    outcome: str
    flow: RowsUsed
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """`models` by name and `pairs`, as `hepacast.evaluation.binary_json` writes them, with the flow."""
        values = self.found.to_json()
        return {"outcome": self.outcome, **values, "flow": vars(self.flow), "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """One row a model."""
        return self.found.to_frame()


@views.page.register
def _(result: EvaluationResult) -> Sequence[str | Table]:
    found = result.found
    head = f"Predictions of {result.outcome}: n = {found.n}, events = {found.n_events}. {result.flow.text()}"
    notes = list(result.notes)
    if any(item.cutoff_source == "youden" for item in found.models.values()):
        notes.append(_SAME)
    for name, item in found.models.items():
        reasons = [item.roc.reason, item.reason, *(item.calibration.notes if item.calibration else ())]
        notes.extend(f"{name}: {reason}" for reason in reasons if reason)
        if math.isinf(item.cutoff):
            notes.append(f"{name}: Youden's index is greatest where all patients count alike: no cut-off helps.")
        if item.roc.auc < 0.5:
            notes.append(f"{name}: the AUC is below 0.5, since higher values are taken to mean the event.")
    return [head, views.table(result), *([_pairs(found)] if found.pairs else []), note_lines(notes)]


@views.table.register
def _(result: EvaluationResult) -> Table:
    """Discrimination, cut-off, calibration: one column a model."""
    found = result.found
    ci = ci_label(found.level)
    shares = [f"{name} ({ci})" for name in ("Sensitivity", "Specificity", "PPV", "NPV", "Accuracy")]
    fitted = [f"Calibration {name} ({ci})" for name in ("slope", "intercept", "in the large")]
    heads = [f"AUC ({ci}, DeLong)", "P against 0.5", "Cut-off", *shares]
    if any(item.calibration is not None for item in found.models.values()):
        heads += [f"Brier score ({ci})", *fitted, "Hosmer-Lemeshow chi2 (df), P", f"ICI ({ci})", "E50 / E90"]
    columns = [_model_cells(item) for item in found.models.values()]
    rows = [(head, *cells) for head, *cells in zip(heads, *columns, strict=False)]
    return make_table("", ("", *found.models), rows)


def _model_cells(item: binary.ModelEvaluation) -> list[str]:
    row, fit = item.threshold, item.calibration
    cells = [
        with_interval(item.roc.auc, *item.roc.auc_ci),
        p_value(item.roc.p),
        _cutoff(item.cutoff, item.cutoff_source),
        *(_share(value) for value in (row.sensitivity, row.specificity, row.ppv, row.npv, row.accuracy)),
    ]
    if fit is None:
        return [*cells, *(MISSING,) * 7]
    test = fit.hosmer_lemeshow
    return [
        *cells,
        with_interval(fit.brier, *item.brier_ci),
        *(with_interval(value.estimate, *value.ci) for value in (fit.slope, fit.intercept, fit.citl)),
        f"{number(test.statistic)} ({test.df:.0f}), {p_value(test.p)}" if test.ok else MISSING,
        with_interval(fit.ici, *item.ici_ci),
        f"{number(fit.e50, 3)} / {number(fit.e90, 3)}",
    ]


def _pairs(found: binary.Evaluation) -> Table:
    """Comparisons of all pairs."""
    rows = [
        (
            f"{pair.a} - {pair.b}",
            with_interval(pair.delong.difference, *pair.delong.ci),
            number(pair.delong.statistic, 3),
            p_value(pair.delong.p),
            MISSING if pair.nri is None else f"{number(pair.nri.nri.estimate, 3)}, {p_sentence(pair.nri.nri.p)}",
            MISSING if pair.idi is None else f"{number(pair.idi.estimate, 3)}, {p_sentence(pair.idi.p)}",
        )
        for pair in found.pairs
    ]
    columns = ("Models", f"AUC difference ({ci_label(found.level)})", "DeLong Z", "P", "NRI", "IDI")
    return make_table("Pairs (NRI and IDI: second over first)", columns, rows)


@views.drawings.register
def _(result: EvaluationResult) -> views.Drawings:
    """`roc`, `decision`, and `calibration-NAME` of each model that gives risks."""
    found = result.found
    drawn: dict[str, Callable[[], Any]] = {"roc": partial(found.plot, "roc")}
    if found.decision is not None:
        drawn["decision"] = partial(found.plot, "decision")
    for name, item in found.models.items():
        if item.calibration is not None:
            drawn[f"calibration-{name}"] = partial(found.plot, "calibration", model=name)
    return drawn


def _cutoff(value: float, source: str) -> str:
    if math.isinf(value):
        return "all positive (Youden)" if value < 0 else "all negative (Youden)"
    return f"{short(value)} ({'given' if source == 'given' else 'Youden'})"


def _share(value: Proportion) -> str:
    """``0.812 (0.570-0.934; 13/16)``."""
    if not value.total:
        return MISSING
    return f"{with_interval(value.estimate, value.low, value.high)[:-1]}; {value.events}/{value.total})"


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
