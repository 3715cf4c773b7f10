"""The words of the page: one file a language in ``messages/``; a language is added by adding a file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hepacast.core.files import read_json
from hepacast.web.places import PlaceError

FOLDER = Path(__file__).with_name("messages")


@cache
def languages() -> dict[str, str]:
    """The own name of every language, by its code (BCP 47)."""
    return {path.stem: read_json(path)["language"] for path in sorted(FOLDER.glob("*.json"))}


@cache
def messages(language: str) -> dict[str, Any]:
    """The words of a language: a section a screen, keys as in ``en.json``.

    Raises
    ------
    PlaceError
        There is no file of this language.
    """
    if language not in languages():
        raise PlaceError("There are no words in this language.", expected=", ".join(languages()), found=language)
    words: dict[str, Any] = read_json(FOLDER / f"{language}.json")
    return words
