"""What every stage of a study needs: the study, where its files are, where results go, how to report progress."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hepacast.core.fingerprint import Fingerprints
from hepacast.core.progress import Reporter, SilentReporter
from hepacast.core.remote_files import bring, is_address, place_of, place_of_results
from hepacast.errors import StorageError, StudyFileError
from hepacast.study.load import load_study
from hepacast.study.schema import Images, Study

CACHE = ".cache"


@dataclass(frozen=True)
class Context:
    """A study with its folders.

    Parameters
    ----------
    study
        The checked study file.
    base
        Folder of the study file; relative paths start there.
    out
        Results folder.
    data
        Folder that ``{data}`` stands for in paths, absolute.
    address
        Where the files of that folder are brought from; empty where it is the user's own.
    workers
        Processes; 0 = one a core.
    reporter
        Where progress goes.
    models
        Bundles that are applied to the cohort, whose patients then are those of another hospital, the main one first;
        none in a study that makes its own models.
    without_rows
        Write no model file that holds values of single training patients.
    """

    study: Study
    base: Path
    out: Path
    data: Path | None = None
    workers: int = 0
    reporter: Reporter = field(default_factory=SilentReporter)
    models: tuple[Path, ...] = ()
    without_rows: bool = False
    address: str = ""

    @property
    def cache(self) -> Path:
        """Folder for pieces of long stages (features of one patient, one fold of a network)."""
        return self.out / CACHE

    @property
    def images(self) -> Images:
        """The study's images; asked for only where there are some."""
        assert self.study.images is not None
        return self.study.images

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """Content hashes of input files, remembered between runs."""
        return Fingerprints(self.cache / "fingerprints.json")

    @cached_property
    def tables(self) -> dict[Hashable, Any]:
        """Clinical tables that were read, by their files' content and how they were read: plan and stages ask often."""
        return {}

    def bring_data(self) -> None:
        """The files of a data folder that is an address, to this machine.

        Raises
        ------
        HepacastError
            The server does not give them.
        """
        if self.address:
            assert self.data is not None
            bring(self.address, self.data, workers=self.workers, reporter=self.reporter)

    def path(self, text: str, **names: str) -> Path:
        """A path of the study file, with ``{patient}`` and ``{data}`` filled in.

        Raises
        ------
        StudyFileError
            It uses ``{data}`` and no data folder was given, or an unknown placeholder.
        """
        fills = dict(names)
        if "{data}" in text:
            if self.data is None:
                raise StudyFileError(
                    "The study file speaks of {data}, and no data folder is known.",
                    found=text,
                    remedy="give it with --data DIR, or in the environment variable HEPACAST_DATA",
                )
            fills["data"] = str(self.data)
        try:
            filled = text.format(**fills)
        except (KeyError, IndexError, ValueError) as error:
            raise StudyFileError(
                "A path of the study file has an unknown placeholder.",
                expected="{patient} or {data}",
                found=text,
            ) from error
        path = Path(filled).expanduser()
        return path if path.is_absolute() else self.base / path


def make_context(
    study_file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: int = 0,
    reporter: Reporter | None = None,
    environment: Mapping[str, str] | None = None,
) -> Context:
    """Load a study and settle its folders. Nothing is written.

    Raises
    ------
    StudyFileError
        The study file is wrong.
    StorageError
        The results folder is a file, or would hold the study file itself.
    """
    path = Path(study_file)
    study = load_study(path)
    base = path if path.is_dir() else path.parent
    where = place_of_results(str(out)) if is_address(out) else Path(out) if out is not None else base / "results"
    if where.exists() and not where.is_dir():
        raise StorageError("The results folder is a file.", where=str(where), remedy="choose another with --out")
    if where.resolve() == base.resolve():
        raise StorageError(
            "Results would be mixed with the study's own files.", where=str(where), remedy="choose another with --out"
        )
    if data is None:
        data = (os.environ if environment is None else environment).get("HEPACAST_DATA") or None
    # As every path that is typed, it starts at the working folder; paths of the study file start at the study file.
    say = reporter or SilentReporter()
    if is_address(data):
        place = place_of(str(data), where.absolute() / CACHE)
        return Context(study, base, where, place, workers, say, address=str(data))
    folder = Path(data).expanduser().absolute() if data else None
    return Context(study, base, where, folder, workers, say)
