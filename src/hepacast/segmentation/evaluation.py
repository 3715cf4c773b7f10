"""Metrics of many cases: one row a patient, set and structure; their means are Table 1; agreement of two readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hepacast.errors import ImageError
from hepacast.imaging import Volume
from hepacast.segmentation.metrics import METRICS, segmentation_metrics

if TYPE_CHECKING:
    import pandas as pd

#: The set name of cases held out from all training.
TEST_SET = "test"


@dataclass(frozen=True)
class EvaluationCase:
    """One patient's reference and predicted masks.

    Parameters
    ----------
    patient
        Study identifier.
    set
        ``fold 0`` to ``fold 4`` (judged by the model that did not see this patient) or ``test``.
    reference, predicted
        Boolean volumes by structure name.
    """

    patient: str
    set: str
    reference: Mapping[str, Volume]
    predicted: Mapping[str, Volume]


def evaluate_cases(cases: Iterable[EvaluationCase], structures: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Metrics of every case and structure.

    Parameters
    ----------
    cases
        May be a generator: each case is dropped before the next one is asked for, so memory holds one patient.
    structures
        Names to compare; by default those of each case's reference.

    Returns
    -------
    list of dict
        ``patient, set, structure``, the metrics, volumes in mL, ``status`` and ``reason``; in the cases' order.

    Raises
    ------
    ImageError
        A structure is missing on one side (an empty mask is not missing).
    GeometryError
        The two masks lie on different grids.
    """
    rows = []
    for case in cases:
        for structure in structures or list(case.reference):
            for side, masks in (("reference", case.reference), ("predicted", case.predicted)):
                if structure not in masks:
                    raise ImageError(
                        f"The {side} segmentation has no structure {structure!r}.",
                        expected=structure,
                        found=", ".join(masks) or "nothing",
                        where=f"patient {case.patient}",
                    )
            metrics = segmentation_metrics(case.reference[structure], case.predicted[structure])
            rows.append({"patient": case.patient, "set": case.set, "structure": structure, **metrics.as_row()})
    return rows


def summary_table(rows: Iterable[Mapping[str, Any]], metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Means per set and structure, laid out as Table 1 of a segmentation paper.

    Parameters
    ----------
    rows
        From `evaluate_cases`.
    metrics
        Which metrics, in which order.

    Returns
    -------
    DataFrame
        Index ``(metric, structure)``; one column a set (folds first, then ``test``), then ``mean``, the mean of
        the sets' means. Undefined (NaN) cases do not enter a mean; `undefined_counts` says how many there are.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows))
    if table.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=["metric", "structure"]))
    long = table.melt(id_vars=["set", "structure"], value_vars=list(metrics), var_name="metric", value_name="value")
    long["value"] = long["value"].astype(float)
    wide = long.pivot_table(index=["metric", "structure"], columns="set", values="value", dropna=False)
    order = sorted(wide.columns, key=lambda name: (name == TEST_SET, str(name)))
    structures = list(dict.fromkeys(table["structure"]))
    index = pd.MultiIndex.from_product([list(metrics), structures], names=["metric", "structure"])
    wide = wide.reindex(index)[order]
    wide["mean"] = wide.mean(axis=1)
    wide.columns.name = None
    return wide


def undefined_counts(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many cases of each set and structure were empty on one or both sides (their values may be NaN)."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        if row["status"] != "ok":
            key = (row["set"], row["structure"], row["status"])
            counts[key] = counts.get(key, 0) + 1
    return [
        {"set": s, "structure": structure, "status": status, "n": n}
        for (s, structure, status), n in sorted(counts.items())
    ]


def reader_agreement(
    cases: Iterable[tuple[str, Mapping[str, Volume], Mapping[str, Volume]]],
) -> list[dict[str, Any]]:
    """Agreement of two readers' masks, structure by structure, for the structures that both have drawn.

    Parameters
    ----------
    cases
        ``(patient, first reader's masks, second reader's masks)``. The first reader stands as reference for the
        metrics that have a direction (precision, recall, volume difference).

    Returns
    -------
    list of dict
        Rows as of `evaluate_cases` with ``set`` = ``readers``.
    """

    def paired() -> Iterable[EvaluationCase]:
        for patient, first, second in cases:
            common = [name for name in first if name in second]
            yield EvaluationCase(patient, "readers", {n: first[n] for n in common}, {n: second[n] for n in common})

    return evaluate_cases(paired())
