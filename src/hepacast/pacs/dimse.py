"""DIMSE: C-ECHO, C-FIND, C-GET or C-MOVE, C-STORE; and a receiver, for C-MOVE and for the node."""

from __future__ import annotations

import io
import queue
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hepacast.core.optional import require
from hepacast.pacs.peer import AE_TITLE, FoundSeries, Instance, PacsError, number_of

CT_AND_MR = (
    "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1",
)  # fmt: skip
_VERIFICATION = "1.2.840.10008.1.1"
_FIND, _MOVE, _GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
SUCCESS, OUT_OF_RESOURCES, NOT_UNDERSTOOD, NOT_AUTHORIZED = 0x0000, 0xA700, 0xC000, 0x0124
_PENDING = (0xFF00, 0xFF01)
_TIMEOUT_S = 60

#: Gets UIDs (study, series, instance) and the file of an instance, gives the status of the answer.
Keep = Callable[[str, str, str, bytes], int]


def _library() -> Any:
    import logging

    found = require("pynetdicom", purpose="DIMSE", extra="pacs")
    # Its log quotes datasets, a patient's name among them.
    logging.getLogger("pynetdicom").propagate = False
    return found


@dataclass(frozen=True)
class DimsePeer:
    """A PACS by its AE title; `listen` is the port of our receiver for C-MOVE."""

    aet: str
    host: str
    port: int
    calling: str = AE_TITLE
    listen: int | None = None

    @property
    def name(self) -> str:
        """``AET@HOST:PORT``."""
        return f"{self.aet}@{self.host}:{self.port}"

    @contextmanager
    def _association(
        self, contexts: Sequence[tuple[str, Sequence[str]]], *, roles: Sequence[str] = ()
    ) -> Iterator[Any]:
        library = _library()
        entity = library.AE(ae_title=self.calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
        entity.connection_timeout = _TIMEOUT_S / 6
        for abstract, syntaxes in contexts:
            entity.add_requested_context(abstract, list(syntaxes) or library.DEFAULT_TRANSFER_SYNTAXES)
        handlers: list[Any] = []
        received: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        if roles:

            def keep(event: Any) -> int:
                received.put((str(event.request.AffectedSOPInstanceUID), event.encoded_dataset()))
                return SUCCESS

            handlers = [(library.evt.EVT_C_STORE, keep)]
        negotiation = [library.build_role(uid, scp_role=True) for uid in roles]
        found = entity.associate(self.host, self.port, ae_title=self.aet, evt_handlers=handlers, ext_neg=negotiation)
        if not found.is_established:
            reason = "rejected" if found.is_rejected else "no connection" if found.is_aborted else "no answer"
            raise PacsError(
                "The PACS does not open an association.", found=reason, where=self.name,
                remedy=f"it must be there, and know {self.calling} as a caller",
            )  # fmt: skip
        found.received = received
        try:
            yield found
        finally:
            if found.is_established:
                found.release()

    def echo(self) -> None:
        """C-ECHO."""
        with self._association([(_VERIFICATION, ())]) as association:
            self._require(association.send_c_echo(), "C-ECHO")

    def find(self, filters: Mapping[str, str]) -> list[FoundSeries]:
        """C-FIND of studies, then of their series."""
        found = []
        with self._association([(_FIND, ())]) as association:
            for study in self._ask(association, "STUDY", {**filters, "StudyInstanceUID": "", "StudyDate": ""}, filters):
                asked = {"StudyInstanceUID": study.StudyInstanceUID, "SeriesInstanceUID": "", "Modality": ""}
                asked |= {"SeriesNumber": "", "SeriesDescription": "", "NumberOfSeriesRelatedInstances": ""}
                for item in self._ask(association, "SERIES", asked):
                    found.append(
                        FoundSeries(
                            str(study.StudyInstanceUID),
                            str(item.SeriesInstanceUID),
                            str(item.get("Modality") or ""),
                            number_of(item.get("SeriesNumber"), int),
                            str(item.get("SeriesDescription") or ""),
                            str(study.get("StudyDate") or ""),
                            number_of(item.get("NumberOfSeriesRelatedInstances"), int),
                        )
                    )
        return found

    def _ask(
        self, association: Any, level: str, wanted: Mapping[str, str], more: Mapping[str, str] | None = None
    ) -> Iterator[Any]:
        from pydicom.dataset import Dataset

        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in {**wanted, **(more or {})}.items():
            setattr(query, keyword, value)
        for status, answer in list(association.send_c_find(query, _FIND)):
            if status and status.Status in _PENDING:
                if answer is not None:
                    yield answer
            else:
                self._require(status, "C-FIND")

    def retrieve(self, series: FoundSeries) -> Iterator[tuple[str, bytes]]:
        """C-MOVE to our receiver, or C-GET where there is none."""
        from pydicom.dataset import Dataset

        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID, query.SeriesInstanceUID = series.study, series.series
        if self.listen is not None:
            yield from self._move(query)
            return
        syntaxes = _library().ALL_TRANSFER_SYNTAXES
        # One context a transfer syntax: the PACS then sends each image as it is stored.
        contexts = [(_GET, ()), *((uid, [syntax]) for uid in CT_AND_MR[:2] for syntax in syntaxes)]
        contexts += [(uid, syntaxes) for uid in CT_AND_MR[2:]]
        with self._association(contexts[:128], roles=CT_AND_MR) as association:
            for status, _ in association.send_c_get(query, _GET):
                while not association.received.empty():
                    yield association.received.get()
                if not status or status.Status not in _PENDING:
                    self._require(status, "C-GET")

    def _move(self, query: Any) -> Iterator[tuple[str, bytes]]:
        received: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

        def keep(study: str, series: str, uid: str, content: bytes) -> int:
            received.put((uid, content))
            return SUCCESS

        listening = Receiver(self.calling, "0.0.0.0", self.listen or 0, keep, {self.aet: self.host})
        with listening.started(), self._association([(_MOVE, ())]) as association:
            for status, _ in association.send_c_move(query, self.calling, _MOVE):
                while not received.empty():
                    yield received.get()
                if not status or status.Status not in _PENDING:
                    self._require(status, "C-MOVE")
        while not received.empty():
            yield received.get()

    def store(self, instances: Sequence[Instance]) -> dict[str, str]:
        """C-STORE of each file in the transfer syntax that it has."""
        import pydicom

        pairs = {(item.sop_class, _syntax(item)) for item in instances}
        failed = {}
        with self._association([(uid, [syntax]) for uid, syntax in sorted(pairs)]) as association:
            for item in instances:
                try:
                    status = association.send_c_store(pydicom.dcmread(item.path))
                except (ValueError, RuntimeError) as error:
                    failed[item.uid] = f"not sent ({type(error).__name__}: class or transfer syntax not accepted)"
                    continue
                code = int(status.Status) if status and "Status" in status else None
                if code is None:
                    raise PacsError("The PACS broke off while it was sent to.", where=self.name)
                if code != SUCCESS and code & 0xF000 != 0xB000:  # 0xBxxx: stored, with a remark
                    failed[item.uid] = f"refused (0x{code:04X})"
        return failed

    def holds(self, instances: Sequence[Instance]) -> set[str]:
        """Those that C-FIND finds."""
        found: set[str] = set()
        if not instances:
            return found
        with self._association([(_FIND, ())]) as association:
            for study, series in {(item.study, item.series) for item in instances}:
                asked = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": ""}
                found |= {str(item.SOPInstanceUID) for item in self._ask(association, "IMAGE", asked)}
        return found & {item.uid for item in instances}

    def _require(self, status: Any, what: str) -> None:
        code = int(status.Status) if status and "Status" in status else None
        if code != SUCCESS:
            shown = "no answer" if code is None else f"status 0x{code:04X}"
            raise PacsError(f"The PACS does not answer {what} with success.", found=shown, where=self.name)


def _syntax(item: Instance) -> str:
    from pydicom.filereader import read_file_meta_info

    return str(read_file_meta_info(item.path).TransferSyntaxUID)


@dataclass(frozen=True)
class Receiver:
    """Listens for C-ECHO and C-STORE.

    Parameters
    ----------
    aet, host, port
        Our AE title (callers must name it) and where to listen.
    keep
        Gets every instance before it is acknowledged.
    callers
        Address by AE title of who may call.
    """

    aet: str
    host: str
    port: int
    keep: Keep
    callers: Mapping[str, str]

    @contextmanager
    def started(self) -> Iterator[None]:
        """Listen while the block runs.

        Raises
        ------
        PacsError
            The port cannot be listened on.
        """
        from threading import Thread

        library = _library()
        from pynetdicom.transport import ThreadedAssociationServer

        addresses = _addresses(self.callers)

        class GuardedServer(ThreadedAssociationServer):
            def verify_request(self, request: Any, client_address: Any) -> bool:
                return client_address[0] in addresses

        entity = library.AE(ae_title=self.aet)
        entity.require_called_aet = True
        entity.require_calling_aet = list(self.callers)
        entity.maximum_associations = 20
        entity.network_timeout = _TIMEOUT_S
        entity.add_supported_context(_VERIFICATION)
        for uid in CT_AND_MR:
            entity.add_supported_context(uid, library.ALL_TRANSFER_SYNTAXES)
        handlers = [(library.evt.EVT_C_STORE, self._store)]
        try:
            server = entity.make_server((self.host, self.port), evt_handlers=handlers, server_class=GuardedServer)
        except OSError as error:
            raise PacsError(
                "The port cannot be listened on.", found=error.strerror, where=f"{self.host}:{self.port}"
            ) from error
        entity._servers.append(server)  # as `start_server` does, which takes no class; closing looks for it there
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()

    def _store(self, event: Any) -> int:
        from pydicom import dcmread

        caller = event.assoc.requestor
        if caller.address not in _addresses({"": self.callers.get(str(caller.ae_title).strip(), "")}):
            return NOT_AUTHORIZED
        content = event.encoded_dataset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            try:
                names = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
                header = dcmread(io.BytesIO(content), specific_tags=names, stop_before_pixels=True)
                uids = [str(header.get(name) or "") for name in names]
            except Exception:
                return NOT_UNDERSTOOD
        return self.keep(uids[0], uids[1], uids[2], content)


def _addresses(callers: Mapping[str, str]) -> frozenset[str]:
    """Addresses of the callers' hosts."""
    import socket

    found = set()
    for host in callers.values():
        try:
            found |= {str(item[4][0]) for item in socket.getaddrinfo(host, None, socket.AF_INET)}
        except OSError as error:
            raise PacsError("A caller's address is not known.", found=host) from error
    return frozenset(found)
