"""Fetch a public collection into a folder: what is selected and how large it is first, then the files, and beside them
license, citation and a manifest of every file."""

from __future__ import annotations

import csv
import io
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from hepacast.core.files import atomic_path, read_json, require_writable, write_json, write_text
from hepacast.core.lock import hold_folder
from hepacast.core.names import file_name
from hepacast.core.progress import Reporter, SilentReporter, format_bytes
from hepacast.core.texts import cell, plain_cell, visible
from hepacast.errors import HepacastError, StorageError
from hepacast.public.catalog import COLLECTIONS, DERIVED_CITATIONS, PublicCollection, collection_named
from hepacast.public.index import ALL, SEGMENTED, index_version, select_series, series_of
from hepacast.public.listing import bucket_files, collection_files
from hepacast.public.transfer import DownloadError, Patience, RemoteFile, UnreachableError, fetch_file

MANIFEST, LICENSE, CITATION, STATE = "manifest.csv", "LICENSE.txt", "CITATION.txt", "fetch.json"
COLUMNS = (
    "patient", "modality", "study_date", "description", "series", "derived_by", "file", "bytes", "checksum", "checked",
    "license", "doi", "url", "status",
)  # fmt: skip
#: Fetched at once; more is no faster and unkind.
CONNECTIONS = 8
#: So many in a row that nobody answers for, and nothing that arrives between them, is no network.
_NO_NETWORK = 2 * CONNECTIONS


@dataclass(frozen=True, eq=False)
class _Item:
    """What is fetched or fails together: a series of IDC, or one file."""

    folder: str
    size: int
    about: Mapping[str, str]
    count: int = 1
    bucket: tuple[str, str] | None = None
    remote: tuple[str, RemoteFile] | None = None

    @property
    def label(self) -> str:
        """For messages."""
        named = [self.about.get(key, "") for key in ("patient", "modality", "description")]
        return " ".join(part for part in named if part) or (self.remote[0] if self.remote else self.folder)


