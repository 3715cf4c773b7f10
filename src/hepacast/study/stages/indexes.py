"""Stage indexes: staging systems and prognostic indexes from the clinical table, beside the main model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.cohort import Cohort
from hepacast.cohort.scores import SCORES, score_table
from hepacast.cohort.scores.table import usable
from hepacast.core.files import read_json, write_json
from hepacast.errors import HepacastError, StudyFileError
from hepacast.evaluation.delong import delong_test
from hepacast.evaluation.reclassification import nri
from hepacast.evaluation.roc import roc
from hepacast.modelling.logistic_model import LogisticModel
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.predictors import Predictor
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.cox_checks import concordance
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.evaluation import nested_of

FILE = "indexes.json"
#: A score that fewer patients of a set have is not compared there.
FEWEST = 10
#: Scores whose value is another score's or a sum, and whose grade is what is used; from best to worst.
GRADED = {"mALBI": ("1", "2a", "2b", "3"), "up-to-seven": ("within", "beyond")}
#: Predictions of the main model by set: cross-validated in training, frozen elsewhere.
_KINDS = {"training": "nested"}


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    cohort = analysis_cohort(context)
    names, table = _scores(context, cohort)
    predictions = Predictions.read(context.out / "modelling" / "predictions.parquet").table
    main = str(read_json(context.out / "modelling" / "models.json")["main"])
    level = context.study.evaluation.confidence
    outcome = cohort.outcome.values  # type: ignore[union-attr]
    content: dict[str, Any] = {"model": main, "scores": [_about(name, table) for name in names], "sets": {}}
    for set_name in dict.fromkeys(cohort.sets):
        part = predictions[
            (predictions["set"] == set_name)
            & (predictions["kind"] == _KINDS.get(set_name, "frozen"))
            & (predictions["model"] == main)
        ]
        risk = part.groupby("patient")["risk"].mean().dropna()
        nested = nested_of(part)
        rows = [_compare(name, table, cohort, outcome, set_name, risk, level, nested) for name in names]
        content["sets"][set_name] = {
            "kind": _KINDS.get(set_name, "frozen"),
            "n": len(risk),
            "events": int(outcome.loc[risk.index].sum()),
            "model": _itself(cohort, outcome, risk, level, nested),
            "rows": rows,
        }
    write_json(folder / FILE, content)
    write_json(folder / "methods.json", [_sentence(main, names)])


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


def _about(name: str, table: pd.DataFrame) -> dict[str, Any]:
    item = SCORES[name]
    missing = table.loc[table[name].isna(), f"{name}_reason"]
    common = missing.value_counts().index[0] if len(missing) else None
    return {
        "name": name, "title": item.title, "source": item.source, "n_missing": len(missing), "reason": common,
    }  # fmt: skip


def _itself(
    cohort: Cohort, outcome: pd.Series, risk: pd.Series, level: float, nested: OutOfFold | None
) -> dict[str, Any]:
    curve = roc(outcome.loc[risk.index].to_numpy(), risk.to_numpy(), level=level)
    own = {"value": curve.auc, "low": curve.auc_ci[0], "high": curve.auc_ci[1]}
    return {
        "auc": own if nested is None else nested.to_json(nested.models[0], level)["auc"],
        "c_index": _c_index(cohort, risk, level),
    }


def _c_index(cohort: Cohort, score: pd.Series, level: float) -> dict[str, float] | None:
    """Harrell's C of the study's follow-up, where it has one."""
    if not cohort.survival:
        return None
    follow_up = next(iter(cohort.survival.values()))
    rows = [p for p in score.index if p in follow_up.time.index]
    if len(rows) < FEWEST or follow_up.event[rows].sum() == 0 or score[rows].nunique() < 2:
        return None
    found = concordance(follow_up.time[rows], follow_up.event[rows], score[rows])
    low, high = found.interval(level)
    return {"value": found.c, "low": low, "high": high}


def _compare(
    name: str,
    table: pd.DataFrame,
    cohort: Cohort,
    outcome: pd.Series,
    set_name: str,
    risk: pd.Series,
    level: float,
    nested: OutOfFold | None,
) -> dict[str, Any]:
    """One score against the main model, on the patients of the set who have both.

    Cross-validated predictions are compared within the folds of every repeat; others by DeLong's paired test.
    """
    score = table[name].reindex(risk.index).dropna()
    y = outcome.loc[score.index].to_numpy(dtype=int)
    entry: dict[str, Any] = {"name": name, "n": len(score), "events": int(y.sum()), "reason": None}
    empty = dict.fromkeys(("auc", "c_index", "difference", "p", "nri"))
    if len(score) < FEWEST or y.min() == y.max():
        return entry | empty | {"reason": "too few patients have this score"}
    if score.nunique() < 2:
        return entry | empty | {"reason": "all patients have the same value"}
    own = risk.loc[score.index].to_numpy(dtype=float)
    curve = roc(y, score.to_numpy(dtype=float), level=level)
    if nested is None:
        test = delong_test(y, own, score.to_numpy(dtype=float), level=level)
        difference, p = {"value": test.difference, "low": test.ci[0], "high": test.ci[1]}, test.p
    else:
        found = nested.compare_with(score, level)
        difference, p = {key: found[key] for key in ("value", "low", "high")}, found["p"]
    return entry | {
        "auc": {"value": curve.auc, "low": curve.auc_ci[0], "high": curve.auc_ci[1]},
        "c_index": _c_index(cohort, score, level),
        "difference": difference,
        "p": p,
        "nri": _nri(name, table, cohort, outcome, score, y, own, level),
    }


def _nri(
    name: str,
    table: pd.DataFrame,
    cohort: Cohort,
    outcome: pd.Series,
    score: pd.Series,
    y: np.ndarray,
    own: np.ndarray,
    level: float,
) -> dict[str, Any] | None:
    """Continuous NRI of the main model over the score, whose risk is a logistic model of the training patients."""
    training = table.loc[cohort.members("training"), [name]].dropna()
    try:
        model = LogisticModel((Predictor(name, "numeric"),)).fit(training, outcome.loc[training.index].to_numpy())
        risk = model.frozen_.risk(score.to_frame())
        found = nri(y, risk, own, level=level).to_json()
    except HepacastError:
        # No logistic model of this score exists (it does not vary in training): there is no risk to reclassify.
        return None
    return {key: found[key] for key in ("estimate", "p", "ci", "reason")}


def _sentence(main: str, names: list[str]) -> dict[str, Any]:
    text = (
        f"The {main} model was compared with {len(names)} staging systems and indexes calculated from the clinical "
        f"table ({', '.join(names)}): AUC with DeLong's test on the patients who have both (in the training set within "
        "the folds of nested cross-validation), Harrell's C, and the continuous net reclassification improvement over "
        "a logistic model of the score fitted in the training set [@nri]."
    )
    return {"stage": "indexes", "text": text, "citations": ["nri"]}


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
