"""The series that DICOM results refer to, and what every result of it shares: its header, its UIDs, its dates.

UIDs of results are derived from what they were made from and by. Whoever makes the same result again makes the same
instances, so that a PACS to which they are sent twice holds them once; a corrected mask or another model are others.
Dates are those of the source for the same reason: an instance that has a name must not have two contents.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepacast.core.hashing import hash_value
from hepacast.errors import ImageError
from hepacast.imaging.dicom import series_stack
from hepacast.imaging.dicom_header import read_dataset, refuse_damage, text
from hepacast.imaging.volume import Geometry, Volume

#: What a result cannot refer to its source without.
IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
#: What results repeat of patient and study; may be empty, must be there.
PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
#: What results repeat where the source has it: whose the ID is, and how old the patient was.
OPTIONAL_OF_PATIENT = ("IssuerOfPatientID", "OtherPatientIDs", "PatientAge", "StudyDescription")
UTF_8 = "ISO_IR 192"
MANUFACTURER = "hepacast"
NOT_FOR_CARE = "RESEARCH ONLY"
#: Of a source that does not say when it was made.
_NO_DATE, _NO_TIME = "19000101", "000000"
_TEXTS = frozenset({"PN", "LO", "SH", "ST", "LT", "UC", "UT"})
#: Announces another character set (ISO 2022).
_ESCAPE = re.compile(r"\x1b[\x20-\x2f]+[\x30-\x7e]")


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """Headers of a series in the order of the volume's slices, their texts in UTF-8, and its grid."""

    headers: tuple[Any, ...]
    geometry: Geometry

    @property
    def first(self) -> Any:
        """Header of the first slice."""
        return self.headers[0]

    @property
    def instances(self) -> list[str]:
        """SOP Instance UIDs, sorted."""
        return sorted(str(header.SOPInstanceUID) for header in self.headers)

    @property
    def date(self) -> str:
        """Day of the study (ISO); empty where the header does not say."""
        found = text(self.first, "StudyDate")
        return f"{found[:4]}-{found[4:6]}-{found[6:8]}" if len(found) == 8 and found.isdigit() else ""


@dataclass(frozen=True)
class Origin:
    """What results are made from (a key of everything that decides their content) and by.

    Parameters
    ----------
    key
        Hash of source instances, masks, model and code.
    maker, version
        Shown as model name and software version of the device.
    """

    key: str
    maker: str = MANUFACTURER
    version: str = ""

    def uid(self, *what: str) -> Any:
        """The UID of one thing that is made: the same from the same origin."""
        return derived_uid(self.key, *what)


def derived_uid(*parts: str) -> Any:
    """A UID that follows from texts (PS3.5 B.2: ``2.25.`` and a UUID, here made of their SHA-256)."""
    from pydicom.uid import UID

    digest = hashlib.sha256("\0".join(parts).encode("utf-8")).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")


def key_of(source: SourceSeries, masks: dict[str, Volume], **more: Any) -> str:
    """Hash of source instances, masks (every voxel) and whatever else decides what is made."""
    voxels = {
        name: hashlib.sha256(np.packbits(mask.array.astype(bool)).tobytes()).hexdigest() for name, mask in masks.items()
    }
    return hash_value({"source": source.instances, "masks": list(voxels.items()), **more})


def read_source(path: str | Path, *, series: str | int | None = None) -> SourceSeries:
    """The series that `hepacast.imaging.dicom.read_series` reads, as what results refer to.

    Raises
    ------
    ImageError
        It lacks UIDs or has one of its own for every slice, so that results would belong to no study of the PACS; or as
        `read_series`.
    """
    files, geometry = series_stack(path, series=series)
    headers = tuple(_header(file) for file in files)
    _require_identifiers(headers, Path(path))
    return SourceSeries(headers, geometry)


def _header(file: Path) -> Any:
    with refuse_damage(file, "header"):
        header = read_dataset(file)
        assert header is not None
        header.pop("PixelData", None)
        return in_utf8(header)


def in_utf8(header: Any) -> Any:
    """The header with its texts in UTF-8: every character set can be written in it, and highdicom refuses others.

    Chinese scanners declare ``\\ISO 2022 IR 58`` and write names with its escape sequences or, as often, without: both
    are GB18030 once these are taken out (pydicom leaves them in the text).
    """
    declared = header.get("SpecificCharacterSet") or ""
    chinese = any("IR 58" in str(item) for item in ([declared] if isinstance(declared, str) else declared))
    if chinese:
        header.set_original_encoding(*header.original_encoding, ["GB18030"])
    for element in header:
        if element.VR in _TEXTS and element.value:
            many = not isinstance(element.value, str) and element.VM > 1
            texts = [_ESCAPE.sub("", str(item)) for item in (element.value if many else [element.value])]
            element.value = texts if many else texts[0]
    header.SpecificCharacterSet = UTF_8
    for keyword in PATIENT_AND_STUDY:
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def _require_identifiers(headers: Sequence[Any], path: Path) -> None:
    """Refuse a source that a PACS could not put results beside."""
    lacking = [name for name in IDENTIFIERS if any(not text(header, name) for header in headers)]
    many = [name for name in IDENTIFIERS[:3] if len({text(header, name) for header in headers}) > 1]
    if not lacking and not many:
        return
    found = [f"no {', '.join(lacking)}"] if lacking else []
    found += [f"a {name} of its own in every slice" for name in many]
    raise ImageError(
        "DICOM results cannot refer to this series: it lacks identifiers.",
        expected=", ".join(IDENTIFIERS),
        found="; ".join(found),
        where=str(path),
        remedy="take the series from the PACS again, with its identifiers; results that have invented ones would be "
        "orphans there",
    )


def describe_result(dataset: Any, source: SourceSeries, origin: Origin, what: str, *, number: int) -> None:
    """Set what every result says of itself: series and instance, maker, and the source's dates."""
    head = source.first
    date = text(head, "SeriesDate") or text(head, "StudyDate") or _NO_DATE
    time = text(head, "SeriesTime") or text(head, "StudyTime") or _NO_TIME
    dataset.SpecificCharacterSet = UTF_8
    dataset.SOPInstanceUID = origin.uid(what, "instance")
    dataset.SeriesInstanceUID = origin.uid(what, "series")
    dataset.SeriesNumber, dataset.InstanceNumber = number, 1
    dataset.SeriesDescription = f"{MANUFACTURER} {what}, {NOT_FOR_CARE}"
    for keyword in PATIENT_AND_STUDY:
        setattr(dataset, keyword, head.get(keyword))
    for keyword in OPTIONAL_OF_PATIENT:
        if head.get(keyword):
            setattr(dataset, keyword, head.get(keyword))
    for keyword in ("SeriesDate", "ContentDate", "InstanceCreationDate"):
        setattr(dataset, keyword, date)
    for keyword in ("SeriesTime", "ContentTime", "InstanceCreationTime"):
        setattr(dataset, keyword, time)
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, origin.maker
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = origin.version or "unknown", "0"
    for item in dataset.get("ContributingEquipmentSequence") or ():
        item.ContributionDateTime = f"{date}{time}"
    if "file_meta" in vars(dataset):
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
