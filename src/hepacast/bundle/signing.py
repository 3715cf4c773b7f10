"""Who vouches for a bundle: Ed25519 signatures in its manifest, and the keys that this computer trusts.

A signature is made over the manifest without its signatures, as JSON with sorted names and no spaces. The manifest
holds the size and SHA-256 of every part, so that nothing of a signed bundle can change. Signing changes no part: the
identity stays, and versions that know no signatures read the bundle all the same.

A hash says that a bundle arrived as it was written, a signature also by whom; whether the name is right is for the
reader to know, who puts the key into the file of trusted keys after asking its owner.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hepacast.core.files import storage_error, write_text
from hepacast.core.names import user_folder
from hepacast.core.optional import require
from hepacast.core.texts import visible
from hepacast.errors import BundleError, HepacastError, MissingPackageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURES, ALGORITHM = "signatures", "ed25519"
#: A line of the file of trusted keys that stands alone: bundles that none of these keys has signed are refused.
ONLY = "only-trusted"
#: What is signed begins with this, so that a signature of ours is one of nothing else.
_PURPOSE = b"hepacast bundle signature 1\n"
_KEY_BYTES, _SIGNATURE_BYTES, _MOST = 32, 64, 16
_COMMENT = re.compile(r"\s*(#.*)?")


class SigningError(HepacastError):
    """A key, or a file of keys, that cannot be used."""


@dataclass(frozen=True)
class SignedBy:
    """What the signatures of a bundle say.

    Attributes
    ----------
    state
        ``trusted``: by a key of the file of trusted keys; ``unknown``: by another; ``unchecked``: the package
        `cryptography` is missing; ``unsigned``.
    name
        Of a trusted key, as this computer's file calls it.
    key
        Short form of the key (`fingerprint`).
    """

    state: Literal["trusted", "unknown", "unchecked", "unsigned"] = "unsigned"
    name: str = ""
    key: str = ""

    def text(self) -> str:
        """In words, without a full stop."""
        if self.state == "trusted":
            return f"signed by {self.name} (key {self.key})"
        if self.state == "unknown":
            return f"signed by a key that is not trusted here ({self.key})"
        if self.state == "unchecked":
            return f"signed (key {self.key}), not checked: the package cryptography is not installed"
        return "not signed"


UNSIGNED = SignedBy()


@dataclass(frozen=True)
class TrustedKeys:
    """Names by public key (base64), and whether bundles that none of them has signed are refused."""

    names: Mapping[str, str]
    only: bool = False


def fingerprint(key: str) -> str:
    """The first 16 hexadecimal digits of a public key's SHA-256: what two people compare by telephone."""
    return hashlib.sha256(_decoded(key, _KEY_BYTES)).hexdigest()[:16]


# -- checking ----------------------------------------------------------------------------------------------------------


def check_signatures(manifest: Mapping[str, Any], where: str) -> SignedBy:
    """Check every signature of a manifest.

    Raises
    ------
    BundleError
        A signature is wrong; or only trusted keys are accepted here, and none of them has signed.
    SigningError
        The file of trusted keys cannot be read.
    """
    trusted = read_trusted()
    found = _signed_by(manifest, trusted, where)
    if trusted.only and found.state != "trusted":
        raise BundleError(
            "This computer accepts bundles only of signers that it trusts.",
            expected=f"a signature of {', '.join(trusted.names.values()) or 'a trusted key'}",
            found=found.text(),
            where=where,
            remedy=f"ask its author to sign it, or have their key put into {trusted_file()}",
        )
    return found


def _signed_by(manifest: Mapping[str, Any], trusted: TrustedKeys, where: str) -> SignedBy:
    signatures = _signatures(manifest, where)
    if not signatures:
        return UNSIGNED
    first = fingerprint(signatures[0]["key"])
    try:
        for item in signatures:
            _verify(item, _message(manifest), where)
    except MissingPackageError:
        return SignedBy("unchecked", key=first)
    own = next((item["key"] for item in signatures if item["key"] in trusted.names), None)
    return SignedBy("unknown", key=first) if own is None else SignedBy("trusted", trusted.names[own], fingerprint(own))


