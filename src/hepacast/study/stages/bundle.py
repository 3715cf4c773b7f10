"""Stage 6, bundle: the frozen model in one file, with what a reader must know about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast._version import __version__
from hepacast.bundle import Bundle
from hepacast.bundle.networks import SCORE, NetworkBundle
from hepacast.cohort import Cohort
from hepacast.cohort.outcome import EVER
from hepacast.core.estimates import Estimate
from hepacast.core.files import read_json, write_text
from hepacast.core.records import read_record
from hepacast.core.stages import read_mark
from hepacast.deep import CropSpec, TrainedNetwork, averaged_scale
from hepacast.deep.domain import crop_facts, ranges_of
from hepacast.errors import BundleError
from hepacast.evaluation.case_mix import LINEAR_PREDICTOR
from hepacast.evaluation.results import EvaluationResults, ModelResult
from hepacast.evaluation.scrutiny import PredictionScrutiny
from hepacast.evaluation.validated import WHERE, validated_performance
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.known_values import MOST_NUMBERS, TrainingDistribution
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.score_scale import ScoreScale
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.analysis_set import analysis_cohort, analysis_features, measured_cohort
from hepacast.study.context import Context
from hepacast.study.image_recipe import biomarker_recipe
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.deep import DeepData, horizons_of, load_data
from hepacast.study.stages.frozen_files import SCORES, read_frozen
from hepacast.study.stages.fusion import read_fusion
from hepacast.study.stages.modelling import require_frozen
from hepacast.study.stages.preprocessing import LANDMARKS

FILE, NETWORKS_FILE = "model.hepacast", "networks.hepacast"
#: Says that the model holds values of single training patients, for whoever sends it.
HELD = "held.txt"
#: Largest difference of a risk that is read back: classifiers compute in single precision.
_SAME_RISK = 1e-6


def write(context: Context, folder: Path) -> None:
    """Run the stage. Models that cannot be written as numbers give no bundle, but a note that says so."""
    write_network_bundle(context, folder)
    frozen = require_frozen(context)
    if "unavailable" in frozen:
        write_text(folder / "no-bundle.txt", f"{frozen['unavailable']}\n")
        return
    bundle = make_bundle(context)
    held = bundle.held_text()
    if held:
        if context.without_rows:
            write_text(folder / "no-bundle.txt", f"{held}\n")
            context.reporter.say(f"no bundle: {held}")
            return
        write_text(folder / HELD, f"{held}\n")
        context.reporter.say(held)
    bundle.write(folder / FILE)
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
    frame = measured_cohort(context).table.frame.reindex(patients)
    clinical = [name for name in columns if name in frame.columns]
    table = frame[clinical]
    if set(columns) - set(clinical):
        features = analysis_features(context, patients)
        table = table.join(features[[name for name in columns if name in features.columns]])
    return table.reindex(columns=list(columns))


def make_bundle(context: Context) -> Bundle:
    """The bundle of a finished run."""
    folder, networks = context.out / "modelling", None
    if "parts" in require_frozen(context):
        models, networks = read_fusion(folder)
    else:
        models = read_frozen(folder)
    cohort = measured_cohort(context)
    wanted = {name for model in models.models.values() for name in model.names} - set(models.score_names)
    described = read_json(context.out / "modelling" / "models.json")
    return Bundle(
        models=models,
        columns=tuple(spec for spec in cohort.table.specs if spec.name in wanted),
        recipe=_recipe(context),
        nomogram=_without_example(described.get("nomogram")),
        card=_card(context, described),
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
        return replace(biomarker_recipe(context), preprocessing=preprocessing_of(context))
    if study.features.table is None:
        return ImageRecipe("none")
    summary = read_json(context.out / "radiomics" / "summary.json")
    return ImageRecipe("table", settings_hash=summary["settings_hash"])


def _study_card(context: Context) -> dict[str, Any]:
    """What every card says of the study."""
    study, out = context.study, context.out
    outcome, flow = read_json(out / "cohort" / "outcome.json"), read_json(out / "modelling" / "flow.json")
    return {
        "name": study.name,
        "recipe": study.recipe,
        "intended_use": study.intended_use or "Not stated by the study's authors.",
        "notice": "Research use only. Not a medical device.",
        "outcome": {key: outcome[key] for key in ("name", "positive", "negative", "definition", "source")},
        "population": {"included": flow["included"], "sets": flow["sets"]},
    }


def _card(context: Context, described: dict[str, Any]) -> dict[str, Any]:
    study, out = context.study, context.out
    validation = read_json(out / "modelling" / "validation.json")
    segmentation = out / "segmentation" / "segmentation.json"
    return {
        **_study_card(context),
        "models": described["names"],
        "cutoffs": described["cutoffs"],
        **evaluated_card(context, described["names"]),
        "validation": {
            name: {key: item[key] for key in ("nested", "bootstrap") if item[key] is not None}
            for name, item in validation["models"].items()
        },
        "conformal": conformal_card(context),
        "case_mix": case_mix_card(context, described["names"]),
        "masks": read_json(segmentation)["description"] if segmentation.is_file() else "none",
        **_segmenter_card(context, read_json(segmentation) if segmentation.is_file() else {}),
        "provenance": {
            "hepacast": __version__,
            "seed": study.seed,
            "stages": {
                name: mark["key"]
                for name in ("cohort", "segmentation", "radiomics", "biomarkers", "modelling")
                if (mark := read_mark(out / name)) is not None
            },
        },
    }


def _segmenter_card(context: Context, segmentation: Mapping[str, Any]) -> dict[str, Any]:
    """The segmenter of the training masks: its name, where it is one that everybody can have, and its identity."""
    source = "" if context.study.images is None else context.images.segmentation.source
    named = {"segmenter": source} if source.partition(":")[0] in ("builtin", "totalsegmentator") else {}
    made_by = segmentation.get("segmenter")
    return named if made_by is None else {**named, "made_by": made_by}


def evaluated_card(context: Context, names: list[str]) -> dict[str, Any]:
    """Of each model its performance by set, what validation showed, what speaks against it, and where it helps."""
    found = read_record(EvaluationResults, context.out / "evaluation" / "evaluation.json")
    rows = {name: [row.to_json() for row in validated_performance(found.sets, name)] for name in names}
    return {
        "performance": {
            set_name: {model: _performance(item) for model, item in entry.models.items() if model in names}
            for set_name, entry in found.sets.items()
        },
        "validated": {"level": found.level, "models": rows},
        "verdicts": {name: list(found.verdicts.get(name, ())) for name in names},
        "net_benefit": {name: _useful_thresholds(found, name) for name in names},
    }


def _useful_thresholds(found: EvaluationResults, name: str) -> list[dict[str, Any]]:
    """By set of patients whom the model was not fitted to: where it beats treating everybody and treating nobody."""
    return [
        {"set": where, "ranges": [list(pair) for pair in curve.useful_range]}
        for where in WHERE
        if where in found.sets and name in found.sets[where].models
        if (curve := found.sets[where].models[name].main.decision) is not None
    ]


def _performance(item: ModelResult) -> dict[str, Any]:
    """AUC and Brier score; of follow-up C, and these by horizon."""
    if item.c is None:
        fit = item.main.calibration
        return {"auc": _limits(item.main.auc), "brier": None if fit is None else fit.brier.value}
    horizons = [
        {
            "time": at.time,
            "auc": _limits(at.auc),
            "brier": None if at.calibration is None else _limits(at.calibration.brier),
        }
        for at in item.horizons
    ]
    return {"c": _limits(item.c), "horizons": horizons}


def _limits(item: Estimate) -> dict[str, Any]:
    content = item.to_json()
    return {key: content[key] for key in ("value", "low", "high", "se", "reason") if content[key] != ""}


def case_mix_card(context: Context, names: list[str]) -> dict[str, Any]:
    """Of each model coarse quantiles of its linear predictor, and of its scores, in training (`PROBABILITIES`)."""
    table = Predictions.read(context.out / "modelling" / "predictions.parquet").of("training").table
    table = table[table["horizon"] == table["horizon"].max()]
    scores = context.out / "modelling" / SCORES
    own = pd.read_parquet(scores) if scores.is_file() else pd.DataFrame()
    found = {}
    for name in names:
        lp = table[table["model"] == name].set_index("patient")["linear_predictor"].rename(LINEAR_PREDICTOR)
        known = TrainingDistribution.of(lp.to_frame().join(own), [])
        found[name] = {key: list(values) for key, values in known.quantiles.items()}
    return found


def conformal_card(context: Context) -> dict[str, Any]:
    """The two risks that decide the main model's conformal set; without them the reason."""
    path = context.out / "evaluation" / "scrutiny.json"
    if not path.is_file():
        return {"reason": "the study made no conformal sets"}
    found = read_record(PredictionScrutiny, path)
    rule = found.conformal.rule
    if rule is None:
        return {"reason": found.conformal.reason}
    kept = ("set", "n_events", "n_others", "coverage_events", "coverage_others")
    coverage = [{key: row.to_json()[key] for key in kept} for row in found.conformal.rows]
    return {"model": found.model, **rule.to_json(), "coverage": coverage}


