"""`hepacast stats agreement`: ICC in all forms and kappas of repeated ratings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from hepacast.cohort.joining import read_ids
from hepacast.cohort.patient_rows import name_rows
from hepacast.core import views
from hepacast.core.formatting import MISSING, number, p_value, short, with_interval
from hepacast.core.records import Record, sparse
from hepacast.core.tables import Table, make_table
from hepacast.errors import HepacastError, TableError
from hepacast.evaluation.delong import check_level
from hepacast.stats.agreement import Kappa, cohen_kappa, fleiss_kappa, icc, kendall_w
from hepacast.stats.intervals import ci_label
from hepacast.study.statistics.reading import load
from hepacast.study.statistics.result import StatisticsResult, note_lines
from hepacast.study.statistics.table import AnalysisTable

Weights = Literal["none", "linear", "quadratic"]
#: Whole numbers with at most so many levels are judged as categories too.
MAX_SCORES = 10


@dataclass(frozen=True)
class IccForm(Record):
    """One form of the intraclass correlation: value, limits, F test, and what it means."""

    icc: float
    F: float
    df1: float
    df2: float
    p: float
    lower: float
    upper: float
    meaning: str


@dataclass(frozen=True)
class LimitsOfAgreement(Record):
    """Bias of two raters, and the limits of 95% of their differences."""

    lower: float
    bias: float
    upper: float


@dataclass(frozen=True)
class NoKappa(Record):
    """Why there is no kappa."""

    reason: str
    kappa: None = None


@dataclass(frozen=True, repr=False)
class AgreementResult(StatisticsResult):
    """Agreement of raters.

    Attributes
    ----------
    value
        What was rated.
    categories
        Levels that were judged as categories.
    icc
        All forms; None, with a reason, for categories.
    kappa
        By name of the pair and weights; of all raters after Fleiss.
    limits_of_agreement
        Of two raters' numbers.
    ratings
        Complete subjects x raters: numbers, or codes of `categories`.
    """

    value: str
    confidence: float
    n_subjects: int
    raters: tuple[str, ...]
    categories: tuple[str, ...]
    icc: dict[str, IccForm] | None
    kappa: dict[str, Kappa | NoKappa]
    kendall_w: float
    limits_of_agreement: LimitsOfAgreement | None
    notes: tuple[str, ...]
    icc_reason: str = sparse("")
    kendall_w_reason: str = sparse("")
    limits_of_agreement_reason: str = sparse("")
    ratings: pd.DataFrame = field(default_factory=pd.DataFrame, metadata={"stored": False})

    def to_frame(self) -> pd.DataFrame:
        """The ICC forms, or the kappas where the ratings are categories."""
        rows: Mapping[str, Record] = self.kappa if self.icc is None else self.icc
        known = {name: vars(item) for name, item in rows.items() if not isinstance(item, NoKappa)}
        return pd.DataFrame.from_dict(known, orient="index")


@views.page.register
def _(found: AgreementResult) -> Sequence[str | Table]:
    ci = ci_label(found.confidence)
    parts: list[str | Table] = [f"Agreement on {found.value}: {found.n_subjects} subjects, {len(found.raters)} raters."]
    if found.icc is not None:
        rows = [
            (form, row.meaning, with_interval(row.icc, row.lower, row.upper),
             f"{short(row.F)} ({row.df1:.0f}, {row.df2:.0f})", p_value(row.p))
            for form, row in found.icc.items()
        ]  # fmt: skip
        parts.append(make_table("", ("Form", "Meaning", f"ICC ({ci})", "F (df)", "P"), rows))
    if found.kappa:
        kappas = [
            (name, MISSING, item.reason, MISSING) if isinstance(item, NoKappa)
            else (name, with_interval(item.kappa, item.lower, item.upper), number(item.z), p_value(item.p))
            for name, item in found.kappa.items()
        ]  # fmt: skip
        parts.append(make_table("", ("Kappa of", f"Kappa ({ci})", "Z", "P"), kappas))
    lines = [] if math.isnan(found.kendall_w) else [f"Kendall's W: {number(found.kendall_w, 3)}."]
    limits = found.limits_of_agreement
    if limits is not None:
        between = f"{short(limits.lower)} to {short(limits.upper)}"
        lines.append(f"{' - '.join(found.raters)}: bias {short(limits.bias)}, 95% limits of agreement {between}.")
    return [*parts, "\n".join(lines), note_lines(found.notes)]


@views.drawings.register
def _(found: AgreementResult) -> views.Drawings:
    """`agreement`: differences against means, for numeric ratings."""
    return {} if found.icc is None or found.ratings.empty else {"agreement": partial(_draw, found)}


def _draw(found: AgreementResult) -> Any:
    from hepacast.study.statistics.drawing import draw_differences

    values = found.ratings.to_numpy(float)
    means, names = values.mean(axis=1), found.raters
    known = found.limits_of_agreement
    if known is not None:
        shown, limits = {"": values[:, 0] - values[:, 1]}, (known.lower, known.bias, known.upper)
        y_label = f"{names[0]} \N{MINUS SIGN} {names[1]}"
    else:
        shown = {name: values[:, j] - means for j, name in enumerate(names)}
        everything = np.concatenate(list(shown.values()))
        spread = 1.96 * float(np.sqrt((everything**2).sum() / (len(values) * (len(names) - 1))))
        limits, y_label = (-spread, 0.0, spread), "Rating \N{MINUS SIGN} mean of the raters"
    return draw_differences(means, shown, limits=limits, x_label=f"Mean of the raters ({found.value})", y_label=y_label)


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
    table.notes = [note for note in table.notes if note not in table.about_rows]  # rows are ratings here
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
    subjects = read_ids(table.cells[key])
    nameless = [row for row, subject in zip(table.rows, subjects) if subject is None]
    if nameless:
        table.note(f"{name_rows(nameless)}: no subject, left out.")
    frame = pd.DataFrame(columns).set_axis(subjects, axis=0)[[subject is not None for subject in subjects]]
    twice = frame.index[frame.index.duplicated()]
    if len(twice):
        raise TableError(
            "A subject stands in two rows.",
            expected="one row a subject, with a column for each rater",
            found=", ".join(dict.fromkeys(map(str, twice[:5]))),
            where=f"{table.name}, column {key}",
            remedy="name each lesion or reading as a subject of its own, or keep one row",
        )
    return frame


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
    kappas: dict[str, Kappa | NoKappa] = {}
    if not numeric or (len(levels) <= MAX_SCORES and all(float(level).is_integer() for level in levels)):
        codes = [float(v) for v in levels] if numeric else list(range(len(levels)))
        kappas = _kappas(complete, ordered, codes, level)
    limits = _limits(complete) if numeric and complete.shape[1] == 2 else None
    w = kendall_w(complete.to_numpy(float)) if ordered and len(levels) > 1 else float("nan")
    names = tuple(f"{level:g}" if numeric else str(level) for level in levels) if kappas else ()
    return AgreementResult(
        value=label,
        confidence=level,
        n_subjects=len(complete),
        raters=tuple(str(name) for name in complete.columns),
        categories=names,
        icc=None if forms is None else {str(form): IccForm(*row) for form, *row in forms.itertuples(name=None)},
        kappa=kappas,
        kendall_w=w,
        limits_of_agreement=limits,
        notes=tuple(table.notes),
        icc_reason="the ratings are categories" if forms is None else "",
        kendall_w_reason="Kendall's W needs ratings that can be ranked and differ" if math.isnan(w) else "",
        limits_of_agreement_reason="limits of agreement are those of two raters' numbers" if limits is None else "",
        ratings=complete,
    )


def _limits(ratings: pd.DataFrame) -> LimitsOfAgreement:
    difference = ratings.iloc[:, 0] - ratings.iloc[:, 1]
    bias, spread = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return LimitsOfAgreement(bias - spread, bias, bias + spread)


def _why_no_limits(ratings: pd.DataFrame) -> str:
    """In words, why an ICC has no interval."""
    values = ratings.to_numpy(float)
    differences = values - values.mean(axis=1, keepdims=True)
    if np.abs(differences).max() <= 1e-9 * np.ptp(values):
        return "The raters agree without any difference: the ICC has no interval."
    if np.ptp(differences, axis=0).max() <= 1e-9 * np.ptp(values):
        return "The raters differ by the same amount for every subject: a form of the ICC has no interval."
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


def _kappas(ratings: pd.DataFrame, ordered: bool, levels: Sequence[float], level: float) -> dict[str, Kappa | NoKappa]:
    found: dict[str, Kappa | NoKappa] = {}
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


def _one_kappa(compute: Callable[[], Kappa]) -> Kappa | NoKappa:
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            kappa = compute()
    except HepacastError as problem:
        return NoKappa(problem.message)
    if not math.isfinite(kappa.kappa) or not math.isfinite(kappa.z):
        return NoKappa("a rater used one category only")
    return kappa
