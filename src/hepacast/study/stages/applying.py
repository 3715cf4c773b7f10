"""Stage modelling of another hospital's cohort: frozen models are applied to every patient, as `predict` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from hepacast.bundle import Bundle
from hepacast.bundle.applying import open_bundle
from hepacast.bundle.measure import biomarkers_read
from hepacast.bundle.networks import NetworkBundle
from hepacast.cohort import Cohort, ColumnSpec, read_cohort
from hepacast.cohort.outcome import EVER
from hepacast.cohort.split import EXTERNAL
from hepacast.core.files import atomic_path, write_json
from hepacast.core.formatting import listing
from hepacast.core.records import write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import HepacastError, ImageError, StudyFileError
from hepacast.modelling.described import Cut, DescribedModels, FittedModel, Term
from hepacast.modelling.frozen_cox import FrozenCox
from hepacast.modelling.predictions import Predictions
from hepacast.study.analysis_set import without
from hepacast.study.context import Context
from hepacast.study.input_files import image_hashes
from hepacast.study.mask_files import MaskFiles, mask_files
from hepacast.study.predict_table import ListedPatient, SharedOptions, predict_listed
from hepacast.study.sequences import SequenceImage, raw_image
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.comparisons import write_analysed
from hepacast.study.stages.feature_table import read_feature_table, table_path
from hepacast.study.stages.frozen_files import CONFORMAL, MODELS, model_folder, write_arrays

#: What every patient's prediction said beside the risk: predictors, scores; warnings by model.
PREDICTORS, UNLIKE = "predictors.parquet", "unlike.json"
#: A prediction by `predict`, as JSON, by patient.
Answers = Mapping[str, Mapping[str, Any]]


def bundles_of(context: Context) -> dict[str, Bundle | NetworkBundle]:
    """The bundles that are applied, the main one first, by the name that results give them.

    One alone goes by its main model's name; several by the names of their files, where these differ, else of their
    studies, else with the start of their identities.
    """
    opened = [open_bundle(path) for path in context.models]
    if len(opened) == 1:
        return {opened[0].main: opened[0]}
    files, studies = [path.stem for path in context.models], [str(item.card["name"]) for item in opened]
    marked = [f"{study} {item.identity[:6]}" for study, item in zip(studies, opened, strict=True)]
    names = next((given for given in (files, studies) if len(set(given)) == len(opened)), marked)
    return dict(zip(names, opened, strict=True))


def model_of(context: Context) -> Bundle | NetworkBundle:
    """The bundle that is applied, of several the main one."""
    return open_bundle(context.models[0])


def write(context: Context, folder: Path) -> None:
    """Run the stage: predictions, who could not be predicted and why, what the models are."""
    bundles, cohort = bundles_of(context), read_cohort(context.out / "cohort")
    done: dict[str, Answers] = {}
    lost: dict[str, str] = {}
    for place, (name, bundle) in enumerate(bundles.items()):
        require_same_outcome(context, bundle, cohort)
        listed = listed_patients(context, bundle, cohort)
        done[name], failed = _applied(context, str(context.models[place]), bundle, listed)
        by = f"{name}: " if len(bundles) > 1 else ""
        lost = {patient: f"{by}{error.message.rstrip('.')}" for patient, error in failed.items()} | lost
        own = model_folder(folder, place)
        own.mkdir(exist_ok=True)
        _write_model(own, name, bundle, _predictors(bundle, done[name]))
    if len(lost) == len(cohort.patients):
        raise StudyFileError("No patient can be predicted by every model.", found="; ".join(sorted(set(lost.values()))))
    analysed = _analysed(cohort, lost)
    horizons = shared_horizons(bundles)
    parts = [_predictions(name, horizons, analysed, answers) for name, answers in done.items()]
    Predictions.join(parts).write(folder / "predictions.parquet")
    told = {name: {patient: item["warnings"] for patient, item in answers.items()} for name, answers in done.items()}
    write_json(folder / UNLIKE, told)
    write_record(folder / "models.json", _described(context, bundles))
    sentences = write_analysed(context, analysed, folder)
    write_record(folder / "methods.json", [_sentence(bundles), *sentences])


def _applied(
    context: Context, path: str, bundle: Bundle | NetworkBundle, listed: list[ListedPatient]
) -> tuple[Answers, dict[str, HepacastError]]:
    """Every patient's prediction by one bundle, and the errors of those who have none."""
    asked = SharedOptions(path, bundle.identity, (("model", bundle.main), ("date", "")), None, bundle.signed.text())
    answers = predict_listed(asked, listed, context.out, context.workers, context.reporter)
    found = {row.patient: item for row, item in zip(listed, answers, strict=True)}
    lost = {patient: item for patient, item in found.items() if isinstance(item, HepacastError)}
    if len(lost) == len(found):
        patient, why = next(iter(lost.items()))
        raise StudyFileError("No patient can be predicted.", found=f"{patient}: {why.message}", remedy=why.remedy)
    return {patient: item for patient, item in found.items() if not isinstance(item, HepacastError)}, lost


