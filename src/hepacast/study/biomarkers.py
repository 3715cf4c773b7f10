"""Biomarkers of one patient or of a table of patients: what `hepacast extract --biomarkers` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hepacast.biomarkers.agreement import compare_recorded
from hepacast.biomarkers.definitions import Biomarker
from hepacast.biomarkers.measure import COLUMNS, PatientBiomarkers, definitions_of, measure_biomarkers, phases_of
from hepacast.biomarkers.regions import Regions
from hepacast.biomarkers.staging import PatientFacts
from hepacast.cohort.columns import BINARY_WORDS, word_key
from hepacast.cohort.findings import name_patients
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import one_header, read_ids
from hepacast.cohort.numbers import read_numbers
from hepacast.cohort.one_sheet import doubtful_patients, one_row_a_patient, one_sheet
from hepacast.cohort.parsing import file_decimal_of
from hepacast.cohort.sheets import is_table
from hepacast.core import views
from hepacast.core.executor import map_items
from hepacast.core.files import atomic_path, write_text
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.core.remote_files import result_file
from hepacast.core.tables import Table, table_of
from hepacast.core.texts import cells
from hepacast.errors import HepacastError, ImageError, StudyFileError, TableError
from hepacast.imaging import Volume
from hepacast.imaging.io import MaskPath, read_mask_set, read_volume
from hepacast.imaging.overlay import choose_slices, overlay_figure
from hepacast.imaging.phases import PHASES, phase_of
from hepacast.imaging.resample import to_lps_axes
from hepacast.imaging.segment_names import role_of
from hepacast.imaging.structures import known_structures
from hepacast.radiomics.perturb import DEFAULT, Perturbation, adapt_volume, perturb_image
from hepacast.radiomics.robustness import icc_features
from hepacast.segmentation.doubts import Remark, group_remarks, require_possible
from hepacast.segmentation.plausibility import judge, modality_of
from hepacast.study.measured_features import require_written
from hepacast.study.plausible_images import noted
from hepacast.study.segment import label_values, mask_path

#: Images: one, several by phase, or a table of patients.
Images = str | Path | Volume | Mapping[str, str | Path | Volume] | pd.DataFrame
MaskGiven = MaskPath | Sequence[str | Path]
Modality = Literal["CT", "MR"]

#: Columns of a table of patients that tell what images do not.
FACTS = ("hematocrit", "vascular_invasion")
#: Columns with what was recorded, to compare with; the diameter in mm.
RECORDED = ("tumor_number", "tumor_diameter_mm", "t_stage", "li_rads")


@dataclass(frozen=True, repr=False, eq=False)
class MeasuredBiomarkers(views.Shown):
    """Biomarkers of one patient or of a table of patients.

    Attributes
    ----------
    long
        One row a patient and biomarker: value, unit, grade, status (``ok``, ``missing``, ``failed``), reason,
        definition, source.
    lines
        What was measured, and what a person should know.
    recorded
        Agreement with what the table of patients has recorded: ICC of numbers, weighted kappa of stages.
    volume, regions
        Of one patient: the first image, and the masks of what was measured.
    """

    long: pd.DataFrame
    lines: tuple[str, ...]
    recorded: pd.DataFrame | None = None
    volume: Volume | None = None
    regions: Mapping[str, Volume] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row a patient, one column a biomarker (NaN where it is missing; `long` says why)."""
        return wide_of(self.long)

    def write(self, path: str | Path) -> str | Path:
        """Write `long` as ``.csv`` or ``.parquet`` to a file or an address.

        Raises
        ------
        StudyFileError
            Another format.
        StorageError
            The file cannot be written.
        """
        require_written(path, "Biomarkers")
        with result_file(path) as file:
            if file.suffix.lower() == ".csv":
                write_text(file, cells(self.long).to_csv(index=False, lineterminator="\n"))
            else:
                with atomic_path(file) as temporary:
                    self.long.to_parquet(temporary)
        return path


