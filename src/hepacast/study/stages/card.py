"""What every bundle's card says of its models' validation."""

from __future__ import annotations

from typing import Any

from hepacast.core.files import read_json
from hepacast.evaluation.validated import validated_performance
from hepacast.study.context import Context


def validated_card(context: Context, names: list[str], *, survival: bool) -> dict[str, dict[str, Any]]:
    """Of each model what validation showed, and what speaks against it, as the evaluation has judged.

    Parameters
    ----------
    survival
        Whether the outcome is a time to an event.
    """
    found = read_json(context.out / "evaluation" / f"{'survival' if survival else 'evaluation'}.json")
    against = read_json(context.out / "evaluation" / "evaluation.json")["verdicts"]
    rows = {name: [row.to_json() for row in validated_performance(found["sets"], name)] for name in names}
    return {
        "validated": {"level": context.study.evaluation.confidence, "models": rows},
        "verdicts": {name: list(against.get(name, ())) for name in names},
    }
