"""Content hashes: of values, of files. Two runs with equal hashes have equal inputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hepacast.core.files import to_jsonable

_BLOCK = 1 << 20


def hash_value(value: Any) -> str:
    """SHA-256 (hex) of a JSON-like value, independent of the order of dictionary keys."""
    text = json.dumps(to_jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def hash_file(path: str | Path) -> str:
    """SHA-256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_path(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's files with their relative names (a DICOM series)."""
    path = Path(path)
    if path.is_file():
        return hash_file(path)
    files = sorted(item for item in path.rglob("*") if item.is_file())
    return hash_value([(item.relative_to(path).as_posix(), hash_file(item)) for item in files])
