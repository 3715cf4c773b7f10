"""Read a study file: YAML to `Study`, with errors that say the line and the nearest legal key."""

from __future__ import annotations

import difflib
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hepacast.core.yaml_text import read_yaml
from hepacast.errors import StudyFileError
from hepacast.study.schema import Study

_Location = tuple[int | str, ...]


def load_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    StudyFileError
        The file is missing, is not YAML, has an unknown or repeated key (the nearest legal one is named), or a
        value that is not allowed; every mistake is listed with its line.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "study.yaml"
    if not path.is_file():
        raise StudyFileError(
            "The study file does not exist.",
            where=str(path),
            remedy="write one with: hepacast init --recipe ptlf DIR",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyFileError("The study file is not UTF-8 text.", where=str(path), found=str(error)) from error
    return parse_study(text, where=str(path))


def key_lines(path: str | Path) -> dict[str, int]:
    """The line of every key of a study file that `load_study` reads, by its dotted name."""
    path = Path(path)
    text = (path / "study.yaml" if path.is_dir() else path).read_text(encoding="utf-8-sig")
    return key_places(text, where=str(path))


def key_places(text: str, *, where: str = "study file") -> dict[str, int]:
    """The line of every key of a study file's text, by its dotted name."""
    lines: dict[_Location, int] = {}
    _, node = read_yaml(text, what="study file", where=where)
    if node is not None:
        _collect_lines(node, (), lines, where)
    return {".".join(map(str, place)): line for place, line in lines.items() if place}


def parse_study(text: str, *, where: str = "study file") -> Study:
    """Check the text of a study file; see `load_study`."""
    data, node = read_yaml(text, what="study file", where=where)
    lines: dict[_Location, int] = {}
    if node is not None:
        _collect_lines(node, (), lines, where)
    if not isinstance(data, dict):
        raise StudyFileError(
            "The study file is empty or not a list of keys.",
            expected="keys such as name, cohort, outcome",
            where=where,
        )
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise _explain(error, lines, where) from error


def _collect_lines(node: yaml.Node, place: _Location, lines: dict[_Location, int], where: str) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                found = f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice"
                raise StudyFileError("The study file is not valid YAML.", found=found, where=where)
            seen.add(key.value)
            _collect_lines(value, (*place, key.value), lines, where)
            lines[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect_lines(item, (*place, index), lines, where)


def _explain(error: ValidationError, lines: dict[_Location, int], where: str) -> StudyFileError:
    complaints = []
    for item in error.errors():
        place, branch = item["loc"], None
        if place[:2] == ("cohort", "split") and len(place) > 2:
            branch, place = place[2], (*place[:2], *place[3:])  # pydantic adds the name of the union's branch
        name = ".".join(str(part) for part in place) or "study"
        complaints.append(f"line {_line_of(place, lines)}, {name}: {_complaint(item, place, branch)}")
    count = len(complaints)
    return StudyFileError(
        f"The study file has {count} mistake{'s' if count > 1 else ''}:\n    " + "\n    ".join(complaints),
        where=where,
        remedy="correct the lines above; `hepacast recipes --reference` lists every key",
    )


def _line_of(place: _Location, lines: dict[_Location, int]) -> int:
    for end in range(len(place), -1, -1):
        if place[:end] in lines:
            return lines[place[:end]]
    return 1


def _complaint(item: Any, place: _Location, branch: int | str | None = None) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        legal = _legal_keys(place[:-1], branch)
        near = difflib.get_close_matches(str(place[-1]), legal, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "legal keys: " + ", ".join(sorted(legal))
        return f"unknown key {place[-1]!r}; {hint}"
    if kind == "missing":
        return "this key is required"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    found = repr(item["input"])
    return f"{item['msg'][0].lower()}{item['msg'][1:]} (found {found if len(found) < 80 else found[:77] + '...'})"


def _legal_keys(place: _Location, branch: int | str | None = None) -> list[str]:
    """The keys allowed at a place of the study file: of the branch of a union that its ``by`` names, else of all."""
    kinds: list[Any] = [Study]
    for part in place:
        kinds = [inner for kind in kinds for inner in _step(kind, part)]
    models = [kind for kind in kinds if _is_model(kind)]
    own = [kind for kind in models if "by" in kind.model_fields and kind.model_fields["by"].default == branch]
    return sorted({key for kind in own or models for key in kind.model_fields})


def _step(kind: Any, part: int | str) -> list[Any]:
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return _branches(field.annotation) if field else []
    origin = typing.get_origin(kind)
    if origin is dict:
        return _branches(typing.get_args(kind)[1])
    if origin is list:
        return _branches(typing.get_args(kind)[0])
    return []


def _branches(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _branches(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for arg in typing.get_args(kind) for inner in _branches(arg)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
