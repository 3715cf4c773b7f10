"""Stage 3, radiomics: every feature of every VOI of every patient, or a table of features made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.cohort import Cohort, read_cohort
from hepacast.core.closure import code_hash
from hepacast.core.executor import Need, resolve_workers
from hepacast.core.files import atomic_path, read_json, write_json
from hepacast.core.hashing import hash_file
from hepacast.core.jobs import Job, make_missing
from hepacast.core.mapped import write_mapped
from hepacast.core.names import file_name
from hepacast.core.records import read_record, write_record
from hepacast.core.sentences import Sentence
from hepacast.errors import HepacastError, ImageError
from hepacast.imaging.io import write_labelmap
from hepacast.imaging.remarks import ImageRemark
from hepacast.radiomics.pieces import PiecesTold, put_together
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.robustness import icc_features
from hepacast.radiomics.settings import Settings
from hepacast.radiomics.summary import RadiomicsSummary
from hepacast.radiomics.table import concat_long, write_long
from hepacast.study.analysis_set import FEATURES, WIDE, wide_features
from hepacast.study.context import Context
from hepacast.study.feature_settings import load_settings
from hepacast.study.image_recipe import recipe_of
from hepacast.study.input_files import imaged_patients, typical_voxels, voi_settings
from hepacast.study.mask_files import labelled_patients, mask_files
from hepacast.study.patient_masks import (
    MaskedImages,
    masked_images,
    read_expert,
    refused_masks,
    voi_values,
    with_mask,
)
from hepacast.study.plausible_images import gray_level_remarks
from hepacast.study.stage import Cost, Stage, study_parts
from hepacast.study.stages.feature_table import forget_feature_table, read_feature_table, table_path

#: Fewer patients than this say nothing about agreement.
MIN_READ_TWICE = 5


@dataclass(frozen=True)
class FeatureTask:
    """What is measured of one patient; `refused`: why it is not, where the mask is impossible."""

    files: MaskedImages
    recipe: ImageRecipe
    refused: str | None = None


def _measure(job: Job[FeatureTask]) -> None:
    """In a worker: measure one patient. What cannot be measured becomes rows with a status and a reason."""
    from hepacast.radiomics.diagnostics import engine_name

    task, parts, engine = job.task, [], engine_name()
    for image in task.files.images:
        try:
            if task.refused is not None:
                raise ImageError(task.refused)
            volume = image.read()
            result = task.recipe.extract(volume, task.files.structures(volume))
        except HepacastError as error:
            result = task.recipe.failed(error, engine)
        parts.append(result.to_long(job.patient, image.name))
        engine = result.engine
    there = {image.name for image in task.files.images}
    parts += [
        task.recipe.lacking(engine).to_long(job.patient, name) for name in task.recipe.sequences if name not in there
    ]
    write_long(concat_long(parts, settings_hash=task.recipe.settings_hash, engine=engine), job.kept)


def _measured(context: Context, patients: Mapping[str, MaskedImages], label: str) -> list[Path]:
    """File of the long table of each patient; what was measured before under the same key is there."""
    recipe, prints, refused = recipe_of(context), context.fingerprints, refused_masks(context)
    jobs = [
        Job.of(
            patient,
            FeatureTask(files, recipe, why),
            context.cache / "features",
            ".parquet",
            [files],
            prints,
            [recipe.to_json(), why, code_hash(__name__)],
        )
        for patient, files in patients.items()
        for why in [refused.get(patient)]
    ]
    need = Need(memory=_PROCESS_BYTES + typical_voxels(context) * _BYTES_PER_VOXEL)
    say, many = context.reporter, context.workers
    return make_missing(_measure, jobs, label, need=need, refuse=_refuse, reporter=say, workers=many)


def _refuse(job: Job[FeatureTask], why: str) -> None:
    _measure(replace(job, task=replace(job.task, refused=why)))


def measure(context: Context, patients: list[str]) -> pd.DataFrame:
    """Wide features of patients who are not in the study's own table (a further cohort)."""
    files = {patient: masked_images(context, patient) for patient in patients}
    return wide_features(context, _measured(context, files, "features of further cohorts"))[0].loc[patients]


