"""Features of one image or of a table of patients: what `hepacast extract` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hepacast.cohort.findings import name_patients
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import one_header, read_ids
from hepacast.cohort.numbers import read_numbers
from hepacast.cohort.one_sheet import one_row_a_patient, one_sheet
from hepacast.cohort.parsing import file_decimal_of
from hepacast.cohort.patient_rows import name_rows
from hepacast.cohort.sheets import is_table, read_sheets
from hepacast.core import views
from hepacast.core.executor import map_items, resolve_workers
from hepacast.core.files import require_writable_file, write_text
from hepacast.core.progress import Reporter, SilentReporter, format_bytes, format_seconds
from hepacast.core.tables import Table, table_of
from hepacast.core.texts import cells
from hepacast.errors import HepacastError, ImageError, StudyFileError, TableError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskPath, MaskSet, read_mask_set, read_volume, write_volume
from hepacast.imaging.overlay import overlay_figure
from hepacast.imaging.structures import with_unions
from hepacast.radiomics import (
    Case,
    Settings,
    compare_features,
    estimate,
    explain,
    extract_perturbed,
    feature_maps,
    perturbation_icc,
    read_other_table,
    status_counts,
    write_long,
)
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.table import ExtractionResult, VoiResult, concat_long
from hepacast.segmentation.plausibility import (
    Remark,
    group_remarks,
    judge,
    judge_levels,
    measure_voi,
    modality_of,
    require_possible,
)
from hepacast.study.plausible_images import bin_width, noted
from hepacast.study.segment import label_values, mask_path, parse_vois

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A mask file, a folder of one file a structure, or such files by name (also as texts ``NAME=PATH``).
MaskGiven = MaskPath | Sequence[str | Path]

TABLE_COLUMNS = ("patient", "image", "mask")
#: Reasons for undefined features that are printed; a table has them all.
MAX_REASONS = 5
#: Rows of a notebook's table.
_SHOWN = 20
WRITTEN = (".csv", ".parquet", ".pq")


@dataclass(frozen=True, repr=False, eq=False)
class MeasuredFeatures(views.Shown):
    """Features of one image or of a table of patients.

    Attributes
    ----------
    long
        One row a feature: patient, sequence, voi, feature, value, status (``ok``, ``undefined``, ``failed``), reason.
    lines
        What was measured, and what a person should know: notes of the files, what is doubtful about image and mask.
    settings
        What was asked for.
    result, volume, vois
        Of one image: its features, the image, and its VOIs; None and empty of a table.
    """

    long: pd.DataFrame
    lines: tuple[str, ...]
    settings: Settings
    result: ExtractionResult | None = None
    volume: Volume | None = None
    vois: Mapping[str, Volume] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row a patient and VOI, one column a feature (NaN where it has no value; `long` says why)."""
        wide = self.long.pivot(index=["patient", "voi"], columns="feature", values="value")
        return wide[list(dict.fromkeys(self.long["feature"]))].rename_axis(columns=None)

    def write(self, path: str | Path) -> Path:
        """Write the table: ``.csv``, one row a patient and VOI, as PyRadiomics does; ``.parquet`` with the reasons.

        Raises
        ------
        StudyFileError
            Another format.
        StorageError
            The file cannot be written.
        """
        _require_written(path)
        path = Path(path)
        if path.suffix.lower() == ".csv":
            write_text(path, cells(self.to_frame().reset_index()).to_csv(index=False, lineterminator="\n"))
        else:
            write_long(self.long, path)
        return path


@views.page.register
def _(record: MeasuredFeatures) -> list[str | Table]:
    """What was measured, and the first rows: features by VOI of one image, VOIs by status of a table."""
    if record.result is None:
        shown, what = status_counts(record.long), "rows"
    else:
        shown = pd.DataFrame({name: item.features for name, item in record.result.vois.items()})
        shown, what = shown.rename_axis("feature").reset_index(), "features"
    title = f"The first {_SHOWN} of {len(shown)} {what} (to_frame() has all)" if len(shown) > _SHOWN else ""
    return ["\n".join(record.lines), table_of(shown.head(_SHOWN), title)]