def write_network_bundle(context: Context, folder: Path) -> None:
    """Write ``networks.hepacast`` of the main network."""
    results = context.out / "deep"
    if context.study.deep is None or not (results / "deep.json").is_file() or context.study.images is None:
        return
    content = read_json(results / "deep.json")
    if not content["models"]:
        return
    images = context.study.images
    name = list(content["models"])[-1]
    entry = content["models"][name]
    files = sorted((results / "networks").glob(f"{entry['kind']}-*.safetensors"))
    named: dict[str, Any] = content["crop"]
    crop = CropSpec.model_validate(named | {"channels": named["channels"] or list(images.sequences)})
    sequences = {key: item.modality for key, item in images.sequences.items()}
    data = load_data(context)
    wanted = context.study.deep.network.covariates
    specs = {spec.name: spec for spec in data.cohort.table.specs}
    NetworkBundle(
        name=name,
        crop=crop,
        recipe=ImageRecipe(
            "images",
            sequences=sequences,
            labels=images.segmentation.labels,
            preprocessing=preprocessing_of(context),
            missing=crop.missing,
        ),
        scale=ScoreScale.from_json(entry["calibration"]),
        horizons=horizons_of(context, data) if data.cohort.outcome.has_time else (),
        unit=data.cohort.outcome.unit,
        cutoff=float("nan") if entry["cutoff"] is None else float(entry["cutoff"]),
        networks=tuple(TrainedNetwork.load(file) for file in files),
        card=_network_card(context, name),
        structure=context.study.deep.structure,
        columns=tuple(specs[item] for item in wanted),
        seen=_seen(context, data, crop, sequences, entry["kind"]),
    ).write(folder / NETWORKS_FILE)


