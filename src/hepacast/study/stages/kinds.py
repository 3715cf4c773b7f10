"""The stages of a study in order: what each depends on, and what it will cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hepacast.core.executor import resolve_workers
from hepacast.core.hashing import hash_value
from hepacast.study.context import Context
from hepacast.study.mask_files import MaskPattern, mask_files
from hepacast.study.plan import Cost, StageKind
from hepacast.study.schema import SplitByList

#: Seconds that one refit of the whole chain takes, with evaluation of what was left out (measured, one core).
_REFIT_SECONDS = 1.0
#: Seconds a voxel of a VOI for the 20 images of recipe ptlf (measured, one core), and for a whole small image.
_SECONDS_PER_PATIENT = 0.35
#: A voxel of the image and VOI: 512 x 512 x 129 voxels and two VOIs take 11 s.
_SECONDS_PER_VOXEL = 1.6e-7


def _dump(context: Context, *names: str) -> Any:
    study = context.study.model_dump(mode="json")
    return {name: study[name] for name in names}


def _cohort_inputs(context: Context) -> dict[str, str]:
    prints, study = context.fingerprints, context.study
    files = {"clinical table": context.path(study.cohort.table)}
    files |= {f"clinical table {name}": context.path(path) for name, path in study.cohort.stacked.items()}
    if study.cohort.dictionary is not None:
        files["data dictionary"] = context.path(study.cohort.dictionary)
    if study.features.table is not None:
        files["feature table"] = context.path(study.features.table)
    if isinstance(study.cohort.split, SplitByList):
        files["training list"] = context.path(study.cohort.split.training)
        files["validation list"] = context.path(study.cohort.split.validation)
    truth = context.path(study.cohort.truth) if study.cohort.truth else None
    if truth is not None:
        files["planted truth"] = truth
    found = {name: prints.of(path) for name, path in files.items() if path.exists()}
    if study.images is not None:
        # Which files exist decides who is left out; their content matters to later stages.
        found["files present"] = hash_value(sorted(f"{kind}:{p}" for kind, p, _ in _image_files(context)))
    return found


def _image_files(context: Context) -> list[tuple[str, str, Path]]:
    from hepacast.study.stages.clinical import load_table

    images = context.study.images
    assert images is not None
    patterns: dict[str, MaskPattern] = {f"images {name}": item.path for name, item in images.sequences.items()}
    if images.segmentation.masks:
        patterns["expert masks"] = images.segmentation.masks
    if images.segmentation.second_reader:
        patterns["second reader"] = images.segmentation.second_reader
    patients = load_table(context).patients
    files = [
        (kind, p, path)
        for kind, pattern in patterns.items()
        for p in patients
        for _, path in mask_files(context, pattern, p).files
    ]
    return [item for item in files if item[2].exists()]


def _image_inputs(context: Context) -> dict[str, str]:
    from hepacast.imaging.io import image_files

    prints = context.fingerprints
    groups: dict[str, list[tuple[str, str]]] = {}
    for kind, patient, path in _image_files(context):
        groups.setdefault(kind, []).append((patient, hash_value([prints.of(item) for item in image_files(path)])))
    return {kind: hash_value(sorted(items)) for kind, items in groups.items()}


def _image_rules(context: Context) -> Any:
    """What of the images decides who is left out and who is outlined by an expert."""
    if context.study.images is None:
        return None
    images = context.study.images.model_dump(mode="json")
    options = images["segmentation"]
    return [images["sequences"], options["source"], options["masks"], options["nnunet"]["test_fraction"]]


def _mask_rules(context: Context) -> Any:
    """What a parameter file of the features says of mask files."""
    from hepacast.study.image_recipe import mask_rules

    return asdict(mask_rules(context))


def _feature_rules(context: Context) -> Any:
    """Settings of the features by their content: a parameter file may change under its name."""
    rules = _dump(context, "features") | {"images": _voi_rules(context)}
    if context.study.features.table is None and context.study.images is not None:
        from hepacast.study.image_recipe import load_settings

        rules["settings_hash"] = load_settings(context).hash
    return rules


def _model_rules(context: Context) -> Any:
    """The chain by its content, as it may be a file too."""
    from hepacast.study.stages.modelling import load_chain

    rules = _dump(context, "seed", "modelling", "evaluation")
    chain = load_chain(context).model_dump(mode="json")
    return rules | {"example": context.study.report.example_patient, "chain": chain}


def _voi_rules(context: Context) -> Any:
    """What of the images decides the features, given the masks."""
    if context.study.images is None:
        return None
    images = context.study.images.model_dump(mode="json")
    return {name: images[name] for name in ("sequences", "vois", "lesions", "min_lesion_ml")} | {
        "second_reader": images["segmentation"]["second_reader"]
    }


def _none(context: Context) -> dict[str, str]:
    return {}


def _always(context: Context) -> bool:
    return True


def _has_images(context: Context) -> bool:
    return context.study.images is not None


def _cohort_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import cohort

    cohort.write(context, folder)


def _preprocessing_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import preprocessing

    preprocessing.write(context, folder)


def _preprocessing_rules(context: Context) -> Any:
    assert context.study.images is not None
    images = context.study.images.model_dump(mode="json")
    return {"images": [images["sequences"], images["preprocessing"], images["segmentation"]["labels"]]}


def _preprocessing_cost(context: Context) -> Cost:
    patients = len({p for kind, p, _ in _image_files(context) if kind.startswith("images")})
    assert context.study.images is not None
    each = len(context.study.images.sequences) * (1.0 + _typical_voxels(context) * 4e-6)
    return Cost(each * patients / resolve_workers(context.workers), 2e9)


def _segmentation_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import segmentation

    segmentation.write(context, folder)


def _radiomics_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import radiomics

    radiomics.write(context, folder)


def _deep_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import deep

    deep.write(context, folder)


def _modelling_work(context: Context, folder: Path) -> None:
    if context.study.fusion is not None:
        from hepacast.study.stages import fusion

        fusion.write(context, folder)
        return
    from hepacast.study.stages import modelling

    modelling.write(context, folder)


def _evaluation_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import evaluation

    evaluation.write(context, folder)


def _further_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import further

    further.write(context, folder)


def _indexes_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import indexes

    indexes.write(context, folder)


def _further_inputs(context: Context) -> dict[str, str]:
    """Tables, images and masks of further cohorts."""
    if not context.study.further:
        return {}
    from hepacast.imaging.io import image_files
    from hepacast.study.stages.further import further_patients
    from hepacast.study.stages.segmentation import images_of

    prints, images = context.fingerprints, images_of(context)
    found = {f"table {name}": prints.of(context.path(item.table)) for name, item in context.study.further.items()}
    patterns: list[MaskPattern] = [item.path for item in images.sequences.values()]
    patterns += [images.segmentation.masks] if images.segmentation.masks else []
    patients = further_patients(context)
    files = [path for p in patients for text in patterns for _, path in mask_files(context, text, p).files]
    there = [item for path in files if path.exists() for item in image_files(path)]
    found["files of further cohorts"] = hash_value([prints.of(path) for path in there])
    return found


def _fusion_rules(context: Context) -> Any:
    """What a fusion adds to the settings of the modelling stage; nothing where there is none."""
    if context.study.fusion is None:
        return {}
    rules = _dump(context, "fusion", "further")
    chain = context.study.fusion.chain
    if isinstance(chain, str) and (context.base / chain).is_file():
        rules["fusion chain"] = context.fingerprints.of(context.base / chain)
    return rules | {"images": _dump(context, "images")["images"]["sequences"]}


def _bundle_work(context: Context, folder: Path) -> None:
    from hepacast.study.stages import bundle

    bundle.write(context, folder)


def _report_work(context: Context, folder: Path) -> None:
    from hepacast.report import build_report

    build_report(context.out, formats=tuple(context.study.report.formats), out=folder)


def _quick(context: Context) -> Cost:
    return Cost(5.0, 3e8)


def _segmentation_cost(context: Context) -> Cost:
    images = context.study.images
    assert images is not None
    patients = len({p for kind, p, _ in _image_files(context) if kind.startswith("images")})
    masks = sum(1 for kind, _, _ in _image_files(context) if kind == "expert masks")
    voxels = _typical_voxels(context)
    if images.segmentation.source == "nnunet":
        from hepacast.segmentation.nnunet.plan import apply_seconds, estimate_training, nnunet_plan

        plan = nnunet_plan(images.segmentation.nnunet.preset, folds=images.segmentation.nnunet.folds)
        cores = resolve_workers(context.workers)
        labelled = max(1, round(masks * (1 - images.segmentation.nnunet.test_fraction)))
        estimate = estimate_training(plan, cases=labelled, voxels_per_case=voxels, cores=cores)
        applied = images.segmentation.nnunet.apply_folds or images.segmentation.nnunet.folds
        each = 0.2 + applied * apply_seconds(plan, voxels)
        applying = (patients - labelled) * each / cores
        return Cost(estimate.seconds + applying, float(estimate.bytes))
    if images.segmentation.source == "given":
        return Cost(0.1 * patients, 1e9)
    return Cost(120.0 * patients, 4e9)


def _typical_voxels(context: Context) -> float:
    """Voxels of the first image; headers of the others are not read."""
    from hepacast.study.sequences import raw_image

    for kind, patient, _ in _image_files(context):
        if kind.startswith("images "):
            return float(raw_image(context, patient, kind.removeprefix("images ")).read().array.size)
    return 1e6


def _radiomics_cost(context: Context) -> Cost:
    if context.study.features.table is not None or context.study.images is None:
        return Cost(2.0, 3e8)
    images = context.study.images
    assert images is not None
    voxels = _typical_voxels(context)
    patients = len({p for kind, p, _ in _image_files(context) if kind.startswith("images")})
    each = _SECONDS_PER_PATIENT + voxels * len(images.vois) * len(images.sequences) * _SECONDS_PER_VOXEL
    workers = resolve_workers(context.workers)
    return Cost(each * patients / workers, (6e8 + voxels * 60) * workers)


def _has_networks(context: Context) -> bool:
    return context.study.deep is not None


def _deep_rules(context: Context) -> Any:
    """The networks, the outcome that they learn, and the folds that they share with the other models."""
    rules = _dump(context, "seed", "deep", "evaluation") | {"images": _voi_rules(context)}
    return rules | {"folds": context.study.modelling.validation.folds}


def _deep_inputs(context: Context) -> dict[str, str]:
    from hepacast.study.stages.deep_plan import network_inputs

    return network_inputs(context)


def _deep_cost(context: Context) -> Cost:
    from hepacast.study.stages.deep_plan import network_cost

    return network_cost(context, len({p for kind, p, _ in _image_files(context) if kind.startswith("images")}))


def _modelling_cost(context: Context) -> Cost:
    rules = context.study.modelling.validation
    refits = 1 + rules.folds * rules.repeats + rules.bootstrap + rules.folds * rules.permutations
    workers = resolve_workers(context.workers)
    return Cost(_REFIT_SECONDS * refits / workers, 6e8 * workers)


def _stages(*names: str) -> tuple[str, ...]:
    """Modules of stages by name."""
    return tuple(f"hepacast.study.stages.{name}" for name in names)


STAGE_KINDS: tuple[StageKind, ...] = (
    StageKind(
        "cohort",
        "table, checks, outcome, sets",
        (),
        lambda c: (
            _dump(c, "seed", "cohort", "outcome", "survival", "images") | {"candidates": c.study.modelling.candidates}
        ),
        _cohort_inputs,
        _cohort_work,
        _stages("cohort"),
        _always,
        _quick,
    ),
    StageKind(
        "preprocessing",
        "MR: bias field, registration, intensity scale",
        ("cohort",),
        _preprocessing_rules,
        lambda c: _image_inputs(c) | _further_inputs(c),
        _preprocessing_work,
        _stages("preprocessing"),
        lambda c: c.study.images is not None and c.study.images.preprocessing is not None,
        _preprocessing_cost,
    ),
    StageKind(
        "segmentation",
        "a mask of every patient, and how good it is",
        ("cohort", "preprocessing"),
        lambda c: _dump(c, "seed", "images") | {"mask rules": _mask_rules(c)},
        _image_inputs,
        _segmentation_work,
        _stages("segmentation"),
        _has_images,
        _segmentation_cost,
    ),
    StageKind(
        "radiomics",
        "features of every VOI",
        ("cohort", "preprocessing", "segmentation"),
        _feature_rules,
        _none,
        _radiomics_work,
        _stages("radiomics"),
        _always,
        _radiomics_cost,
    ),
    StageKind(
        "deep",
        "networks trained out-of-fold and applied frozen",
        ("cohort", "segmentation", "radiomics"),
        _deep_rules,
        _deep_inputs,
        _deep_work,
        _stages("deep"),
        _has_networks,
        _deep_cost,
    ),
    StageKind(
        "modelling",
        "clinical, radiomics and combined model, validated",
        ("cohort", "segmentation", "radiomics", "deep"),
        lambda c: _model_rules(c) | _fusion_rules(c),
        _further_inputs,
        _modelling_work,
        _stages("modelling", "fusion"),
        _always,
        _modelling_cost,
    ),
    StageKind(
        "evaluation",
        "discrimination, calibration, net benefit, comparisons",
        ("cohort", "modelling"),
        lambda c: _dump(c, "seed", "evaluation", "survival"),
        _none,
        _evaluation_work,
        _stages("evaluation"),
        _always,
        lambda c: Cost(20.0, 4e8),
    ),
    StageKind(
        "further",
        "cohorts without the outcome: risk groups and follow-up",
        ("cohort", "modelling"),
        lambda c: _dump(c, "further", "evaluation"),
        _further_inputs,
        _further_work,
        _stages("further"),
        lambda c: bool(c.study.further),
        lambda c: Cost(5.0, 4e8),
    ),
    StageKind(
        "indexes",
        "staging systems and indexes beside the main model",
        ("cohort", "radiomics", "modelling"),
        lambda c: _dump(c, "indexes", "evaluation"),
        _none,
        _indexes_work,
        _stages("indexes"),
        lambda c: c.study.indexes is not None,
        lambda c: Cost(5.0, 4e8),
    ),
    StageKind(
        "bundle",
        "the frozen model in one file",
        ("cohort", "radiomics", "deep", "modelling", "evaluation"),
        lambda c: _dump(c, "name", "recipe", "seed", "intended_use", "features", "images", "cohort"),
        _none,
        _bundle_work,
        _stages("bundle"),
        _always,
        lambda c: Cost(1.0),
    ),
    StageKind(
        "report",
        "tables, figures, Methods text",
        (
            "cohort",
            "preprocessing",
            "segmentation",
            "radiomics",
            "deep",
            "modelling",
            "evaluation",
            "further",
            "indexes",
        ),
        lambda c: _dump(c, "name", "report", "intended_use"),
        _none,
        _report_work,
        ("hepacast.report",),
        _always,
        lambda c: Cost(40.0, 6e8),
    ),
)
