"""`hepacast stats agreement`: ICC in all forms and kappas of repeated ratings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from hepacast.cohort.joining import read_ids
from hepacast.errors import HepacastError, TableError
from hepacast.evaluation.delong import check_level
from hepacast.stats.agreement import Kappa, cohen_kappa, fleiss_kappa, icc, kendall_w
from hepacast.stats.intervals import ci_label
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import (
    NOT_THERE,
    StatisticsResult,
    note_lines,
    number,
    p_value,
    paragraphs,
    short,
    text_table,
    with_limits,
)
from hepacast.study.statistics.table import AnalysisTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Weights = Literal["none", "linear", "quadratic"]
#: Whole numbers with at most so many levels are judged as categories too.
MAX_SCORES = 10


@dataclass(frozen=True, repr=False)
class AgreementResult(StatisticsResult):
    """Agreement of raters.

    Attributes
    ----------
    ratings
        Complete subjects x raters: numbers, or codes of `categories`.
    icc
        All forms; None for categories.
    kappas
        By name of the pair and weights; `fleiss` for all raters.
    limits
        Two raters: lower limit of agreement, bias, upper limit (of 95% of the differences).
    level
        Of the confidence intervals.
    """

    value: str
    ratings: pd.DataFrame
    categories: tuple[str, ...]
    icc: pd.DataFrame | None
    kendall: float
    kappas: Mapping[str, Kappa | str]
    limits: tuple[float, float, float] | None
    notes: tuple[str, ...]
    level: float = 0.95

    def text(self) -> str:
        """ICC table, kappas, limits of agreement."""
        head = f"Agreement on {self.value}: {len(self.ratings)} subjects, {self.ratings.shape[1]} raters."
        parts = [head]
        if self.icc is not None:
            rows = [
                {
                    "Form": form, "Meaning": row["meaning"],
                    f"ICC ({ci_label(self.level)})": with_limits(row["icc"], row["lower"], row["upper"]),
                    "F (df)": f"{short(row['F'])} ({row['df1']:.0f}, {row['df2']:.0f})", "P": p_value(row["p"]),
                }
                for form, row in self.icc.iterrows()
            ]  # fmt: skip
            parts.append(text_table(pd.DataFrame(rows)))
        if self.kappas:
            rows = [_kappa_row(name, item, ci_label(self.level)) for name, item in self.kappas.items()]
            parts.append(text_table(pd.DataFrame(rows)))
        lines = [] if math.isnan(self.kendall) else [f"Kendall's W: {self.kendall:.3f}."]
        if self.limits is not None:
            low, bias, high = self.limits
            first, second = self.ratings.columns
            lines.append(
                f"{first} - {second}: bias {short(bias)}, 95% limits of agreement {short(low)} to {short(high)}."
            )
        return paragraphs(*parts, "\n".join(lines), note_lines(self.notes))

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "value": self.value,
            "confidence": self.level,
            "n_subjects": len(self.ratings),
            "raters": [str(name) for name in self.ratings.columns],
            "categories": list(self.categories),
            "icc": None if self.icc is None else self.icc.to_dict(orient="index"),
            "kappa": {
                name: {"kappa": None, "reason": item} if isinstance(item, str) else _kappa_json(item)
                for name, item in self.kappas.items()
            },
            "kendall_w": self.kendall,
            "limits_of_agreement": None
            if self.limits is None
            else dict(zip(("lower", "bias", "upper"), self.limits, strict=True)),
            "notes": list(self.notes),
            **self._reasons(),
        }

    def _reasons(self) -> dict[str, str]:
        """Why a part is not there."""
        found = {}
        if self.icc is None:
            found["icc_reason"] = (
                "the ratings are categories" if self.categories else "there is no ICC of these ratings"
            )
        if math.isnan(self.kendall):
            found["kendall_w_reason"] = "Kendall's W needs ratings that can be ranked and differ"
        if self.limits is None:
            found["limits_of_agreement_reason"] = "limits of agreement are those of two raters' numbers"
        return found

    def to_frame(self) -> pd.DataFrame:
        """The ICC forms, or the kappas where the ratings are categories."""
        if self.icc is not None:
            return self.icc
        rows = {name: item.__dict__ for name, item in self.kappas.items() if isinstance(item, Kappa)}
        return pd.DataFrame.from_dict(rows, orient="index")

    def drawings(self) -> Mapping[str, Callable[[], Figure]]:
        """`agreement`: differences against means, for numeric ratings."""
        if self.icc is None:
            return {}
        return {"agreement": self._draw}

    def _draw(self) -> Figure:
        from hepacast.study.statistics.drawing import draw_differences

        values, means = self.ratings.to_numpy(float), self.ratings.to_numpy(float).mean(axis=1)
        names = [str(name) for name in self.ratings.columns]
        if self.limits is not None:
            shown, limits = {"": values[:, 0] - values[:, 1]}, self.limits
            y_label = f"{names[0]} \N{MINUS SIGN} {names[1]}"
        else:
            shown = {name: values[:, j] - means for j, name in enumerate(names)}
            everything = np.concatenate(list(shown.values()))
            spread = 1.96 * float(np.sqrt((everything**2).sum() / (len(values) * (len(names) - 1))))
            limits, y_label = (-spread, 0.0, spread), "Rating \N{MINUS SIGN} mean of the raters"
        return draw_differences(
            means, shown, limits=limits, x_label=f"Mean of the raters ({self.value})", y_label=y_label
        )


def _kappa_json(item: Kappa) -> dict[str, Any]:
    lacking = "raters who agree in everything leave no variance, and no limits"
    return asdict(item) | ({} if math.isfinite(item.se) else {"reason": lacking})


def _kappa_row(name: str, item: Kappa | str, ci: str) -> dict[str, str]:
    if isinstance(item, str):
        return {"Kappa of": name, f"Kappa ({ci})": NOT_THERE, "Z": item, "P": NOT_THERE}
    shown = with_limits(item.kappa, item.lower, item.upper)
    return {"Kappa of": name, f"Kappa ({ci})": shown, "Z": number(item.z, 2), "P": p_value(item.p)}


def agreement(
    source: str | Path | pd.DataFrame | AnalysisTable,
    *,
    subject: str,
    rater: str | None = None,
    value: str | None = None,
    raters: str | Sequence[str] = (),
    level: float = 0.95,
) -> AgreementResult:
    """Agreement of raters about the same subjects.

    Parameters
    ----------
    subject
        Column with the subject (patient, lesion).
    rater, value
        One row a rating: who, and what.
    raters
        Or one row a subject: a column for each rater.
    level
        Of the confidence intervals.

    Raises
    ------
    TableError, HepacastError
        A subject rated twice by one rater, fewer than two complete subjects or raters, ratings that are all equal.
    """
    table = load(source)
    key = table.column(subject)
    if raters:
        names = table.columns(raters)
        label, wide = "rating", _wide(table, key, names)
        order = _common_order(table, names)
    elif rater is not None and value is not None:
        label = table.column(value)
        wide = _long(table, key, table.column(rater), label)
        order = table.levels.get(label, ())
    else:
        raise TableError("Say who rated what.", expected="--rater and --value, or --raters with one column a rater")
    complete = wide.dropna()
    if len(complete) < len(wide):
        table.note(
            f"{len(wide) - len(complete)} of {len(wide)} subjects were not rated by all raters and are left out."
        )
    if len(complete) < 2 or complete.shape[1] < 2:
        raise TableError(
            "Agreement needs at least two subjects that all raters rated.",
            expected="two subjects and two raters",
            found=f"{len(complete)} complete subjects, {complete.shape[1]} raters",
        )
    return _judged(table, label, complete, order, check_level(level))


def _long(table: AnalysisTable, key: str, rater: str, value: str) -> pd.DataFrame:
    ratings = table.predictor(value)
    who = table.categories(rater) if not table.is_numeric(rater) else table.numbers(rater).map(lambda v: f"{v:g}")
    frame = pd.DataFrame({"subject": read_ids(table.cells[key]), "rater": who.astype(object)})
    frame["value"] = ratings.astype(object)
    known = np.array([cell is not None for cell in table.cells[key]]) & frame["rater"].notna().to_numpy()
    if not known.all():
        table.note(f"{int((~known).sum())} rows without subject or rater are left out.")
    frame = frame[known & frame["value"].notna().to_numpy()]
    twice = frame[frame.duplicated(["subject", "rater"])]
    if len(twice):
        first = twice.iloc[0]
        raise TableError(
            "A subject has two ratings by one rater.", found=f"{first['subject']} by {first['rater']}",
            remedy="keep one of them, or count repeated readings as raters of their own",
        )  # fmt: skip
    wide = frame.pivot(index="subject", columns="rater", values="value")
    return wide.astype(ratings.dtype) if not isinstance(ratings.dtype, pd.CategoricalDtype) else wide


def _wide(table: AnalysisTable, key: str, names: Sequence[str]) -> pd.DataFrame:
    numeric = all(table.is_numeric(name) for name in names)
    columns = {
        name: table.numbers(name) if numeric else table.categories(name, alike=names).astype(object) for name in names
    }
    return pd.DataFrame(columns).set_axis(read_ids(table.cells[key]), axis=0)


def _common_order(table: AnalysisTable, raters: Sequence[str]) -> Sequence[str]:
    """The order of the levels that `--levels` gives for the raters' columns; for one of them it holds for all.

    Raises
    ------
    TableError
        Two columns have different orders, or a rater chose a level that is not among them.
    """
    orders = {name: tuple(table.levels[name]) for name in raters if table.levels.get(name)}
    if len(set(orders.values())) > 1:
        raise TableError(
            "The raters' columns have different levels.",
            expected="the same levels in the same order for all raters",
            found="; ".join(f"{name}: {', '.join(order)}" for name, order in orders.items()),
            remedy="give the same --levels for each rater's column",
        )
    order = next(iter(orders.values()), ())
    for name in raters if order else ():
        unknown = sorted({str(value) for value in table.categories(name).dropna()} - set(order))
        if unknown:
            raise TableError(
                "A rater chose a level that is not among those given.",
                expected=", ".join(order),
                found=", ".join(unknown[:5]),
                where=f"column {name}",
                remedy="name all levels with --levels",
            )
    return order


def _judged(
    table: AnalysisTable, label: str, complete: pd.DataFrame, order: Sequence[str], level: float
) -> AgreementResult:
    numeric = all(pd.api.types.is_numeric_dtype(dtype) for dtype in complete.dtypes)
    levels: list[Any] = sorted(set(complete.to_numpy().ravel()), key=lambda v: (v if numeric else 0, str(v)))
    ordered = numeric or bool(order)
    if not numeric:
        # A declared level that nobody chose stays: it keeps its neighbors apart.
        levels = list(order) or levels
        complete = complete.apply(lambda column: column.map({level: float(i) for i, level in enumerate(levels)}))
    forms = icc(complete.to_numpy(float), level=level) if numeric else None
    if forms is not None and forms[["lower", "upper"]].isna().any(axis=None):
        table.note(_why_no_limits(complete))
    for sentence in _opposite(complete) if ordered else ():
        table.note(sentence)
    kappas: dict[str, Kappa | str] = {}
    if not numeric or (len(levels) <= MAX_SCORES and all(float(level).is_integer() for level in levels)):
        codes = [float(v) for v in levels] if numeric else list(range(len(levels)))
        kappas = _kappas(complete, ordered, codes, level)
    limits = None
    if numeric and complete.shape[1] == 2:
        difference = complete.iloc[:, 0] - complete.iloc[:, 1]
        spread = 1.96 * float(difference.std(ddof=1))
        limits = (float(difference.mean()) - spread, float(difference.mean()), float(difference.mean()) + spread)
    w = kendall_w(complete.to_numpy(float)) if ordered and len(levels) > 1 else float("nan")
    names = tuple(f"{level:g}" if numeric else str(level) for level in levels) if kappas else ()
    return AgreementResult(label, complete, names, forms, w, kappas, limits, tuple(table.notes), level)


def _why_no_limits(ratings: pd.DataFrame) -> str:
    """In words, why an ICC has no interval."""
    values = ratings.to_numpy(float)
    differences = values - values.mean(axis=1, keepdims=True)
    if np.ptp(differences, axis=0).max() <= 1e-9 * np.ptp(values):
        return "The raters agree without any residual difference: the ICC has no interval."
    return "The subjects' means differ by too little beside the raters' differences: a form of the ICC has no interval."


def _opposite(ratings: pd.DataFrame) -> list[str]:
    """One sentence a pair of raters who rank the subjects in opposite directions, by more than chance."""
    found = []
    for first, second in itertools.combinations(ratings.columns, 2):
        a, b = ratings[first].to_numpy(float), ratings[second].to_numpy(float)
        if np.ptp(a) == 0 or np.ptp(b) == 0 or len(a) < 3:
            continue
        rho, p = spearmanr(a, b)
        if rho < 0 and p < 0.05:
            found.append(
                f"{first} and {second} run in opposite directions (Spearman's rho {rho:.2f}): what one rates high the "
                "other rates low. Is a scale reversed?"
            )
    return found


def _kappas(ratings: pd.DataFrame, ordered: bool, levels: Sequence[float], level: float) -> dict[str, Kappa | str]:
    found: dict[str, Kappa | str] = {}
    for first, second in itertools.combinations(ratings.columns, 2):
        ways: tuple[Weights, ...] = ("none", "linear", "quadratic") if ordered else ("none",)
        for weights in ways:
            name = f"{first} and {second}" + ("" if weights == "none" else f", {weights} weights")
            found[name] = _one_kappa(
                partial(cohen_kappa, ratings[first], ratings[second], weights=weights, levels=levels, level=level)
            )
    if ratings.shape[1] > 2:
        found["all raters (Fleiss)"] = _one_kappa(lambda: fleiss_kappa(ratings.to_numpy(float), level=level))
    return found


def _one_kappa(compute: Callable[[], Kappa]) -> Kappa | str:
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            kappa = compute()
    except HepacastError as problem:
        return problem.message
    if not math.isfinite(kappa.kappa) or not math.isfinite(kappa.z):
        return "a rater used one category only"
    return kappa