@views.page.register
def _(record: MeasuredBiomarkers) -> list[str | Table]:
    """What was measured; of one patient every number with its unit, and what is missing with the reason."""
    parts: list[str | Table] = ["\n".join(record.lines)]
    if record.volume is not None:
        known = record.long[record.long["status"] == "ok"]
        shown = known[["biomarker", "label", "value", "unit", "grade"]].reset_index(drop=True)
        parts.append(table_of(shown, "Measured"))
        lost = record.long[record.long["status"] != "ok"]
        if len(lost):
            parts.append(table_of(lost[["biomarker", "reason"]].reset_index(drop=True), "Missing"))
    elif len(record.long):
        counts = record.long.groupby(["patient", "status"], sort=False).size().unstack(fill_value=0).reset_index()
        parts.append(table_of(counts, "Biomarkers by patient"))
    if record.recorded is not None:
        parts.append(table_of(record.recorded, "Measured beside recorded"))
    return parts


@views.drawings.register
def _(record: MeasuredBiomarkers) -> views.Drawings:
    """`regions`: what was measured, on the image of one patient."""
    if record.volume is None:
        return {}
    return {"regions": partial(_draw_regions, record.volume, record.regions)}


def _draw_regions(volume: Volume, regions: Mapping[str, Volume]) -> Any:
    """Three slices through the tumor, or through the liver where there is none."""
    tumor = [to_lps_axes(mask).array.astype(bool) for name, mask in regions.items() if name.startswith("rim")]
    slices = choose_slices(to_lps_axes(volume).geometry.shape[0], tumor, 3) if tumor else 3
    return overlay_figure(volume, regions, slices=slices)


def wide_of(long: pd.DataFrame) -> pd.DataFrame:
    """One row a patient, one column a biomarker, both in the order of first appearance."""
    wide = long.pivot(index="patient", columns="biomarker", values="value")
    order = list(dict.fromkeys(long["biomarker"]))
    return wide.loc[list(dict.fromkeys(long["patient"])), order].rename_axis(columns=None)


