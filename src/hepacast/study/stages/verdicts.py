"""What the numbers of a study's validation say against its models, for the first lines of the report and the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hepacast.evaluation.verdicts import Known, validation_verdicts


def of_risks(sets: Mapping[str, Any], validated: Mapping[str, Any], level: float) -> list[dict[str, Any]]:
    """Of a binary outcome: one entry a model, set and verdict (model, set, kind, sentence).

    Parameters
    ----------
    sets
        As `evaluation.json` holds them.
    validated
        ``models`` of `validation.json`.
    """
    found = []
    for model, entry in validated.items():
        nested = (entry.get("nested") or {}).get("auc")
        rows = {
            name: (item["models"][model]["auc"], item["models"][model]["calibration"])
            for name, item in sets.items()
            if item["kind"] == "frozen" and item["models"].get(model, {}).get("status") == "ok"
        }
        found += _verdicts(model, nested, entry.get("bootstrap"), rows, "AUC", level)
    return found


def of_hazards(sets: Mapping[str, Any], validated: Mapping[str, Any], level: float) -> list[dict[str, Any]]:
    """Of a time-to-event outcome, with C in the place of the AUC, and calibration at the last horizon.

    Parameters
    ----------
    sets
        As `survival.json` of the evaluation holds them.
    validated
        ``models`` of `survival_validation.json`.
    """
    found = []
    for model, entry in validated.items():
        nested = (entry.get("nested") or {}).get("c")
        rows = {}
        for name, item in sets.items():
            own = item["models"].get(model)
            if item["kind"] == "frozen" and own is not None:
                rows[name] = (own["c"], own["horizons"][-1]["calibration"] if own["horizons"] else {})
        found += _verdicts(model, nested, entry.get("bootstrap"), rows, "C", level)
    return found


def _verdicts(
    model: str,
    nested: Mapping[str, Any] | None,
    bootstrap: Mapping[str, Any] | None,
    sets: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    measure: str,
    level: float,
) -> list[dict[str, Any]]:
    corrected = np.nan if bootstrap is None else _number(bootstrap["corrected"]["value"])
    words: dict[str, Any] = {"model": model, "measure": measure, "level": level}
    found = [
        (name, item)
        for name, (discrimination, calibration) in sets.items()
        for item in validation_verdicts(
            nested=_known(nested),
            frozen=_known(discrimination),
            slope=_known(calibration.get("slope")),
            observed_expected=_known(calibration.get("observed_expected")),
            where=f"{name} set",
            **words,
        )
    ]
    found += [("training", item) for item in validation_verdicts(nested=_known(nested), bootstrap=corrected, **words)]
    return [{"model": model, "set": name, "kind": item.kind, "sentence": item.sentence} for name, item in found]


def _known(estimate: Mapping[str, Any] | None) -> Known | None:
    if estimate is None:
        return None
    return Known(*(_number(estimate.get(key)) for key in ("value", "se", "low", "high")))


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
