"""Stage 4 with a fusion: networks and classifiers compared inside the training patients, and models that join them.

Writes the same files as the stage without a fusion, so that evaluation and report read them alike, and `fusion.json`
with the comparison, and the final models as arrays; further cohorts are predicted here, too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepacast.bundle.image_networks import ImageNetworks
from hepacast.cohort.outcome import Outcome
from hepacast.core.executor import map_items, resolve_workers
from hepacast.core.files import atomic_path, read_json, write_json
from hepacast.core.records import write_record
from hepacast.core.seeds import derive_seed
from hepacast.core.sentences import Sentence
from hepacast.deep import CropSpec, TrainedNetwork
from hepacast.deep.cost import step_seconds, training_bytes
from hepacast.errors import ModelError
from hepacast.modelling.classifiers import CLASSIFIERS
from hepacast.modelling.described import Cut, ModelValidation
from hepacast.modelling.folds import stratified_folds
from hepacast.modelling.frozen_models import FrozenModels
from hepacast.modelling.frozen_score import learned_by_networks
from hepacast.modelling.fusion import (
    BIOMARKERS,
    CLINICAL,
    NETWORK,
    Family,
    FusionSpec,
    View,
    ViewResult,
    fit_view,
    inner_rank,
    preferred,
    score_name,
)
from hepacast.modelling.grammar import NAMED, ChainSpec
from hepacast.modelling.predictions import Predictions
from hepacast.modelling.stability import selection_stability
from hepacast.modelling.targets import event_classes, rank_estimate, rank_score
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.resampling import repeated_folds
from hepacast.study.analysis_set import analysis_features
from hepacast.study.context import Context
from hepacast.study.crops import with_channels
from hepacast.study.further_cohorts import PREDICTIONS, FurtherTable, further_inputs, read_further
from hepacast.study.schema import Fusion
from hepacast.study.schema.analysis import Modelling
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.biomarkers import with_biomarkers
from hepacast.study.stages.chain_cost import chain_bytes, chain_seconds, size_of_chain
from hepacast.study.stages.comparisons import write_analysed
from hepacast.study.stages.describe_models import (
    chain_steps,
    describe_clinical,
    describe_example,
    describe_model,
    example_patient,
    hazard_steps,
    nomogram_of,
    read_values,
    timed_facts,
)
from hepacast.study.stages.frozen_files import MODELS, NETWORKS, SCORES, read_frozen, write_arrays
from hepacast.study.stages.fusion_networks import NetworkScores, network_scores, network_spec
from hepacast.study.stages.model_sentences import (
    PROBABLE_ONES,
    SHRUNK_HERE,
    asked_words,
    averaged_words,
    clinical_sentence,
    learners_words,
    shrunk_clause,
)
from hepacast.study.stages.modelling import Analysis, chain_settings, further_predictions, load_analysis
from hepacast.study.stages.radiomics import measure

RADSCORE, AUTO, DLR = "Radscore", "Auto score", "DLR score"
#: Seconds of one classifier's fit, about; of `auto`, a feature and patient; of a joined model in a view (one core).
_CLASSIFIER, _AUTO_CELL, _JOINED = 0.15, 1.4e-6, 0.3
_LABELS = {"auto": "Average of seven learners"}
_PARTS = {
    "clinical": CLINICAL,
    "biomarkers": BIOMARKERS,
    "network": NETWORK,
    "radiomics": RADSCORE,
    "dlr": DLR,
    "auto": AUTO,
}


def write(context: Context, folder: Path) -> None:
    """Run the stage."""
    rules = _rules(context)
    analysis = load_analysis(context)
    further = read_further(context)
    outcome = _by_patient(analysis.outcome.select(sorted(analysis.cohort.members("training"))))
    spec, classes = _spec(context, analysis), event_classes(outcome.to_numpy())
    folds = pd.Series(
        stratified_folds(outcome.index, classes, rules.folds, derive_seed(context.study.seed, "fusion"), "outer"),
        index=outcome.index,
    )
    known = [patient for patient in analysis.cohort.patients if patient not in outcome.index]
    others = [*known, *(patient for item in further for patient in item.table.patients)]
    features = _features(context, analysis, further)
    networks = network_scores(context, rules, outcome, folds, others) if rules.networks else None
    clinical = _clinical(context, analysis, further)
    views = [_view(rules, outcome, folds, others, clinical, features, networks, k) for k in range(rules.folds)]
    views.append(_view(rules, outcome, folds, others, clinical, features, networks, None))
    with context.reporter.track("classifiers and models") as progress:
        results = map_items(_Fit(spec), views, workers=context.workers, progress=progress)
    outer, final = results[:-1], results[-1]
    nested = _nested(outer, outcome, rules.folds)
    told = write_analysed(context, analysis.cohort, folder)
    _write_frozen(context, folder, final, networks, None if networks is None else _best_network(views[-1], rules))
    write_record(folder / "models.json", _models(context, analysis, final, spec))
    # Training patients: the final models, on scores of fits without the patient.
    own = final.training.predictions(list(outcome.index), outcome.to_numpy(), "training", "apparent")
    tables = [own, *_frozen(final, analysis), Predictions(nested.predictions)]
    Predictions.join(tables).write(folder / "predictions.parquet")
    with atomic_path(folder / SCORES) as temporary:
        final.scores.to_parquet(temporary)
    if further:

        def predict(item: FurtherTable) -> tuple[pd.DataFrame, pd.DataFrame]:
            patients = item.table.patients
            return final.test.main.loc[patients], final.test.linear_predictors.loc[patients]

        main = analysis.outcome.horizons[-1:]
        made = further_predictions(further, predict, list(final.test.main.columns), main)
        made.write(folder / PREDICTIONS)
    level = context.study.evaluation.confidence
    write_record(
        folder / "validation.json",
        {"models": _validated(nested, level), **_stability(outer, features, analysis, level)},
    )
    write_json(folder / "fusion.json", _compared(rules, outer, final, outcome, analysis, networks, level))
    write_record(folder / "methods.json", [*told, *_sentences(rules, context.study.modelling, spec, final, nested)])


def _by_patient(outcome: Outcome) -> pd.Series | pd.DataFrame:
    """0 and 1, or time and code, by patient."""
    if not outcome.has_time:
        return outcome.events.astype(int)
    return pd.DataFrame(outcome.y, index=pd.Index(outcome.patients, name="patient"), columns=["time", "code"])


def _rules(context: Context) -> Fusion:
    assert context.study.fusion is not None
    return context.study.fusion


class _Fit:
    """Callable for worker processes: one view."""

    def __init__(self, spec: FusionSpec) -> None:
        self.spec = spec

    def __call__(self, view: View) -> ViewResult:
        return fit_view(view, self.spec)


def _spec(context: Context, analysis: Analysis) -> FusionSpec:
    rules = _rules(context)
    chain = rules.chain
    if isinstance(chain, str) and (context.base / chain).is_file():
        chain = str(context.base / chain)
    loaded = ChainSpec.load(chain)
    used = {part for parts in rules.models.values() for part in parts}
    outcome = analysis.outcome
    horizons = outcome.horizons if outcome.has_time else ()
    competing = (loaded, tuple(rules.classifiers))
    families = [
        Family(_PARTS[part], *made_by, horizons[-1] if horizons else None)
        for part, made_by in {"radiomics": competing, "dlr": competing, "auto": (NAMED["auto"], ("auto",))}.items()
        if part in used
    ]
    models = {name: tuple(_PARTS[part] for part in parts) for name, parts in rules.models.items()}
    seed = derive_seed(context.study.seed, "fusion-models")
    cut = context.study.evaluation.risk_groups if horizons else "youden"
    rest = (context.study.modelling.alpha, seed, horizons, outcome.unit, cut)
    options = context.study.modelling
    return FusionSpec(
        tuple(families),
        models,
        analysis.predictors,
        *rest,
        selection=options.selection,
        biomarkers=analysis.biomarkers,
        combination=options.combination,
        competition=rules.competition,
    )


def _features(context: Context, analysis: Analysis, further: list[FurtherTable]) -> pd.DataFrame:
    tables = [analysis_features(context, analysis.cohort.patients)]
    strangers = [patient for item in further for patient in item.table.patients]
    if strangers:
        tables.append(measure(context, strangers)[list(tables[0].columns)])
    return pd.concat(tables)


def _clinical(context: Context, analysis: Analysis, further: list[FurtherTable]) -> pd.DataFrame:
    names = [item.name for item in analysis.predictors]
    strangers = (with_biomarkers(context, item.table.frame)[names] for item in further)
    return pd.concat([analysis.table[names], *strangers])


def _view(
    rules: Fusion,
    outcome: pd.Series | pd.DataFrame,
    folds: pd.Series,
    others: list[str],
    clinical: pd.DataFrame,
    features: pd.DataFrame,
    networks: NetworkScores | None,
    outer: int | None,
) -> View:
    """What an outer fold's training part may see (or all training patients, for the final models)."""
    known = outcome if outer is None else outcome[folds != outer]
    test = others if outer is None else list(outcome.index[folds == outer])
    label = "final" if outer is None else str(outer)
    scores = {} if networks is None else {name: networks.scores(name, outer) for name in networks.names}
    excess = {} if networks is None else {name: networks.excess(name, outer) for name in networks.names}
    rows = [*known.index, *test]
    view = View(label, known, folds[known.index], tuple(test), clinical.loc[rows], {}, scores, excess)
    tables = {RADSCORE: features.loc[rows], AUTO: features.loc[rows]}
    if networks is not None and any("dlr" in parts for parts in rules.models.values()):
        best = _best_network(view, rules)
        tables[DLR] = pd.concat([features.loc[rows], networks.deep_features(best, outer).loc[rows]], axis=1)
    return replace(view, features=tables)


