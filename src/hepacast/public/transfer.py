"""One file over HTTPS: tried again with back-off, resumed by range, checked, and under its name only when it is whole.

A proxy is taken from the environment (``https_proxy``, ``no_proxy``), as by every program.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from glob import escape
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from hepacast._version import __version__
from hepacast.core.files import STORAGE_ERRNOS, move, storage_error
from hepacast.errors import HepacastError

#: Base address that stands in for ``https://``: ``https://HOST/PATH`` is asked for at ``BASE/HOST/PATH``.
MIRROR = "HEPACAST_FETCH_MIRROR"
_CHUNK = 1 << 18
_MEBI = 1 << 20
#: Part sizes of common uploaders, of which the ETag of an object in parts is made.
_PART_SIZES = tuple(size * _MEBI for size in (5, 8, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512))
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(HepacastError):
    """A file or a list of files cannot be had from where it lies."""


class UnreachableError(DownloadError):
    """Nobody answers, whatever the tries."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Parameters
    ----------
    url, size
        Address and bytes.
    checksum
        ``md5:``, ``sha256:``, ``git:`` (of a blob) or ``etag:`` (of an object uploaded in parts) and the digits; empty
        where nobody tells.
    """

    url: str
    size: int
    checksum: str = ""


@dataclass(frozen=True)
class Patience:
    """How long a server may fail: tries in a row without a byte, and seconds before the second of them."""

    tries: int = 6
    first_s: float = 1.0
    longest_s: float = 60.0
    timeout_s: float = 60.0

    def wait(self, failed: int, asked: str | None, stop: threading.Event) -> None:
        """Wait before the next try: twice as long each time, or as long as the server asks for."""
        seconds = self.first_s * 2.0 ** (failed - 1)
        if asked is not None and asked.isdecimal():
            seconds = max(seconds, float(asked))
        stop.wait(min(seconds, self.longest_s))


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows no way from an encrypted address to one that is not, or to a file."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https",) if req.type == "https" else ("https", "http")
        if urlsplit(newurl).scheme not in allowed:
            raise DownloadError(
                "The server leads to an address that is not encrypted.", found=newurl, where=req.full_url
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str], patience: Patience) -> Any:
    base = os.environ.get(MIRROR, "").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise DownloadError("Public collections are fetched over HTTPS only.", found=url)
    asked = f"{base}/{url.removeprefix('https://')}" if base else url
    request = urllib.request.Request(asked, headers={"User-Agent": f"hepacast/{__version__}", **headers})
    with _from_network():
        return urllib.request.build_opener(_NoDowngrade).open(request, timeout=patience.timeout_s)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}".strip()
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _passes(error: Exception) -> bool:
    """Whether another try may help."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _MAY_PASS
    return not isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)


def _failed(error: Exception, url: str, tries: int) -> DownloadError:
    if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
        return UnreachableError("The server's certificate is not valid.", found=_reason(error), where=url)
    if not _passes(error):
        remedy = "the address may have moved: see the collection's page"
        return DownloadError("The server refuses.", found=_reason(error), where=url, remedy=remedy)
    return UnreachableError(
        f"The server does not answer as it should ({tries} tries).",
        found=_reason(error),
        where=url,
        remedy="check the network and the proxy (https_proxy), then run the same command again: it goes on",
    )


_NETWORK = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


@contextmanager
def _from_network() -> Iterator[None]:
    """What the system answers below HTTP is the network's fault: TLS has numbers of its own, which of a disk mean
    'not permitted' and 'input/output error'."""
    try:
        yield
    except _NETWORK:
        raise
    except OSError as error:
        raise urllib.error.URLError(error) from error


def read_text(url: str, *, patience: Patience, stop: threading.Event, most: int = 64 * _MEBI) -> str:
    """A small answer (a list of files) as text.

    Raises
    ------
    DownloadError
        The server refuses, or does not answer whatever the tries, or says more than `most` bytes.
    """
    for failed in range(1, patience.tries + 1):
        try:
            with _from_network(), _open(url, {}, patience) as answer:
                content: bytes = answer.read(most + 1)
        except _NETWORK as error:
            if not _passes(error) or failed == patience.tries or stop.is_set():
                raise _failed(error, url, failed) from error
            patience.wait(failed, _retry_after(error), stop)
            continue
        if len(content) > most:
            raise DownloadError("The server's list is too long to be one.", found=f"over {most} bytes", where=url)
        return content.decode("utf-8", "replace")
    raise AssertionError("the last try returns or raises")


def _retry_after(error: Exception) -> str | None:
    headers = getattr(error, "headers", None)
    return headers.get("Retry-After") if isinstance(headers, Message) else None


