"""Masks to be judged: a list sorted by doubt, slices, decisions, and corrected files taken back.

Nothing here tells a patient's outcome or set, unless a reviewer asks for them, which the audit trail tells.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field

from hepacast.cohort.cohort import read_cohort
from hepacast.core.files import write_text
from hepacast.core.hashing import hash_file
from hepacast.core.records import read_record
from hepacast.imaging.io import write_volume
from hepacast.segmentation.doubts import Remark
from hepacast.segmentation.far_from_cohort import outlier_text
from hepacast.segmentation.results import PlausibilityInfo, Segmentation
from hepacast.study.context import Context, make_context
from hepacast.study.edit import edit_study
from hepacast.study.patient_masks import PLAUSIBILITY
from hepacast.study.reviews import REVIEWS, add_review, corrected_file, reviews_of, take_corrected
from hepacast.study.sequences import measured_image
from hepacast.web.jobs import JobError, is_running, results_of
from hepacast.web.places import STUDY_FILE, PlaceError
from hepacast.web.site import REVIEWER, AccountOf, Site, SiteOf, StudyFolder, require_role
from hepacast.web.slices import MaskedSlices, last_mask, mask_labels, shown_mask
from hepacast.web.uploads import Limits, UploadError, received

router = APIRouter(prefix="/studies/{code}/masks")
#: Undecided patients whose slices are read before they are asked for.
_AHEAD = 2
#: What a remark weighs in the order of the list.
_IMPOSSIBLE, _DOUBT, _FAR, _WARNING = 100.0, 10.0, 5.0, 1.0
#: A corrected mask is one file.
_ONE_FILE = Limits(files=1, bytes=2**30)


class DecisionGiven(BaseModel):
    """What a reviewer decides."""

    decision: Literal["good", "exclude", "open"]
    reason: str = Field("", max_length=500)


@dataclass(frozen=True)
class ReviewedPatient:
    """The patient that an address names by a code."""

    context: Context
    patient: str
    code: str


def _context(study: Path) -> Context:
    return make_context(study, out=results_of(study))


def _results(context: Context) -> tuple[Segmentation, PlausibilityInfo]:
    folder = context.out / "segmentation"
    if context.study.images is None:
        raise PlaceError("This study has no images.", remedy="choose a folder of images in the cohort")
    if not (folder / PLAUSIBILITY).is_file():
        raise PlaceError("There are no masks yet.", remedy="run the study: its second stage makes them")
    return (
        read_record(Segmentation, folder / "segmentation.json"),
        read_record(PlausibilityInfo, folder / PLAUSIBILITY),
    )


def _reviewed_patient(patient: str, code: str, study: StudyFolder, site: SiteOf) -> ReviewedPatient:
    context = _context(study)
    segmentation, found = _results(context)
    for name in [*segmentation.masks, *found.refused, *reviews_of(context)]:
        if site.audit.code(code, name) == patient:
            return ReviewedPatient(context, name, patient)
    raise PlaceError("There is no such patient in this study.", remedy="go back to the list")


PatientOf = Annotated[ReviewedPatient, Depends(_reviewed_patient)]


@router.get("")
def work_list(
    code: str, study: StudyFolder, site: SiteOf, account: AccountOf, unblinded: bool = False
) -> dict[str, Any]:
    """All patients with a mask, those with the most doubt first, decided ones last; blind unless it is asked for."""
    context = _context(study)
    if unblinded:
        require_role(account, "reviewer")
    site.audit.add(account.name, account.role, "unblind-masks" if unblinded else "see-masks", code)
    known = _outcomes(context) if unblinded else {}
    segmentation, found = _results(context)
    reviews = reviews_of(context)
    doubts: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
    for item in found.remarks:
        remark = Remark(item.severity, item.code, item.structure, item.problem, item.detail)
        weight = _IMPOSSIBLE if item.severity == "impossible" else _DOUBT if remark.casts_doubt else 0.0
        doubts[item.patient].append((weight, item.code, str(remark)))
    for far in found.outliers:
        doubts[far.patient].append((_FAR, "outlier", outlier_text(vars(far))))
    status = {item.patient: item for item in segmentation.status}
    for name, reason in found.refused.items():
        doubts[name].append((_IMPOSSIBLE, "", reason))
    for name, entry in status.items():
        if entry.reason and not doubts[name]:
            doubts[name].append((_WARNING, "", entry.reason))
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*segmentation.masks, *found.refused, *reviews]):
        told = sorted(dict.fromkeys(doubts[name]), reverse=True)
        review = reviews.get(name)
        rows.append(
            {
                "code": site.audit.code(code, name),
                "patient": name,
                "source": segmentation.masks.get(name, ""),
                "doubts": [{"code": kind, "text": text} for _, kind, text in told],
                "weight": sum(weight for weight, _, _ in told),
                "decision": review.decision if review else "",
                "reason": review.reason if review else "",
                "reviewer": review.reviewer if review else "",
                **known.get(name, {}),
            }
        )
    rows.sort(key=lambda row: (bool(row["decision"]), -row["weight"], row["patient"]))
    # Who comes next is read while somebody looks at the list or at the one before.
    site.slices.expect(context, [row["patient"] for row in rows if not row["decision"]][:_AHEAD])
    return {"patients": rows, "reviewed": len(reviews)}


def _outcomes(context: Context) -> dict[str, dict[str, Any]]:
    """Set and outcome of every patient of the last run's cohort."""
    cohort = read_cohort(context.out / "cohort")
    labels = cohort.outcome.labels()
    return {name: {"set": str(cohort.sets[name]), "outcome": str(labels[name])} for name in cohort.patients}


