"""Classifiers of the chain grammar: one registry, every one with `decision_function` or `predict_proba`.

Each entry builds a scikit-learn classifier from its parameters, the class weights and a seed. Linear ones carry `coef_`
and `intercept_`, so that their score has a formula.

Of time and event the linear ones are Cox models; the others learn the event by a horizon, each patient weighted by the
inverse probability of not being censored (`AtHorizon`), which serves any learner that takes weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import has_fit_parameter

from hepacast.core.optional import require
from hepacast.errors import ModelError, OutcomeError
from hepacast.modelling.base import Array, BinaryClassifier, as_frame, as_outcome, both_risks, listed, numbers_of
from hepacast.modelling.folds import inner_fold_count, stratified_folds
from hepacast.modelling.targets import as_follow_up, as_target, event_classes, for_penalized, has_time, inner_folds
from hepacast.stats.censoring import known_states
from hepacast.stats.cox import fit_cox
from hepacast.stats.cox_firth import fit_cox_firth
from hepacast.stats.firth import fit_firth
from hepacast.stats.logistic import fit_logistic
from hepacast.stats.penalized_cv import Rule, cv_glmnet

Weighting = Literal["none", "balanced"]


def class_weights(outcome: NDArray[np.int64], weighting: Weighting) -> Array:
    """Weight of each row: 1, or inversely proportional to the size of its class (mean 1)."""
    if weighting == "none":
        return np.ones(len(outcome))
    share = outcome.mean()
    return np.where(outcome == 1, 0.5 / share, 0.5 / (1 - share))


class _Linear(BinaryClassifier):
    """Base of the linear classifiers."""

    coef_: Array
    intercept_: Array

    def decision_function(self, X: Any) -> Array:
        """Log odds of each row."""
        return np.asarray(numbers_of(as_frame(X)) @ self.coef_[0] + self.intercept_[0])


class PlainLinear(_Linear):
    """Logistic or Cox regression by maximum likelihood, Firth's penalty when it has no maximum (or always).

    Parameters
    ----------
    firth
        ``"auto"`` or ``"always"``.
    weighting
        Class weights.
    """

    def __init__(self, firth: str = "auto", weighting: Weighting = "none") -> None:
        self.firth = firth
        self.weighting = weighting

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.classes_ = np.array([0, 1])
        matrix = numbers_of(frame)
        names = [str(name) for name in frame.columns]
        if has_time(outcome):
            _refuse_class_weights(self.weighting)
            self.coef_ = _cox_coefficients(matrix, outcome, names, self.firth)[None, :]
            self.intercept_ = np.array([zero_at_mean(matrix, self.coef_[0])])
            return self
        weights = class_weights(outcome, self.weighting)
        fit = None if self.firth == "always" else fit_logistic(matrix, outcome, names, weights=weights)
        if fit is None or not fit.ok:
            fit = fit_firth(matrix, outcome, names, weights=weights).require()
        self.coef_, self.intercept_ = fit.coef[None, :], np.array([fit.intercept])
        return self


def _cox_coefficients(matrix: Array, outcome: NDArray[Any], names: list[str], firth: str) -> Array:
    times, events = outcome[:, 0], (outcome[:, 1] == 1).astype(float)
    try:
        fit = None if firth == "always" else fit_cox(matrix, times, events, names)
    except np.linalg.LinAlgError:
        fit = None
    if fit is None or fit.status != "ok":
        try:
            fit = fit_cox_firth(matrix, times, events, names).fit
        except np.linalg.LinAlgError as error:
            raise ModelError(
                "The Cox model of the features has no estimate: one is a combination of the others, or does not vary.",
                found=listed(names),
            ) from error
    return np.asarray(fit.coef, dtype=float)


def zero_at_mean(matrix: Array, coefficients: Array) -> float:
    """What makes a Cox model's score of the mean patient 0.

    It has no intercept, so nothing else is common to the models of several folds, whose scores stand in one column.
    Columns that are centered but for rounding are left as they are.
    """
    mean = float(matrix.mean(axis=0) @ coefficients)
    return 0.0 if abs(mean) < 1e-9 else -mean


def _refuse_class_weights(weighting: Weighting) -> None:
    if weighting != "none":
        raise ModelError(
            "Classes have no weights where the outcome is time and event: a censored patient is of neither class.",
            expected="class_weights: none",
            found=weighting,
        )


class PenalizedLinear(_Linear):
    """Ridge, elastic net or LASSO, logistic or Cox, with the penalty chosen by inner cross-validation (deviance), as
    glmnet does it.

    Parameters
    ----------
    alpha
        0 ridge, 1 LASSO.
    rule
        ``"min"`` or ``"1se"``.
    n_folds, seed
        Of the inner cross-validation.
    weighting
        Class weights.
    """

    def __init__(
        self,
        alpha: float = 0.0,
        rule: Rule = "min",
        n_folds: int = 5,
        weighting: Weighting = "none",
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.rule = rule
        self.n_folds = n_folds
        self.weighting = weighting
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit."""
        frame = as_frame(X)
        outcome = as_target(y, len(frame))
        self.classes_ = np.array([0, 1])
        of_time = has_time(outcome)
        if of_time:
            _refuse_class_weights(self.weighting)
        folds = inner_folds(outcome, self.n_folds, frame.index)
        choice = cv_glmnet(
            numbers_of(frame),
            foldid=stratified_folds(frame.index, event_classes(outcome), folds, self.seed, "penalty"),
            **for_penalized(outcome),
            alpha=self.alpha,
            weights=None if of_time else class_weights(outcome, self.weighting),
            n_lambda=30 if self.alpha == 0 else 60,
            lambda_min_ratio=1e-4 if self.alpha == 0 else 0.01,
            shared_path=True,
        )
        intercept, coefficients = choice.coefficients(self.rule)
        self.coef_ = coefficients[None, :]
        self.intercept_ = np.array([zero_at_mean(numbers_of(frame), coefficients) if of_time else intercept])
        return self


