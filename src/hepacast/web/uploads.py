"""Files that a browser sends: counted, measured, and put inside of one folder, whatever their names say."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from hepacast.core.files import atomic_path
from hepacast.errors import HepacastError


class UploadError(HepacastError):
    """What was sent is too much, or is not what its name says."""


@dataclass(frozen=True)
class Limits:
    """How much one upload may be.

    Parameters
    ----------
    files
        How many files, those inside of archives too.
    bytes
        All together, unpacked.
    ratio
        How many times larger a file may become when it is unpacked.
    """

    files: int = 5000
    bytes: int = 4 * 2**30
    ratio: int = 200


@dataclass(frozen=True)
class Received:
    """What one request has sent: its fields, and its files where they lie now."""

    fields: dict[str, str]
    files: tuple[Path, ...]


_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|(COM|LPT)\d)(\..*)?", re.IGNORECASE)


def safe_place(name: str) -> PurePosixPath:
    """The place of a file inside of a folder, of the name that a browser or an archive gives.

    Raises
    ------
    UploadError
        The name leads out of the folder, or is none.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or len(parts) > 20:
        raise UploadError("A file's name leads out of its folder.", remedy="send the file under a plain name")
    safe = [_UNSAFE.sub("_", part).rstrip(". ")[:120] or "_" for part in parts]
    return PurePosixPath(*(f"_{part}" if _RESERVED.fullmatch(part) or part[0] == "." else part for part in safe))


async def received(request: Request, folder: Path, limits: Limits = Limits()) -> Received:
    """Take the files of a ``multipart/form-data`` request into a folder.

    A file ``path/of/it.dcm`` keeps its place inside of the folder; of a browser that sends bare names, fields ``path``
    in the files' order say it.

    Raises
    ------
    UploadError
        Too many files, too many bytes, or a name that leads out of the folder.
    """
    async with request.form(max_files=limits.files, max_fields=limits.files + 100) as form:
        fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
        paths = [value for key, value in form.multi_items() if key == "path" and isinstance(value, str)]
        sent = [value for _, value in form.multi_items() if not isinstance(value, str)]
        names = paths if len(paths) == len(sent) else [item.filename or "" for item in sent]
        places = [folder / safe_place(name) for name in names]
        if sum(item.size or 0 for item in sent) > limits.bytes:
            raise UploadError("The files are too large.", expected=f"at most {limits.bytes} bytes")
        for place, item in zip(places, sent):
            await run_in_threadpool(_write, place, item.file)
    return Received(fields, tuple(places))


def _write(place: Path, content: IO[bytes]) -> None:
    with atomic_path(place) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(content, file, 2**20)


def unpack(archive: Path, folder: Path, limits: Limits = Limits()) -> list[Path]:
    """Unpack a zip archive into a folder; nothing of it is there if it is refused.

    Raises
    ------
    UploadError
        No zip archive, encrypted, too many or too large files, a member that leads out of the folder, or a link.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [item for item in opened.infolist() if not item.is_dir()]
            places = [folder / _member_place(item) for item in members]
            size = sum(item.file_size for item in members)
            packed = sum(item.compress_size for item in members)
            if len(members) > limits.files or size > limits.bytes or size > limits.ratio * max(packed, 2**16):
                raise UploadError(
                    "The archive holds too much.",
                    expected=f"at most {limits.files} files, {limits.bytes} bytes, {limits.ratio} times what is packed",
                    found=f"{len(members)} files, {size} bytes",
                )
            with _all_or_nothing(places):
                for item, place in zip(members, places):
                    with opened.open(item) as content, atomic_path(place) as temporary, temporary.open("wb") as file:
                        _copy(content, file, item.file_size)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UploadError("The archive cannot be unpacked.", found=type(error).__name__) from error
    return places


def _member_place(item: zipfile.ZipInfo) -> PurePosixPath:
    if stat.S_ISLNK(item.external_attr >> 16):
        raise UploadError("The archive holds a link.", remedy="pack the files themselves")
    if item.flag_bits & 1:
        raise UploadError("The archive is encrypted.", remedy="send it without a password")
    return safe_place(item.filename)


def _copy(content: IO[bytes], file: IO[bytes], size: int) -> None:
    """Copy; what is longer than the archive has said is refused."""
    left = size
    while chunk := content.read(2**20):
        left -= len(chunk)
        if left < 0:
            raise UploadError("A file of the archive is larger than the archive says.")
        file.write(chunk)


@contextmanager
def _all_or_nothing(places: list[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for place in places:
            place.unlink(missing_ok=True)
        raise
