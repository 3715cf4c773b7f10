"""The fitted models in the words and numbers that tables and figures need, and how the chain was validated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hepacast.core.estimates import Estimate
from hepacast.core.records import Record, sparse


@dataclass(frozen=True)
class ScaledRatio(Record):
    """An odds ratio for a stated change of the variable, for example ``per 0.1`` or ``per SD (0.17)``."""

    label: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Term(Record):
    """One term of a logistic model.

    Parameters
    ----------
    name, label, unit
        Variable, and how tables print it. A level of a categorical variable has its own term.
    coefficient, se
        Log odds per unit.
    ratio, low, high, p
        Odds ratio per unit with its confidence limits, two-sided P.
    scales
        The same for changes that mean something in the clinic.
    test
        Of a candidate alone: name of the test that chose it, where another than the model's own.
    """

    name: str
    label: str
    coefficient: float
    ratio: float
    low: float
    high: float
    p: float
    se: float = float("nan")
    unit: str | None = None
    scales: list[ScaledRatio] = field(default_factory=list)
    numeric: bool = False
    p_predictor: float = float("nan")
    test: str | None = None
    n: int = 0
    method: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class ProportionalTest(Record):
    """Test of proportional hazards of one term, or of all."""

    label: str
    chi2: float
    df: int
    p: float


@dataclass(frozen=True)
class BaselineAt(Record):
    """Survival of a patient with the mean of every term."""

    time: float
    survival: float


@dataclass(frozen=True)
class FittedModel(Record):
    """A logistic, Cox, Fine-Gray or weighted logistic model.

    Parameters
    ----------
    terms
        In the model's order.
    n, events
        Patients and events that it was fitted on.
    method
        ``maximum likelihood``, ``Firth``; ``cox``, ``cox-firth``, ``fine-gray``, ``baseline only``, ``ipcw``,
        ``intercept only``.
    kind
        ``logistic`` or ``cox``.
    status, reason
        ``ok``, or why the model could not be fitted.
    intercept
        Log odds; of a hazard minus the mean of the linear predictor.
    zph, baseline
        Of hazards: tests of proportionality, survival at the horizons.
    horizon, n_censored
        Of a logistic model at a horizon: when, and patients of weight 0.
    """

    terms: list[Term]
    n: int
    events: int
    method: str = "maximum likelihood"
    kind: str = "logistic"
    status: str = "ok"
    reason: str | None = None
    intercept: float = float("nan")
    zph: list[ProportionalTest] = field(default_factory=list)
    baseline: list[BaselineAt] = field(default_factory=list)
    horizon: float = float("nan")
    n_censored: int = 0


@dataclass(frozen=True)
class DescribedClinical(Record):
    """The clinical model: single-variable fits, the joint fit of those below alpha, the final model.

    Parameters
    ----------
    alpha
        P below which a variable stays.
    univariate
        One fit for each candidate; terms hold the odds ratios.
    multivariate
        The joint fit; None when no candidate passed.
    final
        The variables that stayed, fitted alone.
    selected
        Their names.
    tests
        Of each candidate alone: name, test, P, n, reason.
    """

    selected: list[str]
    alpha: float = 0.05
    univariate: list[Term] = field(default_factory=list)
    multivariate: FittedModel | None = None
    final: FittedModel | None = None
    tests: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class ChainStep(Record):
    """One step of the radiomics chain: how many features came in and went out.

    Parameters
    ----------
    name, label
        Short name, and the text in tables and the study-design figure.
    n_in, n_out
        Features.
    reasons
        Of features that left by a rule that the label does not name: reason -> features.
    """

    name: str
    label: str
    n_in: int
    n_out: int
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LassoPath(Record):
    """The LASSO of the training set.

    Parameters
    ----------
    lambdas
        Decreasing.
    coefficients
        By feature, one value a lambda.
    cv_mean, cv_se
        Cross-validated loss, one value a lambda; empty where lambda was fixed.
    n_nonzero
        Features in the model, one value a lambda.
    lambda_min, lambda_1se
        Of least loss; largest within one standard error.
    chosen
        The lambda that was used.
    measure, folds
        Loss and number of folds.
    """

    lambdas: list[float]
    coefficients: dict[str, list[float]]
    n_nonzero: list[int]
    chosen: float
    lambda_min: float = float("nan")
    lambda_1se: float = float("nan")
    cv_mean: list[float] = field(default_factory=list)
    cv_se: list[float] = field(default_factory=list)
    measure: str = "binomial deviance"
    folds: int = 10


@dataclass(frozen=True)
class RadscoreTerm(Record):
    """One feature of the Radscore: weight of the Z-scored feature, and the training mean and SD of the Z-score."""

    feature: str
    weight: float
    mean: float = float("nan")
    sd: float = float("nan")


@dataclass(frozen=True)
class RadscoreFormula(Record):
    """Radscore = intercept + sum of weight x (feature - mean) / sd; the same as text, of Z-scores and in own units."""

    intercept: float
    terms: list[RadscoreTerm]
    formula: str = ""
    formula_original_units: str = ""


@dataclass(frozen=True)
class DescribedRadiomics(Record):
    """The radiomics model.

    Parameters
    ----------
    steps
        In order; the numbers of the study-design figure.
    lasso, radscore
        None where the chain has none (another learner), or where no feature survived.
    final
        Logistic model on the Radscore, where the chain has one.
    status, reason
        ``ok``, or why there is no signature.
    """

    steps: list[ChainStep]
    lasso: LassoPath | None = None
    radscore: RadscoreFormula | None = None
    final: FittedModel | None = None
    status: str = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class DescribedCombined(Record):
    """Radscore and clinical predictors together; of the joint model biomarkers too."""

    final: FittedModel | None
    status: str = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class RiskShare(Record):
    """One feature's share in one patient's linear predictor, against the training mean."""

    label: str
    value: str
    contribution: float


@dataclass(frozen=True)
class BinaryStates(Record):
    """Who is known at the binary model's horizon: events, free of it, censored before (weight 0)."""

    horizon: float
    events: int
    free: int
    censored: int
    largest_weight: float = float("nan")
    sum_of_weights: float = float("nan")
    selected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cut(Record):
    """Cut-off of the risk groups."""

    value: float
    rule: str
    p: float = float("nan")
    note: str = ""


