"""Decisions of people on masks: an append-only table beside the study file, which the next run obeys.

The last line about a patient counts. ``good`` and ``corrected`` masks are measured (the corrected one in the place of
whatever the study would have used), ``exclude`` leaves the patient out with the reason.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from hepacast.core.files import read_json, storage_error, write_json
from hepacast.core.names import file_name
from hepacast.core.texts import cell, plain_cell
from hepacast.errors import GeometryError, StudyFileError
from hepacast.imaging import Volume
from hepacast.imaging.io import read_labelmap, write_labelmap
from hepacast.imaging.labels import LabelMap
from hepacast.study.context import Context
from hepacast.study.sequences import measured_image

REVIEWS, CORRECTED = "reviews.csv", "corrected"
Decision = Literal["good", "corrected", "exclude", "open"]
#: Names of the values of corrected masks, beside them.
LABELS = "labels.json"


@dataclass(frozen=True)
class MaskReview:
    """One decision.

    Parameters
    ----------
    time
        UTC, ISO 8601.
    reviewer
        Who decided.
    patient
        Study identifier.
    decision
        ``good``, ``corrected``, ``exclude``, or ``open``: an earlier one is taken back.
    reason
        In words; an exclusion needs one.
    mask
        SHA-256 of the mask file that was looked at, or of the corrected one.
    """

    time: str
    reviewer: str
    patient: str
    decision: Decision
    reason: str = ""
    mask: str = ""


_HEADS = [item.name for item in fields(MaskReview)]


def add_review(path: Path, reviewer: str, patient: str, decision: Decision, reason: str = "", mask: str = "") -> None:
    """Add a line to the file, and make sure that it is on the disk.

    Raises
    ------
    StudyFileError
        An exclusion without a reason.
    StorageError
        It cannot be written.
    """
    if decision == "exclude" and not reason.strip():
        raise StudyFileError("A patient is left out with a reason.", expected="a reason in words")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    if not path.exists():
        writer.writerow(_HEADS)
    row = astuple(MaskReview(when, reviewer, patient, decision, " ".join(reason.split()), mask))
    writer.writerow([cell(str(value)) for value in row])
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.getvalue().encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise storage_error(error, path) from error


def read_reviews(path: Path) -> dict[str, MaskReview]:
    """The decision that counts, by patient.

    Raises
    ------
    StudyFileError
        The file is not as `add_review` writes it.
    """
    if not path.is_file():
        raise StudyFileError(
            "The reviews of masks are not there.", where=str(path), expected="as images.segmentation.reviews"
        )
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    if not rows or rows[0] != _HEADS:
        raise StudyFileError("The reviews of masks have other columns.", expected=", ".join(_HEADS), where=str(path))
    found: dict[str, MaskReview] = {}
    for number, row in enumerate(rows[1:], start=2):
        values = [plain_cell(value) for value in row]
        if (
            len(values) != len(_HEADS)
            or values[3] not in get_args(Decision)
            or (values[3] == "exclude" and not values[4])
        ):
            raise StudyFileError(
                "A line of the reviews of masks cannot be read.",
                expected=f"{len(_HEADS)} cells; {', '.join(get_args(Decision))}; exclusions with a reason",
                where=f"{path}, line {number}",
            )
        review = MaskReview(*values)  # type: ignore[arg-type]
        found[review.patient] = review
    return {patient: review for patient, review in found.items() if review.decision != "open"}


def reviews_of(context: Context) -> dict[str, MaskReview]:
    """The decisions that a study obeys; none where it names no file."""
    images = context.study.images
    if images is None or images.segmentation.reviews is None:
        return {}
    return read_reviews(context.path(images.segmentation.reviews))


def left_out(context: Context) -> dict[str, str]:
    """Patients whom a review of masks leaves out, with the reason as the flow chart shows it."""
    found = reviews_of(context).values()
    return {item.patient: f"mask review: {item.reason}" for item in found if item.decision == "exclude"}


def corrected_file(context: Context, patient: str) -> Path:
    """Where a corrected mask lies: in a folder beside the file of reviews."""
    reviews = context.images.segmentation.reviews or REVIEWS
    return context.path(reviews).parent / CORRECTED / f"{file_name(patient)}.nii.gz"


def corrected_masks(context: Context) -> dict[str, Path]:
    """The corrected mask of each patient who has one."""
    found = reviews_of(context).values()
    return {item.patient: corrected_file(context, item.patient) for item in found if item.decision == "corrected"}


def read_corrected(context: Context, patient: str) -> LabelMap:
    """A corrected mask, on the grid of the image that is measured.

    Raises
    ------
    GeometryError
        It lies on another grid.
    ImageError
        It cannot be read.
    """
    path = corrected_file(context, patient)
    if not path.is_file():
        raise StudyFileError(
            "A corrected mask is not there.", where=f"patient {patient}: {path}",
            remedy="put it back, or take the decision back",
        )  # fmt: skip
    return read_labelmap(path, read_json(path.with_name(LABELS)), reference=measured_image(context, patient).read())


def take_corrected(context: Context, patient: str, file: Path, labels: dict[str, int], image: Volume) -> Path:
    """Check a mask that was corrected elsewhere against the image, and keep it beside the study.

    Raises
    ------
    GeometryError
        It lies on another grid; the message says by how many mm.
    ImageError
        It cannot be read, is empty, or holds values without a name.
    """
    found = read_labelmap(file, labels, reference=image)
    if found.unnamed:
        raise GeometryError(
            "The corrected mask holds values without a name.",
            expected=", ".join(f"{value} {name}" for name, value in labels.items()),
            found=", ".join(map(str, found.unnamed)),
        )
    target = corrected_file(context, patient)
    write_labelmap(found, target)
    write_json(target.with_name(LABELS), labels)
    return target


def reviewed_sentence(context: Context) -> str:
    """How many masks people have looked at and what they decided; empty where nobody has."""
    counts = Counter(item.decision for item in reviews_of(context).values())
    if not counts:
        return ""
    return (
        f" Masks of {sum(counts.values())} patients were reviewed: {counts['good']} were accepted as they were, "
        f"{counts['corrected']} were corrected by hand, and {counts['exclude']} patients were left out."
    )
