"""Controls with images: what the chain finds when the VOI's voxels are shuffled, replaced, or taken elsewhere.

The outcome stays; what is lost is the arrangement of the voxels (``shuffled voxels``), all that they are worth
(``noise voxels``), or the place (``random region``). Shape features, which none of these changes, are left out. What is
still above 0.50 then comes from what is left: the distribution of intensities, or the size of the VOI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hepacast.core.closure import code_hash
from hepacast.core.jobs import Job, make_missing
from hepacast.core.seeds import rng
from hepacast.errors import HepacastError, ModelError
from hepacast.imaging import Volume
from hepacast.radiomics.recipe import ImageRecipe
from hepacast.radiomics.results import ExtractionResult, VoiResult
from hepacast.radiomics.table import concat_long, write_long
from hepacast.study.analysis_set import wide_features
from hepacast.study.context import Context
from hepacast.study.image_recipe import recipe_of
from hepacast.study.patient_masks import MaskedImages, masked_images

IMAGE_CONTROLS = ("shuffled voxels", "noise voxels", "random region")

Bool = npt.NDArray[np.bool_]

#: Places tried for a VOI, and voxels of it that are looked at in each.
_PLACES, _LOOKED_AT = 200, 2000
#: Gray levels that the noise of a replaced VOI spans, about, where the settings fix the width of a bin.
_BINS_PER_SD = 4.0


def altered(
    volume: Volume, mask: Volume, vois: Bool, control: str, bin_width: float, seed: int, *purpose: object
) -> tuple[Volume, Volume]:
    """Image and mask of one VOI after a control.

    Parameters
    ----------
    volume, mask
        Image and VOI on one grid.
    vois
        Voxels of any VOI of the patient, which a random region avoids.
    control
        One of `IMAGE_CONTROLS`.
    bin_width
        Of the discretization; the noise spans about eight bins of it.
    seed, purpose
        Of the random numbers: patient, sequence, VOI.
    """
    generator = rng(seed, "noise", control, *purpose)
    inside = mask.array.astype(bool)
    if control == "random region":
        return volume, mask.with_array(_elsewhere(volume.array, inside, vois, generator))
    array = volume.array.copy()
    if control == "shuffled voxels":
        array[inside] = generator.permutation(array[inside])
    else:
        noise = generator.normal(0.0, _BINS_PER_SD * bin_width, int(inside.sum()))
        array[inside] = np.rint(noise).astype(array.dtype) if np.issubdtype(array.dtype, np.integer) else noise
    return volume.with_array(array), mask


def _elsewhere(image: npt.NDArray[np.generic], inside: Bool, vois: Bool, generator: np.random.Generator) -> Bool:
    """The VOI moved to another place of the body: whole, and away from all VOIs as far as there is room."""
    voxels = np.argwhere(inside)
    if not len(voxels):
        return inside
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    few = voxels if len(voxels) <= _LOOKED_AT else voxels[generator.choice(len(voxels), _LOOKED_AT, replace=False)]
    floor, ceiling = float(np.min(image.astype(float))), float(np.percentile(image.astype(float), 99))
    air = floor + 0.1 * (ceiling - floor)
    best, least = np.zeros(3, dtype=np.int64), np.inf
    for _ in range(_PLACES):
        shift = generator.integers(-low, np.array(inside.shape) - high)
        at = tuple((few + shift).T)
        bad = float(vois[at].mean()) + float((image[at] <= air).mean())
        if bad < least:
            best, least = shift, bad
        if least == 0.0:
            break
    moved = np.zeros_like(inside)
    moved[tuple((voxels + best).T)] = True
    return moved


@dataclass(frozen=True)
class ControlMeasurement:
    """What is measured of one patient after a control."""

    files: MaskedImages
    recipe: ImageRecipe
    control: str
    seed: int


def _measure(job: Job[ControlMeasurement]) -> None:
    """In a worker: every VOI by itself, as a voxel may belong to several."""
    from hepacast.radiomics.diagnostics import engine_name

    task, recipe = job.task, job.task.recipe
    expected = recipe.loaded_settings.feature_names()
    width = float(recipe.loaded_settings.parameters.binWidth or 25.0)
    parts = []
    for image in task.files.images:
        found: dict[str, VoiResult] = {}
        try:
            volume = image.read()
            vois = recipe.vois_of(task.files.structures(volume))
            anywhere = np.any([mask.array.astype(bool) for mask in vois.values()], axis=0)
            for name, mask in vois.items():
                purpose = (job.patient, image.name, name)
                changed, moved = altered(volume, mask, anywhere, task.control, width, task.seed, *purpose)
                found |= dict(recipe.measure(changed, {name: moved}).vois)
        except HepacastError as error:
            names = [name for name in recipe.vois if name not in found]
            found |= {name: VoiResult.failed(name, expected, error.message) for name in names}
        parts.append(ExtractionResult(found, recipe.settings_hash, engine_name()).to_long(job.patient, image.name))
    there = {image.name for image in task.files.images}
    lacking = recipe.lacking(engine_name())
    parts += [lacking.to_long(job.patient, name) for name in recipe.sequences if name not in there]
    write_long(concat_long(parts, settings_hash=recipe.settings_hash, engine=engine_name()), job.kept)


def altered_features(context: Context, patients: list[str], control: str, seed: int) -> tuple[pd.DataFrame, int]:
    """Wide features of the patients after a control, without shape; and how many VOIs could not be measured.

    Kept patient by patient, so that a stopped run goes on.

    Raises
    ------
    ModelError
        Unknown control, no images, or nothing but shape features.
    """
    if control not in IMAGE_CONTROLS:
        raise ModelError("Unknown control.", expected=", ".join(IMAGE_CONTROLS), found=control)
    if context.study.images is None or context.study.features.table is not None:
        raise ModelError(
            f"The control {control!r} needs images.",
            found="a study whose features come as a table",
            remedy="use the controls outcome, features or noise-features",
        )
    recipe, prints = recipe_of(context), context.fingerprints
    jobs = []
    for patient in patients:
        files = masked_images(context, patient)
        task = ControlMeasurement(files, recipe, control, seed)
        content = [recipe.to_json(), control, seed, code_hash(__name__)]
        jobs.append(Job.of(patient, task, context.cache / "noise" / "features", ".parquet", [files], prints, content))
    made = make_missing(_measure, jobs, f"features, {control}", reporter=context.reporter, workers=context.workers)
    wide, told = wide_features(context, made)
    wide = wide.loc[patients]
    kept = [name for name in wide.columns if not is_shape(str(name))]
    if not kept:
        raise ModelError("Nothing but shape features are measured, which no control of the voxels changes.")
    return wide[kept], len(told.failed)


def is_shape(name: str) -> bool:
    """Whether a feature of the wide table describes the shape of its VOI only."""
    return "_shape_" in name or "_shape2D_" in name
