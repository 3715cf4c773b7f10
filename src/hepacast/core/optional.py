"""Import an optional package, or say which extra brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

from hepacast.errors import MissingPackageError


def require(package: str, *, purpose: str, extra: str) -> ModuleType:
    """Import `package`; if it is missing, say what needs it and how to install it.

    Raises
    ------
    MissingPackageError
        The package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise MissingPackageError(
            f"{purpose} needs the package {package!r}, which is not installed.",
            remedy=f'pip install "hepacast[{extra}]"',
        ) from error