def _best_network(view: View, rules: Fusion) -> str:
    """The network that is chosen within a view: it gives its features, as it gives the networks' score."""
    return preferred({name: inner_rank(view, score) for name, score in view.networks.items()}, rules.competition)


def _selected(result: ViewResult) -> dict[str, list[str]]:
    """Features that reached the classifiers, of scores for which a chain selects."""
    return {part: names for part, names in result.selected.items() if part != AUTO}


def _nested(outer: list[ViewResult], outcome: pd.Series | pd.DataFrame, folds: int) -> OutOfFold:
    parts = []
    for fold, result in enumerate(outer):
        patients = list(result.test.linear_predictors.index)
        y = outcome.loc[patients].to_numpy()
        parts.append(result.test.predictions(patients, y, "training", "nested", fold))
    selections = []
    for result in outer:
        chosen = {} if result.clinical is None else {"clinical": list(result.clinical.selected_)}
        first = next(iter(_selected(result).values()), [])
        selections.append(chosen | {"radiomics": list(first)})
    return OutOfFold(Predictions.join(parts).table, [], selections, folds, 1)


def _frozen(final: ViewResult, analysis: Analysis) -> list[Predictions]:
    names = [name for name in dict.fromkeys(analysis.cohort.sets) if name != "training"]
    tables = []
    for name in names:
        rows = list(analysis.cohort.members(name))
        tables.append(final.test.predictions(rows, analysis.outcome.select(rows).y, name, "frozen"))
    return tables