def _seen(
    context: Context, data: DeepData, crop: CropSpec, sequences: Mapping[str, str], kind: str
) -> dict[str, tuple[float, float]]:
    """What the training patients look like: of their crops, of their clinical numbers, of the networks' score."""
    assert context.study.deep is not None
    rows, options = data.rows("training"), context.study.deep
    facts = [
        crop_facts(data.crops[row], data.drawn[row], data.spacing[row], crop, options.structure, sequences)
        for row in rows
    ]
    found = ranges_of(facts)
    patients = [data.patients[row] for row in rows]
    for spec in data.cohort.table.specs:
        if spec.name in options.network.covariates and spec.kind == "numeric":
            values = data.cohort.table.frame[spec.name].reindex(patients)
            found |= ranges_of({spec.label: float(value)} for value in values.astype(float))
    scores = pd.read_parquet(context.out / "deep" / "features.parquet")[f"{kind}:score"].reindex(patients)
    lps = averaged_scale(scores.to_numpy(dtype=float), options.network)
    return found | ranges_of({SCORE: float(value)} for value in lps)


def preprocessing_of(context: Context) -> dict[str, Any] | None:
    """What is done to a new patient's images; of the training patients, Nyul's landmarks are means."""
    images = context.study.images
    if images is None or images.preprocessing is None:
        return None
    landmarks = context.out / "preprocessing" / LANDMARKS
    return {
        "reference": images.reference,
        "rules": images.preprocessing.model_dump(mode="json"),
        "landmarks": read_json(landmarks) if landmarks.is_file() else None,
    }


def _network_card(context: Context, name: str) -> dict[str, Any]:
    return {
        **_study_card(context),
        **_of_one(evaluated_card(context, [name]), name),
        "provenance": {"hepacast": __version__, "seed": context.study.seed},
    }


def _of_one(card: dict[str, Any], name: str) -> dict[str, Any]:
    """The card of a bundle with one model: its performance by set."""
    return card | {"performance": {part: item[name] for part, item in card["performance"].items() if name in item}}


STAGE = Stage(
    name="bundle",
    title="the frozen model in one file",
    module=__name__,
    run=write,
    settings=lambda context: {
        **study_parts(context, "name", "recipe", "seed", "intended_use", "features", "images", "cohort"),
        **({"without rows": True} if context.without_rows else {}),
    },
    cost=lambda context: Cost(1.0),
    needs=("cohort", "radiomics", "deep", "modelling", "evaluation"),
)
