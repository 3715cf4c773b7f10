"""The base of every part of the study file, and the one way to declare a field."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Part(BaseModel):
    """A part of the study file. An unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, values: Any) -> Any:
        """YAML reads ``on`` and ``yes`` as true, which would pass for 1 wherever a number is asked for."""
        if not isinstance(values, dict):
            return values
        kinds = {name: _kinds(field.annotation) for name, field in cls.model_fields.items() if name in values}
        numbers = {name for name, own in kinds.items() if own & {int, float} and not own & {bool, Any}}
        return {name: _without_truth(value) if name in numbers else value for name, value in values.items()}


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation names, at any depth."""
    if get_origin(annotation) is Literal:
        return set()
    parts = get_args(annotation)
    return set().union(*map(_kinds, parts)) if parts else {annotation}


def _without_truth(value: Any) -> Any:
    """True and false as words, which no number is read from."""
    if isinstance(value, dict):
        return {name: _without_truth(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_truth(item) for item in value]
    return f"{value} (a truth value)".lower() if isinstance(value, bool) else value


def option(default: Any = ..., help: str = "", *, unit: str | None = None, example: Any = None, **rules: Any) -> Any:
    """A field with its help text and, where it has one, its unit (mm, HU, days, ...).

    Both go into the JSON Schema, the reference page and the comments of a new study file.
    """
    extra: dict[str, Any] = {}
    if unit is not None:
        extra["unit"] = unit
    if example is not None:
        extra["example"] = example
    if callable(default):
        return Field(default_factory=default, description=help, json_schema_extra=extra or None, **rules)
    return Field(default, description=help, json_schema_extra=extra or None, **rules)
