"""What an extraction gives: the features of every VOI of one image, with the reason of each that has no value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["ok", "partial", "failed"]


@dataclass(frozen=True)
class VoiResult:
    """The features of one VOI.

    Parameters
    ----------
    voi
        Name of the VOI.
    features
        Every expected feature in order; NaN where it has no value.
    reasons
        Why a feature is NaN, for each that is.
    status
        "ok" (all features have values), "partial" (some are undefined), "failed" (none could be calculated).
    reason
        Why the VOI failed as a whole.
    diagnostics
        PyRadiomics' ``diagnostics_*`` entries.
    """

    voi: str
    features: dict[str, float]
    reasons: dict[str, str] = field(default_factory=dict)
    status: Status = "ok"
    reason: str | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, voi: str, expected: Iterable[str], values: Mapping[str, float], reasons: Mapping[str, str], **more: Any
    ) -> VoiResult:
        """Order `values` as `expected`; what is missing or not finite becomes NaN with its reason."""
        features: dict[str, float] = {}
        why: dict[str, str] = {}
        for name in expected:
            value = float(values.get(name, np.nan))
            if not np.isfinite(value):
                value = np.nan
                why[name] = reasons.get(name) or "the feature has no finite value here"
            features[name] = value
        status: Status = "ok" if not why else "failed" if len(why) == len(features) else "partial"
        reason = next(iter(why.values())) if status == "failed" else None
        return cls(voi, features, why, status, reason, **more)

    @classmethod
    def failed(cls, voi: str, expected: Iterable[str], reason: str) -> VoiResult:
        """All features NaN for one reason."""
        names = list(expected)
        return cls(voi, dict.fromkeys(names, np.nan), dict.fromkeys(names, reason), "failed", reason)


@dataclass(frozen=True)
class ExtractionResult:
    """The features of all VOIs of one image.

    Parameters
    ----------
    vois
        Result of each VOI by name, in the order in which they were given.
    settings_hash
        Hash of the settings; tables are joined only where it agrees.
    engine
        What calculated the values, with its version.
    """

    vois: dict[str, VoiResult]
    settings_hash: str
    engine: str

    def __getitem__(self, voi: str) -> VoiResult:
        return self.vois[voi]

    def to_long(self, patient: str, sequence: str = "") -> pd.DataFrame:
        """The long table of one patient's image."""
        import pandas as pd

        from hepacast.radiomics.table import LONG_COLUMNS, concat_long

        parts = [
            pd.DataFrame(
                {
                    "patient": str(patient),
                    "sequence": sequence,
                    "voi": result.voi,
                    "feature": list(result.features),
                    "value": np.fromiter(result.features.values(), dtype=float, count=len(result.features)),
                    "status": [_row_status(result, name) for name in result.features],
                    "reason": [result.reasons.get(name) for name in result.features],
                },
                columns=list(LONG_COLUMNS),
            )
            for result in self.vois.values()
        ]
        return concat_long(parts, settings_hash=self.settings_hash, engine=self.engine)


def _row_status(result: VoiResult, feature: str) -> str:
    if result.status == "failed":
        return "failed"
    return "undefined" if feature in result.reasons else "ok"
