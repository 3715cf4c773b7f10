"""The grammar of a radiomics chain: what a study file may say under ``modelling: chain``, and how it is built.

The paper's own chain is the word ``ptlf``; ``auto`` is one default for any table. A chain of one's own is a mapping::

    chain:
      redundancy: 0.9
      univariate: null
      selector: {kind: elastic_net, rule: 1se}
      n_features: 8
      classifier: ridge
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from sklearn.pipeline import Pipeline

from hepacast.core.seeds import derive_seed, rng
from hepacast.errors import StudyFileError
from hepacast.modelling.auto import AutoClassifier
from hepacast.modelling.base import listed
from hepacast.modelling.chain_score import ChainScore, Searched, Stacked
from hepacast.modelling.classifiers import CLASSIFIERS, LINEAR, Calibrated, Weighting, make_classifier
from hepacast.modelling.filters import ReproducibilityFilter, SpearmanFilter, UnivariateFilter
from hepacast.modelling.harmonize import Harmonizer
from hepacast.modelling.impute import TypedImputer
from hepacast.modelling.radscore import Radscore
from hepacast.modelling.scale import RankToNormal, ZScore
from hepacast.modelling.score_model import ScoreModel, ScoreRule
from hepacast.modelling.selectors import (
    BorutaLike,
    KBest,
    LassoSelector,
    MinimumRedundancy,
    StabilitySelection,
    TopK,
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _short(key: str) -> BeforeValidator:
    """``redundancy: 0.8`` stands for ``redundancy: {threshold: 0.8}``."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str | int | float) else value)


class HarmonizerSpec(_Part):
    """ComBat over the sites."""

    site_column: str = Field(default="center", description="column that names the site")
    unseen: Literal["refuse", "pooled", "reference"] = Field(
        default="pooled", description="a site that training did not have"
    )
    reference: str | None = Field(default=None, description="site to whose scale the others are brought")
    covariates: tuple[str, ...] = Field(default=(), description="columns whose effect is kept; never the outcome")
    prior: Literal["parametric", "nonparametric"] = Field(default="parametric", description="prior of the site effects")
    mean_only: bool = Field(default=False, description="correct the location only")


class ReproducibilitySpec(_Part):
    """Features that agree between readers or masks."""

    minimum: float = Field(default=0.75, ge=0, le=1, description="smallest ICC kept")
    table: dict[str, float] | None = Field(default=None, description="ICC by feature; filled in by the study")
    missing: Literal["drop", "keep", "refuse"] = Field(default="drop", description="a feature without an ICC")


class RedundancySpec(_Part):
    """Correlated features."""

    threshold: float = Field(default=0.8, gt=0, le=1, description="largest |Spearman's rho| between kept features")
    prefer: Literal["outcome", "order", "reproducibility", "mean_correlation"] = Field(
        default="outcome", description="which of a pair is kept"
    )


class UnivariateSpec(_Part):
    """Features that differ between the classes."""

    alpha: float = Field(default=0.05, gt=0, le=1, description="P below which a feature is kept")
    test: Literal["auto", "t", "mann-whitney"] = Field(default="auto", description="auto: by normality")
    adjust: Literal["none", "BH", "BY", "holm", "bonferroni"] = Field(
        default="none", description="for the number of tests"
    )


class SelectorSpec(_Part):
    """Choice of the signature."""

    kind: Literal["lasso", "elastic_net", "mrmr", "boruta", "stability", "k_best", "none"] = Field(
        default="lasso", description="method"
    )
    rule: Literal["min", "1se"] = Field(default="min", description="penalty of LASSO and elastic net")
    measure: Literal["deviance", "auc", "class"] = Field(default="deviance", description="what the inner folds compare")
    folds: int = Field(default=10, ge=3, description="inner folds of the penalty")
    frequency: float = Field(default=0.6, gt=0.5, le=1, description="stability: smallest share of random halves")


class ClassifierSpec(_Part):
    """What makes the score from the chosen features."""

    kind: str = Field(default="selector", description="selector (its own weights), auto, or a classifier")
    parameters: dict[str, Any] = Field(default_factory=dict, description="the classifier's own parameters")


class SearchSpec(_Part):
    """A search inside the fold."""

    over: dict[str, list[Any]] = Field(description="values to try, by dotted path (redundancy.threshold)")
    budget: int = Field(default=20, ge=1, description="combinations tried, drawn at random when there are more")
    folds: int = Field(default=3, ge=2, description="inner folds that compare them")


