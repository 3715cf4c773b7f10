"""The feature settings of a study."""

from __future__ import annotations

from dataclasses import replace

from hepacast.errors import HepacastError
from hepacast.imaging.io import MaskRules
from hepacast.radiomics.settings import Settings
from hepacast.study.context import Context
from hepacast.study.schema import Study


def study_settings(study: Study) -> Settings:
    """The feature settings of the study file.

    Raises
    ------
    StudyFileError
        A setting is unknown or contradicts another.
    """
    settings = Settings.load(study.features.settings)
    return settings.with_parameters(**study.features.options) if study.features.options else settings


def load_settings(context: Context) -> Settings:
    """`study_settings`, with a parameter file found beside the study file."""
    text = context.study.features.settings
    beside = context.base / text
    if beside.is_file():
        features = context.study.features.model_copy(update={"settings": str(beside)})
        return study_settings(context.study.model_copy(update={"features": features}))
    return study_settings(context.study)


def mask_rules(context: Context) -> MaskRules:
    """What the feature settings say of mask files; settings that cannot be read are told by `find_problems`.

    A `label` says something only where each structure has its file: in one file of several, names decide.
    """
    try:
        rules = load_settings(context).mask_rules
    except HepacastError:
        return MaskRules()
    return rules if isinstance(context.images.segmentation.masks, dict) else replace(rules, label=None)