def _signatures(manifest: Mapping[str, Any], where: str) -> list[dict[str, str]]:
    found = manifest.get(SIGNATURES, [])
    try:
        if not isinstance(found, list) or len(found) > _MOST:
            raise ValueError("no list of signatures")
        for item in found:
            if not isinstance(item, dict) or item.get("algorithm") != ALGORITHM:
                raise ValueError(f"no signature by {ALGORITHM}")
            _decoded(item.get("key"), _KEY_BYTES)
            _decoded(item.get("signature"), _SIGNATURE_BYTES)
    except ValueError as error:
        raise BundleError(
            "The signatures of the bundle cannot be read.", found=str(error), where=where, remedy=_ASK
        ) from error
    return found


_ASK = "do not use it; ask its author for the bundle again"


def _verify(item: Mapping[str, str], message: bytes, where: str) -> None:
    require("cryptography", purpose="Checking a signature", extra="sign")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(_decoded(item["key"], _KEY_BYTES))
        key.verify(_decoded(item["signature"], _SIGNATURE_BYTES), message)
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            "The bundle is not the one that was signed: its signature is wrong.",
            found=f"a signature of the key {fingerprint(item['key'])}",
            where=where,
            remedy=_ASK,
        ) from error


def _message(manifest: Mapping[str, Any]) -> bytes:
    signed = {name: value for name, value in manifest.items() if name != SIGNATURES}
    return _PURPOSE + json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _decoded(text: Any, size: int) -> bytes:
    """Bytes of base64.

    Raises
    ------
    ValueError
        It is none, or not of this size.
    """
    found = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    if len(found) != size:
        raise ValueError(f"{len(found)} bytes instead of {size}")
    return found


# -- signing -----------------------------------------------------------------------------------------------------------


