"""Parts of a survival analysis: groups compared, a score judged, Cox models with their checks, figures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from hepacast.core.p_values import p_sentence
from hepacast.errors import HepacastError, OutcomeError
from hepacast.evaluation.time_dependent import auc_at
from hepacast.stats.adjust import p_adjust
from hepacast.stats.cox_checks import Concordance, concordance
from hepacast.stats.effects import ratio_of
from hepacast.stats.intervals import ci_label
from hepacast.stats.kaplan_meier import KaplanMeier, LogRank, log_rank
from hepacast.stats.ticks import pretty
from hepacast.study.statistics.cox_fits import cox_estimate
from hepacast.study.statistics.result import ratio, text_table, with_limits
from hepacast.study.statistics.survival_cox import CoxResult as CoxResult
from hepacast.study.statistics.survival_cox import cox_result as cox_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
NAN = float("nan")


def survival_at(curve: KaplanMeier, t: float) -> tuple[float, float, float]:
    """S(t) with limits; NaN beyond the last follow-up of a curve that has not reached 0."""
    if t > float(curve.time[-1]) and float(curve.survival[-1]) > 0:
        return NAN, NAN, NAN
    index = int(np.searchsorted(curve.time, t, side="right")) - 1
    if index < 0:
        return 1.0, 1.0, 1.0
    return float(curve.survival[index]), float(curve.lower[index]), float(curve.upper[index])


def curve_json(curve: KaplanMeier, times: Sequence[float]) -> dict[str, Any]:
    """A curve with all steps, its median, and survival with number at risk at the times."""
    at = []
    for t in times:
        s, low, high = survival_at(curve, t)
        row: dict[str, Any] = {
            "time": t,
            "survival": s,
            "lower": low,
            "upper": high,
            "at_risk": int(curve.at_risk([t])[0]),
        }
        at.append(row | _why(row.values(), "no estimate, or no limits, at a time that nobody is followed to"))
    median: dict[str, Any] = dict(zip(("estimate", "lower", "upper"), curve.median, strict=True))
    steps: dict[str, Any] = {
        name: np.asarray(getattr(curve, name))
        for name in ("time", "n_risk", "n_event", "n_censor", "survival", "std_error", "lower", "upper")
    }
    last = "there is no standard error, and there are no limits, once nobody is left"
    return {
        "n": curve.n,
        "events": curve.n_events,
        "median": median | _why(median.values(), "the curve, or its limit, does not fall to 50% within the follow-up"),
        "at": at,
        "curve": {**steps, **_why(np.concatenate([values.astype(float) for values in steps.values()]), last)},
    }


def _why(values: Iterable[float], reason: str) -> dict[str, str]:
    """The reason, if one of the values is missing."""
    return {} if np.isfinite(np.array(list(values), dtype=float)).all() else {"reason": reason}


@dataclass(frozen=True)
class Comparison:
    """Log-rank test of all groups, of their pairs (Holm), and the hazard ratio of two groups.

    `hazard_ratio` is that of the second group over the first: ratio, limits, P; None with a reason otherwise.
    """

    test: LogRank | None
    reason: str
    groups: tuple[str, ...]
    hazard_ratio: tuple[float, float, float, float] | None
    ratio_reason: str
    pairs: tuple[tuple[str, str, float, float], ...] = ()
    level: float = 0.95

    @property
    def p(self) -> float:
        """P of all groups; NaN without a test."""
        return self.test.p if self.test is not None else NAN

    def text(self) -> str:
        """The tests in words."""
        if self.test is None:
            return f"Log-rank test: not possible ({self.reason})."
        lines = [f"Log-rank test: chi2 {self.test.chi2:.3f}, df {self.test.df}, {p_sentence(self.test.p)}."]
        if self.hazard_ratio is not None:
            hr, low, high, p = self.hazard_ratio
            title = f"Hazard ratio ({ci_label(self.level)}), {self.groups[1]} against {self.groups[0]}"
            lines.append(f"{title}: {ratio(hr, low, high)}, {p_sentence(p)}.")
        elif len(self.groups) == 2:
            lines.append(f"Hazard ratio: not estimable ({self.ratio_reason}).")
        for a, b, p, adjusted in self.pairs:
            lines.append(f"  {a} and {b}: {p_sentence(p)}, Holm-adjusted {p_sentence(adjusted)}.")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = {"chi2": NAN, "df": None, "p": NAN, "reason": self.reason, "groups": list(self.groups)}
        if self.test is not None:
            order = [self.test.groups.index(name) for name in self.groups]
            values |= {"chi2": self.test.chi2, "df": self.test.df, "p": self.test.p}
            values |= {"observed": self.test.observed[order], "expected": self.test.expected[order]}
        names = ("hr", "lower", "upper", "p")
        values["hazard_ratio"] = (
            {"hr": None, "reason": self.ratio_reason}
            if self.hazard_ratio is None
            else dict(zip(names, self.hazard_ratio, strict=True))
        )
        values["pairs"] = [{"a": a, "b": b, "p": p, "p_holm": q} for a, b, p, q in self.pairs]
        return values


def _tested(time: Array, event: Array, labels: npt.NDArray[Any]) -> tuple[LogRank | None, str]:
    try:
        test = log_rank(time, event, labels.astype(str))
    except HepacastError as problem:
        return None, problem.message.rstrip(".") + (f": {problem.found}" if problem.found else "")
    except np.linalg.LinAlgError:
        return None, "nobody else was at risk when the events happened"
    if test.df < 1 or not np.isfinite(test.p):
        return None, "only one group was still followed when the events happened"
    return test, ""


def compare_groups(
    time: Array, event: Array, labels: npt.NDArray[Any], order: Sequence[str], *, level: float = 0.95
) -> Comparison:
    """Log-rank tests of all groups and of pairs, and the hazard ratio of two groups."""
    test, reason = _tested(time, event, labels)
    hazard, why = None, reason
    if len(order) == 2 and test is not None:
        try:
            second = (labels == order[1]).astype(float)
            row = cox_estimate(second[:, None], time, event, [order[1]]).to_frame(level).iloc[0]
            hazard = (float(row["hr"]), float(row["hr_low"]), float(row["hr_high"]), float(row["p"]))
        except HepacastError:
            why = "one group has no event, or all events"
    pairs = []
    if len(order) > 2:
        for a, b in itertools.combinations(order, 2):
            rows = (labels == a) | (labels == b)
            found, _ = _tested(time[rows], event[rows], labels[rows])
            pairs.append((a, b, found.p if found is not None else NAN))
    adjusted = p_adjust([p for *_, p in pairs], "holm").tolist() if pairs else []
    return Comparison(
        test, reason, tuple(order), hazard, why, tuple((*pair, float(q)) for pair, q in zip(pairs, adjusted)), level
    )


@dataclass(frozen=True)
class ScoreResult:
    """A score over time: C-index, hazard ratio per unit and per SD, AUC at each time."""

    name: str
    c: Concordance | None
    uno: Concordance | None
    hazard_ratio: tuple[float, float, float, float] | None
    per_sd: tuple[float, float, float] | None
    reason: str
    auc: pd.DataFrame
    auc_reasons: Mapping[float, str] = field(default_factory=dict)
    level: float = 0.95

    def text(self) -> str:
        """C, hazard ratio, table of AUC(t)."""
        ci = ci_label(self.level)
        lines = [f"Score {self.name} (higher: earlier event)"]
        if self.c is not None:
            lines[0] += f": Harrell's C ({ci}) {with_limits(self.c.c, *self.c.interval(self.level))}"
            lines[0] += f", Uno's C {self.uno.c:.3f}." if self.uno is not None else "."
        if self.hazard_ratio is not None and self.per_sd is not None:
            hr, low, high, p = self.hazard_ratio
            per_unit, per_sd = ratio(hr, low, high), ratio(*self.per_sd)
            lines.append(f"Hazard ratio ({ci}) per unit {per_unit}, per SD {per_sd}, {p_sentence(p)}.")
        elif self.reason:
            lines.append(f"Hazard ratio: not estimable ({self.reason}).")
        if len(self.auc):
            printed = pd.DataFrame(
                {
                    "Time": [f"{t:g}" for t in self.auc["time"]],
                    f"AUC(t) ({ci})": [with_limits(*row) for row in self.auc[["auc", "lower", "upper"]].to_numpy()],
                    "Events by then": [str(int(v)) for v in self.auc["n_events"]],
                    "Followed beyond": [str(int(v)) for v in self.auc["n_at_risk"]],
                }
            )
            lines.append(text_table(printed))
        lines.extend(f"AUC at {t:g}: not possible ({why})." for t, why in self.auc_reasons.items())
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.c.interval(self.level) if self.c is not None else (NAN, NAN)
        return {
            "name": self.name,
            "confidence": self.level,
            "c": None if self.c is None else self.c.c,
            "c_se": None if self.c is None else self.c.se,
            "c_ci": [low, high],
            "uno_c": None if self.uno is None else self.uno.c,
            "uno_c_reason": "nobody is followed long enough to weight the events" if self.uno is None else "",
            "hazard_ratio": None
            if self.hazard_ratio is None
            else dict(zip(("hr", "lower", "upper", "p"), self.hazard_ratio, strict=True)),
            "hazard_ratio_per_sd": None
            if self.per_sd is None
            else dict(zip(("hr", "lower", "upper"), self.per_sd, strict=True)),
            "reason": self.reason,
            "auc": self.auc.to_dict(orient="records"),
            "auc_impossible": {f"{t:g}": why for t, why in self.auc_reasons.items()},
        }


def judge_score(
    name: str, score: Array, time: Array, event: Array, horizons: Sequence[float], *, level: float = 0.95
) -> ScoreResult:
    """C-index, hazard ratio and AUC(t) of a score; what cannot be computed has its reason."""
    c = uno = hazard = per_sd = None
    reason = ""
    try:
        c = concordance(time, event, score)
        weighted = concordance(time, event, score, weights="uno")
        uno = weighted if np.isfinite(weighted.c) else None
        fit = cox_estimate(score[:, None], time, event, [name])
        row = fit.to_frame(level).iloc[0]
        hazard = (float(row["hr"]), float(row["hr_low"]), float(row["hr_high"]), float(row["p"]))
        sd = float(score.std(ddof=1))
        spread = float(norm.ppf(0.5 + level / 2.0)) * float(fit.se[0])
        low, middle, high = (float(ratio_of((fit.coef[0] + shift) * sd)) for shift in (-spread, 0.0, spread))
        per_sd = (middle, low, high)
    except (HepacastError, ZeroDivisionError) as problem:
        reason = str(problem).split("\n")[0].rstrip(".")
    rows, reasons = [], {}
    for t in horizons:
        try:
            found = auc_at(time, event, score, t)
        except OutcomeError as problem:
            reasons[t] = problem.message.rstrip(".")
            continue
        low, high = (float(np.clip(limit, 0.0, 1.0)) for limit in found.interval(level))
        rows.append((t, found.value, found.se, low, high, found.n_events, found.n_at_risk))
    columns = ["time", "auc", "se", "lower", "upper", "n_events", "n_at_risk"]
    return ScoreResult(name, c, uno, hazard, per_sd, reason, pd.DataFrame(rows, columns=columns), reasons, level)


def draw_curves(curves: Mapping[str, KaplanMeier], *, p: float | None, test: str, note: str, x_label: str) -> Figure:
    """Kaplan-Meier curves with bands, marks of censoring and numbers at risk."""
    from hepacast.figures.survival import KmCurve, draw_km

    end = max(float(curve.time[-1]) for curve in curves.values())
    times = [float(t) for t in pretty(0.0, end, 6) if t <= end]
    drawn = [
        KmCurve(
            name=name,
            time=[0.0, *curve.time],
            survival=[1.0, *curve.survival],
            low=[1.0, *np.nan_to_num(curve.lower)],
            high=[1.0, *np.where(np.isnan(curve.upper), curve.survival, curve.upper)],
            censored=np.repeat(curve.time, curve.n_censor.astype(int)),
            at_risk=curve.at_risk(times).tolist(),
        )
        for name, curve in curves.items()
    ]
    return draw_km(drawn, at_risk_times=times, p=p, test=test, note=note, x_label=x_label)


def draw_auc(score: ScoreResult | None, x_label: str) -> Figure:
    """AUC(t) with limits over time."""
    from hepacast.study.statistics.drawing import draw_auc_over_time

    assert score is not None
    table = score.auc
    return draw_auc_over_time(
        *(table[name].to_numpy() for name in ("time", "auc", "lower", "upper")),
        x_label=x_label,
        ci=ci_label(score.level),
    )