@router.get("/{patient}")
def look(patient: PatientOf, code: str, site: SiteOf, account: AccountOf) -> dict[str, Any]:
    """What is needed to show a patient's slices."""
    site.audit.add(account.name, account.role, "see-mask", code, patient.code)
    return _slices(site, patient).facts()


@router.get("/{patient}/{what}/{first}/{count}")
def slices(
    what: Literal["image", "mask"],
    first: int,
    count: int,
    patient: PatientOf,
    code: str,
    site: SiteOf,
    account: AccountOf,
) -> Response:
    """Slices as they lie in memory: 16 bits (image) or 8 bits (mask) a voxel, little-endian."""
    site.audit.add_once(account.name, account.role, "see-mask", code, patient.code)
    found = _slices(site, patient)
    array = found.image if what == "image" else found.mask
    part = array[max(first, 0) : max(first, 0) + min(count, 64)]
    return Response(part.astype(part.dtype.newbyteorder("<")).tobytes(), media_type="application/octet-stream")


@router.get("/{patient}/file/{what}.nii.gz")
def download(
    what: Literal["image", "mask"], patient: PatientOf, code: str, site: SiteOf, account: AccountOf
) -> Response:
    """Image or mask for ITK-SNAP or 3D Slicer, on one grid."""
    site.audit.add(account.name, account.role, f"download-{what}", code, patient.code)
    name = f"{what}-{patient.code}.nii.gz"
    if what == "mask":
        return FileResponse(shown_mask(patient.context, patient.patient), filename=name, media_type="application/gzip")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_volume(measured_image(patient.context, patient.patient).read(), path)
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(path.read_bytes(), media_type="application/gzip", headers=headers)


@router.post("/{patient}/decision", dependencies=REVIEWER)
def decide(
    given: DecisionGiven, patient: PatientOf, code: str, study: StudyFolder, site: SiteOf, account: AccountOf
) -> dict[str, bool]:
    """Keep a decision; the next run obeys it."""
    site.audit.add(account.name, account.role, f"review-{given.decision}", code, patient.code)
    _require_idle(site, study)
    _keep(patient.context, study, account.name, patient.patient, given.decision, given.reason)
    return {"kept": True}


@router.post("/{patient}/corrected", dependencies=REVIEWER)
async def corrected(
    request: Request, patient: PatientOf, code: str, study: StudyFolder, site: SiteOf, account: AccountOf
) -> dict[str, bool]:
    """Take a corrected mask back: on the image's grid, with the values of the masks of this study."""
    _require_idle(site, study)
    with tempfile.TemporaryDirectory() as folder:
        got = await received(request, Path(folder), _ONE_FILE)
        if len(got.files) != 1:
            raise UploadError("One mask file is taken at a time.", found=f"{len(got.files)} files")
        site.audit.add(account.name, account.role, "review-corrected", code, patient.code)
        await run_in_threadpool(_take, patient, got.files[0])
    _keep(patient.context, study, account.name, patient.patient, "corrected", got.fields.get("reason", ""))
    return {"kept": True}


def _require_idle(site: Site, study: Path) -> None:
    """A run that is under way would stop at what changes."""
    if is_running(site, study):
        raise JobError("The study is running.", remedy="stop it, or wait until it has ended, then decide")


def _take(patient: ReviewedPatient, file: Path) -> None:
    context = patient.context
    image = measured_image(context, patient.patient).read()
    take_corrected(context, patient.patient, file, mask_labels(context), image)


def _keep(
    context: Context,
    study: Path,
    reviewer: str,
    patient: str,
    decision: Literal["good", "corrected", "exclude", "open"],
    reason: str,
) -> None:
    """Add the line, and let the study file name the file of reviews when it is the first."""
    mask = corrected_file(context, patient) if decision == "corrected" else last_mask(context, patient)
    reviews = context.images.segmentation.reviews
    add_review(
        context.path(reviews or REVIEWS), reviewer, patient, decision, reason, hash_file(mask) if mask.is_file() else ""
    )
    if reviews is None:
        path = study / STUDY_FILE
        write_text(path, edit_study(path.read_text(encoding="utf-8-sig"), {"images.segmentation.reviews": REVIEWS}))


def _slices(site: Site, patient: ReviewedPatient) -> MaskedSlices:
    return site.slices.get(patient.context, patient.patient)
