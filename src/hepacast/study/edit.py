"""Change what a study file says and keep what people wrote around it: all but comments is as `init` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from hepacast.core.yaml_text import read_yaml
from hepacast.study.load import key_places, parse_study
from hepacast.study.template import Notes, render_study


def study_values(text: str, *, where: str = "study file") -> dict[str, Any]:
    """What a study file sets, as plain values.

    Raises
    ------
    StudyFileError
        It is no study file.
    """
    parse_study(text, where=where)
    values, _ = read_yaml(text, what="study file", where=where)
    return dict(values)


def edit_study(text: str, changes: Mapping[str, Any], *, where: str = "study file") -> str:
    """The study file with changes.

    Parameters
    ----------
    text
        The file as it is.
    changes
        New values by dotted key (``outcome``, ``cohort.columns.alb``, ``modelling.candidates``); None takes a key away.
        Comments above a key that changes are dropped, as they were about the old value; all others stay.

    Raises
    ------
    StudyFileError
        It is no study file, or would be none.
    """
    values = study_values(text, where=where)
    notes = comments(text, values)
    for key, value in changes.items():
        if not _set(values, key.split("."), value):
            continue
        notes = {place: lines for place, lines in notes.items() if not f"{place}.".startswith(f"{key}.")}
    edited = render_study(_checked(values, where), _settled(notes, values))
    parse_study(edited, where=where)
    return edited


def _own_lines(text: str) -> dict[int, str]:
    """The key that begins on each line: of several in braces, the one that holds them."""
    found: dict[int, str] = {}
    for key, line in key_places(text).items():
        if line not in found or len(key) < len(found[line]):
            found[line] = key
    return found


def _settled(notes: Notes, values: dict[str, Any]) -> Notes:
    """The comments, those of keys that get no line of their own above the one that holds them."""
    placed = set(_own_lines(render_study(values)).values())
    found: dict[str, list[str]] = {}
    for key, lines in notes.items():
        while key not in placed and "." in key:
            key = key.rpartition(".")[0]
        found.setdefault(key, []).extend(lines)
    return found


def _checked(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values, refused in the words of the study file where they do not fit."""
    parse_study(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), where=where)
    return values


def _set(values: dict[str, Any], path: list[str], value: Any) -> bool:
    """Set or take away one key; False where it has that value already."""
    for part in path[:-1]:
        inner = values.get(part)
        if not isinstance(inner, dict):
            if value is None:
                return False
            inner = values[part] = {}
        values = inner
    last = path[-1]
    if values.get(last) == value and (value is not None or last not in values):
        return False
    if value is None:
        values.pop(last, None)
    else:
        values[last] = value
    return True


def comments(text: str, values: dict[str, Any]) -> Notes:
    """What people (or `init`) wrote above the keys of a study file, by dotted key, without the template's lines."""
    own = {line.strip() for line in render_study(values).splitlines() if line.lstrip().startswith("#")}
    lines = text.splitlines()
    places = _own_lines(text)
    found: dict[str, list[str]] = {}
    waiting: list[str] = []
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if stripped.startswith("#"):
            if stripped not in own:
                waiting.append(stripped.lstrip("#").strip())
            continue
        if number in places:
            beside = _beside(line)
            if waiting or beside:
                found.setdefault(places[number], []).extend([*waiting, *beside])
            waiting = []
    return {key: [line for line in told if line] for key, told in found.items()}


def _beside(line: str) -> list[str]:
    """A comment at the end of a line."""
    for place in range(len(line)):
        if line[place] == "#" and place and line[place - 1] == " ":
            try:
                if yaml.safe_load(line[:place].strip()) == yaml.safe_load(line.strip()):
                    return [line[place + 1 :].strip()]
            except yaml.YAMLError:
                continue
    return []