class AtHorizon(BinaryClassifier):
    """A classifier of the event by a horizon, learned from time and event.

    Patients whose state at the horizon is known stand for those who were censored before it, weighted by the inverse
    of their probability of not being censored (Vock DM et al. J Biomed Inform 2016;61:119); a competing event before
    the horizon means that the event never comes. A classifier that takes no weights learns from each of them alike.

    Parameters
    ----------
    classifier
        Any classifier of the registry.
    horizon
        In the unit of the follow-up.

    Attributes
    ----------
    classifier_
        Fitted to the patients whose state is known.
    """

    def __init__(self, classifier: Any, horizon: float = 1.0) -> None:
        self.classifier = classifier
        self.horizon = horizon

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit; rows are patients, ``y`` is time and event."""
        frame = as_frame(X)
        times, codes = as_follow_up(y, len(frame))
        state, weight = known_states(times, codes, self.horizon)
        known, event = weight > 0, (state == 1).astype(np.int64)
        self.classes_ = np.array([0, 1])
        if min(event[known].sum(), (1 - event[known]).sum()) < 1:
            raise OutcomeError(
                f"A classifier of the event by {self.horizon:g} cannot be fitted.",
                expected="patients with the event by then, and patients known to be without it",
                found=f"{int(event[known].sum())} with, {int((1 - event[known]).sum())} without",
                remedy="choose another horizon",
            )
        weights = {"sample_weight": weight[known]} if takes_weights(self.classifier) else {}
        self.classifier_ = clone(self.classifier).fit(frame[known], event[known], **weights)
        return self

    def decision_function(self, X: Any) -> Array:
        """Score of each row."""
        return raw_score(self.classifier_, X)

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event by the horizon, shape (n, 2)."""
        return np.asarray(self.classifier_.predict_proba(X))


def takes_weights(classifier: Any) -> bool:
    """Whether each row of a classifier can have a weight of its own."""
    return not isinstance(classifier, Quiet) and has_fit_parameter(classifier, "sample_weight")