def _write_model(folder: Path, name: str, bundle: Bundle | NetworkBundle, predictors: pd.DataFrame) -> None:
    """One bundle's main model under the name that results give it, with what it read of every patient."""
    with atomic_path(folder / PREDICTORS) as temporary:
        predictors.to_parquet(temporary)
    rule = dict(bundle.card.get("conformal") or {"reason": "the bundle holds no rule for it"})
    if rule.get("model") == bundle.main:
        rule["model"] = name
    write_json(folder / CONFORMAL, rule)
    if isinstance(bundle, Bundle):
        frozen, main = bundle.models, bundle.main
        frozen = replace(frozen, models={name: frozen.model(main)}, cutoffs={name: frozen.cutoffs[main]})
        write_json(folder / MODELS, frozen.to_dict())
        write_arrays(folder, frozen)


def shared_horizons(bundles: Mapping[str, Bundle | NetworkBundle]) -> tuple[float, ...]:
    """Times at which all models give risks; empty without time.

    Raises
    ------
    StudyFileError
        There is none.
    """
    each = [horizons_of(item) for item in bundles.values()]
    shared = tuple(sorted(set(each[0]).intersection(*each[1:])))
    if any(each) and not shared:
        raise StudyFileError(
            "The models give risks by different times.",
            expected="at least one time that all of them have",
            found="; ".join(f"{name}: {', '.join(f'{t:g}' for t in own)}" for name, own in zip(bundles, each)),
        )
    return shared


def require_same_outcome(context: Context, bundle: Bundle | NetworkBundle, cohort: Cohort) -> None:
    """Refuse a cohort whose outcome is of another kind, or whose follow-up is in another unit.

    Raises
    ------
    StudyFileError
    """
    timed = bool(horizons_of(bundle))
    if timed != cohort.outcome.has_time:
        kinds = ("an event that happened or not", "a time to an event")
        raise StudyFileError(
            "The model predicts another kind of outcome.",
            expected=kinds[timed],
            found=kinds[not timed],
            where="outcome.definition",
        )
    if timed and cohort.outcome.unit != _unit(bundle):
        raise StudyFileError(
            "The model's risks are by times in another unit than the follow-up.",
            expected=f"outcome.unit: {_unit(bundle)}",
            found=cohort.outcome.unit,
            where="outcome.unit",
            remedy="write the follow-up in the model's unit into the table",
        )


def horizons_of(bundle: Bundle | NetworkBundle) -> tuple[float, ...]:
    """Times at which a bundle gives risks; empty without time."""
    return bundle.horizons if isinstance(bundle, NetworkBundle) else bundle.models.horizons


def _unit(bundle: Bundle | NetworkBundle) -> str:
    return bundle.unit if isinstance(bundle, NetworkBundle) else bundle.models.unit


# -- values and images -------------------------------------------------------------------------------------------------


def listed_patients(context: Context, bundle: Bundle | NetworkBundle, cohort: Cohort) -> list[ListedPatient]:
    """Every patient's values in the cohort's units, images and mask.

    Raises
    ------
    StudyFileError
        A column that the model reads is none of the study, or the model needs images and the study has none.
    """
    columns = matched_columns(context, bundle, cohort.table.specs)
    features = features_of(context, bundle)
    if features is None and context.study.images is None and _needs_image(bundle):
        raise StudyFileError(
            f"The model {bundle.main!r} needs images, and the study has none.", expected="images", where="images"
        )
    rows = []
    for patient in cohort.patients:
        values = cohort.table.frame.loc[patient]
        labs = {name: _text(spec, values[spec.name]) for name, spec in columns.items()}
        if features is not None:  # who has no row is none of the cohort's
            rows.append(ListedPatient(patient, labs, features=features[patient]))
            continue
        try:
            rows.append(ListedPatient(patient, labs, *_files(context, bundle, patient)))
        except HepacastError as error:
            rows.append(ListedPatient(patient, labs, problem=error))
    return rows