@views.drawings.register
def _(record: MeasuredFeatures) -> views.Drawings:
    """`overlay` of one image; of a table every feature by its name, patients by VOI."""
    if record.volume is not None:
        return {"overlay": partial(overlay_figure, record.volume, record.vois)}
    return {name: partial(_draw_feature, record.long, name) for name in dict.fromkeys(record.long["feature"])}


def _draw_feature(long: pd.DataFrame, name: str) -> Figure:
    from hepacast.figures.labels import feature_label
    from hepacast.figures.patients import draw_values

    values = long[long["feature"] == name]
    return draw_values(
        {str(voi): part["value"].to_numpy() for voi, part in values.groupby("voi")}, label=feature_label(name)
    )


def extract(
    image: str | Path | Volume | pd.DataFrame,
    mask: MaskGiven | None = None,
    *,
    labels: Mapping[str, str | int] | None = None,
    vois: str | Mapping[str, str] = "",
    settings: Settings | str | Path | Mapping[str, Any] = "ptlf",
    backend: str = "hepacast",
    series: str | int | None = None,
    accept_doubtful: bool = False,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> MeasuredFeatures:
    """Measure one image, or every row of a table with columns patient, image, mask.

    Parameters
    ----------
    image, mask
        The image and its mask (a file, a folder of one file a structure, such files by name or as ``NAME=PATH``, a
        `Volume`, or an array on the image's voxels); or a table of patients (CSV, Excel, DataFrame) and no mask.
    labels, vois
        Names of label values; VOIs by algebra (``parenchyma: liver - tumor; tumor: tumor``, or expressions by name).
    settings
        A named setting (``ptlf``, ``early-recurrence``, ``ibsi``), a PyRadiomics parameter file, or its content.
    backend
        ``hepacast`` or ``pyradiomics``.
    series
        Of a DICOM folder with several: its number, UID, or words of its description. A column ``series`` of the table
        of patients goes before it.
    accept_doubtful
        Measure although image and mask look impossible (HU, labels, volume).
    workers
        Processes for a table, threads for an image; 0 = one a core. Values do not depend on it.
    reporter
        Where progress goes.

    Raises
    ------
    HepacastError
        Image, mask, table or settings cannot be used.
    """
    say, recipe = reporter or SilentReporter(), _recipe(labels, vois, settings, backend)
    if mask is None:
        jobs, remarks = _jobs(image, recipe, series, accept_doubtful)
        return _of_jobs(jobs, remarks, recipe.loaded_settings, workers, say)
    if isinstance(image, pd.DataFrame):
        raise StudyFileError("A table of patients names its masks itself.", found="a table and a mask")
    return _of_image(image, mask, recipe, series, accept_doubtful, workers, say)


def _recipe(
    labels: Mapping[str, str | int] | None,
    vois: str | Mapping[str, str],
    settings: Settings | str | Path | Mapping[str, Any],
    backend: str,
) -> ImageRecipe:
    named = parse_vois(vois) if isinstance(vois, str) else dict(vois)
    values = label_values(labels or {}) or {}
    return ImageRecipe.of_settings(Settings.load(settings), vois=named, labels=values, backend=backend)


def extract_image(
    image: str | Path,
    mask: MaskGiven | None,
    output: str | Path | None,
    *,
    maps: Path | None = None,
    compare: Path | None = None,
    perturb: Path | None = None,
    reporter: Reporter | None = None,
    workers: int = 0,
    **options: Any,
) -> str:
    """`extract` (with its options), what is made of it written, and a summary.

    Parameters
    ----------
    output
        ``.csv``: one row a patient and VOI, as PyRadiomics writes it; ``.parquet``: the long table with status.
    maps
        Folder for voxel-wise feature maps of the first VOI.
    compare
        A table made elsewhere: how far it agrees, and what may explain the differences.
    perturb
        With a table of patients: file (CSV) for each feature's ICC under perturbed images and masks.

    Raises
    ------
    HepacastError
        As `extract`; an output of another format, or that cannot be written.
    """
    _require_written(output)
    if mask is None and is_table(image) and output is None and perturb is None:
        raise StudyFileError("Where should the features go?", expected="-o features.csv or features.parquet")
    lines: list[str] = []
    if mask is not None or output is not None or perturb is None:
        found = extract(image, mask, workers=workers, reporter=reporter, **options)
        lines += found.lines
        if found.result is not None and found.volume is not None:
            if maps is not None:
                lines += _write_maps(found.volume, dict(found.vois), found.settings, maps)
            if compare is not None:
                lines += _compared(found.result, compare, found.settings)
        if output is None:
            lines += [f"  {row.voi} {row.feature} = {row.value:.6g}" for row in found.long.itertuples()]
        else:
            lines.append(f"wrote {found.write(output)}")
    if perturb is not None and mask is None:
        lines += _perturbed(Path(image), perturb, workers, reporter or SilentReporter(), **options)
    return "\n".join(lines)


def _of_image(
    image: str | Path | Volume,
    mask: MaskGiven,
    recipe: ImageRecipe,
    series: str | int | None,
    accept: bool,
    workers: int,
    say: Reporter,
) -> MeasuredFeatures:
    settings = recipe.loaded_settings
    volume = read_volume(image, series=series)
    values = dict(recipe.labels) or None
    found = read_mask_set(_mask_of(mask, values), values, reference=volume, rules=settings.mask_rules)
    named = recipe.vois_of(found.masks)
    where = str(mask) if isinstance(mask, str | Path) else "image and mask"
    doubts = _judge(volume, found.masks, named, settings, accept, where)
    threads = resolve_workers(workers)
    cost = estimate(volume, named, settings, threads)
    say.say(f"measuring: about {format_seconds(cost.seconds)}, {format_bytes(cost.peak_bytes)} of memory")
    result = recipe.measure(volume, named, threads=threads)
    lines = _measured_lines(result, settings)
    lines += [f"  note: {note}" for note in (*volume.notes, *found.notes)]
    lines += [f"  doubtful: {item}" for item in doubts]
    return MeasuredFeatures(result.to_long("1"), tuple(lines), settings, result, volume, named)


def _mask_of(mask: MaskGiven, values: Mapping[str, int] | None) -> MaskPath:
    """The mask file, or the files of structures.

    Raises
    ------
    StudyFileError
        Label values beside files of single structures.
    """
    files = mask_path(mask)
    if values and isinstance(files, Mapping):
        raise StudyFileError(
            "Label values are those of one mask file, and here each structure has its own.",
            found=", ".join(f"{name}={value}" for name, value in values.items()),
            remedy="leave --labels out, or give one file",
        )
    return files


def _measured_lines(result: ExtractionResult, settings: Settings) -> list[str]:
    """What was measured, and why values are undefined."""
    n = len(settings.feature_names())
    lines = [f"{n} features of {len(result.vois)} VOIs by {result.engine}, settings {settings.hash[:12]}"]
    for name, item in result.vois.items():
        undefined = f", {len(item.reasons)} undefined" if item.reasons else ""
        lines.append(f"  {name}: {item.status}{undefined}" + (f" ({item.reason})" if item.reason else ""))
        if item.status == "partial":
            often = Counter(item.reasons.values()).most_common(MAX_REASONS)
            lines += [f"    {count} feature{'s' if count > 1 else ''}: {reason}" for reason, count in often]
    return lines


def _judge(
    volume: Volume, structures: dict[str, Volume], vois: dict[str, Volume], settings: Settings, accept: bool, where: str
) -> list[Remark]:
    """What is doubtful about an image and its masks.

    Raises
    ------
    ImageError
        Something is impossible, and nobody has accepted it.
    """
    width = bin_width(settings)
    remarks = judge({"image": volume}, with_unions(structures), {"image": modality_of(volume)})
    levels = [item for name, mask in vois.items() for item in judge_levels(measure_voi(name, mask, volume), width)]
    return require_possible([*remarks, *levels], accept=accept, where=where)


def _write_maps(volume: Volume, named: dict[str, Volume], settings: Settings, folder: Path) -> list[str]:
    lines = []
    for voi, mask in named.items():
        for feature, item in feature_maps(volume, mask, settings).items():
            write_volume(item, folder / f"{voi}_{feature}.nii.gz")
        lines.append(f"  maps of {voi}: {folder}")
    return lines


def _compared(result: ExtractionResult, path: Path, settings: Settings) -> list[str]:
    frame = _frame(path)
    lines = []
    for voi, item in result.vois.items():
        other = read_other_table(frame, voi=voi if len(result.vois) > 1 else None)
        found = compare_features(item.features, other, settings)
        lines.append(f"  {voi}: {found.agreement:.2%} of {len(found.features)} common features agree within 1e-6")
        lines += [f"    {text}" for text in found.explanations]
    return lines


def _frame(path: Path) -> pd.DataFrame:
    """A table of features made elsewhere; numbers where a cell is one, texts elsewhere."""
    sheet = read_sheets(path, patients=False)[0]
    mark = file_decimal_of([sheet])
    columns = {}
    for position, header in enumerate(sheet.headers):
        cells = [row[position] for row in sheet.cells]
        parsed = read_numbers(cells, mark)
        columns[header] = [item.value if item.status == "ok" else cell for item, cell in zip(parsed, cells)]
    return pd.DataFrame(columns)


def _require_written(output: str | Path | None) -> None:
    """Before any work: whether the table's format is known and the file can be written."""
    if output is None:
        return
    if Path(output).suffix.lower() not in WRITTEN:
        raise StudyFileError("Features are written as .csv or .parquet.", found=Path(output).name)
    require_writable_file(output)


def _jobs(
    source: str | Path | Volume | pd.DataFrame, recipe: ImageRecipe, series: str | int | None, accept: bool
) -> tuple[list[_Job], list[str]]:
    """The rows of a table of patients, whose paths start at its folder (of a DataFrame at the working folder)."""
    frame, remarks = _read_patients(source)
    base = Path(source).parent if isinstance(source, str | Path) else Path()
    rows = frame.to_dict("records")
    return [_Job({str(k): v for k, v in row.items()}, base, recipe, series, accept) for row in rows], remarks


def _of_jobs(jobs: list[_Job], remarks: list[str], settings: Settings, workers: int, say: Reporter) -> MeasuredFeatures:
    with say.track("features") as progress:
        measured = map_items(_measure, jobs, workers=workers, progress=progress)
    long = _joined([(job, item) for job, item, *_ in measured], settings)
    failed = long.loc[long["status"] == "failed", "patient"].nunique()
    lines = [*remarks, f"{len(jobs)} patients, {failed} of them with a VOI that could not be measured"]
    notes = noted({job.patient: notes for job, *_, notes in measured})
    lines += [f"  note: {name_patients(patients)}: {note}" for note, patients in notes]
    lines += _doubts({job.patient: remarks for job, _, remarks, _ in measured})
    return MeasuredFeatures(long, tuple(lines), settings)


def _perturbed(
    path: Path,
    target: Path,
    workers: int,
    say: Reporter,
    *,
    labels: Mapping[str, str | int] | None = None,
    vois: str = "",
    settings: str = "ptlf",
    backend: str = "hepacast",
    series: str | int | None = None,
    accept_doubtful: bool = False,
) -> list[str]:
    """Each feature's ICC under perturbed images and masks, written; and what is said of it."""
    recipe = _recipe(labels, vois, settings, backend)
    with say.track("perturbed features") as progress:
        cases = [_case(job) for job in _jobs(path, recipe, series, accept_doubtful)[0]]
        tables = extract_perturbed(cases, recipe.loaded_settings, workers=workers, progress=progress)
    icc = perturbation_icc(tables)
    write_text(target, icc.to_csv(lineterminator="\n"))
    good = int((icc["icc2"] >= 0.75).sum())
    return [
        f"{good} of {len(icc)} features have an ICC of 0.75 or more under {len(tables)} perturbations",
        f"wrote {target}",
    ]


def _doubts(found: Mapping[str, list[Remark]]) -> list[str]:
    """One line a problem; the patients of a problem of many are named."""
    return [f"  doubtful: {name_patients(patients)}: {item}" for item, patients in group_remarks(found)]


def _read_patients(path: str | Path | Volume | pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Patients with their image and mask, all as text, and what was said about the table."""
    if not isinstance(path, pd.DataFrame) and not (isinstance(path, str | Path) and is_table(path)):
        raise StudyFileError("A mask is needed.", expected="IMAGE MASK, or a table with columns patient, image, mask")
    where = "table" if isinstance(path, pd.DataFrame) else str(path)
    sheet, findings = one_sheet(path, *TABLE_COLUMNS, what="table of patients", several="first")
    patients = one_row_a_patient(sheet, "patient", what="table of patients", where=where)
    frame = pd.DataFrame({"patient": list(patients)}, dtype=object)
    for name in TABLE_COLUMNS[1:]:
        frame[name] = read_ids(sheet.column(one_header(sheet, name)))
    gaps = [row for row, lacks in zip(sheet.rows, frame.isna().any(axis=1)) if lacks]
    if gaps:
        raise TableError(
            "The table of patients has empty cells.",
            expected="patient, image and mask in every row",
            found=f"a gap in {name_rows(gaps)}",
            where=where,
        )
    own = find_header(sheet.headers, ["series"])
    frame["series"] = read_ids(sheet.column(own[0])) if own else None
    return frame, [f"  {item.severity}: {item.message}" for item in findings]


@dataclass(frozen=True)
class _Job:
    """One row of the table of patients; its files are read in the worker, one patient at a time."""

    row: dict[str, Any]
    base: Path
    recipe: ImageRecipe
    series: str | int | None = None
    accept: bool = False

    @property
    def patient(self) -> str:
        return str(self.row["patient"])

    def path(self, column: str) -> Path:
        return self.base / str(self.row[column])

    def read_image(self) -> Volume:
        own = self.row.get("series")
        return read_volume(self.path("image"), series=own if isinstance(own, str) and own.strip() else self.series)

    def structures(self, reference: Volume) -> MaskSet:
        """The masks of the row: a file, a folder, or ``NAME=PATH; NAME=PATH``."""
        given = mask_path([part.strip() for part in str(self.row["mask"]).split(";") if part.strip()])
        files = (
            {n: self.base / str(f) for n, f in given.items()} if isinstance(given, Mapping) else self.base / str(given)
        )
        rules = self.recipe.loaded_settings.mask_rules
        return read_mask_set(files, dict(self.recipe.labels) or None, reference=reference, rules=rules)

    def names(self) -> list[str]:
        """The VOIs that are expected, as far as they are named."""
        return list(self.recipe.vois or self.recipe.labels)


def _measure(job: _Job) -> tuple[_Job, ExtractionResult | str, list[Remark], tuple[str, ...]]:
    """In a worker: one patient's features, or why there are none; what is doubtful about the patient; notes."""
    try:
        volume = job.read_image()
        found = job.structures(volume)
        vois = job.recipe.vois_of(found.masks)
        doubts = _judge(volume, found.masks, vois, job.recipe.loaded_settings, job.accept, f"patient {job.patient}")
        result = job.recipe.measure(volume, vois)
        return job, result, doubts, (*volume.notes, *found.notes)
    except HepacastError as error:
        return job, str(error).replace("\n ", ";"), [], ()


def _case(job: _Job) -> Case:
    """The row for perturbations, with its VOIs or with the reason why there are none."""
    try:
        volume = job.read_image()
        structures = job.structures(volume).masks
        masks: dict[str, Any] = dict(job.recipe.vois_of(structures))
        _judge(volume, structures, masks, job.recipe.loaded_settings, job.accept, f"patient {job.patient}")
    except HepacastError as error:
        masks = {name: partial(_refuse, error.message) for name in job.names() or ["mask"]}
    return Case(job.patient, {"": job.read_image}, masks)


def _refuse(message: str) -> Volume:
    raise ImageError(message)


def _joined(results: list[tuple[_Job, ExtractionResult | str]], settings: Settings) -> pd.DataFrame:
    """One table; a patient who could not be read has a row a feature, without a value and with the reason."""
    measured = [item for _, item in results if isinstance(item, ExtractionResult)]
    usual = list(measured[0].vois) if measured else ["mask"]
    engine = measured[0].engine if measured else ""
    parts = []
    for job, item in results:
        if isinstance(item, str):
            failed = {n: VoiResult.failed(n, settings.feature_names(), item) for n in job.names() or usual}
            item = ExtractionResult(failed, settings.hash, engine)
        parts.append(item.to_long(job.patient))
    return concat_long(parts, settings_hash=settings.hash, engine=engine)


def explain_feature(name: str) -> str:
    """Formula, source and IBSI code of a feature, in words."""
    return explain(name).to_text()