def _validated(nested: OutOfFold, level: float) -> dict[str, ModelValidation]:
    return {name: ModelValidation(nested=nested.told(name, level)) for name in nested.models}


def _models(context: Context, analysis: Analysis, final: ViewResult, spec: FusionSpec) -> dict[str, Any]:
    """`models.json`: the final models in the words that tables and figures need."""
    level = context.study.evaluation.confidence
    names = list(spec.models)
    main = names[-1]
    rows = sorted(analysis.cohort.members("training"))
    content: dict[str, Any] = {"names": names, "main": main, "cutoffs": final.cutoffs, "fusion": True}
    candidates = analysis.table[[item.name for item in analysis.predictors]]
    if final.clinical is not None and not spec.horizons:
        y = analysis.outcome.select(rows).y
        content["clinical"] = describe_clinical(final.clinical, candidates.loc[rows], y, analysis.words, level)
    family, counts = next(((part, counts) for part, counts in final.counts.items() if part != AUTO), ("", []))
    single = next((name for name, parts in spec.models.items() if parts == (family,)), None)
    if counts:
        content["radiomics"] = {
            "steps": chain_steps(counts),
            "status": "no signal" if family in final.notes else "ok",
            "reason": final.notes.get(family),
            "final": None if single is None else describe_model(final.models[single], analysis.words, level),
        }
    model = final.models[main]
    content["combined"] = {
        "final": describe_model(model, analysis.words, level), "status": model.status, "reason": model.note or None,
    }  # fmt: skip
    content["joined"] = {name: describe_model(item, analysis.words, level) for name, item in final.models.items()}
    if spec.horizons:
        x, y = analysis.part("training")
        content |= timed_facts(context.study, analysis.outcome) | {"models": content["joined"]}
        content["cuts"] = {name: Cut(value, spec.cut) for name, value in final.cutoffs.items()}
        content |= {} if final.clinical is None else hazard_steps(final.clinical, x, y, analysis.words, level)
    frozen = FrozenModels(final.models, None, final.cutoffs, final.horizons, final.unit)
    table = candidates.join(final.scores)
    times, outcome = context.study.outcome, analysis.outcome
    known = table.loc[rows]
    nomogram = nomogram_of(frozen, main, analysis.words, known, outcome, times.horizons, before=times.before_horizon)
    risks = frozen.predict_risk(table)[main]
    patient = example_patient(
        risks, analysis.outcome.events, analysis.cohort.sets, context.study.report.example_patient
    )
    row = table.loc[[patient]]
    content["example"] = describe_example(patient, frozen, main, analysis.words, row, outcome, level, times.horizons)
    reading = None if nomogram is None else read_values(nomogram, frozen, main, analysis.words, row)
    content["nomogram"] = None if nomogram is None else nomogram.to_spec(reading)
    return content