class Calibrated(BinaryClassifier):
    """Any classifier with its scores turned into risks by cross-fitting (Platt's logistic, or isotonic).

    The classifier is fitted to all rows; the calibration to scores that each row got from a fit without it.

    Parameters
    ----------
    classifier
        The classifier.
    method
        ``"platt"`` or ``"isotonic"``.
    n_folds, seed
        Of the cross-fitting.
    """

    def __init__(
        self, classifier: Any, method: Literal["platt", "isotonic"] = "platt", n_folds: int = 5, seed: int = 0
    ) -> None:
        self.classifier = classifier
        self.method = method
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit the classifier and its calibration."""
        from sklearn.isotonic import IsotonicRegression

        frame = as_frame(X)
        outcome = as_outcome(y, len(frame))
        self.classes_ = np.array([0, 1])
        folds = inner_fold_count(outcome, self.n_folds, frame.index)
        fold = stratified_folds(frame.index, outcome, folds, self.seed, "calibration")
        scores = np.empty(len(frame))
        for number in range(folds):
            held = fold == number
            scores[held] = raw_score(clone(self.classifier).fit(frame[~held], outcome[~held]), frame[held])
        self.classifier_ = clone(self.classifier).fit(frame, outcome)
        if self.method == "isotonic":
            self.map_: Any = IsotonicRegression(out_of_bounds="clip").fit(scores, outcome)
        else:
            self.map_ = PlainLinear()
            constant = np.ptp(scores) == 0
            self.map_.fit(np.empty((len(scores), 0)) if constant else scores[:, None], outcome)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        scores = raw_score(self.classifier_, X)
        if self.method == "isotonic":
            risk = np.asarray(self.map_.predict(scores))
        else:
            width = self.map_.coef_.shape[1]
            risk = self.map_.predict_proba(scores[:, None][:, :width])[:, 1]
        return both_risks(risk)


def raw_score(classifier: Any, X: Any) -> Array:
    """A classifier's score, on the scale of log odds where it has one (risks of 0 and 1 count as 0.005 and 0.995)."""
    if hasattr(classifier, "decision_function"):
        return np.asarray(classifier.decision_function(X), dtype=float).ravel()
    return clipped_log_odds(np.asarray(classifier.predict_proba(X), dtype=float)[:, 1])


def clipped_log_odds(risk: Array) -> Array:
    """Log odds of risks, in which 0 and 1 count as 0.005 and 0.995."""
    inside = np.clip(risk, 0.005, 0.995)
    return np.asarray(np.log(inside / (1 - inside)))


