"""What every bundle's card says of its models' validation."""

from __future__ import annotations

from typing import Any

from hepacast.compute.files import read_json
from hepacast.evaluation.validated import performance_verdicts, validated_performance
from hepacast.study.context import Context


def validated_card(
    context: Context, names: list[str], validation: dict[str, Any], *, survival: bool
) -> dict[str, dict[str, Any]]:
    """Of each model what validation showed, and what speaks against it.

    Parameters
    ----------
    validation
        ``models`` of the modelling stage's validation.
    survival
        Whether the outcome is a time to an event.
    """
    found = read_json(context.out / "evaluation" / f"{'survival' if survival else 'evaluation'}.json")
    level = context.study.evaluation.confidence
    rows, verdicts = {}, {}
    for name in names:
        own = validation.get(name, {})
        judged = validated_performance(found["sets"], own, name, level)
        rows[name] = [row.to_json() for row in judged]
        verdicts[name] = performance_verdicts(judged, own, name, level)
    return {"validated": {"level": level, "models": rows}, "verdicts": verdicts}