def biomarkers(
    images: Images,
    mask: MaskGiven | None = None,
    *,
    phase: str | None = None,
    labels: Mapping[str, str | int] | None = None,
    modality: Modality | None = None,
    facts: PatientFacts | None = None,
    lesions: Literal["union", "largest"] = "union",
    min_lesion_ml: float = 0.0,
    series: str | int | None = None,
    accept_doubtful: bool = False,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> MeasuredBiomarkers:
    """Measure one patient's images, or every row of a table of patients.

    Parameters
    ----------
    images
        One image; several by phase (``{"arterial": ..., "portal": ...}``), all on one grid; or a table (CSV, Excel,
        DataFrame) with columns patient, mask, and image or a column a phase (arterial, portal, ...), and where they are
        known hematocrit, vascular_invasion, and what was recorded (tumor_number, tumor_diameter_mm, t_stage, li_rads).
    mask
        Liver and tumor, and where there are spleen, aorta, vessels, hilum: a file, a folder of one file a structure, or
        such files by name. None for a table.
    phase
        Of a single image (unenhanced, arterial, portal, delayed, hepatobiliary); else as its name says.
    labels
        Names of label values.
    modality
        ``CT`` or ``MR``; else as the DICOM file says, or CT.
    facts
        Hematocrit, vascular invasion, growth of one patient.
    lesions, min_lesion_ml
        Whose intensities are measured, and from which volume (ml) a tumor counts.
    series, accept_doubtful, workers, reporter
        As in `extract`.

    Raises
    ------
    HepacastError
        Images, masks or table cannot be used.
    """
    say = reporter or SilentReporter()
    values = label_values(labels or {}) or None
    how = _How(values, modality, lesions, min_lesion_ml, series, accept_doubtful)
    if mask is None:
        return _of_table(images, how, workers, say)
    if isinstance(images, pd.DataFrame):
        raise StudyFileError("A table of patients names its masks itself.", found="a table and a mask")
    named = _named(images, phase)
    patient = _Patient("1", named, mask, facts or PatientFacts())
    read = _read(patient, how)
    found = _measure_read(read, patient, how)
    long = _long("1", found)
    lines = [_counted(long, found), *(f"  note: {note}" for note in read.notes)]
    lines += [f"  doubtful: {item}" for item in read.doubts]
    first = next(iter(read.images.values()))
    return MeasuredBiomarkers(long, tuple(lines), None, first, shown_regions(read.masks, first, how.lesions))


@dataclass(frozen=True)
class _How:
    """What is the same for all patients."""

    labels: Mapping[str, int] | None
    modality: Modality | None
    lesions: str
    min_lesion_ml: float
    series: str | int | None
    accept: bool


@dataclass(frozen=True)
class _Patient:
    """Where one patient's images and masks are; they are read in the worker."""

    patient: str
    images: Mapping[str, str | Path | Volume]
    mask: Any
    facts: PatientFacts


@dataclass(frozen=True)
class _Read:
    """One patient's images and masks."""

    images: dict[str, Volume]
    masks: dict[str, Volume]
    modality: str
    notes: tuple[str, ...]
    doubts: tuple[Remark, ...]


def _named(images: Any, phase: str | None) -> dict[str, str | Path | Volume]:
    """Images by the name of their phase."""
    if isinstance(images, Mapping):
        if phase is not None:
            raise StudyFileError("Images by name say their phases themselves.", found=f"phase {phase}")
        return dict(images)
    if phase is not None and phase_of(phase) is None:
        raise StudyFileError(f"The phase {phase!r} is not known.", expected=", ".join(PHASES), found=phase)
    name = phase or (phase_of(Path(images).name.partition(".")[0]) if isinstance(images, str | Path) else None)
    return {name or "image": images}


def _read(patient: _Patient, how: _How) -> _Read:
    """Read and judge.

    Raises
    ------
    HepacastError
        A file cannot be used, or image and mask are impossible and nobody has accepted them.
    """
    phases_of(list(patient.images))
    images = {
        name: item if isinstance(item, Volume) else read_volume(item, series=how.series)
        for name, item in patient.images.items()
    }
    first = next(iter(images.values()))
    mask = mask_path(patient.mask) if isinstance(patient.mask, list | tuple | str | Path) else patient.mask
    found = read_mask_set(mask, how.labels, reference=first)
    own = {modality_of(image) for image in images.values()} - {None}
    if how.modality is None and len(own) > 1:
        raise ImageError(
            "The images are of several modalities: they are no phases of one examination.",
            expected="CT or MR alone",
            found=", ".join(f"{name}: {modality_of(image)}" for name, image in images.items()),
            where=f"patient {patient.patient}",
            remedy="give the images of one modality; where the files are wrong about it, say which: --modality",
        )
    modality = how.modality or next(iter(own), "CT")
    remarks = judge(images, found.masks, dict.fromkeys(images, modality))
    doubts = require_possible(remarks, accept=how.accept, where=f"patient {patient.patient}")
    notes = (*(note for image in images.values() for note in image.notes), *found.notes)
    return _Read(images, found.masks, str(modality), notes, tuple(doubts))


def _measure_read(read: _Read, patient: _Patient, how: _How) -> PatientBiomarkers:
    return measure_biomarkers(
        read.images,
        read.masks,
        modality=read.modality,
        facts=patient.facts,
        lesions=how.lesions,
        min_lesion_ml=how.min_lesion_ml,
    )


def _long(patient: str, found: PatientBiomarkers) -> pd.DataFrame:
    frame = found.to_frame()
    frame.insert(0, "patient", patient)
    return frame


def _counted(long: pd.DataFrame, found: PatientBiomarkers) -> str:
    missing = int((long["status"] != "ok").sum())
    return f"{len(long)} biomarkers, {missing} of them missing (each with its reason)"


def shown_regions(masks: Mapping[str, Volume], image: Volume, lesions: str = "union") -> dict[str, Volume]:
    """Core, rim and the liver around the tumor as masks on the image, to be looked at."""
    regions = Regions.of(masks, lesions=lesions)
    tumor = regions.measured
    parts = {"liver": regions.parenchyma}
    if not isinstance(tumor, str):
        parts |= {"liver within 8 mm": tumor.around, "rim (4 mm)": tumor.rim, "core": tumor.core}
    shown = {}
    for name, part in parts.items():
        if not isinstance(part, str):
            array = np.zeros(image.geometry.shape, dtype=bool)
            array[regions.box] = part.mask.array
            shown[name] = image.with_array(array)
    return shown


# -- a table of patients -----------------------------------------------------------------------------------------------


def _of_table(source: Any, how: _How, workers: int, say: Reporter) -> MeasuredBiomarkers:
    patients, recorded, remarks = _read_table(source)
    with say.track("biomarkers") as progress:
        results = map_items(partial(_try, how), patients, workers=workers, progress=progress)
    measured = [item.definitions for item, _, _ in results if isinstance(item, PatientBiomarkers)]
    usual = measured[0] if measured else _usual(patients[0], how)
    parts, failed = [], 0
    for patient, (item, _, _) in zip(patients, results):
        if isinstance(item, PatientBiomarkers):
            parts.append(_long(patient.patient, item))
            continue
        failed += 1
        lost = _long(patient.patient, PatientBiomarkers.failed(usual, item))
        parts.append(lost.assign(status="failed"))
    long = pd.concat(parts, ignore_index=True)
    lines = [*remarks, f"{len(patients)} patients, {failed} of them could not be measured"]
    notes = noted({patient.patient: notes for patient, (_, notes, _) in zip(patients, results)})
    lines += [f"  note: {name_patients(who)}: {note}" for note, who in notes]
    doubts = {patient.patient: list(found) for patient, (_, _, found) in zip(patients, results)}
    lines += [f"  doubtful: {name_patients(who)}: {item}" for item, who in group_remarks(doubts)]
    return MeasuredBiomarkers(long, tuple(lines), compare_recorded(long, recorded) if len(recorded.columns) else None)


def _usual(patient: _Patient, how: _How) -> dict[str, Biomarker]:
    return definitions_of(phases_of(list(patient.images)), how.modality or "CT")


def _try(how: _How, patient: _Patient) -> tuple[PatientBiomarkers | str, tuple[str, ...], tuple[Remark, ...]]:
    """In a worker: one patient's biomarkers, or why there are none; notes; what is doubtful."""
    try:
        read = _read(patient, how)
        return _measure_read(read, patient, how), read.notes, read.doubts
    except HepacastError as error:
        return str(error).replace("\n ", ";"), (), ()


def _read_table(source: Any) -> tuple[list[_Patient], pd.DataFrame, list[str]]:
    """The rows of a table of patients, and what was recorded of them (index patient)."""
    if not isinstance(source, pd.DataFrame) and not (isinstance(source, str | Path) and is_table(source)):
        raise StudyFileError("A mask is needed.", expected="IMAGE MASK, or a table with columns patient, image, mask")
    where = "table" if isinstance(source, pd.DataFrame) else str(source)
    base = Path() if isinstance(source, pd.DataFrame) else Path(source).parent
    sheet, findings = one_sheet(source, "patient", "mask", what="table of patients", several="first")
    names = [str(name) for name in one_row_a_patient(sheet, "patient", what="table of patients", where=where)]
    texts = {
        name: read_ids(sheet.column(one_header(sheet, name)))
        for name in ("mask", "image", *PHASES)
        if find_header(sheet.headers, [name])
    }
    columns = [name for name in texts if name != "mask"]
    if not columns:
        raise TableError(
            "The table of patients names no images.", expected="a column image, or one a phase: " + ", ".join(PHASES),
            where=where,
        )  # fmt: skip
    mark = file_decimal_of([sheet])
    known: dict[str, list[Any]] = {}
    for name in (*FACTS, *RECORDED):
        if find_header(sheet.headers, [name]):
            column = sheet.column(one_header(sheet, name))
            numbers = name in ("hematocrit", "tumor_number", "tumor_diameter_mm")
            known[name] = _numbers(column, mark, name, where) if numbers else read_ids(column)
    patients = []
    for row, patient in enumerate(names):
        images = {name: base / str(texts[name][row]) for name in columns if texts[name][row] is not None}
        mask = texts["mask"][row]
        if mask is None or not images:
            raise TableError(
                "The table of patients has empty cells.", found="no image or no mask", where=f"patient {patient}"
            )
        given = mask_path([part.strip() for part in mask.split(";") if part.strip()])
        files = {n: base / str(f) for n, f in given.items()} if isinstance(given, Mapping) else base / str(given)
        facts = facts_of(known.get("hematocrit", [None] * len(names))[row],
                         known.get("vascular_invasion", [None] * len(names))[row])  # fmt: skip
        patients.append(_Patient(patient, images, files, facts))
    findings += doubtful_patients(names, [tuple(texts[name][row] for name in texts) for row in range(len(names))])
    recorded = pd.DataFrame({name: known[name] for name in RECORDED if name in known}, index=names)
    return patients, recorded, [f"  {item.severity}: {item.message}" for item in findings]


def _numbers(column: Sequence[Any], mark: Any, name: str, where: str) -> list[float | None]:
    found = read_numbers(column, mark)
    wrong = [cell for cell, item in zip(column, found) if item.status not in ("ok", "missing")]
    if wrong:
        raise TableError(f"The column {name!r} holds what is no number.", found=repr(wrong[0]), where=where)
    return [item.value if item.status == "ok" else None for item in found]


def facts_of(hematocrit: float | None, invasion: Any) -> PatientFacts:
    """Facts of a table's cells; a hematocrit of 10 to 70 is one in percent.

    Raises
    ------
    HepacastError
        A hematocrit that is none, a word that is neither yes nor no.
    """
    answer: bool | None = None
    if invasion is not None and not (isinstance(invasion, float) and np.isnan(invasion)):
        key = word_key(invasion)
        found = [bool(number) for number, words in enumerate(BINARY_WORDS) if key in words]
        if not found:
            raise TableError("vascular_invasion is yes or no.", found=repr(invasion))
        answer = found[0]
    return PatientFacts.of(hematocrit, answer)


# -- reproducibility ---------------------------------------------------------------------------------------------------


def perturbed_biomarkers(
    source: Images,
    *,
    labels: Mapping[str, str | int] | None = None,
    modality: Modality | None = None,
    lesions: Literal["union", "largest"] = "union",
    min_lesion_ml: float = 0.0,
    series: str | int | None = None,
    accept_doubtful: bool = False,
    perturbations: Sequence[Perturbation] = DEFAULT,
    seed: int = 0,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> pd.DataFrame:
    """How far each biomarker agrees between perturbed images and masks of a table of patients.

    Returns
    -------
    DataFrame
        Index biomarker, the best first: label, unit, ``icc2`` (absolute agreement), ``icc3`` (consistency), ``n``,
        reason where there is none. See `icc_features`.
    """
    how = _How(label_values(labels or {}) or None, modality, lesions, min_lesion_ml, series, accept_doubtful)
    patients, _, _ = _read_table(source)
    with (reporter or SilentReporter()).track("perturbed biomarkers") as progress:
        work = partial(_perturb, how, tuple(perturbations), seed)
        results = map_items(work, patients, workers=workers, progress=progress)
    usual = next((parts[0].definitions for parts in results if parts), _usual(patients[0], how))
    tables = []
    for place in range(len(perturbations)):
        rows = {
            patient.patient: parts[place].values if parts else dict.fromkeys(usual, np.nan)
            for patient, parts in zip(patients, results)
        }
        tables.append(pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(usual)))
    icc = icc_features(tables).rename_axis("biomarker")
    icc.insert(0, "label", [usual[name].label for name in icc.index])
    icc.insert(1, "unit", [usual[name].unit for name in icc.index])
    return icc.sort_values("icc2", ascending=False, kind="stable", na_position="last")


def _perturb(
    how: _How, perturbations: tuple[Perturbation, ...], seed: int, patient: _Patient
) -> list[PatientBiomarkers]:
    """In a worker: one patient's biomarkers under every perturbation; none where the patient cannot be read."""
    try:
        read = _read(patient, how)
    except HepacastError:
        return []
    found = []
    for change in perturbations:
        try:
            moved = perturbed_patient(read.images, read.masks, change, seed=seed)
            found.append(_measure_read(replace(read, images=moved[0], masks=moved[1]), patient, how))
        except HepacastError as error:
            definitions = definitions_of(phases_of(list(read.images)), read.modality)
            found.append(PatientBiomarkers.failed(definitions, error.message))
    return found


def perturbed_patient(
    images: Mapping[str, Volume], masks: Mapping[str, Volume], change: Perturbation, *, seed: int = 0
) -> tuple[dict[str, Volume], dict[str, Volume]]:
    """All phases moved alike, and each mask perturbed once (its contour by the first phase).

    Readers differ in a tumor's volume, and hardly in that of an organ: a volume is changed of tumors alone, which stay
    within the liver as it is then.
    """
    structures = {name: mask for name, mask in known_structures(masks).items() if name != "parenchyma"}
    tumors = {name for name in structures if role_of(name) == "tumor"}
    names = list(images)
    same_size = replace(change, volume_fraction=0.0)
    first, moved = perturb_image(images[names[0]], structures, same_size, seed=seed)
    for name in tumors:
        array = moved[name].array
        if change.volume_fraction:
            array = adapt_volume(array, moved[name].spacing, change.volume_fraction)
        moved[name] = moved[name].with_array(array & moved["liver"].array if "liver" in moved else array)
    only_image = replace(same_size, randomize_contour=False)
    rest = {name: perturb_image(images[name], structures, only_image, seed=seed)[0] for name in names[1:]}
    return {names[0]: first, **rest}, moved


# -- the command -------------------------------------------------------------------------------------------------------


def extract_biomarkers(
    image: str | Path,
    mask: MaskGiven | None,
    output: str | Path | None,
    *,
    phases: Sequence[str] = (),
    hematocrit: float | None = None,
    vascular_invasion: bool | None = None,
    perturb: Path | None = None,
    picture: Path | None = None,
    **options: Any,
) -> str:
    """`biomarkers` with what is made of it written, and what the command prints.

    Parameters
    ----------
    phases
        Phase of the image (``portal``), and further images (``arterial=PATH``).
    perturb
        With a table of patients: file (CSV) for each biomarker's ICC under perturbed images and masks.
    picture
        File (PNG) that shows what was measured.

    Raises
    ------
    HepacastError
        As `biomarkers`; an output of another format, or that cannot be written.
    """
    for path in (output, perturb):
        if path is not None:
            require_written(path, "Biomarkers")
    table = mask is None
    if table and output is None and perturb is None:
        raise StudyFileError("Where should the biomarkers go?", expected="-o biomarkers.csv or biomarkers.parquet")
    named = image if table else _images_of(image, phases)
    if table and phases:
        raise StudyFileError("In a table, the columns' names say the phases.", found=", ".join(phases))
    lines: list[str] = []
    if not table or output is not None:
        facts = {} if table else {"facts": PatientFacts(hematocrit, vascular_invasion)}
        found = biomarkers(named, mask, **facts, **options)  # type: ignore[arg-type]
        lines += [found.text() if output is None else "\n".join(found.lines)]
        if output is not None:
            lines.append(f"wrote {found.write(output)}")
            if found.recorded is not None:
                lines.append(str(table_of(found.recorded, "Measured beside recorded")))
        if picture is not None and found.volume is not None:
            from hepacast.figures.style import save_figure

            save_figure(found.plot("regions"), picture.with_suffix(""), formats=("png",), dpi=200)
            lines.append(f"wrote {picture}")
    if perturb is not None and table:
        icc = perturbed_biomarkers(image, **options)
        write_text(perturb, icc.to_csv(lineterminator="\n"))
        good = int((icc["icc2"] >= 0.75).sum())
        known = int(icc["icc2"].notna().sum())
        lines += [f"{good} of {known} biomarkers that could be judged have an ICC of 0.75 or more", f"wrote {perturb}"]
    return "\n".join(lines)


def _images_of(image: str | Path, phases: Sequence[str]) -> dict[str, str | Path | Volume]:
    """The image under its phase, and the further ones."""
    own = [item for item in phases if "=" not in item]
    if len(own) > 1:
        raise StudyFileError(
            "It is not told which image a phase is of.",
            expected="--phase portal for IMAGE, --phase arterial=PATH for others",
            found=", ".join(own),
        )
    further = dict(item.split("=", 1) for item in phases if "=" in item)
    return {**_named(image, own[0] if own else None), **further}


__all__ = ["COLUMNS", "MeasuredBiomarkers", "biomarkers", "extract_biomarkers", "perturbed_biomarkers", "wide_of"]