class ChainSpec(_Part):
    """A chain; every step may be switched off with null (or none)."""

    name: str = Field(default="custom", description="name in reports")
    scaler: Literal["zscore", "robust", "rank", "none"] = Field(default="zscore", description="scaling of the features")
    harmonizer: HarmonizerSpec | None = Field(default=None, description="removal of site differences")
    reproducibility: Annotated[ReproducibilitySpec | None, _short("minimum")] = Field(
        default=None, description="ICC filter"
    )
    redundancy: Annotated[RedundancySpec | None, _short("threshold")] = Field(
        default=RedundancySpec(), description="filter of correlated features"
    )
    univariate: Annotated[UnivariateSpec | None, _short("alpha")] = Field(
        default=UnivariateSpec(), description="filter of unrelated features"
    )
    selector: Annotated[SelectorSpec, _short("kind")] = Field(
        default=SelectorSpec(), description="choice of the signature"
    )
    n_features: int | None = Field(
        default=10, ge=1, description="features of most weight that are kept; null: all selected"
    )
    classifier: Annotated[ClassifierSpec, _short("kind")] = Field(
        default=ClassifierSpec(), description="maker of the score"
    )
    class_weights: Literal["none", "balanced"] = Field(default="none", description="weights of the classes")
    calibration: Literal["none", "platt", "isotonic"] = Field(
        default="none", description="calibration of the classifier"
    )
    stack: tuple[Annotated[ClassifierSpec, _short("kind")], ...] = Field(
        default=(), description="classifiers stacked in place of one"
    )
    search: SearchSpec | None = Field(default=None, description="inner search with a fixed budget")

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any] | ChainSpec) -> ChainSpec:
        """From a name (``ptlf``, ``auto``), a mapping, or a YAML file.

        Raises
        ------
        StudyFileError
            Unknown name, key or value; the message names the nearest legal key.
        """
        if isinstance(source, ChainSpec):
            return source
        if isinstance(source, Mapping):
            return _validated(dict(source), "the chain")
        if str(source) in NAMED:
            return NAMED[str(source)]
        path = Path(source)
        if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
            return _validated(_read_chain(path), str(path))
        near = difflib.get_close_matches(str(source), NAMED, n=1, cutoff=0.5)
        raise StudyFileError(
            "There is no chain of this name.",
            expected=", ".join(NAMED) + ", a mapping, or a YAML file",
            found=str(source),
            remedy=f"did you mean {near[0]!r}?" if near else None,
        )

    def with_harmonizer(self, site_column: str = "center", **settings: Any) -> ChainSpec:
        """The same chain with ComBat over the sites of a column."""
        return self.model_copy(update={"harmonizer": HarmonizerSpec(site_column=site_column, **settings)})

    def with_reproducibility(self, table: Mapping[str, float], minimum: float | None = None) -> ChainSpec:
        """The same chain with the measured ICCs filled in."""
        old = self.reproducibility or ReproducibilitySpec()
        least = old.minimum if minimum is None else minimum
        return self.model_copy(
            update={"reproducibility": old.model_copy(update={"table": dict(table), "minimum": least})}
        )

    @property
    def has_formula(self) -> bool:
        """Whether the score is a linear combination of features, so that the model can be written down and shared."""
        linear = self.classifier.kind in ("selector", *LINEAR)
        plain = self.scaler in ("zscore", "robust", "none") and self.calibration == "none"
        return linear and plain and not self.stack and self.search is None


def check_for_time(spec: ChainSpec) -> None:
    """Refuse a chain with a part that has no form for time and event.

    Raises
    ------
    StudyFileError
        It calibrates or weights classes, or chooses a penalty by classes: a censored patient is of no class.
    """
    wrong = []
    if spec.calibration != "none":
        wrong.append("calibration (the Cox model of the score gives the risks)")
    if spec.class_weights != "none":
        wrong.append("class_weights (censored patients are weighted for)")
    if spec.selector.kind in ("lasso", "elastic_net") and spec.selector.measure != "deviance":
        wrong.append(f"selector.measure {spec.selector.measure} (of a Cox model it is the deviance)")
    if wrong:
        raise StudyFileError(
            "This radiomics chain has a part that has no form for time and event.",
            expected="no calibration, no class_weights, selector.measure: deviance",
            found=f"chain {spec.name}: " + "; ".join(wrong),
            where="modelling.chain",
            remedy="leave it out",
        )


