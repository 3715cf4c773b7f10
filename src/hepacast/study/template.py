"""Write a new study: the study file with every option explained, and a template of the clinical table.

The comments come from the schema, so that the file cannot say anything that the program does not do.
"""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from hepacast.core.files import atomic_folder, write_text
from hepacast.core.texts import visible
from hepacast.errors import StorageError, StudyFileError
from hepacast.study.load import _branches, _is_model
from hepacast.study.schema import Study
from hepacast.study.table_template import write_table_template

RECIPES: dict[str, str] = {
    "ptlf": "liver failure after TACE: nnU-Net masks, radiomics of parenchyma and tumor, nomogram",
    "ptlf-end-to-end": "the same, and a network that predicts from image and laboratory values without the two steps",
    "tace-response": "objective response to TACE: multi-task network beside other models; survival by risk group",
    "proliferative": "proliferative HCC: deep-learning radiomics, applied to ablation and TACE cohorts with follow-up",
    "early-recurrence": "early recurrence after resection: three MR sequences, networks, staging systems compared",
}
#: What of a recipe's published study this version does not do yet.
NOT_YET: dict[str, str] = {}
_WIDTH = 100
#: Comments by the dotted name of the key that they stand above.
Notes = Mapping[str, Sequence[str]]


def recipe_values(recipe: str) -> dict[str, Any]:
    """The values that a recipe sets (the rest are the schema's defaults).

    Raises
    ------
    StudyFileError
        There is no such recipe.
    """
    if recipe not in RECIPES:
        raise StudyFileError(f"There is no recipe {recipe!r}.", expected=", ".join(RECIPES))
    values = _read_recipe(recipe)
    values.pop("proposed", None)
    return values


def _read_recipe(recipe: str) -> dict[str, Any]:
    """A recipe with what is proposed beside it; it may name another one that it adds to, and its own parts take the
    place of the other's."""
    source = files("hepacast.study") / "recipes" / f"{recipe}.yaml"
    values = typing.cast(dict[str, Any], yaml.safe_load(source.read_text(encoding="utf-8")))
    base = values.pop("base", None)
    return values if base is None else _read_recipe(base) | values


#: Why a proposed study differs from the published one, above the keys that differ.
_PROPOSED = {
    "biomarkers": ["The published study has none: without them, take this part and the models that hold them out."],
    "images.preprocessing.normalization": [
        "The patient's own liver is the scale. The published study: zscore of the body, scale 100 (networks: crop",
        "window [50.0, 500.0]), which needs no mask of the liver.",
    ],
    "modelling.chain": [
        "All features by an average of several learners. The published study: ptlf, a LASSO signature, which has a",
        "formula, and whose model file holds no values of single training patients.",
    ],
    "modelling.models": ["joint: everything together, shrunk; the others are as published."],
    "modelling.combination": [
        "Of the models of everything: a mean of models needs no weights to be estimated; auto asks first whether there",
        "is anything to be found.",
    ],
    "fusion.competition": ["The published study: best. The best of several by its inner AUC is often only lucky."],
    "fusion.models": [
        "Those with biomarkers (ridge regressions), and the score that auto makes of all features, are not in the",
        "published study.",
    ],
}


#: What a study of images that follows no published one is proposed to set, and comments by key.
STRONGEST: dict[str, Any] = {
    "biomarkers": {"use": ["recommended"]},
    "modelling": {
        "chain": "auto", "models": ["clinical", "biomarkers", "radiomics", "joint"], "combination": "auto",
    },
}  # fmt: skip
STRONGEST_NOTES = {
    "modelling.chain": [
        "All features by an average of several learners. `chain: ptlf` is a LASSO signature: it has a formula, and its",
        "model file holds no values of single training patients.",
    ],
    "modelling.models": ["joint: everything together, shrunk; `combined`: clinical predictors and the Radscore alone."],
    "modelling.combination": _PROPOSED["modelling.combination"],
}


def proposed_values(recipe: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What a new study by a recipe is proposed to set: the published study, and beside it what is recommended; and
    comments by key.

    Raises
    ------
    StudyFileError
        There is no such recipe.
    """
    values = recipe_values(recipe)
    more = _read_recipe(recipe).get("proposed", {})
    notes = {key: text for key, text in _PROPOSED.items() if _has(more, key)}
    return _joined(values, more), notes


def _has(values: Any, key: str) -> bool:
    first, _, rest = key.partition(".")
    return isinstance(values, dict) and first in values and (not rest or _has(values[first], rest))


def _joined(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Values with others put in, part by part."""
    found = dict(values)
    for key, item in more.items():
        known = found.get(key)
        found[key] = _joined(known, item) if isinstance(known, dict) and isinstance(item, dict) else item
    return found


def init_study(folder: str | Path, recipe: str = "ptlf", *, force: bool = False) -> list[Path]:
    """Write ``study.yaml`` and ``clinical-template.xlsx`` (see `write_table_template`) into a folder.

    Raises
    ------
    StorageError
        A study is there already and `force` is not set.
    """
    folder = Path(folder)
    values, notes = proposed_values(recipe)
    values["cohort"]["table"] = "clinical.xlsx"
    study, table = folder / "study.yaml", folder / "clinical-template.xlsx"
    if study.exists() and not force:
        raise StorageError(
            "There is a study in this folder already.",
            where=str(study),
            remedy="choose another folder, or --force",
        )
    with atomic_folder(folder) as scratch:
        write_text(scratch / study.name, render_study(values, notes))
        write_table_template(scratch / table.name, values)
    return [study, table]


def render_study(values: dict[str, Any], notes: Notes | None = None) -> str:
    """A study file with every option of the schema: those of `values` set, the others commented out.

    Parameters
    ----------
    values
        What the study sets.
    notes
        Comments above single keys, by the key's dotted name (``cohort.columns.ast``).
    """
    Study.model_validate(values)
    head = (
        "# A hepacast study. Everything that decides the numbers stands here; paths are relative to this file.\n"
        "# Lines that begin with '# ' and a key are options left at their default.\n"
        "# Check it with `hepacast check study.yaml`, run it with `hepacast run study.yaml`.\n"
    )
    return head + "\n".join(_render_model(Study, values, (), notes or {})) + "\n"


def _render_model(model: type, values: dict[str, Any], place: tuple[str, ...], notes: Notes) -> list[str]:
    lines: list[str] = []
    depth = len(place)
    pad = "  " * depth
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]
        if depth == 0:
            lines.append("")
        extra = field.json_schema_extra or {}
        unit = f" [{extra['unit']}]" if "unit" in extra else ""
        help_lines = textwrap.wrap(f"{field.description}{unit}", _WIDTH - len(pad))
        lines += [f"{pad}# {line}" for line in help_lines]
        lines += _render_field(name, field, extra, values, place, notes)
    return lines


