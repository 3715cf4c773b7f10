"""What is done with the measurements: modelling, evaluation, report."""

from __future__ import annotations

from typing import Any, Literal

from hepacast.report.formats import FORMATS, Format
from hepacast.study.schema.base import Part, option


class ValidationOptions(Part):
    """Honest validation of the whole chain: every step is refitted in each fold and resample."""

    folds: int = option(5, "outer folds of the nested cross-validation", ge=2, le=20)
    repeats: int = option(10, "times that it is repeated with other folds", ge=1)
    bootstrap: int = option(
        200,
        "bootstrap resamples for the optimism of the whole chain (of 1,000 patients or more: at most); 0 to leave out",
        ge=0,
    )
    usual_way: bool = option(True, "also show the usual, flattering way (selection on all, then cross-validation)")
    permutations: int = option(0, "refits with permuted outcome, for a null distribution", ge=0)
    centers: bool = option(True, "leave one center out, where two or more centers have both outcomes")
    learning_curve: int = option(
        1, "divisions of the patients for the learning curve (four training sizes a fold); 0 to leave out", ge=0
    )
    importance: int = option(
        5, "shuffles of each predictor in the held-out folds (permutation importance); 0 to leave out", ge=0
    )


class Modelling(Part):
    """The models that are compared."""

    candidates: list[str] = option(..., "the study's columns that may enter the clinical model")
    chain: str | dict[str, Any] = option("ptlf", "radiomics chain: ptlf (as published), auto, or a grammar")
    models: list[Literal["clinical", "biomarkers", "radiomics", "combined", "joint", "binary"]] = option(
        lambda: ["clinical", "radiomics", "combined"],
        "models to compare; biomarkers: of the biomarkers alone, which then leave the clinical model to the others "
        "(the combined model holds both); joint: clinical candidates that probably belong beside the biomarkers "
        "(skewed ones in logs), biomarkers and the Radscore in one ridge regression, beside which the others stay "
        "without biomarkers; binary, for time to an event only: a logistic model of the event by the main horizon, in "
        "which patients censored before it are weighted for (IPCW)",
    )
    selection: Literal["independent", "backward", "aic", "lasso", "given", "penalised"] = option(
        "independent",
        "clinical predictors: independent (P alone, then P together, as published), backward (elimination by P), aic "
        "(elimination by Akaike's criterion), lasso, given (all candidates, chosen before these data were seen), or "
        "penalised (all candidates, shrunk by ridge regression; the combined model too)",
    )
    combination: Literal["regression", "averaged", "auto"] = option(
        "regression",
        "how models of everything (joint; of a fusion those with biomarkers) join values and scores: regression (one "
        "ridge regression of all), averaged (the mean of the ridge regression of the values, each kind of "
        "biomarkers with a penalty of its own, and of one regression of each score; of these members those whose mean "
        "is likeliest in patients left out), or auto (averaged, where the outcome is related to clinical candidates, "
        "biomarkers, features and networks' scores more than permuted outcomes are; else nothing was found, and "
        "everybody has the same risk)",
    )
    alpha: float = option(0.05, "P below which a variable stays", gt=0, lt=1)
    radscore: Literal["cross-fitted", "apparent"] = option(
        "cross-fitted",
        "Radscore that the combined model is fitted on: of patients outside the fit, or of the fit itself (the usual "
        "way, which overrates the Radscore)",
    )
    harmonize: Literal["none", "combat"] = option("none", "remove differences between centers (ComBat, in the fold)")
    validation: ValidationOptions = option(ValidationOptions, "how the chain is judged")

    @property
    def reads_features(self) -> bool:
        """Whether a model reads radiomics features."""
        return bool({"radiomics", "combined", "joint"} & set(self.models))


class EvaluationOptions(Part):
    """How predictions are judged."""

    confidence: float = option(0.95, "confidence level", gt=0.5, lt=1)
    bootstrap: int = option(500, "resamples for bands of the decision and calibration curves", ge=0)
    risk_groups: Literal["median", "maxstat", "youden"] = option(
        "median",
        "for time to an event: cut-off of the risk groups in training: median risk, greatest difference in survival "
        "(maxstat, P corrected), or Youden's index at the main horizon",
    )
    thresholds: list[float] = option(list, "risk thresholds to report besides Youden's (from training)")
    decision_range: tuple[float, float] = option((0.05, 0.95), "threshold probabilities of the decision curve")
    subgroups: list[str] | None = option(
        None,
        "columns in whose groups the main model is judged (numbers are divided at the median); left out: candidates "
        "that are no numbers, and the center",
    )
    coverage: float = option(0.9, "share of patients whose outcome the conformal set must hold", gt=0.5, lt=1)


class ReportOptions(Part):
    """What is written."""

    title: str | None = option(None, "title of the report")
    formats: list[Format] = option(lambda: list(FORMATS), "formats of the report, its supplement and its audit file")
    example_patient: str | None = option(None, "patient worked through on the nomogram; chosen by rule if left out")
