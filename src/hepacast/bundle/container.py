"""The file ``model.hepacast``: a zip of JSON and safetensors with a manifest of hashes. Nothing in it can run code.

Reading checks, in this order: that it is a zip, that it has our manifest, that its schema version is known, that the
identity in the manifest is that of its records, that it holds just the files of the manifest, that they are not too
many or too large, all together, before any is unpacked, that its signatures are right, that each part has the size and
SHA-256 that the manifest says, and that every number is finite. Parts that the reader does not know are left alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hepacast._version import __version__
from hepacast.bundle.signing import UNSIGNED, SignedBy, check_signatures, signed_manifest
from hepacast.core.files import to_jsonable, write_bytes
from hepacast.core.hashing import hash_value
from hepacast.core.texts import visible_document
from hepacast.errors import BundleError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = "hepacast-bundle"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
#: A bundle is a model, not data: more than this is refused unread (a damaged or hostile zip may unpack to anything).
MAX_FILES = 512
MAX_DOCUMENT_BYTES = 64 * 2**20
MAX_TENSOR_BYTES = 4 * 2**30
#: Weights hardly get smaller in a zip, and documents by a factor of ten.
MAX_RATIO, MIN_RATIO_BYTES = 100, 32 * 2**20
MAX_MANIFEST_BYTES = 2**20
#: Deepest nesting of a document.
MAX_DEPTH = 64
#: What Python's zip and inflate answer to damaged bytes.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
REMEDY = "ask for the bundle again: what arrived is not what was written"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Container:
    """The content of a bundle: JSON documents and sets of arrays, by name without suffix."""

    documents: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, npt.NDArray[Any]]] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    signed: SignedBy = UNSIGNED

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
        "hepacast": __version__,
        "files": records,
        "identity": hash_value(records),
    }
    _write(path, manifest, files)
    return str(manifest["identity"])


def _write(path: str | Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {MANIFEST: _json_bytes(manifest), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    write_bytes(path, stream.getvalue())


def sign_bundle(path: str | Path, key: Ed25519PrivateKey, out: str | Path | None = None) -> SignedBy:
    """Sign a bundle of either kind; its parts and its identity stay as they are.

    Parameters
    ----------
    key
        Of `hepacast.bundle.signing.read_key`.
    out
        Where to; by default in its place.

    Returns
    -------
    SignedBy
        As this computer sees the signature.

    Raises
    ------
    BundleError
        The bundle is damaged, or a signature that it has is wrong.
    StorageError
        The file cannot be written.
    """
    path = Path(path)
    manifest, files = _checked(path, lambda name: True)
    signed = signed_manifest(manifest, key)
    _write(path if out is None else out, signed, files)
    return check_signatures(signed, str(path))


def _json_bytes(value: Any) -> bytes:
    return json.dumps(to_jsonable(value), indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")


def read_container(path: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> Container:
    """Read a bundle and check every byte of it.

    Parameters
    ----------
    path
        The file.
    wanted
        Which parts to unpack, by their names with suffix; others are left alone.

    Raises
    ------
    BundleError
        The file is missing, is no bundle, is damaged, unpacks to too much, or was written by a later version.
    """
    path = Path(path)
    manifest, files = _checked(path, wanted)
    signed = check_signatures(manifest, str(path))
    documents: dict[str, Any] = {}
    tensors: dict[str, Mapping[str, npt.NDArray[Any]]] = {}
    for name, data in files.items():
        stem, _, suffix = name.rpartition(".")
        if suffix == "json":
            documents[stem] = _document(data, f"{path}: {name}")
        else:
            tensors[stem] = _tensors(data, f"{path}: {name}")
    return Container(documents, tensors, manifest, signed)


def _checked(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest, and the bytes of the wanted parts with the hashes that it says.

    Raises
    ------
    BundleError
    """
    if not path.is_file():
        raise BundleError("The model bundle does not exist.", where=str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive, path)
            _require_modest(archive, path)
            files = {
                name: _read_file(archive, name, record, path)
                for name, record in manifest["files"].items()
                if wanted(name)
            }
    except DAMAGE as error:
        raise BundleError(
            "The model bundle is damaged or is no bundle.", found=str(error), where=str(path), remedy=REMEDY
        ) from error
    return manifest, files


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    names = archive.namelist()
    if MANIFEST not in names or archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
        raise BundleError("This zip is no model bundle.", expected=MANIFEST, where=str(path))
    try:
        manifest = json.loads(archive.read(MANIFEST))
    except (ValueError, RecursionError) as error:
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
    records = manifest["files"]
    extra = sorted(set(names) - {MANIFEST, *records})
    if extra or len(set(names)) != len(names):
        found = str(extra or "two parts of one name")
        raise BundleError("The bundle holds files that its manifest does not name.", found=found, where=str(path))
    other = [name for name in records if not name.endswith((".json", ".safetensors"))]
    if other:
        raise BundleError(
            "The bundle holds a kind of file that is not allowed.", found=", ".join(other), where=str(path)
        )
    identity = hash_value(records)
    if manifest.get("identity") != identity:
        raise BundleError(
            "The bundle's manifest was changed: its identity is not that of the files.",
            expected=identity[:16],
            found=str(manifest.get("identity"))[:16],
            where=str(path),
            remedy=REMEDY,
        )
    return manifest


