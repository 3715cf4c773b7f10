"""From the address of a PACS to what can be asked of it."""

from __future__ import annotations

import os
import re

from hepacast.pacs.dicomweb import WebPeer
from hepacast.pacs.dimse import DimsePeer
from hepacast.pacs.peer import AE_TITLE, PacsError, Peer

#: Read for peers that ask for a password (user:password) or a bearer token; never from the command line.
PASSWORD, TOKEN = "HEPACAST_PACS_PASSWORD", "HEPACAST_PACS_TOKEN"
#: File of the certificate authorities that a hospital has of its own.
AUTHORITY = "HEPACAST_PACS_CA"
_DIMSE = re.compile(r"(?P<aet>[^@\s]{1,16})@(?P<host>[^@:\s]+):(?P<port>\d{1,5})")


def make_peer(address: str, *, calling: str = AE_TITLE, listen: int | None = None) -> Peer:
    """The peer at an address.

    Parameters
    ----------
    address
        ``http(s)://HOST/dicom-web``, or ``AET@HOST:PORT``.
    calling
        Our AE title.
    listen
        Port for C-MOVE, which the PACS must know under `calling`; without one C-GET is asked for.

    Raises
    ------
    PacsError
        It is no address.
    """
    if address.startswith(("http://", "https://")):
        return WebPeer(address, *(os.environ.get(name, "") for name in (PASSWORD, TOKEN, AUTHORITY)))
    found = _DIMSE.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise PacsError(
            "This is no address of a PACS.", expected="https://HOST/dicom-web or AET@HOST:PORT", found=address
        )
    return DimsePeer(found["aet"], found["host"], int(found["port"]), calling, listen)
