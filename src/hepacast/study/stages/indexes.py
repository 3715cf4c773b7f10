"""Stage indexes: staging systems and prognostic indexes from the clinical table, beside the main model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from hepacast.cohort import Cohort, Outcome
from hepacast.cohort.scores import SCORES, score_table
from hepacast.cohort.scores.table import usable
from hepacast.core.estimates import Estimate
from hepacast.core.files import read_json
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import HepacastError, StudyFileError
from hepacast.evaluation.delong import delong_test
from hepacast.evaluation.evaluate import within_folds
from hepacast.evaluation.indexes import AboutScore, IndexResults, IndexRow, IndexSet
from hepacast.evaluation.reclassification import Change, nri
from hepacast.evaluation.roc import roc
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.targets import has_time, rank_difference, rank_estimate
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.cox_checks import concordance
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.stage import Cost, Stage, study_parts

FILE = "indexes.json"
#: A score that fewer patients of a set have is not compared there.
FEWEST = 10
#: Scores whose value is another score's or a sum, and whose grade is what is used; from best to worst.
GRADED = {"mALBI": ("1", "2a", "2b", "3"), "up-to-seven": ("within", "beyond")}


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    cohort = analysis_cohort(context)
    names, table = _scores(context, cohort)
    main = str(read_json(context.out / "modelling" / "models.json")["main"])
    predictions = Predictions.read(context.out / "modelling" / "predictions.parquet").select(model=main)
    level, outcome = context.study.evaluation.confidence, cohort.outcome
    sets = {}
    for set_name in dict.fromkeys(cohort.sets):
        item = predictions.judged_set("nested" if set_name == "training" else set_name)
        if item is None:
            continue
        risk = pd.Series(item.scores[main], index=item.patients)
        nested = OutOfFold.of(predictions) if item.kind == "nested" else None
        sets[set_name] = IndexSet(
            kind=item.kind,
            n=item.n,
            events=item.n_events,
            discrimination=within_folds(nested, main, level) if nested else _discrimination(item.y, risk, level),
            c_index=_c_index(cohort, risk, level),
            rows=tuple(_compare(name, table, cohort, outcome, risk, level, nested) for name in names),
        )
    about = tuple(_about(name, table) for name in names)
    write_record(folder / FILE, IndexResults(main, about, sets, outcome.measure))
    write_record(folder / "methods.json", [_sentence(main, names, outcome)])


def _scores(context: Context, cohort: Cohort) -> tuple[list[str], pd.DataFrame]:
    """Names, and one column a score (higher is worse) with ``NAME_reason`` beside it."""
    rules = context.study.indexes
    assert rules is not None
    names = rules.scores or [name for name in usable(cohort.table, rules.columns) if name not in ("ART", "ABCR")]
    if not names:
        raise StudyFileError(
            "The clinical table has the inputs of no staging system or index.",
            expected="columns named as the inputs, or `indexes.columns`",
            where="indexes",
            remedy="hepacast score --list names every input",
        )
    mapping = {key: column for key, column in rules.columns.items() if _is_input(names, key)}
    scored = score_table(cohort.table, names, mapping)
    columns: dict[str, pd.Series] = {}
    for name in names:
        sign = 1.0 if SCORES[name].higher_is_worse else -1.0
        columns[name] = sign * _ordinal(name, scored)
        columns[f"{name}_reason"] = scored[f"{name}_reason"]
    return names, pd.DataFrame(columns, index=scored.index)


def _is_input(names: list[str], key: str) -> bool:
    return any(item.name == key for name in names for item in SCORES[name].inputs)


def _ordinal(name: str, scored: pd.DataFrame) -> pd.Series:
    """The score's value; for those that are a grade of another's value, the grade's place."""
    if name in GRADED:
        places = {grade: float(place) for place, grade in enumerate(GRADED[name])}
        return scored[f"{name}_grade"].map(places).astype(float)
    return pd.Series(scored[name], index=scored.index, dtype=float)


def _about(name: str, table: pd.DataFrame) -> AboutScore:
    item = SCORES[name]
    missing = table.loc[table[name].isna(), f"{name}_reason"]
    common = str(missing.value_counts().index[0]) if len(missing) else ""
    return AboutScore(name, item.title, item.source, len(missing), common)


def _discrimination(y: NDArray[Any], score: pd.Series, level: float) -> Estimate:
    """AUC with DeLong's limits, or Harrell's C with those of the infinitesimal jackknife."""
    values = score.to_numpy(dtype=float)
    if not has_time(y):
        return roc(y, values, level=level).estimate
    value, variance = rank_estimate(y, values)
    return _with_limits(value, variance, level)