def features_of(context: Context, bundle: Bundle | NetworkBundle) -> dict[str, dict[str, float]] | None:
    """By patient, the features of a model that was made from a table of them; None of other models.

    Raises
    ------
    StudyFileError
        The study has no such table, or it lacks features that the model reads.
    """
    if not (_reads_feature_table(bundle) and isinstance(bundle, Bundle)):
        return None
    if context.study.features.table is None:
        raise StudyFileError(
            f"The model {bundle.main!r} was made from a table of features, and the study has none.",
            expected="a table of the same features, measured in the same way", where="features.table",
        )  # fmt: skip
    table, _ = read_feature_table(context)
    names = bundle.feature_names(bundle.main)
    lacking = [name for name in names if name not in table.columns]
    if lacking:
        raise StudyFileError(
            "The feature table lacks features that the model reads.", expected=listing(lacking[:10]),
            found=listing([*table.columns][:10]), where=str(context.study.features.table),
            remedy="name the VOIs under features.vois as the model does",
        )  # fmt: skip
    return {
        str(patient): dict(zip(names, row, strict=True))
        for patient, row in zip(table.index, table[names].to_numpy(), strict=True)
    }


def _reads_feature_table(bundle: Bundle | NetworkBundle) -> bool:
    return isinstance(bundle, Bundle) and bundle.recipe.source == "table" and bundle.needs_features(bundle.main)


def _needs_image(bundle: Bundle | NetworkBundle) -> bool:
    return isinstance(bundle, NetworkBundle) or bundle.needs_features(bundle.main)


def matched_columns(
    context: Context, bundle: Bundle | NetworkBundle, specs: Sequence[ColumnSpec]
) -> dict[str, ColumnSpec]:
    """The study's column for each that the model reads: of its name, its label, or the one of its quantity.

    Raises
    ------
    StudyFileError
        There is none.
    """
    measured = biomarkers_read(bundle, bundle.main) if isinstance(bundle, Bundle) and context.study.images else []
    found: dict[str, ColumnSpec] = {}
    lacking = []
    for name in bundle.clinical_names(bundle.main):
        wanted = next(item for item in bundle.columns if item.name == name)
        words = {name.casefold(), wanted.label.casefold()}
        named = [item for item in specs if words & {item.name.casefold(), item.label.casefold()}]
        same = [item for item in specs if wanted.quantity and item.quantity == wanted.quantity]
        chosen = named or (same if len(same) == 1 else [])
        if chosen:
            found[name] = chosen[0]
        elif name not in measured:
            unit = f", {wanted.unit}" if wanted.unit else ""
            lacking.append(f"{name} ({wanted.label}{unit})")
    if lacking:
        raise StudyFileError(
            "The study lacks columns that the model reads.",
            expected="; ".join(lacking),
            found=", ".join(item.name for item in specs),
            where="cohort.columns",
            remedy="describe them under cohort.columns by these names",
        )
    return found


def _text(spec: ColumnSpec, value: Any) -> str:
    """A typed value of the cohort as somebody would type it, with its unit."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "NA"
    if spec.kind == "binary":
        return str(spec.level_names[int(value)])
    return f"{float(value)!r} {spec.unit}".strip() if spec.kind == "numeric" else str(value)


def _files(
    context: Context, bundle: Bundle | NetworkBundle, patient: str
) -> tuple[tuple[SequenceImage, ...], MaskFiles | None]:
    """The images that the model's recipe asks for, and the given mask."""
    images = context.study.images
    if images is None or not (_needs_image(bundle) or bundle.recipe.sequences):
        return (), None
    wanted = list(bundle.recipe.sequences) or ["image"]
    # A model of one sequence takes the study's one, whatever it is called.
    names = {wanted[0]: next(iter(images.sequences))} if len(wanted) == len(images.sequences) == 1 else {}
    lacking = [name for name in wanted if names.get(name, name) not in images.sequences]
    if lacking:
        raise StudyFileError(
            "The study lacks sequences that the model reads.",
            expected=", ".join(lacking), found=", ".join(images.sequences), where="images.sequences",
        )  # fmt: skip
    there = {name: raw_image(context, patient, names.get(name, name)) for name in wanted}
    absent = [item.path.name for item in there.values() if not item.exists()]
    if absent:
        raise ImageError("An image is not there.", found=", ".join(absent))
    files = tuple(
        replace(item, name=name, modality=bundle.recipe.sequences.get(name, item.modality))
        for name, item in there.items()
    )
    masks = images.segmentation.masks if images.segmentation.source == "given" else None
    return files, None if masks is None else mask_files(context, masks, patient)


# -- what comes of it --------------------------------------------------------------------------------------------------


def _analysed(cohort: Cohort, lost: Mapping[str, str]) -> Cohort:
    """The cohort without those who could not be predicted, who are counted by reason."""
    reasons: dict[str, list[str]] = {}
    for patient, reason in lost.items():
        reasons.setdefault(reason, []).append(patient)
    return without(cohort, reasons)


