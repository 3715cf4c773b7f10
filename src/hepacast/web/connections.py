"""PACS that the owner has allowed, what is sent to each, and the node's file: kept in one file of the application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hepacast.bundle.dicom_results import FILES
from hepacast.core.records import Record, read_record, write_record
from hepacast.pacs.connect import make_peer
from hepacast.pacs.peer import AE_TITLE, FoundSeries, PacsError, Peer, Sent, fetch, send
from hepacast.web.places import PlaceError
from hepacast.web.site import Site

FILE = "pacs.json"
#: Files of the results that may be sent, by what they are called here.
RESULTS = {Path(name).stem: name for name in FILES}
_LONGEST_NAME, _LONGEST_AET, _LONGEST_ID = 40, 16, 64


@dataclass(frozen=True)
class PacsConnection(Record):
    """A PACS that results may be sent to: its name here, its address, our AE title, which results it gets."""

    name: str
    address: str
    calling: str = AE_TITLE
    results: tuple[str, ...] = tuple(RESULTS)

    def peer(self) -> Peer:
        """The PACS, to be asked.

        Raises
        ------
        PacsError
            The address is none.
        """
        return make_peer(self.address, calling=self.calling)


@dataclass(frozen=True)
class EarlierModel(Record):
    """A model that the node had before: bundle, identity, and until when (UTC)."""

    bundle: str
    identity: str
    until: str


@dataclass(frozen=True)
class PacsSettings(Record):
    """Allowed PACS, the node's file (empty: none), and the models that it had before, the last first."""

    connections: tuple[PacsConnection, ...] = ()
    node: str = ""
    earlier: tuple[EarlierModel, ...] = ()


def read_settings(site: Site) -> PacsSettings:
    """What the owner has set."""
    path = site.state / FILE
    return read_record(PacsSettings, path) if path.is_file() else PacsSettings()


def write_settings(site: Site, settings: PacsSettings) -> None:
    """Keep what the owner has set."""
    site.state.mkdir(parents=True, exist_ok=True)
    write_record(site.state / FILE, settings)


def set_connections(site: Site, connections: tuple[PacsConnection, ...]) -> None:
    """Put these in the place of all that were allowed before.

    Raises
    ------
    PacsError
        A name twice or none, no address, an AE title that is too long, or results that there are not.
    """
    names = [item.name for item in connections]
    if len(set(names)) < len(names) or not all(_is_name(name) for name in names):
        raise PacsError(
            "A PACS has a name of its own.", expected=f"1 to {_LONGEST_NAME} characters without / and \\, each once"
        )
    for item in connections:
        item.peer()
        if not (item.calling.strip() and _is_plain(item.calling, _LONGEST_AET) and item.calling.isascii()):
            raise PacsError("This is no AE title.", expected=f"1 to {_LONGEST_AET} characters", found=item.calling)
        if not item.results or set(item.results) - set(RESULTS):
            raise PacsError("A PACS gets one result at least.", expected=", ".join(RESULTS), where=item.name)
    write_settings(site, replace(read_settings(site), connections=connections))


def _is_plain(text: str, longest: int) -> bool:
    """Whether a text is short and printable, and has no backslash, which separates values in DICOM."""
    return 0 < len(text) <= longest and text.isprintable() and "\\" not in text


def _is_name(text: str) -> bool:
    """Whether a PACS can be called so: its name stands in addresses of this page."""
    return bool(text.strip()) and _is_plain(text, _LONGEST_NAME) and "/" not in text and text not in (".", "..")


def connection(site: Site, name: str) -> PacsConnection:
    """An allowed PACS.

    Raises
    ------
    PlaceError
        There is none of this name.
    """
    found = next((item for item in read_settings(site).connections if item.name == name), None)
    if found is None:
        raise PlaceError("This PACS is not among those that the owner has allowed.", remedy="see the settings")
    return found


def series_of_patient(to: PacsConnection, patient: str) -> list[FoundSeries]:
    """Series of one patient, the newest study first.

    Parameters
    ----------
    patient
        Number by which the PACS knows the patient; one that could mean several is refused.

    Raises
    ------
    PacsError
        It is no number, or the PACS does not answer.
    """
    number = patient.strip()
    if not _is_plain(number, _LONGEST_ID) or set(number) & set("*?"):
        raise PacsError("This is no patient's number.", expected=f"1 to {_LONGEST_ID} characters, without * and ?")
    found = to.peer().find({"PatientID": number})
    return sorted(found, key=lambda item: (item.date, -(item.number or 0)), reverse=True)


def fetch_series(to: PacsConnection, series: Mapping[str, FoundSeries], folder: Path) -> dict[str, str]:
    """Fetch each series whole: its folder by the name of its sequence.

    Raises
    ------
    PacsError
        The PACS does not answer, or fewer images came than it says there are.
    """
    peer = to.peer()
    return {
        name: str(fetch(peer, [item], folder / f"fetched-{number}")[0])
        for number, (name, item) in enumerate(series.items())
    }


@dataclass(frozen=True)
class SentResults(Record):
    """What became of a prediction's results at a PACS: when (UTC), how many it holds, and why it lacks others."""

    to: str
    time: str
    confirmed: int
    failed: tuple[str, ...] = ()


def send_results(to: PacsConnection, folder: Path) -> SentResults:
    """Send those results of a folder that a PACS is to get, as `hepacast pacs send` does.

    Raises
    ------
    PacsError
        It does not answer.
    """
    result: Sent = send(to.peer(), [folder / RESULTS[name] for name in to.results])
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return SentResults(to.name, when, len(result.confirmed), tuple(sorted(set(result.failed.values()))))
