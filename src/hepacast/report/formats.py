"""The formats that a report is written in. What writes each stands in `build`, which loads all that a report shows."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["html", "pdf", "docx"]
FORMATS: tuple[Format, ...] = get_args(Format)