def _predictions(name: str, shared: tuple[float, ...], cohort: Cohort, done: Answers) -> Predictions:
    horizons = shared or (EVER,)
    risks = np.full((len(cohort.patients), 1, len(horizons)), np.nan)
    for place, patient in enumerate(cohort.patients):
        by_time = {item["time"]: item["risk"] for item in done[patient]["horizons"]} or {EVER: done[patient]["risk"]}
        risks[place, 0] = [np.nan if by_time.get(t) is None else by_time[t] for t in horizons]
    linear = [[done[patient]["linear_predictor"]] for patient in cohort.patients]
    return Predictions.make(
        cohort.patients,
        cohort.outcome.y,
        risks,
        np.array(linear, dtype=float),
        models=[name],
        horizons=horizons,
        set=EXTERNAL,
        kind="frozen",
    )


def _predictors(bundle: Bundle | NetworkBundle, done: Answers) -> pd.DataFrame:
    """What the model read of each patient: clinical values and biomarkers as it takes them, and scores."""
    rows = {patient: item["inputs"] | item["scores"] for patient, item in done.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("patient")
    numbers = [spec.name for spec in bundle.columns if spec.kind in ("numeric", "binary") and spec.name in table]
    return table.astype(dict.fromkeys(numbers, float))


def _described(context: Context, bundles: Mapping[str, Bundle | NetworkBundle]) -> DescribedModels:
    horizons, level = shared_horizons(bundles), context.study.evaluation.confidence
    cutoffs = {name: _cutoff(bundle, horizons) for name, bundle in bundles.items()}
    main, bundle = next(iter(bundles.items()))
    timed = {name: item for name, item in bundles.items() if horizons and isinstance(item, Bundle)}
    return DescribedModels(
        names=list(bundles),
        main=main,
        cutoffs=cutoffs,
        event=str(bundle.card["outcome"]["positive"]) if horizons else "",
        unit=_unit(bundle),
        horizons=horizons,
        competing=any(item.models.model(item.main).method == "fine-gray" for item in timed.values()),
        confidence=level,
        cuts={name: Cut(cutoff, "the cut-off of the model file") for name, cutoff in cutoffs.items() if horizons},
        models={name: _fitted(item, level) for name, item in timed.items()},
    )


def _cutoff(bundle: Bundle | NetworkBundle, horizons: tuple[float, ...]) -> float:
    """The model's cut-off, which is a risk by its own last horizon; NaN where this is none of those judged."""
    if max(horizons_of(bundle), default=EVER) != max(horizons, default=EVER):
        return np.nan
    return bundle.cutoff if isinstance(bundle, NetworkBundle) else float(bundle.models.cutoffs[bundle.main])


def _fitted(bundle: Bundle, level: float) -> FittedModel:
    """The main model as tables print it."""
    own, labels = bundle.models.model(bundle.main), {item.name: item.label for item in bundle.columns}
    z = norm.ppf(0.5 + level / 2)
    terms = []
    for place, term in enumerate(own.terms, start=1):
        value, se = float(own.coefficients[place]), float(np.sqrt(own.covariance[place][place]))
        label = labels.get(term.source, term.source) + (f": {term.level}" if term.level is not None else "")
        limits = (float(np.exp(value - z * se)), float(np.exp(value + z * se)))
        terms.append(Term(term.name, label, value, float(np.exp(value)), *limits, float(own.p_values[place]), se))
    kind = "cox" if isinstance(own, FrozenCox) else "logistic"
    return FittedModel(terms, own.n, own.n_events, method=own.method, kind=kind, intercept=float(own.coefficients[0]))


def _sentence(bundles: Mapping[str, Bundle | NetworkBundle]) -> Sentence:
    each = [
        f"the study {bundle.card['name']!r} (bundle {bundle.identity[:12]}, {bundle.main} model"
        + (f"; called {name} here)" if len(bundles) > 1 else ")")
        for name, bundle in bundles.items()
    ]
    text = (
        f"The frozen model{'s' if len(each) > 1 else ''} of {listing(each)} "
        f"{'were' if len(each) > 1 else 'was'} applied unchanged to every patient, with "
        f"{'their' if len(each) > 1 else 'its'} own rules for images, masks and missing values; nothing was "
        "fitted to these patients."
    )
    if len(each) > 1:
        text += " The models were judged on the patients whom all of them can predict."
    return Sentence("modelling", text)


def _inputs(context: Context) -> dict[str, str]:
    files = {} if context.study.images is None else image_hashes(context)
    models = {f"model {path.name} {place}": context.fingerprints.of(path) for place, path in enumerate(context.models)}
    if context.study.features.table is not None and any(map(_reads_feature_table, bundles_of(context).values())):
        files = files | {"feature table": context.fingerprints.of(table_path(context))}
    return models | files


STAGE = Stage(
    name="modelling",
    title="frozen models applied to every patient",
    module=__name__,
    run=write,
    settings=lambda context: study_parts(context, "cohort", "images", "outcome", "features"),
    cost=lambda context: Cost(5.0, 1e9),
    needs=("cohort",),
    inputs=_inputs,
)