@dataclass(frozen=True)
class FetchPlan:
    """What would be fetched.

    Parameters
    ----------
    collection, out
        What and where to.
    items
        Series or files, with their sizes.
    present
        Bytes that are in the folder already.
    free
        Bytes that its disk has.
    source
        Where the files lie, in words.
    """

    collection: PublicCollection
    out: Path
    items: tuple[_Item, ...]
    present: int
    free: int
    source: str
    licenses: tuple[str, ...]
    cite: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all items."""
        return sum(item.size for item in self.items)

    @property
    def missing(self) -> int:
        """Bytes that are not there yet."""
        return max(self.size - self.present, 0)

    def text(self) -> str:
        """License, citation, what is selected, how large it is, and where it goes."""
        item = self.collection
        lines = [f"{item.name}: {item.title}"]
        lines += [f"  license   {line}" for line in self.licenses]
        lines += [f"  cite      {line}" for line in self.cite]
        lines += [f"  selected  {self.selected()}", f"  from      {self.source}", f"  to        {self.out}"]
        lines.append(
            f"  sizes     {format_bytes(self.size)}, {format_bytes(self.present)} of it there already; "
            f"{format_bytes(self.free)} free"
        )
        return "\n".join([*lines, *([f"  note      {item.note}"] if item.note else [])])

    def selected(self) -> str:
        """Patients, series and files in one line."""
        count = sum(item.count for item in self.items)
        patients = {item.about["patient"] for item in self.items if item.about.get("patient")}
        if not patients:
            return f"{count} file{'s' * (count != 1)}"
        kinds: dict[str, list[int]] = {}
        for item in self.items:
            modality = item.about["modality"]
            made = "derived" if item.about["derived_by"] else "original" if modality == "SEG" else ""
            kinds.setdefault(f"{made} {modality}".strip(), []).append(item.size)
        parts = [f"{len(sizes)} {kind} ({format_bytes(sum(sizes))})" for kind, sizes in kinds.items()]
        return f"{len(patients)} patient{'s' * (len(patients) != 1)}: {', '.join(parts)}; {count} files"


def list_collections() -> str:
    """The public collections with what they hold, their sizes as far as known, and their licenses."""
    lines = []
    for item in COLLECTIONS.values():
        lines.append(f"{item.name}\n  {item.title}\n  {item.license}; {item.page}")
        if item.idc:
            every = series_of(item.idc)
            chosen = select_series(every)
            size, whole = chosen["bytes"].sum(), select_series(every, rule=ALL)["bytes"].sum()
            more = f" (every examination, --series all: {format_bytes(whole)})" if whole > size else ""
            masks = f", {sum(chosen.modality == 'SEG')} SEG" if (chosen.modality == "SEG").any() else ""
            images = sum(chosen.modality != "SEG")
            lines.append(f"  {chosen.patient.nunique()} patients, {images} series{masks}, {format_bytes(size)}{more}")
        elif item.files:
            lines.append(f"  {format_bytes(sum(int(one['bytes']) for one in item.files))}")
        else:
            lines.append(
                f"  by hand: {item.by_hand}" if item.by_hand else f"  sizes: hepacast fetch {item.name} --dry-run"
            )
    return "\n".join(lines)


def plan_fetch(
    name: str,
    out: str | Path | None = None,
    *,
    patients: int | None = None,
    series: str | None = None,
    derived: bool = False,
    patience: Patience | None = None,
) -> FetchPlan:
    """What a fetch would bring; nothing is written. Collections outside IDC are asked for their list of files.

    Parameters
    ----------
    name
        Of the collection, as `list_collections` shows it.
    out
        Folder, by default one of the collection's name here.
    patients, series, derived
        As `hepacast.public.index.select_series`; for collections of IDC only.

    Raises
    ------
    HepacastError
        There is no such collection, it must not be fetched, or the selection has no meaning for it.
    StorageError
        The folder holds something else.
    """
    collection = collection_named(name)
    folder = Path(out) if out is not None else Path(collection.name)
    _require_own(folder, collection)
    cite, licenses = list(collection.cite), [f"{collection.license} ({collection.license_url})"]
    if collection.idc:
        rows = select_series(series_of(collection.idc), patients=patients, rule=series or SEGMENTED, derived=derived)
        items = tuple(_of_series({str(key): value for key, value in row.items()}) for row in rows.to_dict("records"))
        # What an earlier fetch brought stays in the folder, and so do its terms.
        held = pd.DataFrame(_earlier(folder), columns=list(COLUMNS))
        others = pd.concat([rows, held])
        others = others[others.derived_by != ""][["license", "doi"]].drop_duplicates()
        licenses += [f"derived segmentations: {row.license} (doi:{row.doi})" for row in others.itertuples()]
        cite += [DERIVED_CITATIONS.get(doi, f"doi:{doi}") for doi in others.doi]
        source = f"the public bucket of NCI Imaging Data Commons (index {index_version()})"
    elif patients is not None or series is not None or derived:
        raise HepacastError(
            f"{collection.name} is not listed by patients and series: it is fetched whole.",
            expected="no --patients, --series or --derived",
            where=collection.page,
        )
    else:
        found = collection_files(collection, patience=patience or Patience(), stop=threading.Event())
        items = tuple(
            _Item("", remote.size, {"license": collection.license}, remote=(file, remote))
            for file, remote in sorted(found.items())
        )
        source = collection.page
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    present = sum(_present(folder, item) for item in items)
    free = shutil.disk_usage(there).free
    return FetchPlan(collection, folder, items, present, free, source, tuple(licenses), tuple(cite))


def _of_series(row: Mapping[str, Any]) -> _Item:
    number = f"{int(row['number']):03d}" if row["number"].isdecimal() else "000"
    date = row["study_date"] if row["study_date"].replace("-", "").isdecimal() else "undated"
    kind = f"{row['modality']}{'-derived' if row['derived_by'] else ''}"
    place = f"{date}_{number}_{sha256(row['series'].encode()).hexdigest()[:8]}"
    about = {key: str(row[key]) for key in COLUMNS if key in row and key not in ("file", "bytes")}
    return _Item(
        f"images/{file_name(row['patient'])}/{kind}/{place}",
        int(row["bytes"]),
        about,
        int(row["files"]),
        bucket=(row["bucket"], row["uuid"]),
    )


def _present(folder: Path, item: _Item) -> int:
    if item.remote is not None:
        name = item.remote[0]
        found = [folder / item.folder / name, *(folder / item.folder).glob(f".{name}.*.part")]
    else:
        found = list((folder / item.folder).glob("*"))
    return min(sum(path.stat().st_size for path in found if path.is_file()), item.size)


def _require_own(folder: Path, collection: PublicCollection) -> None:
    """Refuse a folder of other things: license, citation and manifest are those of one collection."""
    if folder.exists() and not folder.is_dir():
        raise StorageError("The folder to fetch into is a file.", where=str(folder), remedy="choose another with --out")
    held = _collection_of(folder / STATE)
    others = [path.name for path in folder.glob("[!.]*")] if folder.is_dir() else []
    if held != collection.name and others:
        raise StorageError(
            "The folder holds something else.",
            expected=f"a new folder, or one that {collection.name} was fetched into before",
            found=held or ", ".join(others[:5]),
            where=str(folder),
            remedy="choose another with --out",
        )


def _collection_of(state: Path) -> str | None:
    try:
        return str(read_json(state)["collection"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def fetch(plan: FetchPlan, *, patience: Patience | None = None, reporter: Reporter | None = None) -> pd.DataFrame:
    """Fetch what a plan names. A second run goes on where the first was stopped, and checks what is there.

    Returns
    -------
    DataFrame
        The manifest: one row a file.

    Raises
    ------
    StorageError
        The disk has no room for it (nothing is written then), or cannot be written.
    DownloadError
        Something could not be had. Everything else is there, and the manifest says what is missing and why.
    """
    say = reporter or SilentReporter()
    if plan.missing > plan.free:
        raise StorageError(
            "The disk has no room for the collection.",
            expected=f"{format_bytes(plan.missing)} free",
            found=f"{format_bytes(plan.free)} free",
            where=str(plan.out),
            remedy="choose another disk with --out, or less with --patients and --series",
        )
    require_writable(plan.out)
    with hold_folder(plan.out):
        _write_terms(plan)
        run = _Transfer(plan, patience or Patience())
        try:
            run.all(say)
        finally:
            table = _write_manifest(plan, run.all_rows())
    if run.failed:
        kind = "series" if plan.collection.idc else "files"
        raise DownloadError(
            f"{len(run.failed)} of {len(plan.items)} {kind} could not be fetched.",
            found="; ".join(f"{item.label}: {reason}" for item, reason in list(run.failed.items())[:5]),
            where=str(plan.out / MANIFEST),
            remedy="run the same command again: it brings what is missing",
        )
    return table


def _write_terms(plan: FetchPlan) -> None:
    """License, citation and the folder's mark before any file of the collection; the packaged table beside them."""
    item, names = plan.collection, "\n".join(f"License: {line}" for line in plan.licenses)
    changed = "The files are as they lie there; hepacast has put them into folders and changed nothing in them."
    write_json(plan.out / STATE, {"collection": item.name, "index": index_version() if item.idc else None})
    write_text(
        plan.out / LICENSE, f"{item.name}: {item.title}\n\n{names}\nSource: {item.page}\n{changed}\n{item.note}\n"
    )
    write_text(plan.out / CITATION, "Cite:\n\n" + "\n\n".join(plan.cite) + "\n")
    if item.table:
        target = plan.out / Path(item.table).name
        with atomic_path(target) as temporary:
            temporary.write_bytes((files("hepacast.study") / item.table).read_bytes())