def _with_limits(value: float, variance: float, level: float) -> Estimate:
    half = float(norm.ppf(0.5 + level / 2) * np.sqrt(variance))
    return Estimate(value, value - half, value + half, level, float(np.sqrt(variance)))


def _c_index(cohort: Cohort, score: pd.Series, level: float) -> Estimate | None:
    """Harrell's C of the study's follow-up, where it has one."""
    if not cohort.survival:
        return None
    follow_up = next(iter(cohort.survival.values()))
    rows = [p for p in score.index if p in follow_up.time.index]
    if len(rows) < FEWEST or follow_up.event[rows].sum() == 0 or score[rows].nunique() < 2:
        return None
    found = concordance(follow_up.time[rows], follow_up.event[rows], score[rows])
    return Estimate(found.c, *found.interval(level), level=level, se=found.se)


def _compare(
    name: str,
    table: pd.DataFrame,
    cohort: Cohort,
    outcome: Outcome,
    risk: pd.Series,
    level: float,
    nested: OutOfFold | None,
) -> IndexRow:
    """One score against the main model, on the patients of the set who have both.

    Cross-validated predictions are compared within the folds of every repeat; others by DeLong's paired test, or by the
    influence functions of C.
    """
    score = table[name].reindex(risk.index).dropna()
    entry = IndexRow(name, len(score), int(outcome.events.loc[score.index].sum()))
    if len(score) < FEWEST or not outcome.suffices(score.index):
        return replace(entry, reason="too few patients have this score")
    if score.nunique() < 2:
        return replace(entry, reason="all patients have the same value")
    own, y = risk.loc[score.index].to_numpy(dtype=float), outcome.select(score.index).y
    if nested is None and has_time(y):
        difference = _with_limits(*rank_difference(y, own, score.to_numpy(dtype=float)), level)
        p = float(2 * norm.sf(abs(difference.value / difference.se))) if difference.se > 0 else 1.0
    elif nested is None:
        test = delong_test(y, own, score.to_numpy(dtype=float), level=level)
        difference, p = Estimate(test.difference, *test.ci, level=level), test.p
    else:
        found = nested.compare_with(score, level)
        difference, p = Estimate(found["value"], found["low"], found["high"], level), found["p"]
    return replace(
        entry,
        discrimination=_discrimination(y, score, level),
        c_index=_c_index(cohort, score, level),
        difference=difference,
        p=p,
        nri=None if has_time(y) else _nri(name, table, cohort, score, y, own, level),
    )


def _nri(
    name: str,
    table: pd.DataFrame,
    cohort: Cohort,
    score: pd.Series,
    y: np.ndarray,
    own: np.ndarray,
    level: float,
) -> Change | None:
    """Continuous NRI of the main model over the score, whose risk is a logistic model of the training patients."""
    training = table.loc[cohort.members("training"), [name]].dropna()
    try:
        model = LogisticModel((Predictor(name, "numeric"),)).fit(training, cohort.outcome.select(training.index).y)
        risk = model.frozen_.risk(score.to_frame())
        return nri(y, risk, own, level=level).nri
    except HepacastError:
        # No logistic model of this score exists (it does not vary in training): there is no risk to reclassify.
        return None


def _sentence(main: str, names: list[str], outcome: Outcome) -> Sentence:
    if outcome.has_time:
        text = (
            f"The {main} model was compared with {len(names)} staging systems and indexes calculated from the clinical "
            f"table ({', '.join(names)}): Harrell's C, its difference tested by influence functions on the patients "
            "who have both (in the training set within the folds of nested cross-validation)."
        )
        return Sentence("indexes", text)
    text = (
        f"The {main} model was compared with {len(names)} staging systems and indexes calculated from the clinical "
        f"table ({', '.join(names)}): AUC with DeLong's test on the patients who have both (in the training set within "
        "the folds of nested cross-validation), Harrell's C, and the continuous net reclassification improvement over "
        "a logistic model of the score fitted in the training set [@nri]."
    )
    return Sentence("indexes", text, ["nri"])


STAGE = Stage(
    name="indexes",
    title="staging systems and indexes beside the main model",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(context, "indexes", "evaluation"),
    cost=lambda context: Cost(5.0, 4e8),
    needs=("cohort", "radiomics", "modelling"),
    wanted=lambda context: context.study.indexes is not None,
)
