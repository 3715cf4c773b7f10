"""Patients whose volume or intensities lie far from those of the cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def outliers(rows: Sequence[Mapping[str, Any]], *, limit: float = 3.5, smallest: int = 10) -> list[dict[str, Any]]:
    """Patients whose volume or median HU is far from the cohort's, VOI by VOI.

    Parameters
    ----------
    rows
        ``patient``, ``sequence``, ``modality`` and the fields of `VoiValues`.
    limit
        Modified z score, 0.6745 (x - median) / MAD (Iglewicz B, Hoaglin DC, How to Detect and Handle Outliers, 1993);
        of volumes on the logarithm. A median has to lie 20 HU away, a volume by a factor of 2.
    smallest
        Fewer patients say nothing.
    """
    found = []
    for voi, sequence in dict.fromkeys((row["voi"], row["sequence"]) for row in rows):
        own = [row for row in rows if (row["voi"], row["sequence"]) == (voi, sequence)]
        first = sequence == rows[0]["sequence"]
        for key, wanted, least in (("volume_ml", first, np.log(2)), ("median", own[0]["modality"] == "CT", 20.0)):
            if not wanted:
                continue
            raw = np.array([float(row[key]) for row in own])
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log(raw) if key == "volume_ml" else raw
            usable = np.isfinite(values)
            if usable.sum() < smallest:
                continue
            center = float(np.median(values[usable]))
            spread = float(np.median(np.abs(values[usable] - center)))
            typical = float(np.exp(center)) if key == "volume_ml" else center
            for row, value in zip(own, values, strict=True):
                z = 0.6745 * (value - center) / spread if spread > 0 else np.inf
                if np.isfinite(value) and abs(value - center) >= least and abs(z) > limit:
                    found.append(
                        {
                            "patient": row["patient"],
                            "sequence": sequence,
                            "voi": voi,
                            "quantity": key,
                            "value": float(row[key]),
                            "typical": typical,
                        }
                    )
    return found


def outlier_text(entry: Mapping[str, Any]) -> str:
    """``tumor: 4.1 mL, the cohort's median is 62 mL``."""
    unit, what = ("mL", "volume") if entry["quantity"] == "volume_ml" else ("HU", "median intensity")
    return f"{entry['voi']}: {what} {entry['value']:.4g} {unit}, the cohort's median is {entry['typical']:.4g} {unit}"
