"""`jit`: compile with numba and keep the machine code on disk, also where the package cannot be written to.

Numba caches beside the source file or, if that folder is read-only, under the user's cache folder. Where neither can
be written (a container with a read-only file system and no home), numba refuses to compile at all; here a private
folder under the system's temporary folder is used then, and as a last resort nothing is kept. The environment
variable ``NUMBA_CACHE_DIR`` always wins. Nothing is changed for other users of numba in the process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function | None = None, *, reassociate: bool = False) -> Any:
    """Compile `function` on first use: no Python objects, no GIL, no threads, cached on disk.

    Parameters
    ----------
    function
        The function to compile.
    reassociate
        Let the compiler sum floating-point numbers in another order (vector registers). Only for long sums of
        doubles, where it is also the more accurate order; infinities and NaN keep their meaning.
    """
    if function is None:
        return lambda target: jit(target, reassociate=reassociate)
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc"} if reassociate else False}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        folder = _private_folder()
        if folder is None:
            return numba.njit(**options)(function)
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
    finally:
        config.CACHE_DIR = before


def _private_folder() -> Path | None:
    """A folder that only this user can write (cached code is executed, so nobody else may plant any)."""
    user = os.getuid() if hasattr(os, "getuid") else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"hepacast-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    owned = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return folder if owned and not folder.is_symlink() and os.access(folder, os.W_OK) else None
