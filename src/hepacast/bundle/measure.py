"""Features of one image as a bundle's model was trained on them."""

from __future__ import annotations

from collections.abc import Mapping

from hepacast.bundle.model import Bundle, FeatureRecipe
from hepacast.errors import BundleError, ImageError
from hepacast.imaging import Volume
from hepacast.imaging.lesions import describe_voi, lesions
from hepacast.imaging.voi import VoiExpression


def evaluate_vois(recipe: FeatureRecipe, masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The bundle's VOIs of one patient's structures.

    Raises
    ------
    ImageError
        A structure is missing, or a VOI cannot be measured.
    """
    named = dict(masks)
    if "tumor" in named and (recipe.lesions != "union" or recipe.min_lesion_ml > 0):
        found = lesions(named["tumor"], recipe.lesions, min_volume_ml=recipe.min_lesion_ml)  # type: ignore[arg-type]
        named["tumor"] = found.masks[0] if found.masks else named["tumor"].with_array(named["tumor"].array & False)
    vois = {name: VoiExpression.parse(text).evaluate(named) for name, text in recipe.vois.items()}
    for name, mask in vois.items():
        report = describe_voi(mask, name, ignore_border=("k",))
        if report.status == "failed":
            raise ImageError(
                f"The VOI {name!r} cannot be measured: {report.reason}.",
                remedy="look at the mask; give one with --mask if the segmentation has failed",
            )
    return vois


def measure_features(bundle: Bundle, images: Mapping[str, Volume], masks: Mapping[str, Volume]) -> dict[str, float]:
    """The features that the Radscore reads, of one patient.

    Parameters
    ----------
    images
        By sequence; a bundle of one sequence takes any single image.
    masks
        Structures by name (parenchyma, tumor, liver), on the images' grid.

    Returns
    -------
    dict
        Value by column name of the model; NaN where a feature is undefined (the prediction then warns).

    Raises
    ------
    BundleError
        The model was made from a feature table, or a sequence is missing.
    """
    from hepacast.radiomics.extraction import extract

    recipe = bundle.features
    if recipe.source != "images":
        raise BundleError(
            "This model was made from a table of features, so it cannot be applied to an image.",
            remedy="use a bundle of a study with images, or the clinical model (--model clinical)",
        )
    named = _sequences(recipe, images)
    settings = recipe.load_settings()
    vois = evaluate_vois(recipe, masks)
    several = len(recipe.sequences) > 1
    values: dict[str, float] = {}
    for sequence, volume in named.items():
        result = extract(volume, vois, settings, backend=recipe.backend)  # type: ignore[arg-type]
        for voi, item in result.vois.items():
            prefix = f"{sequence}:{voi}" if several else voi
            values |= {f"{prefix}:{name}": value for name, value in item.features.items()}
    return {name: values[name] for name in bundle.feature_names()}


def _sequences(recipe: FeatureRecipe, images: Mapping[str, Volume]) -> dict[str, Volume]:
    wanted = list(recipe.sequences)
    if len(wanted) == 1 and len(images) == 1:
        return {wanted[0]: next(iter(images.values()))}
    missing = [name for name in wanted if name not in images]
    if missing:
        raise BundleError(
            "An image is missing.",
            expected=", ".join(wanted),
            found=", ".join(images) or "none",
            remedy="give each as --image NAME=PATH",
        )
    return {name: images[name] for name in wanted}
