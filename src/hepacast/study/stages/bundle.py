"""Stage 6, bundle: the frozen model in one file, with what a reader must know about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast._version import __version__
from hepacast.bundle import Bundle
from hepacast.cohort import Cohort, read_cohort
from hepacast.cohort.outcome import EVER
from hepacast.core.files import read_json, write_text
from hepacast.core.stages import read_mark
from hepacast.errors import BundleError
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.known_values import MOST_NUMBERS, TrainingDistribution
from hepacast.modelling.predictions import Predictions
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.analysis_set import analysis_cohort, analysis_features
from hepacast.study.context import Context
from hepacast.study.image_recipe import recipe_of
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.card import conformal_card, evaluated_card
from hepacast.study.stages.deep_bundle import preprocessing_of, write_network_bundle
from hepacast.study.stages.frozen_files import read_frozen
from hepacast.study.stages.fusion import read_fusion
from hepacast.study.stages.modelling import require_frozen

FILE = "model.hepacast"
#: Largest difference of a risk that is read back: classifiers compute in single precision.
_SAME_RISK = 1e-6


def write(context: Context, folder: Path) -> None:
    """Run the stage. Models that cannot be written as numbers give no bundle, but a note that says so."""
    write_network_bundle(context, folder)
    frozen = require_frozen(context)
    if "unavailable" in frozen:
        write_text(folder / "no-bundle.txt", f"{frozen['unavailable']}\n")
        return
    make_bundle(context).write(folder / FILE)
    require_same_predictions(context, folder / FILE)


def require_same_predictions(context: Context, path: Path) -> None:
    """Read a bundle back as a stranger would, and predict the study's patients with it.

    Models that read networks are left out: their crops would have to be made again for every patient. Training
    patients of a fusion are too, whose risks come from scores that were fitted without them.

    Raises
    ------
    BundleError
        A risk is another than the study's own.
    """
    opened = Bundle.read(path)
    names = [name for name in opened.names if not opened.reads_networks(name)]
    expected = Predictions.read(context.out / "modelling" / "predictions.parquet").table
    kinds = ["frozen"] if context.study.fusion is not None else ["apparent", "frozen"]
    expected = expected[expected["kind"].isin(kinds) & expected["model"].isin(names)]
    table = _analysed_table(context, opened.models.columns(), list(dict.fromkeys(expected["patient"])))
    for (name, horizon), rows in expected.groupby(["model", "horizon"], sort=False):
        time = () if horizon == EVER else (float(str(horizon)),)
        found = opened.models.predict_risk(table.loc[list(rows["patient"])], *time)[name].to_numpy()
        told = rows["risk"].to_numpy()
        # A model may have no risk at a horizon: the bundle then has none either.
        apart = np.where(np.isnan(found) & np.isnan(told), 0.0, np.abs(found - told))
        if not (apart <= _SAME_RISK).all():
            raise BundleError(
                "The bundle does not predict what the study did.",
                expected=f"risks of the model {name!r} equal to {_SAME_RISK:g}",
                found=f"up to {np.nanmax(apart):.3g} apart in {int((~(apart <= _SAME_RISK)).sum())} patients",
                where=path.name,
                remedy="report this as a fault of hepacast; the results of the study itself stand",
            )


def _analysed_table(context: Context, columns: Sequence[str], patients: list[str]) -> pd.DataFrame:
    """The analyzed values of some columns; what is in no table (what networks read) is missing."""
    frame = read_cohort(context.out / "cohort").table.frame.reindex(patients)
    clinical = [name for name in columns if name in frame.columns]
    table = frame[clinical]
    if set(columns) - set(clinical):
        features = analysis_features(context, patients)
        table = table.join(features[[name for name in columns if name in features.columns]])
    return table.reindex(columns=list(columns))


def make_bundle(context: Context) -> Bundle:
    """The bundle of a finished run."""
    entry = require_frozen(context)
    models: FrozenModels
    networks = None
    if "parts" in entry:
        models, networks = read_fusion(context.out / "modelling")
    else:
        models = read_frozen(context.out / "modelling")
    cohort = read_cohort(context.out / "cohort")
    wanted = {name for model in models.models.values() for name in model.names} - set(models.score_names)
    described = read_json(context.out / "modelling" / "models.json")
    return Bundle(
        models=models,
        columns=tuple(spec for spec in cohort.table.specs if spec.name in wanted),
        recipe=_recipe(context),
        nomogram=_without_example(described.get("nomogram")),
        card=_card(context, described, survival=bool(models.horizons)),
        networks=networks,
        training=_training(context, models, cohort),
    )


def _training(context: Context, models: FrozenModels, cohort: Cohort) -> TrainingDistribution:
    """How the columns that the models read went together in training: for values that nobody knows of a patient."""
    patients = analysis_cohort(context).members("training")
    clinical = {spec.name: spec.kind for spec in cohort.table.specs if spec.name in models.columns()}
    measured = [name for name in models.measured() if len(models.measured()) <= MOST_NUMBERS]
    table = _analysed_table(context, [*clinical, *measured], list(patients))
    # What networks read is in no table.
    table = table.drop(columns=[name for name in measured if table[name].isna().all()])
    return TrainingDistribution.of(table, [name for name, kind in clinical.items() if kind != "numeric"])


def _without_example(spec: dict[str, Any] | None) -> dict[str, Any] | None:
    """No patient of the study is in the bundle."""
    return None if spec is None else {**spec, "example": None}


def _recipe(context: Context) -> ImageRecipe:
    study = context.study
    if study.images is not None and study.features.table is None:
        return replace(recipe_of(context), preprocessing=preprocessing_of(context))
    if study.features.table is None:
        return ImageRecipe("none")
    summary = read_json(context.out / "radiomics" / "summary.json")
    return ImageRecipe("table", settings_hash=summary["settings_hash"])


def _card(context: Context, described: dict[str, Any], *, survival: bool) -> dict[str, Any]:
    study, out = context.study, context.out
    outcome, flow = read_json(out / "cohort" / "outcome.json"), read_json(out / "modelling" / "flow.json")
    validation = read_json(out / "modelling" / f"{'survival_' if survival else ''}validation.json")
    segmentation = out / "segmentation" / "segmentation.json"
    return {
        "name": study.name,
        "recipe": study.recipe,
        "intended_use": study.intended_use or "Not stated by the study's authors.",
        "notice": "Research use only. Not a medical device.",
        "outcome": {key: outcome[key] for key in ("name", "positive", "negative", "definition", "source")},
        "population": {"included": flow["included"], "sets": flow["sets"]},
        "models": described["names"],
        "cutoffs": described["cutoffs"],
        **evaluated_card(context, described["names"]),
        "validation": {
            name: {key: item[key] for key in ("nested", "bootstrap") if key in item}
            for name, item in validation["models"].items()
        },
        "conformal": conformal_card(context),
        "masks": read_json(segmentation)["description"] if segmentation.is_file() else "none",
        "provenance": {
            "hepacast": __version__,
            "seed": study.seed,
            "stages": {
                name: mark["key"]
                for name in ("cohort", "segmentation", "radiomics", "modelling")
                if (mark := read_mark(out / name)) is not None
            },
        },
    }


STAGE = Stage(
    name="bundle",
    title="the frozen model in one file",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(
        context, "name", "recipe", "seed", "intended_use", "features", "images", "cohort"
    ),
    cost=lambda context: Cost(1.0),
    needs=("cohort", "radiomics", "deep", "modelling", "evaluation"),
)