def write(context: Context, folder: Path) -> None:
    """Run the stage. A study of clinical predictors alone has nothing to measure, and nobody leaves it here."""
    if context.study.images is None and context.study.features.table is None:
        write_json(folder / "excluded.json", [])
        return
    if context.study.features.table is not None:
        _from_table(context, folder)
        return
    cohort = read_cohort(context.out / "cohort")
    pieces = _measured(context, {p: masked_images(context, p) for p in cohort.patients}, "features")
    settings = load_settings(context)
    with context.reporter.track("table of features") as progress:
        told = put_together(pieces, folder / WIDE, folder / FEATURES, settings_hash=settings.hash)
        progress(1, 1)
    _summary(context, folder, told, settings)
    _write_excluded(told, folder)
    if context.images.segmentation.second_reader is not None:
        _reproducibility(context, cohort, folder)


def _reproducibility(context: Context, cohort: Cohort, folder: Path) -> None:
    """ICC of every feature between two readers' masks of the same patients (two-way random, absolute agreement)."""
    options = context.images.segmentation
    assert options.second_reader is not None
    both = [
        p for p in labelled_patients(context, cohort.patients) if mask_files(context, options.second_reader, p).exists()
    ]
    if len(both) < MIN_READ_TWICE:
        return
    tables = []
    for reader in (1, 2):
        files = {}
        for patient in both:
            mask = read_expert(context, patient, second=reader == 2)
            kept = context.cache / "readers" / f"{file_name(patient)}-{reader}.nii.gz"
            write_labelmap(mask, kept)
            files[patient] = with_mask(context, patient, kept, mask.labels)
        measured = _measured(context, files, f"features of reader {reader}")
        tables.append(wide_features(context, measured)[0])
    table = icc_features(tables)["icc2"].rename("icc").reset_index()
    with atomic_path(folder / "icc.parquet") as temporary:
        table.to_parquet(temporary)
    good = int((table["icc"] >= 0.75).sum())
    text = (
        f"{len(both)} patients were outlined by two readers; the intraclass correlation (two-way random, absolute "
        f"agreement, single reader [@icc]) was 0.75 or more for {good} of {len(table)} features."
    )
    known = read_record(list[Sentence], folder / "methods.json")
    write_record(folder / "methods.json", [*known, Sentence("radiomics", text, ["icc"])])


def _summary(context: Context, folder: Path, told: PiecesTold, settings: Settings) -> None:
    vois = list(context.images.vois)
    per_voi = len(settings.feature_names())
    sequences = len(context.images.sequences)
    undefined = {
        "values": sum(told.undefined.values()),
        "features": len(told.undefined_features),
        "patients": len(told.undefined),
    }
    levels = gray_level_remarks(voi_values(context), settings.bin_width)
    summary = RadiomicsSummary(
        engine=told.engine,
        settings=settings.canonical(),
        settings_hash=settings.hash,
        vois=vois,
        features_per_voi=per_voi * sequences,
        n_features=per_voi * sequences * len(vois),
        status_counts=dict(told.counts.most_common()),
        failed_patients=len(told.failed_patients),
        undefined=undefined,
        image_types={name: dict(own) for name, own in settings.image_types.items()},
        gray_levels=[ImageRemark(patient, **asdict(item)) for patient, items in levels.items() for item in items],
    )
    write_record(folder / "summary.json", summary)
    binning = settings.parameters
    bins = f"{binning.binCount} bins" if binning.binCount else f"a bin width of {binning.binWidth:g}"
    text = (
        f"From {_voi_words(vois)} {per_voi * sequences} features were extracted with {told.engine} "
        f"under PyRadiomics' definitions [@pyradiomics] ({', '.join(settings.image_types)}; "
        f"{bins}; settings hash {settings.hash[:12]}), {per_voi * sequences * len(vois)} in all."
    )
    write_record(folder / "methods.json", [Sentence("radiomics", text, ["pyradiomics"])])


def _voi_words(vois: Sequence[str]) -> str:
    if len(vois) == 1:
        return f"the volume of interest ({vois[0]})"
    return f"each of {len(vois)} volumes of interest ({', '.join(vois)})"


def _write_excluded(told: PiecesTold, folder: Path) -> None:
    """Who can be analysed: patients with a VOI that could not be measured leave the study here, with the reason."""
    first: dict[tuple[str, str], str] = {}
    for (patient, _, voi), reason in told.failed.items():
        first.setdefault((patient, voi), reason)
    reasons: dict[str, list[str]] = {}
    for (patient, voi), reason in first.items():
        reasons.setdefault(why_lost(voi, reason), []).append(patient)
    write_json(folder / "excluded.json", [{"reason": k, "patients": v} for k, v in reasons.items()])


