"""What a study does to the images of every patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hepacast.imaging.volume import Volume
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.study.context import Context
from hepacast.study.feature_settings import load_settings
from hepacast.study.sequences import missing_rule


def recipe_of(context: Context) -> ImageRecipe:
    """What is done to the images of every patient of the study, who also becomes a row of the bundle's models."""
    images = context.images
    return ImageRecipe.of_settings(
        load_settings(context),
        vois=images.vois,
        lesions=images.lesions,
        min_lesion_ml=images.min_lesion_ml,
        sequences={name: item.modality for name, item in images.sequences.items()},
        labels=images.segmentation.labels,
        backend=context.study.features.backend,
        missing=missing_rule(context),
    )


def biomarker_recipe(context: Context) -> ImageRecipe:
    """`recipe_of` with the phases that biomarkers are measured in; features do not depend on them."""
    options = context.study.biomarkers
    return replace(recipe_of(context), phases=None if options is None else options.phases)


def study_vois(context: Context, masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """VOIs of one patient's structures, whatever the feature settings are: `find_problems` tells theirs, once."""
    images = context.images
    recipe = ImageRecipe("images", vois=images.vois, lesions=images.lesions, min_lesion_ml=images.min_lesion_ml)
    return recipe.vois_of(masks)