def _read_chain(path: Path) -> dict[str, Any]:
    from hepacast.core.yaml_text import read_yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyFileError("The file of the chain is not UTF-8 text.", found=str(error), where=str(path)) from error
    content, _ = read_yaml(text, what="file of the chain", where=str(path))
    if content is not None and not isinstance(content, dict):
        raise StudyFileError("The file of the chain holds no keys.", found=type(content).__name__, where=str(path))
    return content or {}


def _validated(content: dict[str, Any], where: str) -> ChainSpec:
    try:
        spec = ChainSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        key = str(first["loc"][-1]) if first["loc"] else ""
        legal = [name for part in _parts() for name in part.model_fields]
        near = difflib.get_close_matches(key, legal, n=1, cutoff=0.6)
        unknown = first["type"] == "extra_forbidden"
        raise StudyFileError(
            f"The chain has an unknown key {key!r}." if unknown else f"The chain's {place!r} is not legal.",
            expected=None if unknown else first["msg"],
            found=place if unknown else repr(first["input"]),
            where=where,
            remedy=f"did you mean {near[0]!r}?" if unknown and near else None,
        ) from error
    for item in (spec.classifier, *spec.stack):
        if item.kind not in ("selector", "auto", *CLASSIFIERS):
            near = difflib.get_close_matches(item.kind, CLASSIFIERS, n=1, cutoff=0.5)
            raise StudyFileError(
                "Unknown classifier.",
                expected=listed(["selector", "auto", *CLASSIFIERS], 20),
                found=item.kind,
                where=where,
                remedy=f"did you mean {near[0]!r}?" if near else None,
            )
    return spec


def _parts() -> tuple[type[_Part], ...]:
    return (
        ChainSpec,
        HarmonizerSpec,
        ReproducibilitySpec,
        RedundancySpec,
        UnivariateSpec,
        SelectorSpec,
        ClassifierSpec,
        SearchSpec,
    )


#: Chains that have a name.
NAMED: dict[str, ChainSpec] = {
    "ptlf": ChainSpec(name="ptlf"),
    "auto": ChainSpec(
        name="auto",
        scaler="none",
        redundancy=None,
        univariate=None,
        selector=SelectorSpec(kind="none"),
        n_features=None,
        classifier=ClassifierSpec(kind="auto"),
    ),
}


def filter_steps(spec: ChainSpec, seed: int) -> list[tuple[str, Any]]:
    """The steps before the classifier."""
    steps: list[tuple[str, Any]] = [("impute", TypedImputer(all_missing="drop"))]
    if spec.harmonizer is not None:
        steps.append(("harmonize", Harmonizer(**spec.harmonizer.model_dump())))
    if spec.scaler in ("zscore", "robust"):
        steps.append(("scale", ZScore(method=spec.scaler)))  # type: ignore[arg-type]
    elif spec.scaler == "rank":
        steps.append(("scale", RankToNormal()))
    table = None
    if spec.reproducibility is not None:
        own = spec.reproducibility
        # A series is cloned as it is with its estimator, a dictionary of thousands key by key.
        table = None if own.table is None else pd.Series(own.table, dtype=float)
        steps.append(("reproducibility", ReproducibilityFilter(table, own.minimum, own.missing)))
    if spec.redundancy is not None:
        redundancy = spec.redundancy
        steps.append(("redundancy", SpearmanFilter(redundancy.threshold, redundancy.prefer, table)))
    if spec.univariate is not None:
        steps.append(("univariate", UnivariateFilter(**spec.univariate.model_dump())))
    selector = _selector(spec, seed)
    if selector is not None:
        steps.append(("selector", selector))
    return steps


def _selector(spec: ChainSpec, seed: int) -> Any:
    choice, k = spec.selector, spec.n_features
    seed = derive_seed(seed, "selector")
    if choice.kind == "none":
        return None
    if choice.kind == "mrmr":
        return MinimumRedundancy(k or 10)
    if choice.kind == "k_best":
        return KBest(k or 10)
    if choice.kind in ("lasso", "elastic_net"):
        alpha = 1.0 if choice.kind == "lasso" else 0.5
        selector: Any = LassoSelector(
            alpha=alpha, rule=choice.rule, measure=choice.measure, n_folds=choice.folds, seed=seed
        )
    elif choice.kind == "stability":
        selector = StabilitySelection(frequency=choice.frequency, seed=seed)
    else:
        selector = BorutaLike(seed=seed)
    return selector if k is None else TopK(selector, k)