def _svm(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    from sklearn.svm import SVC

    return SVC(**{"kernel": "rbf", "C": 1.0, "gamma": "scale", **parameters}, class_weight=_sk(weighting))


def _knn(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(**{"n_neighbors": 15, "weights": "distance", **parameters})


def _random_forest(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    defaults = {"n_estimators": 500, "min_samples_leaf": 2}
    return RandomForestClassifier(**{**defaults, **parameters}, class_weight=_sk(weighting), random_state=seed)


def _extra_trees(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    defaults = {"n_estimators": 500, "min_samples_leaf": 2}
    return ExtraTreesClassifier(**{**defaults, **parameters}, class_weight=_sk(weighting), random_state=seed)


def _xgboost(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    package = require("xgboost", purpose="The classifier xgboost", extra="ml")
    defaults = {"n_estimators": 200, "max_depth": 3, "learning_rate": 0.05, "subsample": 0.8, "colsample_bytree": 0.5}
    return package.XGBClassifier(**{**defaults, **parameters}, random_state=seed, n_jobs=1, eval_metric="logloss")


def _mlp(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    # Adam with a fixed number of passes: stopping early is a part of its regularization, not a failure.
    defaults = {"hidden_layer_sizes": (16,), "alpha": 1.0, "max_iter": 200, "learning_rate_init": 5e-3, "tol": 0.0}
    defaults["n_iter_no_change"] = 200
    return Quiet(MLPClassifier(**{**defaults, **parameters}, random_state=seed))


class Quiet(ClassifierMixin, BaseEstimator):
    """A classifier whose iterations are meant to end at their limit, without a warning about it."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier_ = clone(self.classifier).fit(X, y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, X: Any) -> Array:
        """Risk of no event and of the event, shape (n, 2)."""
        return np.asarray(self.classifier_.predict_proba(X))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """The likelier class."""
        return np.asarray(self.classifier_.predict(X))


def _naive_bayes(parameters: dict[str, Any], weighting: Weighting, seed: int) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(**{"var_smoothing": 1e-2, **parameters})


def _sk(weighting: Weighting) -> str | None:
    return None if weighting == "none" else "balanced"


def _penalized(alpha: float) -> Callable[[dict[str, Any], Weighting, int], Any]:
    return lambda parameters, weighting, seed: PenalizedLinear(
        **{"alpha": alpha, **parameters}, weighting=weighting, seed=seed
    )


Builder = Callable[[dict[str, Any], Weighting, int], Any]


class Registered(NamedTuple):
    """A classifier of the registry: its name in texts, what makes it, and whether it can weight the classes."""

    label: str
    build: Builder
    weights_classes: bool = True


#: Classifiers by name. The first group is linear: a chain that ends in one of them has a formula.
LINEAR: dict[str, Registered] = {
    "logistic": Registered("Logistic regression", lambda p, weighting, seed: PlainLinear(**p, weighting=weighting)),
    "firth": Registered(
        "Firth's logistic regression", lambda p, weighting, seed: PlainLinear(firth="always", **p, weighting=weighting)
    ),
    "ridge": Registered("Ridge logistic regression", _penalized(0.0)),
    "elastic_net": Registered("Elastic net logistic regression", _penalized(0.5)),
    "lasso": Registered("LASSO logistic regression", _penalized(1.0)),
}
OTHERS: dict[str, Registered] = {
    "svm": Registered("Support vector machine", _svm),
    "knn": Registered("k nearest neighbors", _knn, weights_classes=False),
    "random_forest": Registered("Random forest", _random_forest),
    "extra_trees": Registered("Extra trees", _extra_trees),
    "xgboost": Registered("XGBoost", _xgboost, weights_classes=False),
    "mlp": Registered("Multilayer perceptron", _mlp, weights_classes=False),
    "naive_bayes": Registered("Naive Bayes", _naive_bayes, weights_classes=False),
}
CLASSIFIERS: dict[str, Registered] = {**LINEAR, **OTHERS}

#: Those that a fusion lets compete on features that a chain has selected.
COMPETING = ("logistic", "ridge", *OTHERS)


def make_classifier(
    name: str, parameters: dict[str, Any], weighting: Weighting, seed: int, horizon: float | None = None
) -> Any:
    """A classifier of the registry.

    Parameters
    ----------
    horizon
        Of time and event: those that are no Cox models learn the event by then.

    Raises
    ------
    ModelError
        Unknown name or parameter.
    """
    if name not in CLASSIFIERS:
        raise ModelError("Unknown classifier.", expected=listed(CLASSIFIERS, 20), found=name)
    if weighting != "none" and not CLASSIFIERS[name].weights_classes:
        raise ModelError(
            f"The classifier {name} takes no class weights.",
            expected=listed((item for item in CLASSIFIERS if CLASSIFIERS[item].weights_classes), 20),
            remedy="set class_weights to none (a ranking by risk, and its AUC, hardly change)",
        )
    if horizon is not None:
        _refuse_class_weights(weighting)
    try:
        made = CLASSIFIERS[name].build(dict(parameters), weighting, seed)
    except TypeError as error:
        raise ModelError(f"The classifier {name} does not take these parameters.", found=str(error)) from error
    return made if horizon is None or name in LINEAR else AtHorizon(made, horizon)
