"""Risks of many patients from a bundle: `hepacast predict MODEL --table`.

Each row goes the way of one patient (`predict_patient`). Of whom a risk cannot be given the row says why.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.bundle import Bundle, predict
from hepacast.bundle.applying import open_bundle
from hepacast.bundle.labs import values_of_sheet
from hepacast.bundle.measure import biomarkers_read
from hepacast.bundle.networks import NetworkBundle
from hepacast.cohort.findings import Finding, name_patients
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import near_ids, one_header, read_ids, tell_near_ids
from hepacast.cohort.layout import Sheet
from hepacast.cohort.one_sheet import doubtful_patients, one_row_a_patient, one_sheet
from hepacast.cohort.proposal import identifier_of
from hepacast.core import views
from hepacast.core.closure import code_hash
from hepacast.core.files import read_json, require_writable, to_jsonable, write_json, write_text
from hepacast.core.fingerprint import Fingerprints
from hepacast.core.jobs import Job, JobFiles, try_each
from hepacast.core.kept import is_kept, keep
from hepacast.core.lock import hold_folder, sweep
from hepacast.core.names import file_name
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.core.remote_files import results_folder
from hepacast.core.tables import Table, table_of
from hepacast.core.texts import cells
from hepacast.errors import BundleError, HepacastError, ImageError, StudyFileError, TableError
from hepacast.imaging.io import IMAGE_ENDINGS
from hepacast.modelling.frozen_logistic import OUTSIDE
from hepacast.study.mask_files import MaskFiles
from hepacast.study.predict import named_model, predict_patient
from hepacast.study.sequences import SequenceImage

RISKS = "risks.csv"
_SHOWN = 10
#: Of more than this share of patients a warning is about the table rather than about them.
_MOST = 0.5
#: This patient's value in a warning.
_OWN_VALUE = re.compile(r" \([^()]*\)(?=: )")


@dataclass(frozen=True)
class PredictedPatients(views.Shown):
    """Risks of a table of patients.

    Attributes
    ----------
    table
        One row a patient, in the order of the table: patient, status (``ok`` or ``failed``), risk with limits (of a
        time-to-event outcome by every horizon), side of the cut-off, conformal set, warnings, and the reason where
        there is no risk.
    file
        Where it was written.
    remarks
        What was said about the table that was read.
    """

    table: pd.DataFrame
    file: Path
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> dict[str, str]:
        """Patients without a risk, and why."""
        lost = self.table[self.table["status"] == "failed"]
        return dict(zip(lost["patient"], lost["reason"]))

    def require_some(self) -> None:
        """Raises `BundleError` where no patient has a risk."""
        if len(self.failed) == len(self.table):
            patient, why = next(iter(self.failed.items()))
            raise BundleError(
                f"No patient of {len(self.table)} could be predicted.", found=f"{patient}: {why}", where=str(self.file)
            )

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_json(self) -> list[dict[str, Any]]:
        """One entry a patient; null where there is no number."""
        plain: list[dict[str, Any]] = to_jsonable(self.table.to_dict("records"))
        return plain

    def text(self) -> str:
        """How many, who failed and why."""
        lines = [*self.remarks, f"{len(self.table) - len(self.failed)} of {len(self.table)} patients have a risk"]
        reasons: dict[str, list[str]] = {}
        for patient, why in self.failed.items():
            reasons.setdefault(why, []).append(patient)
        lines += [f"  no risk: {name_patients(patients)}: {why}" for why, patients in reasons.items()]
        warned = int((self.table["warnings"] != "").sum())
        lines += [f"  {warned} with warnings (column `warnings`)"] if warned else []
        return "\n".join([*lines, f"wrote {self.file}", "Research use only: not a medical device."])


@views.page.register
def _(record: PredictedPatients) -> list[str | Table]:
    """How many have a risk, and the first rows."""
    shown = record.table[["patient", "status", "risk", "low", "high", "group", "reason"]].head(_SHOWN)
    title = f"The first {_SHOWN} of {len(record.table)} patients" if len(record.table) > _SHOWN else ""
    return [record.text(), table_of(shown, title)]


@views.drawings.register
def _(record: PredictedPatients) -> views.Drawings:
    """`risks`: how they are distributed."""
    from hepacast.figures.patients import draw_values

    values = record.table["risk"].dropna().to_numpy(dtype=float)
    return {"risks": lambda: draw_values({"patients": values}, label="Risk")} if len(values) else {}


@dataclass(frozen=True)
class SharedOptions:
    """What all patients have in common: the bundle, options of `predict_patient`, a folder for their pages."""

    bundle: str
    identity: str
    options: tuple[tuple[str, Any], ...]
    pages: Path | None
    signature: str = ""

    def predict(
        self,
        patient: str,
        labs: Mapping[str, str],
        images: Sequence[SequenceImage],
        mask: Any,
        features: Mapping[str, float] | None = None,
    ) -> Any:
        """One patient's prediction, as JSON."""
        if features is not None:
            opened = _opened(self.bundle, self.identity)
            assert isinstance(opened, Bundle)
            return predict(opened, labs, features, patient=patient, **dict(self.options)).to_json()
        page = None if self.pages is None else self.pages / file_name(patient)
        if page is not None:
            shutil.rmtree(page, ignore_errors=True)
        found = predict_patient(
            _opened(self.bundle, self.identity),
            image={item.name: item.path for item in images} or None,
            series={item.name: item.chosen for item in images if item.chosen is not None} or None,
            mask=mask,
            labs=labs,
            out=page,
            patient=patient,
            **dict(self.options),
        )
        return found.to_json()