def _classifier(spec: ChainSpec, seed: int, horizon: float | None) -> Any:
    seed = derive_seed(seed, "classifier")
    if spec.stack:
        members = [(item.kind, _single(item, spec, derive_seed(seed, n), horizon)) for n, item in enumerate(spec.stack)]
        return Stacked(members, seed=seed)
    classifier = _single(spec.classifier, spec, seed, horizon)
    return classifier if spec.calibration == "none" else Calibrated(classifier, spec.calibration, seed=seed)


def _single(item: ClassifierSpec, spec: ChainSpec, seed: int, horizon: float | None) -> Any:
    kind = "logistic" if item.kind == "selector" else item.kind
    return classifier_of(kind, item.parameters, spec.class_weights, seed, horizon)


def classifier_of(
    kind: str, parameters: dict[str, Any], weighting: Weighting, seed: int, horizon: float | None = None
) -> Any:
    """``auto``, which has a form for time and event, or a classifier of the registry (`make_classifier`)."""
    if kind == "auto":
        return AutoClassifier(**parameters, seed=seed)
    return make_classifier(kind, parameters, weighting, seed, horizon)


def build_radiomics_model(
    spec: ChainSpec | str | Mapping[str, Any],
    *,
    score: ScoreRule = "cross-fitted",
    seed: int = 0,
    horizon: float | None = None,
) -> ScoreModel:
    """The radiomics model of a chain: `Radscore` where it has a formula, else `ChainScore`.

    Parameters
    ----------
    horizon
        The main one of an outcome of time and event; None without time.

    Raises
    ------
    StudyFileError
        The chain has a part that has no form for the outcome.
    """
    chain = ChainSpec.load(spec)
    if horizon is not None:
        check_for_time(chain)
    if not chain.has_formula:
        return ChainScore(_pipeline(chain, seed, horizon), score=score, seed=seed)
    steps = filter_steps(chain, seed)
    if chain.selector.kind == "none":
        steps.append(("keep", KBest(chain.n_features or 10**9)))
    weights: Any = "auto"
    if chain.classifier.kind == "logistic" and not chain.classifier.parameters and chain.class_weights == "none":
        weights = "refit"
    elif chain.classifier.kind != "selector":
        weights = _classifier(chain, seed, horizon)
    return Radscore(Pipeline(steps), weights=weights, score=score, seed=seed)


def _pipeline(spec: ChainSpec, seed: int, horizon: float | None) -> Pipeline:
    if spec.search is not None:
        return Pipeline([("search", _searched(spec, seed, horizon))])
    return Pipeline([*filter_steps(spec, seed), ("classifier", _classifier(spec, seed, horizon))])


def build_chain(spec: ChainSpec | str | Mapping[str, Any], seed: int = 0) -> Pipeline:
    """A chain as a scikit-learn Pipeline with ``fit`` and ``predict_proba``; `seed` decides all its random choices.

    A chain with a formula is a Pipeline of one `Radscore` (whose steps are in ``named_steps["model"].chain``).
    """
    return Pipeline([("model", build_radiomics_model(spec, seed=seed))])


def _searched(spec: ChainSpec, seed: int, horizon: float | None) -> Searched:
    assert spec.search is not None
    names = list(spec.search.over)
    grid = list(itertools.product(*(spec.search.over[name] for name in names)))
    if len(grid) > spec.search.budget:
        order = rng(seed, "search").permutation(len(grid))[: spec.search.budget]
        grid = [grid[index] for index in np.sort(order)]
    base = spec.model_dump(exclude={"search"}, exclude_unset=True)
    candidates = []
    for values in grid:
        content = _deep_copy(base)
        for path, value in zip(names, values):
            _set(content, path, value)
        label = ", ".join(f"{path}={value}" for path, value in zip(names, values))
        chain = _validated(content, f"search: {label}")
        candidates.append((label, build_radiomics_model(chain, score="apparent", seed=seed, horizon=horizon)))
    return Searched(candidates, n_folds=spec.search.folds, seed=derive_seed(seed, "search-folds"))


def _deep_copy(value: Any) -> Any:
    return {key: _deep_copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def _set(content: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        if not isinstance(content.get(parent), dict):
            content[parent] = {}
        content = content[parent]
    content[last] = value