def _require_modest(archive: zipfile.ZipFile, path: Path) -> None:
    """Numbers and sizes as the zip's directory tells them, all parts together, before anything is unpacked.

    Raises
    ------
    BundleError
    """
    parts = archive.infolist()
    documents = sum(item.file_size for item in parts if item.filename.endswith(".json"))
    whole = sum(item.file_size for item in parts)
    packed = path.stat().st_size
    for found, limit, what in (
        (len(parts), MAX_FILES, "{:,.0f} parts"),
        (documents / 2**20, MAX_DOCUMENT_BYTES / 2**20, "{:,.0f} MiB of documents"),
        (whole / 2**20, MAX_TENSOR_BYTES / 2**20, "{:,.0f} MiB"),
        (whole / 2**20, max(packed * MAX_RATIO, MIN_RATIO_BYTES) / 2**20, "{:,.0f} MiB out of a file of this size"),
    ):
        if found > limit:
            raise BundleError(
                "The bundle unpacks to more than a model can be.",
                expected=f"at most {what.format(limit)}",
                found=what.format(found),
                where=str(path),
                remedy="use a bundle from somebody you trust",
            )


def _read_file(archive: zipfile.ZipFile, name: str, record: Any, path: Path) -> bytes:
    if name not in archive.namelist():
        raise BundleError("A part of the bundle is missing.", found=name, where=str(path), remedy=REMEDY)
    size = archive.getinfo(name).file_size
    known = record if isinstance(record, dict) else {}
    if size != known.get("size"):
        raise BundleError(
            "A part of the bundle has the wrong size.",
            expected=f"{known.get('size')} bytes",
            found=f"{size} bytes",
            where=f"{path}: {name}",
            remedy=REMEDY,
        )
    data = archive.read(name)
    if hashlib.sha256(data).hexdigest() != known.get("sha256"):
        raise BundleError("A part of the bundle was changed.", where=f"{path}: {name}", remedy=REMEDY)
    return data


def _document(data: bytes, where: str) -> Any:
    """A JSON document whose every number is finite and whose names stand once.

    Raises
    ------
    BundleError
    """
    try:
        document = json.loads(data, object_pairs_hook=_named_once)
    except (ValueError, RecursionError) as error:
        raise BundleError("A document of the bundle cannot be read.", found=str(error), where=where) from error
    _require_finite(document, where, ())
    # Names of a stranger's study go to the terminal, into the page and its figures.
    return visible_document(document)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a name stands twice among {', '.join(name for name, _ in pairs)[:80]}")
    return found


def _require_finite(value: Any, where: str, place: tuple[str, ...]) -> None:
    if len(place) > MAX_DEPTH:
        raise BundleError("A document of the bundle is nested too deep.", expected=f"{MAX_DEPTH} levels", where=where)
    if isinstance(value, float) and not math.isfinite(value):
        raise BundleError(
            "A number of the model bundle is not finite.",
            expected="a finite number",
            found=str(value),
            where=f"{where}: {' > '.join(place)}",
        )
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        if isinstance(item, dict | list | float):
            _require_finite(item, where, (*place, str(name)))


def _tensors(data: bytes, where: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a part, every number finite.

    Raises
    ------
    BundleError
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError("The arrays of the bundle cannot be read.", found=str(error), where=where) from error
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise BundleError(
                "A number of the model bundle is not finite.", found="NaN or inf", where=f"{where}: {name}"
            )
    return arrays
