"""Deep networks and classifiers that compete, models that join them, further cohorts, staging systems."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from hepacast.deep.spec import DeepSpec
from hepacast.study.schema.base import Part, option

#: Those of `hepacast.modelling.classifiers.COMPETING`, written down: every stage reads this schema, and no stage but
#: those that fit classifiers is made again when one of them changes.
Classifier = Literal["logistic", "ridge", "svm", "knn", "random_forest", "extra_trees", "xgboost", "mlp", "naive_bayes"]


class Variant(Part):
    """One network of those compared: the same crops and training, another encoder."""

    encoder: Literal["resnet10", "resnet18", "resnet34", "resnet50", "liver-cnn"] = option(
        "resnet18", "residual encoder, or that of the built-in liver CNN"
    )
    dimensions: Literal["3d", "2.5d"] = option("3d", "volumes, or slices with their neighbors")

    @property
    def name(self) -> str:
        """``ResNet-18 3D``, ``liver CNN 3D``."""
        if self.encoder == "liver-cnn":
            return f"liver CNN {self.dimensions.upper()}"
        return f"ResNet-{self.encoder.removeprefix('resnet')} {self.dimensions.upper()}"


class Fusion(Part):
    """Classifiers and networks compared inside the training patients, and models that join the chosen ones.

    With it, the stage `modelling` fits these models instead of the clinical, radiomics and combined one.
    """

    folds: int = option(
        5,
        "outer folds; a network is trained without each pair of folds, so that choices and combinations within an "
        "outer fold never use a network that saw it",
        ge=3,
        le=10,
    )
    classifiers: list[Classifier] = option(
        lambda: ["logistic", "svm", "knn", "xgboost", "mlp"], "classifiers on the selected features"
    )
    competition: Literal["best", "averaged"] = option(
        "best",
        "which of them makes a score: best (the largest AUC or C in inner folds), or averaged (the mean of all "
        "classifiers' log odds, or log hazards; of the networks the first within one standard error of the best)",
    )
    chain: str | dict[str, Any] = option("ptlf", "filters and selection before every classifier, as modelling.chain")
    networks: list[Variant] = option(list, "networks compared; none: no deep part")
    deep: DeepSpec = option(lambda: DeepSpec.model_validate({"network": {"tasks": "classifier"}}),
                            "crops, network and training of all networks")  # fmt: skip
    models: dict[str, list[Literal["clinical", "biomarkers", "radiomics", "auto", "network", "dlr"]]] = option(
        lambda: {"CR": ["clinical"], "R": ["radiomics"]},
        "models by name and what each joins: clinical predictors, the radiomics score of the classifiers, the score "
        "that `auto` makes of all radiomics features (auto), the networks' score, the score on radiomics and deep "
        "features together (dlr), or biomarkers; one with biomarkers is a ridge regression of them, the scores, and "
        "clinical candidates that probably belong beside the biomarkers; the last is the main one",
    )

    @model_validator(mode="after")
    def _possible(self) -> Fusion:
        parts = {part for joined in self.models.values() for part in joined}
        if not self.models or not all(self.models.values()):
            raise ValueError("every model joins at least one part")
        if parts & {"network", "dlr"} and not self.networks:
            raise ValueError("a model joins a network's score or features: name one or more under `networks`")
        if self.deep.network.segments:
            raise ValueError("networks of a fusion are classifiers: set deep.network.tasks to classifier")
        names = [item.name for item in self.networks]
        if len(set(names)) < len(names):
            raise ValueError("a network stands twice under `networks`")
        return self


class FurtherCohort(Part):
    """Patients with images and follow-up but without the outcome: the frozen main model divides them by risk.

    Images and masks lie under the same patterns as the study's own.
    """

    table: str = option(..., "CSV, Excel or Parquet file with the study's identifiers and columns", example="rfa.csv")
    time: str = option(..., "header of the time to event or last contact")
    event: str = option(..., "header of the event")
    event_values: list[str | int | float | bool] | None = option(None, "values that mean the event")
    unit: Literal["days", "weeks", "months", "years"] = option("months", "unit of the time")
    name: str = option("time to event", "end point in words", example="recurrence-free survival")
    horizons: list[float] = option(list, "times at which the time-dependent AUC is given; the quartiles if left out")


class Indexes(Part):
    """Staging systems and prognostic indexes that the main model is compared with."""

    scores: list[str] = option(
        list, "names as `hepacast score --list` shows them; all whose inputs the table has if left out"
    )
    columns: dict[str, str] = option(
        dict, "input of a score -> the study's column, where their names differ", example={"child_pugh": "ctp"}
    )