#: Rules of cut-offs in words.
_CUTS = {
    "youden": "Youden's",
    "median": "the medians",
    "maxstat": "those of the greatest difference in survival",
}


def _compared(
    rules: Fusion,
    outer: list[ViewResult],
    final: ViewResult,
    outcome: pd.Series | pd.DataFrame,
    analysis: Analysis,
    networks: NetworkScores | None,
    level: float,
) -> dict[str, Any]:
    """Every competitor: cross-validated AUC or C, in how many outer folds it was chosen, AUC or C in other sets."""
    rows = []
    for item in final.candidates:
        column = f"{item.part}/{item.name}"
        nested = _over_folds(outcome, [result.competitors[column] for result in outer], level)
        chosen = [c.name for r in outer for c in r.candidates if c.part == item.part and c.chosen]
        sets = {
            name: _rank(analysis, final.competitors[column].loc[analysis.cohort.members(name)])
            for name in dict.fromkeys(analysis.cohort.sets)
            if name != "training"
        }
        rows.append(
            {
                "score": score_name(item.part),
                "name": CLASSIFIERS[item.name].label if item.name in CLASSIFIERS else _LABELS.get(item.name, item.name),
                "kind": "network" if item.part == NETWORK else "classifier",
                "inner_auc": item.inner,
                "nested": nested,
                "sets": sets,
                "times_chosen": chosen.count(item.name),
                "chosen": item.chosen,
            }
        )
    return {
        "folds": rules.folds,
        "measure": analysis.outcome.measure,
        "competitors": rows,
        "choices": _choices(rules, outer, final, outcome, analysis, level),
        "networks": _networks(rules, networks),
        "notes": final.notes,
        "competition": rules.competition,
    }


def _choices(
    rules: Fusion,
    outer: list[ViewResult],
    final: ViewResult,
    outcome: pd.Series | pd.DataFrame,
    analysis: Analysis,
    level: float,
) -> list[dict[str, Any]]:
    """Every score as it was chosen within each outer fold: what the choice itself is worth."""
    rows = []
    for score in final.scores.columns:
        nested = _over_folds(outcome, [r.scores.loc[list(r.test.linear_predictors.index), score] for r in outer], level)
        sets = {
            name: _rank(analysis, final.scores.loc[analysis.cohort.members(name), score])
            for name in dict.fromkeys(analysis.cohort.sets)
            if name != "training"
        }
        rows.append({"score": score, "nested": nested, "sets": sets})
    return rows


def _over_folds(outcome: pd.Series | pd.DataFrame, scores: list[pd.Series], level: float) -> dict[str, float]:
    """Mean AUC or C within the outer folds with limits (see `OutOfFold.estimate`)."""
    pairs = [rank_estimate(outcome.loc[score.index].to_numpy(), score.to_numpy(dtype=float)) for score in scores]
    found = repeated_folds([[value for value, _ in pairs]], [[variance for _, variance in pairs]], level=level)
    low, high = float(np.maximum(0.0, found.low)), float(np.minimum(1.0, found.high))
    return {"value": found.estimate, "low": low, "high": high}


def _rank(analysis: Analysis, score: pd.Series) -> float:
    """AUC or C of patients of a set; NaN where they are all alike."""
    if not analysis.outcome.suffices(score.index):
        return float("nan")
    return rank_score(analysis.outcome.select(list(score.index)).y, score.to_numpy(dtype=float))


