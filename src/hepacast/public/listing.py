"""What lies at a public address: names, sizes and checksums, as the place itself lists them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from hepacast.public.catalog import PublicCollection
from hepacast.public.transfer import DownloadError, Patience, RemoteFile, read_text

#: Names of files that come from elsewhere: no folder, no hidden file, nothing that a system reads otherwise.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+-]{0,150}(?<![. ])")
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?", re.IGNORECASE)
_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")
_PAGES = 100


def safe_name(name: str, where: str) -> str:
    """The name of a file as it is, where it can be one in a folder on every system.

    Raises
    ------
    DownloadError
        It leads elsewhere, or could not be written.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise DownloadError(
            "A listed file has a name that is not taken over.",
            expected="letters, digits, . _ - without a folder",
            found=repr(name)[:120],
            where=where,
        )
    return name


def bucket_files(bucket: str, folder: str, *, patience: Patience, stop: threading.Event) -> dict[str, RemoteFile]:
    """Objects of one folder of a public S3 bucket, by name (ListObjectsV2 without credentials).

    Raises
    ------
    DownloadError
        The bucket refuses, does not answer, or its answer is no list.
    """
    address = f"https://{bucket}.s3.amazonaws.com/"
    found: dict[str, RemoteFile] = {}
    token = ""
    for _ in range(_PAGES):
        asked = {"list-type": "2", "prefix": f"{folder}/", **({"continuation-token": token} if token else {})}
        url = f"{address}?{urlencode(asked)}"
        page = _xml(read_text(url, patience=patience, stop=stop), url)
        for item in page.iterfind("{*}Contents"):
            key, size, etag = (item.findtext(f"{{*}}{tag}") or "" for tag in ("Key", "Size", "ETag"))
            if not key.startswith(f"{folder}/") or not size.isdecimal():
                raise DownloadError("The bucket's list holds what was not asked for.", found=key[:120], where=url)
            digits = etag.strip('"')
            checksum = f"md5:{digits}" if _PLAIN_MD5.fullmatch(digits) else f"etag:{digits}" if "-" in digits else ""
            name = safe_name(key.removeprefix(f"{folder}/"), url)
            found[name] = RemoteFile(address + quote(key), int(size), checksum)
        token = page.findtext("{*}NextContinuationToken") or ""
        if not token:
            return found
    raise DownloadError("The bucket's list does not end.", where=address)


def _xml(text: str, url: str) -> ElementTree.Element:
    try:
        # Entities are how a small document becomes a large one; a list of a bucket has none.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ElementTree.ParseError("a document type")
        root = ElementTree.fromstring(text)
        if not root.tag.endswith("ListBucketResult"):
            raise ElementTree.ParseError(root.tag)
    except ElementTree.ParseError as error:
        raise DownloadError("The answer is no list of a bucket.", found=str(error), where=url) from error
    return root


def collection_files(
    collection: PublicCollection, *, patience: Patience, stop: threading.Event
) -> dict[str, RemoteFile]:
    """Files of a collection that lies elsewhere than in IDC, by name.

    Raises
    ------
    DownloadError
        The place refuses or does not answer, its answer is not understood, or it names another license than ours.
    """
    if collection.files:
        return {
            safe_name(item["url"].rpartition("/")[2], item["url"]): RemoteFile(
                item["url"], int(item["bytes"]), item["checksum"]
            )
            for item in collection.files
        }
    if collection.zenodo:
        return _zenodo(collection, patience, stop)
    assert collection.github is not None
    return _github(collection.github, patience, stop)


def _zenodo(collection: PublicCollection, patience: Patience, stop: threading.Event) -> dict[str, RemoteFile]:
    url = f"https://zenodo.org/api/records/{collection.zenodo}"
    record = _json(url, patience, stop)
    with _understood(url):
        license_now = str(record["metadata"]["license"]["id"])
        if license_now.casefold() != collection.license.casefold().replace(" ", "-"):
            raise DownloadError(
                "The record has another license now than the one that was read for it.",
                expected=collection.license,
                found=license_now,
                where=collection.page,
                remedy="read the license on the record's page, and download the files there if it allows",
            )
        return {
            safe_name(item["key"], url): RemoteFile(
                f"{url}/files/{quote(item['key'])}/content", int(item["size"]), str(item["checksum"])
            )
            for item in record["files"]
        }


def _github(place: Mapping[str, str], patience: Patience, stop: threading.Event) -> dict[str, RemoteFile]:
    url = f"https://api.github.com/repos/{place['repository']}/contents/{place['folder']}"
    items = _json(url, patience, stop)
    raw = f"https://raw.githubusercontent.com/{place['repository']}/HEAD/{place['folder']}"
    with _understood(url):
        return {
            safe_name(item["name"], url): RemoteFile(
                f"{raw}/{quote(item['name'])}", int(item["size"]), f"git:{item['sha']}"
            )
            for item in items
            if item["type"] == "file" and item["name"].endswith(place["ending"])
        }


def _json(url: str, patience: Patience, stop: threading.Event) -> Any:
    text = read_text(url, patience=patience, stop=stop)
    with _understood(url):
        return json.loads(text)


@contextmanager
def _understood(url: str) -> Iterator[None]:
    """Turns what an answer of another shape raises into a word about it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError("The answer is no list of files.", found=type(error).__name__, where=url) from error
