"""The planted truth of virtual TACE patients: who responds, by how much each cause counts, and the best AUC possible.

The chance of an objective response follows ``logit p = b0 + b_rim R + b_texture T + b_size S + b_vessel V``: a strongly
enhancing rim (hidden score R) raises it; a coarse, uneven tumor (hidden score T), a large tumor (S, in SDs of the log
diameter) and vascular invasion (V) lower it. No laboratory value has an effect, and none tells R or T.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from hepacast.core.seeds import rng
from hepacast.errors import ModelError
from hepacast.phantom.truth import expected_auc, risk

Values = npt.NDArray[np.float64]

HIDDEN_LIMIT = 2.2
#: Median of the largest diameter (mm), SD of its logarithm, limits.
DIAMETER_MM, DIAMETER_SD, DIAMETER_LIMITS = 48.0, 0.20, (32.0, 70.0)
INVASION_RATE = 0.25
_SIMULATED = 200_000


@dataclass(frozen=True)
class TaceCoefficients:
    """Of the logistic truth, on the logit scale; per SD of the hidden scores and of the log diameter."""

    intercept: float
    rim: float
    texture: float
    size: float
    vessel: float


PLANTED = TaceCoefficients(intercept=0.30, rim=2.40, texture=-2.40, size=-0.45, vessel=-0.60)
NOTHING = TaceCoefficients(intercept=0.15, rim=0.0, texture=0.0, size=0.0, vessel=0.0)


def tace_coefficients(effect: str) -> TaceCoefficients:
    """The truth of a named effect.

    Raises
    ------
    ModelError
        Neither ``planted`` nor ``none``.
    """
    known = {"planted": PLANTED, "none": NOTHING}
    if effect not in known:
        raise ModelError(f"The phantom knows no effect {effect!r}.", expected="planted, none")
    return known[effect]


@dataclass(frozen=True, eq=False)
class TaceCauses:
    """The four causes of several patients."""

    rim: Values
    texture: Values
    diameter_mm: Values
    vessel: Values

    def linear_predictor(self, truth: TaceCoefficients) -> Values:
        """Log odds of a response."""
        return truth.intercept + truth.rim * self.rim + truth.texture * self.texture + self.clinical_part(truth)

    def clinical_part(self, truth: TaceCoefficients) -> Values:
        """What diameter and vascular invasion alone say."""
        size = np.log(self.diameter_mm / DIAMETER_MM) / DIAMETER_SD
        return np.asarray(truth.size * size + truth.vessel * self.vessel)

    def hidden_part(self, truth: TaceCoefficients) -> Values:
        """What can be seen in the image beyond the tumor's size."""
        return np.asarray(truth.rim * self.rim + truth.texture * self.texture)


def draw_causes(generator: np.random.Generator, number: int) -> TaceCauses:
    """Independent causes of `number` patients."""
    scores = generator.standard_normal((number, 3))
    diameter = np.clip(DIAMETER_MM * np.exp(DIAMETER_SD * scores[:, 2]), *DIAMETER_LIMITS)
    return TaceCauses(
        rim=np.clip(scores[:, 0], -HIDDEN_LIMIT, HIDDEN_LIMIT),
        texture=np.clip(scores[:, 1], -HIDDEN_LIMIT, HIDDEN_LIMIT),
        diameter_mm=np.round(diameter),
        vessel=(generator.random(number) < INVASION_RATE).astype(float),
    )


@dataclass(frozen=True)
class TaceBayes:
    """AUC of the best possible rule that knows these things.

    Parameters
    ----------
    combined
        Everything that has an effect.
    image
        Rim and texture.
    clinical
        Diameter and vascular invasion.
    event_rate
        Share of responders.
    """

    combined: float
    image: float
    clinical: float
    event_rate: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def tace_bayes(truth: TaceCoefficients, number: int = _SIMULATED) -> TaceBayes:
    """The population's Bayes AUC, from a large simulation with a fixed seed (Monte Carlo error below 0.001)."""
    causes = draw_causes(rng(0, "phantom-tace-bayes"), number)
    return aucs_of(truth, causes, risk(causes.linear_predictor(truth)))


def aucs_of(truth: TaceCoefficients, causes: TaceCauses, outcome: Values) -> TaceBayes:
    """What the true rule reaches on patients with these outcomes (or chances); NaN for one class."""
    rate = float(np.mean(outcome))
    if not 0.0 < rate < 1.0:
        return TaceBayes(float("nan"), float("nan"), float("nan"), rate)
    return TaceBayes(
        combined=expected_auc(causes.linear_predictor(truth), outcome),
        image=expected_auc(causes.hidden_part(truth), outcome),
        clinical=expected_auc(causes.clinical_part(truth), outcome),
        event_rate=rate,
    )