@dataclass(frozen=True)
class ListedPatient:
    """One patient of the table; `features` where they were measured elsewhere."""

    patient: str
    labs: dict[str, str] | HepacastError
    images: tuple[SequenceImage, ...] = ()
    mask: MaskFiles | None = None
    problem: HepacastError | None = None
    features: Mapping[str, float] | None = None


@cache
def _opened(path: str, _identity: str) -> Bundle | NetworkBundle:
    """The bundle, opened once a process."""
    return open_bundle(path)


def predict_table(
    bundle: str | Path,
    table: str | Path | pd.DataFrame,
    *,
    out: str | Path,
    images: str | Path | Mapping[str, str | Path] | None = None,
    masks: str | Path | None = None,
    identifier: str = "",
    model: str | None = None,
    segmenter: str | None = None,
    labels: str | Mapping[str, int] = "",
    accept_doubtful: bool = False,
    pages: bool = False,
    without_rows: bool = False,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> PredictedPatients:
    """Risks of all patients of a table, in ``risks.csv``; a second run goes on where the first was stopped.

    Parameters
    ----------
    bundle
        ``model.hepacast`` or ``networks.hepacast``.
    table
        One row a patient: an identifier, the clinical values (headers of the study or of the same quantities), and
        where `images` says nothing the columns ``image`` (or the names of the sequences), ``mask``, ``series`` with
        paths that start at the table's folder.
    out
        Folder (or an address, as in `run_study`) for ``risks.csv``, and with `pages` for each patient's
        ``prediction.pdf``, ``.json`` and pictures.
    images, masks
        A folder in which each patient's image (mask) is named as the patient, or a path with ``{patient}`` in it; of
        several sequences by name.
    identifier
        Header of the identifier (default: the column that is named as one).
    model, segmenter, labels, accept_doubtful
        As in `predict_patient`.
    pages
        Also write every patient's page.
    without_rows
        Refuse a bundle that holds values of single training patients.
    workers
        Processes; 0 = one a core. Risks do not depend on it.

    Raises
    ------
    HepacastError
        The bundle or the table as a whole cannot be used, a column that the model reads is not there, or no patient
        could be predicted.
    """
    opened = open_bundle(bundle, without_rows=without_rows, say=(reporter or SilentReporter()).say)
    name, source = named_model(opened, model), "table" if isinstance(table, pd.DataFrame) else Path(table).name
    sheet, findings = one_sheet(table, *([identifier] if identifier else []), what="table of patients")
    rows = _rows(opened, name, sheet, table, source, identifier, images, masks)
    options = {"model": name, "segmenter": segmenter, "labels": labels, "accept_doubtful": accept_doubtful}
    told = (*options.items(), ("date", None if pages else ""))
    asked = SharedOptions(str(bundle), opened.identity, told, None, opened.signed.text())
    notes = _notes([*findings, *_doubtful(rows)])
    with results_folder(out, reporter or SilentReporter()) as folder:
        return _predicted(asked, rows, Path(folder or ""), pages, workers, reporter, notes)


def _predicted(
    asked: SharedOptions,
    rows: Sequence[ListedPatient],
    out: Path,
    pages: bool,
    workers: int,
    reporter: Reporter | None,
    notes: tuple[str, ...],
) -> PredictedPatients:
    require_writable(out)
    asked = replace(asked, pages=out / "patients" if pages else None)
    with hold_folder(out):
        sweep(out)
        found = predict_listed(asked, rows, out, workers, reporter)
        told = shared_warnings([item["warnings"] for item in found if not isinstance(item, HepacastError)])
        notes = (*notes, *(f"  warning: {text}" for text in told))
        result = PredictedPatients(_written(rows, found, out / RISKS), out / RISKS, notes)
    result.require_some()
    return result


def predict_listed(
    asked: SharedOptions, rows: Sequence[ListedPatient], out: Path, workers: int, say: Reporter | None
) -> list[Any | HepacastError]:
    """Each patient's prediction as JSON, or the error; those of images, which take minutes, are kept in ``.cache``."""
    prints = Fingerprints(out / ".cache" / "fingerprints.json")
    code = code_hash(__name__)
    jobs: list[Job[ListedPatient] | ListedPatient] = []
    for row in rows:
        sources: list[JobFiles] = [*row.images, *([row.mask] if row.mask else [])]
        if row.images and row.problem is None and not isinstance(row.labs, HepacastError):
            told = [asked.identity, asked.signature, asked.options, row.labs, asked.pages is not None, code]
            jobs.append(Job.of(row.patient, row, out / ".cache" / "predictions", ".json", sources, prints, told))
        else:
            jobs.append(row)
    prints.save()
    return try_each(partial(_one, asked), jobs, "patients", reporter=say, workers=workers)


def _one(asked: SharedOptions, item: Job[ListedPatient] | ListedPatient) -> Any:
    """In a worker: one patient's prediction as JSON, or what is kept of it."""
    row = item if isinstance(item, ListedPatient) else item.task
    for problem in (row.labs, row.problem):
        if isinstance(problem, HepacastError):
            raise problem
    assert isinstance(row.labs, dict)
    mask = None if row.mask is None else row.mask.given
    if isinstance(item, ListedPatient):
        return asked.predict(row.patient, row.labs, row.images, mask, row.features)
    page = None if asked.pages is None else asked.pages / file_name(row.patient) / "prediction.pdf"
    if not is_kept(item.kept) or (page is not None and not page.is_file()):
        labs = row.labs
        keep(item.kept, lambda: write_json(item.kept, asked.predict(row.patient, labs, row.images, mask)), item.inputs)
    return read_json(item.kept)


def _written(rows: Sequence[ListedPatient], found: Sequence[Any | HepacastError], file: Path) -> pd.DataFrame:
    """The table of risks, warnings and reasons at its end."""
    frame = pd.DataFrame([_line(row.patient, item) for row, item in zip(rows, found)])
    last = ["warnings", "reason"]
    frame = frame[[*(column for column in frame.columns if column not in last), *last]]
    write_text(file, "\ufeff" + cells(frame).to_csv(index=False, lineterminator="\n"))
    return frame


def _line(patient: str, found: Any | HepacastError) -> dict[str, Any]:
    """One row of the written table."""
    if isinstance(found, HepacastError):
        text = found.message + (f" Found: {found.found}." if found.found else "")
        text += f" {found.remedy[0].upper()}{found.remedy[1:]}." if found.remedy else ""
        return {"patient": patient, "status": "failed", "warnings": "", "reason": text}
    line = {"patient": patient, "status": "ok", **{key: found[key] for key in ("risk", "low", "high")}}
    for item in found["horizons"]:
        by = f"by {item['time']:g} {item['unit']}"
        line |= {f"risk {by}": item["risk"], f"low {by}": item["low"], f"high {by}": item["high"]}
    line |= {key: found[key] for key in ("group", "cutoff", "linear_predictor")}
    conformal = found["conformal"] or {}
    line |= {"conformal_set": conformal.get("label") or "", **found["scores"], "model": found["model"]}
    return {**line, "bundle": found["bundle"], "warnings": "; ".join(found["warnings"]), "reason": ""}


def _notes(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(f"  {item.severity}: {item.message}" for item in findings)


def shared_warnings(told: Sequence[Sequence[str]]) -> list[str]:
    """What the predictions of most patients warn of, one line a warning: another unit rather than unusual patients.

    Parameters
    ----------
    told
        Warnings of each patient who has a risk.
    """
    counts = Counter(text for own in told for text in {_OWN_VALUE.sub("", item) for item in own})
    question = "; is it the same quantity in the same unit?"
    return [
        f"{count} of {len(told)} patients: {text}{question if OUTSIDE in text else ''}"
        for text, count in counts.items()
        if len(told) > 1 and count > _MOST * len(told)
    ]


def _doubtful(rows: Sequence[ListedPatient]) -> list[Finding]:
    """Rows that may be one patient."""
    files = [(*((item.path, item.chosen) for item in row.images), row.mask) if row.images else () for row in rows]
    return doubtful_patients([row.patient for row in rows], files)


# -- which patients, values, images ------------------------------------------------------------------------------------


def _rows(
    bundle: Bundle | NetworkBundle,
    model: str,
    sheet: Sheet,
    table: str | Path | pd.DataFrame,
    where: str,
    identifier: str,
    images: str | Path | Mapping[str, str | Path] | None,
    masks: str | Path | None,
) -> list[ListedPatient]:
    header = identifier or identifier_of([sheet])[0]
    patients = [str(item) for item in one_row_a_patient(sheet, header, what="table of patients", where=where)]
    labs = values_of_sheet(sheet, bundle.columns, where)
    base = Path() if isinstance(table, pd.DataFrame) else Path(table).parent
    places = _Places(bundle.recipe.sequences, images, masks, base, sheet)
    _require_columns(bundle, model, labs, where, with_images=places.any)
    rows = []
    for place, (patient, values) in enumerate(zip(patients, labs)):
        try:
            rows.append(ListedPatient(patient, values, places.images(patient, place), places.mask(patient, place)))
        except HepacastError as error:
            rows.append(ListedPatient(patient, values, problem=error))
    return rows


def _require_columns(
    bundle: Bundle | NetworkBundle,
    model: str,
    labs: Sequence[dict[str, str] | HepacastError],
    where: str,
    *,
    with_images: bool,
) -> None:
    """Refuse a table that lacks a column: no patient could be predicted."""
    measured = biomarkers_read(bundle, model) if isinstance(bundle, Bundle) and with_images else []
    read = next((item for item in labs if isinstance(item, dict)), None)
    needed = [item for item in bundle.clinical_names(model) if item not in measured]
    lacking = [] if read is None else [item for item in needed if item not in read]
    if lacking:
        labels = {spec.name: spec.label + (f", {spec.unit}" if spec.unit else "") for spec in bundle.columns}
        raise TableError(
            "The table lacks columns that the model reads.",
            expected=", ".join(f"{item} ({labels[item]})" for item in needed),
            found=f"no {', '.join(lacking)}",
            where=where,
            remedy="name the columns so; leave cells empty of what nobody knows",
        )


@dataclass(frozen=True)
class _Places:
    """Where a patient's images and mask are: by name in folders, by a pattern, or in columns of the table."""

    sequences: Mapping[str, str]
    given: str | Path | Mapping[str, str | Path] | None
    masks: str | Path | None
    base: Path
    sheet: Sheet

    @property
    def any(self) -> bool:
        """Whether anything is said about images."""
        return self.given is not None or bool(self._columns())

    def _columns(self) -> dict[str, str]:
        """Header by sequence; one image may stand under ``image``."""
        names = list(self.sequences) or ["image"]
        wanted = {name: [name, "image"] if len(names) == 1 else [name] for name in names}
        found = {name: find_header(self.sheet.headers, words) for name, words in wanted.items()}
        return {name: headers[0] for name, headers in found.items() if len(headers) == 1}

    def images(self, patient: str, place: int) -> tuple[SequenceImage, ...]:
        """A patient's images; none where nothing is said of any."""
        if self.given is not None:
            names = list(self.sequences) or ["image"]
            by_name = dict(self.given) if isinstance(self.given, Mapping) else {names[0]: self.given}
            strange = [name for name in by_name if name not in names]
            if strange or (len(names) > 1 and not isinstance(self.given, Mapping)):
                raise StudyFileError(
                    "It is not told which sequence the images are.",
                    expected="; ".join(f"--images {name}=FOLDER" for name in names),
                    found=", ".join(strange) or str(self.given),
                )
            paths = {name: located(given, patient) for name, given in by_name.items()}
            return self._sequence_images(paths, None)
        paths = {}
        for name, header in self._columns().items():
            (cell,) = read_ids([self.sheet.column(header)[place]])
            if cell is not None:
                paths[name] = self.base / cell
        series = find_header(self.sheet.headers, ["series"])
        return self._sequence_images(paths, read_ids([self.sheet.column(series[0])[place]])[0] if series else None)

    def _sequence_images(self, paths: Mapping[str, Path], series: str | None) -> tuple[SequenceImage, ...]:
        for path in paths.values():
            if not path.exists():
                raise ImageError("The image is not there.", where=str(path))
        return tuple(SequenceImage(name, path, series, self.sequences.get(name, "CT")) for name, path in paths.items())

    def mask(self, patient: str, place: int) -> MaskFiles | None:
        """A patient's mask, where one is drawn."""
        if self.masks is not None:
            return MaskFiles((("", located(self.masks, patient)),))
        header = find_header(self.sheet.headers, ["mask"])
        cell = read_ids([self.sheet.column(one_header(self.sheet, "mask"))[place]])[0] if header else None
        return None if cell is None else MaskFiles((("", self.base / cell),))


def located(place: str | Path, patient: str) -> Path:
    """A patient's file or folder: a path with ``{patient}``, or what bears the patient's name in a folder.

    Raises
    ------
    ImageError
        There is none, or several; the identifier cannot be part of a path.
    """
    if any(mark in patient for mark in ("/", "\\", "\0")) or patient in (".", ".."):
        raise ImageError("This identifier cannot be the name of a file.", found=patient, remedy="a column `image`")
    text = str(place)
    if "{patient}" in text:
        candidates = [Path(text.replace("{patient}", patient)).expanduser()]
    else:
        folder = Path(text).expanduser()
        candidates = [folder / patient, *(folder / f"{patient}{ending}" for ending in IMAGE_ENDINGS)]
    found = [path for path in candidates if path.exists()]
    if len(found) != 1:
        near = {} if found or "{patient}" in text else near_ids([patient], _names_in(candidates[0].parent))
        raise ImageError(
            "Several files bear the patient's name." if found else "No file bears the patient's name.",
            expected=" or ".join(path.name for path in candidates[:3]),
            found=", ".join(path.name for path in found) or None,
            where=str(candidates[0].parent),
            remedy=tell_near_ids(near, "files") or None,
        )
    return found[0]


def _names_in(folder: Path) -> list[str]:
    """Names of the patients whose folders and images lie in a folder."""
    if not folder.is_dir():
        return []
    names = sorted(item.name for item in folder.iterdir() if item.is_dir() or item.name.lower().endswith(IMAGE_ENDINGS))
    endings = sorted(IMAGE_ENDINGS, key=len, reverse=True)
    return [next((name[: -len(end)] for end in endings if name.lower().endswith(end)), name) for name in names]
