"""Sentences about models and their validation for the Methods text, from the settings that the run had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hepacast.cohort import Outcome
from hepacast.core.p_values import p_below, p_sentence
from hepacast.core.sentences import Sentence
from hepacast.modelling.auto import AutoClassifier
from hepacast.modelling.bootstrap import FEWEST, PRECISION, STEP
from hepacast.modelling.chain_score import Searched, Stacked
from hepacast.modelling.classifiers import AtHorizon
from hepacast.modelling.clinical import CANDIDATES_TESTED
from hepacast.modelling.combination import AveragedModel
from hepacast.modelling.evidence import NOTHING, SHOWN
from hepacast.modelling.frozen_logistic import FrozenLogisticAt
from hepacast.modelling.predictors import SKEWED
from hepacast.modelling.study_models import StudyModels
from hepacast.modelling.validation import OutOfFold
from hepacast.stats.global_test import KERNEL_ROWS
from hepacast.stats.ridge import PROBABLE
from hepacast.study.context import Context
from hepacast.study.schema.analysis import Modelling

_CUTS = {
    "median": "the median of the predicted risk",
    "maxstat": "maximally selected rank statistics (P corrected for the search) [@maxstat]",
    "youden": "Youden's index of the time-dependent ROC curve",
}


def horizon_text(context: Context) -> str:
    """``180 and 365 days``."""
    shown = [f"{t:g}" for t in context.study.outcome.horizons]
    head = ", ".join(shown[:-1])
    return f"{head} and {shown[-1]}" if head else shown[-1]


def by_word(context: Context) -> str:
    """``before`` where an event at the very horizon does not count, else ``by``."""
    return "before" if context.study.outcome.before_horizon else "by"


def modelling_sentences(
    context: Context, outcome: Outcome, fitted: StudyModels, nested: OutOfFold, samples: int
) -> list[Sentence]:
    """Models and their validation.

    Parameters
    ----------
    samples
        Bootstrap samples of the chain that were drawn.
    """
    if outcome.has_time:
        texts = _of_hazards(context, outcome, fitted, nested, samples)
    else:
        texts = _of_odds(context, fitted, nested, samples)
    return [Sentence("modelling", text, keys) for text, keys in texts]


def _of_hazards(
    context: Context, outcome: Outcome, fitted: StudyModels, nested: OutOfFold, samples: int
) -> list[tuple[str, list[str]]]:
    options, rules = context.study.modelling, context.study.modelling.validation
    texts: list[str] = []
    if outcome.n_competing:
        texts.append(
            "Competing events were accounted for by Fine and Gray's regression of the cumulative incidence "
            "[@fine-gray]; cause-specific Cox models are given beside it."
        )
    if fitted.radiomics_ is not None:
        steps = "; ".join(map(str, fitted.radiomics_.counts_))
        way = (
            "scores of patients outside each fit (cross-fitted)"
            if options.radscore == "cross-fitted"
            else "the training scores themselves (apparent)"
        )
        made = _score_of_time(context, fitted, outcome.unit)
        texts.append(f"The radiomics chain was: {steps}. {made}; the Cox models that use it were fitted on {way}.")
    if fitted.clinical_ is not None:
        texts.append(clinical_sentence(options, True)[0])
    texts += _of_biomarkers(fitted)
    if fitted.combined_ is not None:
        texts.append(f"The combined model is a Cox model of {_joined_words(fitted)}{shrunk_clause(options)}.")
    if fitted.clinical_ is not None or fitted.combined_ is not None:
        texts.append(
            "Ties were handled by Efron's method; proportional hazards were tested by scaled Schoenfeld residuals "
            "[@zph]. Where a predictor separated the events, Firth's penalized likelihood was used [@heinze-cox]. "
            f"Risks {by_word(context)} {horizon_text(context)} {outcome.unit} come from the baseline hazard estimated "
            "by Breslow's method."
        )
    if fitted.binary_ is not None:
        texts.append(_binary(context, outcome, fitted))
    rule = _CUTS[context.study.evaluation.risk_groups]
    texts.append(
        f"Patients were divided into risk groups by a cut-off of the risk {by_word(context)} "
        f"{context.study.outcome.horizons[-1]:g} {outcome.unit} that was fixed in the training set: {rule}."
    )
    texts.append(
        f"The whole chain, every selection included, was refitted in {rules.repeats} x {nested.folds}-fold nested "
        "cross-validation stratified by event [@nested-cv]; its C is the mean over the repeats of C within folds, "
        "whose variance is the infinitesimal jackknife's within folds [@ledell] plus that between the repeats."
    )
    if rules.bootstrap:
        texts.append(
            f"Optimism of C was estimated by refitting the chain in {samples} bootstrap samples [@harrell]; "
            "limits are the percentiles of the refits' apparent C, shifted to the corrected one [@noma]. The .632+ "
            f"estimate [@plus-632] stands beside it.{_why_fewer(samples, rules.bootstrap, 'C')}"
        )
    return [(text, []) for text in texts]


def _why_fewer(samples: int, most: int, measure: str) -> str:
    """By which rule a large cohort has fewer bootstrap samples than were asked for; empty where it has not."""
    if samples >= most:
        return ""
    return (
        f" Of at most {most} samples, as the cohort is large, {samples} were drawn: from {FEWEST} on, {STEP} at a time "
        f"until in every model the Monte-Carlo standard error of the optimism was {PRECISION['optimism']:g} of the "
        f"{measure} or an eighth of the {measure}'s own standard error (which it lengthens by less than 1%), that of "
        f"the limits {PRECISION['limits']:g}, and that of the calibration slope's optimism {PRECISION['slope']:g}."
    )


def _score_of_time(context: Context, fitted: StudyModels, unit: str) -> str:
    """What the score of a chain is, where the outcome is a time."""
    assert fitted.radiomics_ is not None
    if getattr(fitted.radiomics_, "choice_", None) is not None:
        return "The Radscore is the linear predictor of the penalized Cox model [@lasso-cox]"
    parts = list(walked(fitted.radiomics_.chain_[-1]))
    if fitted.frozen_.score is not None:
        return "The Radscore is the linear predictor of a Cox model of the features that are left"
    told = _averaged(fitted) or "Its score is that of the last step"
    if any(isinstance(part, AtHorizon) for part in parts):
        horizon = context.study.outcome.horizons[-1]
        told += (
            f"; classifiers learned the event {by_word(context)} {horizon:g} {unit} from the patients whose state is "
            "known then, weighted by the inverse of their probability of not being censored [@ipcw]"
        )
    return told


def _averaged(fitted: StudyModels) -> str:
    """What `auto` asked, what it answered, and what its score is; empty of other chains."""
    chain = getattr(fitted.radiomics_, "chain_", None)
    if chain is None or fitted.frozen_.score is not None:
        return ""
    auto = next((part for part in walked(chain[-1]) if isinstance(part, AutoClassifier)), None)
    if auto is None or not hasattr(auto, "evidence_p_"):
        return ""
    of_time = fitted.frozen_.horizons
    asked = (
        f"Before anything was learned, all features together were tested against permuted outcomes ({_TESTED}): "
        f"{p_sentence(auto.evidence_p_)}. "
    )
    if auto.status_ != "ok":
        nothing = f"{auto.note_[0].upper()}{auto.note_[1:]}; every patient has the same score, that of no feature"
        return asked + nothing
    unclear = "" if auto.shown_ else f"{auto.note_[0].upper()}{auto.note_[1:]}. "
    return f"{asked}{unclear}Its score is {learners_words(bool(of_time))}"


def learners_words(of_time: bool) -> str:
    """What the score of `auto` is, after "is"."""
    models, learned = ("Cox", " of martingale residuals") if of_time else ("logistic", "")
    return (
        f"the average of several learners, weighted by their {'C' if of_time else 'AUC'} in inner folds, the more the "
        f"clearer the signal: weighted sums of features, {models} models by the LASSO, and ridge regression, support "
        f"vectors and trees{learned}"
    )


def walked(estimator: Any) -> Iterator[Any]:
    """A fitted classifier and those inside it: members of a stack, the chain that a search chose."""
    yield estimator
    for _, member in estimator.members_ if isinstance(estimator, Stacked) else ():
        yield from walked(member)
    if isinstance(estimator, Searched):
        yield from walked(estimator.estimator_.chain_[-1])


#: How columns are tested against permuted outcomes.
_TESTED = (
    "sums of the squares and of the sixth powers of their correlations with the outcome, and of at most "
    f"{KERNEL_ROWS:,} patients a radial kernel [@global-test]"
)

SHRUNK = (
    "whose coefficients were shrunk by ridge regression [@le-cessie], the penalty that of the largest marginal "
    "likelihood [@wood-reml]; no variable was selected by its P value"
)


#: What a model of everything holds of the clinical candidates.
PROBABLE_ONES = (
    f"the clinical candidates whose posterior probability of belonging was {PROBABLE:g} or more, over all models "
    "with the biomarkers and without, and those of the most probable model (spike-and-slab prior [@spike-slab], about "
    "one candidate expected beforehand [@sparse-prior], Laplace's approximation; "
    f"numbers from 0 on with a skewness above {SKEWED:g} as log10(1 + x))"
)
#: The same of a model whose predictors are told before.
SHRUNK_HERE = (
    "their coefficients were shrunk by ridge regression [@le-cessie], the penalty that of the largest marginal "
    "likelihood [@wood-reml]"
)


def _of_biomarkers(fitted: StudyModels) -> list[str]:
    """The model of the biomarkers alone, and that of everything."""
    texts = []
    if fitted.biomarkers_ is not None:
        n = len(fitted.biomarkers_.predictors or ())
        texts.append(
            f"The biomarker model was made of the {n} biomarkers in the same way as the clinical model of the others."
            if fitted.joint_ is None
            else f"The biomarker model holds the {n} biomarkers, {SHRUNK}."
        )
    if fitted.joint_ is not None:
        score = "" if fitted.radiomics_ is None else "the Radscore, "
        averaged = "" if fitted.combination == "regression" else f" {averaged_words(bool(fitted.horizons))}"
        if isinstance(fitted.joint_, AveragedModel) and fitted.joint_.evidence is not None:
            averaged += f" {asked_words(p_sentence(fitted.joint_.evidence))}"
        held = f"The joint model holds {score}the biomarkers and {PROBABLE_ONES}{_probabilities(fitted)}"
        texts.append(f"{held}; {SHRUNK_HERE}.{averaged}")
    return texts


def _probabilities(fitted: StudyModels) -> str:
    """Of the final joint model, the candidates that it holds with their probabilities.

    One that came in may have been shrunk to nothing with its part, or its member of a mean left out.
    """
    assert fitted.joint_ is not None
    labels = {item.name: item.label for item in fitted.predictors}
    held = set(fitted.joint_.frozen_.names)
    found = {name: p for name, p in fitted.joint_.inclusion_.items() if name in held}
    if not found:
        return f": none of {len(fitted.joint_.inclusion_)}" if fitted.joint_.inclusion_ else ""
    return ": " + ", ".join(f"{labels[name]} {found[name]:.2f}" for name in sorted(found, key=found.__getitem__)[::-1])


def asked_words(p: str = "") -> str:
    """What was asked before a model of everything was fitted, and what is answered by it."""
    found = f": {p} of the final model" if p else ""
    return (
        "Before it was fitted, in all patients and in every fold, all that it may hold (clinical candidates, "
        "biomarkers, features and networks' scores, each family counting alike) was tested against permuted outcomes "
        f"({_TESTED}; networks' scores by their direction){found}. With P above {NOTHING:g} nothing is found, and "
        f"everybody has the same risk; with P above {SHOWN:g} what is found may be chance, and is said to be."
    )


def averaged_words(of_time: bool) -> str:
    """How a model of everything is made of its members."""
    scale = "log hazards" if of_time else "log odds"
    return (
        "Each kind of biomarkers (enhancement, heterogeneity, liver, shape) had a penalty of its own; scores were no "
        f"part of this regression: the model is the mean of its {scale} and those of a regression of each score "
        "(of these members those whose mean is likeliest in patients left out, in folds in which candidates and "
        "penalties were chosen anew), brought to risks by a regression of that mean in the same patients."
    )


def _joined_words(fitted: StudyModels) -> str:
    """What the combined model joins."""
    if fitted.biomarkers_ is None or fitted.joint_ is not None:
        return "the Radscore and the clinical predictors"
    return "the Radscore, the clinical predictors and the biomarkers"


def clinical_sentence(options: Modelling, has_time: bool) -> tuple[str, list[str]]:
    """How the clinical model was chosen, and what is cited."""
    kind, below = "Cox" if has_time else "logistic", p_below(options.alpha)
    cite = " [@cox]" if has_time else ""
    firth = "" if has_time else ", with Firth's penalty where the data were separated [@firth]"
    fill = "A missing value is replaced by the median or the most frequent level of the training set."
    together = f"All clinical candidates entered one multivariate {kind} model{cite}"
    keys = [] if has_time else ["firth"]
    match options.selection:
        case "given":
            chosen = "which were chosen before the data were analyzed; no variable was selected by its P value"
            text = f"The clinical {kind} model{cite} holds all candidates, {chosen}{firth}. {fill}"
        case "penalised":
            text, keys = f"The clinical {kind} model{cite} holds all candidates, {SHRUNK}. {fill}", []
        case "backward":
            text = (
                f"{together}; the one with the largest P value left, and the model was fitted again, until all had "
                f"{below} (backward elimination){firth}. {fill}"
            )
        case "aic":
            text = (
                f"{together}; the one without which Akaike's criterion was smallest left, until none made it smaller "
                f"(backward elimination){firth}. {fill}"
            )
        case "lasso":
            text = (
                "The clinical candidates were those with a coefficient in a LASSO model whose penalty had the smallest "
                f"deviance in ten-fold cross-validation [@lasso]; they made the clinical {kind} model{cite}, fitted "
                f"without a penalty{firth}. {fill}"
            )
            keys = [*keys, "lasso"]
        case _:
            alone = (
                "Each clinical candidate was tested alone in a Cox model of the training patients [@cox] (Wald's test; "
                f"of a category of several levels, that of all of them together); those with {below} entered a "
                f"multivariate Cox model, and those with {below} in it made the clinical model. {fill}"
            )
            text = (
                alone
                if has_time
                else f"{CANDIDATES_TESTED} Those with {below} entered a multivariate logistic model, in which a "
                "missing value is replaced by the median or the most frequent level of the training set; those with "
                f"{below} in it made the clinical model{firth}."
            )
    return text, keys


def shrunk_clause(options: Modelling) -> str:
    """What is said of joined models with `penalised` predictors."""
    return f", {SHRUNK}" if options.selection == "penalised" else ""


def _binary(context: Context, outcome: Outcome, fitted: StudyModels) -> str:
    assert fitted.binary_ is not None
    model = fitted.binary_.frozen_
    assert isinstance(model, FrozenLogisticAt)
    horizon = context.study.outcome.horizons[-1]
    return (
        f"A binary (logistic) model of {outcome.positive} {by_word(context)} {horizon:g} {outcome.unit} was fitted as "
        f"well. Its {model.n_censored} training patients who were censored before that time were not dropped in "
        "silence and not counted as free of the event: patients with a known state were weighted by the inverse of "
        "their probability of not being censored [@ipcw], and standard errors are robust."
    )


def _of_odds(context: Context, fitted: StudyModels, nested: OutOfFold, samples: int) -> list[tuple[str, list[str]]]:
    options, rules = context.study.modelling, context.study.modelling.validation
    texts: list[tuple[str, list[str]]] = []
    if fitted.radiomics_ is not None:
        steps = "; ".join(map(str, fitted.radiomics_.counts_))
        way = (
            "fitted on scores of patients outside each fit (cross-fitted)"
            if options.radscore == "cross-fitted"
            else "fitted on the training scores themselves (apparent)"
        )
        averaged = _averaged(fitted)
        made = f" {averaged}." if averaged else ""
        texts.append(
            (f"The radiomics chain was: {steps}.{made} The logistic model of the Radscore was {way}.", ["lasso"])
        )
    if fitted.clinical_ is not None:
        texts.append(clinical_sentence(options, False))
    texts += [(text, []) for text in _of_biomarkers(fitted)]
    if fitted.combined_ is not None:
        joined = f"a logistic model of {_joined_words(fitted)}{shrunk_clause(options)}"
        texts.append((f"The combined model is {joined}.", []))
    texts.append(
        (
            f"The whole chain, every selection included, was refitted in {rules.repeats} x {nested.folds}-fold nested "
            "cross-validation [@nested-cv].",
            ["nested-cv"],
        )
    )
    if rules.bootstrap:
        texts.append(
            (
                f"Optimism was estimated by refitting the chain in {samples} bootstrap samples [@harrell]; "
                "limits are the percentiles of the refits' apparent AUCs, shifted to the corrected one [@noma]. The "
                f".632+ estimate [@plus-632] stands beside it.{_why_fewer(samples, rules.bootstrap, 'AUC')}",
                ["harrell", "noma", "plus-632"],
            )
        )
    return texts
