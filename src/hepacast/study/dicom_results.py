"""`hepacast dicom STUDY`: the results of every patient of a finished study as DICOM, in the studies of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.bundle.applying import apply_bundle, open_bundle
from hepacast.bundle.dicom_results import MeasuredOn, write_dicom_results
from hepacast.bundle.measure import biomarkers_read
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.cohort import Cohort, ColumnSpec
from hepacast.core import views
from hepacast.core.files import atomic_path
from hepacast.core.lock import hold_folder
from hepacast.core.names import file_name
from hepacast.core.progress import Reporter
from hepacast.core.tables import Table, table_of
from hepacast.errors import BundleError, HepacastError
from hepacast.imaging.dicom_source import read_source
from hepacast.imaging.structures import COMPOSITES
from hepacast.study.analysis_set import measured_cohort
from hepacast.study.context import Context, make_context
from hepacast.study.patient_masks import masked_images
from hepacast.study.sequences import raw_image
from hepacast.study.stages.bundle import FILE, NETWORKS_FILE

SEEN = "the model was trained on this patient: the risk is that of the fit, not a prediction of a new patient"


@dataclass(frozen=True, repr=False, eq=False)
class StudyDicom(views.Shown):
    """Which patients have DICOM results, and why others have none.

    Attributes
    ----------
    rows
        Patient, set, status (``written``, ``refused``) and reason.
    folder
        Holds a folder a patient, and ``dicom.csv`` with the rows.
    """

    rows: pd.DataFrame
    folder: Path

    def text(self) -> str:
        """How many were written, and each patient who was not."""
        refused = self.rows[self.rows["status"] != "written"]
        lines = [f"{len(self.rows) - len(refused)} of {len(self.rows)} patients written to {self.folder}"]
        return "\n".join([*lines, *(f"  {row.patient}: {row.reason}" for row in refused.itertuples())])

    def to_frame(self) -> pd.DataFrame:
        """One row a patient."""
        return self.rows


@views.table.register
def _(record: StudyDicom) -> Table:
    return table_of(record.rows, "DICOM results")


def write_study_dicom(
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    folder: str | Path | None = None,
    reporter: Reporter | None = None,
) -> StudyDicom:
    """Write SEG, structured report, page and picture of every analyzed patient.

    Parameters
    ----------
    study_file, out, data
        As in `run_study`; the study must be finished.
    folder
        Gets a folder a patient; default ``dicom`` in the results.

    Raises
    ------
    BundleError
        The study has no bundle, or its main model reads no image.
    """
    context = make_context(study_file, out=out, data=data, reporter=reporter)
    opened = _bundle_of_images(context)
    target = context.out / "dicom" if folder is None else Path(folder)
    rows = []
    cohort = measured_cohort(context)
    with hold_folder(context.out), context.reporter.track("DICOM results") as done:
        for place, patient in enumerate(cohort.patients):
            done(place, len(cohort.patients))
            name = str(cohort.sets[patient])
            try:
                _write_patient(context, opened, cohort, patient, name, target / file_name(patient))
                rows.append((patient, name, "written", ""))
            except HepacastError as error:
                found = f" ({error.found})" if error.found else ""
                rows.append((patient, name, "refused", f"{error.message}{found}"))
    frame = pd.DataFrame(rows, columns=["patient", "set", "status", "reason"])
    with atomic_path(target / "dicom.csv") as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    return StudyDicom(frame, target)


def _bundle_of_images(context: Context) -> Bundle | NetworkBundle:
    """The study's bundle whose model reads images: that of its main model, else that of its networks.

    Raises
    ------
    BundleError
        There is no bundle, or none that reads images.
    """
    places = [context.out / "bundle" / name for name in (FILE, NETWORKS_FILE)]
    found = [open_bundle(path) for path in places if path.is_file()]
    if not found:
        raise BundleError(
            "The study has no model bundle yet.", where=str(places[0]), remedy="run it first: hepacast run STUDY"
        )
    for item in found if context.study.images is not None else ():
        if isinstance(item, NetworkBundle) or item.needs_features(item.main) or biomarkers_read(item):
            return item
    raise BundleError(
        "DICOM results belong to the studies of images, and the main model of this study reads none.",
        found=f"the {found[0].main} model",
    )


def _write_patient(
    context: Context, bundle: Bundle | NetworkBundle, cohort: Cohort, patient: str, set_name: str, folder: Path
) -> None:
    reference = raw_image(context, patient)
    source = read_source(reference.path, series=reference.chosen)
    files = masked_images(context, patient)
    images = {item.name: item.read() for item in files.images}
    first = images[context.images.reference]
    masks = files.structures(first)
    notes = (SEEN,) if set_name == "training" else ()
    labs = told_values(cohort.table.frame.loc[[patient]].iloc[0], bundle.columns)
    applied = apply_bundle(bundle, labs, images, masks, notes=notes, patient=patient, date=source.date)
    shown = {name: mask for name, mask in masks.items() if name not in COMPOSITES} or masks
    segmenter = context.images.segmentation.source
    made_by = "" if segmenter == "given" else f"hepacast {segmenter}"
    write_dicom_results(bundle, applied, MeasuredOn(first, shown, source, made_by), folder)


def told_values(row: Mapping[str, Any] | pd.Series, columns: Sequence[ColumnSpec]) -> dict[str, str]:
    """A patient's values of the typed table as somebody would type them for a bundle."""
    return {spec.name: _told(spec, row[spec.name]) for spec in columns if spec.name in row}


def _told(spec: ColumnSpec, value: Any) -> str:
    if pd.isna(value):
        return "NA"
    if spec.kind == "numeric":
        return f"{float(value)!r} {spec.unit or ''}".strip()
    return str(spec.level_names[int(value)]) if spec.kind == "binary" else str(value)
