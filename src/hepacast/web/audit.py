"""The audit trail: who saw, changed, ran and sent what; lines are only ever added, each sealed with the one before."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from hepacast.core.files import storage_error, write_text
from hepacast.errors import HepacastError

TRAIL, KEY = "audit.jsonl", "key"
#: Bytes of one line, at most.
_LONGEST = 4096


@dataclass(frozen=True)
class AuditEntry:
    """One line: time (UTC), user, role, what was done, code of the study, code of the patient, seal."""

    time: str
    user: str
    role: str
    action: str
    study: str = ""
    patient: str = ""
    seal: str = ""


@dataclass
class AuditTrail:
    """The trail of one served folder; names of patients become codes by a key that lies beside it."""

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _key: bytes = b""
    _told: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / TRAIL

    def code(self, study: str, patient: str) -> str:
        """What a patient of a study is called in addresses and in the trail."""
        if not self._key:
            path = self.folder / KEY
            if not path.is_file():
                write_text(path, secrets.token_hex(32))
                path.chmod(0o600)
            self._key = path.read_text(encoding="utf-8").strip().encode()
        return hmac.new(self._key, f"{study}/{patient}".encode(), hashlib.sha256).hexdigest()[:16]

    def add(self, user: str, role: str, action: str, study: str = "", patient: str = "") -> None:
        """Add a line, and make sure that it is on the disk.

        Parameters
        ----------
        action
            A word of the application, no text of a user.
        study, patient
            Codes.

        Raises
        ------
        StorageError
            It cannot be written; then what it tells of must not be done.
        """
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.folder.mkdir(parents=True, exist_ok=True)
        # Another server of the same folder writes here too.
        with self._lock, FileLock(self.folder / "audit.lock", timeout=30):
            try:
                entry = AuditEntry(when, user, role, action, study, patient)
                line = json.dumps({**asdict(entry), "seal": _seal(self._last(), entry)}, ensure_ascii=False)
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(handle, f"{line}\n".encode())
                    os.fsync(handle)
                finally:
                    os.close(handle)
                if study:
                    self._told.add((user, action, study, patient))
            except OSError as error:
                raise storage_error(error, self.path) from error

    def add_once(self, user: str, role: str, action: str, study: str, patient: str = "") -> None:
        """Add a line unless it stands there since the server was started: a scan is read in dozens of requests."""
        if (user, action, study, patient) not in self._told:
            self.add(user, role, action, study, patient)

    def _last(self) -> str:
        if not self.path.is_file():
            return ""
        with self.path.open("r+b") as file:
            file.seek(max(0, self.path.stat().st_size - _LONGEST))
            end = file.read()
            whole = end[: end.rfind(b"\n") + 1]
            if len(whole) < len(end):  # a power cut in the middle of a line, of which nobody was told that it stands
                file.truncate(file.tell() - len(end) + len(whole))
        lines = whole.splitlines()
        return str(json.loads(lines[-1])["seal"]) if lines else ""

    def read(self) -> list[AuditEntry]:
        """All lines, the oldest first.

        Raises
        ------
        HepacastError
            A line was changed or taken away after it was written.
        """
        if not self.path.is_file():
            return []
        entries, seal = [], ""
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = AuditEntry(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise _tampered(self.path, number) from error
            seal = _seal(seal, entry)
            if not hmac.compare_digest(seal, entry.seal):
                raise _tampered(self.path, number)
            entries.append(entry)
        return entries


def _seal(before: str, entry: AuditEntry) -> str:
    content = [before, *(value for name, value in asdict(entry).items() if name != "seal")]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _tampered(path: Path, number: int) -> HepacastError:
    return HepacastError("The audit trail was changed after it was written.", found=f"line {number}", where=str(path))