@dataclass(frozen=True)
class RiskBy(Record):
    """Risk of the example patient by one horizon."""

    time: float
    risk: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Example(Record):
    """A patient worked through: predicted risk (at each horizon), what came, and what the risk is made of."""

    patient: str
    risk: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    outcome: int | None = None
    horizons: list[RiskBy] = field(default_factory=list)
    observed: str = ""
    shares: list[RiskShare] = field(default_factory=list)


@dataclass(frozen=True)
class DescribedModels(Record):
    """`modelling/models.json`.

    Parameters
    ----------
    names
        The models that were compared: ``clinical, biomarkers, radiomics, combined, joint``, then networks.
    clinical, biomarkers, radiomics, combined, joint
        Those of a binary outcome: what entered, and the fitted model.
    nomogram
        `hepacast.nomogram.Nomogram.to_spec()` of the main model, with the example patient; None if it has no nomogram.
    example
        The patient that the nomogram is worked for.
    joined
        Of a fusion: the logistic model of each model's parts.
    main
        The model that the study is about: the last of its own models. Nomogram, example, risk groups and the comparison
        with indexes are its.
    event, unit, horizons, before_horizon, competing
        Of a time to an event: its name, the unit of time, the horizons, whether an event at the very horizon comes too
        late, whether other events compete.
    models
        Of a time to an event: the fitted models by name; what their fits had to say is in `notes`.
    cutoffs, cuts
        Cut-offs of the risk by model; of a time to an event those of the risk groups with their rule.
    fusion
        Whether the models join scores of classifiers and networks.
    selection, alpha, univariate, multivariate, selected
        How clinical predictors were chosen.
    binary
        Who is known at the horizon of a binary model.
    cause_specific
        Beside a model of competing events.
    """

    names: list[str]
    clinical: DescribedClinical | None = None
    biomarkers: DescribedClinical | None = sparse(None)
    radiomics: DescribedRadiomics | None = None
    combined: DescribedCombined | None = None
    joint: DescribedCombined | None = sparse(None)
    nomogram: dict[str, Any] | None = None
    example: Example | None = None
    joined: dict[str, FittedModel] = field(default_factory=dict)
    main: str = ""
    cutoffs: dict[str, float] = field(default_factory=dict)
    fusion: bool = False
    event: str = ""
    unit: str = ""
    horizons: tuple[float, ...] = ()
    before_horizon: bool = False
    competing: bool = False
    confidence: float = 0.95
    models: dict[str, FittedModel] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    selection: str = "independent"
    alpha: float = 0.05
    univariate: list[Term] = field(default_factory=list)
    multivariate: FittedModel | None = None
    selected: list[str] = field(default_factory=list)
    binary: BinaryStates | None = None
    cause_specific: FittedModel | None = None


