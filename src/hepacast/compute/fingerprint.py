"""Content hashes of large files, remembered by size and time of change.

Hashing 200 CTs takes minutes; a second run should take seconds. The memory is only a shortcut: a file whose size or
time of change differs is hashed again.
"""

from __future__ import annotations

from pathlib import Path

from hepacast.compute.files import read_json, write_json
from hepacast.compute.hashing import hash_file, hash_value


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

    def of(self, path: Path) -> str:
        """Hash of a file, or of a folder's files with their relative names."""
        if path.is_dir():
            files = sorted(item for item in path.rglob("*") if item.is_file())
            return hash_value([(item.relative_to(path).as_posix(), self._of_file(item)) for item in files])
        return self._of_file(path)

    def _of_file(self, path: Path) -> str:
        state = path.stat()
        key = str(path.resolve())
        known = self._known.get(key)
        if known and len(known) == 3 and known[:2] == [state.st_size, state.st_mtime_ns]:
            return str(known[2])
        digest = hash_file(path)
        self._known[key] = [state.st_size, state.st_mtime_ns, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write the memory, if something was added."""
        if self._changed:
            write_json(self._memory, self._known)
            self._changed = False


def _remembered(memory: Path) -> dict[str, list[object]]:
    """What the file holds; a damaged one is forgotten, as it saves time only."""
    try:
        known = read_json(memory)
    except (OSError, ValueError):
        return {}
    return {key: list(item) for key, item in known.items()} if isinstance(known, dict) else {}
