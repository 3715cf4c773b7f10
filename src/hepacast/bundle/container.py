"""The file ``model.hepacast``: a zip of JSON and safetensors with a manifest of hashes. Nothing in it can run code.

Reading checks, in this order: that it is a zip, that it has our manifest, that its schema version is known, that it
holds just the files of the manifest, and that each has the size and SHA-256 that the manifest says.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import hepacast
from hepacast.compute.files import to_jsonable, write_bytes
from hepacast.compute.hashing import hash_value
from hepacast.errors import BundleError

FORMAT = "hepacast-bundle"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
#: A bundle is a model, not data: larger files are refused unread (a damaged or hostile zip may unpack to anything).
MAX_FILE_BYTES = 512 * 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Container:
    """The content of a bundle: JSON documents and sets of arrays, by name without suffix."""

    documents: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, npt.NDArray[Any]]] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Hash over all files: two bundles with one identity hold the same model."""
        return str(self.manifest.get("identity", ""))


def write_container(path: str | Path, content: Container) -> str:
    """Write a bundle and return its identity. The same content gives the same bytes.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    files = {f"{name}.json": _json_bytes(document) for name, document in sorted(content.documents.items())}
    if content.tensors:
        from safetensors.numpy import save

        for name, arrays in sorted(content.tensors.items()):
            files[f"{name}.safetensors"] = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
    records = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}
    manifest = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "hepacast": hepacast.__version__,
        "files": records,
        "identity": hash_value(records),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {MANIFEST: _json_bytes(manifest), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    write_bytes(path, stream.getvalue())
    return str(manifest["identity"])


def _json_bytes(value: Any) -> bytes:
    return json.dumps(to_jsonable(value), indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")


def read_container(path: str | Path) -> Container:
    """Read a bundle and check every byte of it.

    Raises
    ------
    BundleError
        The file is missing, is no bundle, is damaged, or was written by a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError("The model bundle does not exist.", where=str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive, path)
            files = {name: _read_file(archive, name, record, path) for name, record in manifest["files"].items()}
            extra = sorted(set(archive.namelist()) - {MANIFEST, *files})
    except zipfile.BadZipFile as error:
        raise BundleError("The model bundle is damaged or is no bundle.", found=str(error), where=str(path)) from error
    if extra:
        raise BundleError("The bundle holds files that its manifest does not name.", found=str(extra), where=str(path))
    documents: dict[str, Any] = {}
    tensors: dict[str, Mapping[str, npt.NDArray[Any]]] = {}
    for name, data in files.items():
        stem, _, suffix = name.rpartition(".")
        if suffix == "json":
            documents[stem] = json.loads(data)
        elif suffix == "safetensors":
            from safetensors.numpy import load

            tensors[stem] = load(data)
        else:
            raise BundleError("The bundle holds a kind of file that is not allowed.", found=name, where=str(path))
    return Container(documents, tensors, manifest)


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    if MANIFEST not in archive.namelist() or archive.getinfo(MANIFEST).file_size > 1_000_000:
        raise BundleError("This zip is no model bundle.", expected=MANIFEST, where=str(path))
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except ValueError as error:
        raise BundleError("The bundle's manifest is damaged.", found=str(error), where=str(path)) from error
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        raise BundleError("This zip is no model bundle.", expected=f"format {FORMAT}", where=str(path))
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            "The bundle was written in another format version.",
            expected=f"version {SCHEMA_VERSION}",
            found=str(version),
            where=str(path),
            remedy=f"use hepacast {manifest.get('hepacast', 'of a later date')}",
        )
    return manifest


def _read_file(archive: zipfile.ZipFile, name: str, record: Mapping[str, Any], path: Path) -> bytes:
    remedy = "ask for the bundle again: what arrived is not what was written"
    if name not in archive.namelist():
        raise BundleError("A part of the bundle is missing.", found=name, where=str(path), remedy=remedy)
    size = archive.getinfo(name).file_size
    if size != record["size"] or size > MAX_FILE_BYTES:
        raise BundleError(
            "A part of the bundle has the wrong size.",
            expected=f"{record['size']} bytes",
            found=f"{size} bytes",
            where=f"{path}: {name}",
            remedy=remedy,
        )
    data = archive.read(name)
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise BundleError("A part of the bundle was changed.", where=f"{path}: {name}", remedy=remedy)
    return data