def fetch_file(
    remote: RemoteFile,
    target: Path,
    *,
    patience: Patience,
    stop: threading.Event,
    tell: Callable[[int], None] = lambda size: None,
) -> str:
    """Bring one file, or go on with it; what is there and whole is left as it is.

    Parameters
    ----------
    target
        Where to; until it is whole its bytes lie beside it under a name that begins with a dot.
    stop
        When set, the transfer ends soon, and what it has got stays for the next time.
    tell
        Called with every number of bytes that is there.

    Returns
    -------
    str
        How it was checked: ``md5``, ``sha256``, ``git``, ``etag``, or ``size`` where no checksum is known.

    Raises
    ------
    DownloadError
        It cannot be had, or is another file than was announced.
    StorageError
        It cannot be written.
    """
    try:
        checked = check_file(target, remote) if target.is_file() else None
        if checked:
            tell(remote.size)
            return checked
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{hashlib.sha256(repr(remote).encode()).hexdigest()[:8]}.part")
        for fresh in (False, True):
            _complete(remote, part, patience, stop, tell)
            checked = check_file(part, remote)
            if checked:
                _finish(part, target)
                return checked
            # What lay there from an earlier try may be the fault: once more from the first byte.
            tell(-part.stat().st_size)
            part.unlink()
            if fresh:
                break
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            raise storage_error(error, target) from error
        raise
    raise DownloadError(
        "The file that arrives is not the one that was announced.",
        expected=remote.checksum or f"{remote.size} bytes",
        found="another checksum, twice",
        where=remote.url,
        remedy="something between here and there changes files (a proxy?), or the file is damaged where it lies",
    )


def _finish(part: Path, target: Path) -> None:
    """Give a whole file its name, and take away what earlier versions of it left."""
    move(part, target)
    for other in target.parent.glob(f".{escape(target.name)}.????????.part"):
        other.unlink(missing_ok=True)


def _complete(
    remote: RemoteFile, part: Path, patience: Patience, stop: threading.Event, tell: Callable[[int], None]
) -> None:
    """Append to the part until it has all its bytes."""
    have = part.stat().st_size if part.exists() else 0
    if have > remote.size:
        part.unlink()
        have = 0
    tell(have)
    failed = 0
    while have < remote.size or not part.exists():
        if stop.is_set():
            raise DownloadError("The transfer was stopped.", where=remote.url)
        before, error = have, None
        try:
            have = _append(remote, part, have, patience, stop, tell)
        except _NETWORK as problem:
            error = problem
            if (
                isinstance(problem, urllib.error.HTTPError)
                and problem.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            ):
                # The file has become shorter than what lies here of it.
                part.unlink(missing_ok=True)
            have = part.stat().st_size if part.exists() else 0
        failed = 1 if have > before else failed + 1
        if error is None and have >= remote.size:
            return
        if (error is not None and not _passes(error)) or failed >= patience.tries:
            raise _failed(error or ConnectionError("the transfer ends early"), remote.url, failed)
        patience.wait(failed, _retry_after(error) if error else None, stop)


def _append(
    remote: RemoteFile, part: Path, have: int, patience: Patience, stop: threading.Event, tell: Callable[[int], None]
) -> int:
    """One request for what is missing; the bytes that are there then."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    with _open(remote.url, headers, patience) as answer:
        if have and answer.status != HTTPStatus.PARTIAL_CONTENT:
            # The server knows no ranges and begins anew.
            tell(-have)
            have = 0
        elif answer.status == HTTPStatus.PARTIAL_CONTENT and f"bytes {have}-" not in (
            answer.headers.get("Content-Range") or ""
        ):
            # Another range than was asked for: nothing that could be put together.
            tell(-have)
            part.unlink(missing_ok=True)
            return 0
        with part.open("ab" if have else "wb") as stream:
            for block in _blocks(answer, stop):
                stream.write(block)
                stream.flush()
                have += len(block)
                tell(len(block))
                if have > remote.size:
                    raise DownloadError(
                        "The file is longer than was announced.",
                        expected=f"{remote.size} bytes",
                        found="more",
                        where=remote.url,
                    )
    return have


def _blocks(answer: Any, stop: threading.Event) -> Iterator[bytes]:
    while not stop.is_set():
        # What has come, and not so many bytes: a slow transfer that is killed keeps all it got.
        with _from_network():
            block: bytes = answer.read1(_CHUNK)
        if not block:
            return
        yield block


def check_file(path: Path, remote: RemoteFile) -> str | None:
    """How a file is known to be the announced one; None where it is another.

    The ETag of an object that was uploaded in parts is the MD5 of its parts' MD5: it counts where a common size of
    parts gives it, and is passed over (``size``) where none does.
    """
    if path.stat().st_size != remote.size:
        return None
    kind, _, digits = remote.checksum.partition(":")
    if kind not in ("md5", "sha256", "git"):
        return "etag" if kind == "etag" and _is_etag(path, remote.size, digits) else "size"
    digest = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        digest.update(f"blob {remote.size}\0".encode())
    with path.open("rb") as stream:
        while block := stream.read(_MEBI):
            digest.update(block)
    return kind if digest.hexdigest() == digits.lower() else None


def _is_etag(path: Path, size: int, etag: str) -> bool:
    digits, _, count = etag.partition("-")
    for length in (length for length in _PART_SIZES if str(-(-size // length)) == count):
        whole = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as stream:
            while block := stream.read(length):
                whole.update(hashlib.md5(block, usedforsecurity=False).digest())
        if whole.hexdigest() == digits.lower():
            return True
    return False
