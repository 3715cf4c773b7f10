"""Features of one image as a bundle's model was trained on them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hepacast.biomarkers.definitions import FAMILY
from hepacast.biomarkers.measure import measure_by_recipe
from hepacast.bundle.model import Bundle
from hepacast.core.executor import available_cores
from hepacast.errors import BundleError, ImageError
from hepacast.imaging import Volume
from hepacast.modelling.frozen_score import learned_by_networks
from hepacast.radiomics.recipe import ImageRecipe, unmeasurable


def measure_features(
    bundle: Bundle, images: Mapping[str, Volume], masks: Mapping[str, Volume], *, model: str | None = None
) -> dict[str, float]:
    """What the models read of one patient's image: features, and the score and features of networks.

    Parameters
    ----------
    images
        By sequence; a bundle of one sequence takes any single image. Images of a bundle with `preprocessing` are
        given preprocessed (`hepacast predict` does both).
    masks
        Structures by name (parenchyma, tumor, liver), on the images' grid.
    model
        For one model of the bundle only; default all.

    Returns
    -------
    dict
        Value by column name of the model; NaN where a feature is undefined (the prediction then warns).

    Raises
    ------
    BundleError
        The model was made from a feature table, or a sequence is missing.
    """
    recipe = bundle.recipe
    if recipe.source != "images":
        raise BundleError(
            "This model was made from a table of features, so it cannot be applied to an image.",
            remedy=" or ".join(
                ["use a bundle of a study with images", *(f"--model {name}" for name in bundle.imageless()[:1])]
            ),
        )
    wanted = bundle.feature_names(model)
    learned = [name for name in wanted if learned_by_networks(name)]
    named = recipe.by_sequence(images)
    values: dict[str, float] = {}
    if len(learned) < len(wanted):
        values = _radiomics(recipe, named, masks)
    if learned:
        if bundle.networks is None:
            raise BundleError("The models read networks, and the bundle holds none.")
        values |= bundle.networks.columns(named, masks, recipe.sequences)
    return {name: values[name] for name in wanted}


def biomarkers_read(bundle: Bundle, model: str | None = None) -> list[str]:
    """Names of the biomarkers that one model reads (default the main one)."""
    return [name for name in bundle.clinical_names(model or bundle.main) if name.startswith(f"{FAMILY}/")]


def measured_labs(
    bundle: Bundle, images: Mapping[str, Volume], masks: Mapping[str, Volume], *, model: str | None = None
) -> dict[str, str]:
    """The biomarkers that a model reads, as clinical values are told; one that cannot be measured is not known."""
    wanted = biomarkers_read(bundle, model)
    if not wanted or not images:
        return {}
    found = measure_by_recipe(bundle.recipe, images, masks).values
    return {name: f"{found[name]:.12f}" if math.isfinite(found.get(name, math.nan)) else "NA" for name in wanted}


def image_notes(
    bundle: Bundle, images: Mapping[str, Volume], masks: Mapping[str, Volume], *, model: str | None = None
) -> tuple[str, ...]:
    """What speaks against relying on networks that see this image; nothing where a model reads no network."""
    if not bundle.reads_networks(model) or bundle.networks is None:
        return ()
    named = bundle.recipe.by_sequence(images)
    return tuple(bundle.networks.warnings(named, masks, bundle.recipe.sequences))


def _radiomics(recipe: ImageRecipe, named: Mapping[str, Volume], masks: Mapping[str, Volume]) -> dict[str, float]:
    """Features by column name.

    Raises
    ------
    ImageError
        A structure is missing, or a VOI cannot be measured.
    """
    vois = recipe.vois_of(masks)
    problem = unmeasurable(vois)
    if problem is not None:
        raise ImageError(
            f"The VOI {problem[0]!r} cannot be measured: {problem[1]}.",
            remedy="look at the mask; give one with --mask if the segmentation has failed",
        )
    # One patient has the whole machine.
    found = {name: recipe.measure(image, vois, threads=available_cores()) for name, image in named.items()}
    found |= {name: recipe.lacking("") for name in recipe.sequences if name not in named}
    return {
        recipe.column(sequence, voi, name): value
        for sequence, result in found.items()
        for voi, item in result.vois.items()
        for name, value in item.features.items()
    }
