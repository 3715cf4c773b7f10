"""The node's queue: studies on disk, each with its state, so that a killed node loses nothing.

``jobs/KEY/images/SERIES/INSTANCE.dcm`` is what was received, ``jobs/KEY/results`` what goes back and
``jobs/KEY/state.json`` how far it is; ``quarantine`` holds what belongs to no study. Keys are made of UIDs and the
node's own secret. A file is on the disk (fsync) before it is acknowledged or counted on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from hepacast.core import views
from hepacast.core.files import read_json, sync, write_durably
from hepacast.core.records import Record
from hepacast.core.tables import Table, table_of
from hepacast.errors import StorageError

State = Literal["received", "complete", "running", "made", "sent", "confirmed", "dead"]
#: Nothing is left to be done.
ENDED = ("confirmed", "dead")


@dataclass(frozen=True)
class QueuedStudy(Record):
    """How far a study is.

    Parameters
    ----------
    key
        Stands for the study.
    state
        ``received`` (more may come), ``complete``, ``running``, ``made``, ``sent``, ``confirmed``; ``dead`` with a
        reason.
    attempts
        Of what is tried now.
    due
        Seconds since 1970 from which on it is tried again, or the study is deleted.
    reason
        Of the last failure.
    model
        Identity of the bundle.
    instances
        Names of the images that were processed.
    deleted
        Whether images and results are gone.
    """

    key: str
    state: State = "received"
    attempts: int = 0
    due: float = 0.0
    reason: str = ""
    model: str = ""
    instances: tuple[str, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, repr=False)
class QueueList(views.Shown):
    """All studies of a queue, and what lies in quarantine."""

    studies: tuple[QueuedStudy, ...]
    quarantined: tuple[tuple[str, str], ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row a study."""
        names = ("key", "state", "attempts", "model", "reason")
        return pd.DataFrame([{name: getattr(item, name) for name in names} for item in self.studies], columns=names)

    def text(self) -> str:
        """One line a study, then the quarantine."""
        lines = [f"{item.key}  {item.state:9} {item.reason.splitlines()[0] if item.reason else ''}".rstrip()
                 for item in self.studies]  # fmt: skip
        lines += [f"{name}  quarantine {reason}" for name, reason in self.quarantined]
        return "\n".join(lines) or "the queue is empty"


@views.table.register
def _(record: QueueList) -> Table:
    return table_of(record.to_frame(), "Queue")


class NodeQueue:
    """The queue in a folder; made where it is not there.

    Parameters
    ----------
    folder
        Of the queue; only its owner can read it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.jobs, self.quarantine = self.folder / "jobs", self.folder / "quarantine"
        for item in (self.folder, self.jobs, self.quarantine):
            item.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / "secret"
        if not path.is_file():
            write_durably(path, secrets.token_bytes(32))
            path.chmod(0o600)
        self.secret = path.read_bytes()
        if len(self.secret) != 32:
            raise StorageError("The node's secret is damaged.", where=str(path), remedy="take it from the backup")

    def keyed(self, *parts: str) -> str:
        """A name that stands for UIDs; without the secret nobody can tell for which."""
        return hmac.new(self.secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:20]

    def receive(self, study: str, series: str, uid: str, content: bytes) -> str:
        """Keep an instance; it is on the disk when this returns. Gives the study's key.

        Raises
        ------
        OSError
            The disk is full or fails; nothing is kept.
        """
        key = self.keyed(study)
        path = self.jobs / key / "images" / self.keyed(study, series) / f"{self.keyed(uid)}.dcm"
        if not path.exists():
            write_durably(path, content)
        return key

    def set_aside(self, content: bytes, reason: str) -> str:
        """Keep what belongs to no study, with the reason; the same again is the same file."""
        name = hmac.new(self.secret, content, hashlib.sha256).hexdigest()[:20]
        write_durably(self.quarantine / f"{name}.dcm", content)
        write_durably(self.quarantine / f"{name}.json", json.dumps({"reason": reason}).encode())
        return name

    def expire_quarantine(self, before: float) -> int:
        """Delete what was set aside before a time (seconds since 1970): how many images."""
        old = [path for path in self.quarantine.glob("*.dcm") if path.stat().st_mtime < before]
        for path in old:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
        return len(old)

    def images(self, key: str) -> Path:
        """Folder of what was received."""
        return self.jobs / key / "images"

    def results(self, key: str) -> Path:
        """Folder of what goes back."""
        return self.jobs / key / "results"

    def instances(self, key: str) -> tuple[str, ...]:
        """Names of the images that are there."""
        return tuple(sorted(path.stem for path in self.images(key).glob("*/*.dcm") if not path.name.startswith(".")))

    def last_received(self, key: str) -> float:
        """When the newest image came (seconds since 1970); 0 where there is none."""
        return max((path.stat().st_mtime for path in self.images(key).glob("*/*.dcm")), default=0.0)

    def study(self, key: str) -> QueuedStudy:
        """How far a study is."""
        path = self.jobs / key / "state.json"
        return QueuedStudy.from_json(read_json(path)) if path.is_file() else QueuedStudy(key)

    def study_keys(self) -> list[str]:
        """Keys of all studies."""
        return sorted(path.name for path in self.jobs.iterdir() if path.is_dir())

    def studies(self) -> list[QueuedStudy]:
        """All of them, by key."""
        return [self.study(key) for key in self.study_keys()]

    def put(self, item: QueuedStudy, **changes: object) -> QueuedStudy:
        """Write a new state; it is on the disk when this returns."""
        changed = replace(item, **changes)  # type: ignore[arg-type]
        content = json.dumps(changed.to_json(), ensure_ascii=False).encode("utf-8")
        write_durably(self.jobs / item.key / "state.json", content)
        return changed

    def settle_results(self, key: str) -> None:
        """Put results on the disk before they are counted on."""
        for path in (*self.results(key).iterdir(), self.results(key), self.jobs / key):
            sync(path)

    def delete(self, item: QueuedStudy) -> QueuedStudy:
        """Delete images and results; the state, which names nobody, stays."""
        for folder in (self.images(item.key), self.results(item.key)):
            shutil.rmtree(folder, ignore_errors=True)
        return self.put(item, deleted=True)

    def sweep(self) -> None:
        """Remove what a killed node has left half-written."""
        for left in self.folder.rglob(".tmp-*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def retry(self, keys: Sequence[str]) -> list[QueuedStudy]:
        """Try studies again that are dead."""
        return [
            self.put(item, state="received", attempts=0, due=0.0, reason="", instances=())
            for item in self.studies()
            if item.state == "dead" and not item.deleted and (item.key in keys or "all" in keys)
        ]

    def listing(self) -> QueueList:
        """Everything, for a person."""
        aside = [(path.stem, str(read_json(path)["reason"])) for path in sorted(self.quarantine.glob("*.json"))]
        return QueueList(tuple(self.studies()), tuple(aside))