#: What the reader of a flow chart is told, by what the reason says.
_WORDS = (
    ("empty", "not outlined (the mask is empty)"),
    ("single voxel", "too small to measure (one voxel)"),
    ("1 dimension", "too small to measure (a single row of voxels)"),
    ("2 dimension", "too small to measure (a single slice)"),
    ("minimumROISize", "too small to measure (fewer voxels than the settings ask for)"),
    ("resegmentation leaves", "without tissue in the range of gray levels that is measured"),
)


def why_lost(voi: str, reason: str) -> str:
    """Why a patient cannot be analyzed, in the words of a flow chart."""
    words = next((text for mark, text in _WORDS if mark in reason), f"not measured ({reason.rstrip('.')})")
    return f"{voi} {words}"


def _from_table(context: Context, folder: Path) -> None:
    cohort = read_cohort(context.out / "cohort")
    wide, _ = read_feature_table(context)
    wide = wide.loc[cohort.patients]
    forget_feature_table()
    names = [str(name) for name in wide.columns]
    wide.to_parquet(folder / "wide.parquet", compression="zstd", use_dictionary=False, use_byte_stream_split=names)
    write_mapped(folder / WIDE, wide.to_numpy(), wide.index, wide.columns)
    vois = list(dict.fromkeys(name.split(":")[0] for name in wide.columns))
    counts = {voi: sum(name.startswith(f"{voi}:") for name in wide.columns) for voi in vois}
    name = table_path(context).name
    summary = RadiomicsSummary(
        engine=f"feature table {name}",
        settings_hash=hash_file(table_path(context)),
        vois=vois,
        features_per_voi=counts,
        n_features=len(wide.columns),
        status_counts={"ok": int(wide.notna().sum().sum()), "missing": int(wide.isna().sum().sum())},
    )
    write_record(folder / "summary.json", summary)
    text = (
        f"{len(wide.columns)} radiomics features of {', '.join(vois)} were taken from a table made elsewhere ({name})."
    )
    write_record(folder / "methods.json", [Sentence("radiomics", text)])
    write_json(folder / "excluded.json", [])


def facts(context: Context) -> dict[str, Any]:
    """`summary.json`."""
    loaded: dict[str, Any] = read_json(context.out / "radiomics" / "summary.json")
    return loaded


#: Seconds of a small image and its VOIs, of which so many features are measured (recipe ptlf, one core).
_SECONDS_PER_PATIENT, _FEATURES = 0.25, 1874
#: Seconds a voxel of the image, by the first VOI and by each further one: VOIs divide a liver more often than they
#: share it. 512 x 512 x 119 voxels and two VOIs (2.1 million voxels) take 5 s.
_SECONDS_PER_VOXEL, _PER_VOI = 1.4e-7, 1.5e-8
#: Bytes of a process, and a voxel of the image (measured: 0.94 GB with 31 million voxels).
_PROCESS_BYTES, _BYTES_PER_VOXEL = 3.5e8, 20.0


def _settings(context: Context) -> dict[str, Any]:
    """Settings of the features by their content: a parameter file may change under its name."""
    rules = study_parts(context, "features") | {"images": voi_settings(context)}
    if context.study.features.table is None and context.study.images is not None:
        rules["settings_hash"] = load_settings(context).hash
    return rules


def _cost(context: Context) -> Cost:
    images = context.study.images
    if context.study.features.table is not None or images is None:
        return Cost(2.0, 3e8)
    voxels, workers = typical_voxels(context), resolve_workers(context.workers)
    each = _SECONDS_PER_PATIENT + voxels * (_SECONDS_PER_VOXEL + _PER_VOI * len(images.vois))
    share = len(load_settings(context).feature_names()) / _FEATURES
    seconds = each * share * len(images.sequences) * imaged_patients(context) / workers
    return Cost(seconds, (_PROCESS_BYTES + voxels * _BYTES_PER_VOXEL) * workers)


STAGE = Stage(
    name="radiomics",
    title="features of every VOI",
    module=__name__,
    run=write,
    settings=_settings,
    cost=_cost,
    needs=("cohort", "preprocessing", "segmentation"),
)