def _networks(rules: Fusion, networks: NetworkScores | None) -> list[dict[str, Any]]:
    """Size, length of training and losses of every network, over its trainings."""
    rows = []
    for name in networks.names if networks is not None else []:
        assert networks is not None
        trained = list(networks.networks[name].values())
        histories = [item.history for item in trained]
        rows.append(
            {
                "name": name,
                "trainings": len(trained),
                "parameters": int(sum(np.asarray(value).size for value in trained[0].weights.values())),
                "epochs": [len(history) for history in histories],
                "seconds": float(np.sum([entry["seconds"] for history in histories for entry in history])),
                "curves": [_curve(history) for history in histories],
            }
        )
    return rows


def _curve(history: tuple[dict[str, Any], ...]) -> dict[str, list[float | None]]:
    """Losses by epoch, whatever the training loop calls them."""
    names = [name for name in history[0] if name not in ("epoch", "seconds", "learning_rate")] if history else []
    return {name: [entry.get(name) for entry in history] for name in names}


def _stability(outer: list[ViewResult], features: pd.DataFrame, analysis: Analysis, level: float) -> dict[str, Any]:
    """How often features and clinical predictors were selected over the outer folds."""
    labels = {item.name: item.label for item in analysis.predictors}
    lists: dict[str, tuple[list[list[str]], int]] = {}
    if outer and outer[0].clinical is not None:
        lists["clinical"] = ([list(r.clinical.selected_) for r in outer if r.clinical is not None], len(labels))
    if outer and _selected(outer[0]):
        family = next(iter(_selected(outer[0])))
        lists["radiomics"] = ([r.selected[family] for r in outer], features.shape[1])
    shares: dict[str, Any] = {}
    indexes: dict[str, Any] = {}
    for part, (chosen, size) in lists.items():
        found = selection_stability(chosen, size, level)
        shares[part] = [
            {"name": str(name), "label": labels.get(str(name)), "frequency": float(share)}
            for name, share in found.frequency.items()
        ]
        indexes[part] = {"index": found.index, "low": found.ci_low, "high": found.ci_high}
    return {"stability": shares, "nogueira": indexes, "refits": len(outer)}


def _of_times(spec: FusionSpec) -> str:
    if not spec.horizons:
        return ""
    return (
        f", each of the event by {spec.horizons[-1]:g} {spec.unit}, patients whose state then is known weighted for "
        "those who were censored before"
    )


def _sentences(
    rules: Fusion, options: Modelling, spec: FusionSpec, final: ViewResult, nested: OutOfFold
) -> list[Sentence]:
    """What was done, for the Methods."""
    model, cut = ("Cox model" if spec.horizons else "logistic model"), _CUTS[spec.cut]
    texts: list[tuple[str, list[str]]] = []
    if final.clinical is not None:
        texts.append(clinical_sentence(options, bool(spec.horizons)))
    steps = next((counts for part, counts in final.counts.items() if part != AUTO), None)
    if steps:
        names = ", ".join(CLASSIFIERS[name].label.lower().replace("xgboost", "XGBoost") for name in rules.classifiers)
        chain = "; ".join(map(str, steps))
        did = "competed" if rules.competition == "best" else "were averaged"
        texts.append(
            (
                f"Features passed through: {chain}; on those left {len(rules.classifiers)} classifiers {did} "
                f"({names}){_of_times(spec)}.",
                ["lasso"],
            )
        )
    if AUTO in final.counts:
        texts.append((f"The {AUTO} of all radiomics features is {learners_words(bool(spec.horizons))}.", ["lasso"]))
    if rules.networks:
        names = ", ".join(item.name for item in rules.networks)
        pairs = rules.folds * (rules.folds - 1) // 2
        texts.append(
            (
                f"Networks ({names}) [@resnet] were trained without each of the {pairs} pairs of {rules.folds} folds, "
                "so that every score and feature that entered another model was of a network that had not seen the "
                "patient, and none within an outer fold had seen that fold; other sets got the mean of all trainings.",
                ["resnet"],
            )
        )
    texts.append(
        (
            f"{_competition_words(rules, nested.measure)}; the whole procedure, that choice included, was judged in "
            f"{nested.folds} outer folds [@nested-cv]. Scores and clinical predictors were joined by {model}s "
            "that were fitted to scores of fits without the patient"
            f"{shrunk_clause(options)}; cut-offs are {cut} of these risks.",
            ["nested-cv"],
        )
    )
    shrunk = [name for name, parts in spec.models.items() if BIOMARKERS in parts]
    if shrunk:
        averaged = "" if options.combination == "regression" else f" {averaged_words(bool(spec.horizons))}"
        averaged += f" {asked_words()}" if options.combination == "auto" else ""
        texts.append(
            (
                f"Models with biomarkers ({', '.join(shrunk)}) hold all of these, and of other parts the scores and "
                f"{PROBABLE_ONES}; {SHRUNK_HERE}.{averaged} No other model holds a biomarker.",
                [],
            )
        )
    return [Sentence("modelling", text, keys) for text, keys in texts]


