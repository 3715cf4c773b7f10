"""The folders that the application may read, and the studies in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hepacast.errors import HepacastError

#: How far below the served folder studies are looked for.
DEPTH = 3
STUDY_FILE = "study.yaml"


class PlaceError(HepacastError):
    """A path outside of the folders that may be read, or something that is not there."""


@dataclass(frozen=True)
class Places:
    """The served folder, where studies lie and are made, and further folders that may be read.

    Parameters
    ----------
    folder
        Studies are found and made here.
    more
        Tables and images may be read here too.
    """

    folder: Path
    more: tuple[Path, ...] = ()

    @property
    def roots(self) -> tuple[Path, ...]:
        """All of them, links resolved."""
        return tuple(path.resolve() for path in (self.folder, *self.more))

    def within(self, path: str | Path) -> Path:
        """A path with its links resolved, absolute or from the served folder.

        Raises
        ------
        PlaceError
            It leads out of the folders that may be read.
        """
        text = str(path)
        if "\0" in text:
            raise PlaceError("A path is not one.")
        found = (self.roots[0] / text).resolve()
        if not any(found == root or root in found.parents for root in self.roots):
            raise PlaceError(
                "This path is outside of the folders that may be read here.",
                remedy="start the server with --allow FOLDER for a folder that it may read",
            )
        return found

    def studies(self) -> list[Path]:
        """Folders with a study file, sorted."""
        return sorted(self._studies(self.roots[0], DEPTH))

    def _studies(self, folder: Path, depth: int) -> Iterator[Path]:
        if (folder / STUDY_FILE).is_file():
            yield folder
            return
        if depth:
            with os.scandir(folder) as entries:
                inner = [Path(item.path) for item in entries if item.is_dir(follow_symlinks=False)]
            for item in inner:
                if not item.name.startswith("."):
                    try:
                        yield from self._studies(item, depth - 1)
                    except PermissionError:
                        continue

    def code(self, study: Path) -> str:
        """What a study is called in addresses and in the audit trail: says nothing of its name."""
        inside = study.resolve().relative_to(self.roots[0]).as_posix()
        return hashlib.sha256(inside.encode()).hexdigest()[:12]

    def study(self, code: str) -> Path:
        """The folder of a study.

        Raises
        ------
        PlaceError
            There is none of this code.
        """
        for study in self.studies():
            if self.code(study) == code:
                return study
        raise PlaceError("There is no such study in the served folder.", remedy="go back to the start")
