"""A patient's identifier as the name of a file: inside its folder, on every system, and never another patient's."""

from __future__ import annotations

import hashlib
import re

#: Letters of one case, so that two names differ also where the system takes ``a`` for ``A``.
_PLAIN = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,63}")
#: What a name gets that could not stay as it is; a plain identifier that looks like one gets one as well.
_MARKED = re.compile(r".*-X[0-9A-F]{12}")
_RESERVED = re.compile(r"CON|PRN|AUX|NUL|(COM|LPT)\d")


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