def signed_manifest(manifest: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """The manifest with one signature more; a second one by the same key takes the place of the first."""
    public = _public_text(key)
    signature = base64.b64encode(key.sign(_message(manifest))).decode("ascii")
    others = [item for item in manifest.get(SIGNATURES, []) if item["key"] != public]
    return {**manifest, SIGNATURES: [*others, {"algorithm": ALGORITHM, "key": public, "signature": signature}]}


def make_key(path: str | Path, password: str = "") -> str:
    """Make a private key (PEM, PKCS 8) that only its owner may read, and beside it ``PATH.pub`` to give to others.

    Returns
    -------
    str
        The public key, base64.

    Raises
    ------
    SigningError
        A file is there already: who overwrites a key can never sign with it again.
    StorageError
        The folder cannot be written.
    """
    require("cryptography", purpose="A key", extra="sign")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = Path(path)
    key = Ed25519PrivateKey.generate()
    locked: form.KeySerializationEncryption = form.NoEncryption()
    if password:
        locked = form.BestAvailableEncryption(password.encode("utf-8"))
    content = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked)
    public = _public_text(key)
    beside = path.with_name(f"{path.name}.pub")
    if beside.exists():
        raise SigningError("A public key is there already.", where=str(beside), remedy="name another file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileExistsError as error:
        raise SigningError("A file is there already.", where=str(path), remedy="name another file") from error
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        write_text(beside, f"{ALGORITHM} {public}\n")
    except BaseException as error:
        # Half a key is none, and stands in the way of the next.
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(error, path) from error
        raise
    return public


def read_key(path: str | Path, ask: Callable[[], str] = lambda: "") -> Ed25519PrivateKey:
    """Read a private key that `make_key` (or `openssl genpkey -algorithm ed25519`) made.

    Parameters
    ----------
    ask
        Gives the password of a key that has one.

    Raises
    ------
    SigningError
        It is not there, is no Ed25519 key, or the password is wrong.
    """
    require("cryptography", purpose="Signing a bundle", extra="sign")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SigningError("The key cannot be read.", found=error.strerror, where=str(path)) from error
    try:
        password = ask().encode("utf-8") if b"ENCRYPTED" in content else None
        key = load_pem_private_key(content, password)
    except Exception as error:
        raise SigningError(
            "The key cannot be read: it is no private key, or its password is another.",
            expected="a key that `hepacast keys new` made",
            where=str(path),
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError("The key is of another kind.", expected="Ed25519", where=str(path))
    return key


def _public_text(key: Ed25519PrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode("ascii")


# -- keys that are trusted ---------------------------------------------------------------------------------------------


def trusted_file() -> Path:
    """The file of trusted keys: ``HEPACAST_TRUSTED_KEYS``, else ``trusted-keys.txt`` in the user's settings."""
    given = os.environ.get("HEPACAST_TRUSTED_KEYS")
    return Path(given) if given else user_folder("settings") / "trusted-keys.txt"


def read_trusted() -> TrustedKeys:
    """The keys that this computer trusts; none where there is no file.

    Raises
    ------
    SigningError
        A line is not as expected; or the file that the environment names is not there.
    """
    path = trusted_file()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if "HEPACAST_TRUSTED_KEYS" in os.environ:
            raise SigningError("The file of trusted keys is not there.", where=str(path)) from None
        return TrustedKeys({})
    except (OSError, UnicodeDecodeError) as error:
        raise SigningError("The file of trusted keys cannot be read.", found=str(error), where=str(path)) from error
    names: dict[str, str] = {}
    only = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() == ONLY:
            only = True
        elif not _COMMENT.fullmatch(line):
            key, name = _trusted_line(line, f"{path}: line {number}")
            names[key] = name
    return TrustedKeys(names, only)


def _trusted_line(line: str, where: str) -> tuple[str, str]:
    """Key and name of a line ``ed25519 KEY NAME``."""
    algorithm, _, rest = line.strip().partition(" ")
    key, _, name = rest.strip().partition(" ")
    try:
        if algorithm != ALGORITHM or not name.strip():
            raise ValueError(line.strip()[:80])
        _decoded(key, _KEY_BYTES)
    except ValueError as error:
        raise SigningError(
            "A line of the file of trusted keys is not one.", expected=f"{ALGORITHM} KEY NAME", found=str(error),
            where=where,
        ) from error  # fmt: skip
    return key, visible(name.strip())


def trust(public: str, name: str) -> str:
    """Add a key to the file of trusted keys.

    Parameters
    ----------
    public
        A file that `make_key` wrote (``KEY.pub``), or the key itself.
    name
        Whose it is; ask them for its fingerprint.

    Returns
    -------
    str
        The fingerprint.

    Raises
    ------
    SigningError
        It is no public key, or known under another name.
    StorageError
        The file cannot be written.
    """
    path = Path(public)
    try:
        text = path.read_text(encoding="utf-8-sig").split() if path.is_file() else public.split()
    except (OSError, UnicodeDecodeError) as error:
        raise SigningError(
            "The public key cannot be read.",
            expected="a file KEY.pub as `hepacast keys new` wrote it, or the key itself",
            found=str(error),
            where=public[:200],
        ) from error
    key = text[1] if len(text) > 1 and text[0] == ALGORITHM else (text or [""])[0]
    line = f"{ALGORITHM} {key} {' '.join(name.split())}"
    _trusted_line(line, "--name" if not name.split() else public)
    known, file = read_trusted().names, trusted_file()
    called = visible(" ".join(name.split()))
    if known.get(key, called) != called:
        raise SigningError(
            "The key is trusted already, under another name.",
            expected=known[key],
            found=called,
            where=str(file),
            remedy="change the name there, if it is another's now",
        )
    if key not in known:
        before = file.read_text(encoding="utf-8-sig") if file.is_file() else ""
        write_text(file, f"{before.rstrip()}\n{line}\n".lstrip())
    return fingerprint(key)
