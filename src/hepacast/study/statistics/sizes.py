"""`hepacast stats samplesize`: how many patients a prediction model needs (Riley's criteria)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from hepacast.errors import ModelError
from hepacast.stats.samplesize import SHRINKAGE, SampleSize, riley_binary, riley_survival
from hepacast.study.statistics.result import StatisticsResult, number, paragraphs, text_table

SOURCE = (
    "Source: Riley RD et al. BMJ 2020;368:m441 (as the R package pmsampsize). It is the number for developing a model "
    "with all these candidate parameters; validation needs its own."
)


@dataclass(frozen=True, repr=False)
class SampleSizeResult(StatisticsResult):
    """Patients needed, and what was assumed."""

    found: SampleSize
    assumed: dict[str, float]

    def text(self) -> str:
        """The criteria, then the answer."""
        found = self.found
        given = ", ".join(f"{name} {value:g}" for name, value in self.assumed.items())
        rows = [
            {
                "Criterion": item.name, "Patients": str(item.n), "Shrinkage": number(item.shrinkage),
                "Events per parameter": number(item.events_per_parameter, 2),
            }
            for item in found.criteria
        ]  # fmt: skip
        answer = f"Patients needed: {found.n}, with {found.events:.1f} events "
        answer += f"({found.events_per_parameter:.2f} a parameter)."
        expected = (
            f"Cox-Snell R2 {found.cox_snell_r2:.3f} of at most {found.max_cox_snell_r2:.3f} "
            f"(Nagelkerke R2 {found.nagelkerke_r2:.3f})."
        )
        return paragraphs(f"Assumed: {given}. {expected}", text_table(pd.DataFrame(rows)), answer, SOURCE)

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        content = {"assumed": dict(self.assumed), **asdict(self.found)}
        if self.found.risk_interval is None:  # of time-to-event outcomes only
            del content["risk_interval"]
        return content

    def to_frame(self) -> pd.DataFrame:
        """One row a criterion."""
        return pd.DataFrame([asdict(item) for item in self.found.criteria])


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
        return SampleSizeResult(riley_binary(parameters, prevalence, **options), {**assumed, "prevalence": prevalence})
    assert rate is not None and time_point is not None and follow_up is not None
    found = riley_survival(parameters, rate, time_point, follow_up, **options)
    return SampleSizeResult(found, {**assumed, "rate": rate, "time point": time_point, "mean follow-up": follow_up})
