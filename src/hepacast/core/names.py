"""Names of files on every system: those of patients inside their folder, never another's; folders of the user."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

#: Letters of one case, so that two names differ also where the system takes ``a`` for ``A``.
_PLAIN = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,63}")
#: What a name gets that could not stay as it is; a plain identifier that looks like one gets one as well.
_MARKED = re.compile(r".*-X[0-9A-F]{12}")
_RESERVED = re.compile(r"CON|PRN|AUX|NUL|(COM|LPT)\d")


def fit_beside(names: Iterable[str]) -> str | None:
    """What is wrong with names that a person chose and that become names of files as they are; None: nothing.

    Windows reserves some, and takes ``T1`` and ``t1`` for one.
    """
    seen: dict[str, str] = {}
    for name in names:
        if _RESERVED.fullmatch(name.partition(".")[0].rstrip().upper()) or name != name.rstrip(". "):
            return f"{name!r} cannot be a file name on Windows"
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            return f"{other!r} and {name!r} are one file name on Windows"
    return None


def file_name(identifier: str) -> str:
    """A file name (without ending) for an identifier.

    Capitals, digits, ``-`` and ``_`` stay as they are: ``HCC_001`` is ``HCC_001``. Any other identifier becomes a
    readable part and a hash of the whole: ``../X01`` is ``X01-x`` and 12 hexadecimal digits. Two identifiers never
    have one name, also where file names ignore case; no name leaves its folder or is one that Windows reserves.
    """
    if _PLAIN.fullmatch(identifier) and not _MARKED.fullmatch(identifier) and not _RESERVED.fullmatch(identifier):
        return identifier
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", identifier).strip("-_")[:40] or "patient"
    return f"{readable}-x{hashlib.sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


#: Of Windows, the variable and the folder in its place; of macOS; of others, as of Windows (XDG Base Directory).
_USER = {
    "settings": (("APPDATA", "AppData/Roaming"), "Library/Application Support", ("XDG_CONFIG_HOME", ".config")),
    "cache": (("LOCALAPPDATA", "AppData/Local"), "Library/Caches", ("XDG_CACHE_HOME", ".cache")),
}


def user_folder(what: Literal["settings", "cache"]) -> Path:
    """Where this user's settings, or what can be made again, lie by the custom of the system; it need not exist.

    Raises
    ------
    RuntimeError
        The user has no home.
    """
    windows, macos, others = _USER[what]
    if sys.platform == "darwin":
        return Path.home() / macos / "hepacast"
    variable, place = windows if sys.platform == "win32" else others
    return Path(os.environ.get(variable) or Path.home() / place) / "hepacast"
