"""Features of one image as a bundle's model was trained on them."""

from __future__ import annotations

from collections.abc import Mapping

from hepacast.bundle.model import Bundle, FeatureRecipe
from hepacast.core.executor import available_cores
from hepacast.errors import BundleError, ImageError
from hepacast.imaging import Volume
from hepacast.imaging.lesions import describe_voi
from hepacast.imaging.structures import evaluate_vois
from hepacast.modelling.frozen_fusion import DEEP_PREFIX, DL_SCORE


def _measurable_vois(recipe: FeatureRecipe, masks: Mapping[str, Volume]) -> dict[str, Volume]:
    """The bundle's VOIs of one patient's structures.

    Raises
    ------
    ImageError
        A structure is missing, or a VOI cannot be measured.
    """
    policy = recipe.lesions
    vois = evaluate_vois(recipe.vois, masks, lesions=policy, min_lesion_ml=recipe.min_lesion_ml)  # type: ignore[arg-type]
    for name, mask in vois.items():
        report = describe_voi(mask, name, ignore_border=("k",))
        if report.status == "failed":
            raise ImageError(
                f"The VOI {name!r} cannot be measured: {report.reason}.",
                remedy="look at the mask; give one with --mask if the segmentation has failed",
            )
    return vois


def measure_features(
    bundle: Bundle, images: Mapping[str, Volume], masks: Mapping[str, Volume], *, model: str | None = None
) -> dict[str, float]:
    """What the models read of one patient's image: features, and the score and features of networks.

    Parameters
    ----------
    images
        By sequence; a bundle of one sequence takes any single image. MR images of a bundle with `preprocessing` are
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
    recipe = bundle.features
    if recipe.source != "images":
        raise BundleError(
            "This model was made from a table of features, so it cannot be applied to an image.",
            remedy=" or ".join(
                ["use a bundle of a study with images", *(f"--model {name}" for name in bundle.imageless()[:1])]
            ),
        )
    wanted = bundle.feature_names(model)
    learned = [name for name in wanted if name == DL_SCORE or name.startswith(DEEP_PREFIX)]
    named = _sequences(recipe, images)
    values: dict[str, float] = {}
    if len(learned) < len(wanted):
        values = _radiomics(recipe, named, masks)
    if learned:
        if bundle.networks is None:
            raise BundleError("The models read networks, and the bundle holds none.")
        values |= bundle.networks.columns(named, masks, recipe.sequences)
    return {name: values[name] for name in wanted}


def image_notes(
    bundle: Bundle, images: Mapping[str, Volume], masks: Mapping[str, Volume], *, model: str | None = None
) -> tuple[str, ...]:
    """What speaks against relying on networks that see this image; nothing where a model reads no network."""
    learned = any(name == DL_SCORE or name.startswith(DEEP_PREFIX) for name in bundle.feature_names(model))
    if not learned or bundle.networks is None:
        return ()
    named = _sequences(bundle.features, images)
    return tuple(bundle.networks.warnings(named, masks, bundle.features.sequences))


def _radiomics(recipe: FeatureRecipe, named: Mapping[str, Volume], masks: Mapping[str, Volume]) -> dict[str, float]:
    from hepacast.radiomics.extraction import extract

    settings = recipe.load_settings()
    vois = _measurable_vois(recipe, masks)
    several = len(recipe.sequences) > 1
    values: dict[str, float] = {}
    for sequence, volume in named.items():
        # One patient has the whole machine.
        result = extract(volume, vois, settings, backend=recipe.backend, threads=available_cores())  # type: ignore[arg-type]
        for voi, item in result.vois.items():
            prefix = f"{sequence}:{voi}" if several else voi
            values |= {f"{prefix}:{name}": value for name, value in item.features.items()}
    return values


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
