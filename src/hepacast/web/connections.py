"""PACS that the owner has allowed, what is sent to each, and the node's file: kept in one file of the application."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hepacast.bundle.dicom_results import FILES
from hepacast.core.records import Record, read_record, write_record
from hepacast.pacs.connect import make_peer
from hepacast.pacs.peer import AE_TITLE, PacsError, Peer, Sent, send
from hepacast.web.places import PlaceError
from hepacast.web.site import Site

FILE = "pacs.json"
#: Files of the results that may be sent, by what they are called here.
RESULTS = {Path(name).stem: name for name in FILES}
_LONGEST_NAME, _LONGEST_AET = 40, 16


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
    if len(set(names)) < len(names) or not all(name.strip() and len(name) <= _LONGEST_NAME for name in names):
        raise PacsError("A PACS has a name of its own.", expected=f"1 to {_LONGEST_NAME} characters, each once")
    for item in connections:
        item.peer()
        if not 0 < len(item.calling.strip()) <= _LONGEST_AET:
            raise PacsError("This is no AE title.", expected=f"1 to {_LONGEST_AET} characters", found=item.calling)
        if not item.results or set(item.results) - set(RESULTS):
            raise PacsError("A PACS gets one result at least.", expected=", ".join(RESULTS), where=item.name)
    write_settings(site, replace(read_settings(site), connections=connections))


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
