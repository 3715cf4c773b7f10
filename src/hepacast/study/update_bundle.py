"""A model adapted to another hospital: the updated bundle, which keeps what it came from and both performances."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from hepacast.bundle import Bundle
from hepacast.bundle.redrawn import redrawn_nomogram
from hepacast.bundle.signing import UNSIGNED
from hepacast.core.records import read_record
from hepacast.errors import BundleError, HepacastError
from hepacast.evaluation.evaluate import Judging, evaluate_set
from hepacast.evaluation.results import EvaluationResults, SetResult
from hepacast.evaluation.validated import UPDATES, ModelLineage, validated_performance
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.frozen_logistic import FrozenLinear, FrozenLogistic
from hepacast.modelling.predictions import JudgedSet, Predictions
from hepacast.modelling.updating import Update, update_model
from hepacast.study.analysis_set import analysis_cohort
from hepacast.study.context import Context
from hepacast.study.stages.applying import PREDICTORS, model_of

FILE = "updated.hepacast"
#: What a user may ask for; the closed test chooses the smallest change that is enough.
WAYS = ("closed-test", "intercept", "slope", "refit")


def write_updated(context: Context, way: str) -> tuple[Path | None, str]:
    """Write ``updated.hepacast`` beside the validation's results.

    Parameters
    ----------
    context
        Of a finished validation.
    way
        One of `WAYS`.

    Returns
    -------
    path, text
        None where the closed test keeps the model as it is; and what was done.

    Raises
    ------
    BundleError
        A model of networks, or of a kind that cannot be updated.
    HepacastError
        Too few patients for the change.
    """
    require_way(way)
    bundle = model_of(context)
    if not isinstance(bundle, Bundle) or not isinstance(bundle.models.model(bundle.main), FrozenLogistic | FrozenCox):
        raise BundleError(
            "A model of networks is not updated.", expected="model.hepacast", found=str(context.models[0])
        )
    predictions = Predictions.read(context.out / "modelling" / "predictions.parquet")
    (item,) = predictions.judged([bundle.main]).values()
    table = pd.read_parquet(context.out / "modelling" / PREDICTORS).loc[item.patients]
    own = bundle.models.model(bundle.main)
    tried = update_model(own, table, item.y)
    method = tried.chosen if way == "closed-test" else way
    if method not in tried.models:
        raise HepacastError(
            "These patients do not tell new coefficients.", expected="more patients, or fewer predictors",
            found=f"{item.n} patients, {item.n_events} events", remedy="--update slope, or closed-test",
        )  # fmt: skip
    if method == "none":
        return None, "The closed test keeps the model as it is: no updated model was written."
    found = read_record(EvaluationResults, context.out / "evaluation" / "evaluation.json").sets[item.name]
    updated = _updated(context, bundle, tried, method, item, table, found)
    updated.write(context.out / FILE)
    why = " (chosen by the closed test)" if way == "closed-test" else ""
    held = f"\n{updated.held_text()}" if updated.held_text() else ""
    return context.out / FILE, f"Updated by {UPDATES[method]}{why}: {context.out / FILE}{held}"


def require_way(way: str) -> None:
    """Raises `HepacastError` where there is no such update."""
    if way not in WAYS:
        raise HepacastError("There is no such update.", expected=", ".join(WAYS), found=way)


def _updated(
    context: Context,
    bundle: Bundle,
    tried: Update,
    method: str,
    item: JudgedSet,
    table: pd.DataFrame,
    found: SetResult,
) -> Bundle:
    main, models = bundle.main, bundle.models
    model, row = tried.models[method], _row(tried, method)
    own = models.model(main)
    cut = _moved(own, model, models.cutoffs[main], (row["intercept"], row["slope"]), models.main_horizon)
    after = _judged_again(context, item, model, table, cut)
    (before_row,), (after_row,) = (validated_performance({"external": s}, main) for s in (found, after))
    lineage = ModelLineage(
        parent=bundle.identity,
        study=context.study.name,
        outcome=analysis_cohort(context).outcome.name,
        n=item.n,
        events=item.n_events,
        method=method,
        before=before_row,
        after=after_row,
        intercept=row["intercept"],
        slope=row["slope"],
        p=row["p"],
        level=found.level,
    )
    card = {
        **bundle.card,
        "models": [main],
        "cutoffs": {main: None if math.isnan(cut) else cut},
        "conformal": {"reason": "the model was updated after its sets were calibrated"},
        "updates": [*bundle.card.get("updates", ()), lineage.to_json()],
    }
    frozen = replace(models, models={main: model}, cutoffs={main: cut})
    return replace(
        bundle, models=frozen, nomogram=redrawn_nomogram(bundle, model), card=card, identity="", signed=UNSIGNED
    )


def _row(tried: Update, method: str) -> dict[str, float]:
    """The change of the linear predictor and its P."""
    (found,) = tried.table[tried.table["method"] == method].to_dict("records")
    return {str(key): float(value) for key, value in found.items() if key != "method"}


def _moved(own: FrozenLinear, model: FrozenLinear, cut: float, line: tuple[float, float], horizon: float) -> float:
    """The cut-off that leaves every patient on his side; NaN after new coefficients, which reorder patients."""
    shift, slope = line
    if not (math.isfinite(shift) and math.isfinite(cut) and 0 < cut < 1):
        return math.nan
    if not isinstance(own, FrozenCox):
        return float(expit(shift + slope * logit(cut)))
    hazard = float(own.cumulative_hazard([horizon])[0])
    old = math.log(-math.log1p(-cut) / hazard)
    return float(model.risk_of(np.array([shift + slope * old]), horizon)[0])


def _judged_again(context: Context, item: JudgedSet, model: FrozenLinear, table: pd.DataFrame, cut: float) -> SetResult:
    """The same patients by the updated model: apparent, as it was fitted to them."""
    lp = model.linear_predictor(table)
    (name,) = item.risks
    risks = {t: model.risk_of(lp, t if item.has_time else None) for t in item.risks[name]}
    scores = lp if item.has_time else cast(Any, next(iter(risks.values())))
    judged = replace(item, kind="apparent", risks={name: risks}, scores={name: scores})
    cutoffs = {} if math.isnan(cut) else {name: {"updated": cut}}
    return evaluate_set(judged, Judging(level=context.study.evaluation.confidence, cutoffs=cutoffs, external=False))