def _render_field(
    name: str, field: Any, extra: dict[str, Any], values: dict[str, Any], place: tuple[str, ...], notes: Notes
) -> list[str]:
    pad = "  " * len(place)
    inner = [kind for kind in _branches(field.annotation) if _is_model(kind)]
    if name in values:
        value = values[name]
        if inner and isinstance(value, dict) and value:
            tagged = [kind for kind in inner if "by" in value and _tag(kind) == value["by"]]
            inside = _render_model((tagged or inner)[0], value, (*place, name), notes)
            return [*_noted((*place, name), pad, notes), f"{pad}{name}:", *inside]
        return _dump({name: value}, pad, place, notes)
    shown = extra.get("example")
    if shown is None:
        shown = None if field.is_required() else field.get_default(call_default_factory=True)
    if shown is not None and hasattr(shown, "model_dump"):
        shown = shown.model_dump(exclude_none=True)
    return [f"{pad}# {line[len(pad) :]}" for line in _dump({name: shown}, pad)]


def _tag(kind: Any) -> Any:
    field = kind.model_fields.get("by")
    return field.default if field else None


def _noted(place: tuple[str, ...], pad: str, notes: Notes) -> list[str]:
    """The comments above a key; they are not folded, as some of them are YAML to copy."""
    return [f"{pad}# {' '.join(visible(line).split())}" for line in notes.get(".".join(place), ())]


def _dump(value: dict[str, Any], pad: str, place: tuple[str, ...] = (), notes: Notes | None = None) -> list[str]:
    """One key a line; a mapping of mappings as a block with one entry a line."""
    lines = []
    for name, item in value.items():
        lines += _noted((*place, str(name)), pad, notes or {})
        if isinstance(item, dict) and any(isinstance(inner, dict) for inner in item.values()):
            lines += [f"{pad}{_flow(name)}:", *_dump(item, pad + "  ", (*place, str(name)), notes)]
        else:
            lines.append(f"{pad}{_flow(name)}: {_flow(item)}")
    return lines


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=True)
    return text.removesuffix("...\n").rstrip()


def schema_json() -> dict[str, Any]:
    """JSON Schema of the study file, for editors that complete and check YAML."""
    return Study.model_json_schema()


def reference_markdown() -> str:
    """The study file's reference page, made from the schema."""
    parts = ["# The study file", "", "Made from the schema; every key, its default and what it does.", ""]
    seen: set[str] = set()
    _reference(Study, "(top level)", parts, seen)
    return "\n".join(parts) + "\n"


def _reference(model: Any, title: str, parts: list[str], seen: set[str]) -> None:
    if model.__name__ in seen:
        return
    seen.add(model.__name__)
    parts += [f"## {title}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
    parts += ["| key | type | default | meaning |", "|---|---|---|---|"]
    children = []
    for name, field in model.model_fields.items():
        kinds = _branches(field.annotation)
        for kind in kinds:
            inner = [item for item in (kind, *typing.get_args(kind)) for item in _branches(item) if _is_model(item)]
            children += [(item, f"{name} ({item.__name__})") for item in inner]
        default = "required" if field.is_required() else _default_text(field)
        extra = field.json_schema_extra or {}
        unit = f" Unit: {extra['unit']}." if "unit" in extra else ""
        example = f" Example: `{extra['example']}`." if "example" in extra else ""
        parts.append(f"| `{name}` | {_type_text(field.annotation)} | {default} | {field.description}.{unit}{example} |")
    parts.append("")
    for child, heading in children:
        _reference(child, heading, parts, seen)


def _default_text(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "model_dump"):
        return "see below"
    return "none" if value is None else f"`{value}`"


def _type_text(kind: Any) -> str:
    names = []
    for branch in _branches(kind):
        if branch is type(None):
            continue
        if typing.get_origin(branch) is typing.Literal:
            names.append(" or ".join(f"`{item}`" for item in typing.get_args(branch)))
        elif typing.get_origin(branch) in (list, dict, tuple):
            names.append({list: "list", dict: "mapping", tuple: "pair"}[typing.get_origin(branch)])
        else:
            names.append(
                {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
                    branch.__name__, f"[{branch.__name__}]"
                )
            )
    return " or ".join(dict.fromkeys(names))
