"""`hepacast stats samplesize`: how many patients a prediction model needs (Riley's criteria)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from hepacast.core import views
from hepacast.core.formatting import number
from hepacast.core.tables import Table, make_table
from hepacast.errors import ModelError
from hepacast.stats.samplesize import SHRINKAGE, SampleSize, riley_binary, riley_survival
from hepacast.study.statistics.result import StatisticsResult

SOURCE = (
    "Source: Riley RD et al. BMJ 2020;368:m441 (as the R package pmsampsize). It is the number for developing a model "
    "with all these candidate parameters; validation needs its own."
)


@dataclass(frozen=True, repr=False)
class SampleSizeResult(SampleSize, StatisticsResult):
    """Patients needed, and what was assumed."""

    assumed: dict[str, float] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row a criterion."""
        return pd.DataFrame([vars(item) for item in self.criteria])


@views.page.register
def _(found: SampleSizeResult) -> Sequence[str | Table]:
    given = ", ".join(f"{name} {value:g}" for name, value in found.assumed.items())
    rows = [
        (item.name, str(item.n), number(item.shrinkage, 3), number(item.events_per_parameter))
        for item in found.criteria
    ]
    answer = f"Patients needed: {found.n}, with {number(found.events, 1)} events "
    answer += f"({number(found.events_per_parameter)} a parameter)."
    expected = (
        f"Cox-Snell R2 {number(found.cox_snell_r2, 3)} of at most {number(found.max_cox_snell_r2, 3)} "
        f"(Nagelkerke R2 {number(found.nagelkerke_r2, 3)})."
    )
    columns = ("Criterion", "Patients", "Shrinkage", "Events per parameter")
    return f"Assumed: {given}. {expected}", make_table("", columns, rows), answer, SOURCE


def samplesize(
    *,
    parameters: int,
    prevalence: float | None = None,
    rate: float | None = None,
    time_point: float | None = None,
    follow_up: float | None = None,
    r2: float | None = None,
    nagelkerke_r2: float | None = None,
    shrinkage: float = SHRINKAGE,
) -> SampleSizeResult:
    """Patients needed for a model of a binary outcome (`prevalence`) or of survival (`rate` and times).

    Parameters
    ----------
    parameters
        Candidate parameters, those that selection drops included.
    prevalence
        Share of patients with the event.
    rate, time_point, follow_up
        Events per person and unit of time; time of prediction and mean follow-up in that unit.
    r2, nagelkerke_r2
        Expected Cox-Snell or Nagelkerke R2 (0.15 of Nagelkerke's by default).

    Raises
    ------
    ModelError
        Numbers are missing, contradict each other, or are outside their range.
    """
    survival = {"--rate": rate, "--time-point": time_point, "--follow-up": follow_up}
    missing = [name for name, value in survival.items() if value is None]
    if (prevalence is None) == (len(missing) == 3):
        raise ModelError(
            "Say either the prevalence (binary outcome) or rate, time point and follow-up (survival).",
            expected="--prevalence, or --rate with --time-point and --follow-up",
            found="both" if prevalence is not None else "neither",
        )
    if prevalence is None and missing:
        raise ModelError("Numbers for a survival model are missing.", expected=", ".join(missing))
    if r2 is not None and nagelkerke_r2 is not None:
        raise ModelError("Give the Cox-Snell R2 or the Nagelkerke R2, not both.")
    options: dict[str, Any] = {"cox_snell_r2": r2, "shrinkage": shrinkage}
    if nagelkerke_r2 is not None:
        options["nagelkerke_r2"] = nagelkerke_r2
    assumed: dict[str, float] = {"parameters": parameters, "shrinkage": shrinkage}
    if prevalence is not None:
        found = riley_binary(parameters, prevalence, **options)
        return SampleSizeResult(**vars(found), assumed={**assumed, "prevalence": prevalence})
    assert rate is not None and time_point is not None and follow_up is not None
    found = riley_survival(parameters, rate, time_point, follow_up, **options)
    assumed |= {"rate": rate, "time point": time_point, "mean follow-up": follow_up}
    return SampleSizeResult(**vars(found), assumed=assumed)
