"""Deep networks: what they see, what they are, how they are trained, and which of them are compared."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from hepacast.deep.spec import CropSpec, DeepSpec, NetworkSpec, TrainingSpec
from hepacast.study.schema.base import Part, option


class Deep(Part):
    """Networks trained out-of-fold on the training set and applied frozen to the others."""

    models: list[Literal["multi-task", "classifier", "segmenter"]] = option(
        lambda: ["classifier", "segmenter", "multi-task"],
        "networks to train with the same encoder and folds: both tasks together, the outcome alone, the mask alone",
    )
    crop: CropSpec = option(CropSpec, "the part of the images that the networks see")
    network: NetworkSpec = option(NetworkSpec, "encoder and pathways")
    training: TrainingSpec = option(TrainingSpec, "how they are trained")
    folds: int | None = option(
        None, "folds; those of the first repeat of the nested cross-validation if left out", ge=2, le=20
    )
    masks: str | None = option(
        None,
        "masks that the segmentation pathway learns from, where not every patient has one; the masks of the study if "
        "left out",
        example="expert/{patient}.nii.gz",
    )
    structure: str = option("tumor", "structure of those masks that is learned")
    explained: int = option(4, "patients shown with Grad-CAM and occlusion maps", ge=0, le=20)
    controls: bool = option(True, "also score altered images (tumor shuffled or removed, surroundings removed)")
    adjust: list[str] = option(
        list, "clinical columns that survival by the main network's risk group is adjusted for (Cox model)"
    )
    permutations: int = option(0, "trainings of the main network on permuted outcomes, for a null distribution", ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Deep:
        if self.spec.network.frozen and self.models != ["classifier"]:
            raise ValueError("a frozen encoder predicts alone: set deep.models to [classifier]")
        return self

    @property
    def spec(self) -> DeepSpec:
        """Crop, network and training together."""
        return DeepSpec(crop=self.crop, network=self.network, training=self.training)
