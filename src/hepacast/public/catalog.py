"""Public collections by name: what they hold, under which license, whom to cite, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from hepacast.errors import HepacastError

#: Whom to cite for series that others derived from a collection of IDC, by the DOI that its index names.
DERIVED_CITATIONS: dict[str, str] = {
    "10.5281/zenodo.8345959": (
        "Murugesan GK, McCrumb D, Aboian M, et al. AI-generated annotations dataset for diverse cancer radiology "
        "collections in NCI Image Data Commons. Sci Data. 2024;11:1165. doi:10.1038/s41597-024-03977-8 "
        "(data: doi:10.5281/zenodo.8345959)"
    ),
}


@dataclass(frozen=True)
class PublicCollection:
    """A collection that can be fetched, or that must not be (`by_hand`).

    Parameters
    ----------
    name, title
        As it is asked for, and what it holds.
    license, license_url, page, cite
        Its license, the license's text, its own page, whom to cite.
    idc, zenodo, github, files
        Where it lies: collection of IDC, record, folder of a repository, or addresses; one of them.
    by_hand
        How a person gets what a program must not download.
    table
        File of the package (below ``hepacast/study``) that belongs to it.
    note
        What else to know.
    """

    name: str
    title: str
    license: str
    license_url: str
    page: str
    cite: tuple[str, ...]
    idc: str = ""
    zenodo: str = ""
    github: Mapping[str, str] | None = None
    files: tuple[Mapping[str, Any], ...] = ()
    by_hand: str = ""
    table: str = ""
    note: str = ""


def _read() -> dict[str, PublicCollection]:
    content = yaml.safe_load((files("hepacast.public") / "catalog.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, item in content.items():
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
        }
        found[name] = PublicCollection(name=name, **fields)
    return found


#: By name, in the order of `hepacast fetch --list`.
COLLECTIONS: dict[str, PublicCollection] = _read()


def collection_named(name: str) -> PublicCollection:
    """The collection of a name; case, ``-`` and ``_`` do not matter.

    Raises
    ------
    HepacastError
        There is none, or it must not be downloaded by a program: the message says how to get it.
    """
    spelt = {_plain(known): item for known, item in COLLECTIONS.items()}
    if _plain(name) not in spelt:
        raise HepacastError(
            "There is no public collection of this name.",
            expected=", ".join(COLLECTIONS),
            found=name,
            remedy="hepacast fetch --list shows what they hold",
        )
    item = spelt[_plain(name)]
    if item.by_hand:
        raise HepacastError(
            f"{item.name} is given out only after its terms were accepted; no program may download it.",
            found=f"license {item.license}",
            where=item.page,
            remedy=item.by_hand,
        )
    return item


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")
