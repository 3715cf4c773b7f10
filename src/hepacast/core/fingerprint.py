"""Content hashes of large files, remembered by what the system knows of them without reading.

Hashing 200 CTs takes minutes; a second run should take seconds. The memory is only a shortcut: a file whose size, times
of change (of the content, and of the entry, which no copying with kept times sets back) or number differs is hashed
again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hepacast.core.hashing import hash_file, hash_value
from hepacast.core.kept import InputFile, State, input_changed, read_record, state_of, write_record

#: How often a file is hashed that changes while it is read.
_TRIES = 3
#: Age of a file's last change from which on its state tells its content (clocks of file systems move in steps).
_RESTED_NS = 50_000_000


class Fingerprints:
    """Content hashes, kept in a JSON file.

    Parameters
    ----------
    memory
        The JSON file; made when `save` is called.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _remembered(memory)
        self._changed = False
        self._once: dict[Path, InputFile] | None = None

    def of(self, path: Path) -> str:
        """Hash of a file, or of a folder's files with their relative names."""
        return self.read(path).sha256

    def read(self, path: Path) -> InputFile:
        """A file or folder with its hash and the state in which it had it.

        Raises
        ------
        HepacastError
            It does not come to rest: something is writing into it.
        """
        if self._once is None:
            return self._read(path)
        if path not in self._once:
            self._once[path] = self._read(path)
        return self._once[path]

    @contextmanager
    def once(self) -> Iterator[None]:
        """Inside the block every file is looked at once: several stages read the same thousands of slices."""
        outer, self._once = self._once, {} if self._once is None else self._once
        try:
            yield
        finally:
            self._once = outer

    def _read(self, path: Path) -> InputFile:
        for _ in range(_TRIES):
            state = state_of(path)
            digest = self._hash(path, state)
            if state_of(path) == state:
                return InputFile(path, digest, state)
        raise input_changed(str(path))

    def _hash(self, path: Path, state: State) -> str:
        if not path.is_dir():
            return self._of_file(path, state[0])
        return hash_value([(item[0], self._of_file(path / item[0], item)) for item in state])

    def _of_file(self, path: Path, state: tuple[str, int, int, int, int]) -> str:
        key, own = str(path.resolve()), list(state[1:])
        known = self._known.get(key)
        if known and len(known) == len(own) + 1 and known[:-1] == own:
            return str(known[-1])
        digest = hash_file(path)
        # A file that has just been written may be written again before the clock moves on.
        if time.time_ns() - state[3] > _RESTED_NS:
            self._known[key] = [*own, digest]
            self._changed = True
        return digest

    def save(self) -> None:
        """Write the memory, if something was added."""
        if self._changed:
            write_record(self._memory, {"files": self._known})
            self._changed = False


def _remembered(memory: Path) -> dict[str, list[object]]:
    """What the file holds; a damaged one is forgotten, as it saves time only."""
    record = read_record(memory)
    known = record.get("files") if record else None
    return {key: list(item) for key, item in known.items()} if isinstance(known, dict) else {}