def _earlier(out: Path) -> list[dict[str, str]]:
    """Rows of the manifest that an earlier fetch left; none where there is none.

    Raises
    ------
    StorageError
        It is damaged.
    """
    path = out / MANIFEST
    if not path.is_file():
        return []
    try:
        found = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    except (ValueError, OSError) as error:
        raise StorageError(
            "The manifest of what was fetched before cannot be read.",
            expected="a table as hepacast wrote it",
            found=str(error),
            where=str(path),
            remedy="take it away and run the same command again: the files that are there are checked and named anew",
        ) from error
    return [{key: plain_cell(str(row.get(key, ""))) for key in COLUMNS} for row in found]


def _write_manifest(plan: FetchPlan, rows: list[dict[str, str]]) -> pd.DataFrame:
    """The rows of this run, and those of earlier ones that are still so and are not named anew."""
    named = {row["file"] for row in rows}
    asked = {item.about.get("series") for item in plan.items}
    for row in _earlier(plan.out):
        still_missing = not row["file"] and row["series"] not in {"", *asked}
        if still_missing or (row["file"] and row["file"] not in named and (plan.out / row["file"]).is_file()):
            rows.append(row)
    rows.sort(key=lambda row: (row["patient"], row["modality"], row["file"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(visible(row[key])) for key in COLUMNS} for row in rows)
    write_text(plan.out / MANIFEST, text.getvalue())
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass
class _Transfer:
    """A running fetch: its threads, what has come, what has failed."""

    plan: FetchPlan
    patience: Patience
    rows: dict[_Item, list[dict[str, str]]] = field(default_factory=dict)
    failed: dict[_Item, str] = field(default_factory=dict)
    whole: set[_Item] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def all(self, say: Reporter) -> None:
        """Fetch every item; what cannot be had is noted, what cannot be written ends it."""
        silent = 0
        with say.track(self.plan.collection.name, counted=False) as progress, self._pool() as pool:
            open_now: dict[Future[None], _Item] = {pool.submit(self._one, item): item for item in self.plan.items}
            while open_now:
                finished, _ = wait(open_now, timeout=0.5, return_when=FIRST_COMPLETED)
                progress(min(self.done, self.plan.size), max(self.plan.size, 1))
                for future in finished:
                    item, error = open_now.pop(future), future.exception()
                    silent = silent + 1 if isinstance(error, UnreachableError) else 0
                    if isinstance(error, DownloadError):
                        self._note(item, error)
                        if silent >= _NO_NETWORK:
                            raise error
                    elif error is not None:
                        raise error

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that end soon when the block is left by an error or Ctrl-C; what they have got stays."""
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            yield pool
        except BaseException:
            self.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def all_rows(self) -> list[dict[str, str]]:
        """Rows of the manifest, also of what was not come to when the fetch was ended."""
        for item in self.plan.items:
            if item not in self.whole and item not in self.failed:
                self._note(item, DownloadError("The fetch was ended before."))
        return [row for item in self.plan.items for row in self.rows.get(item, [])]

    def _note(self, item: _Item, error: DownloadError) -> None:
        reason = " ".join(part for part in (error.message, error.found) if part)
        self.failed[item] = reason
        row = {**dict.fromkeys(COLUMNS, ""), **item.about, "url": error.where or "", "status": f"missing: {reason}"}
        self.rows[item] = [*self.rows.get(item, []), {key: row[key] for key in COLUMNS}]

    def _one(self, item: _Item) -> None:
        for name, remote in self._files(item):
            path = Path(item.folder) / name
            checked = fetch_file(remote, self.plan.out / path, patience=self.patience, stop=self.stop, tell=self._tell)
            found = {
                "file": path.as_posix(), "bytes": str(remote.size), "checksum": remote.checksum, "checked": checked,
                "url": remote.url, "status": "fetched",
            }  # fmt: skip
            row = {**dict.fromkeys(COLUMNS, ""), **item.about, **found}
            self.rows.setdefault(item, []).append({key: row[key] for key in COLUMNS})
        self.whole.add(item)

    def _files(self, item: _Item) -> Iterable[tuple[str, RemoteFile]]:
        if item.remote is not None:
            return [item.remote]
        assert item.bucket is not None
        found = bucket_files(*item.bucket, patience=self.patience, stop=self.stop)
        size = sum(remote.size for remote in found.values())
        if (len(found), size) != (item.count, item.size):
            raise DownloadError(
                "The series is not in the bucket as the index says." if found else "The series is not in the bucket.",
                expected=f"{item.count} files, {item.size} bytes",
                found=f"{len(found)} files, {size} bytes",
                where=f"https://{item.bucket[0]}.s3.amazonaws.com/{item.bucket[1]}/",
            )
        return sorted(found.items())

    def _tell(self, size: int) -> None:
        with self.guard:
            self.done += size