def _competition_words(rules: Fusion, measure: str) -> str:
    """How the score is made where several compete."""
    if rules.competition == "best":
        return f"Which classifier and which network was used was decided by the {measure} in inner folds alone"
    network = (
        f"; the network used was the first within one standard error of the largest {measure} in inner folds"
        if rules.networks
        else ""
    )
    return (
        "A score is the mean of all classifiers, each brought to one scale by its scores of patients outside each "
        f"fit{network}"
    )


def _write_frozen(
    context: Context, folder: Path, final: ViewResult, networks: NetworkScores | None, best: str | None
) -> None:
    """Write ``frozen.json`` and what belongs to it; where there is no array form, the reason.

    Parameters
    ----------
    networks, best
        All networks, and the name of the one that gives the final models their score and features.
    """
    try:
        models = final.freeze()
    except ModelError as error:
        write_json(folder / MODELS, {"unavailable": str(error)})
        return
    entry: dict[str, Any] = models.to_dict() | {"networks": None}
    if networks is not None and best is not None and any(map(learned_by_networks, models.measured())):
        kept = list(networks.networks[best].values())
        (folder / NETWORKS).mkdir()
        for number, network in enumerate(kept):
            network.save(folder / NETWORKS / f"network-{number}.safetensors")
        entry["networks"] = {
            "name": best,
            "count": len(kept),
            "crop": with_channels(context, _rules(context).deep.crop).model_dump(mode="json"),
            "seen": networks.seen,
        }
    write_arrays(folder, models)
    write_json(folder / MODELS, entry)


def read_fusion(folder: Path) -> tuple[FrozenModels, ImageNetworks | None]:
    """The final models as the stage wrote them, and the networks that they read."""
    entry = read_json(folder / MODELS)
    models = read_frozen(folder)
    used = entry["networks"]
    if used is None:
        return models, None
    files = [folder / NETWORKS / f"network-{number}.safetensors" for number in range(used["count"])]
    trained = tuple(TrainedNetwork.load(file) for file in files)
    return models, ImageNetworks(used["name"], CropSpec.model_validate(used["crop"]), trained, used["seen"])


def _settings(context: Context) -> dict[str, Any]:
    images = context.study.images
    rules = chain_settings(context) | study_parts(context, "fusion", "further")
    chain = _rules(context).chain
    if isinstance(chain, str) and (context.base / chain).is_file():
        rules["fusion chain"] = context.fingerprints.of(context.base / chain)
    return rules | {"images": None if images is None else images.model_dump(mode="json")["sequences"]}


def _cost(context: Context) -> Cost:
    """Of the classifiers of every view and its inner folds, and of the trainings without each pair of folds."""
    rules, workers = _rules(context), resolve_workers(context.workers)
    patients, features = size_of_chain(context)
    parts = {part for joined in rules.models.values() for part in joined}
    competing = len(parts & {"radiomics", "dlr"}) * (
        chain_seconds(patients, features) + len(rules.classifiers) * _CLASSIFIER
    )
    each = competing + ("auto" in parts) * _AUTO_CELL * patients * features
    seconds = (rules.folds + 1) * ((rules.folds + 1) * each + _JOINED * len(rules.models))
    seen, pairs = patients * (1 - 2 / rules.folds), rules.folds * (rules.folds - 1) / 2
    steps = pairs * rules.deep.training.epochs * seen
    specs = [network_spec(context, rules, item.encoder, item.dimensions) for item in rules.networks]
    seconds += sum(steps * step_seconds(spec) for spec in specs)
    memory = max([chain_bytes(patients, features), *(training_bytes(spec) for spec in specs)])
    return Cost(3.0 + seconds / workers, memory * workers)


STAGE = Stage(
    name="modelling",
    title="classifiers and networks compared and joined, validated",
    module=__name__,
    run=write,
    settings=_settings,
    cost=_cost,
    needs=("cohort", "segmentation", "radiomics", "biomarkers", "deep"),
    inputs=further_inputs,
    wanted=lambda context: context.study.fusion is not None,
)
