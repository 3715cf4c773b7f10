"""What can be known to be wrong before any image is read: settings, VOIs, chain, second reader, missing packages.

`hepacast check` lists all of it and `hepacast run` refuses it, before the long stages and not after them.
"""

from __future__ import annotations

from hepacast.cohort.findings import condense
from hepacast.core.optional import require
from hepacast.errors import HepacastError, StudyFileError
from hepacast.imaging.voi import VoiExpression
from hepacast.study.context import Context
from hepacast.study.stages.judging import judge_cohort


def preflight(context: Context) -> None:
    """Refuse a study that `hepacast check` finds wrong, by the same judgement (but for the content of images).

    Raises
    ------
    HepacastError
        What is wrong; all of it, where it is more than one thing.
    """
    seen = judge_cohort(context)
    seen.errors += [("settings", problem) for problem in find_problems(context)]
    seen.raise_errors(where=context.study.cohort.table)
    warnings = [item for item in condense(seen.findings) if item.severity == "warning"]
    for item in warnings:
        if item.code in _TOLD:
            context.reporter.say(f"warning: {item.column}: {item.message}")
    if warnings:
        context.reporter.say(f"{len(warnings)} warnings of the table and the design: hepacast check lists them")


#: Warnings about numbers that the run will give; the terminal says them, the report has all.
_TOLD = frozenset({"level-not-in-training", "horizon-beyond-set"})


def find_problems(context: Context) -> list[HepacastError]:
    """Everything that is wrong with the settings."""
    problems = []
    for part in (_features, _vois, _biomarkers, _chain, _second_reader, _times, _centers, _packages, _networks):
        try:
            part(context)
        except HepacastError as error:
            problems.append(error)
    return problems


def _features(context: Context) -> None:
    images = context.study.images
    if images is None:
        return
    from hepacast.study.feature_settings import load_settings

    label, options = load_settings(context).mask_rules.label, images.segmentation
    if label is not None and not isinstance(options.masks, dict) and label not in options.labels.values():
        raise StudyFileError(
            f"The feature settings measure label {label}, which the masks of this study do not name.",
            expected=", ".join(f"{name}: {value}" for name, value in options.labels.items()) + " (segmentation.labels)",
            found=f"label: {label}",
            where=context.study.features.settings,
            remedy="leave label out of the feature settings, as a study measures its VOIs by name, or name the value",
        )


def _vois(context: Context) -> None:
    if context.study.images is None:
        return
    from hepacast.imaging.structures import structure_names

    options = context.study.images.segmentation
    names = structure_names(options.masks if isinstance(options.masks, dict) else options.labels)
    for text in context.study.images.vois.values():
        VoiExpression.parse(text).check_names(names)


def _biomarkers(context: Context) -> None:
    """The biomarkers that are asked for exist, and no two images are of one phase."""
    if context.study.biomarkers is not None:
        from hepacast.study.stages.biomarkers import require_names

        require_names(context)


def _chain(context: Context) -> None:
    if context.study.modelling.reads_features:
        from hepacast.study.stages.modelling import load_chain

        chain = load_chain(context)
        if context.study.outcome.definition == "survival":
            from hepacast.modelling.grammar import check_for_time

            check_for_time(chain)


def _second_reader(context: Context) -> None:
    if context.study.features.min_icc is None:
        return
    from hepacast.study.stages.radiomics import MIN_READ_TWICE

    images = context.study.images
    if images is None or images.segmentation.second_reader is None:
        raise StudyFileError(
            "There are no second reader's masks to judge the features' reproducibility by.",
            expected=f"masks of at least {MIN_READ_TWICE} patients (images.segmentation.second_reader)",
            where="features.min_icc",
            remedy="give the second reader's masks, or leave min_icc out",
        )


def _times(context: Context) -> None:
    """Of a time to an event networks learn the follow-up."""
    study = context.study
    if study.outcome.definition != "survival":
        return
    networks = {
        "deep.network.outcome": None if study.deep is None else study.deep.network,
        "fusion.deep.network.outcome": study.fusion.deep.network if study.fusion and study.fusion.networks else None,
    }
    for where, network in networks.items():
        if network is not None and network.outcome == "binary":
            raise StudyFileError(
                "The outcome is a time to an event, and the network would learn the event alone.",
                expected="cox or hazard",
                found="binary",
                where=where,
            )


def _centers(context: Context) -> None:
    if context.study.modelling.harmonize == "combat" and context.study.cohort.center is None:
        raise StudyFileError(
            "There are no centers to harmonize.",
            expected="cohort.center: the header of the column that names the center",
            found="modelling.harmonize: combat",
            where="modelling.harmonize",
        )


def _packages(context: Context) -> None:
    images = context.study.images
    kind, _, argument = ("", "", "") if images is None else images.segmentation.source.partition(":")
    if kind == "builtin":
        from hepacast.segmentation.builtin.segmenter import require_engine

        require_engine(argument or "torch")
    elif kind == "nnunet":
        require("torch", purpose="Segmentation", extra="seg")


def _networks(context: Context) -> None:
    if context.study.images is None:
        return
    from hepacast.study.nnunet import nnunet_plan_of, require_network_files

    require_network_files(context)
    if context.study.images.segmentation.source == "nnunet":
        nnunet_plan_of(context)
