"""The planted truth: who gets liver failure, by how much each cause counts, and the best AUC that anyone can reach.

The risk follows ``logit p = b0 + b_inr (INR - 1.07)/0.13 + b_alb (ALB - 38)/5.2 + b_texture T``: a higher INR, a lower
albumin and a coarser, stronger texture of the parenchyma (hidden score T) raise it. Nothing else has an effect.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hepacast.core.seeds import rng
from hepacast.errors import ModelError

Effect = Literal["planted", "none"]
Values = npt.NDArray[np.float64]

INR_MEAN, INR_SD = 1.07, 0.13
ALB_MEAN, ALB_SD = 38.0, 5.2
TEXTURE_LIMIT = 2.5
EVENT_RATE = 0.25
_SIMULATED = 200_000


@dataclass(frozen=True)
class Coefficients:
    """Of the logistic truth, on the logit scale.

    Parameters
    ----------
    intercept
        At INR 1.07, albumin 38 g/L, texture score 0.
    inr
        For an INR higher by 0.13 (one SD of the population).
    alb
        For an albumin higher by 5.2 g/L (one SD).
    texture
        For a texture score higher by 1 (one SD).
    """

    intercept: float
    inr: float
    alb: float
    texture: float

    def linear_predictor(self, inr: Values, alb: Values, texture: Values) -> Values:
        """Log odds of the outcome."""
        return (
            self.intercept
            + self.inr * (np.asarray(inr) - INR_MEAN) / INR_SD
            + self.alb * (np.asarray(alb) - ALB_MEAN) / ALB_SD
            + self.texture * np.asarray(texture)
        )

    def clinical_part(self, inr: Values, alb: Values) -> Values:
        """What INR and albumin alone say; risk rises with it, as texture is independent of both."""
        return self.linear_predictor(inr, alb, np.zeros_like(np.asarray(inr, dtype=float)))


#: The intercepts give an event rate of 0.25 in the population (a test holds them to it).
PLANTED = Coefficients(intercept=-3.430, inr=2.0, alb=-1.8, texture=3.8)
NOTHING = Coefficients(intercept=float(np.log(EVENT_RATE / (1 - EVENT_RATE))), inr=0.0, alb=0.0, texture=0.0)


def coefficients_of(effect: str) -> Coefficients:
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
class Predictors:
    """The three causes for several patients; INR and albumin as a laboratory prints them."""

    inr: Values
    alb: Values
    texture: Values


def draw_predictors(generator: np.random.Generator, number: int) -> Predictors:
    """INR (median 1.06), albumin (38 g/L, SD 5.2; correlation with log INR -0.3) and the hidden texture score."""
    scores = generator.standard_normal((number, 3))
    log_inr = scores[:, 0]
    alb = -0.3 * log_inr + np.sqrt(1 - 0.3**2) * scores[:, 1]
    return Predictors(
        inr=np.asarray(np.round(np.clip(1.06 * np.exp(0.12 * log_inr), 0.80, 1.48), 2), dtype=float),
        alb=np.round(np.clip(ALB_MEAN + ALB_SD * alb, 21.0, 54.0), 1),
        texture=np.clip(scores[:, 2], -TEXTURE_LIMIT, TEXTURE_LIMIT),
    )


def risk(linear_predictor: Values) -> Values:
    """Probability of the outcome."""
    return 1.0 / (1.0 + np.exp(-np.asarray(linear_predictor, dtype=float)))


@dataclass(frozen=True)
class BayesAuc:
    """AUC of the best possible rule that knows these things.

    Parameters
    ----------
    combined
        INR, albumin and texture.
    clinical
        INR and albumin.
    texture
        Texture alone.
    event_rate
        Share of patients with the outcome.
    """

    combined: float
    clinical: float
    texture: float
    event_rate: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def expected_auc(score: Values, probability: Values) -> float:
    """AUC of a score when patient i has the outcome with probability p_i; ties count one half.

    It is the limit of the usual AUC over many draws of the outcome: the share of (event, non-event) pairs, each
    weighted with its probability, that the score puts in order.
    """
    order = np.argsort(score, kind="stable")
    sorted_score, p = np.asarray(score)[order], np.asarray(probability)[order]
    _, group = np.unique(sorted_score, return_inverse=True)
    events = np.bincount(group, weights=p)
    others = np.bincount(group, weights=1.0 - p)
    below = np.cumsum(others) - others
    return float((events * (below + 0.5 * others)).sum() / (p.sum() * (1.0 - p).sum()))


def bayes_auc(coefficients: Coefficients, number: int = _SIMULATED) -> BayesAuc:
    """The population's Bayes AUC, from a large simulation with a fixed seed (Monte Carlo error below 0.001)."""
    drawn = draw_predictors(rng(0, "phantom-bayes"), number)
    return _aucs(coefficients, drawn, risk(coefficients.linear_predictor(drawn.inr, drawn.alb, drawn.texture)))


def drawn_auc(coefficients: Coefficients, drawn: Predictors, outcome: Values) -> BayesAuc:
    """What the true rule reaches on the patients drawn, with their outcomes: chance included (NaN for one class)."""
    return _aucs(coefficients, drawn, np.asarray(outcome, dtype=float))


def _aucs(coefficients: Coefficients, drawn: Predictors, probability: Values) -> BayesAuc:
    rate = float(probability.mean())
    if not 0.0 < rate < 1.0:
        return BayesAuc(float("nan"), float("nan"), float("nan"), rate)
    return BayesAuc(
        combined=expected_auc(coefficients.linear_predictor(drawn.inr, drawn.alb, drawn.texture), probability),
        clinical=expected_auc(coefficients.clinical_part(drawn.inr, drawn.alb), probability),
        texture=expected_auc(coefficients.texture * drawn.texture, probability),
        event_rate=rate,
    )
