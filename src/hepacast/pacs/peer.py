"""A PACS to talk to: what can be asked of it, whatever it speaks, and what is true of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from hepacast.core import views
from hepacast.core.tables import Table, table_of
from hepacast.errors import HepacastError, ImageError
from hepacast.imaging.dicom_header import read_dataset, text

#: Our name in associations, where none is given.
AE_TITLE = "HEPACAST"


class PacsError(HepacastError):
    """A PACS does not answer, refuses, or does not do what it says."""


@dataclass(frozen=True)
class FoundSeries:
    """A series of a PACS, without anything that names the patient.

    Parameters
    ----------
    study, series
        UIDs.
    modality, number, description, date
        From the header; of the study its date.
    instances
        How many the PACS says there are; None where it does not.
    thickness
        In mm; None where it is not known.
    """

    study: str
    series: str
    modality: str = ""
    number: int | None = None
    description: str = ""
    date: str = ""
    instances: int | None = None
    thickness: float | None = None


@dataclass(frozen=True, repr=False)
class FoundList(views.Shown):
    """Series of a PACS that were asked for."""

    series: tuple[FoundSeries, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a series."""
        return pd.DataFrame([vars(item) for item in self.series], columns=list(FoundSeries.__dataclass_fields__))

    def text(self) -> str:
        """One line a series."""
        lines = [
            f"{item.date or '-'}  {item.modality or '-':3} {'-' if item.number is None else item.number:>5}  "
            f"{item.instances or '?':>5} images  {item.description or '-'}\n    {item.study} {item.series}"
            for item in self.series
        ]
        return "\n".join(lines) or "nothing found"


@views.table.register
def _(record: FoundList) -> Table:
    return table_of(record.to_frame(), "Series")


@dataclass(frozen=True)
class Instance:
    """An instance of a file, by what a PACS knows it."""

    path: Path
    study: str
    series: str
    uid: str
    sop_class: str


@dataclass(frozen=True)
class Sent(views.Shown):
    """What became of instances that were sent.

    Parameters
    ----------
    confirmed
        UIDs of those that the PACS says it holds, asked after sending.
    failed
        Reason by UID of the others.
    """

    confirmed: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """How many were stored, and why others were not."""
        lines = [f"{len(self.confirmed)} of {len(self.confirmed) + len(self.failed)} instances stored and confirmed"]
        return "\n".join([*lines, *(f"  {uid}: {reason}" for uid, reason in self.failed.items())])

    def to_frame(self) -> pd.DataFrame:
        """One row an instance."""
        rows = [(uid, "confirmed", "") for uid in self.confirmed]
        rows += [(uid, "failed", reason) for uid, reason in self.failed.items()]
        return pd.DataFrame(rows, columns=["instance", "status", "reason"])


class Peer(Protocol):
    """What a PACS can be asked, over DICOMweb or DIMSE; each may raise `PacsError`."""

    @property
    def name(self) -> str:
        """For messages."""

    def echo(self) -> None:
        """Ask whether it is there."""

    def find(self, filters: Mapping[str, str]) -> list[FoundSeries]:
        """Series of the studies that fit (keywords of the study level: PatientID, StudyDate, ...)."""

    def retrieve(self, series: FoundSeries) -> Iterator[tuple[str, bytes]]:
        """Instances of a series: UID and the file."""

    def store(self, instances: Sequence[Instance]) -> dict[str, str]:
        """Send; the reason by UID of each that was not stored."""

    def holds(self, instances: Sequence[Instance]) -> set[str]:
        """UIDs of those that it has."""


def instances_of(paths: Sequence[str | Path]) -> list[Instance]:
    """The instances of files and folders.

    Raises
    ------
    ImageError
        A file is not DICOM, or lacks the UIDs without which a PACS stores nothing (and may answer that all is well).
    """
    files = [
        file
        for path in map(Path, paths)
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.is_file() and not file.name.startswith(".") and file.suffix.lower() not in (".csv", ".json")
    ]
    if not files:
        raise ImageError("There is nothing to send.", expected="DICOM files", where=", ".join(map(str, paths)))
    return [_instance(file) for file in files]


def _instance(file: Path) -> Instance:
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    header = read_dataset(file, tags=list(keywords))
    if header is None:
        raise ImageError("A file that is to be sent is not DICOM.", where=str(file))
    values = [text(header, name) for name in keywords]
    lacking = [name for name, value in zip(keywords, values, strict=True) if not value]
    if lacking:
        raise ImageError(
            "A file that is to be sent lacks identifiers: a PACS would not store it, or make an orphan of it.",
            found=f"no {', '.join(lacking)}",
            where=str(file),
            remedy="take the series from the PACS or scanner again, with its identifiers",
        )
    return Instance(file, *values)


def send(peer: Peer, paths: Sequence[str | Path]) -> Sent:
    """Send files and ask afterwards whether they are there: an answer without an error is not believed.

    What the peer holds already is not sent again.

    Raises
    ------
    ImageError, PacsError
        As `instances_of`; the peer does not answer.
    """
    wanted = instances_of(paths)
    there = peer.holds(wanted)
    failed = peer.store([item for item in wanted if item.uid not in there]) if len(there) < len(wanted) else {}
    confirmed = there | peer.holds([item for item in wanted if item.uid not in there])
    reasons = {
        item.uid: failed.get(item.uid, "the PACS said that it stored it, and does not have it")
        for item in wanted
        if item.uid not in confirmed
    }
    return Sent(tuple(item.uid for item in wanted if item.uid in confirmed), reasons)


def fetch(peer: Peer, series: Sequence[FoundSeries], folder: str | Path) -> list[Path]:
    """Fetch series into a folder each.

    Raises
    ------
    PacsError
        Fewer instances came than the PACS says there are.
    """
    from hepacast.core.files import atomic_folder

    made = []
    for number, item in enumerate(series, start=1):
        target = Path(folder) / f"series-{number:03d}"
        count = 0
        with atomic_folder(target) as scratch:
            for count, (_, content) in enumerate(peer.retrieve(item), start=1):
                (scratch / f"{count:05d}.dcm").write_bytes(content)
            if count < max(1, item.instances or 1):
                raise PacsError(
                    "The PACS sent fewer images than it says there are.",
                    expected=str(item.instances or "at least one"),
                    found=str(count),
                    where=f"{peer.name}, series {item.series}",
                    remedy="fetch again; ask the PACS's administrator whether the series is archived elsewhere",
                )
        made.append(target)
    return made


def number_of(value: Any, kind: type[int] | type[float]) -> Any:
    """A number of a header, None where it is none."""
    try:
        return kind(float(str(value)))
    except (TypeError, ValueError):
        return None
