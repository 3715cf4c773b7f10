"""The study file: one pydantic model, `Study`, is its only definition.

What lives here: keys, types, limits, help texts. What may not: reading of files, or code that decides numbers (every
stage reads the schema, and is made again when what it imports changes).
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from hepacast.study.schema.analysis import EvaluationOptions, Modelling, ReportOptions, ValidationOptions
from hepacast.study.schema.base import Part, option
from hepacast.study.schema.biomarkers import BiomarkerOptions
from hepacast.study.schema.cohort import (
    CohortOptions,
    Column,
    Exclusion,
    NoSplit,
    Outcome,
    Split,
    SplitAtRandom,
    SplitByColumn,
    SplitByList,
    SurvivalOptions,
)
from hepacast.study.schema.deep import Deep
from hepacast.study.schema.fusion import FurtherCohort, Fusion, Indexes
from hepacast.study.schema.images import Features, Image, Images, NnunetOptions, NnunetStart, SegmentationOptions

__all__ = [
    "BiomarkerOptions",
    "CohortOptions",
    "Column",
    "Deep",
    "EvaluationOptions",
    "Exclusion",
    "Features",
    "FurtherCohort",
    "Fusion",
    "Image",
    "Images",
    "Indexes",
    "Modelling",
    "NnunetOptions",
    "NnunetStart",
    "NoSplit",
    "Outcome",
    "Part",
    "ReportOptions",
    "SegmentationOptions",
    "Split",
    "SplitAtRandom",
    "SplitByColumn",
    "SplitByList",
    "Study",
    "SurvivalOptions",
    "ValidationOptions",
]


class Study(Part):
    """A study: everything that decides its numbers."""

    hepacast: Literal[1] = option(1, "version of this format")
    name: str = option(..., "short title of the study", example="Liver failure after TACE")
    recipe: Literal["ptlf", "ptlf-end-to-end", "tace-response", "proliferative", "early-recurrence"] = option(
        "ptlf", "the published study that this one follows"
    )
    seed: int = option(2024, "the one seed of every random choice", ge=0)
    cohort: CohortOptions = option(..., "the clinical table and who is in the study")
    outcome: Outcome = option(..., "what is predicted")
    survival: SurvivalOptions | None = option(None, "follow-up, for curves by risk group")
    images: Images | None = option(None, "images, masks and VOIs; left out when features are given as a table")
    features: Features = option(Features, "radiomics features")
    biomarkers: BiomarkerOptions | None = option(
        None, "numbers of liver and tumor as candidates of the clinical model; none if left out"
    )
    modelling: Modelling = option(..., "models that are compared")
    deep: Deep | None = option(None, "deep networks that are compared with the other models")
    fusion: Fusion | None = option(None, "networks and classifiers compared, and models that join them")
    further: dict[str, FurtherCohort] = option(
        dict,
        "cohorts without the outcome but with follow-up, which the frozen main model divides by risk",
    )
    indexes: Indexes | None = option(None, "staging systems and indexes to compare the main model with")
    evaluation: EvaluationOptions = option(EvaluationOptions, "how they are judged")
    report: ReportOptions = option(ReportOptions, "what is written")
    intended_use: str | None = option(None, "for whom and when the model is meant; goes into the bundle")

    @model_validator(mode="after")
    def _has_features(self) -> Study:
        if self.images is None and self.features.table is None and self.modelling.reads_features:
            raise ValueError(f"the models {self.modelling.models} need `images`, or `features.table`")
        if "biomarkers" in self.modelling.models and self.biomarkers is None:
            raise ValueError("the model `biomarkers` needs the part `biomarkers`, which says which are measured")
        joined = {part for parts in (self.fusion.models.values() if self.fusion is not None else ()) for part in parts}
        if "biomarkers" in joined and self.biomarkers is None:
            raise ValueError("a fusion of biomarkers needs the part `biomarkers`, which says which are measured")
        if "binary" in self.modelling.models and self.outcome.definition != "survival":
            raise ValueError("the model `binary` belongs to `outcome.definition: survival`")
        if self.outcome.definition == "survival" and self.survival is not None:
            raise ValueError("the outcome is the follow-up itself: leave `survival` out")
        if self.images is not None and self.features.table is not None:
            raise ValueError("give either `images` or `features.table`, not both")
        if self.biomarkers is not None:
            if self.images is None:
                raise ValueError("`biomarkers` are measured in `images`")
            unknown = [name for name in self.biomarkers.phases if name not in self.images.sequences]
            if unknown:
                raise ValueError(f"biomarkers.phases names {unknown}, which are no sequences of `images`")
        if self.fusion is not None and self.images is None:
            raise ValueError("`fusion` needs `images`")
        if self.further and self.features.table is not None:
            raise ValueError("`further` cohorts are measured from images; a table has the study's own features")
        if self.further and self.modelling.harmonize != "none":
            raise ValueError("`further` cohorts come from centers that `modelling.harmonize` does not know")
        return self
