"""`hepacast node CONFIG`: listens, predicts what is complete, sends results back, and can be killed at any time.

Each step ends with a state on the disk; a step that was cut off is done again, and gives the same instances (their UIDs
follow from what they were made from), of which the PACS gets only those that it does not hold.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepacast.bundle.applying import open_bundle
from hepacast.bundle.labs import values_of_sheet
from hepacast.bundle.model import Bundle
from hepacast.bundle.networks import NetworkBundle
from hepacast.cohort.headers import find_header
from hepacast.cohort.joining import clean_id, read_ids
from hepacast.cohort.one_sheet import one_sheet
from hepacast.core.lock import hold_folder
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.core.run_progress import STOP
from hepacast.errors import BundleError, HepacastError, TableError
from hepacast.imaging.dicom import DicomFolder, scan_folder
from hepacast.pacs.choose import SeriesFacts, choose
from hepacast.pacs.config import LabTable, NodeConfig, PinnedModel
from hepacast.pacs.connect import make_peer
from hepacast.pacs.deidentify import deidentify
from hepacast.pacs.dimse import NOT_UNDERSTOOD, OUT_OF_RESOURCES, SUCCESS, Receiver
from hepacast.pacs.jobs import ENDED, NodeQueue, QueuedStudy
from hepacast.pacs.peer import Peer, Sent, send

#: A series that says how many images it has is waited for so many times longer.
_PATIENCE = 10
_TICK_S = 0.5
#: The dataset does not belong to a study (PS3.4: data set does not match SOP class).
_NO_STUDY = 0xA900

#: Gets the folder of a study's images and the folder for results.
Make = Callable[[Path, Path], None]


@dataclass
class Node:
    """A node; `step` does what is due, `listen` takes in.

    Parameters
    ----------
    config
        What it does.
    make
        Makes the results of a study; the prediction by default.
    peers
        That get results; those of the configuration by default.
    clock
        Seconds since 1970.
    """

    config: NodeConfig
    make: Make | None = None
    peers: Sequence[Peer] = ()
    clock: Callable[[], float] = time.time
    reporter: Reporter = field(default_factory=SilentReporter)
    #: Studies that were deleted: a state of thousands is not read twice a second.
    _gone: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.queue = NodeQueue(self.config.folder)
        self.model = _pinned(self.config.model, lambda text: self._log("-", text)).identity
        self.make = self.make or StudyPrediction(self.config)
        self.peers = tuple(self.peers) or tuple(
            make_peer(address, calling=self.config.listen.aet) for address in self.config.send_to
        )

    def keep(self, study: str, series: str, uid: str, content: bytes) -> int:
        """Take an instance in: the status of the answer, when it is on the disk."""
        lacking = [name for name, value in (("Study", study), ("Series", series), ("SOP", uid)) if not value]
        try:
            if lacking:
                reason = f"no {', '.join(f'{name} Instance UID' for name in lacking)}"
                self._log(self.queue.set_aside(content, reason), f"quarantined: {reason}")
                return _NO_STUDY
            self.queue.receive(study, series, uid, content)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._log("-", f"not received: {'the disk is full' if full else error.strerror}")
            return OUT_OF_RESOURCES
        except Exception as error:
            self._log("-", f"not received: {type(error).__name__}")
            return NOT_UNDERSTOOD
        return SUCCESS

    def step(self) -> bool:
        """Do one step of every study that is due. Gives whether something was done."""
        kept_from = self.clock() - 3600 * self.config.keep_failed_hours
        if expired := self.queue.expire_quarantine(kept_from):
            self._log("-", f"{expired} images in quarantine deleted")
        awake = [key for key in self.queue.study_keys() if key not in self._gone or self.queue.images(key).exists()]
        done = [self._step(self.queue.study(key)) for key in awake]
        return any(done)

    def _step(self, item: QueuedStudy) -> bool:
        """One step; what fails is tried again later, with growing pauses, and at last is dead with its reason."""
        now = self.clock()
        if item.state in ENDED:
            if item.deleted:
                self._gone.add(item.key)
            return self._ended(item, now)
        if item.due > now:
            return False
        try:
            return self._advance(item, now)
        except HepacastError as error:
            again = item.state in ("made", "sent")
            self._failed(item, str(error), error.message, now, final=not again)
        except OSError as error:
            self._failed(item, f"{type(error).__name__}: {error.strerror}", "a file or connection failed", now)
        except Exception as error:
            self._failed(item, f"{type(error).__name__}: {error}", type(error).__name__, now)
        return True

    def _advance(self, item: QueuedStudy, now: float) -> bool:
        if item.state == "received":
            if not self._is_complete(item, now):
                return False
            self._put(item, state="complete")
        elif item.state in ("complete", "running"):
            self._run(item)
        elif item.state == "made":
            self._send(item)
        elif item.state == "sent":
            missing = [uid for answer in self._sent(item) for uid in answer.failed]
            if missing:
                self._put(item, state="made")
            else:
                self._put(item, state="confirmed", attempts=0, reason="", due=now + 3600 * self.config.keep_hours)
        return True

    def _is_complete(self, item: QueuedStudy, now: float) -> bool:
        last = self.queue.last_received(item.key)
        quiet = now - last
        if not last or quiet < self.config.quiet_s:
            return False
        if quiet >= _PATIENCE * self.config.quiet_s:
            return True
        return not _awaited(scan_folder(self.queue.images(item.key)))

    def _run(self, item: QueuedStudy) -> None:
        """Make the results. The attempt is counted before: a study that kills the node is not tried for ever."""
        if item.attempts >= self.config.tries:
            self._dead(item, item.reason or "it was tried too often, and the node ended each time")
            return
        had = self.queue.instances(item.key)
        seen = _union(item.instances, had)
        item = self._put(item, state="running", attempts=item.attempts + 1, model=self.model, instances=seen)
        images, results = self.queue.images(item.key), self.queue.results(item.key)
        if self.config.research is not None:
            deidentify(images, Path(self.config.research.folder) / item.key, self.queue.secret)
        assert self.make is not None
        self.make(images, results)
        self.queue.settle_results(item.key)
        if self.queue.instances(item.key) != had:  # more came while it ran
            self._put(item, state="received", attempts=0)
            return
        self._put(item, state="made", attempts=0, reason="")

    def _send(self, item: QueuedStudy) -> None:
        for answer in self._sent(item):
            if answer.failed:
                reason = "; ".join(sorted(set(answer.failed.values())))
                raise BundleError("The PACS has not stored the results.", found=reason)
        self._put(item, state="sent", attempts=0, reason="")

    def _sent(self, item: QueuedStudy) -> list[Sent]:
        """Send to every peer what it does not hold, and ask."""
        return [send(peer, [self.queue.results(item.key)]) for peer in self.peers]

    def _failed(self, item: QueuedStudy, reason: str, told: str, now: float, *, final: bool = False) -> None:
        item = self.queue.study(item.key)  # an attempt was counted
        attempts = item.attempts if item.state == "running" else item.attempts + 1
        most = self.config.send_tries if item.state in ("made", "sent") else self.config.tries
        if final or attempts >= most:
            self._dead(item, reason, told)
            return
        pause = min(self.config.wait_s * 2 ** (attempts - 1), self.config.longest_wait_s)
        self._log(item.key, f"failed ({told}); again in {pause:.0f} s")
        with suppress(OSError):  # of a full disk: the old state stands, and it is tried again
            self.queue.put(item, attempts=attempts, due=now + pause, reason=reason)

    def _dead(self, item: QueuedStudy, reason: str, told: str = "") -> None:
        due = self.clock() + 3600 * self.config.keep_failed_hours
        # What came while it was worked on is new: with it the study is taken up again, and may be whole.
        had = item.instances if item.state != "received" else _union(item.instances, self.queue.instances(item.key))
        with suppress(OSError):
            self.queue.put(item, state="dead", reason=reason, due=due, instances=had)
        self._log(item.key, f"dead: {told or reason}")

    def _ended(self, item: QueuedStudy, now: float) -> bool:
        """Take a study up again that got new images; delete one whose time has come."""
        new = set(self.queue.instances(item.key)) - set(item.instances)
        if new:
            self._put(item, state="received", attempts=0, due=0.0, reason="", deleted=False)
            return True
        there = self.queue.images(item.key).exists() or self.queue.results(item.key).exists()
        quiet = now - self.queue.last_received(item.key) >= _PATIENCE * self.config.quiet_s
        if there and quiet and now >= item.due:
            self.queue.delete(item)
            self._log(item.key, "images and results deleted")
            return True
        return False

    def _put(self, item: QueuedStudy, **changes: Any) -> QueuedStudy:
        changed = self.queue.put(item, **changes)
        if changed.state != item.state:
            self._log(item.key, changed.state)
        return changed

    def _log(self, key: str, text: str) -> None:
        """Time, key, what; nothing of a header."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {key} {text}"
        self.reporter.say(line)
        with suppress(OSError), (self.queue.folder / "node.log").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def serve(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Listen and work until `stop` says so, or `core.run_progress.ask_to_stop` was called for the queue's folder.

        Raises
        ------
        StorageError
            Another node has the folder.
        PacsError
            The port cannot be listened on.
        """
        listen, asked = self.config.listen, self.queue.folder / STOP
        with hold_folder(self.queue.folder):
            asked.unlink(missing_ok=True)
            self.queue.sweep()
            receiver = Receiver(listen.aet, listen.host, listen.port, self.keep, listen.callers)
            with receiver.started():
                self._log("-", f"listening as {listen.aet} on {listen.host}:{listen.port}, model {self.model[:12]}")
                while not stop() and not asked.exists():
                    if not self.step():
                        time.sleep(_TICK_S)
            asked.unlink(missing_ok=True)


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({*first, *second}))


def _awaited(folder: DicomFolder) -> bool:
    """Whether a series says that it has more images than came."""
    return any((one.slices[0].announced or 0) > len(one.slices) for one in folder.series if one.slices)


def _pinned(model: PinnedModel, say: Callable[[str], None] = lambda text: None) -> Bundle | NetworkBundle:
    """The bundle, checked.

    Raises
    ------
    BundleError
        It is another than the pinned one.
    """
    opened = open_bundle(model.bundle, without_rows=model.without_rows, say=say)
    if not opened.identity.startswith(model.identity.lower()):
        raise BundleError(
            "The bundle is not the one that is pinned.",
            expected=model.identity,
            found=opened.identity,
            where=model.bundle,
            remedy="put the pinned bundle back, or pin this one after it was judged here",
        )
    return opened


@dataclass(frozen=True)
class StudyPrediction:
    """Predicts a study by the configuration's model, and writes its DICOM results."""

    config: NodeConfig

    def __call__(self, images: Path, results: Path) -> None:
        """Choose the series by the rules, find the clinical values, predict.

        Raises
        ------
        HepacastError
            Whatever is wrong with the study, in words.
        """
        from hepacast.study.predict import predict_patient

        model = self.config.model
        folder = scan_folder(images)
        usable = [item for item in folder.series if item.slices]
        chosen = choose(self.config.series, [SeriesFacts.read(item) for item in usable])
        first = next(item for item in usable if item.uid == next(iter(chosen.values())).uid)
        bundle = _pinned(model)  # the file may have been replaced since the node was started
        patient = first.slices[0].identity["PatientID"]
        predict_patient(
            bundle,
            image=dict.fromkeys(chosen, images),
            series={name: item.uid for name, item in chosen.items()},
            labs=() if self.config.labs is None else _labs_of(self.config.labs, patient, bundle),
            model=model.name or None,
            segmenter=model.segmenter or None,
            accept_doubtful=model.accept_doubtful,
            dicom_out=results,
        )


def _labs_of(rule: LabTable, patient: str, bundle: Bundle | NetworkBundle) -> dict[str, str]:
    """The patient's row of the table of clinical values, read as `predict --table` reads one.

    Raises
    ------
    TableError
        There is none, or more than one; the table cannot be read.
    HepacastError
        A cell of the row cannot be.
    """
    path = Path(rule.table)
    sheet, _ = one_sheet(path, rule.id, what="table of clinical values")
    names = read_ids(sheet.column(find_header(sheet.headers, [rule.id])[0]))
    places = [place for place, name in enumerate(names) if name and name == clean_id(patient)]
    if len(places) != 1:
        raise TableError(
            "The table of clinical values has not one row of this patient.", expected="one row", found=str(len(places))
        )
    values = values_of_sheet(sheet, bundle.columns, path.name)[places[0]]
    if isinstance(values, HepacastError):
        raise values
    return values
