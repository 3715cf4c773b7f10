"""The base of every part of the study file, and the one way to declare a field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the study file. An unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=False)


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