@dataclass(frozen=True)
class Nested(Record):
    """Nested cross-validation of the whole chain.

    Parameters
    ----------
    estimate
        Mean over repeats of the AUC (of a time to an event: C) within folds, with limits.
    folds, repeats
        As run.
    per_repeat
        AUC or C of each repeat.
    n_failed, failures
        Fits that failed (their patients have no prediction; nothing was filled in): repeat, fold, reason.
    pooled
        Of all patients together, which compares risks of different fits.
    """

    estimate: Estimate
    folds: int
    repeats: int
    per_repeat: list[float] = field(default_factory=list)
    n_failed: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    pooled: float = float("nan")


@dataclass(frozen=True)
class ChainOptimism(Record):
    """Bootstrap optimism of the whole chain (Harrell): corrected = apparent - optimism; `slope` of the calibration.

    `plus_632` is Efron and Tibshirani's .632+ estimate; `reason` says why the corrected estimate has no limits;
    `monte_carlo_se` is the part of the corrected estimate's standard error that more than `resamples` would lessen.
    """

    apparent: float
    optimism: float
    corrected: Estimate
    resamples: int
    n_failed: int = 0
    slope: float = float("nan")
    plus_632: float = float("nan")
    reason: str | None = None
    monte_carlo_se: float = float("nan")


@dataclass(frozen=True)
class ModelValidation(Record):
    """How one model was validated; what was not asked for is None.

    Parameters
    ----------
    apparent
        AUC on the patients it was fitted on; if left out, that of the training set in `evaluation.json`.
    usual
        Selection on all patients, then cross-validation of the last step: the usual, flattering way.
    nested, bootstrap
        Of the whole chain.
    frozen
        AUC of the frozen model on the validation set; if left out, that in `evaluation.json`.
    """

    apparent: Estimate | None = None
    usual: Estimate | None = None
    nested: Nested | None = None
    bootstrap: ChainOptimism | None = None
    frozen: Estimate | None = None


@dataclass(frozen=True)
class SelectedShare(Record):
    """In how many of the resamples a variable was selected, 0 to 1."""

    name: str
    frequency: float
    label: str | None = None


@dataclass(frozen=True)
class StabilityIndex(Record):
    """Nogueira's index of the selection's stability (1: always the same, 0: as by chance), with limits."""

    index: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Permutation(Record):
    """AUCs or Cs of the whole chain under permuted outcome, the observed one, P = (1 + n >= observed) / (1 + n)."""

    null: list[float]
    observed: float
    p: float
    model: str = "combined"


@dataclass(frozen=True)
class Validation(Record):
    """`modelling/validation.json`.

    Parameters
    ----------
    models
        By model name.
    stability
        ``radiomics`` and ``clinical``: selection frequencies over the refits, largest first.
    nogueira
        Stability index of each part.
    refits
        Number of refits that the frequencies are shares of.
    permutation
        Null distribution; None if not asked for.
    """

    models: dict[str, ModelValidation]
    stability: dict[str, list[SelectedShare]] = field(default_factory=dict)
    nogueira: dict[str, StabilityIndex] = field(default_factory=dict)
    refits: int = 0
    permutation: Permutation | None = None
